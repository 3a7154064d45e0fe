//! `GET /v1/activity/stream`: what is new, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as UrlQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt as _, stream};
use serde::Deserialize;
use tokio::sync::watch;

use super::hub::{Arrival, Hub, Next, Place};
use crate::app::{Collector, problem, unavailable};
use crate::metrics::{Operation, Subscription};
use crate::query::Query;
use crate::store::{Cursor, Entry};

/// The most live streams at the same time: each holds a connection.
const MAX_SUBSCRIBERS: i64 = 256;
/// How many bytes of events are handed to a connection at a time.
const MOST_BYTES: usize = 64 * 1024;
/// How often a silent live stream says that it lives, so that proxies keep it open and readers notice its end.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
pub(crate) struct StreamQuery {
    after: Option<String>,
    q: Option<String>,
}

/// Streams everything after a cursor, then everything new. A browser that reconnects names the last cursor it saw in
/// `Last-Event-ID`; `after` is for the first connection. Without either, only what is new.
pub(crate) async fn get_stream(
    State(collector): State<Collector>,
    query: Result<UrlQuery<StreamQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let StreamQuery { after, q } = match query {
        Ok(UrlQuery(query)) => query,
        Err(rejection) => return problem(StatusCode::BAD_REQUEST, &rejection.body_text()),
    };
    let query: Query = match q.unwrap_or_default().parse() {
        Ok(query) => query,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &format!("q: {error}")),
    };
    let last_event_id = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let after: Option<Cursor> = match last_event_id.or(after.as_deref()).map(str::parse).transpose() {
        Ok(after) => after,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &format!("after: {error}")),
    };
    let Some(subscription) = collector.metrics().subscribe(MAX_SUBSCRIBERS) else {
        let message = format!("{MAX_SUBSCRIBERS} live streams are open already; close one and try again");
        return problem(StatusCode::SERVICE_UNAVAILABLE, &message);
    };
    let (place, joined) = match collector.hub().join().await {
        Ok(joined) => joined,
        Err(error) => return unavailable(&collector, Operation::Tail, &error),
    };
    let cursor = after.unwrap_or_else(|| joined.clone());
    if cursor.0.len() != joined.0.len() {
        return problem(StatusCode::BAD_REQUEST, "after: the cursor is of another store");
    }
    let hub = Arc::clone(collector.hub());
    let changed = hub.watch();
    let reader = Reader { hub, place, changed, joined, cursor, query, reachable: true, _subscription: subscription };
    let stopping = collector.stopping();
    let body =
        Body::from_stream(stream::once(async { Ok(Bytes::from_static(b":\n\n")) }).chain(reader.messages()).take_until(stopping));
    ([(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))], body).into_response()
}

struct Reader {
    hub: Arc<Hub>,
    place: Place,
    changed: watch::Receiver<u64>,
    /// Up to here the store is read for this reader alone, from there the hub.
    joined: Cursor,
    cursor: Cursor,
    query: Query,
    reachable: bool,
    _subscription: Subscription,
}

impl Reader {
    fn messages(self) -> impl Stream<Item = Result<Bytes, Infallible>> {
        stream::unfold(self, async |mut reader| Some((Ok(reader.next().await), reader)))
    }

    /// Gives the next messages, or a sign of life.
    async fn next(&mut self) -> Bytes {
        if !self.cursor.covers(&self.joined) {
            return self.catch_up().await;
        }
        loop {
            self.changed.mark_unchanged();
            match self.hub.next(&mut self.place, &mut self.reachable, MOST_BYTES) {
                Next::Arrivals(arrivals) => {
                    let messages = self.write(&arrivals);
                    if !messages.is_empty() {
                        return messages;
                    }
                }
                Next::Skipped(events) => return Bytes::from(format!("event: skipped\ndata: {{\"events\":{events}}}\n\n")),
                Next::Store { reachable } => return store_message(reachable),
                Next::Nothing => match tokio::time::timeout(KEEP_ALIVE, self.changed.changed()).await {
                    Ok(Ok(())) => {}
                    _ => return Bytes::from_static(b":\n\n"),
                },
            }
        }
    }

    fn write(&mut self, arrivals: &[Arc<Arrival>]) -> Bytes {
        let mut messages = Vec::new();
        for arrival in arrivals {
            let entry = &arrival.entry;
            // What came while the store was read for this reader alone has been sent.
            if entry.id <= self.cursor.of(entry.shard) {
                continue;
            }
            self.cursor.advance(entry.shard, entry.id);
            if self.query.is_empty() {
                messages.extend_from_slice(arrival.all());
                continue;
            }
            let before = messages.len();
            for (message, stored) in arrival.messages().iter().zip(entry.events()) {
                if self.query.matches(&stored) {
                    messages.extend_from_slice(message);
                }
            }
            if messages.len() > before {
                messages.extend_from_slice(arrival.cursor_message().as_bytes());
            }
        }
        Bytes::from(messages)
    }

    async fn catch_up(&mut self) -> Bytes {
        match self.hub.since(&self.cursor).await {
            Ok(since) => {
                let messages = since.entries.iter().map(|entry| self.messages_of(entry)).collect::<String>();
                let stands_still = since.cursor == self.cursor;
                self.cursor = since.cursor;
                if stands_still {
                    // What was there is gone by now: nothing is left to catch up with.
                    self.cursor.clone_from(&self.joined);
                }
                Bytes::from(format!("{messages}id: {}\n\n", self.cursor))
            }
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(500)).await;
                let told = std::mem::replace(&mut self.reachable, false);
                if told { store_message(false) } else { Bytes::from_static(b":\n\n") }
            }
        }
    }

    fn messages_of(&self, entry: &Entry) -> String {
        let mut text = String::new();
        for stored in entry.events().filter(|stored| self.query.matches(stored)) {
            text.push_str("data: ");
            stored.write_json(&mut text);
            text.push_str("\n\n");
        }
        text
    }
}

fn store_message(reachable: bool) -> Bytes {
    Bytes::from(format!("event: store\ndata: {{\"reachable\":{reachable}}}\n\n"))
}
