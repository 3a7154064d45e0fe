//! An exchange that is being played, in the way in which a proxy would.

use core::time::Duration;
use std::sync::Arc;

use weir::exchange::{
    Callout, CalloutId, Effect, EndReason, Exchange, Observation, RequestHead, RequestProgress, ResponseHead, ResponseMode,
    ResponseProgress, Resumed,
};
use weir::time::Timestamp;

use crate::outcome::{Cause, Outcome, Release, RequestOutcome};
use crate::player::Player;
use crate::service::{Answer, ServiceReply};
use crate::step::Step;

/// Most deadlines that are let pass at the end: each ends a wait.
const MAX_DEADLINES: usize = 100;

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

/// An exchange that is being played.
#[derive(Debug)]
pub struct Play<'p> {
    player: &'p Player,
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

#[derive(Debug)]
struct Due {
    id: CalloutId,
    step: usize,
    reply: ServiceReply,
}

impl<'p> Play<'p> {
    pub(crate) fn new(player: &'p Player) -> Self {
        Self {
            player,
            exchange: Exchange::new(Arc::clone(&player.chain), player.call_id, player.now),
            now: player.now,
            step: 0,
            due: Vec::new(),
            phase: Phase::Request,
            waiting: false,
            response_ended: false,
            ended: false,
            outcome: Outcome::new(),
        }
    }

    /// Takes the next step, and brings the answers that are due with it.
    pub fn take(&mut self, step: &Step) {
        if !self.ended {
            self.carry_out(step);
            self.drain_effects();
            self.answer_due();
        }
        self.step = self.step.saturating_add(1);
    }

