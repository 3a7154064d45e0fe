//! Frames of chat.completions that Weir writes itself.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::answer::{AnswerBlock, AnswerChoice};
use crate::dialect::Ending;
use crate::dialect::framing::WITHHELD;
use crate::usage::Usage;
use crate::wire::json;

/// What all chunks of one response have in common.
#[derive(Debug, Clone)]
pub(in crate::dialect) struct Identity {
    pub(in crate::dialect) id: String,
    pub(in crate::dialect) created: u64,
    pub(in crate::dialect) model: String,
    pub(in crate::dialect) system_fingerprint: Option<String>,
}

impl Default for Identity {
    fn default() -> Self {
        Self { id: "chatcmpl-weir".to_owned(), created: 0, model: "unknown".to_owned(), system_fingerprint: None }
    }
}

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_fingerprint: Option<&'a str>,
    choices: [Choice<'a>; 1],
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    delta: &'a Delta<'a>,
    finish_reason: Option<&'a str>,
}

/// The delta of a chunk.
#[derive(Serialize, Default)]
pub(super) struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool_calls: Option<[ToolCall<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) function_call: Option<Function<'a>>,
}

/// A whole tool call.
#[derive(Serialize)]
pub(super) struct ToolCall<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    id: &'a str,
    #[serde(flatten)]
    kind: ToolCallKind<'a>,
    /// Members of the provider's that go along.
    #[serde(flatten)]
    extras: BTreeMap<String, Box<RawValue>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ToolCallKind<'a> {
    Function { function: Function<'a> },
    Custom { custom: Custom<'a> },
}

/// The function that a tool call is about; on its own, a legacy function call.
#[derive(Serialize)]
pub(super) struct Function<'a> {
    pub(super) name: &'a str,
    pub(super) arguments: &'a str,
}

#[derive(Serialize)]
struct Custom<'a> {
    name: &'a str,
    input: &'a str,
}

impl<'a> ToolCall<'a> {
    pub(super) const fn new(index: Option<u32>, id: &'a str, name: &'a str, arguments: &'a str, free_form: bool) -> Self {
        let kind = if free_form {
            ToolCallKind::Custom { custom: Custom { name, input: arguments } }
        } else {
            ToolCallKind::Function { function: Function { name, arguments } }
        };
        Self { index, id, kind, extras: BTreeMap::new() }
    }

    /// Adds members of the provider's, as JSON without the braces.
    pub(super) fn with_extras(self, extras: &str) -> Self {
        Self { extras: serde_json::from_str(&format!("{{{extras}}}")).unwrap_or_default(), ..self }
    }
}

/// Writes a chunk as an event.
pub(super) fn chunk(identity: &Identity, choice: u32, delta: &Delta<'_>, finish_reason: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    json::write(
        &Chunk {
            id: &identity.id,
            object: "chat.completion.chunk",
            created: identity.created,
            model: &identity.model,
            system_fingerprint: identity.system_fingerprint.as_deref(),
            choices: [Choice { index: choice, delta, finish_reason }],
        },
        out,
    );
    out.extend_from_slice(b"\n\n");
}

/// Writes the terminator as an event.
pub(super) fn terminator(out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: [DONE]\n\n");
}

#[derive(Serialize)]
struct Failure<'a> {
    error: FailureFields<'a>,
}

#[derive(Serialize)]
struct FailureFields<'a> {
    message: &'a str,
    r#type: &'a str,
    param: Option<&'a str>,
    code: Option<&'a str>,
}

/// Writes an error object, as it stands in a body or in the data of an event.
pub(in crate::dialect) fn failure(kind: &str, code: Option<&str>, message: &str, out: &mut Vec<u8>) {
    json::write(&Failure { error: FailureFields { message, r#type: kind, param: None, code } }, out);
}

#[derive(Serialize)]
struct Completion<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<CompletionChoice<'a>>,
    usage: TokenCounts,
}

#[derive(Serialize)]
struct CompletionChoice<'a> {
    index: u32,
    message: CompletionMessage<'a>,
    logprobs: Option<()>,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct CompletionMessage<'a> {
    role: &'static str,
    content: Option<String>,
    refusal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCall<'a>>,
}

#[derive(Serialize)]
struct TokenCounts {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
}

impl<'a> CompletionChoice<'a> {
    fn new(index: u32, choice: &'a AnswerChoice) -> Self {
        let (mut content, mut refusal, mut reasoning) = (String::new(), String::new(), String::new());
        let mut tool_calls = Vec::new();
        for block in &choice.blocks {
            match block {
                AnswerBlock::Text(text) => content.push_str(text),
                AnswerBlock::Refusal(text) => refusal.push_str(text),
                AnswerBlock::Reasoning(text) => reasoning.push_str(text),
                AnswerBlock::ToolCall { call_id, name, arguments, free_form } => {
                    tool_calls.push(ToolCall::new(None, call_id, name, arguments, *free_form));
                }
            }
        }
        if content.is_empty() && refusal.is_empty() && tool_calls.is_empty() {
            WITHHELD.clone_into(&mut content);
        }
        let finish_reason = match choice.ending {
            Ending::Stop if !tool_calls.is_empty() => "tool_calls",
            Ending::Stop => "stop",
            Ending::Cut => "length",
            Ending::Refusal => "content_filter",
        };
        let said = |text: String| (!text.is_empty()).then_some(text);
        let message = CompletionMessage {
            role: "assistant",
            content: said(content),
            refusal: said(refusal),
            reasoning_content: said(reasoning),
            tool_calls,
        };
        Self { index, message, logprobs: None, finish_reason }
    }
}

/// Writes a whole completion that says this.
pub(in crate::dialect) fn completion(identity: &Identity, choices: &[AnswerChoice], usage: Usage, out: &mut Vec<u8>) {
    json::write(
        &Completion {
            id: &identity.id,
            object: "chat.completion",
            created: identity.created,
            model: &identity.model,
            choices: (0..).zip(choices).map(|(index, choice)| CompletionChoice::new(index, choice)).collect(),
            usage: TokenCounts {
                prompt_tokens: usage.input_tokens,
                completion_tokens: usage.output_tokens,
                total_tokens: usage.input_tokens.saturating_add(usage.output_tokens),
            },
        },
        out,
    );
}
