//! What readers see: the history in pages, and everything new as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use futures_util::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};

use crate::app::{Collector, problem, unavailable};
use crate::metrics::{Operation, Subscription};
use crate::store::{InvalidPosition, Position, Stored, Tail};

/// How many events a page of the history has, unless the reader asks for fewer or more.
const DEFAULT_PAGE: usize = 100;
/// The most events that a page of the history may have.
const MAX_PAGE: usize = 1_000;
/// The most live streams at the same time: each holds a connection, with Redis two.
const MAX_SUBSCRIBERS: i64 = 256;
/// How long a live stream waits before it asks a failed store again.
const STORE_RETRY: Duration = Duration::from_millis(500);
/// How often a silent live stream says that it lives, so that proxies keep it open and readers notice its end.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
pub(crate) struct PageQuery {
    before: Option<String>,
    limit: Option<usize>,
}

#[derive(Serialize)]
struct Page {
    /// Newest first.
    events: Vec<Arc<Stored>>,
    /// `before` of the next page; `null` on the last one.
    next: Option<Position>,
}

/// `GET /v1/events`: a page of the history, newest first.
pub(crate) async fn get_events(State(collector): State<Collector>, query: Result<Query<PageQuery>, QueryRejection>) -> Response {
    let Query(PageQuery { before, limit }) = match query {
        Ok(query) => query,
        Err(rejection) => return problem(StatusCode::BAD_REQUEST, &rejection.body_text()),
    };
    let before = match before.as_deref().map(str::parse).transpose() {
        Ok(before) => before,
        Err(error) => return invalid_position("before", &error),
    };
    let limit = limit.unwrap_or(DEFAULT_PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return problem(StatusCode::BAD_REQUEST, &format!("limit: {limit} is not between 1 and {MAX_PAGE}"));
    }
    match collector.store().history(before, limit).await {
        Ok(events) => {
            let next = if events.len() < limit { None } else { events.last().map(|oldest| oldest.position) };
            Json(Page { events, next }).into_response()
        }
        Err(error) => unavailable(&collector, Operation::History, &error),
    }
}

/// `GET /v1/senders`: who has sent, how much is missing and how much was dropped.
pub(crate) async fn get_senders(State(collector): State<Collector>) -> Response {
    match collector.store().senders().await {
        Ok(senders) => Json(serde_json::json!({ "senders": senders })).into_response(),
        Err(error) => unavailable(&collector, Operation::Senders, &error),
    }
}

#[derive(Deserialize)]
pub(crate) struct StreamQuery {
    after: Option<String>,
}

/// `GET /v1/activity/stream`: everything after a position, then everything new. A browser that reconnects names the
/// last position it saw in `Last-Event-ID`; `after` is for the first connection. Without either, only what is new.
pub(crate) async fn get_stream(
    State(collector): State<Collector>,
    query: Result<Query<StreamQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let Query(StreamQuery { after }) = match query {
        Ok(query) => query,
        Err(rejection) => return problem(StatusCode::BAD_REQUEST, &rejection.body_text()),
    };
    let last_event_id = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let after = match last_event_id.or(after.as_deref()).map(str::parse).transpose() {
        Ok(Some(after)) => after,
        Ok(None) => match collector.store().history(None, 1).await {
            Ok(newest) => newest.first().map_or(Position::START, |stored| stored.position),
            Err(error) => return unavailable(&collector, Operation::History, &error),
        },
        Err(error) => return invalid_position("after", &error),
    };
    let Some(subscription) = collector.metrics().subscribe(MAX_SUBSCRIBERS) else {
        let message = format!("{MAX_SUBSCRIBERS} live streams are open already; close one and try again");
        return problem(StatusCode::SERVICE_UNAVAILABLE, &message);
    };
    let tail = collector.store().tail(after);
    let events = follow(collector.clone(), tail, subscription).take_until(collector.stopping());
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

/// The messages of a live stream. When the store fails the reader is told, and told again when it answers; the stream
/// goes on where it stood.
fn follow(collector: Collector, tail: Tail, subscription: Subscription) -> impl Stream<Item = Result<Event, Infallible>> {
    let state = (collector, tail, subscription, true);
    stream::unfold(state, async |(collector, mut tail, subscription, answered)| {
        let (messages, answers): (Vec<_>, _) = match tail.next().await {
            Ok(events) => {
                let recovered = (!answered).then(|| store_message(true));
                let events = events.iter().filter_map(|event| message(event));
                (recovered.into_iter().chain(events).collect(), true)
            }
            Err(error) => {
                collector.metrics().count_store_error(Operation::Tail);
                tracing::debug!("a live stream waits for the store: {error}");
                if !answered {
                    tokio::time::sleep(STORE_RETRY).await;
                }
                let failed = answered.then(|| store_message(false));
                (failed.into_iter().collect(), false)
            }
        };
        let messages = stream::iter(messages.into_iter().map(Ok));
        Some((messages, (collector, tail, subscription, answers)))
    })
    .flatten()
}

fn message(stored: &Stored) -> Option<Event> {
    Event::default().id(stored.position.to_string()).json_data(stored).ok()
}

fn store_message(reachable: bool) -> Event {
    Event::default().event("store").data(if reachable { r#"{"reachable":true}"# } else { r#"{"reachable":false}"# })
}

fn invalid_position(parameter: &str, error: &InvalidPosition) -> Response {
    problem(StatusCode::BAD_REQUEST, &format!("{parameter}: {error}"))
}
