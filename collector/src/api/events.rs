//! `GET /v1/events` and `GET /v1/calls/{call}`.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query as UrlQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::page::{Search, before_of, search};
use crate::app::{Collector, problem, unavailable};
use crate::metrics::Operation;
use crate::query::Query;
use crate::store::{Cursor, Entry, EntryId, Position, Stored};

/// How many events a page has, unless the reader asks for fewer or more.
const DEFAULT_PAGE: usize = 100;
/// The most events that a page may have.
const MAX_PAGE: usize = 1_000;
/// How long before and after an event of it a call is looked for, in milliseconds.
const CALL_MS: u64 = 60 * 60 * 1_000;
/// The most events that are shown of one call.
const MAX_CALL_EVENTS: usize = 1_000;

#[derive(Deserialize)]
pub(crate) struct PageQuery {
    q: Option<String>,
    from: Option<u64>,
    to: Option<u64>,
    before: Option<Position>,
    after: Option<String>,
    limit: Option<usize>,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    whole_calls: bool,
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// How events are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    #[default]
    Json,
    /// Each event on a line, as it was sent; what else is to say stands on the last one.
    Ndjson,
}

/// Answers with a page of the history, newest first; or, with `after`, with what arrived since, oldest first.
pub(crate) async fn get_events(
    State(collector): State<Collector>,
    query: Result<UrlQuery<PageQuery>, QueryRejection>,
) -> Response {
    let parameters = match query {
        Ok(UrlQuery(query)) => query,
        Err(rejection) => {
            return problem(StatusCode::BAD_REQUEST, &rejection.body_text().replace("Failed to deserialize query string: ", ""));
        }
    };
    let query: Query = match parameters.q.as_deref().unwrap_or_default().parse() {
        Ok(query) => query,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &format!("q: {error}")),
    };
    let limit = parameters.limit.unwrap_or(DEFAULT_PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return problem(StatusCode::BAD_REQUEST, &format!("limit: {limit} is not between 1 and {MAX_PAGE}"));
    }
    match parameters.after.as_deref().map(str::parse::<Cursor>).transpose() {
        Ok(Some(after)) => since(&collector, &query, &after, limit, parameters.format).await,
        Ok(None) => history(&collector, &query, limit, &parameters).await,
        Err(error) => problem(StatusCode::BAD_REQUEST, &format!("after: {error}")),
    }
}

async fn history(collector: &Collector, query: &Query, limit: usize, parameters: &PageQuery) -> Response {
    let before = parameters.before.or_else(|| before_of(parameters.to));
    let asked = Search { query, before, from: parameters.from, limit, whole_calls: parameters.whole_calls };
    let outcome = async {
        // Before the search: what arrives meanwhile is told to whoever goes on from here.
        let cursor = collector.store().end().await?;
        Ok((cursor, search(collector.store(), asked).await?))
    };
    match outcome.await {
        Ok((cursor, page)) => {
            let events = page.events.iter().filter_map(|found| found.stored());
            let rest = json!({"next": page.next, "cursor": cursor, "searched": page.searched});
            write(parameters.format, events, &rest)
        }
        Err(error) => unavailable(collector, Operation::History, &error),
    }
}

async fn since(collector: &Collector, query: &Query, after: &Cursor, limit: usize, format: Format) -> Response {
    match collector.hub().since(after).await {
        Ok(since) => {
            let events = || since.entries.iter().flat_map(|entry: &std::sync::Arc<Entry>| entry.events());
            let found: Vec<_> = events().filter(|stored| query.matches(stored)).collect();
            // Who comes too seldom gets the newest, and is told of the others.
            let skipped = found.len().saturating_sub(limit);
            let rest = json!({"cursor": since.cursor, "skipped": skipped, "searched": events().count()});
            write(format, found.into_iter().skip(skipped), &rest)
        }
        Err(error) => unavailable(collector, Operation::Tail, &error),
    }
}

/// Writes events as they were sent, with what else is to say.
fn write<'a>(format: Format, events: impl Iterator<Item = Stored<'a>>, rest: &Value) -> Response {
    let mut text = String::new();
    match format {
        Format::Ndjson => {
            for stored in events {
                stored.write_json(&mut text);
                text.push('\n');
            }
            text.push_str(&rest.to_string());
            text.push('\n');
            ([(header::CONTENT_TYPE, "application/x-ndjson")], text).into_response()
        }
        Format::Json => {
            text.push_str("{\"events\":[");
            for (index, stored) in events.enumerate() {
                if index > 0 {
                    text.push(',');
                }
                stored.write_json(&mut text);
            }
            text.push_str("],");
            text.push_str(rest.to_string().get(1..).unwrap_or("}"));
            ([(header::CONTENT_TYPE, "application/json")], text).into_response()
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct CallQuery {
    /// A position of an event of the call.
    near: Option<Position>,
    #[serde(default)]
    format: Format,
}

/// Answers with everything about one call, oldest first.
pub(crate) async fn get_call(
    State(collector): State<Collector>,
    Path(call): Path<String>,
    query: Result<UrlQuery<CallQuery>, QueryRejection>,
) -> Response {
    let CallQuery { near, format } = match query {
        Ok(UrlQuery(query)) => query,
        Err(rejection) => return problem(StatusCode::BAD_REQUEST, &rejection.body_text()),
    };
    let quoted = call.replace('\\', "\\\\").replace('"', "\\\"");
    let Ok(query) = format!("call:\"{quoted}\"").parse::<Query>() else {
        return problem(StatusCode::BAD_REQUEST, "this is no id of a call");
    };
    let around = near.map(|near| near.entry.milliseconds);
    let before = around
        .map(|at| Position { entry: EntryId { milliseconds: at.saturating_add(CALL_MS), number: 0 }, ..Position::default() });
    let from = around.map(|at| at.saturating_sub(CALL_MS));
    let asked = Search { query: &query, before, from, limit: MAX_CALL_EVENTS, whole_calls: false };
    match search(collector.store(), asked).await {
        Ok(page) => {
            let mut events: Vec<_> = page.events.iter().filter_map(|found| found.stored()).collect();
            events.sort_by_key(|stored| stored.position);
            write(format, events.into_iter(), &json!({"next": page.next, "searched": page.searched}))
        }
        Err(error) => unavailable(&collector, Operation::History, &error),
    }
}
