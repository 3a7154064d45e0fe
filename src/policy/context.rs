//! What hooks can reach.

use core::cell::Cell;
use core::fmt;
use core::ops::Deref;
use core::time::Duration;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::SharedPolicy;
use crate::block::{Chunk, build_text_chunk};
use crate::cell::TakeCell;
use crate::chain::Chain;
use crate::decision::Decision;
use crate::dialect::Dialect;
use crate::dialect::mcp::Asked;
use crate::effect::{Effect, Observation};
use crate::event::{Event, EventKind, Severity, shortened};
use crate::head::Request;
use crate::id::{CallId, TraceContext};
use crate::judge::{JudgeQuestion, Judging, Judgings};
use crate::time::{Now, Timestamp};

/// Output was finished before: nothing more can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputFinished;

impl fmt::Display for OutputFinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the output of this exchange is finished: nothing more can be sent")
    }
}

impl core::error::Error for OutputFinished {}

/// Something that a hook put into the output.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Chunk(Chunk),
    Finish,
}

/// What all contexts of an exchange share with the exchange.
pub(crate) struct Shared {
    pub(crate) chain: Arc<Chain>,
    pub(crate) call_id: CallId,
    now: Cell<Now>,
    pub(crate) request: TakeCell<Rc<Request>>,
    /// What a request of MCP asks; empty for other dialects.
    pub(crate) asked: TakeCell<Rc<Asked>>,
    pub(crate) judgings: TakeCell<Judgings>,
    pub(crate) effects: TakeCell<std::collections::VecDeque<Effect>>,
    pub(crate) outgoing: TakeCell<Vec<Outgoing>>,
    pub(crate) output_finished: Cell<bool>,
    pub(crate) decision: Cell<Decision>,
    pub(crate) reason_code: TakeCell<Option<String>>,
    /// A hook asked for the deadlines of open questions to be renewed.
    pub(crate) renews_deadlines: Cell<bool>,
    /// A hook has asked for that before: questions must be able to take longer than their timeout.
    pub(crate) keeps_alive: Cell<bool>,
    pub(crate) allowlist_hits: TakeCell<Vec<String>>,
    pub(crate) denylist_hits: TakeCell<Vec<String>>,
    events: Cell<u32>,
}

impl Shared {
    pub(crate) fn new(chain: Arc<Chain>, call_id: CallId, now: Timestamp) -> Self {
        Self {
            chain,
            call_id,
            now: Cell::new(Now::At(now)),
            request: TakeCell::default(),
            asked: TakeCell::default(),
            judgings: TakeCell::default(),
            effects: TakeCell::default(),
            outgoing: TakeCell::default(),
            output_finished: Cell::new(false),
            decision: Cell::new(Decision::Allow),
            reason_code: TakeCell::default(),
            renews_deadlines: Cell::new(false),
            keeps_alive: Cell::new(false),
            allowlist_hits: TakeCell::default(),
            denylist_hits: TakeCell::default(),
            events: Cell::new(0),
        }
    }

    /// Something happens to the exchange: what follows happens at that time.
    pub(crate) fn set_now(&self, now: impl Into<Now>) {
        self.now.set(now.into());
    }

    /// The time at which what goes on happens.
    pub(crate) fn now(&self) -> Timestamp {
        let timestamp = self.now.get().timestamp();
        self.now.set(Now::At(timestamp));
        timestamp
    }

    pub(crate) fn request(&self) -> Rc<Request> {
        self.request.with(|request| Rc::clone(request))
    }

    pub(crate) fn asked(&self) -> Rc<Asked> {
        self.asked.with(|asked| Rc::clone(asked))
    }

    pub(crate) fn push_effect(&self, effect: Effect) {
        self.effects.with(|effects| effects.push_back(effect));
    }

    /// Of equal conclusions the first that gives a reason code counts.
    pub(crate) fn conclude(&self, decision: Decision, reason_code: Option<&str>) {
        let known = self.decision.get();
        self.decision.set(known.max(decision));
        self.reason_code.with(|code| {
            if decision > known || (decision == known && code.is_none()) {
                *code = reason_code.map(str::to_owned);
            }
        });
    }

