//! The enforcement event: one for every governed exchange, at its end.

use core::time::Duration;

use serde_json::json;

use super::EndReason;
use crate::decision::Decision;
use crate::dialect::Dialect;
use crate::event::{EventKind, Severity};
use crate::policy::Shared;
use crate::route::Endpoint;

/// What the exchange knows at its end.
pub(super) struct Facts {
    pub(super) reason: EndReason,
    pub(super) status: u16,
    pub(super) streamed: bool,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
    pub(super) duration: Duration,
    pub(super) held: Duration,
}

impl EndReason {
    /// The word that events use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::ClientGone => "client_gone",
            Self::UpstreamBroke => "upstream_broke",
            Self::ProxyBufferExceeded => "proxy_buffer_exceeded",
        }
    }
}

pub(super) fn record(shared: &Shared, facts: &Facts) {
    let request = shared.request();
    let decision = shared.decision.get();
    let reason_code = shared.reason_code.with(|code| code.clone()).unwrap_or_else(|| decision.reason_code().to_owned());
    let (questions, waited) = shared.judgings.with(|judgings| (judgings.asked(), judgings.waited));
    let route = request.endpoint.unwrap_or(Endpoint::Unknown);
    let metadata = json!({
        "decision": decision.name(),
        // Rollout modes other than this are not there: what is decided is done.
        "effective_decision": decision.name(),
        "enforced": true,
        "rollout_mode": "enforced",
        "reason_code": reason_code,
        "allowlist_hits": shared.allowlist_hits.take(),
        "denylist_hits": shared.denylist_hits.take(),
        "policy_target": request.dialect.map(Dialect::name),
        "route": route.name(),
        "policy_user": request.policy_user,
        "policy_id": shared.chain.id,
        "policy_name": shared.chain.name,
        "policy_revision": shared.chain.revision,
        "ended": facts.reason.name(),
        "status": facts.status,
        "streamed": facts.streamed,
        "model": request.model,
        "request_bytes": facts.request_bytes,
        "response_bytes": facts.response_bytes,
        "duration_ms": millis(facts.duration),
        "held_ms": millis(facts.held),
        "judge_questions": questions,
        "judge_latency_ms": millis(waited),
    });
    let severity = if decision >= Decision::Escalate { Severity::Warning } else { Severity::Info };
    let summary = format!("{} on {route}: {reason_code}, status {}, {}", decision.name(), facts.status, facts.reason.name());
    shared.emit_value(EventKind::Response, "enforcement", severity, summary, metadata);
}

/// Milliseconds with three decimals: held times are often below one.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}
