//! An exchange: one request and its response.

mod effect;
mod head;

pub use effect::{Callout, CalloutId, Effect, Observation};
pub use head::{Request, RequestHead, Response, ResponseHead};

use core::time::Duration;
use std::sync::Arc;

use crate::chain::Chain;
use crate::dialect::reply::Reply;
use crate::id::CallId;
use crate::judge::CalloutReply;
use crate::time::Timestamp;

/// What is to happen to the request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "the request must be held, sent or answered as this says"]
pub enum RequestProgress {
    /// Nothing of it may leave yet: go on feeding, or wait for a callout's reply.
    Hold,
    /// It leaves as it came.
    Send,
    /// It leaves with this body; its length is to be corrected.
    SendBody(Vec<u8>),
    /// It does not leave; the client gets this answer.
    Answer(Reply),
}

/// What is to happen to the response. Whatever was appended to `out` leaves in place of what came in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "the response must be paused, released or answered as this says"]
pub enum ResponseProgress {
    /// Nothing is undecided: what comes next will be dealt with at once.
    Flowing,
    /// A hook waits for a callout: its reply will release more.
    Waiting,
    /// Every byte was dealt with and the output is over; what still comes is dropped.
    Finished,
    /// The client gets this answer in place of the response: only as long as nothing of it has left.
    Answer(Reply),
}

/// What is to be done with a response, as its head shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the response must be passed or fed as this says"]
pub enum ResponseMode {
    /// It passes as it is: neither governed nor to be fed.
    Pass,
    /// It is an event stream: remove `content-length`, feed the body, send what comes out at once.
    Stream,
    /// It is a whole JSON body: remove `content-length`, feed the body; all comes out at its end. Hold the head until
    /// then where that can be done, so that the status can still change.
    Whole,
    /// It cannot be read, and is blocked: answer, or treat as a [`Self::Stream`] that yields an error.
    Refuse,
}

/// Why an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Request and response went through, or were answered.
    Completed,
    /// The client went away.
    ClientGone,
    /// The upstream broke off.
    UpstreamBroke,
    /// The proxy's buffer was too small for what was held.
    ProxyBufferExceeded,
}

/// One request and its response. Feed it through the `handle_*` methods in the order in which things happen, and
/// drain [`Self::poll_effect`] after each.
#[derive(Debug)]
pub struct Exchange {}

impl Exchange {
    /// An exchange at its beginning.
    pub fn new(chain: Arc<Chain>, call_id: CallId, now: Timestamp) -> Self {
        let _ = (chain, call_id, now);
        Self {}
    }

    /// Lowers the bound on held bytes, because the proxy is known to buffer less than the document assumes.
    pub fn limit_held_bytes(&mut self, bytes: usize) {
        let _ = bytes;
    }

    /// Whether the request's body can leave changed: without `content-length` it can be longer than it came.
    pub fn may_rewrite_request(&self) -> bool {
        false
    }

    /// The request head came; `end` if no body follows.
    pub fn handle_request_head(&mut self, head: &RequestHead<'_>, end: bool, now: Timestamp) -> RequestProgress {
        let _ = (head, end, now);
        RequestProgress::Send
    }

    /// Bytes of the request body came; the engine keeps them until `end`.
    pub fn handle_request_body(&mut self, chunk: &[u8], end: bool, now: Timestamp) -> RequestProgress {
        let _ = (chunk, end, now);
        RequestProgress::Send
    }

    /// The response head came; `end` if no body follows.
    pub fn handle_response_head(&mut self, head: &ResponseHead<'_>, end: bool, now: Timestamp) -> ResponseMode {
        let _ = (head, end, now);
        ResponseMode::Pass
    }

    /// Bytes of the response body came.
    pub fn handle_response_body(&mut self, chunk: &[u8], end: bool, now: Timestamp, out: &mut Vec<u8>) -> ResponseProgress {
        let _ = (chunk, end, now, out);
        ResponseProgress::Flowing
    }

    /// A callout was answered. In the request phase the result is [`Resumed::Request`].
    pub fn handle_callout_reply(&mut self, id: CalloutId, reply: CalloutReply<'_>, now: Timestamp, out: &mut Vec<u8>) -> Resumed {
        let _ = (id, reply, now, out);
        Resumed::Nothing
    }

    /// Time passed: ends questions whose deadline is over.
    pub fn handle_tick(&mut self, now: Timestamp, out: &mut Vec<u8>) -> Resumed {
        let _ = (now, out);
        Resumed::Nothing
    }

    /// The exchange is over. Runs `on_stream_complete` of every policy and records the enforcement event, once.
    pub fn handle_end(&mut self, reason: EndReason, now: Timestamp) {
        let _ = (reason, now);
    }

    /// The next thing to be carried out beside the stream.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        None
    }

    /// When [`Self::handle_tick`] must be called at the latest.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        None
    }

    /// An upper bound, in bytes, of what can still leave of that which is held: the held bytes and the replacements for
    /// them. A proxy that pauses must have room for it.
    pub fn max_release_bytes(&self) -> usize {
        0
    }

    /// What the exchange came to, for access logs: decision, and time spent holding.
    pub fn decision(&self) -> crate::decision::Decision {
        crate::decision::Decision::Allow
    }

    /// The time for which a part of the response was held.
    pub fn held_time(&self) -> Duration {
        Duration::ZERO
    }
}

/// What a callout's reply, or the passing of time, set going again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "the request or response must be resumed as this says"]
pub enum Resumed {
    /// Nothing that concerns the stream.
    Nothing,
    /// The request.
    Request(RequestProgress),
    /// The response; what it released was appended to `out`.
    Response(ResponseProgress),
}