    /// Counts a failure, and tells of it.
    pub(crate) fn fail(&self, word: &'static str, severity: Severity, summary: String, metadata: Map<String, Value>) {
        self.emit(EventKind::Error, None, word, severity, summary, metadata);
        self.push_effect(Effect::Observe(Observation::Failed(word)));
    }

    /// Counts, and tells, that something passed unchecked because the configuration says so.
    pub(crate) fn fail_open(&self, word: &'static str, summary: &str) {
        self.emit(EventKind::Error, None, word, Severity::Warning, format!("{summary}; let through as configured"), Map::new());
        self.push_effect(Effect::Observe(Observation::FailedOpen(word)));
    }

    /// An event of the engine's own.
    pub(crate) fn emit_value(&self, kind: EventKind, event_type: &str, severity: Severity, summary: String, metadata: Value) {
        self.emit(kind, None, event_type, severity, summary, into_map(metadata));
    }

    pub(crate) fn emit(
        &self,
        kind: EventKind,
        policy: Option<&SharedPolicy>,
        event_type: &str,
        severity: Severity,
        summary: String,
        metadata: Map<String, Value>,
    ) {
        let number = self.events.get();
        self.events.set(number.saturating_add(1));
        let request = self.request();
        let trace = request.trace.as_ref();
        let event = Event {
            id: format!("{}-{number}", self.call_id),
            kind,
            time_ms: self.now().as_unix_millis(),
            call_id: Some(self.call_id.to_string()),
            trace_id: trace.map(|trace| trace.trace_id.clone()),
            span_id: trace.map(|trace| trace.span_id.clone()),
            policy_target: request.dialect.map(Dialect::name),
            policy_class: policy.map(SharedPolicy::name),
            event_type: event_type.to_owned(),
            severity,
            summary,
            policy_config: policy.map(SharedPolicy::describe).filter(|configuration| !configuration.is_null()),
            metadata,
        };
        self.push_effect(Effect::Event(event.bounded()));
    }
}

fn into_map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        Value::Null => Map::new(),
        other => Map::from_iter([("details".to_owned(), other)]),
    }
}

/// Most hits of a list that an enforcement event names.
const MAX_HITS: usize = 32;

/// Longest hit in characters.
const MAX_HIT_CHARS: usize = 128;

fn note(hits: &mut Vec<String>, hit: &str) {
    let hit = shortened(hit, MAX_HIT_CHARS);
    if hits.len() < MAX_HITS && !hits.iter().any(|known| known == hit) {
        hits.push(hit.to_owned());
    }
}

/// What every hook can reach: facts about the exchange, the scratchpad, events and judges.
///
/// A cheap handle: clones reach the same exchange.
pub struct PolicyContext<Scratchpad = ()> {
    shared: Rc<Shared>,
    scratchpad: Rc<TakeCell<Scratchpad>>,
    policy: SharedPolicy,
}

impl<S> Clone for PolicyContext<S> {
    fn clone(&self) -> Self {
        Self { shared: Rc::clone(&self.shared), scratchpad: Rc::clone(&self.scratchpad), policy: self.policy.clone() }
    }
}

impl<S: Default> PolicyContext<S> {
    pub(crate) fn new(shared: Rc<Shared>, policy: SharedPolicy) -> Self {
        Self { shared, scratchpad: Rc::default(), policy }
    }

    /// Id of the exchange.
    pub fn call_id(&self) -> CallId {
        self.shared.call_id
    }

    /// The caller's trace, if the request carried one.
    pub fn trace(&self) -> Option<TraceContext> {
        self.shared.request().trace.clone()
    }

    /// The original request. Its body is there in `on_request`, and later only for policies whose
    /// [`Interests`](super::Interests) ask for it.
    pub fn request(&self) -> Rc<Request> {
        self.shared.request()
    }

    /// The time at which the running hook was started or woken.
    pub fn now(&self) -> Timestamp {
        self.shared.now()
    }

    /// Works on the policy's own state of this exchange. Do not reach for the scratchpad again within `work`: it would
    /// see a fresh one, whose changes are lost.
    pub fn scratchpad<R>(&self, work: impl FnOnce(&mut S) -> R) -> R {
        self.scratchpad.with(work)
    }

