//! What hooks can reach.

use core::cell::Cell;
use core::fmt;
use core::ops::Deref;
use core::time::Duration;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::outcome::{Conclusion, Outcome};
use super::output::{FinishReason, Outgoing, Output, OutputEnd, Place, Turn};
use super::{Interests, Part, Refusal, SharedPolicy};
use crate::answer::{Answer, Recorder};
use crate::block::{Chunk, build_text_chunk};
use crate::caller::Caller;
use crate::callout::{self, CalloutError, CalloutRequest, CalloutResponse};
use crate::cell::{BoxCell, TakeCell};
use crate::chain::Chain;
use crate::decision::Decision;
use crate::dialect::Dialect;
use crate::dialect::mcp::Asked;
use crate::effect::{Effect, HookRun, Observation};
use crate::event::{Event, EventKind, Severity};
use crate::head::Request;
use crate::id::{CallId, TraceContext};
use crate::judge::{self, JudgeQuestion, Judging};
use crate::limits::Limits;
use crate::rollout::Standing;
use crate::state::{Scope, State};
use crate::time::{Now, Timestamp};
use crate::usage::UsageReader;
use crate::wait::{Waiting, Waits};

/// Output was finished before: nothing more can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputFinished;

impl fmt::Display for OutputFinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the output of this exchange is finished: nothing more can be sent")
    }
}

impl core::error::Error for OutputFinished {}

/// What all contexts of an exchange share with the exchange.
pub(crate) struct Shared {
    pub(crate) chain: Arc<Chain>,
    pub(crate) part: Part,
    pub(crate) call_id: CallId,
    now: Cell<Now>,
    pub(crate) request: TakeCell<Rc<Request>>,
    pub(crate) caller: TakeCell<Rc<Caller>>,
    /// What a request of MCP asks; empty for other dialects.
    pub(crate) asked: TakeCell<Rc<Asked>>,
    /// What hooks wait for.
    pub(crate) waits: TakeCell<Waits>,
    pub(crate) effects: TakeCell<std::collections::VecDeque<Effect>>,
    pub(crate) output: Rc<Output>,
    pub(crate) outcome: Outcome,
    /// A hook asked for the deadlines of open questions to be renewed.
    pub(crate) renews_deadlines: Cell<bool>,
    /// A hook has asked for that before: questions must be able to take longer than their timeout.
    pub(crate) keeps_alive: Cell<bool>,
    /// What the answer cost, as far as it was read.
    pub(crate) usage: Cell<UsageReader>,
    /// Where the exchange stands in the rollout.
    pub(crate) standing: Cell<Standing>,
    /// What of the answer's text came, and what of it left.
    pub(crate) texts: Cell<Texts>,
    events: Cell<u32>,
}

/// Bytes of text and of tool calls: as they came, and as they left.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Texts {
    pub(crate) came: u64,
    pub(crate) left: u64,
}

impl Shared {
    pub(crate) fn new(chain: Arc<Chain>, part: Part, call_id: CallId, now: Timestamp) -> Self {
        let first_number = part.beside.unwrap_or_default();
        Self {
            chain,
            part,
            call_id,
            now: Cell::new(Now::At(now)),
            request: TakeCell::default(),
            caller: TakeCell::default(),
            asked: TakeCell::default(),
            waits: TakeCell::new(Waits::numbered_from(first_number)),
            effects: TakeCell::default(),
            output: Rc::default(),
            outcome: Outcome::default(),
            renews_deadlines: Cell::new(false),
            keeps_alive: Cell::new(false),
            usage: Cell::default(),
            standing: Cell::default(),
            texts: Cell::default(),
            events: Cell::new(first_number),
        }
    }

    /// Gives the policies that run, in their order.
    pub(crate) fn policies(&self) -> &[SharedPolicy] {
        self.part.policies(&self.chain)
    }

    /// Joins what they want to see: what none of them wants is not read.
    pub(crate) fn interests(&self) -> Interests {
        Interests::of(self.policies())
    }

    /// Text of the answer came.
    pub(crate) fn note_came(&self, bytes: usize) {
        let texts = self.texts.get();
        self.texts.set(Texts { came: texts.came.saturating_add(bytes as u64), ..texts });
    }

