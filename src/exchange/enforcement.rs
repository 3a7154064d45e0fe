//! The enforcement event: one for every governed exchange, at its end.

use core::time::Duration;
use std::rc::Rc;

use serde_json::{Map, Value, json};

use crate::after_block::Rest;
use crate::decision::Decision;
use crate::dialect::Dialect;
use crate::end::End;
use crate::event::{EventKind, Severity};
use crate::policy::{Shared, SharedPolicy};
use crate::rollout::{Mode, Standing};
use crate::route::Endpoint;

/// Bytes of a token where the provider does not say how many there were: English text has about four.
const BYTES_PER_TOKEN: u64 = 4;

/// What the exchange knows at its end.
pub(super) struct Facts {
    pub(super) end: End,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
    pub(super) held: Duration,
    pub(super) rest: Option<Rest>,
}

/// What the event tells beside the enforced policies.
#[derive(Default)]
pub(super) struct Told {
    /// Where each policy with a rollout of its own stands, and what it would have decided where it was observed.
    pub(super) policies: Vec<Value>,
    /// The model, as an observed policy has read it: where none is enforced, nobody else reads the request.
    pub(super) model: Option<String>,
}

pub(super) fn record(shared: &Shared, facts: &Facts, changes: Option<Value>, told: Told) {
    let request = shared.request();
    let decision = shared.outcome.decision();
    let reason_code = reason_code(shared);
    let (questions, waited) = shared.waits.with(|waits| (waits.questions(), waits.judged()));
    let route = request.endpoint.unwrap_or(Endpoint::Unknown);
    let standing = shared.standing.get();
    let caller = shared.caller.with(|caller| Rc::clone(caller));
    let effective = if standing.is_enforced { decision } else { Decision::Allow };
    let mut metadata = json!({
        "decision": decision.name(),
        "effective_decision": effective.name(),
        "enforced": standing.is_enforced,
        "rollout_mode": standing.mode.name(),
        "reason_code": reason_code,
        "triggered_categories": shared.outcome.take_categories(),
        "allowlist_hits": shared.outcome.take_allowlist_hits(),
        "denylist_hits": shared.outcome.take_denylist_hits(),
        "policy_target": request.dialect.map(Dialect::name),
        "route": route.name(),
        "policy_user": request.policy_user,
        "policy_user_source": caller.user_source.name(),
        "quota_subject": caller.quota_subject(),
        "policy_id": shared.chain.id,
        "policy_name": shared.chain.name,
        "policy_revision": shared.chain.revision,
        "decided_by": shared.outcome.decided_by(),
        "ended": facts.end.reason.name(),
        "status": facts.end.status,
        "streamed": facts.end.is_streamed,
        "model": request.model,
        "request_bytes": facts.request_bytes,
        "response_bytes": facts.response_bytes,
        "duration_ms": millis(facts.end.duration),
        "held_ms": if standing.is_enforced { millis(facts.held) } else { 0.0 },
        "judge_questions": questions,
        "judge_latency_ms": millis(waited),
    });
    if let Some(metadata) = metadata.as_object_mut() {
        // What is held when a peer breaks off does not leave either, but that was no policy.
        if let Some(changes) = changes.filter(|_| decision > Decision::Allow) {
            metadata.insert("changes".to_owned(), changes);
        }
        let raw: Vec<_> = shared.policies().iter().filter(|policy| policy.interests().raw).map(SharedPolicy::name).collect();
        if !raw.is_empty() {
            metadata.insert("raw".to_owned(), true.into());
            metadata.insert("raw_policies".to_owned(), raw.into());
        }
        if let Some(rest) = facts.rest {
            metadata.insert("after_block".to_owned(), rest.name().into());
        }
        if !told.policies.is_empty() {
            metadata.insert("policy_rollouts".to_owned(), told.policies.into());
        }
        if let Some(model) = told.model.filter(|_| request.model.is_empty()) {
            metadata.insert("model".to_owned(), model.into());
        }
        tell_arm(standing, metadata);
        if !standing.is_enforced {
            tell_what_would_have_been(shared, facts, metadata);
        }
    }
    let severity = if effective >= Decision::Escalate { Severity::Warning } else { Severity::Info };
    let would = if standing.is_enforced { "" } else { "would " };
    let summary =
        format!("{would}{} on {route}: {reason_code}, status {}, {}", decision.name(), facts.end.status, facts.end.reason.name());
    shared.emit_value(EventKind::Response, "enforcement", severity, summary, metadata);
}

/// Tells where a policy with a rollout of its own stands.
pub(super) fn describe_standing(policy: &'static str, place: usize, standing: Standing) -> Map<String, Value> {
    let mut told = Map::from_iter([
        ("policy".to_owned(), policy.into()),
        ("place".to_owned(), place.into()),
        ("rollout_mode".to_owned(), standing.mode.name().into()),
        ("enforced".to_owned(), standing.is_enforced.into()),
    ]);
    tell_arm(standing, &mut told);
    told
}

/// Tells what an observed policy would have decided, and done.
pub(super) fn tell_observed(shared: &Shared, facts: &Facts, told: &mut Map<String, Value>) {
    let (questions, waited) = shared.waits.with(|waits| (waits.questions(), waits.judged()));
    told.insert("decision".to_owned(), shared.outcome.decision().name().into());
    told.insert("reason_code".to_owned(), reason_code(shared).into());
    told.insert("triggered_categories".to_owned(), shared.outcome.take_categories().into());
    told.insert("allowlist_hits".to_owned(), shared.outcome.take_allowlist_hits().into());
    told.insert("denylist_hits".to_owned(), shared.outcome.take_denylist_hits().into());
    told.insert("judge_questions".to_owned(), questions.into());
    told.insert("judge_latency_ms".to_owned(), millis(waited).into());
    tell_what_would_have_been(shared, facts, told);
}

fn reason_code(shared: &Shared) -> String {
    let reason_code = shared.outcome.reason_code();
    shared.chain.reason_codes.get(&reason_code).cloned().unwrap_or(reason_code)
}

fn tell_arm(standing: Standing, metadata: &mut Map<String, Value>) {
    if standing.mode == Mode::Canary {
        metadata.insert("rollout_arm".to_owned(), if standing.is_enforced { "canary" } else { "control" }.into());
        metadata.insert("rollout_key".to_owned(), standing.key.into());
        metadata.insert("rollout_bucket".to_owned(), standing.bucket.into());
    }
}

/// How long the answer would have been held, and how many of its tokens would not have left.
fn tell_what_would_have_been(shared: &Shared, facts: &Facts, metadata: &mut Map<String, Value>) {
    let texts = shared.texts.get();
    let cut = texts.came.saturating_sub(texts.left);
    let said = facts.end.usage.map(|usage| usage.output_tokens);
    let tokens = match said {
        Some(tokens) if cut > 0 => u128::from(tokens).saturating_mul(cut.into()).div_ceil(u128::from(texts.came).max(1)),
        Some(_) => 0,
        None => u128::from(cut.div_ceil(BYTES_PER_TOKEN)),
    };
    metadata.insert("would_have_held_ms".to_owned(), millis(facts.held).into());
    metadata.insert("would_have_cut_tokens".to_owned(), u64::try_from(tokens).unwrap_or(u64::MAX).into());
    let measured_by = if said.is_some() { "usage" } else { "estimate" };
    metadata.insert("would_have_cut_by".to_owned(), measured_by.into());
}

/// Milliseconds with three decimals: held times are often below one.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}
