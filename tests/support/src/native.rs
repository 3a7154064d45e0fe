//! Plays scripts against the engine alone, in the way in which a proxy would.

use core::time::Duration;
use std::sync::Arc;

use serde_json::Value;
use weir::chain::Chain;
use weir::decision::Decision;
use weir::dialect::Dialect;
use weir::document::{Document, DocumentError, Registry};
use weir::event::Event;
use weir::exchange::{
    Callout, CalloutId, Effect, EndReason, Exchange, Observation, RequestHead, RequestProgress, ResponseHead, ResponseMode,
    ResponseProgress, Resumed,
};
use weir::id::CallId;
use weir::judge::CalloutReply;
use weir::time::Timestamp;

use crate::script::{self, JudgeReply, Script, Step};

/// What came of a script.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What became of the request.
    pub request: RequestOutcome,
    /// The status that the client saw; 0 when it saw none.
    pub status: u16,
    /// The body that the client received.
    pub client: Vec<u8>,
    /// What left, and which step made it leave.
    pub releases: Vec<Release>,
    /// What was to be done with the response, once its head came.
    pub mode: Option<ResponseMode>,
    /// The events, in order.
    pub events: Vec<Event>,
    /// The measurements, in order.
    pub observations: Vec<Observation>,
    /// What the exchange came to.
    pub decision: Decision,
    /// The judge was asked this.
    pub callouts: Vec<Callout>,
    /// The most that the engine said it could still release.
    pub max_release_bytes: usize,
    /// The time for which a part of the response was held.
    pub held_time: Duration,
    /// Whether something was still undecided when the last step was over and every answer was in.
    pub stuck: bool,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    /// It left as it came.
    Sent,
    /// It left with this body.
    SentBody(Vec<u8>),
    /// It did not leave: the client got an answer.
    Answered,
    /// Nothing was decided by the end of the script.
    Held,
}

/// Bytes that left for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Number of the step in the script.
    pub step: usize,
    /// What made them leave.
    pub cause: Cause,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// What made bytes leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A step of the script.
    Step,
    /// An answer of the judge to the callout of this number.
    Answer(u32),
    /// A deadline.
    Deadline,
}

impl Outcome {
    /// Events of this type.
    pub fn events_of(&self, event_type: &str) -> Vec<&Event> {
        self.events.iter().filter(|event| event.event_type == event_type).collect()
    }

    /// The metadata of the only enforcement event.
    ///
    /// # Panics
    /// When there is not exactly one.
    #[track_caller]
    pub fn enforcement(&self) -> Value {
        let events = self.events_of("enforcement");
        assert_eq!(events.len(), 1, "one enforcement event was expected in {:#?}", self.events);
        Value::Object(events[0].metadata.clone())
    }

    /// The client's bytes as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.client).into_owned()
    }
}

/// Plays `script`; `registry` knows the policies that its document names.
///
/// # Panics
/// When the document is wrong, or the engine breaks the contract of its methods.
#[track_caller]
pub fn play(script: &Script, registry: &Registry) -> Outcome {
    play_as(CallId::from_bytes(*b"a test's call id"), script, registry)
}

/// [`play`] with the exchange's id, which stands in what the engine writes itself.
///
/// # Panics
/// As [`play`] does.
#[track_caller]
pub fn play_as(call_id: CallId, script: &Script, registry: &Registry) -> Outcome {
    let chain = load(&script.document, registry).unwrap_or_else(|error| panic!("the script's document is wrong: {error}"));
    play_chain(call_id, script, Arc::new(chain))
}

/// Reads a policy document.
///
/// # Errors
/// When it is wrong.
pub fn load(document: &Value, registry: &Registry) -> Result<Chain, DocumentError> {
    Document::parse(&document.to_string(), registry, &|_| None).map(|document| document.chain)
}