    /// Gives what has come of it so far.
    pub const fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    fn carry_out(&mut self, step: &Step) {
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
                    policy_user: header(headers, &self.player.chain.identity.user_header),
                    session: header(headers, self.player.chain.rollout.session_header()),
                    accept: header(headers, "accept"),
                    mcp_protocol_version: header(headers, "mcp-protocol-version"),
                    mcp_method: header(headers, "mcp-method"),
                    mcp_name: header(headers, "mcp-name"),
                    caller: Some(&self.player.caller),
                };
                let progress = self.exchange.handle_request_head(&head, *end, self.now);
                self.request(Cause::Step, progress);
            }
            Step::RequestBody { chunk, end } if self.outcome.request == RequestOutcome::Held || self.exchange.has_observers() => {
                let progress = self.exchange.handle_request_body(chunk, *end, self.now);
                self.request(Cause::Step, progress);
            }
            Step::RequestBody { .. } => {}
            Step::ResponseHead { status, headers, end } => self.response_head(*status, headers, *end),
            Step::ResponseBody { chunk, end } => self.response_body(chunk, *end),
            Step::Elapse(duration) => self.elapse(*duration),
            Step::ClientGone => self.end(EndReason::ClientGone),
            Step::UpstreamReset => self.end(EndReason::UpstreamBroke),
        }
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
        self.outcome.content_type = self.exchange.response_content_type().map(ToOwned::to_owned);
        self.outcome.status = status;
        self.phase = if mode == ResponseMode::Pass { Phase::Pass } else { Phase::Response };
        if mode == ResponseMode::Refuse {
            self.response_body(&[], false);
        }
    }

    fn response_body(&mut self, chunk: &[u8], end: bool) {
        match self.phase {
            Phase::Pass => {
                self.response_ended |= end;
                self.release(Cause::Step, chunk.to_vec());
            }
            Phase::Response | Phase::Finished => {
                let mut out = Vec::new();
                let progress = self.feed(chunk, end, &mut out);
                self.response(Cause::Step, progress, out);
            }
            Phase::Answered => self.response_ended |= end,
            Phase::Request => {}
        }
    }

    fn feed(&mut self, chunk: &[u8], end: bool, out: &mut Vec<u8>) -> ResponseProgress {
        self.response_ended |= end;
        self.exchange.handle_response_body(chunk, end, self.now, out)
    }

    /// Takes bytes of the response's body in as [`Self::take`] does, and appends what leaves to `out` without noting it in the
    /// outcome: for who plays long streams again and again. Services answer at once.
    pub fn stream(&mut self, chunk: &[u8], end: bool, out: &mut Vec<u8>) {
        match self.phase {
            Phase::Response => {}
            Phase::Pass => return out.extend_from_slice(chunk),
            Phase::Request | Phase::Answered | Phase::Finished => return,
        }
        let _noted_by_the_effects = self.feed(chunk, end, out);
        while let Some(effect) = self.exchange.poll_effect() {
            if let Some(callout) = self.note(effect, out) {
                let reply = (self.player.services)(&callout);
                let _what_left_is_in_out = self.exchange.handle_callout_reply(callout.id, reply.reply(), self.now, out);
                self.outcome.callouts.push(callout);
            }
        }
    }

    fn request(&mut self, cause: Cause, progress: RequestProgress) {
        match progress {
            RequestProgress::Hold => {}
            RequestProgress::Send | RequestProgress::Observe => self.outcome.request = RequestOutcome::Sent,
            RequestProgress::SendBody(body) => self.outcome.request = RequestOutcome::SentBody(body),
            RequestProgress::Answer(reply) => {
                self.outcome.request = RequestOutcome::Answered;
                self.outcome.status = reply.status;
                self.phase = Phase::Answered;
                self.release(cause, reply.body);
            }
        }
    }

    fn response(&mut self, cause: Cause, progress: ResponseProgress, out: Vec<u8>) {
        if self.phase == Phase::Finished && !out.is_empty() {
            self.outcome.faults.push(format!("bytes left after the output was over: {}", String::from_utf8_lossy(&out)));
        }
        self.release(cause, out);
        self.waiting = progress == ResponseProgress::Waiting;
        match progress {
            ResponseProgress::Flowing | ResponseProgress::Waiting => {}
            ResponseProgress::Finished => self.phase = Phase::Finished,
            ResponseProgress::Answer(reply) => {
                if !self.outcome.client.is_empty() {
                    self.outcome.faults.push("an answer came after bytes of the response had left".to_owned());
                }
                self.outcome.status = reply.status;
                self.phase = Phase::Answered;
                self.release(cause, reply.body);
            }
        }
        self.outcome.max_release_bytes = self.outcome.max_release_bytes.max(self.exchange.max_release_bytes());
        self.outcome.most_held_bytes = self.outcome.most_held_bytes.max(self.exchange.held_bytes());
    }

    fn resumed(&mut self, cause: Cause, resumed: Resumed, out: Vec<u8>) {
        match resumed {
            Resumed::Nothing if out.is_empty() => {}
            Resumed::Nothing => self.outcome.faults.push("bytes left, but nothing was said to be resumed".to_owned()),
            Resumed::Request(progress) => self.request(cause, progress),
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
            let mut out = Vec::new();
            match effect {
                Effect::Store(request) => {
                    let stored = self.player.store(&request, self.now);
                    let resumed = self.exchange.handle_store_reply(request.id, stored, self.now, &mut out);
                    self.resumed(Cause::Step, resumed, out);
                }
                effect => {
                    if let Some(callout) = self.note(effect, &mut out) {
                        self.asked(callout);
                    }
                }
            }
        }
    }

    /// Notes an effect, and carries it out where that needs no service; gives the callout that does.
    fn note(&mut self, effect: Effect, out: &mut Vec<u8>) -> Option<Callout> {
        match effect {
            Effect::Callout(callout) => return Some(callout),
            Effect::Store(request) => {
                let stored = self.player.store(&request, self.now);
                let _what_left_is_in_out = self.exchange.handle_store_reply(request.id, stored, self.now, out);
            }
            Effect::Event(event) => self.outcome.events.push(event),
            Effect::Observe(Observation::HookRan(run)) => self.outcome.hooks.push(run),
            Effect::Observe(observation) => self.outcome.observations.push(observation),
        }
        None
    }

    fn asked(&mut self, callout: Callout) {
        let reply = (self.player.services)(&callout);
        if reply.answer != Answer::Silence {
            // That a question cannot be sent is known before any answer comes.
            let (delay, position) = match reply.answer {
                Answer::NotSent => (0, self.due.partition_point(|due| due.reply.answer == Answer::NotSent)),
                _ => (reply.delay, self.due.len()),
            };
            self.due.insert(position, Due { id: callout.id, step: self.step.saturating_add(delay), reply });
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
        let mut out = Vec::new();
        let resumed = self.exchange.handle_callout_reply(due.id, due.reply.reply(), self.now, &mut out);
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

    /// Brings the verdicts that an observed exchange awaits beyond its end.
    fn finish_observing(&mut self) {
        self.drain_effects();
        for _ in 0..MAX_DEADLINES {
            if !self.exchange.is_finishing() {
                return;
            }
            let mut out = Vec::new();
            let resumed = if self.due.is_empty() {
                self.now = self.exchange.next_deadline().map_or(self.now, |deadline| deadline.max(self.now));
                self.exchange.handle_tick(self.now, &mut out)
            } else {
                let due = self.due.remove(0);
                self.exchange.handle_callout_reply(due.id, due.reply.reply(), self.now, &mut out)
            };
            self.resumed(Cause::Deadline, resumed, out);
            self.drain_effects();
        }
    }

    fn end(&mut self, reason: EndReason) {
        if !self.ended {
            self.ended = true;
            self.outcome.decision = self.exchange.decision();
            self.exchange.handle_end(reason, self.now);
            self.finish_observing();
            self.outcome.decision = self.outcome.decision.max(self.exchange.decision());
            self.outcome.held_time = self.exchange.held_time();
            self.drain_effects();
        }
    }

    /// Brings the answers that are still on their way, lets deadlines pass, and ends the exchange.
    pub fn finish(mut self) -> Outcome {
        while !self.due.is_empty() && !self.ended {
            let due = self.due.remove(0);
            self.answer(&due);
        }
        for _ in 0..MAX_DEADLINES {
            // With the response the exchange is over, whatever is still asked.
            let is_over = self.ended || (self.response_ended && !self.waiting);
            let Some(deadline) = self.exchange.next_deadline().filter(|_| !is_over) else { break };
            self.now = self.now.max(deadline);
            self.tick();
        }
        self.outcome.stuck = self.waiting && !self.ended;
        // What is left open the client does not wait for.
        let is_complete = self.response_ended || self.phase == Phase::Answered;
        self.end(if is_complete { EndReason::Completed } else { EndReason::ClientGone });
        self.outcome
    }
}

fn header<'h>(headers: &'h [(String, Vec<u8>)], name: &str) -> &'h [u8] {
    headers.iter().find(|(known, _)| known == name).map_or(&[], |(_, value)| value)
}
