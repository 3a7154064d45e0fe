//! Weir's built-in policies.
//!
//! Policy documents name them with `use`; [`registry`] knows the names. What each does and how it is configured stands
//! with its type and, for operators, in this crate's README.
//!
//! # Writing a policy
//!
//! A policy overrides the hooks that it needs; what belongs to one exchange lives in its scratchpad. This one holds every
//! tool call until it is complete, and blocks calls of one tool whose arguments are too long:
//!
//! ```
//! use serde::Deserialize;
//! use weir::block::{ToolCallBlock, build_text_chunk};
//! use weir::decision::Decision;
//! use weir::document::{DocumentError, PolicyConfig, parse};
//! use weir::event::Severity;
//! use weir::policy::{BlockAction, DeltaAction, Interests, Policy, SharedPolicy, StreamingContext};
//!
//! #[derive(Debug, Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct ShortCommands {
//!     tool: String,
//!     max_bytes: usize,
//! }
//!
//! impl Policy for ShortCommands {
//!     fn interests(&self) -> Interests {
//!         Interests::TOOL_CALLS
//!     }
//!
//!     fn on_tool_call_delta<'d>(&self, _: &'d str, _: &ToolCallBlock, _: &StreamingContext) -> DeltaAction<'d> {
//!         DeltaAction::Hold
//!     }
//!
//!     async fn on_tool_call_complete(&self, block: &ToolCallBlock, cx: &StreamingContext) -> BlockAction {
//!         if block.name() != self.tool || block.arguments().len() <= self.max_bytes {
//!             return BlockAction::Forward;
//!         }
//!         cx.conclude(Decision::Refuse, "COMMAND_TOO_LONG");
//!         cx.emit("short_commands.blocked", "Blocked a long command", Severity::Warning, serde_json::Value::Null);
//!         BlockAction::Replace(build_text_chunk(block.choice(), "This command is too long to be carried out."))
//!     }
//! }
//!
//! fn make(config: PolicyConfig<'_>) -> Result<SharedPolicy, DocumentError> {
//!     Ok(SharedPolicy::new("ShortCommands", parse::<ShortCommands>(config.with)?))
//! }
//!
//! let registry = weir_policies::registry().with("short_commands", make);
//! let document = r#"{"policy": {"id": "p"}, "chain": [{"use": "short_commands", "with": {"tool": "bash", "max_bytes": "9"}}]}"#;
//! let error = weir::document::Document::parse(document, &registry, &|_| None).unwrap_err();
//! assert_eq!(error.path, "chain[0].with.max_bytes");
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::string_slice, reason = "a panic fails the test, as it should"))]

mod automaton;
mod block_requests;
mod budget;
mod cache_response;
mod calendar;
mod condition;
mod content_only;
mod content_transform;
mod history;
mod in_request;
mod joined;
mod json;
mod meter;
mod moderation;
mod no_op;
mod normal;
mod panel;
mod parallel;
mod pattern;
mod quota;
mod rate_limit;
mod rules;
#[cfg(feature = "schema")]
pub mod schema;
mod service;
mod stop_after_tools;
mod string_replacement;
mod summarise;
mod text;
mod text_judge;
mod tool_call_judge;
mod tool_list;
mod tool_rules;
mod writer;

pub use block_requests::BlockRequests;
pub use budget::Budget;
pub use cache_response::CacheResponse;
pub use content_only::ContentOnly;
pub use content_transform::ContentTransform;
pub use no_op::NoOp;
pub use rate_limit::RateLimit;
pub use rules::{RuleHold, Rules};
pub use stop_after_tools::StopAfterTools;
pub use summarise::Summarise;
pub use text_judge::TextJudge;
pub use tool_call_judge::ToolCallJudge;
pub use tool_rules::ToolRules;
use weir::document::Registry;

/// All built-in policies, under the names that documents use. Add policies of your own with [`Registry::with`].
pub fn registry() -> Registry {
    Registry::default()
        .with("no_op", no_op::make)
        .with("content_only", content_only::make)
        .with("content_transform", content_transform::make)
        .with("rules", rules::make)
        .with("tool_call_judge", tool_call_judge::make)
        .with("block_requests", block_requests::make)
        .with("stop_after_tools", stop_after_tools::make)
        .with("rate_limit", rate_limit::make)
        .with("budget", budget::make)
        .with("cache_response", cache_response::make)
        .with("string_replacement", string_replacement::make)
        .with("text_judge", text_judge::make)
        .with("tool_rules", tool_rules::make)
        .with("summarise", summarise::make)
        .with("parallel", parallel::make)
}
