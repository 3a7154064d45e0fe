//! Calls that clients unfold into several.
//!
//! Models of OpenAI sometimes call `multi_tool_use.parallel`, a tool that nobody offered, whose arguments hold calls of those that were:
//! `{"tool_uses": [{"recipient_name": "functions.NAME", "parameters": {…}}]}`. There are clients that carry these out.

use serde::Deserialize;
use weir::block::ToolCallBlock;

/// What the tool's name begins with.
const PARALLEL: &str = "multi_tool_use";

/// What may stand before the names in it.
const NAMESPACE: &str = "functions.";

#[derive(Deserialize)]
struct Arguments {
    tool_uses: Vec<ToolUse>,
}

#[derive(Deserialize)]
struct ToolUse {
    recipient_name: String,
}

/// The tools that a call comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unfolded {
    /// The one that it names.
    Itself,
    /// These.
    Tools(Vec<String>),
    /// Nobody can know which.
    Unreadable,
}

/// What clients make of a call.
pub(super) fn unfold(call: &ToolCallBlock) -> Unfolded {
    unfold_arguments(call.name(), call.arguments())
}

fn unfold_arguments(name: &str, arguments: &str) -> Unfolded {
    if !name.strip_prefix(NAMESPACE).unwrap_or(name).starts_with(PARALLEL) {
        return Unfolded::Itself;
    }
    match serde_json::from_str::<Arguments>(arguments) {
        Ok(arguments) if !arguments.tool_uses.is_empty() => Unfolded::Tools(
            arguments
                .tool_uses
                .into_iter()
                .map(|tool| tool.recipient_name.strip_prefix(NAMESPACE).map(str::to_owned).unwrap_or(tool.recipient_name))
                .collect(),
        ),
        _ => Unfolded::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tools_within_are_told_by_name() {
        let arguments = r#"{"tool_uses":[{"recipient_name":"functions.rm","parameters":{}},{"recipient_name":"ls"}]}"#;
        let tools = Unfolded::Tools(vec!["rm".to_owned(), "ls".to_owned()]);
        assert_eq!(unfold_arguments("multi_tool_use.parallel", arguments), tools);
        assert_eq!(unfold_arguments("functions.multi_tool_use.parallel", arguments), tools);
        assert_eq!(unfold_arguments("get_weather", arguments), Unfolded::Itself);
    }

    #[test]
    fn what_cannot_be_unfolded_is_not_passed_by_its_name() {
        for arguments in ["", "{}", "[]", r#"{"tool_uses":[]}"#, r#"{"tool_uses":[{"name":"rm"}]}"#, r#"{"tool_uses":"rm"}"#] {
            assert_eq!(unfold_arguments("multi_tool_use.parallel", arguments), Unfolded::Unreadable, "{arguments}");
        }
    }
}
