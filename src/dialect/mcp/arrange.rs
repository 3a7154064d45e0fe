//! Arranges what a server sends, so that every reader takes it for the same messages.
//!
//! Clients differ in which members they take for a message's, in whether `"1"` answers the request 1, and in what they do
//! with an answer that nobody asked for. So each of JSON-RPC's own members leaves once, in its own case, and no other
//! beside them; an answer leaves with the id that was asked, and what answers nothing does not leave.

use smallvec::SmallVec;

use super::message::{Id, MEMBERS};
use super::{Asked, MAX_MESSAGES};
use crate::dialect::DecodeError;
use crate::dialect::decoding::{NameBytes, is_variant};
use crate::wire::json::{Malformed, Reader, Value};

const NULL: &str = "null";
const VERSION: &str = "\"2.0\"";

/// What becomes of a frame before it is read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrangement {
    /// It is JSON in which no reader finds a message.
    NoMessage,
    /// It leaves as it came.
    Plain,
    /// This leaves in its place, and so many of its messages do not: it is empty where none does.
    Anew { frame: String, withheld: u32 },
}

/// Arranges one frame; `is_answered` says of each request whether it has its answer.
pub(super) fn arrange(source: &str, asked: &Asked, is_answered: &[bool]) -> Result<Arrangement, DecodeError> {
    let mut reader = Reader::new(source);
    let is_batch = reader.peek() == Some(b'[');
    let mut arranger = Arranger {
        source,
        asked,
        is_answered,
        answered: SmallVec::new(),
        names: NameBytes::default(),
        frame: String::new(),
        messages: 0,
        kept: 0,
        withheld: 0,
        is_plain: true,
    };
    if is_batch {
        reader.array(|reader| arranger.take(reader))?
    } else {
        arranger.take(&mut reader)?
    }
    reader.end()?;
    let Arranger { frame, kept, withheld, is_plain, .. } = arranger;
    Ok(match (kept, withheld) {
        (0, 0) => Arrangement::NoMessage,
        (0, _) => Arrangement::Anew { frame: String::new(), withheld },
        _ if is_plain => Arrangement::Plain,
        _ if is_batch => Arrangement::Anew { frame: format!("[{frame}]"), withheld },
        _ => Arrangement::Anew { frame, withheld },
    })
}

struct Arranger<'a, 'r> {
    source: &'a str,
    asked: &'r Asked,
    is_answered: &'r [bool],
    /// The requests that are answered in this frame.
    answered: SmallVec<[usize; 1]>,
    names: NameBytes,
    /// The messages that leave, with commas between them.
    frame: String,
    messages: usize,
    kept: usize,
    withheld: u32,
    is_plain: bool,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome<'r> {
    /// It leaves, with this id where it is another than its own.
    Kept { id: Option<&'r str> },
    /// Readers differ in whether it is one and which, or it answers nothing.
    Withheld,
}

impl<'a, 'r> Arranger<'a, 'r> {
    /// Takes the next message of the frame.
    fn take(&mut self, reader: &mut Reader<'a>) -> Result<(), DecodeError> {
        self.messages = self.messages.saturating_add(1);
        if self.messages > MAX_MESSAGES {
            return Err(DecodeError::TooManyBlocks);
        }
        if reader.peek() != Some(b'{') {
            self.is_plain = false;
            return Ok(reader.skip()?);
        }
        let start = reader.position();
        let mut members = Members::read(self.source, reader)?;
        if !members.is_message {
            self.is_plain = false;
            return Ok(());
        }
        members.settle();
        let Outcome::Kept { id } = self.decide(&mut members)? else {
            self.is_plain = false;
            self.withheld = self.withheld.saturating_add(1);
            return Ok(());
        };
        if self.kept > 0 {
            self.frame.push(',');
        }
        self.kept = self.kept.saturating_add(1);
        if members.is_plain && id.is_none() {
            self.frame.push_str(self.source.get(start..reader.position()).unwrap_or_default());
        } else {
            self.is_plain = false;
            members.write(self.source, id, &mut self.frame);
        }
        Ok(())
    }

