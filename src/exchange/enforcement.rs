//! The enforcement event: one for every governed exchange, at its end.

use core::time::Duration;

use serde_json::json;

use crate::decision::Decision;
use crate::dialect::Dialect;
use crate::end::End;
use crate::event::{EventKind, Severity};
use crate::policy::Shared;
use crate::route::Endpoint;

/// What the exchange knows at its end.
pub(super) struct Facts {
    pub(super) end: End,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
    pub(super) held: Duration,
}

pub(super) fn record(shared: &Shared, facts: &Facts) {
    let request = shared.request();
    let decision = shared.outcome.decision();
    let reason_code = shared.outcome.reason_code();
    let (questions, waited) = shared.waits.with(|waits| (waits.questions(), waits.judged()));
    let route = request.endpoint.unwrap_or(Endpoint::Unknown);
    let metadata = json!({
        "decision": decision.name(),
        // Rollout modes other than this are not there: what is decided is done.
        "effective_decision": decision.name(),
        "enforced": true,
        "rollout_mode": "enforced",
        "reason_code": reason_code,
        "categories": shared.outcome.take_categories(),
        "allowlist_hits": shared.outcome.take_allowlist_hits(),
        "denylist_hits": shared.outcome.take_denylist_hits(),
        "policy_target": request.dialect.map(Dialect::name),
        "route": route.name(),
        "policy_user": request.policy_user,
        "policy_id": shared.chain.id,
        "policy_name": shared.chain.name,
        "policy_revision": shared.chain.revision,
        "ended": facts.end.reason.name(),
        "status": facts.end.status,
        "streamed": facts.end.is_streamed,
        "model": request.model,
        "request_bytes": facts.request_bytes,
        "response_bytes": facts.response_bytes,
        "duration_ms": millis(facts.end.duration),
        "held_ms": millis(facts.held),
        "judge_questions": questions,
        "judge_latency_ms": millis(waited),
    });
    let severity = if decision >= Decision::Escalate { Severity::Warning } else { Severity::Info };
    let summary =
        format!("{} on {route}: {reason_code}, status {}, {}", decision.name(), facts.end.status, facts.end.reason.name());
    shared.emit_value(EventKind::Response, "enforcement", severity, summary, metadata);
}

/// Milliseconds with three decimals: held times are often below one.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}
