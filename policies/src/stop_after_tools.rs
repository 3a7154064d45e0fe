//! StopAfterTools: so many tool calls, and so many times the same one.

use serde::Deserialize;
use serde_json::{Value, json};
use weir::block::{ToolCallBlock, build_text_chunk};
use weir::decision::Decision;
use weir::document::{DocumentError, PolicyConfig, parse};
use weir::event::Severity;
use weir::exchange::Request;
use weir::fingerprint::digest;
use weir::policy::{
    BlockAction, DeltaAction, FinishReason, Hold, Interests, OutputEnd, Policy, PolicyContext, RequestAction, SharedPolicy,
    StreamingContext,
};

use crate::history;
use crate::text::one_line;
use crate::tool_list::ToolList;

/// Lets so many tool calls of an answer pass, and so many that say the same in a row; the next is replaced by a message, behind which
/// the answer ends.
///
/// Calls that say the same are counted over the turns of the conversation, by the calls that stand in the request. Calls are
/// held until they are complete, text is not.
///
/// Event: `stop_after_tools.stopped`. Reason codes: `TOO_MANY_TOOL_CALLS`, `TOOL_CALL_REPEATED`.
#[derive(Debug)]
pub struct StopAfterTools(Config);

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    max_calls: Option<u32>,
    max_repeats: Option<u32>,
    /// Which tools count; all where there are none.
    #[serde(default)]
    tools: ToolList,
    #[serde(default = "Config::default_message")]
    message: String,
}

impl Config {
    fn default_message() -> String {
        "[Stopped: too many tool calls.]".to_owned()
    }
}

/// What was counted so far.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    calls: u32,
    /// The last call, as a hash, and how often it came in a row.
    last: String,
    repeats: u32,
}

impl Counted {
    fn add(&mut self, name: &str, arguments: Option<&Value>) {
        // Written from what a client reads, arguments that say the same are written the same.
        let arguments = arguments.map(Value::to_string).unwrap_or_default();
        let call = digest(&[name.as_bytes(), arguments.as_bytes()]);
        self.repeats = if call == self.last { self.repeats.saturating_add(1) } else { 1 };
        self.last = call;
    }
}

impl Policy<Counted> for StopAfterTools {
    fn greatest_hold(&self) -> Hold {
        Hold::Calls
    }

    fn interests(&self) -> Interests {
        Interests { request: self.0.max_repeats.is_some(), ..Interests::TOOL_CALLS }
    }

    fn describe(&self) -> Value {
        json!({"max_calls": self.0.max_calls, "max_repeats": self.0.max_repeats, "tools": self.0.tools})
    }

    async fn on_request(&self, request: &Request, cx: &PolicyContext<Counted>) -> RequestAction {
        // What cannot be read has no history that could be counted: the calls of the answer are counted all the same.
        for call in history::read(&request.body).unwrap_or_default() {
            if self.counts(&call.name) {
                cx.scratchpad(|counted| counted.add(&call.name, call.arguments.as_ref()));
            }
        }
        RequestAction::SendRequest
    }

    fn on_tool_call_delta<'d>(&self, _: &'d str, _: &ToolCallBlock, _: &StreamingContext<Counted>) -> DeltaAction<'d> {
        DeltaAction::Hold
    }

    async fn on_tool_call_complete(&self, block: &ToolCallBlock, cx: &StreamingContext<Counted>) -> BlockAction {
        if cx.is_output_finished() {
            return BlockAction::Drop;
        }
        if !self.counts(block.name()) {
            return BlockAction::Forward;
        }
        let arguments = history::arguments_of(block);
        let (calls, repeats) = cx.scratchpad(|counted| {
            counted.calls = counted.calls.saturating_add(1);
            counted.add(block.name(), arguments.as_ref());
            (counted.calls, counted.repeats)
        });
        let reason = if self.0.max_calls.is_some_and(|most| calls > most) {
            "TOO_MANY_TOOL_CALLS"
        } else if self.0.max_repeats.is_some_and(|most| repeats > most) {
            "TOOL_CALL_REPEATED"
        } else {
            return BlockAction::Forward;
        };
        cx.conclude(Decision::Refuse, reason);
        let tool = one_line(block.name(), 128);
        let details = json!({"tool": tool, "choice": block.choice(), "calls": calls, "repeats": repeats, "reason_code": reason});
        cx.emit("stop_after_tools.stopped", format!("Stopped at a call of {tool}"), Severity::Warning, details);
        if cx.send(build_text_chunk(block.choice(), self.0.message.as_str())).is_ok() {
            cx.end_output(OutputEnd::because(FinishReason::Stop));
        }
        BlockAction::Drop
    }
}

impl StopAfterTools {
    fn counts(&self, tool: &str) -> bool {
        self.0.tools.is_empty() || self.0.tools.find(tool).is_some()
    }
}

pub(crate) fn make(config: PolicyConfig<'_>) -> Result<SharedPolicy, DocumentError> {
    let config: Config = parse(config.with)?;
    if config.max_calls.is_none() && config.max_repeats.is_none() {
        return Err(DocumentError::new("", "give max_calls or max_repeats, or both"));
    }
    if config.max_repeats == Some(0) {
        return Err(DocumentError::new("max_repeats", "must be at least 1; with max_calls 0 no call passes"));
    }
    config.tools.check("tools")?;
    if config.message.trim().is_empty() || config.message.len() > 2048 {
        return Err(DocumentError::new("message", "must have 1 to 2048 bytes"));
    }
    Ok(SharedPolicy::new("StopAfterTools", StopAfterTools(config)))
}
