//! The project's own streams and bodies, in the manner of recorded ones (`tests/fixtures`).

use weir::dialect::Dialect;

/// A fixture with its name.
#[derive(Clone, Copy, Debug)]
pub struct Fixture {
    /// The file's name without its extension; a stream and a whole body of the same name say the same.
    pub name: &'static str,
    /// The dialect that it speaks.
    pub dialect: Dialect,
    /// The body.
    pub body: &'static [u8],
}

impl Fixture {
    /// Whether every reader takes its calls for the same, so that what passes leaves byte for byte. The others are honest, but not
    /// all readers know calls with a late id and name, or calls that take turns: where a policy holds calls they leave written anew.
    pub fn is_plain(&self) -> bool {
        !["late_id_and_name", "interleaved_tool_calls"].contains(&self.name)
    }
}

macro_rules! fixtures {
    ($dialect:expr, $folder:literal, $extension:literal, [$($name:literal),* $(,)?]) => {
        &[$(Fixture {
            name: $name,
            dialect: $dialect,
            body: include_bytes!(concat!("../../fixtures/", $folder, "/", $name, $extension)),
        }),*]
    };
}

/// All streams of `dialect`.
pub fn streams(dialect: Dialect) -> &'static [Fixture] {
    match dialect {
        Dialect::ChatCompletions => fixtures!(
            Dialect::ChatCompletions,
            "chat",
            ".sse",
            [
                "audio",
                "azure",
                "bare_chunks",
                "call_cut_by_length",
                "calls_in_one_chunk",
                "calls_without_index",
                "content_after_call",
                "content_and_call",
                "custom_tool",
                "error",
                "interleaved_tool_calls",
                "late_id_and_name",
                "legacy_function_call",
                "odd_fields",
                "parallel_tool_calls",
                "reasoning",
                "refusal",
                "text",
                "tool_call",
                "two_choices"
            ]
        ),
        Dialect::Messages => fixtures!(
            Dialect::Messages,
            "messages",
            ".sse",
            [
                "call_cut_by_max_tokens",
                "citations",
                "code_execution",
                "compaction",
                "error",
                "fallback",
                "mcp_tool_use",
                "parallel_tool_use",
                "pause_turn",
                "refusal",
                "server_tool_use",
                "several_message_deltas",
                "stop_sequence",
                "text",
                "thinking",
                "tool_use",
                "whole_input"
            ]
        ),
        Dialect::Responses => fixtures!(
            Dialect::Responses,
            "responses",
            ".sse",
            [
                "apply_patch",
                "call_cut_by_max_output_tokens",
                "code_interpreter",
                "computer",
                "custom_tool",
                "error",
                "hosted_shell",
                "local_shell",
                "logprobs",
                "mcp_approval",
                "mcp_call",
                "open_reasoning",
                "parallel_tool_calls",
                "reasoning",
                "refusal",
                "repeated_only",
                "sealed_reasoning",
                "text",
                "text_after_call",
                "text_cut_by_max_output_tokens",
                "tool_call",
                "two_parts",
                "unknown_call",
                "web_search"
            ]
        ),
        Dialect::McpTool => fixtures!(
            Dialect::McpTool,
            "mcp",
            ".sse",
            ["call", "elicitation", "error", "input_required", "odd", "prompt", "resource", "tools_list"]
        ),
        _ => &[],
    }
}

/// All whole JSON bodies of `dialect`.
pub fn wholes(dialect: Dialect) -> &'static [Fixture] {
    match dialect {
        Dialect::ChatCompletions => fixtures!(
            Dialect::ChatCompletions,
            "chat",
            ".json",
            [
                "audio",
                "azure",
                "custom_tool",
                "legacy_function_call",
                "parallel_tool_calls",
                "reasoning",
                "refusal",
                "text",
                "tool_call",
                "two_choices"
            ]
        ),
        Dialect::Messages => fixtures!(
            Dialect::Messages,
            "messages",
            ".json",
            [
                "code_execution",
                "compaction",
                "fallback",
                "mcp_tool_use",
                "parallel_tool_use",
                "pause_turn",
                "refusal",
                "server_tool_use",
                "text",
                "thinking",
                "tool_use"
            ]
        ),
        Dialect::Responses => fixtures!(
            Dialect::Responses,
            "responses",
            ".json",
            [
                "apply_patch",
                "code_interpreter",
                "computer",
                "custom_tool",
                "hosted_shell",
                "local_shell",
                "logprobs",
                "mcp_approval",
                "mcp_call",
                "open_reasoning",
                "parallel_tool_calls",
                "reasoning",
                "refusal",
                "sealed_reasoning",
                "text",
                "tool_call",
                "two_parts",
                "unknown_call",
                "web_search"
            ]
        ),
        Dialect::McpTool => {
            fixtures!(Dialect::McpTool, "mcp", ".json", ["call", "error", "prompt", "resource", "tools_list"])
        }
        _ => &[],
    }
}

/// The stream of that name.
///
/// # Panics
/// When there is none.
#[track_caller]
pub fn stream(dialect: Dialect, name: &str) -> &'static [u8] {
    find(streams(dialect), name)
}

/// The whole body of that name.
///
/// # Panics
/// When there is none.
#[track_caller]
pub fn whole(dialect: Dialect, name: &str) -> &'static [u8] {
    find(wholes(dialect), name)
}

#[track_caller]
fn find(fixtures: &'static [Fixture], name: &str) -> &'static [u8] {
    fixtures.iter().find(|fixture| fixture.name == name).unwrap_or_else(|| panic!("there is no fixture {name:?}")).body
}