fn play_chain(call_id: CallId, script: &Script, chain: Arc<Chain>) -> Outcome {
    let now = Timestamp::from_unix(Duration::from_secs(1_760_000_000));
    let mut play = Play {
        script,
        exchange: Exchange::new(chain, call_id, now),
        now,
        step: 0,
        due: Vec::new(),
        phase: Phase::Request,
        waiting: false,
        response_ended: false,
        ended: false,
        outcome: Outcome {
            request: RequestOutcome::Held,
            status: 0,
            client: Vec::new(),
            releases: Vec::new(),
            mode: None,
            events: Vec::new(),
            observations: Vec::new(),
            decision: Decision::Allow,
            callouts: Vec::new(),
            max_release_bytes: 0,
            held_time: Duration::ZERO,
            stuck: false,
        },
    };
    for (number, step) in script.steps.iter().enumerate() {
        play.step = number;
        play.take(step);
        play.answer_due();
    }
    play.finish();
    play.outcome
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Request,
    Response,
    /// The response passes ungoverned.
    Pass,
    /// The client has its whole answer.
    Answered,
    /// The output is over; the rest of the response is dropped.
    Finished,
}

struct Play<'s> {
    script: &'s Script,
    exchange: Exchange,
    now: Timestamp,
    step: usize,
    due: Vec<Due>,
    phase: Phase,
    waiting: bool,
    response_ended: bool,
    ended: bool,
    outcome: Outcome,
}

struct Due {
    id: CalloutId,
    step: usize,
    reply: JudgeReply,
}

