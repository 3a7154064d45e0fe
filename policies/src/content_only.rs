//! ContentOnly: text passes, tool calls do not.

use serde::Deserialize;
use serde_json::{Value, json};
use smallvec::SmallVec;
use weir::block::{BlockKind, ContentBlock, ToolCallBlock, build_text_chunk};
use weir::decision::Decision;
use weir::document::{DocumentError, PolicyConfig, parse};
use weir::event::Severity;
use weir::policy::{BlockAction, DeltaAction, Hold, Interests, Policy, SharedPolicy, StreamingContext};

use crate::text::one_line;

/// Lets text pass and drops every tool call.
///
/// The finish reason is kept true by the encoder: an answer whose calls are all gone no longer says that tools are to be
/// called. An answer that would be left without any text gets the `notice`, because providers refuse an empty
/// assistant message when it comes back in the next turn.
///
/// Events: `content_only.dropped`, once a call. Reason code: `TOOL_CALL_DROPPED`.
#[derive(Debug)]
pub struct ContentOnly {
    notice: String,
}

#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    #[serde(default = "Config::default_notice")]
    notice: String,
}

impl Config {
    fn default_notice() -> String {
        "[A tool call was removed: this connection carries text only.]".to_owned()
    }
}

/// What came of the choices in which something came.
#[derive(Debug, Default)]
pub(crate) struct Choices(SmallVec<[Choice; 1]>);

#[derive(Debug)]
struct Choice {
    number: u32,
    has_text: bool,
    has_dropped: bool,
}

impl Choices {
    fn at(&mut self, number: u32, change: impl FnOnce(&mut Choice)) {
        if let Some(choice) = self.0.iter_mut().find(|choice| choice.number == number) {
            change(choice);
        } else {
            let mut choice = Choice { number, has_text: false, has_dropped: false };
            change(&mut choice);
            self.0.push(choice);
        }
    }

    fn is_left_empty(&self, number: u32) -> bool {
        self.0.iter().any(|choice| choice.number == number && choice.has_dropped && !choice.has_text)
    }
}

impl Policy<Choices> for ContentOnly {
    fn greatest_hold(&self) -> Hold {
        Hold::Nothing
    }

    fn interests(&self) -> Interests {
        Interests { content_text: false, reasoning: false, ..Interests::ALL }
    }

    fn describe(&self) -> Value {
        json!({ "notice": self.notice })
    }

    fn on_content_delta<'d>(&self, delta: &'d str, block: &ContentBlock, cx: &StreamingContext<Choices>) -> DeltaAction<'d> {
        if matches!(block.kind(), BlockKind::Text | BlockKind::Refusal) && !delta.is_empty() {
            cx.scratchpad(|choices| choices.at(block.choice(), |choice| choice.has_text = true));
        }
        DeltaAction::Forward
    }

    fn on_tool_call_delta<'d>(&self, _: &'d str, _: &ToolCallBlock, cx: &StreamingContext<Choices>) -> DeltaAction<'d> {
        cx.conclude(Decision::Rewrite, "TOOL_CALL_DROPPED");
        DeltaAction::Drop
    }

    async fn on_tool_call_complete(&self, block: &ToolCallBlock, cx: &StreamingContext<Choices>) -> BlockAction {
        cx.scratchpad(|choices| choices.at(block.choice(), |choice| choice.has_dropped = true));
        let tool = one_line(block.name(), 128);
        let metadata = json!({ "tool": tool, "choice": block.choice(), "server_side": block.is_server_side() });
        cx.emit("content_only.dropped", format!("Dropped a call of {tool}"), Severity::Info, metadata);
        // Its deltas are gone: nothing is left to be decided about.
        BlockAction::Forward
    }

    async fn on_finish_reason(&self, _: &str, choice: u32, cx: &StreamingContext<Choices>) {
        if cx.scratchpad(|choices| choices.is_left_empty(choice)) {
            // Whoever finished the output before has said something of their own.
            let _ = cx.send(build_text_chunk(choice, self.notice.as_str()));
        }
    }
}

pub(crate) fn make(config: PolicyConfig<'_>) -> Result<SharedPolicy, DocumentError> {
    let Config { notice } = parse(config.with)?;
    if notice.trim().is_empty() {
        return Err(DocumentError::new("notice", "must not be empty: clients and providers refuse an answer without any text"));
    }
    Ok(SharedPolicy::new("ContentOnly", ContentOnly { notice }))
}

#[cfg(test)]
mod tests {
    use weir::document::Environment;

    use super::*;

    #[test]
    fn a_choice_is_left_empty_when_calls_were_all_it_had() {
        let mut choices = Choices::default();
        assert!(!choices.is_left_empty(0));
        choices.at(1, |choice| choice.has_dropped = true);
        choices.at(0, |choice| choice.has_text = true);
        assert!(choices.is_left_empty(1));
        choices.at(1, |choice| choice.has_text = true);
        assert!(!choices.is_left_empty(1));
        choices.at(0, |choice| choice.has_dropped = true);
        assert!(!choices.is_left_empty(0));
    }

    #[test]
    fn an_empty_notice_is_refused() {
        let judges = hashbrown::HashMap::new();
        assert_eq!(
            make(PolicyConfig { with: r#"{"notice":" "}"#, judges: &judges, environment: Environment::NONE }).unwrap_err().path,
            "notice"
        );
        assert_eq!(
            make(PolicyConfig { with: r#"{"notices":""}"#, judges: &judges, environment: Environment::NONE }).unwrap_err().path,
            "notices"
        );
        assert_eq!(
            make(PolicyConfig { with: "{}", judges: &judges, environment: Environment::NONE }).unwrap().name(),
            "ContentOnly"
        );
    }
}
