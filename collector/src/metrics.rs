//! What the collector counts, for `/metrics`.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::event::{Batch, Kind};
use crate::store::Appended;

/// The content type of [`Metrics::encode`].
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = [(&'static str, &'static str); 1];

/// Counters of this collector since it started. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    accepted: Family<Labels, Counter>,
    duplicates: Counter,
    rejected: Family<Labels, Counter>,
    gaps: Counter,
    missing: Counter,
    dropped: Counter,
    conflicts: Counter,
    refused: Family<Labels, Counter>,
    refused_in_all: AtomicU64,
    /// How long the newest batch was under way, in milliseconds.
    lag: Gauge,
    store_errors: Family<Labels, Counter>,
    subscribers: Gauge,
}

/// Why a batch was not taken.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rejection {
    Malformed,
    TooLarge,
    TooOld,
    Incomplete,
    Busy,
    StoreUnavailable,
}

/// What was asked of a store that failed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    Append,
    History,
    Probe,
    Senders,
    Session,
    Settings,
    Tail,
}

/// Counts a live stream for as long as it lives.
#[derive(Debug)]
pub(crate) struct Subscription(Gauge);

impl Drop for Subscription {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("weir_collector");
        let metrics = Self {
            accepted: Family::default(),
            duplicates: Counter::default(),
            rejected: Family::default(),
            gaps: Counter::default(),
            missing: Counter::default(),
            dropped: Counter::default(),
            conflicts: Counter::default(),
            refused: Family::default(),
            refused_in_all: AtomicU64::new(0),
            lag: Gauge::default(),
            store_errors: Family::default(),
            subscribers: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register("events", "Events stored, by kind", metrics.accepted.clone());
        registry.register("duplicates", "Events that were stored before", metrics.duplicates.clone());
        registry.register("rejected_batches", "Batches not taken, by reason", metrics.rejected.clone());
        registry.register("sequence_gaps", "Batches that left sequence numbers out", metrics.gaps.clone());
        registry.register("missing_events", "Sequence numbers left out, late ones included", metrics.missing.clone());
        registry.register("sender_dropped_events", "Events that senders say they dropped", metrics.dropped.clone());
        registry.register("conflicting_events", "Events under the number of another", metrics.conflicts.clone());
        registry.register("refused_requests", "Requests that nothing allowed, by what they showed", metrics.refused.clone());
        registry.register("lag_milliseconds", "Age of the newest event of the last batch when it arrived", metrics.lag.clone());
        registry.register("store_errors", "Failures of the store, by operation", metrics.store_errors.clone());
        registry.register("stream_subscribers", "Open live streams", metrics.subscribers.clone());
        Self { registry, ..metrics }
    }

    pub(crate) fn count_appended(&self, batch: &Batch<'_>, appended: &Appended, now: u64) {
        self.duplicates.inc_by(appended.duplicates as u64);
        self.conflicts.inc_by(appended.conflicts as u64);
        // Of a batch that came in part before, nobody says which events are new: their kinds are counted in their order.
        let fresh = batch.events.len().saturating_sub(appended.duplicates).saturating_sub(appended.conflicts);
        for event in batch.events.iter().rev().take(fresh) {
            self.accepted(event.kind).inc();
        }
        if let Some(last) = batch.events.last() {
            self.lag.set(i64::try_from(now.saturating_sub(last.time_ms)).unwrap_or(i64::MAX));
        }
        if appended.missing > 0 {
            self.gaps.inc();
            self.missing.inc_by(appended.missing);
        }
        self.dropped.inc_by(appended.dropped);
    }

    pub(crate) fn count_rejection(&self, rejection: Rejection) {
        let reason = match rejection {
            Rejection::Malformed => "malformed",
            Rejection::TooLarge => "too_large",
            Rejection::TooOld => "too_old",
            Rejection::Incomplete => "incomplete",
            Rejection::Busy => "busy",
            Rejection::StoreUnavailable => "store_unavailable",
        };
        self.rejected.get_or_create(&[("reason", reason)]).inc();
    }

    pub(crate) fn count_store_error(&self, operation: Operation) {
        let operation = match operation {
            Operation::Append => "append",
            Operation::History => "history",
            Operation::Probe => "probe",
            Operation::Senders => "senders",
            Operation::Session => "session",
            Operation::Settings => "settings",
            Operation::Tail => "tail",
        };
        self.store_errors.get_or_create(&[("operation", operation)]).inc();
    }

    pub(crate) fn count_refusal(&self, showed: &'static str) {
        self.refused.get_or_create(&[("showed", showed)]).inc();
        self.refused_in_all.fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests were refused since the start.
    pub(crate) fn refused(&self) -> u64 {
        self.refused_in_all.load(Ordering::Relaxed)
    }

    /// The age of the newest event of the last batch when it arrived, in milliseconds.
    pub(crate) fn lag(&self) -> i64 {
        self.lag.get()
    }

    /// Counts one more live stream, or refuses when there are `limit` of them.
    pub(crate) fn subscribe(&self, limit: i64) -> Option<Subscription> {
        let subscription = Subscription(self.subscribers.clone());
        // Drops, and so uncounts, the subscription that would be one too many.
        (self.subscribers.inc() < limit).then_some(subscription)
    }

    /// Everything counted, in the OpenMetrics text format.
    pub(crate) fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    fn accepted(&self, kind: Kind) -> impl std::ops::Deref<Target = Counter> + '_ {
        self.accepted.get_or_create(&[("kind", kind.as_str())])
    }
}
