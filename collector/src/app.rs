//! The routes, and what every answer of the collector has in common.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use serde_json::json;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;

use crate::access::{self, Access};
use crate::ingest::{self, MAX_BODY_BYTES};
use crate::metrics::{self, Metrics, Operation};
use crate::store::{Store, StoreError};
use crate::{live, ui};

/// How long a request may take until its answer begins; a body that trickles in is given up after this.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// What the routes share. Clones are the same collector.
#[derive(Clone, Debug)]
pub struct Collector {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    access: Access,
    metrics: Metrics,
    stopping: CancellationToken,
}

impl Collector {
    /// A collector over `store` that lets in whom `access` says.
    pub fn new(store: Store, access: Access) -> Self {
        let shared = Shared { store, access, metrics: Metrics::new(), stopping: CancellationToken::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Ends every live stream, and every one that is opened from now on.
    pub fn stop(&self) {
        self.shared.stopping.cancel();
    }

    pub(crate) fn store(&self) -> &Store {
        &self.shared.store
    }

    pub(crate) fn access(&self) -> &Access {
        &self.shared.access
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    pub(crate) fn stopping(&self) -> WaitForCancellationFutureOwned {
        self.shared.stopping.clone().cancelled_owned()
    }
}

/// Everything that the collector serves.
pub fn app(collector: Collector) -> Router {
    let header = |name: HeaderName, value| SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value));
    Router::new()
        .route("/v1/events", post(ingest::post_events).get(live::get_events))
        .route("/v1/activity/stream", get(live::get_stream))
        .route("/v1/senders", get(live::get_senders))
        .route("/metrics", get(get_metrics))
        .merge(ui::routes())
        .route_layer(middleware::from_fn_with_state(collector.clone(), access::require))
        // Outside of the access check: who watches over the process has no token.
        .route("/healthz", get(get_health))
        .fallback(async || problem(StatusCode::NOT_FOUND, "nothing here; the page is at /ui/activity/live"))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, REQUEST_TIMEOUT))
        .layer(header(header::CACHE_CONTROL, "no-store"))
        .layer(header(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(header(header::REFERRER_POLICY, "no-referrer"))
        .layer(header(header::CONTENT_SECURITY_POLICY, ui::CONTENT_SECURITY_POLICY))
        .with_state(collector)
}

async fn get_health(State(collector): State<Collector>) -> Response {
    match collector.store().ping().await {
        Ok(()) => Json(json!({"status": "ok"})).into_response(),
        Err(error) => unavailable(&collector, Operation::Ping, &error),
    }
}

async fn get_metrics(State(collector): State<Collector>) -> Response {
    match collector.metrics().encode() {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// An error as every route of the collector answers it.
pub(crate) fn problem(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"error": {"message": message}}))).into_response()
}

/// The answer when the store fails. What is wrong with it stands in the log; who asks learns only that it is so.
pub(crate) fn unavailable(collector: &Collector, operation: Operation, error: &StoreError) -> Response {
    collector.metrics().count_store_error(operation);
    tracing::debug!(?operation, "{error}");
    problem(StatusCode::SERVICE_UNAVAILABLE, "the store cannot be reached; try again in a moment")
}
