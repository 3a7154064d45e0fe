//! Events: records of what policies and the engine did. Names, counts and hashes; never the matched text itself.

use serde::Serialize;
use serde_json::{Map, Value};

/// What an event is about; decides how the activity page shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// A governed request came.
    Request,
    /// An exchange ended: the enforcement event.
    Response,
    /// A policy did something.
    PolicyAction,
    /// Something could not be done as configured.
    Error,
}

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// For finding faults.
    Debug,
    /// The normal course.
    Info,
    /// Somebody may want to look.
    Warning,
    /// Something failed.
    Error,
}

/// One record, as it goes to the collector.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// Unique; the same id is the same event, however often it is delivered.
    pub id: String,
    /// What it is about.
    pub kind: EventKind,
    /// Milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// The exchange.
    pub call_id: String,
    /// W3C trace id, if the request carried one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// W3C id of the caller's span.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span_id: Option<String>,
    /// Name of the dialect, where one is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_target: Option<&'static str>,
    /// The policy that emitted it; `None` for the engine's own events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_class: Option<&'static str>,
    /// A word such as `judge.blocked`.
    pub event_type: String,
    /// How much it matters.
    pub severity: Severity,
    /// One line for people.
    pub summary: String,
    /// Whatever belongs to it.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
}
