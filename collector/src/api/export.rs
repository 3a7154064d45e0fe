//! `GET /v1/export`: everything that a query finds in a range, as it is read.

use std::collections::VecDeque;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as UrlQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use serde_json::Value;

use super::page::{Page, Search, before_of, search};
use crate::app::{Collector, problem, unavailable};
use crate::metrics::Operation;
use crate::query::Query;
use crate::store::{Position, StoreError, Stored};

/// How many events are read at a time.
const CHUNK: usize = 1_000;
/// The columns of a table, and where their values lie in an event.
const COLUMNS: [(&str, &str); 14] = [
    ("time_ms", "/time_ms"),
    ("kind", "/kind"),
    ("event_type", "/event_type"),
    ("severity", "/severity"),
    ("summary", "/summary"),
    ("call_id", "/call_id"),
    ("trace_id", "/trace_id"),
    ("policy_target", "/policy_target"),
    ("policy_class", "/policy_class"),
    ("decision", "/metadata/effective_decision"),
    ("reason_code", "/metadata/reason_code"),
    ("model", "/metadata/model"),
    ("policy_user", "/metadata/policy_user"),
    ("id", "/id"),
];

#[derive(Deserialize)]
pub(crate) struct ExportQuery {
    q: Option<String>,
    from: Option<u64>,
    to: Option<u64>,
    #[serde(default)]
    format: Table,
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Table {
    #[default]
    Ndjson,
    Csv,
}

struct Export {
    collector: Collector,
    query: Query,
    from: Option<u64>,
    format: Table,
    /// What was read and not yet written.
    ready: VecDeque<Page>,
    /// Where reading goes on; `None` when everything was read.
    next: Option<Option<Position>>,
}

/// Answers with everything that is found, newest first.
pub(crate) async fn get_export(
    State(collector): State<Collector>,
    query: Result<UrlQuery<ExportQuery>, QueryRejection>,
) -> Response {
    let ExportQuery { q, from, to, format } = match query {
        Ok(UrlQuery(query)) => query,
        Err(rejection) => return problem(StatusCode::BAD_REQUEST, &rejection.body_text()),
    };
    let query = match q.unwrap_or_default().parse() {
        Ok(query) => query,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &format!("q: {error}")),
    };
    let mut export =
        Export { collector: collector.clone(), query, from, format, ready: VecDeque::new(), next: Some(before_of(to)) };
    // So that a store that cannot be reached is an answer and not the end of one.
    if let Err(error) = export.read().await {
        return unavailable(&collector, Operation::History, &error);
    }
    let (content_type, name, head) = match format {
        Table::Ndjson => ("application/x-ndjson", "weir-events.ndjson", Bytes::new()),
        Table::Csv => ("text/csv; charset=utf-8", "weir-events.csv", csv_line(names())),
    };
    let lines = stream::unfold(export, async |mut export| {
        let lines = export.lines().await?;
        Some((lines, export))
    });
    let body = Body::from_stream(futures_util::StreamExt::chain(stream::once(async { Ok(head) }), lines));
    let disposition = format!("attachment; filename=\"{name}\"");
    ([(header::CONTENT_TYPE, content_type), (header::CONTENT_DISPOSITION, disposition.as_str())], body).into_response()
}

impl Export {
    async fn read(&mut self) -> Result<(), StoreError> {
        let Some(before) = self.next else { return Ok(()) };
        let asked = Search { query: &self.query, before, from: self.from, limit: CHUNK, whole_calls: false };
        let page = search(self.collector.store(), asked).await?;
        self.next = page.next.map(Some);
        self.ready.push_back(page);
        Ok(())
    }

    /// Gives the next lines; an error breaks the answer off, so that nobody takes it for whole.
    async fn lines(&mut self) -> Option<Result<Bytes, StoreError>> {
        if self.ready.is_empty() {
            self.next?;
            if let Err(error) = self.read().await {
                return Some(Err(error));
            }
        }
        let page = self.ready.pop_front()?;
        let mut text = String::new();
        for stored in page.events.iter().filter_map(|found| found.stored()) {
            match self.format {
                Table::Ndjson => {
                    stored.write_json(&mut text);
                    text.push('\n');
                }
                Table::Csv => text.push_str(&String::from_utf8_lossy(&csv_line(values(&stored)))),
            }
        }
        Some(Ok(Bytes::from(text)))
    }
}

fn names() -> impl Iterator<Item = String> {
    ["position", "sender", "sequence"].into_iter().chain(COLUMNS.iter().map(|(name, _)| *name)).map(str::to_owned)
}

fn values(stored: &Stored<'_>) -> impl Iterator<Item = String> {
    let event: Value = serde_json::from_str(stored.event).unwrap_or_default();
    let value = move |(_, place): &(&str, &str)| match event.pointer(place) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => harmless(text),
        Some(other) => other.to_string(),
    };
    [stored.position.to_string(), harmless(&stored.entry().sender), stored.sequence.to_string()]
        .into_iter()
        .chain(COLUMNS.iter().map(value))
}

/// A spreadsheet takes a text that begins so for a formula and would carry it out.
fn harmless(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() }
}

fn csv_line(values: impl Iterator<Item = String>) -> Bytes {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Writing to memory cannot fail.
    let _ = writer.write_record(values.collect::<Vec<_>>());
    Bytes::from(writer.into_inner().unwrap_or_default())
}