impl Play<'_> {
    fn take(&mut self, step: &Step) {
        if self.ended {
            return;
        }
        match step {
            Step::RequestHead { method, path, headers, end } => {
                let head = RequestHead {
                    method: method.as_bytes(),
                    path: path.as_bytes(),
                    content_type: header(headers, "content-type"),
                    content_encoding: header(headers, "content-encoding"),
                    content_length: core::str::from_utf8(header(headers, "content-length"))
                        .ok()
                        .and_then(|text| text.parse().ok()),
                    traceparent: header(headers, "traceparent"),
                    policy_user: header(headers, "x-policy-user"),
                    accept: header(headers, "accept"),
                    mcp_protocol_version: header(headers, "mcp-protocol-version"),
                    mcp_method: header(headers, "mcp-method"),
                    mcp_name: header(headers, "mcp-name"),
                };
                let progress = self.exchange.handle_request_head(&head, *end, self.now);
                self.request(progress);
            }
            Step::RequestBody { chunk, end } if self.outcome.request == RequestOutcome::Held => {
                let progress = self.exchange.handle_request_body(chunk, *end, self.now);
                self.request(progress);
            }
            Step::RequestBody { .. } => {}
            Step::ResponseHead { status, headers, end } => self.response_head(*status, headers, *end),
            Step::ResponseBody { chunk, end } => self.response_body(chunk, *end),
            Step::Elapse(duration) => self.elapse(*duration),
            Step::ClientGone => self.end(EndReason::ClientGone),
            Step::UpstreamReset => self.end(EndReason::UpstreamBroke),
        }
        self.drain_effects();
    }

    fn response_head(&mut self, status: u16, headers: &[(String, Vec<u8>)], end: bool) {
        if matches!(self.outcome.request, RequestOutcome::Answered | RequestOutcome::Held) {
            return;
        }
        let head = ResponseHead {
            status,
            content_type: header(headers, "content-type"),
            content_encoding: header(headers, "content-encoding"),
        };
        let mode = self.exchange.handle_response_head(&head, end, self.now);
        self.response_ended = end;
        self.outcome.mode = Some(mode);
        self.outcome.status = status;
        self.phase = if mode == ResponseMode::Pass { Phase::Pass } else { Phase::Response };
        if mode == ResponseMode::Refuse {
            self.response_body(&[], false);
        }
    }

    fn response_body(&mut self, chunk: &[u8], end: bool) {
        self.response_ended |= end && self.phase != Phase::Request;
        match self.phase {
            Phase::Pass => self.release(Cause::Step, chunk.to_vec()),
            Phase::Response | Phase::Finished => {
                let mut out = Vec::new();
                let progress = self.exchange.handle_response_body(chunk, end, self.now, &mut out);
                self.response(Cause::Step, progress, out);
            }
            Phase::Request | Phase::Answered => {}
        }
    }

    fn request(&mut self, progress: RequestProgress) {
        match progress {
            RequestProgress::Hold => {}
            RequestProgress::Send => self.outcome.request = RequestOutcome::Sent,
            RequestProgress::SendBody(body) => self.outcome.request = RequestOutcome::SentBody(body),
            RequestProgress::Answer(reply) => {
                self.outcome.request = RequestOutcome::Answered;
                self.outcome.status = reply.status;
                self.phase = Phase::Answered;
                self.release(Cause::Step, reply.body);
            }
        }
    }

    fn response(&mut self, cause: Cause, progress: ResponseProgress, out: Vec<u8>) {
        assert!(
            self.phase != Phase::Finished || out.is_empty(),
            "bytes left after the output was over: {}",
            String::from_utf8_lossy(&out)
        );
        self.release(cause, out);
        self.waiting = progress == ResponseProgress::Waiting;
        match progress {
            ResponseProgress::Flowing | ResponseProgress::Waiting => {}
            ResponseProgress::Finished => self.phase = Phase::Finished,
            ResponseProgress::Answer(reply) => {
                assert!(self.outcome.client.is_empty(), "an answer came after bytes of the response had left");
                self.outcome.status = reply.status;
                self.phase = Phase::Answered;
                self.release(cause, reply.body);
            }
        }
        self.outcome.max_release_bytes = self.outcome.max_release_bytes.max(self.exchange.max_release_bytes());
    }

    fn resumed(&mut self, cause: Cause, resumed: Resumed, out: Vec<u8>) {
        match resumed {
            Resumed::Nothing => assert!(out.is_empty(), "bytes left, but nothing was said to be resumed"),
            Resumed::Request(progress) => self.request(progress),
            Resumed::Response(progress) => self.response(cause, progress, out),
        }
    }

    fn release(&mut self, cause: Cause, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.outcome.client.extend_from_slice(&bytes);
            self.outcome.releases.push(Release { step: self.step, cause, bytes });
        }
    }

    fn drain_effects(&mut self) {
        while let Some(effect) = self.exchange.poll_effect() {
            match effect {
                Effect::Callout(callout) => self.asked(callout),
                Effect::Event(event) => self.outcome.events.push(event),
                Effect::Observe(observation) => self.outcome.observations.push(observation),
                _ => {}
            }
        }
    }

    fn asked(&mut self, callout: Callout) {
        let rule = self.script.rule_for(&callout.body);
        if rule.reply != JudgeReply::Silence {
            // That a question cannot be sent is known before any answer comes.
            let (delay, position) = match rule.reply {
                JudgeReply::NotSent => (0, self.due.partition_point(|due| due.reply == JudgeReply::NotSent)),
                _ => (rule.delay, self.due.len()),
            };
            let step = self.step.saturating_add(delay);
            self.due.insert(position, Due { id: callout.id, step, reply: rule.reply.clone() });
        }
        self.outcome.callouts.push(callout);
    }

    /// Brings the answers that are due, and those to questions that they give rise to.
    fn answer_due(&mut self) {
        while let Some(position) = self.due.iter().position(|due| due.step <= self.step) {
            let due = self.due.remove(position);
            self.answer(&due);
        }
    }

    fn answer(&mut self, due: &Due) {
        if self.ended {
            return;
        }
        let response = due.reply.response();
        let reply = match (&due.reply, &response) {
            (_, Some((status, body))) => CalloutReply::Response { status: *status, body },
            (JudgeReply::NotSent, None) => CalloutReply::NotSent,
            (_, None) => CalloutReply::Broken,
        };
        let mut out = Vec::new();
        let resumed = self.exchange.handle_callout_reply(due.id, reply, self.now, &mut out);
        self.resumed(Cause::Answer(due.id.0), resumed, out);
        self.drain_effects();
    }

    /// Lets time pass, and stops at each deadline on the way as a proxy's timer would.
    fn elapse(&mut self, duration: Duration) {
        let until = self.now.after(duration);
        while let Some(deadline) = self.exchange.next_deadline().filter(|deadline| *deadline <= until) {
            self.now = self.now.max(deadline);
            self.tick();
        }
        self.now = until;
    }

    fn tick(&mut self) {
        let mut out = Vec::new();
        let resumed = self.exchange.handle_tick(self.now, &mut out);
        self.resumed(Cause::Deadline, resumed, out);
        self.drain_effects();
    }

    fn end(&mut self, reason: EndReason) {
        if !self.ended {
            self.ended = true;
            self.outcome.decision = self.exchange.decision();
            self.exchange.handle_end(reason, self.now);
            self.outcome.decision = self.outcome.decision.max(self.exchange.decision());
            self.outcome.held_time = self.exchange.held_time();
            self.drain_effects();
        }
    }

    /// Brings the answers that are still on their way, lets deadlines pass, and ends the exchange.
    fn finish(&mut self) {
        self.step = self.script.steps.len();
        while !self.due.is_empty() && !self.ended {
            let due = self.due.remove(0);
            self.answer(&due);
        }
        // Each deadline ends a question: no exchange of a test asks a hundred. With the response the exchange is over, whatever
        // is still asked.
        for _ in 0..100 {
            let is_over = self.ended || (self.response_ended && !self.waiting);
            let Some(deadline) = self.exchange.next_deadline().filter(|_| !is_over) else { break };
            self.now = self.now.max(deadline);
            self.tick();
        }
        self.outcome.stuck = self.waiting && !self.ended;
        // What a script leaves open the client does not wait for.
        let is_complete = self.response_ended || self.phase == Phase::Answered;
        self.end(if is_complete { EndReason::Completed } else { EndReason::ClientGone });
    }
}

