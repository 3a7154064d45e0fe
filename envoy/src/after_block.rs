//! What becomes of the provider's stream once the client's was ended before it (`after_block` of the policy document).

use core::time::Duration;
use std::rc::Rc;

use weir::after_block::{AfterBlock, Rest};
use weir::time::Timestamp;

use crate::connections::{self, Connection, Stage};
use crate::host;
use crate::http2::{MARK_BYTES, StreamEnd};
use crate::stream::Stream;

/// The client's version of HTTP.
const PROTOCOL: &[&str] = &["request", "protocol"];

/// A comment of an event stream: what an end can be put behind where there is nothing else to send.
const COMMENT: &[u8] = b":\n\n";

/// How long the next bytes of a provider are awaited, to end the client's response with them in an orderly way.
const SILENCE: Duration = Duration::from_secs(1);

/// What a stream needs to see to it.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    /// The client's connection, where its response can be ended.
    connection: Option<Rc<Connection>>,
    /// The connection has many streams.
    is_http2: bool,
    /// Over HTTP/2: the end of the stream, once it is due.
    end: Option<Rc<StreamEnd>>,
    /// Until when the provider's stream is read on.
    deadline: Option<Timestamp>,
    broken_off: bool,
}

impl Ending {
    /// Whether the root's tick is to see to it.
    pub(crate) fn is_due(&self) -> bool {
        self.deadline.is_some() && !self.is_ended()
    }

    /// Whether the client's response was ended on its connection.
    fn is_ended(&self) -> bool {
        if self.is_http2 {
            return self.end.as_ref().is_some_and(|end| end.is_written());
        }
        self.connection.as_ref().is_some_and(|connection| matches!(connection.stage(), Stage::EndDue | Stage::Ended))
    }

    /// Whether the client's stream was ended, and the proxy would still write trailers on it.
    pub(crate) fn bars_trailers(&self) -> bool {
        self.is_http2 && self.is_ended()
    }

    /// The proxy is done with the stream.
    pub(crate) fn note_gone(&self) {
        if let Some(end) = &self.end {
            end.note_gone();
        }
    }

    fn can_end(&self) -> bool {
        if self.is_http2 {
            return self.connection.is_some() && self.end.is_none();
        }
        self.connection.as_ref().is_some_and(|connection| connection.stage() == Stage::Open)
    }

    /// What became of the rest, where it was not drained.
    pub(crate) fn rest(&self) -> Option<Rest> {
        match (self.is_ended(), self.broken_off) {
            (true, _) => Some(Rest::Cancelled),
            (false, true) => Some(Rest::BrokenOff),
            (false, false) => None,
        }
    }
}

impl Stream {
    /// The head of a stream leaves, which policies may end.
    pub(crate) fn prepare_ending(&mut self) {
        if self.chain.after_block == AfterBlock::Drain {
            return;
        }
        self.ending.connection = connections::current();
        self.ending.is_http2 = host::property(PROTOCOL).is_some_and(|protocol| protocol == b"HTTP/2");
        if let Some(connection) = self.ending.connection.as_ref().filter(|_| !self.ending.is_http2) {
            connection.set_stage(Stage::HeadDue);
        }
    }

    /// The client's response is over, with `out` as the last of it, and the provider's is not. There is room for `room` bytes in all.
    pub(crate) fn end_early(&mut self, out: &mut Vec<u8>, room: usize) {
        let is_due = match self.chain.after_block {
            AfterBlock::Drain => false,
            AfterBlock::Cancel => true,
            AfterBlock::DrainFor(duration) => {
                let now = host::now();
                now >= *self.ending.deadline.get_or_insert_with(|| now.after(duration.0))
            }
        };
        let Some(connection) = self.ending.connection.as_ref().filter(|_| is_due && self.ending.can_end()) else { return };
        if self.ending.is_http2 {
            if out.len().saturating_add(MARK_BYTES) <= room
                && let Some(end) = connection.end_stream(self.context_id)
            {
                out.extend_from_slice(end.mark());
                self.ending.end = Some(end);
            }
        } else {
            if out.is_empty() {
                out.extend_from_slice(COMMENT);
            }
            connection.set_stage(Stage::EndDue);
        }
    }

    /// Breaks off what was read on for long enough.
    pub(crate) fn break_off_rest(&mut self, now: Timestamp) {
        let Some(deadline) = self.ending.deadline.filter(|_| self.ending.is_due()) else { return };
        let deadline = if self.ending.can_end() { deadline.after(SILENCE) } else { deadline };
        if deadline <= now {
            self.ending.broken_off = true;
            self.over = true;
            host::reset_stream();
        }
    }
}