    /// Records something that the policy did. `details` must be a JSON object; other values are put under `details`.
    pub fn emit(&self, event_type: &str, summary: impl Into<String>, severity: Severity, details: Value) {
        let metadata = into_map(details);
        self.shared.emit(EventKind::PolicyAction, Some(&self.policy), event_type, severity, summary.into(), metadata);
    }

    /// Concludes something about the exchange; the most restrictive conclusion of all policies wins, the first of its
    /// kind gives the reason code. Changing and dropping conclude `rewrite` by themselves, withholding a whole tool call `refuse`.
    pub fn conclude(&self, decision: Decision, reason_code: &str) {
        self.shared.conclude(decision, Some(reason_code));
    }

    /// Counts that the policy could not do what it should; `word` becomes part of a metric's name.
    pub fn count_failure(&self, word: &'static str) {
        self.shared.push_effect(Effect::Observe(Observation::Failed(word)));
    }

    /// Counts that the policy let something pass unchecked because its configuration says so.
    pub fn count_failed_open(&self, word: &'static str) {
        self.shared.push_effect(Effect::Observe(Observation::FailedOpen(word)));
    }

    /// Notes that a term or tool of an allowlist was met, for the enforcement event.
    pub fn note_allowlist_hit(&self, hit: &str) {
        self.shared.allowlist_hits.with(|hits| note(hits, hit));
    }

    /// Notes that a term or tool of a denylist was met, for the enforcement event.
    pub fn note_denylist_hit(&self, hit: &str) {
        self.shared.denylist_hits.with(|hits| note(hits, hit));
    }

    /// Asks a judge. The question is sent at once, also before the future is first awaited.
    pub fn judge(&self, question: JudgeQuestion<'_>) -> Judging {
        Judging::ask(&self.shared, question)
    }

    /// How long the judge called `name` in the policy document may take; `None` when there is none of that name.
    pub fn judge_timeout(&self, name: &str) -> Option<Duration> {
        self.shared.chain.judge(name).map(|judge| judge.timeout)
    }
}

/// What the hooks of a response can reach besides: the output.
pub struct StreamingContext<Scratchpad = ()>(PolicyContext<Scratchpad>);

impl<S> Clone for StreamingContext<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S> Deref for StreamingContext<S> {
    type Target = PolicyContext<S>;

    fn deref(&self) -> &PolicyContext<S> {
        &self.0
    }
}

impl<S: Default> StreamingContext<S> {
    pub(crate) const fn new(context: PolicyContext<S>) -> Self {
        Self(context)
    }

    /// Puts a chunk of the policy's own into the output, before whatever comes next. Later policies do not see it.
    ///
    /// # Errors
    /// [`OutputFinished`] when the output was finished before.
    pub fn send(&self, chunk: Chunk) -> Result<(), OutputFinished> {
        if self.is_output_finished() {
            return Err(OutputFinished);
        }
        self.0.shared.outgoing.with(|outgoing| outgoing.push(Outgoing::Chunk(chunk)));
        Ok(())
    }

    /// [`Self::send`] of a text chunk for the first choice.
    ///
    /// # Errors
    /// [`OutputFinished`] when the output was finished before.
    pub fn send_text(&self, text: &str) -> Result<(), OutputFinished> {
        self.send(build_text_chunk(0, text))
    }

    /// Ends the output here: what was sent leaves, what is still held is dropped, and the client gets its dialect's
    /// proper ending at once. The hooks go on seeing what the provider sends.
    pub fn mark_output_finished(&self) {
        if !self.0.shared.output_finished.replace(true) {
            self.0.shared.outgoing.with(|outgoing| outgoing.push(Outgoing::Finish));
        }
    }

    /// Whether the output was finished, by this or another policy, or by the engine.
    pub fn is_output_finished(&self) -> bool {
        self.0.shared.output_finished.get()
    }

    /// Renews the deadlines of open judge questions: each may take its timeout from now on, and four times its timeout in
    /// all. A policy that wants more than one timeout for a question calls this before it asks, too, so that the proxy
    /// waits for as long.
    pub fn keepalive(&self) {
        self.0.shared.renews_deadlines.set(true);
        self.0.shared.keeps_alive.set(true);
    }
}
