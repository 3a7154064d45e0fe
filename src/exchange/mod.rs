//! An exchange: one request and its response.

mod arms;
mod calls;
mod enforcement;
mod observed;
mod observer;
mod pipeline;
mod raw;
mod release_queue;
mod replay;
mod request;
mod response;
mod stage;

pub use self::arms::Exchange;
pub use crate::effect::{Callout, CalloutId, CalloutReply, Effect, HookRun, Observation};
pub use crate::end::{End, EndReason};
pub use crate::head::{Request, RequestHead, Response, ResponseHead};

use core::time::Duration;
use core::{fmt, mem};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use self::calls::{Calls, Wire};
use self::enforcement::Told;
use self::pipeline::Pipeline;
use self::raw::{MAX_RAW_GROWTH, Passed, RawEdge};
use self::replay::{Given, Replay};
use self::request::{Asking, Reading};
use self::response::{Governed, Opening};
use crate::after_block::Rest;
use crate::answer::{Answer, AnswerBlock, AnswerChoice};
use crate::chain::Chain;
use crate::decision::Decision;
use crate::dialect::framing::RESPONSE_WITHHELD;
use crate::dialect::reply::Reply;
use crate::dialect::{Dialect, Ending};
use crate::head::is_event_stream;
use crate::id::CallId;
use crate::policy::{Part, Shared};
use crate::rollout::Tally;
use crate::route::Endpoint;
use crate::state::{StateError, StoreRequestId, Stored};
use crate::time::{Now, Timestamp};

/// What is to happen to the request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "the request must be held, sent or answered as this says"]
pub enum RequestProgress {
    /// Nothing of it may leave yet: go on feeding, or wait for a callout's reply.
    Hold,
    /// It leaves as it came.
    Send,
    /// It leaves as it comes, at once, and nothing of it is to be touched; its body is to be fed all the same, for observation.
    Observe,
    /// It leaves with this body, which is not encoded; its length is to be corrected.
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
    /// It passes as it is, head and body, at once, and nothing of it is to be touched; its body is to be fed all the same, for
    /// observation, up to its end.
    Observe,
    /// It is announced as an event stream: remove `content-length` and `content-encoding`, set the `content-type` to
    /// [`Exchange::response_content_type`], feed the body, send what comes out at once.
    Stream,
    /// It is announced as a whole JSON body: as [`Self::Stream`], but all comes out at its end. Hold the head until then
    /// where that can be done, so that the status can still change, or until [`Exchange::is_response_streamed`].
    Whole,
    /// It cannot be read, and is blocked: answer, or treat as a [`Self::Stream`] that yields an error.
    Refuse,
}

/// One request and its response, on the way through the policies.
///
/// ```text
///  Start ──head──► Reading ──last byte──► Asking ──hooks──► Calls ──verdicts──► Sent ──response head──► Governed
///    │                │                     │         (MCP)   │                   │
///    │                └──── unreadable, ────┴───── answered, ─┴──► Answered ◄──── Refused ◄── cannot be read
///    │                      too large              refused                        │
///    └──► no concern of the chain ──────────────────────────────► Passing ◄────┘ an upstream error, nothing to read
/// ```
/// An answer of a policy's that the policies behind it are to see is `Replaying` between the hooks and `Answered`.
/// Of MCP, the calls that stand in the request are decided (`Calls`) between the hooks and `Sent`. `handle_end` comes
/// from every state, once.
struct Governing {
    shared: Rc<Shared>,
    pipeline: Pipeline,
    /// Where policies see bytes.
    raw: Option<RawEdge>,
    phase: Phase,
    began: Timestamp,
    max_held_bytes: usize,
    request_bytes: u64,
    response_bytes: u64,
    status: u16,
    streamed: bool,
    ended: bool,
    /// What became of the rest of the provider's stream, where the client's was ended before it.
    rest: Option<Rest>,
    /// What it came to, once it is over.
    tally: Option<Tally>,
    /// It is over, and its enforcement event has still to be recorded.
    closed: Option<Closed>,
}

