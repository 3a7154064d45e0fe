//! `POST /v1/events`: takes a batch, and acknowledges it only when it is stored.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use crate::app::{Collector, problem, unavailable};
use crate::event::Batch;
use crate::metrics::{Operation, Rejection};

/// The most bytes that one batch may have.
pub const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

#[derive(Serialize)]
struct Accepted {
    accepted: usize,
    duplicates: usize,
}

pub(crate) async fn post_events(
    State(collector): State<Collector>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let metrics = collector.metrics();
    // A page of another site can post plain text without asking; JSON it must ask for, and is not allowed to send.
    if !is_json(&headers) {
        metrics.count_rejection(Rejection::Malformed);
        return problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "events are sent with `content-type: application/json`");
    }
    let body = match body {
        Ok(body) => body,
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            metrics.count_rejection(Rejection::TooLarge);
            let message = format!("the batch has more than {MAX_BODY_BYTES} bytes; send smaller batches");
            return problem(StatusCode::PAYLOAD_TOO_LARGE, &message);
        }
        Err(rejection) => {
            metrics.count_rejection(Rejection::Malformed);
            return problem(rejection.status(), &rejection.body_text());
        }
    };
    let batch = match Batch::parse(&body) {
        Ok(batch) => batch,
        Err(malformed) => {
            metrics.count_rejection(Rejection::Malformed);
            tracing::debug!("refused a batch: {malformed}");
            let error = json!({"error": {"path": malformed.path, "message": malformed.message}});
            return (StatusCode::BAD_REQUEST, Json(error)).into_response();
        }
    };
    match collector.store().append(&batch, unix_milliseconds()).await {
        Ok(appended) => {
            metrics.count_appended(&batch, &appended);
            if appended.missing > 0 {
                tracing::warn!("{} events of sender {:?} are missing before {}", appended.missing, batch.sender, batch.sequence);
            }
            let duplicates = appended.duplicates.len();
            let accepted = batch.events.len().saturating_sub(duplicates);
            (StatusCode::ACCEPTED, Json(Accepted { accepted, duplicates })).into_response()
        }
        Err(error) => {
            metrics.count_rejection(Rejection::StoreUnavailable);
            let mut response = unavailable(&collector, Operation::Append, &error);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

fn unix_milliseconds() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}
