//! Rolling back without anybody's doing: where too many enforced exchanges go wrong, the document is told only, for a while.
//!
//! What is counted lies in the store of the proxy, so that all workers of an Envoy count together. Each count is one counter: the
//! exchanges in its upper half, those that went wrong in its lower.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::rc::Rc;

use serde::Deserialize;
use serde_json::json;

use super::sequential::{Arms, Comparison};
use super::{MAX_WINDOW, Mode};
use crate::document::{DocumentDuration, DocumentError};
use crate::event::{EventKind, Severity};
use crate::policy::Shared;
use crate::state::{Counter, Scope, State, StateError};
use crate::time::Timestamp;

/// The class under which the store keeps what is counted.
const CLASS: &str = "Rollout";

/// Under which the store keeps that, and until when, it is rolled back.
const ROLLED_BACK: &str = "rolled_back";

/// The share of exchanges that may be held for longer than the 95th percentile.
const BEYOND_P95: f64 = 0.05;

/// When a document rolls itself back.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Guard {
    /// The share of exchanges with `refuse` or `escalate` that is too high.
    pub share: f64,
    /// Over which time; windows begin at multiples of their length.
    pub window: DocumentDuration,
    /// The fewest exchanges of a window that say anything.
    pub min_exchanges: u32,
    /// How long it stays rolled back.
    pub cool_down: DocumentDuration,
    /// The share of exchanges with a judge that failed that is too high.
    pub judge_failures: Option<f64>,
    /// The share of exchanges whose client went away that is too high.
    pub client_gone: Option<f64>,
    /// The longest that an exchange of twenty may hold back.
    pub held_p95: Option<DocumentDuration>,
    /// How the canary's arms are compared, if they are.
    pub test: Option<Comparison>,
    /// How often the comparison may roll back wrongly, at the most.
    pub alpha: f64,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            share: 0.25,
            window: DocumentDuration(Duration::from_secs(15 * 60)),
            min_exchanges: 20,
            cool_down: DocumentDuration(Duration::from_secs(30 * 60)),
            judge_failures: None,
            client_gone: None,
            held_p95: None,
            test: None,
            alpha: 0.01,
        }
    }
}

impl Guard {
    pub(super) fn check(&self) -> Result<(), DocumentError> {
        let error = |field: &str, message: &str| Err(DocumentError::new(format!("rollout.rollback.{field}"), message));
        let is_share = |share: f64| share > 0.0 && share <= 1.0;
        for (field, share) in
            [("share", Some(self.share)), ("judge_failures", self.judge_failures), ("client_gone", self.client_gone)]
        {
            if share.is_some_and(|share| !is_share(share)) {
                return error(field, "must be more than 0 and at most 1");
            }
        }
        if !(1e-6..=0.5).contains(&self.alpha) {
            return error("alpha", "must be between 0.000001 and 0.5");
        }
        for (field, duration) in [("window", self.window.0), ("cool_down", self.cool_down.0)] {
            if duration < Duration::from_secs(1) || duration > MAX_WINDOW {
                return error(field, "must be between 1s and 24h");
            }
        }
        if self.min_exchanges == 0 {
            return error("min_exchanges", "must be at least 1");
        }
        Ok(())
    }

    /// What is counted of an enforced exchange, and the share of each that is too high.
    fn watched(&self, facts: &Tally) -> [Option<(&'static str, f64, bool)>; 4] {
        [
            Some(("refused", self.share, facts.is_refused)),
            self.judge_failures.map(|share| ("judge_failures", share, facts.judge_failed)),
            self.client_gone.map(|share| ("client_gone", share, facts.client_gone)),
            self.held_p95.map(|most| ("held_p95", BEYOND_P95, facts.held > most.0)),
        ]
    }
}

/// What the exchanges of a process share: until when the document is rolled back. A worker learns it from what it counts
/// itself, and of others with its next exchange.
#[derive(Debug, Default)]
pub struct GuardState(AtomicU64);

impl GuardState {
    /// Says whether it is rolled back.
    pub(crate) fn is_rolled_back(&self, now: Timestamp) -> bool {
        now.as_unix_micros() < self.0.load(Ordering::Relaxed)
    }

