//! Frames of messages that Weir writes itself.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::answer::{AnswerBlock, AnswerChoice};
use crate::dialect::Ending;
use crate::dialect::framing::WITHHELD;
use crate::usage::Usage;
use crate::wire::json;

/// An event of a stream.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Event<'a> {
    MessageStart { message: Message<'a> },
    ContentBlockStart { index: u32, content_block: ContentBlock<'a> },
    ContentBlockDelta { index: u32, delta: Delta<'a> },
    ContentBlockStop { index: u32 },
    MessageDelta { delta: MessageDelta<'a>, usage: FinalUsage },
    MessageStop,
    Error { error: Failure<'a> },
}

impl Event<'_> {
    const fn name(&self) -> &'static str {
        match self {
            Self::MessageStart { .. } => "message_start",
            Self::ContentBlockStart { .. } => "content_block_start",
            Self::ContentBlockDelta { .. } => "content_block_delta",
            Self::ContentBlockStop { .. } => "content_block_stop",
            Self::MessageDelta { .. } => "message_delta",
            Self::MessageStop => "message_stop",
            Self::Error { .. } => "error",
        }
    }

    /// Writes the event; with its `event` line, which clients of this dialect expect, unless the upstream's have none.
    pub(super) fn write(&self, is_named: bool, out: &mut Vec<u8>) {
        if is_named {
            out.extend_from_slice(b"event: ");
            out.extend_from_slice(self.name().as_bytes());
            out.push(b'\n');
        }
        out.extend_from_slice(b"data: ");
        json::write(self, out);
        out.extend_from_slice(b"\n\n");
    }
}

/// A whole message, or the beginning of one.
#[derive(Serialize)]
pub(super) struct Message<'a> {
    id: &'a str,
    r#type: &'static str,
    role: &'static str,
    model: &'a str,
    content: Vec<ContentBlock<'a>>,
    stop_reason: Option<&'a str>,
    stop_sequence: Option<&'a str>,
    usage: Usage,
}

impl<'a> Message<'a> {
    /// A message in which nothing is yet.
    pub(super) const fn begin(identity: &'a Identity) -> Self {
        Self {
            id: identity.id.as_str(),
            r#type: "message",
            role: "assistant",
            model: identity.model.as_str(),
            content: Vec::new(),
            stop_reason: None,
            stop_sequence: None,
            usage: identity.usage,
        }
    }
}

/// Writes a whole message that says this.
pub(in crate::dialect) fn message(identity: &Identity, choice: &AnswerChoice, out: &mut Vec<u8>) {
    let mut content: Vec<_> = choice.blocks.iter().filter_map(ContentBlock::of).collect();
    if content.is_empty() {
        content.push(ContentBlock::Text { text: WITHHELD });
    }
    let calls = content.iter().any(|block| matches!(block, ContentBlock::ToolUse { .. }));
    let stop_reason = match choice.ending {
        Ending::Stop if calls => "tool_use",
        Ending::Stop => "end_turn",
        Ending::Cut => "max_tokens",
        Ending::Refusal => "refusal",
    };
    json::write(&Message { content, stop_reason: Some(stop_reason), ..Message::begin(identity) }, out);
}

/// What a message says about itself.
#[derive(Debug, Clone)]
pub(in crate::dialect) struct Identity {
    pub(in crate::dialect) id: String,
    pub(in crate::dialect) model: String,
    pub(in crate::dialect) usage: Usage,
}

impl Default for Identity {
    fn default() -> Self {
        Self { id: "msg_weir".to_owned(), model: "unknown".to_owned(), usage: Usage::default() }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ContentBlock<'a> {
    Text { text: &'a str },
    Thinking { thinking: &'a str, signature: &'a str },
    ToolUse { id: &'a str, name: &'a str, input: &'a RawValue },
}

impl<'a> ContentBlock<'a> {
    /// The block that says this; `None` where messages cannot.
    fn of(block: &'a AnswerBlock) -> Option<Self> {
        match block {
            AnswerBlock::Text(text) | AnswerBlock::Refusal(text) => Some(Self::Text { text }),
            AnswerBlock::ToolCall { call_id, name, arguments, .. } => {
                Some(Self::ToolUse { id: call_id, name, input: serde_json::from_str(arguments).ok()? })
            }
            AnswerBlock::Reasoning(_) => None,
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type")]
pub(super) enum Delta<'a> {
    #[serde(rename = "text_delta")]
    Text { text: &'a str },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: &'a str },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: &'a str },
}

#[derive(Serialize)]
pub(super) struct MessageDelta<'a> {
    pub(super) stop_reason: &'a str,
    pub(super) stop_sequence: Option<&'a str>,
}

#[derive(Serialize)]
pub(super) struct FinalUsage {
    pub(super) output_tokens: u64,
}

#[derive(Serialize)]
pub(super) struct Failure<'a> {
    pub(super) r#type: &'a str,
    pub(super) message: &'a str,
}

/// Writes an error object, as it stands in a body.
pub(in crate::dialect) fn failure(kind: &str, message: &str, out: &mut Vec<u8>) {
    json::write(&Event::Error { error: Failure { r#type: kind, message } }, out);
}
