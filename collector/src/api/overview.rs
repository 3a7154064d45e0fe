//! What the page shows around the events: counts over a range, senders, the state of the store, settings.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query as UrlQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Selection;
use super::page::before_of;
use crate::app::{Collector, problem, unavailable};
use crate::health;
use crate::ingest::unix_milliseconds;
use crate::metrics::Operation;
use crate::query::Query;
use crate::store::{Limits, StoreError, Stored};

/// How long counting goes on; where it stopped is told.
const BUDGET: Duration = Duration::from_millis(3_000);
/// How many columns a chart has.
const COLUMNS: u64 = 60;
/// How many names are counted apart of each kind, and how many are told.
const MAX_NAMES: usize = 10_000;
const TOP: usize = 8;
/// The range when none is asked for, in milliseconds.
const DEFAULT_RANGE: u64 = 60 * 60 * 1_000;

/// Answers with who has sent, how much is missing and how much was dropped.
pub(crate) async fn get_senders(State(collector): State<Collector>) -> Response {
    match collector.store().senders().await {
        Ok(senders) => Json(json!({ "senders": senders })).into_response(),
        Err(error) => unavailable(&collector, Operation::Senders, &error),
    }
}

/// Answers with what may be wrong: loss, lag, refused requests, the store.
pub(crate) async fn get_status(State(collector): State<Collector>) -> Response {
    let senders = match collector.store().senders().await {
        Ok(senders) => senders,
        Err(error) => return unavailable(&collector, Operation::Senders, &error),
    };
    let sum = |count: fn(&crate::store::Sender) -> u64| senders.iter().map(count).fold(0_u64, u64::saturating_add);
    let problem = health::ready(&collector).await;
    Json(json!({
        "senders": senders.len(),
        "missing": sum(|sender| sender.missing),
        "dropped": sum(|sender| sender.dropped),
        "lost": sum(crate::store::Sender::lost),
        "conflicts": sum(|sender| sender.conflicts),
        "refused": collector.metrics().refused(),
        "lag_ms": collector.metrics().lag(),
        "problem": problem,
        "signed_in": matches!(collector.access(), crate::Access::Tokens(_)),
    }))
    .into_response()
}

/// Answers with how much is kept.
pub(crate) async fn get_settings(State(collector): State<Collector>) -> Response {
    Json(json!({ "history": collector.store().limits() })).into_response()
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    history: Limits,
}

/// Sets how much is kept, for all collectors of the store.
pub(crate) async fn put_settings(State(collector): State<Collector>, body: Result<Json<Settings>, JsonRejection>) -> Response {
    let Json(Settings { history }) = match body {
        Ok(settings) => settings,
        Err(rejection) => return problem(StatusCode::BAD_REQUEST, &rejection.body_text()),
    };
    if history.events == 0 || history.bytes == 0 || history.seconds == 0 {
        return problem(StatusCode::BAD_REQUEST, "history: a limit of nothing keeps nothing");
    }
    match collector.store().set_limits(history).await {
        Ok(()) => get_settings(State(collector)).await,
        Err(error) => unavailable(&collector, Operation::Settings, &error),
    }
}

/// Answers with counts of what a query finds in a range.
pub(crate) async fn get_summary(
    State(collector): State<Collector>,
    query: Result<UrlQuery<Selection>, QueryRejection>,
) -> Response {
    let selection = match query {
        Ok(UrlQuery(selection)) => selection,
        Err(rejection) => return problem(StatusCode::BAD_REQUEST, &rejection.body_text()),
    };
    let query = match selection.query() {
        Ok(query) => query,
        Err(refusal) => return *refusal,
    };
    let to = selection.to.unwrap_or_else(unix_milliseconds);
    let from = selection.from.unwrap_or_else(|| to.saturating_sub(DEFAULT_RANGE)).min(to);
    let mut counts = Counts::new(from, to);
    match counts.read(&collector, &query).await {
        Ok(()) => Json(counts.json()).into_response(),
        Err(error) => unavailable(&collector, Operation::History, &error),
    }
}

struct Counts {
    from: u64,
    to: u64,
    width: u64,
    /// Up to where everything was counted, when time ran out.
    counted_from: u64,
    events: u64,
    decisions: BTreeMap<String, Vec<u64>>,
    kinds: BTreeMap<String, u64>,
    rules: Top,
    tools: Top,
    models: Top,
    users: Top,
    judge_ms: Vec<f64>,
}

