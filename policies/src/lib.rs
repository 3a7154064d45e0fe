//! Weir's built-in policies.
//!
//! Policy documents name them with `use`; [`registry`] knows the names. What each does and how it is configured stands
//! with its type and, for operators, in this crate's README.
#![forbid(unsafe_code)]

mod content_only;
mod content_transform;
mod fingerprint;
mod no_op;
mod text;
mod tool_call_judge;

pub use content_only::ContentOnly;
pub use content_transform::ContentTransform;
pub use no_op::NoOp;
pub use tool_call_judge::ToolCallJudge;
use weir::document::Registry;

/// The built-in policies under the names that documents use. Add policies of your own with [`Registry::with`].
pub fn registry() -> Registry {
    Registry::default()
        .with("no_op", no_op::make)
        .with("content_only", content_only::make)
        .with("content_transform", content_transform::make)
        .with("tool_call_judge", tool_call_judge::make)
}