/// What the enforcement event is made of.
struct Closed {
    facts: enforcement::Facts,
    changes: Option<serde_json::Value>,
}

enum Phase {
    Start,
    /// Neither request nor response is looked at (any more).
    Passing,
    Reading(Reading),
    Asking(Asking),
    /// The calls in the request are being decided.
    Calls(Box<Calls>),
    /// A policy's answer is on its way through the policies behind it.
    Replaying(Box<Replay>),
    /// The request is on its way to the provider. Of MCP, what the answer is read and written with.
    Sent(Option<Box<Wire>>),
    /// The client has got an answer that was made here.
    Answered,
    /// The response was refused by its head; the answer waits to be fetched.
    Refused(Reply),
    Governed(Box<Governed>),
}

impl fmt::Debug for Governing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match &self.phase {
            Phase::Start => "Start",
            Phase::Passing => "Passing",
            Phase::Reading(_) => "Reading",
            Phase::Asking(_) => "Asking",
            Phase::Calls(_) => "Calls",
            Phase::Replaying(_) => "Replaying",
            Phase::Sent(_) => "Sent",
            Phase::Answered => "Answered",
            Phase::Refused(_) => "Refused",
            Phase::Governed(_) => "Governed",
        };
        f.debug_struct("Governing").field("call_id", &self.shared.call_id).field("phase", &phase).finish_non_exhaustive()
    }
}

impl Governing {
    /// An exchange at its beginning.
    fn new(chain: Arc<Chain>, part: Part, call_id: CallId, now: Timestamp) -> Self {
        let max_held_bytes = chain.limits.max_held_bytes;
        let shared = Rc::new(Shared::new(chain, part, call_id, now));
        let pipeline = Pipeline::new(&shared);
        let raw = shared.interests().raw.then(RawEdge::default);
        Self {
            shared,
            pipeline,
            raw,
            phase: Phase::Start,
            began: now,
            max_held_bytes,
            request_bytes: 0,
            response_bytes: 0,
            status: 0,
            streamed: false,
            ended: false,
            rest: None,
            tally: None,
            closed: None,
        }
    }

    /// The same exchange at its beginning, with that part of the policies.
    fn anew(&self, part: Part, now: Timestamp) -> Self {
        let mut governing = Self::new(Arc::clone(&self.shared.chain), part, self.call_id(), now);
        governing.limit_held_bytes(self.max_held_bytes);
        governing
    }

    /// Id of the exchange.
    fn call_id(&self) -> CallId {
        self.shared.call_id
    }

    /// Lowers the bound on held bytes, because the proxy is known to buffer less than the frame assumes.
    fn limit_held_bytes(&mut self, bytes: usize) {
        self.max_held_bytes = self.max_held_bytes.min(bytes);
    }

    /// Whether the request's body may leave changed, and so with another length.
    fn may_rewrite_request(&self) -> bool {
        matches!(self.phase, Phase::Reading(_) | Phase::Asking(_) | Phase::Calls(_)) && request::may_change(&self.shared)
    }

    /// Whether the request is on its way and what comes back will be read: it must not be compressed.
    fn reads_response(&self) -> bool {
        matches!(self.phase, Phase::Sent(_)) && self.shared.interests().reads_response()
    }

    /// Whether the request's body comes encoded. Where it may be rewritten it leaves decoded, rewritten or not.
    fn is_request_encoded(&self) -> bool {
        matches!(&self.phase, Phase::Reading(reading) if reading.is_encoded())
    }

    /// The request head came; `end` if no body follows.
    fn handle_request_head(&mut self, head: &RequestHead<'_>, end: bool, now: Timestamp) -> RequestProgress {
        self.shared.set_now(now);
        let step = request::begin(&self.shared, head, end);
        self.take_step(step)
    }

