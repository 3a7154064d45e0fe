//! Bounds, and what happens beyond them.

use serde::{Deserialize, Serialize};

/// What happens to that which cannot be checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FailureMode {
    /// Refuse it: the default.
    #[default]
    Block,
    /// Let it pass; each time is counted as failed open.
    Allow,
}

/// The `limits` of a policy document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Longest request body in bytes. Envoy's own limit must be higher.
    pub max_request_bytes: usize,
    /// Longest non-streamed response body in bytes.
    pub max_response_bytes: usize,
    /// Longest single event of a stream in bytes.
    pub max_event_bytes: usize,
    /// Most bytes of one exchange that may be held while they are undecided.
    pub max_held_bytes: usize,
    /// Most bytes that policies may add to the texts of a request, and to those of a response, by replacing. What would grow
    /// more does not leave.
    pub max_rewritten_bytes: usize,
    /// What happens to a response, event or held span beyond its bound. A longer request is always refused: what cannot
    /// be kept cannot be sent on.
    pub on_exceeded: FailureMode,
    /// What happens to a request or response that cannot be read: broken JSON, unknown encoding or content type.
    pub on_unreadable: FailureMode,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_request_bytes: 10 * 1024 * 1024,
            max_response_bytes: 10 * 1024 * 1024,
            max_event_bytes: 8 * 1024 * 1024,
            max_held_bytes: 1024 * 1024,
            max_rewritten_bytes: 10 * 1024 * 1024,
            on_exceeded: FailureMode::Block,
            on_unreadable: FailureMode::Block,
        }
    }
}
