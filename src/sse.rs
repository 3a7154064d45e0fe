//! Server-sent events, on bytes (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
//!
//! [`Parser`] cuts a body into events without losing a byte: the raw ranges of all events, one after the other, are
//! the body. Incomplete is not invalid: what has not ended yet waits, within a bound.

/// One event with the bytes that it came as.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// All bytes of the event: its lines, comments and the blank line that ends it.
    pub raw: &'a [u8],
    /// The `event` field; empty when there is none.
    pub name: &'a [u8],
    /// The `data` fields, joined by LF; `None` when there is none (a comment, a lone blank line).
    pub data: Option<&'a [u8]>,
}

/// An event grew beyond the parser's bound before it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTooLarge {
    /// The bound in bytes.
    pub limit: usize,
}

/// Cuts a body into events; see the module.
#[derive(Debug)]
pub struct Parser {
    limit: usize,
}

impl Parser {
    /// A parser at the start of a body that lets no event grow beyond `limit` bytes.
    pub const fn new(limit: usize) -> Self {
        Self { limit }
    }

    /// The next event that is complete, taking its bytes from the front of `input`; `None` when `input` is used up
    /// (what remained of it waits in the parser).
    ///
    /// # Errors
    /// [`EventTooLarge`]; the parser is of no use after it.
    pub fn next<'e, 'c: 'e>(&'e mut self, input: &mut &'c [u8]) -> Result<Option<Event<'e>>, EventTooLarge> {
        let _ = input;
        Err(EventTooLarge { limit: self.limit })
    }

    /// The body ended: what waits, as an event of its own; it lacks the blank line at its end.
    pub fn finish(&mut self) -> Option<Event<'_>> {
        None
    }

    /// Bytes that wait for the rest of their event.
    pub const fn pending(&self) -> usize {
        0
    }
}
