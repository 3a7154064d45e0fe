//! `POST /v1/events`: takes a batch, and acknowledges it only when it is stored.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt as _;
use serde::Serialize;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::app::{Collector, problem, unavailable};
use crate::event::Batch;
use crate::log::Gate;
use crate::metrics::{Operation, Rejection};
use crate::store::{Appended, StoreError};

/// The most bytes that one batch may have.
pub const MAX_BODY_BYTES: usize = weir_events::MAX_BATCH_BYTES;
/// The most KiB of all bodies that are being taken.
const MAX_INTAKE_KIB: usize = 64 * 1024;

/// Bounds what all bodies together take while they arrive and are stored.
#[derive(Debug)]
pub(crate) struct Intake {
    kib: Arc<Semaphore>,
    loss: Gate,
}

impl Default for Intake {
    fn default() -> Self {
        Self { kib: Arc::new(Semaphore::new(MAX_INTAKE_KIB)), loss: Gate::default() }
    }
}

#[derive(Serialize)]
struct Accepted {
    accepted: usize,
    duplicates: usize,
    #[serde(skip_serializing_if = "is_zero")]
    conflicts: usize,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

pub(crate) async fn post_events(State(collector): State<Collector>, headers: HeaderMap, body: Body) -> Response {
    let metrics = collector.metrics();
    // A page of another site can post plain text without asking; JSON it must ask for, and is not allowed to send.
    if !is_json(&headers) {
        metrics.count_rejection(Rejection::Malformed);
        return problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "events are sent with `content-type: application/json`");
    }
    if headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        metrics.count_rejection(Rejection::Malformed);
        return problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "events are sent without `content-encoding`");
    }
    let (body, _room) = match read(collector.intake(), body).await {
        Ok(read) => read,
        Err(refusal) => {
            metrics.count_rejection(refusal);
            return refusal.answer();
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
    let now = unix_milliseconds();
    let appended = collector.store().append(&batch, now).await;
    collector.health().note(appended.as_ref());
    match appended {
        Ok(appended) => {
            metrics.count_appended(&batch, &appended, now);
            tell_loss(&collector, &batch, &appended);
            let Appended { duplicates, conflicts, .. } = appended;
            let accepted = batch.events.len().saturating_sub(duplicates).saturating_sub(conflicts);
            (StatusCode::ACCEPTED, Json(Accepted { accepted, duplicates, conflicts })).into_response()
        }
        Err(error @ StoreError::TooOld { .. }) => {
            metrics.count_rejection(Rejection::TooOld);
            problem(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string())
        }
        Err(error) => {
            metrics.count_rejection(Rejection::StoreUnavailable);
            let mut response = unavailable(&collector, Operation::Append, &error);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
    }
}

fn tell_loss(collector: &Collector, batch: &Batch<'_>, appended: &Appended) {
    // What the sender says it dropped is no surprise.
    let lost = appended.missing.saturating_sub(appended.dropped);
    if (lost > 0 || appended.conflicts > 0)
        && let Some(left_out) = collector.intake().loss.pass()
    {
        tracing::warn!(
            "{lost} events of sender {:?} are missing before {}, and {} came under numbers of others; {left_out} more such \
             batches since the last such line",
            batch.sender,
            batch.sequence,
            appended.conflicts
        );
    }
}

/// Reads a body as far as there is room for it. The room is given back with the permit.
async fn read(intake: &Intake, mut body: Body) -> Result<(Vec<u8>, Option<OwnedSemaphorePermit>), Rejection> {
    let mut bytes = Vec::new();
    let mut room: Option<OwnedSemaphorePermit> = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Rejection::Incomplete)?;
        let Some(data) = frame.data_ref() else { continue };
        if bytes.len().saturating_add(data.len()) > MAX_BODY_BYTES {
            return Err(Rejection::TooLarge);
        }
        bytes.extend_from_slice(data);
        // A vector grows by doubling, and what is stored of it is about as much again.
        let needed = bytes.capacity().div_ceil(1024);
        let has = room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if let Some(more) = u32::try_from(needed.saturating_sub(has)).ok().filter(|more| *more > 0) {
            let more = Arc::clone(&intake.kib).try_acquire_many_owned(more).map_err(|_| Rejection::Busy)?;
            match &mut room {
                Some(room) => room.merge(more),
                None => room = Some(more),
            }
        }
    }
    Ok((bytes, room))
}

impl Rejection {
    fn answer(self) -> Response {
        match self {
            Self::TooLarge => problem(
                StatusCode::PAYLOAD_TOO_LARGE,
                &format!("the batch has more than {MAX_BODY_BYTES} bytes; send smaller batches"),
            ),
            Self::Busy => {
                let mut response =
                    problem(StatusCode::SERVICE_UNAVAILABLE, "too many batches arrive at once; try again in a moment");
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
                response
            }
            _ => problem(StatusCode::BAD_REQUEST, "the body did not come whole"),
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

pub(crate) fn unix_milliseconds() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}
