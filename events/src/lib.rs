//! The wire format of events, as filters write it and the collector reads it. Everything that names a field of it stands
//! here once: the words on the wire, the bounds, and the tables from which the JSON schema and the reference of
//! `collector/README.md` are made.
//!
//! ```
//! use weir_events::{Kind, Severity};
//!
//! assert_eq!(Kind::PolicyAction.as_str(), "policy_action");
//! assert_eq!(Severity::Warning.as_str(), "warning");
//! ```

mod tables;

use serde::{Deserialize, Serialize};

pub use tables::{BATCH, EVENT, Field, Form, json_schema, markdown_table};

/// The most events that one batch may carry.
pub const MAX_BATCH_EVENTS: usize = 4_096;
/// The most bytes that one batch may have.
pub const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;
/// The most bytes that one event may have: every reader of the page pays for them.
pub const MAX_EVENT_BYTES: usize = 256 * 1024;
/// How deep arrays and objects of one event may nest: readers parse recursively, and this is what protects them.
pub const MAX_EVENT_DEPTH: usize = 64;
/// The most bytes of a name: ids, types, targets, classes, senders.
pub const MAX_NAME_BYTES: usize = 128;
/// The most bytes of a summary.
pub const MAX_SUMMARY_BYTES: usize = 4_096;
/// The largest number: readers in JavaScript and the scripts of Redis count in 64-bit floats.
pub const MAX_NUMBER: u64 = (1 << 53) - 1;

/// Tells what an event is about; decides how the activity page shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A governed request came.
    Request,
    /// An exchange ended: the enforcement event, with the decision about it.
    Response,
    /// A policy did something.
    PolicyAction,
    /// Something could not be done as configured.
    Error,
}

impl Kind {
    /// Lists every kind.
    pub const ALL: [Self; 4] = [Self::Request, Self::Response, Self::PolicyAction, Self::Error];

    /// Names the kind as on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
            Self::PolicyAction => "policy_action",
            Self::Error => "error",
        }
    }
}

/// Tells how much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

impl Severity {
    /// Lists every severity, the mildest first.
    pub const ALL: [Self; 4] = [Self::Debug, Self::Info, Self::Warning, Self::Error];

    /// Names the severity as on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}
