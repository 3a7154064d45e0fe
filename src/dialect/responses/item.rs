//! What the types of items mean.

use super::payload::Payload;
use crate::block::BlockKind;

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ItemKind {
    /// Its content parts are blocks.
    Message,
    /// Its content and its summary are blocks. One that bears the provider's seal must come back as it was made, and is
    /// an [`ItemKind::Other`].
    Reasoning,
    /// A tool call: one block.
    Call { kind: BlockKind, payload: Payload },
    /// The result of a call that the provider carried out.
    Result,
    /// Of a type that Weir does not know: policies see its strings, and it leaves as it came or not at all.
    Unknown,
    /// It passes as it came.
    Other,
}

impl ItemKind {
    /// What an item of this type is. `is_local` tells where a call is carried out whose type does not say so; `is_sealed`
    /// whether the item has `encrypted_content`.
    pub(super) fn of(kind: &str, is_local: bool, is_sealed: bool) -> Self {
        let (server, payload) = match kind {
            "message" => return Self::Message,
            "reasoning" if is_sealed => return Self::Other,
            "reasoning" => return Self::Reasoning,
            "function_call" | "mcp_approval_request" => (false, Payload::Text { key: "arguments", free_form: false }),
            "mcp_call" => (true, Payload::Text { key: "arguments", free_form: false }),
            "custom_tool_call" => (false, Payload::Text { key: "input", free_form: true }),
            "code_interpreter_call" | "program" => (true, Payload::Text { key: "code", free_form: true }),
            "shell_call" => (!is_local, Payload::Commands),
            "apply_patch_call" => (false, Payload::Operation),
            "local_shell_call" => (false, Payload::Members(&["action"])),
            "computer_call" => (false, Payload::Members(&["action", "actions"])),
            "web_search_call" => (true, Payload::Members(&["action"])),
            "file_search_call" => (true, Payload::Members(&["queries"])),
            "image_generation_call" => (true, Payload::Members(&["revised_prompt"])),
            "tool_search_call" => (!is_local, Payload::Members(&["arguments"])),
            kind if kind.ends_with("_call") => (false, Payload::Item),
            kind if kind.ends_with("_output") => return Self::Result,
            "mcp_list_tools" | "mcp_approval_response" | "compaction" | "additional_tools" => return Self::Other,
            _ => return Self::Unknown,
        };
        Self::Call { kind: if server { BlockKind::ServerToolCall } else { BlockKind::ToolCall }, payload }
    }

    /// What its own slots are; the slots of its parts are text.
    pub(super) const fn block_kind(self) -> BlockKind {
        match self {
            Self::Call { kind, .. } => kind,
            Self::Result => BlockKind::ToolResult,
            Self::Message | Self::Reasoning | Self::Unknown | Self::Other => BlockKind::Other,
        }
    }

    /// What it asks for, if it is a call.
    pub(super) const fn payload(self) -> Option<Payload> {
        match self {
            Self::Call { payload, .. } => Some(payload),
            _ => None,
        }
    }
}

/// The name of the tool that an item of this type calls, where the item does not name one.
pub(super) fn tool_name(kind: &str) -> &str {
    kind.strip_suffix("_call").unwrap_or(kind)
}