    /// Bytes of the request body came; the engine keeps them until `end`.
    fn handle_request_body(&mut self, chunk: &[u8], end: bool, now: Timestamp) -> RequestProgress {
        self.shared.set_now(now);
        self.request_bytes = self.request_bytes.saturating_add(chunk.len() as u64);
        match mem::replace(&mut self.phase, Phase::Passing) {
            Phase::Reading(reading) => {
                let step = request::read(&self.shared, &self.pipeline, reading, chunk, end);
                self.take_step(step)
            }
            phase => {
                let holds = matches!(phase, Phase::Asking(_) | Phase::Calls(_) | Phase::Replaying(_));
                self.phase = phase;
                if holds { RequestProgress::Hold } else { RequestProgress::Send }
            }
        }
    }

    fn take_step(&mut self, step: request::Step) -> RequestProgress {
        let step =
            if let request::Step::Asking(asking) = step { request::ask(&self.shared, &self.pipeline, asking) } else { step };
        self.renew_deadlines();
        match step {
            request::Step::Ungoverned | request::Step::Unread => {
                self.phase = Phase::Passing;
                RequestProgress::Send
            }
            request::Step::Reading(reading) => {
                self.phase = Phase::Reading(reading);
                RequestProgress::Hold
            }
            request::Step::Asking(asking) => {
                self.phase = Phase::Asking(asking);
                RequestProgress::Hold
            }
            request::Step::Calls { is_rewritten, given } => self.begin_calls(is_rewritten, given),
            request::Step::Given(given) => self.begin_replay(given, None),
            request::Step::Decided(progress) => {
                if let RequestProgress::Answer(reply) = &progress {
                    self.status = reply.status;
                    self.response_bytes = reply.body.len() as u64;
                    self.phase = Phase::Answered;
                } else {
                    self.phase = Phase::Sent(None);
                }
                progress
            }
        }
    }

    /// The hooks let the request pass: its calls are next.
    fn begin_calls(&mut self, is_rewritten: bool, given: Option<Given>) -> RequestProgress {
        if is_rewritten && let Some(refused) = request::read_again(&self.shared) {
            return self.take_step(refused);
        }
        match Calls::begin(&self.shared, &mut self.pipeline, is_rewritten, given) {
            Ok(calls) => self.settle_calls(Box::new(calls)),
            Err(error) => {
                let refused = request::unreadable_calls(&self.shared, error);
                self.take_step(refused)
            }
        }
    }

    fn settle_calls(&mut self, mut calls: Box<Calls>) -> RequestProgress {
        self.renew_deadlines();
        if self.pipeline.is_waiting() {
            self.phase = Phase::Calls(calls);
            return RequestProgress::Hold;
        }
        let given = calls.given.take();
        let (progress, wire) = calls.settle(&self.shared, &self.pipeline);
        request::forget_body(&self.shared);
        if let (RequestProgress::Send, Some(given)) = (&progress, given) {
            return self.begin_replay(given, wire);
        }
        let progress = self.take_step(request::Step::Decided(progress));
        if let Phase::Sent(known) = &mut self.phase {
            *known = wire;
        }
        progress
    }

    /// A policy answers in the provider's place, and the policies behind it are to see what.
    fn begin_replay(&mut self, given: Given, wire: Option<Box<Wire>>) -> RequestProgress {
        self.pipeline.skip_to(given.stage.saturating_add(1));
        let request = self.shared.request();
        let endpoint = request.endpoint.unwrap_or(Endpoint::Unknown);
        let said = request.dialect.map(|dialect| {
            let streamed = if dialect == Dialect::McpTool { self.shared.asked().streams_only() } else { request.stream };
            request::local_answer(&self.shared, dialect, &given.answer, streamed)
        });
        let Some(Ok(reply)) = said else {
            let refused = request::unsayable(&self.shared, endpoint);
            return self.take_step(refused);
        };
        let head = ResponseHead { status: reply.status, content_type: reply.content_type.as_bytes(), content_encoding: b"" };
        match Governed::begin(&self.shared, &head, false, self.max_held_bytes, wire) {
            Opening::Governed(governed) => {
                self.streamed = governed.is_streamed();
                let mut replay = Replay::new(governed, reply.content_type);
                let progress = replay.feed(&self.shared, &mut self.pipeline, &reply.body);
                self.settle_replay(replay, progress)
            }
            Opening::Refused(reply) => self.take_step(request::Step::Decided(RequestProgress::Answer(reply))),
            // No policy behind it looks at answers.
            Opening::Pass => self.take_step(request::Step::Decided(RequestProgress::Answer(reply))),
        }
    }

