//! Events: records of what policies and the engine did. Names, counts and hashes; never the matched text itself.

use serde::Serialize;
use serde_json::{Map, Value};

pub use weir_events::{Kind as EventKind, Severity};

/// Longest summary in characters, of four bytes each at most; the rest is cut off. The collector takes no longer one.
const MAX_SUMMARY_CHARS: usize = weir_events::MAX_SUMMARY_BYTES / 4;

/// Most bytes of metadata, as JSON; an event with more goes without. What models and clients name has no bound of its own.
const MAX_METADATA_BYTES: usize = 64 * 1024;

/// One record, as it goes to the collector.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// Unique; the same id is the same event, however often it is delivered.
    pub id: String,
    /// What it is about.
    pub kind: EventKind,
    /// Milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// The exchange; `None` for what concerns none, such as the proxy's configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
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
    /// Configuration of that policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_config: Option<Value>,
    /// Whatever belongs to it.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
}

impl Event {
    /// Cuts the event to what a collector takes, so that it cannot take others of its batch down with it.
    pub(crate) fn bounded(mut self) -> Self {
        self.summary = shortened(&self.summary, MAX_SUMMARY_CHARS).to_owned();
        let bytes = serde_json::to_string(&self.metadata).map_or(usize::MAX, |json| json.len());
        if bytes > MAX_METADATA_BYTES {
            self.metadata = Map::from_iter([("metadata_bytes_left_out".to_owned(), bytes.into())]);
        }
        self
    }
}

/// The first `chars` characters of `text`.
pub(crate) fn shortened(text: &str, chars: usize) -> &str {
    text.char_indices().nth(chars).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_cut_to_what_a_collector_takes() {
        let event = Event {
            id: "1".to_owned(),
            kind: EventKind::Request,
            time_ms: 0,
            call_id: None,
            trace_id: None,
            span_id: None,
            policy_target: None,
            policy_class: None,
            event_type: "t".to_owned(),
            severity: Severity::Info,
            summary: "ü".repeat(5000),
            policy_config: None,
            metadata: Map::from_iter([("tool".to_owned(), Value::from("x".repeat(100_000)))]),
        };
        let bounded = event.bounded();
        assert_eq!(bounded.summary.chars().count(), MAX_SUMMARY_CHARS);
        assert!(bounded.metadata.contains_key("metadata_bytes_left_out"));
    }
}