fn header<'h>(headers: &'h [(String, Vec<u8>)], name: &str) -> &'h [u8] {
    headers.iter().find(|(known, _)| known == name).map_or(&[], |(_, value)| value)
}

/// Streams `chunks` through an exchange with `chain` and gives back what left: [`play`] without the bookkeeping, for
/// tests that stream many thousand times. No judge answers.
pub fn stream_through<'c>(chain: &Arc<Chain>, dialect: Dialect, chunks: impl IntoIterator<Item = &'c [u8]>) -> Vec<u8> {
    let now = Timestamp::default();
    let mut exchange = Exchange::new(Arc::clone(chain), CallId::from_bytes([7; 16]), now);
    let head = RequestHead {
        method: b"POST",
        path: script::path(dialect).as_bytes(),
        content_type: b"application/json",
        ..RequestHead::default()
    };
    let request = script::request_body(dialect, true).to_string();
    let held = exchange.handle_request_head(&head, false, now);
    assert_eq!(held, RequestProgress::Hold, "a governed request is held until it was read");
    let sent = exchange.handle_request_body(request.as_bytes(), true, now);
    assert_eq!(sent, RequestProgress::Send, "no policy touched the request");
    let head = ResponseHead { status: 200, content_type: b"text/event-stream", content_encoding: b"" };
    let mode = exchange.handle_response_head(&head, false, now);
    assert_eq!(mode, ResponseMode::Stream, "a stream is read as one");
    let mut out = Vec::new();
    for chunk in chunks {
        let _ = exchange.handle_response_body(chunk, false, now, &mut out);
        while exchange.poll_effect().is_some() {}
    }
    let _ = exchange.handle_response_body(b"", true, now, &mut out);
    exchange.handle_end(EndReason::Completed, now);
    while exchange.poll_effect().is_some() {}
    out
}
