//! Whether the collector lives, and whether it takes events.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::app::Collector;
use crate::metrics::Operation;
use crate::store::StoreError;

/// How long the outcome of the last append says how the store is.
const FRESH: Duration = Duration::from_secs(2);

/// The outcome of the last append, or of the probe that took its place.
#[derive(Debug, Default)]
pub(crate) struct Health(Mutex<Option<(Instant, Option<String>)>>);

impl Health {
    pub(crate) fn note<T>(&self, outcome: Result<&T, &StoreError>) {
        // That one sender's number is too old says nothing about the store.
        let word = outcome.err().filter(|error| !matches!(error, StoreError::TooOld { .. })).map(StoreError::word);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), word));
    }

    fn fresh(&self) -> Option<Option<String>> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        last.filter(|(at, _)| at.elapsed() < FRESH).map(|(_, word)| word)
    }
}

/// `GET /livez`: the process answers.
pub(crate) async fn get_live() -> Response {
    Json(json!({"status": "ok"})).into_response()
}

/// `GET /readyz`: the last append was stored; where there was none lately, a write to every shard says it.
pub(crate) async fn get_ready(State(collector): State<Collector>) -> Response {
    match ready(&collector).await {
        None => Json(json!({"status": "ok"})).into_response(),
        Some(reason) => {
            let error = json!({"message": "events cannot be stored", "reason": reason});
            (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "unavailable", "error": error}))).into_response()
        }
    }
}

/// Says in a word why events cannot be stored.
pub(crate) async fn ready(collector: &Collector) -> Option<String> {
    if let Some(known) = collector.health().fresh() {
        return known;
    }
    let outcome = collector.store().probe().await;
    if outcome.is_err() {
        collector.metrics().count_store_error(Operation::Probe);
    }
    collector.health().note(outcome.as_ref());
    outcome.err().map(|error| error.word())
}