    fn settle_replay(&mut self, replay: Replay, progress: ResponseProgress) -> RequestProgress {
        self.renew_deadlines();
        match replay.settle(progress) {
            Ok(progress) => self.take_step(request::Step::Decided(progress)),
            Err(waiting) => {
                self.phase = Phase::Replaying(Box::new(waiting));
                RequestProgress::Hold
            }
        }
    }

    /// The response head came; `end` if no body follows.
    fn handle_response_head(&mut self, head: &ResponseHead<'_>, end: bool, now: Timestamp) -> ResponseMode {
        self.shared.set_now(now);
        self.status = head.status;
        self.streamed = is_event_stream(head.content_type);
        let Phase::Sent(wire) = &mut self.phase else { return ResponseMode::Pass };
        if let Some(dialect) = self.shared.request().dialect {
            self.pipeline.begin(dialect);
        }
        match Governed::begin(&self.shared, head, end, self.max_held_bytes, wire.take()) {
            Opening::Pass => {
                self.phase = Phase::Passing;
                ResponseMode::Pass
            }
            Opening::Refused(reply) => {
                self.phase = Phase::Refused(reply);
                ResponseMode::Refuse
            }
            Opening::Governed(governed) => {
                let mode = governed.mode();
                self.streamed = governed.is_streamed();
                self.phase = Phase::Governed(governed);
                mode
            }
        }
    }

    /// What the `content-type` of the response's head is to be set to, once that head came; `None` where it stays as it is.
    fn response_content_type(&self) -> Option<&str> {
        match &self.phase {
            Phase::Governed(governed) => governed.content_type(),
            _ => None,
        }
    }

    /// Whether the response that is fed is an event stream. Its first bytes tell, whatever [`ResponseMode`] its head had:
    /// what comes out of a stream is to be sent at once, and what comes out of a whole body comes at its end.
    fn is_response_streamed(&self) -> bool {
        matches!(&self.phase, Phase::Governed(governed) if governed.is_streamed())
    }

    /// Bytes of the response body came. After [`ResponseMode::Refuse`] the first call, with whatever bytes, gives the answer.
    fn handle_response_body(&mut self, chunk: &[u8], end: bool, now: impl Into<Now>, out: &mut Vec<u8>) -> ResponseProgress {
        self.shared.set_now(now);
        self.response_bytes = self.response_bytes.saturating_add(chunk.len() as u64);
        if let Phase::Governed(governed) = &mut self.phase {
            let start = out.len();
            let progress = governed.feed(&self.shared, &mut self.pipeline, chunk, end, out);
            return self.settle_response(progress, start, out);
        }
        match mem::replace(&mut self.phase, Phase::Answered) {
            Phase::Refused(reply) => self.answer(reply),
            // Whatever else comes after an answer of our own is the provider's, and dropped.
            Phase::Answered if self.shared.output.is_over() => ResponseProgress::Finished,
            phase => {
                self.phase = phase;
                out.extend_from_slice(chunk);
                ResponseProgress::Flowing
            }
        }
    }

    /// As [`Self::handle_response_body`], where there is no memory to work on the bytes: the response gets the verdict for what
    /// is beyond a bound (`limits.on_exceeded`).
    fn handle_shortage(&mut self, chunk: &[u8], end: bool, now: Timestamp, out: &mut Vec<u8>) -> ResponseProgress {
        self.shared.set_now(now);
        if let Phase::Governed(governed) = &mut self.phase {
            let start = out.len();
            let progress = governed.run_short(&self.shared, &mut self.pipeline, chunk, end, out);
            return self.settle_response(progress, start, out);
        }
        self.handle_response_body(chunk, end, now, out)
    }

