//! Reads and writes requests: what the client posts.

use super::headers::{Headers, Said};
use super::message::{Id, Kind, Message, Messages};
use super::{Asked, CALL};
use crate::block::{BlockId, Chunk};
use crate::dialect::decoding::{self, NameBytes, Strings, Text, is_variant};
use crate::dialect::framing::WITHHELD;
use crate::dialect::{DecodeError, Insertion, SlotAction};
use crate::event::shortened;
use crate::wire::json::{self, Edits, Field, Malformed, Reader, Value};

/// Longest method that events show, in characters.
const MAX_METHOD_CHARS: usize = 128;

/// Why a request is refused before any policy sees it.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It cannot be read.
    Unreadable(DecodeError),
    /// Its head says something else than its body.
    Mismatch(String),
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        Self::Unreadable(error)
    }
}

/// Reads what a POST asks. What was understood before a fault is in `asked`: an error is addressed by it.
pub(crate) fn read(body: &[u8], headers: &Headers, asked: &mut Asked) -> Result<(), Fault> {
    let source = decoding::utf8(body)?;
    let messages = Messages::read(source)?;
    asked.is_batch = messages.is_batch;
    asked.streams_only |= headers.streams_only();
    asked.messages = messages.all.len();
    let mut names = NameBytes::default();
    for message in &messages.all {
        let mut strings = Strings::default();
        let method = strings.read(source, message.method)?;
        if asked.subject.is_empty() {
            let subject = if message.kind == Kind::Answer { "an answer" } else { strings.get(source, method) };
            asked.subject = shortened(subject, MAX_METHOD_CHARS).to_owned();
        }
        match message.kind {
            Kind::Request => read_request(source, message, headers, asked, &mut names)?,
            Kind::Notification if strings.get(source, method) == CALL => {
                return Err(DecodeError::OutOfOrder { what: "a tools/call without an id" }.into());
            }
            Kind::Notification => {
                headers.check_notification(strings.get(source, method)).map_err(Fault::Mismatch)?;
            }
            Kind::Answer => {}
        }
    }
    Ok(())
}

fn read_request(
    source: &str,
    message: &Message,
    headers: &Headers,
    asked: &mut Asked,
    names: &mut NameBytes,
) -> Result<(), Fault> {
    let Some(id) = message.id else { return Ok(()) };
    let id = Id::read(source, id, names)?;
    let mut strings = Strings::default();
    let method = strings.read(source, message.method)?;
    let is_call = strings.get(source, method) == CALL;
    if !asked.add(id, is_call) {
        return Err(DecodeError::OutOfOrder { what: "two requests with the same id" }.into());
    }
    let params = Params::read(source, message, strings.get(source, method)).map_err(DecodeError::from)?;
    let key = strings.read(source, params.key.get())?;
    let version = strings.read(source, params.protocol_version.get())?;
    let said = Said {
        method: strings.get(source, method),
        name: params.key.get().map(|_| strings.get(source, key)),
        protocol_version: params.protocol_version.get().map(|_| strings.get(source, version)),
    };
    asked.is_modern |= headers.are_required(&said);
    headers.check_request(&said).map_err(Fault::Mismatch)
}

/// What is read of a request's parameters.
#[derive(Default)]
struct Params {
    /// The name or URI of what is asked for, where the method has one.
    key: Field<Value>,
    arguments: Field<Value>,
    protocol_version: Field<Value>,
}

impl Params {
    fn read(source: &str, message: &Message, method: &str) -> Result<Self, Malformed> {
        let mut read = Self::default();
        let key_name = match method {
            CALL | "prompts/get" => "name",
            "resources/read" => "uri",
            _ => "",
        };
        let Some(params) = message.params else { return Ok(read) };
        let mut reader = Reader::at(source, params);
        if reader.peek() != Some(b'{') {
            return if key_name.is_empty() { Ok(read) } else { Err(reader.malformed()) };
        }
        reader.object(|reader, key| match key {
            "_meta" => read.read_meta(reader),
            key if key == key_name => read.key.fill(reader, Reader::optional_string),
            "arguments" if method == CALL => read.arguments.fill(reader, Reader::optional_value),
            key if method == CALL && is_variant(key, &["name", "arguments"]) => Err(reader.malformed()),
            _ => reader.skip(),
        })?;
        Ok(read)
    }

    fn read_meta(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        if reader.peek() != Some(b'{') {
            return reader.skip();
        }
        reader.object(|reader, key| match key {
            "io.modelcontextprotocol/protocolVersion" => self.protocol_version.fill(reader, Reader::optional_string),
            _ => reader.skip(),
        })
    }
}

/// A call of a request.
pub(super) struct Call {
    pub(super) block: BlockId,
    /// Which of the requests it is.
    pub(super) position: usize,
    pub(super) name: Text,
    pub(super) arguments: Text,
}

