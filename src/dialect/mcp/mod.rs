//! MCP over streamable HTTP (<https://modelcontextprotocol.io/specification>), versions 2025-03-26 to 2026-07-28.
//!
//! Calls stand in the request here, and what comes back is for the client's model to read. Both are governed: a request
//! is a frame whose `tools/call` messages are slots, and of every message that comes back all text is. What a
//! result's text means is told by where it stands, not by the method that was asked: results also come on streams of
//! their own (`GET`), where no request is known.

mod arrange;
mod decode;
mod encode;
mod headers;
mod message;
pub(super) mod output;
mod request;
mod sampled;
#[cfg(test)]
mod tests;
mod texts;

pub(crate) use decode::Decoder;
pub(crate) use encode::Encoder;
pub(crate) use headers::Headers;
pub(crate) use request::{Fault, read};

use hashbrown::HashMap;

use self::message::Id;

/// The method of a tool call.
const CALL: &str = "tools/call";

/// Most messages that one body may have.
const MAX_MESSAGES: usize = super::MAX_BLOCKS;

/// The requests of a POST, which are to be answered.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    requests: Vec<AskedRequest>,
    positions: HashMap<Id, usize>,
    /// Those whose ids say a number, by that number; `None` where several do.
    numbers: HashMap<String, Option<usize>>,
    /// They came in an array, and are answered in one.
    is_batch: bool,
    /// The client takes nothing but an event stream.
    streams_only: bool,
    /// The protocol knows `resultType` (since 2026-07-28).
    is_modern: bool,
    /// What the first message asks for.
    subject: String,
    /// Messages of all kinds.
    messages: usize,
}

#[derive(Debug)]
struct AskedRequest {
    id: Id,
    kind: Awaited,
}

/// What a request is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    /// The result of a tool.
    CallResult,
    /// A task that has the result one day.
    Task,
    Other,
}

impl Asked {
    /// Adds a request; whether its id is a new one.
    fn add(&mut self, id: Id, kind: Awaited) -> bool {
        let position = self.requests.len();
        if let Some(number) = id.number() {
            self.numbers.entry(number.to_owned()).and_modify(|known| *known = None).or_insert(Some(position));
        }
        self.requests.push(AskedRequest { id: id.clone(), kind });
        self.positions.insert(id, position).is_none()
    }

    /// What was added last is to become a task.
    fn expect_task(&mut self) {
        if let Some(last) = self.requests.last_mut() {
            last.kind = Awaited::Task;
        }
    }

    /// The request that an answer with this id is for. Official clients take `"1"` for the number 1: an id that no
    /// request has is that of the only one that it is the same to them.
    fn find(&self, id: &Id) -> Option<usize> {
        let alike = || id.number().and_then(|number| self.numbers.get(number).copied()).flatten();
        self.positions.get(id).copied().or_else(alike)
    }

    /// What the client takes: whether an answer of Weir's own must be a stream.
    pub(crate) const fn streams_only(&self) -> bool {
        self.streams_only
    }

    /// What the same client asks with another body.
    pub(crate) fn for_another_body(&self) -> Self {
        Self { streams_only: self.streams_only, is_modern: self.is_modern, ..Self::default() }
    }

    /// What is asked for, in a few words.
    pub(crate) fn subject(&self) -> String {
        match self.messages {
            0 => "a stream of messages".to_owned(),
            1 => self.subject.clone(),
            messages => format!("{messages} messages, the first {}", self.subject),
        }
    }

    /// Whether the requests are known: on a stream that a `GET` opened, answers to earlier ones may come.
    pub(crate) const fn is_known(&self) -> bool {
        self.messages > 0
    }
}
