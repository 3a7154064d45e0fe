//! The routes, and what every answer of the collector has in common.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use serde_json::json;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tower_http::set_header::SetResponseHeaderLayer;

use crate::access::{self, Access, Sessions};
use crate::health::{self, Health};
use crate::ingest::{self, Intake};
use crate::live::{self, Hub};
use crate::log::Gate;
use crate::metrics::{self, Metrics, Operation};
use crate::store::{Store, StoreError};
use crate::{api, ui};

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
    sessions: Sessions,
    refusals: Gate,
    metrics: Metrics,
    health: Health,
    intake: Intake,
    hub: Arc<Hub>,
    secure: bool,
    stopping: CancellationToken,
}

impl Collector {
    /// Makes a collector over `store` that lets in whom `access` says.
    pub fn new(store: Store, access: Access) -> Self {
        Self::over(store, access, false)
    }

    /// Makes a collector whose visitors come over TLS.
    pub fn with_tls(store: Store, access: Access) -> Self {
        Self::over(store, access, true)
    }

    fn over(store: Store, access: Access, secure: bool) -> Self {
        let shared = Shared {
            hub: Arc::new(Hub::new(store.clone())),
            store,
            access,
            sessions: Sessions::default(),
            refusals: Gate::default(),
            metrics: Metrics::new(),
            health: Health::default(),
            intake: Intake::default(),
            secure,
            stopping: CancellationToken::new(),
        };
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

    pub(crate) fn sessions(&self) -> &Sessions {
        &self.shared.sessions
    }

    pub(crate) fn refusals(&self) -> &Gate {
        &self.shared.refusals
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    pub(crate) fn health(&self) -> &Health {
        &self.shared.health
    }

    pub(crate) fn intake(&self) -> &Intake {
        &self.shared.intake
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.shared.hub
    }

    pub(crate) fn secure(&self) -> bool {
        self.shared.secure
    }

    pub(crate) fn stopping(&self) -> WaitForCancellationFutureOwned {
        self.shared.stopping.clone().cancelled_owned()
    }
}

/// Makes everything that the collector serves.
pub fn app(collector: Collector) -> Router {
    let header = |name: HeaderName, value| SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value));
    Router::new()
        .route("/v1/events", post(ingest::post_events).get(api::get_events))
        .route("/v1/export", get(api::get_export))
        .route("/v1/calls/{call}", get(api::get_call))
        .route("/v1/summary", get(api::get_summary))
        .route("/v1/activity/stream", get(live::get_stream))
        .route("/v1/senders", get(api::get_senders))
        .route("/v1/status", get(api::get_status))
        .route("/v1/settings", get(api::get_settings).put(api::put_settings))
        .route("/v1/openapi.json", get(api::get_openapi))
        .route("/metrics", get(get_metrics))
        .merge(ui::routes())
        .route_layer(middleware::from_fn_with_state(collector.clone(), access::require))
        // Outside of the access check: who watches over the process has no token, and who signs in has none yet.
        .route("/livez", get(health::get_live))
        .route("/readyz", get(health::get_ready))
        .route("/healthz", get(health::get_ready))
        .route("/ui/sign-in", get(access::get_sign_in).post(access::post_sign_in))
        .route("/ui/sign-out", post(access::post_sign_out))
        .merge(ui::public_routes())
        .fallback(async || problem(StatusCode::NOT_FOUND, "nothing here; the page is at /ui/activity/live"))
        .method_not_allowed_fallback(async || problem(StatusCode::METHOD_NOT_ALLOWED, "this path does not take that method"))
        .layer(DefaultBodyLimit::max(ingest::MAX_BODY_BYTES))
        .layer(middleware::from_fn(answer_in_time))
        .layer(header(header::CACHE_CONTROL, "no-store"))
        .layer(header(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        // With less, browsers do not say where a form comes from.
        .layer(header(header::REFERRER_POLICY, "same-origin"))
        .layer(header(header::CONTENT_SECURITY_POLICY, ui::CONTENT_SECURITY_POLICY))
        .with_state(collector)
}

async fn answer_in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let mut response =
                problem(StatusCode::REQUEST_TIMEOUT, "the request did not come, or could not be answered, in time");
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            response
        }
    }
}

async fn get_metrics(State(collector): State<Collector>) -> Response {
    match collector.metrics().encode() {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// Makes an error as every route of the collector answers it.
pub(crate) fn problem(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"error": {"message": message}}))).into_response()
}

/// Makes the answer when the store fails. What is wrong with it stands in the log; who asks learns only that it is so.
pub(crate) fn unavailable(collector: &Collector, operation: Operation, error: &StoreError) -> Response {
    if matches!(error, StoreError::OtherShards) {
        return problem(StatusCode::BAD_REQUEST, "after: the cursor is of another store");
    }
    collector.metrics().count_store_error(operation);
    tracing::debug!(?operation, "{error}");
    problem(StatusCode::SERVICE_UNAVAILABLE, "the store cannot be reached; try again in a moment")
}