/// Finds the calls of a body; `block` is the number of the first.
pub(super) fn calls(source: &str, strings: &mut Strings, mut block: u32) -> Result<Vec<Call>, DecodeError> {
    let mut calls = Vec::new();
    let requests = Messages::read(source)?.all.into_iter().filter(|message| message.kind == Kind::Request);
    for (position, message) in requests.enumerate() {
        if !is_call(source, &message)? {
            continue;
        }
        let params = Params::read(source, &message, CALL)?;
        let name = strings.read(source, params.key.get())?;
        let arguments = params.arguments.get().map_or(Text::EMPTY, Text::verbatim);
        calls.push(Call { block: BlockId(block), position, name, arguments });
        block = block.saturating_add(1);
    }
    Ok(calls)
}

fn is_call(source: &str, message: &Message) -> Result<bool, DecodeError> {
    let mut strings = Strings::default();
    let method = strings.read(source, message.method)?;
    Ok(message.kind == Kind::Request && strings.get(source, method) == CALL)
}

/// What is left of a body once its calls are decided.
#[derive(Debug, Default)]
pub(super) struct Decided {
    /// The calls that do not leave, by the numbers of their requests, with what the client is told.
    pub(super) refused: Vec<(usize, String)>,
    /// What policies sent and there is no place for: a call that leaves has no answer yet.
    pub(super) late: u32,
}

/// Writes to `out` what is left of `frame`, nothing if no message is.
pub(super) fn write(source: &str, actions: &[SlotAction], insertions: &[Insertion], out: &mut Vec<u8>) -> Decided {
    let mut decided = Decided::default();
    let mut edits = Edits::default();
    let Ok(messages) = Messages::read(source) else { return decided };
    let mut is_refused = Vec::with_capacity(messages.all.len());
    let (mut slot, mut position) = (0_usize, 0_usize);
    for message in &messages.all {
        let mut refused = false;
        if is_call(source, message).unwrap_or(false) {
            // What is put behind the last call belongs to it.
            let is_last = slot.saturating_add(1) == actions.len();
            let here = insertions.iter().filter(|insertion| insertion.before == slot || (is_last && insertion.before > slot));
            let action = actions.get(slot).unwrap_or(&SlotAction::Remove);
            refused =
                !decide(source, message, action, here.map(|insertion| &insertion.chunk), position, &mut edits, &mut decided);
            slot = slot.saturating_add(1);
        }
        is_refused.push(refused);
        position = position.saturating_add(usize::from(message.kind == Kind::Request));
    }
    if is_refused.iter().all(|refused| *refused) {
        return decided;
    }
    let spans: Vec<_> = messages.all.iter().map(|message| message.span.start..message.span.end).collect();
    edits.remove_items(&spans, |at| is_refused.get(at).is_some_and(|refused| *refused));
    edits.apply(source.as_bytes(), out);
    decided
}

/// Carries out what was decided about one call; whether it leaves.
fn decide<'c>(
    source: &str,
    message: &Message,
    action: &SlotAction,
    chunks: impl Iterator<Item = &'c Chunk>,
    position: usize,
    edits: &mut Edits,
    decided: &mut Decided,
) -> bool {
    let mut said = String::new();
    let mut texts: u32 = 0;
    let mut other = None;
    for chunk in chunks {
        match chunk {
            Chunk::Text { text, .. } => {
                if !said.is_empty() {
                    said.push('\n');
                }
                said.push_str(text);
                texts = texts.saturating_add(1);
            }
            Chunk::ToolCall { name, arguments, .. } => other = Some((Some(name.as_str()), arguments.as_str())),
        }
    }
    let changed = match action {
        SlotAction::Keep => None,
        SlotAction::Replace(arguments) => Some((None, arguments.as_str())),
        SlotAction::Remove if other.is_some() => other,
        SlotAction::Remove => {
            decided.refused.push((position, if said.is_empty() { WITHHELD.to_owned() } else { said }));
            return false;
        }
    };
    decided.late = decided.late.saturating_add(texts);
    if let Some((name, arguments)) = changed {
        edit_params(source, message, name, arguments, edits);
    }
    true
}

fn edit_params(source: &str, message: &Message, name: Option<&str>, arguments: &str, edits: &mut Edits) {
    let arguments = if json::is_unambiguous_object(arguments) { arguments.to_owned() } else { "{}".to_owned() };
    let mut set = vec![("arguments", arguments)];
    set.extend(name.map(|name| ("name", json::to_text(name))));
    let (object, set) = match message.params {
        Some(params) => (params, set),
        None => {
            let params: Vec<_> = set.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
            (message.span, vec![("params", format!("{{{}}}", params.join(",")))])
        }
    };
    let object = source.get(object.start..object.end).unwrap_or_default();
    edits.edit_object(source, object, &json::members(object), &[], &set);
}