    fn decide(&mut self, members: &mut Members<'a>) -> Result<Outcome<'r>, DecodeError> {
        let text = members.id.and_then(|id| self.source.get(id.start..id.end));
        // No reader finds an id in anything else.
        if text.is_some_and(|id| id != NULL && !id.starts_with(|first: char| matches!(first, '"' | '-' | '0'..='9'))) {
            return Ok(Outcome::Withheld);
        }
        if let Some(method) = members.method {
            if text == Some(NULL) {
                members.id = None;
                members.is_plain = false;
            }
            let is_request = members.result.is_none() && members.error.is_none() && method.starts_with('"');
            return Ok(if is_request { Outcome::Kept { id: None } } else { Outcome::Withheld });
        }
        match (members.result, members.error) {
            (None, None) => Ok(Outcome::Withheld),
            // Servers that could not read a request do not know its id.
            (_, Some(_)) if text.is_none_or(|id| id == NULL) => Ok(Outcome::Kept { id: None }),
            _ => match members.id.filter(|_| text != Some(NULL)) {
                None => Ok(Outcome::Withheld),
                Some(_) if !self.asked.is_known() => Ok(Outcome::Kept { id: None }),
                Some(id) => self.answer(id, text.unwrap_or_default()),
            },
        }
    }

    /// Finds the request that is answered.
    fn answer(&mut self, id: Value, text: &str) -> Result<Outcome<'r>, DecodeError> {
        let id = match Id::read(self.source, id, &mut self.names) {
            Ok(id) => id,
            Err(DecodeError::Malformed { .. }) => return Ok(Outcome::Withheld),
            Err(error) => return Err(error),
        };
        let Some(position) = self.asked.find(&id) else { return Ok(Outcome::Withheld) };
        let is_answered = self.is_answered.get(position).is_none_or(|answered| *answered) || self.answered.contains(&position);
        let Some(request) = self.asked.requests.get(position).filter(|_| !is_answered) else { return Ok(Outcome::Withheld) };
        self.answered.push(position);
        Ok(Outcome::Kept { id: Some(request.id.json()).filter(|asked| *asked != text) })
    }
}

/// The members of a message, of several of one name the last. Null is a value here.
#[derive(Debug, Default)]
struct Members<'a> {
    jsonrpc: Option<&'a str>,
    id: Option<Value>,
    method: Option<&'a str>,
    params: Option<&'a str>,
    result: Option<&'a str>,
    error: Option<&'a str>,
    /// It has members of a message, in whatever case.
    is_message: bool,
    /// It has no other members, and none of them twice.
    is_plain: bool,
}

impl<'a> Members<'a> {
    fn read(source: &'a str, reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let mut members = Self { is_plain: true, ..Self::default() };
        reader.object(|reader, key| {
            let value = reader.value()?;
            let text = source.get(value.start..value.end).unwrap_or_default();
            let is_first = match key {
                "jsonrpc" => members.jsonrpc.replace(text).is_none(),
                "id" => members.id.replace(value).is_none(),
                "method" => members.method.replace(text).is_none(),
                "params" => members.params.replace(text).is_none(),
                "result" => members.result.replace(text).is_none(),
                "error" => members.error.replace(text).is_none(),
                _ => false,
            };
            members.is_message |= MEMBERS.contains(&key) || is_variant(key, MEMBERS);
            members.is_plain &= is_first;
            Ok::<_, Malformed>(())
        })?;
        Ok(members)
    }

    /// Takes off what is null and might as well be missing, and what means nothing beside another.
    fn settle(&mut self) {
        let has_result = self.result.is_some_and(|result| result != NULL);
        for member in [&mut self.method, &mut self.params, &mut self.error] {
            self.is_plain &= *member != Some(NULL);
            *member = member.filter(|value| *value != NULL);
        }
        // Readers that know both look for an error first.
        if self.error.is_some() || (self.method.is_some() && !has_result) {
            self.is_plain &= self.result.is_none();
            self.result = None;
        }
        if self.method.is_none() {
            self.is_plain &= self.params.is_none();
            self.params = None;
        }
        self.is_plain &= self.jsonrpc == Some(VERSION);
    }

    fn write(&self, source: &str, id: Option<&str>, out: &mut String) {
        let id = id.or_else(|| self.id.and_then(|id| source.get(id.start..id.end)));
        out.push_str("{\"jsonrpc\":");
        out.push_str(VERSION);
        let members =
            [("id", id), ("method", self.method), ("params", self.params), ("result", self.result), ("error", self.error)];
        for (key, value) in members {
            let Some(value) = value else { continue };
            out.push_str(",\"");
            out.push_str(key);
            out.push_str("\":");
            out.push_str(value);
        }
        out.push('}');
    }
}