#[derive(Default)]
struct Top(BTreeMap<String, u64>);

impl Top {
    fn count(&mut self, name: Option<&str>) {
        let Some(name) = name else { return };
        if self.0.len() < MAX_NAMES || self.0.contains_key(name) {
            let count = self.0.entry(name.to_owned()).or_default();
            *count = count.saturating_add(1);
        }
    }

    fn json(&self) -> Value {
        let mut names: Vec<_> = self.0.iter().collect();
        names.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        names.into_iter().take(TOP).map(|(name, count)| json!({"name": name, "count": count})).collect()
    }
}

impl Counts {
    fn new(from: u64, to: u64) -> Self {
        let width = to.saturating_sub(from).div_ceil(COLUMNS).max(1);
        Self {
            from,
            to,
            width,
            counted_from: from,
            events: 0,
            decisions: BTreeMap::new(),
            kinds: BTreeMap::new(),
            rules: Top::default(),
            tools: Top::default(),
            models: Top::default(),
            users: Top::default(),
            judge_ms: Vec::new(),
        }
    }

    async fn read(&mut self, collector: &Collector, query: &Query) -> Result<(), StoreError> {
        let started = Instant::now();
        let mut scan = collector.store().scan(before_of(Some(self.to))).await?;
        while let Some(entry) = scan.next().await? {
            if entry.id.milliseconds < self.from {
                return Ok(());
            }
            if started.elapsed() > BUDGET {
                self.counted_from = entry.id.milliseconds;
                return Ok(());
            }
            for stored in entry.events().filter(|stored| query.matches(stored)) {
                self.count(&stored);
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    fn count(&mut self, stored: &Stored<'_>) {
        self.events = self.events.saturating_add(1);
        let event: Value = serde_json::from_str(stored.event).unwrap_or_default();
        let text = |place: &str| event.pointer(place).and_then(Value::as_str);
        let kind = self.kinds.entry(text("/kind").unwrap_or_default().to_owned()).or_default();
        *kind = kind.saturating_add(1);
        if text("/kind") == Some("policy_action") {
            self.tools.count(text("/metadata/tool").or_else(|| text("/metadata/tool_name")));
        }
        if text("/event_type") != Some("enforcement") {
            return;
        }
        let decision = text("/metadata/effective_decision").or_else(|| text("/metadata/decision")).unwrap_or("unknown");
        let at = stored.position.entry.milliseconds.saturating_sub(self.from).checked_div(self.width).unwrap_or_default();
        let known = self.decisions.len();
        if known < 16 || self.decisions.contains_key(decision) {
            let columns = self.decisions.entry(decision.to_owned()).or_insert_with(|| vec![0; COLUMNS as usize]);
            if let Some(column) = usize::try_from(at).ok().and_then(|at| columns.get_mut(at)) {
                *column = column.saturating_add(1);
            }
        }
        if decision != "allow" {
            self.rules.count(text("/metadata/reason_code"));
            self.models.count(text("/metadata/model"));
            self.users.count(text("/metadata/policy_user"));
        }
        let judged = event.pointer("/metadata/judge_questions").and_then(Value::as_u64).is_some_and(|questions| questions > 0);
        if let Some(ms) = event.pointer("/metadata/judge_latency_ms").and_then(Value::as_f64)
            && judged
        {
            self.judge_ms.push(ms);
        }
    }

    fn json(&mut self) -> Value {
        self.judge_ms.sort_by(f64::total_cmp);
        let quantile = |share: usize| {
            let at = self.judge_ms.len().saturating_sub(1).saturating_mul(share).checked_div(100).unwrap_or_default();
            self.judge_ms.get(at)
        };
        json!({
            "from": self.from, "to": self.to, "column_ms": self.width, "counted_from": self.counted_from,
            "events": self.events, "kinds": self.kinds, "decisions": self.decisions,
            "refusals_by": {
                "rule": self.rules.json(), "tool": self.tools.json(), "model": self.models.json(), "user": self.users.json(),
            },
            "judge_ms": {"count": self.judge_ms.len(), "p50": quantile(50), "p90": quantile(90), "p99": quantile(99)},
        })
    }
}
