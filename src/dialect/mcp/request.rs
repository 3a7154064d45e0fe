//! Reads and writes requests: what the client posts.

use super::headers::{Headers, Said};
use super::message::{Id, Kind, Message, Messages};
use super::sampled::{Sampled, Sampling};
use super::{Asked, Awaited, CALL};
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
    let kind = if strings.get(source, method) == CALL { Awaited::CallResult } else { Awaited::Other };
    if !asked.add(id, kind) {
        return Err(DecodeError::OutOfOrder { what: "two requests with the same id" }.into());
    }
    let params = Params::read(source, message, strings.get(source, method)).map_err(DecodeError::from)?;
    if params.task.get().is_some() {
        asked.expect_task();
    }
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
    /// The call is to become a task (2025-11-25).
    task: Field<Value>,
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
            "task" if method == CALL => read.task.fill(reader, Reader::optional_value),
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

/// A call of a request, or of an answer that a client's model gave.
pub(super) struct Call {
    pub(super) block: BlockId,
    /// Which of the requests it is; of a model's call, a number that no request has.
    pub(super) position: usize,
    /// The id that a model gave it.
    pub(super) id: Text,
    pub(super) name: Text,
    pub(super) arguments: Text,
}

/// Finds the calls of a body; `block` is the number of the first.
pub(super) fn calls(source: &str, strings: &mut Strings, mut block: u32) -> Result<Vec<Call>, DecodeError> {
    let mut calls = Vec::new();
    let messages = Messages::read(source)?;
    let requests = messages.all.iter().filter(|message| message.kind == Kind::Request).count();
    let (mut position, mut sampled) = (0_usize, requests);
    for message in &messages.all {
        if is_call(source, message)? {
            let params = Params::read(source, message, CALL)?;
            let name = strings.read(source, params.key.get())?;
            let arguments = params.arguments.get().map_or(Text::EMPTY, Text::verbatim);
            calls.push(Call { block: BlockId(block), position, id: Text::EMPTY, name, arguments });
            block = block.saturating_add(1);
        }
        for call in Sampling::of(source, message)?.calls {
            let (id, name) = (strings.read(source, call.id)?, strings.read(source, call.name)?);
            calls.push(Call { block: BlockId(block), position: sampled, id, name, arguments: call.arguments() });
            (block, sampled) = (block.saturating_add(1), sampled.saturating_add(1));
        }
        position = position.saturating_add(usize::from(message.kind == Kind::Request));
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
        if let Ok(sampling) = Sampling::of(source, message) {
            // Of a message that does not leave nothing is edited.
            let mut gone = Edits::default();
            let edits = if refused { &mut gone } else { &mut edits };
            slot = write_sampled(source, &sampling, slot, actions, insertions, edits);
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

/// Carries out what was decided about the calls of a client's model; the slot behind them.
fn write_sampled(
    source: &str,
    sampling: &Sampling,
    first: usize,
    actions: &[SlotAction],
    insertions: &[Insertion],
    edits: &mut Edits,
) -> usize {
    let mut is_removed = Vec::with_capacity(sampling.calls.len());
    let mut slot = first;
    for call in &sampling.calls {
        let is_last = slot.saturating_add(1) == actions.len();
        let here = insertions.iter().filter(|insertion| insertion.before == slot || (is_last && insertion.before > slot));
        let action = actions.get(slot).unwrap_or(&SlotAction::Remove);
        is_removed.push(decide_sampled(source, call, action, here.map(|insertion| &insertion.chunk), edits));
        slot = slot.saturating_add(1);
    }
    for (reason, of) in &sampling.stop_reasons {
        let removed = is_removed.get(of.clone()).unwrap_or_default();
        if !removed.is_empty() && removed.iter().all(|removed| *removed) {
            edits.replace(reason.start..reason.end, "\"endTurn\"");
        }
    }
    slot
}

/// Carries out what was decided about a call of a client's model; whether it is gone.
fn decide_sampled<'c>(
    source: &str,
    call: &Sampled,
    action: &SlotAction,
    chunks: impl Iterator<Item = &'c Chunk>,
    edits: &mut Edits,
) -> bool {
    let said = said(chunks);
    let (name, arguments) = match (action, said.other) {
        (SlotAction::Keep, _) => return false,
        (SlotAction::Replace(arguments), _) => (None, arguments.as_str()),
        (SlotAction::Remove, Some((name, arguments))) => (Some(name), arguments),
        (SlotAction::Remove, None) => {
            let text = if said.text.is_empty() { WITHHELD } else { &said.text };
            let item = format!("{{\"type\":\"text\",\"text\":{}}}", json::to_text(text));
            edits.replace(call.item.start..call.item.end, item);
            return true;
        }
    };
    let mut set = vec![("input", object_of(arguments))];
    set.extend(name.map(|name| ("name", json::to_text(name))));
    let object = source.get(call.item.start..call.item.end).unwrap_or_default();
    edits.edit_object(source, object, &json::members(object), &[], &set);
    false
}

/// What policies put in place of a call.
#[derive(Default)]
struct SaidInPlace<'c> {
    text: String,
    texts: u32,
    /// Another call: its name and arguments.
    other: Option<(&'c str, &'c str)>,
}

fn said<'c>(chunks: impl Iterator<Item = &'c Chunk>) -> SaidInPlace<'c> {
    let mut said = SaidInPlace::default();
    for chunk in chunks {
        match chunk {
            Chunk::Text { text, .. } => {
                if !said.text.is_empty() {
                    said.text.push('\n');
                }
                said.text.push_str(text);
                said.texts = said.texts.saturating_add(1);
            }
            Chunk::ToolCall { name, arguments, .. } => said.other = Some((name.as_str(), arguments.as_str())),
        }
    }
    said
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
    let said = said(chunks);
    let changed = match (action, said.other) {
        (SlotAction::Keep, _) => None,
        (SlotAction::Replace(arguments), _) => Some((None, arguments.as_str())),
        (SlotAction::Remove, Some((name, arguments))) => Some((Some(name), arguments)),
        (SlotAction::Remove, None) => {
            decided.refused.push((position, if said.text.is_empty() { WITHHELD.to_owned() } else { said.text }));
            return false;
        }
    };
    decided.late = decided.late.saturating_add(said.texts);
    if let Some((name, arguments)) = changed {
        edit_params(source, message, name, arguments, edits);
    }
    true
}

/// The arguments as JSON.
fn object_of(arguments: &str) -> String {
    if json::is_unambiguous_object(arguments) { arguments.to_owned() } else { "{}".to_owned() }
}

fn edit_params(source: &str, message: &Message, name: Option<&str>, arguments: &str, edits: &mut Edits) {
    let mut set = vec![("arguments", object_of(arguments))];
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
