//! messages (<https://docs.anthropic.com/en/api/messages-streaming>).

mod body;
mod decode;
mod encode;
mod fields;
pub(super) mod output;
mod plain;
mod sequence;

pub(super) use decode::Decoder;
pub(super) use encode::Encoder;
pub(super) use plain::SCHEMA;

use crate::block::BlockKind;

/// What a content block of this type is.
fn block_kind(kind: &str) -> BlockKind {
    match kind {
        "text" => BlockKind::Text,
        "tool_use" => BlockKind::ToolCall,
        kind if kind.ends_with("_tool_use") => BlockKind::ServerToolCall,
        kind if kind.ends_with("_tool_result") || kind == "tool_result" => BlockKind::ToolResult,
        // What is signed or encrypted has to come back as it was.
        "thinking" | "redacted_thinking" => BlockKind::Other,
        _ => BlockKind::Unknown,
    }
}

/// Whether a tool call's input is the empty object that stands where the input is still to come.
fn is_empty_input(input: &str) -> bool {
    input.bytes().all(|byte| matches!(byte, b'{' | b'}' | b' ' | b'\t' | b'\r' | b'\n'))
}

#[cfg(test)]
mod tests;