    /// What the policies let go stands in `out`, from `start` on.
    fn settle_response(&mut self, progress: ResponseProgress, start: usize, out: &mut Vec<u8>) -> ResponseProgress {
        self.streamed = self.is_response_streamed();
        let progress = self.pass_raw(progress, start, out);
        self.renew_deadlines();
        if progress == ResponseProgress::Finished && matches!(&self.phase, Phase::Governed(governed) if !governed.has_ended()) {
            self.rest.get_or_insert(Rest::Drained);
        }
        if let ResponseProgress::Answer(reply) = progress { self.answer(reply) } else { progress }
    }

    /// Shows what leaves to policies that see bytes.
    fn pass_raw(&mut self, progress: ResponseProgress, start: usize, out: &mut Vec<u8>) -> ResponseProgress {
        let Phase::Governed(governed) = &self.phase else { return progress };
        let Some(raw) = self.raw.as_mut().filter(|_| !matches!(progress, ResponseProgress::Answer(_))) else { return progress };
        let came = out.split_off(start.min(out.len()));
        let is_last = progress == ResponseProgress::Finished || (progress == ResponseProgress::Flowing && governed.has_ended());
        let passed = if governed.is_streamed() {
            raw.stream(&self.shared, &self.pipeline, came, is_last, out)
        } else {
            raw.whole(&self.shared, &self.pipeline, &came, is_last, out)
        };
        match passed {
            Passed::Yes => progress,
            Passed::Refused(refusal) => {
                ResponseProgress::Answer(request::refused(&self.shared, self.shared.request().dialect, refusal))
            }
            Passed::Broken if governed.is_streamed() => {
                self.shared.output.break_off();
                ResponseProgress::Finished
            }
            Passed::Broken => {
                let dialect = self.shared.request().dialect;
                ResponseProgress::Answer(request::error(&self.shared, dialect, 502, "raw_too_large", RESPONSE_WITHHELD))
            }
        }
    }

    fn answer(&mut self, reply: Reply) -> ResponseProgress {
        self.shared.output.end();
        self.status = reply.status;
        self.phase = Phase::Answered;
        ResponseProgress::Answer(reply)
    }

    /// What stands for an error once the response's head, with a status of success, has left: a body that says so in the
    /// words of a normal answer, because clients do not look for an error there.
    fn answer_after_head(&self) -> Vec<u8> {
        let Some(dialect) = self.shared.request().dialect else { return Vec::new() };
        if dialect == Dialect::McpTool {
            // JSON-RPC has errors of its own, whatever the status.
            return request::error(&self.shared, Some(dialect), 502, "response_withheld", RESPONSE_WITHHELD).body;
        }
        let choice = AnswerChoice { blocks: vec![AnswerBlock::Text(RESPONSE_WITHHELD.to_owned())], ending: Ending::Refusal };
        let answer = Answer { choices: vec![choice], ..Answer::default() };
        request::local_answer(&self.shared, dialect, &answer, false).map_or_else(|_| Vec::new(), |reply| reply.body)
    }

    /// Shortens `out`, with which the response ends, to the `room` bytes that can still be sent: what leaves can be read to its
    /// end, and says that something is missing.
    fn shorten_end(&mut self, out: &mut Vec<u8>, room: usize) {
        let withheld = self.answer_after_head();
        if let Phase::Governed(governed) = &mut self.phase {
            governed.shorten(&self.shared, withheld, room, out);
        }
        // What is left is either short or not ours.
        out.truncate(room);
    }