    fn roll_back_until(&self, until: u64) {
        self.0.fetch_max(until, Ordering::Relaxed);
    }
}

/// What an exchange came to, as far as rolling back goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tally {
    /// A policy has refused it, or asks a person.
    pub(crate) is_refused: bool,
    pub(crate) judge_failed: bool,
    pub(crate) client_gone: bool,
    /// It ended otherwise than it should, or with an error of the proxy's or the provider's.
    pub(crate) went_wrong: bool,
    pub(crate) held: Duration,
}

/// Counts an exchange that is over, and rolls the document back where that is too many.
pub(crate) async fn tally(shared: Rc<Shared>, facts: Tally) {
    let standing = shared.standing.get();
    let rollout = &shared.chain.rollout;
    let Some(guard) = &rollout.rollback else { return };
    let state = State::new(&shared, Scope::Proxy, CLASS);
    let revision = shared.chain.revision;
    // What others have found out counts from the next exchange on.
    if let Ok(Some(until)) = state.get(&format!("{ROLLED_BACK}.{revision}")).await
        && let Some(until) = until.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
    {
        rollout.state.roll_back_until(until);
    }
    if standing.is_enforced {
        for (word, most, is_wrong) in guard.watched(&facts).into_iter().flatten() {
            let count = state.add(&format!("{word}.{revision}"), packed(is_wrong), guard.window.0).await;
            let Some((exchanges, wrong)) = unpacked(count) else { continue };
            if exchanges >= guard.min_exchanges && f64::from(wrong) > most * f64::from(exchanges) {
                return roll_back(&shared, &state, guard, word, (exchanges, wrong)).await;
            }
        }
    }
    if guard.test == Some(Comparison::Sequential) && standing.mode == Mode::Canary {
        let own = if standing.is_enforced { "canary" } else { "control" };
        let other = if standing.is_enforced { "control" } else { "canary" };
        let own = unpacked(state.add(&format!("arm.{own}.{revision}"), packed(facts.went_wrong), MAX_WINDOW).await);
        let other = unpacked(state.add(&format!("arm.{other}.{revision}"), 0, MAX_WINDOW).await);
        let (Some(own), Some(other)) = (own, other) else { return };
        let (canary, control) = if standing.is_enforced { (own, other) } else { (other, own) };
        if (Arms { canary, control }).reject(guard.alpha) {
            roll_back(&shared, &state, guard, "sequential", canary).await;
        }
    }
}

async fn roll_back(shared: &Shared, state: &State<'_>, guard: &Guard, word: &str, (exchanges, wrong): (u32, u32)) {
    let until = shared.now().after(guard.cool_down.0).as_unix_micros();
    let rollout = &shared.chain.rollout;
    rollout.state.roll_back_until(until);
    let key = format!("{ROLLED_BACK}.{}", shared.chain.revision);
    // Of all that find it out at once, one tells.
    if !matches!(state.put_if_absent(&key, &until.to_le_bytes(), guard.cool_down.0).await, Ok(None)) {
        return;
    }
    let summary = format!(
        "the document is rolled back ({word}): {wrong} of {exchanges} exchanges went wrong; decisions are told, not done, for {} s",
        guard.cool_down.0.as_secs()
    );
    let metadata = json!({"guard": word, "exchanges": exchanges, "wrong": wrong, "cool_down_s": guard.cool_down.0.as_secs(),
        "policy_id": shared.chain.id, "policy_revision": shared.chain.revision});
    shared.emit_value(EventKind::Error, "rollout.rolled_back", Severity::Error, summary, metadata);
}

fn packed(is_wrong: bool) -> i64 {
    (1_i64 << 32) | i64::from(is_wrong)
}

/// Exchanges, and those that went wrong.
fn unpacked(counter: Result<Counter, StateError>) -> Option<(u32, u32)> {
    let value = counter.ok()?.value;
    Some((u32::try_from(value >> 32).unwrap_or(u32::MAX), u32::try_from(value & 0xFFFF_FFFF).unwrap_or(u32::MAX)))
}
