//! A filter with policies of its own beside the built-in ones: `limit_tool_calls` lets so many tool calls of an exchange
//! pass, and no more; `drop_comments` takes comments out of streams.

mod comments;

use serde::Deserialize;
use serde_json::json;
use weir::block::{BlockId, ToolCallBlock, build_text_chunk};
use weir::decision::Decision;
use weir::document::{DocumentError, PolicyConfig, Registry, parse};
use weir::event::Severity;
use weir::policy::{BlockAction, DeltaAction, Interests, Policy, SharedPolicy, StreamingContext};

// The line that makes a filter of this crate. On the host there is no proxy, only the tests.
#[cfg(target_family = "wasm")]
weir_envoy::plugin!(registry);

/// The built-in policies and those of this crate.
pub fn registry() -> Registry {
    weir_policies::registry().with("limit_tool_calls", make).with("drop_comments", comments::make)
}

/// Lets at most `max_calls` tool calls of an exchange pass. It is its own configuration.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitToolCalls {
    max_calls: usize,
}

/// The state of one exchange: the calls that it had so far, in their order.
#[derive(Debug, Default)]
pub struct Calls(Vec<BlockId>);

impl Calls {
    /// The place of a call among all calls, counted from 0.
    fn position(&mut self, call: BlockId) -> usize {
        self.0.iter().position(|known| *known == call).unwrap_or_else(|| {
            self.0.push(call);
            self.0.len().saturating_sub(1)
        })
    }
}

impl LimitToolCalls {
    fn is_within_limit(&self, block: &ToolCallBlock, cx: &StreamingContext<Calls>) -> bool {
        cx.scratchpad(|calls| calls.position(block.id())) < self.max_calls
    }
}

impl Policy<Calls> for LimitToolCalls {
    fn interests(&self) -> Interests {
        Interests::TOOL_CALLS
    }

    fn describe(&self) -> serde_json::Value {
        json!({ "max_calls": self.max_calls })
    }

    // The number of a call is known at its first delta: nothing needs to wait.
    fn on_tool_call_delta<'d>(&self, _: &'d str, block: &ToolCallBlock, cx: &StreamingContext<Calls>) -> DeltaAction<'d> {
        if self.is_within_limit(block, cx) { DeltaAction::Forward } else { DeltaAction::Drop }
    }

    async fn on_tool_call_complete(&self, block: &ToolCallBlock, cx: &StreamingContext<Calls>) -> BlockAction {
        if self.is_within_limit(block, cx) {
            return BlockAction::Forward;
        }
        cx.conclude(Decision::Refuse, "TOO_MANY_TOOL_CALLS");
        cx.emit(
            "limit_tool_calls.blocked",
            format!("Blocked a call beyond {}", self.max_calls),
            Severity::Warning,
            json!({ "tool": block.name(), "max_calls": self.max_calls }),
        );
        let message = format!("[{} was not called: no more than {} tool calls at a time.]", block.name(), self.max_calls);
        BlockAction::Replace(build_text_chunk(block.choice(), message))
    }
}

fn make(config: PolicyConfig<'_>) -> Result<SharedPolicy, DocumentError> {
    let policy: LimitToolCalls = parse(config.with)?;
    if policy.max_calls == 0 {
        return Err(DocumentError::new("max_calls", "must be at least 1; use content_only to drop every call"));
    }
    Ok(SharedPolicy::new("LimitToolCalls", policy))
}