    /// A callout was answered. What that sets going in the response is appended to `out`.
    fn handle_callout_reply(&mut self, id: CalloutId, reply: CalloutReply<'_>, now: Timestamp, out: &mut Vec<u8>) -> Resumed {
        self.shared.set_now(now);
        let Some(observation) = self.shared.waits.with(|waits| waits.settle(id, reply, now)) else {
            return Resumed::Nothing;
        };
        self.shared.push_effect(Effect::Observe(observation));
        self.wake(out)
    }

    /// The store answered. What that sets going in the response is appended to `out`.
    fn handle_store_reply(
        &mut self,
        id: StoreRequestId,
        stored: Result<Stored, StateError>,
        now: Timestamp,
        out: &mut Vec<u8>,
    ) -> Resumed {
        self.shared.set_now(now);
        if self.shared.waits.with(|waits| waits.settle_stored(id, stored)) { self.wake(out) } else { Resumed::Nothing }
    }

    /// Time passed: ends the waits whose deadline is over.
    fn handle_tick(&mut self, now: Timestamp, out: &mut Vec<u8>) -> Resumed {
        self.shared.set_now(now);
        if self.shared.waits.with(|waits| waits.expire(now)) { self.wake(out) } else { Resumed::Nothing }
    }

    fn wake(&mut self, out: &mut Vec<u8>) -> Resumed {
        if let Phase::Governed(governed) = &mut self.phase {
            let start = out.len();
            let progress = governed.wake(&self.shared, &mut self.pipeline, out);
            return Resumed::Response(self.settle_response(progress, start, out));
        }
        match mem::replace(&mut self.phase, Phase::Answered) {
            Phase::Asking(asking) => Resumed::Request(self.take_step(request::Step::Asking(asking))),
            Phase::Calls(mut calls) => {
                calls.wake(&mut self.pipeline);
                Resumed::Request(self.settle_calls(calls))
            }
            Phase::Replaying(mut replay) => {
                let progress = replay.wake(&self.shared, &mut self.pipeline);
                Resumed::Request(self.settle_replay(*replay, progress))
            }
            phase => {
                self.phase = phase;
                Resumed::Nothing
            }
        }
    }

    fn renew_deadlines(&self) {
        if self.shared.renews_deadlines.take() {
            let now = self.shared.now();
            self.shared.waits.with(|waits| waits.renew(now));
        }
    }

    /// Whether something of the request or the response is held that no policy has decided about yet.
    fn is_undecided(&self) -> bool {
        match self.phase {
            Phase::Asking(_) | Phase::Calls(_) | Phase::Replaying(_) => true,
            Phase::Governed(_) => !self.shared.output.is_over() && self.pipeline.is_undecided(),
            Phase::Start | Phase::Passing | Phase::Reading(_) | Phase::Sent(_) | Phase::Answered | Phase::Refused(_) => false,
        }
    }

    /// What was let go last did not reach the client: it is not recorded as delivered.
    fn note_unsent(&self) {
        self.shared.outcome.conclude(Decision::Undecided, None);
    }

    /// Refuses the exchange for a reason of the host's: the answer, in the words of the dialect.
    fn refuse(&mut self, status: u16, word: &str, message: &str) -> Reply {
        self.status = status;
        self.shared.outcome.conclude(Decision::Refuse, Some(&word.to_ascii_uppercase()));
        request::error(&self.shared, self.shared.request().dialect, status, word, message)
    }