    /// Text of the answer is to leave.
    pub(crate) fn note_left(&self, bytes: usize) {
        let texts = self.texts.get();
        self.texts.set(Texts { left: texts.left.saturating_add(bytes as u64), ..texts });
    }

    /// A hook runs, or goes on, about what stands at `place`; `has_spoken` says whether it has concluded something before.
    pub(crate) fn enter_hook(&self, place: Place, has_spoken: bool) {
        self.outcome.enter_hook(has_spoken);
        self.output.enter_hook(place);
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
        let mut metadata = metadata;
        if !self.standing.get().is_enforced && event_type != "enforcement" {
            metadata.insert("enforced".to_owned(), false.into());
        }
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

/// What every hook can reach: facts about the exchange, the scratchpad, events and judges.
///
/// A cheap handle: clones reach the same exchange.
pub struct PolicyContext<Scratchpad = ()> {
    shared: Rc<Shared>,
    scratchpad: Rc<BoxCell<Scratchpad>>,
    recorder: Rc<TakeCell<Recorder>>,
    policy: SharedPolicy,
}

impl<S> Clone for PolicyContext<S> {
    fn clone(&self) -> Self {
        Self {
            shared: Rc::clone(&self.shared),
            scratchpad: Rc::clone(&self.scratchpad),
            recorder: Rc::clone(&self.recorder),
            policy: self.policy.clone(),
        }
    }
}

impl<S: Default> PolicyContext<S> {
    pub(crate) fn new(shared: Rc<Shared>, policy: SharedPolicy) -> Self {
        Self { shared, scratchpad: Rc::default(), recorder: Rc::default(), policy }
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

    /// The bounds of the policy document.
    pub fn limits(&self) -> &Limits {
        &self.shared.chain.limits
    }

    /// Gives what is known of the caller.
    pub fn caller(&self) -> Rc<Caller> {
        self.shared.caller.with(|caller| Rc::clone(caller))
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
    /// kind gives the reason code.
    ///
    /// What is concluded and what is done to the bytes are two things. Of what a hook does while it concludes nothing
    /// itself, the engine infers: a tool call withheld without another in its place, and a request refused, is `refuse`;
    /// every other change `rewrite`.
    pub fn conclude(&self, decision: Decision, reason_code: &str) {
        self.record(&Conclusion::new(decision).because(reason_code));
    }

    /// Concludes something about the exchange, as [`Self::conclude`] does, with categories.
    pub fn record(&self, conclusion: &Conclusion) {
        self.shared.outcome.take(conclusion, self.policy.name());
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
        self.shared.outcome.note_allowlist_hit(hit);
    }

    /// Notes that a term or tool of a denylist was met, for the enforcement event.
    pub fn note_denylist_hit(&self, hit: &str) {
        self.shared.outcome.note_denylist_hit(hit);
    }

    /// Asks a judge. The question is sent at once, also before the future is first awaited.
    pub fn judge(&self, question: JudgeQuestion<'_>) -> Judging {
        judge::ask(&self.shared, &question)
    }

    /// Sends a request to a service of the policy's own. It is sent at once, also before the future is first awaited.
    pub fn callout(&self, request: &CalloutRequest<'_>) -> Waiting<Result<CalloutResponse, CalloutError>> {
        callout::send(&self.shared, request)
    }

    /// Gives the revision of the policy document.
    pub fn policy_revision(&self) -> u64 {
        self.shared.chain.revision
    }

    /// Reaches the state of `scope`, which outlives the exchange.
    pub fn state(&self, scope: Scope) -> State<'_> {
        State::new(&self.shared, scope, self.policy.name())
    }

    /// Records what is answered from here on, as the policy sees it: the policies before it have acted on it, this one has
    /// not. It takes [`Interests`](super::Interests) in all of the answer.
    pub fn record_answer(&self) {
        let interests = self.policy.interests();
        let sees_content = interests.content && interests.content_text && interests.reasoning;
        let sees_all = sees_content && interests.tool_calls && interests.response;
        self.recorder.with(|recorder| recorder.begin(sees_all));
    }

    /// Gives what was recorded, once it has ended: in [`Policy::on_stream_complete`](super::Policy::on_stream_complete).
    /// `None` where there is nothing that could be given again as it was: it broke off, had parts that no answer has
    /// (calls that the provider carries out, content of unknown type, MCP), or was longer than `limits.max_response_bytes`.
    pub fn recorded_answer(&self) -> Option<Answer> {
        self.recorder.with(|recorder| recorder.answer(self.shared.usage.get().usage()))
    }

    pub(super) const fn policy_name(&self) -> &'static str {
        self.policy.name()
    }

    /// Tells that a hook runs, where that is wanted.
    pub(super) fn tell_run(&self, hook: &'static str) {
        note_run(&self.shared, &self.policy, hook);
    }

    pub(super) fn note_answered(&self, note: &mut dyn FnMut(&mut Recorder, usize)) {
        note_answered(&self.shared, &self.recorder, note);
    }

    /// How long the judge called `name` in the policy document may take; `None` when there is none of that name.
    pub fn judge_timeout(&self, name: &str) -> Option<Duration> {
        self.shared.chain.judge(name).map(|judge| judge.timeout)
    }
}

/// Of every hook of every policy there is code of its own: what is the same in all stands here once.
#[inline(never)]
fn note_run(shared: &Shared, policy: &SharedPolicy, hook: &'static str) {
    shared.outcome.set_policy(policy.name());
    if policy.is_traced() {
        shared.push_effect(Effect::Observe(Observation::HookRan(HookRun { policy: policy.name(), hook })));
    }
}

/// As [`note_run`], of what is recorded.
#[inline(never)]
fn note_answered(shared: &Shared, recorder: &TakeCell<Recorder>, note: &mut dyn FnMut(&mut Recorder, usize)) {
    recorder.with(|recorder| {
        if recorder.is_on() {
            note(recorder, shared.chain.limits.max_response_bytes);
        }
    });
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
        self.0.shared.output.push(Outgoing::Chunk(chunk));
        Ok(())
    }

    /// [`Self::send`] of a text chunk for the first choice.
    ///
    /// # Errors
    /// [`OutputFinished`] when the output was finished before.
    pub fn send_text(&self, text: &str) -> Result<(), OutputFinished> {
        self.send(build_text_chunk(0, text))
    }

    /// Ends the output behind what the running hook decides: what stands before it leaves once it is decided, what comes
    /// behind it does not, whatever has been decided about it. Streamed and whole, the client gets its dialect's proper
    /// ending. The hooks go on seeing what the provider sends.
    pub fn end_output(&self, end: OutputEnd) {
        if !self.is_output_finished() {
            self.0.shared.output.push(Outgoing::End(end));
        }
    }

    /// Waits until all that comes before what the running hook decides about, and that this policy decides about too, is
    /// decided. A hook that waits for anything goes on in that order by itself; one that decides at once, but by what was
    /// decided before (whether the output is finished, say), awaits its turn: then it decides alike at any timing.
    pub fn turn(&self) -> Turn {
        Turn(Rc::clone(&self.0.shared.output))
    }

    /// [`Self::end_output`] of an answer that is complete as it stands; what policies hold back of texts is dropped.
    pub fn mark_output_finished(&self) {
        self.end_output(OutputEnd::because(FinishReason::Stop).dropping_held());
    }

    /// Refuses the answer as a whole: where nothing of it has left, as of one that is not streamed, the client gets this
    /// error in its place. Of a stream, what stands before the running hook's block leaves, and the message behind it.
    pub fn refuse_output(&self, refusal: Refusal) {
        if !self.is_output_finished() {
            self.0.shared.output.push(Outgoing::Refuse(refusal));
        }
    }

    /// Whether what the running hook decides about comes behind the end of the output, which this or another policy, or the
    /// engine, has put.
    pub fn is_output_finished(&self) -> bool {
        self.0.shared.output.is_ended_here()
    }

    /// Renews the deadlines of all that hooks wait for: each may take its timeout from now on, and four times its timeout in
    /// all. A policy that wants more than one timeout for a question calls this before it asks, too, so that the proxy
    /// waits for as long.
    pub fn keepalive(&self) {
        self.0.shared.renews_deadlines.set(true);
        self.0.shared.keeps_alive.set(true);
    }
}