    /// The exchange is over. Runs `on_stream_complete` of every policy, once; [`Self::record`] is to follow.
    fn handle_end(&mut self, reason: EndReason, now: Timestamp) {
        self.shared.set_now(now);
        let request = self.shared.request();
        let is_ours = request.endpoint.is_some() || matches!(self.phase, Phase::Answered);
        if mem::replace(&mut self.ended, true) || !is_ours {
            return;
        }
        if self.is_undecided() {
            self.shared.outcome.conclude(Decision::Undecided, None);
        }
        self.shared.output.end();
        self.pipeline.abandon();
        let end = End {
            reason,
            status: self.status,
            is_streamed: self.streamed,
            decision: self.shared.outcome.decision(),
            usage: self.shared.usage.get().usage(),
            duration: now.since(self.began),
        };
        self.pipeline.complete(&end);
        let decision = self.shared.outcome.decision();
        let held = self.held_time();
        let facts = enforcement::Facts {
            end,
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            held,
            rest: self.rest,
        };
        self.closed = Some(Closed { facts, changes: self.pipeline.changes() });
        self.tally = Some(Tally {
            // What the engine refuses by itself, anybody can bring about.
            is_refused: decision >= Decision::Escalate && self.shared.outcome.decided_by().is_some(),
            judge_failed: self.shared.waits.with(|waits| waits.failed() > 0),
            client_gone: reason == EndReason::ClientGone,
            went_wrong: reason != EndReason::Completed || self.status >= 500,
            held,
        });
    }

    /// Records the enforcement event of what is over, with what is to be told of single policies' rollouts.
    fn record(&mut self, told: Told) {
        let Some(Closed { facts, changes }) = self.closed.take() else { return };
        enforcement::record(&self.shared, &facts, changes, told);
        let decision = self.shared.outcome.decision();
        let effective = if self.shared.standing.get().is_enforced { decision } else { Decision::Allow };
        self.shared.push_effect(Effect::Observe(Observation::Decided(effective)));
    }

    /// The next thing to be carried out beside the stream.
    fn poll_effect(&mut self) -> Option<Effect> {
        self.shared.effects.with(VecDeque::pop_front)
    }

    /// When [`Self::handle_tick`] must be called at the latest.
    fn next_deadline(&self) -> Option<Timestamp> {
        self.shared.waits.with(|waits| waits.next_deadline())
    }

    /// Whether anything of the response came and has not left; the beginning of an event is nothing that could leave.
    fn is_holding_response(&self) -> bool {
        matches!(&self.phase, Phase::Governed(governed) if governed.is_holding())
    }

    /// An upper bound, in bytes, of what can still leave of that which is held: the held bytes and the replacements for
    /// them. A proxy that pauses must have room for it.
    fn max_release_bytes(&self) -> usize {
        match &self.phase {
            Phase::Governed(governed) => {
                let kept = self.raw.as_ref().map_or(0, |raw| raw.kept_bytes().saturating_add(MAX_RAW_GROWTH));
                governed.max_release_bytes().saturating_add(kept)
            }
            _ => 0,
        }
    }

    /// Bytes that replacements may take beyond [`Self::max_release_bytes`] once a whole body that has begun is read: as many as a
    /// proxy that pauses before its end should have room for, where it can.
    fn max_unread_replacements(&self) -> usize {
        match &self.phase {
            Phase::Governed(governed) => governed.max_unread_replacements(),
            _ => 0,
        }
    }

    /// Bytes of the response, as they came, that wait for a decision.
    fn held_bytes(&self) -> usize {
        match &self.phase {
            Phase::Governed(governed) => governed.held_bytes(),
            _ => 0,
        }
    }

    /// Bytes of bodies that the exchange keeps: what was read and has neither left nor been decided.
    fn kept_bytes(&self) -> usize {
        match &self.phase {
            Phase::Reading(reading) => reading.kept_bytes(),
            Phase::Asking(_) => self.shared.request().body.len(),
            Phase::Calls(calls) => self.shared.request().body.len().saturating_add(calls.kept_bytes()),
            Phase::Replaying(replay) => replay.kept_bytes(),
            Phase::Governed(governed) => governed.kept_bytes().saturating_add(self.raw.as_ref().map_or(0, RawEdge::kept_bytes)),
            _ => 0,
        }
    }

    /// What the chain concluded so far.
    fn decision(&self) -> Decision {
        self.shared.outcome.decision()
    }

    /// The time for which a part of the response was held so far.
    fn held_time(&self) -> Duration {
        match &self.phase {
            Phase::Governed(governed) => governed.held_time(),
            _ => Duration::ZERO,
        }
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
