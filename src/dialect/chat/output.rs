//! Frames of chat.completions that Weir writes itself.

use serde::Serialize;

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
        Self { index, id, kind }
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
    choices: [CompletionChoice<'a>; 1],
    usage: Usage,
}

#[derive(Serialize)]
struct CompletionChoice<'a> {
    index: u32,
    message: CompletionMessage<'a>,
    logprobs: Option<()>,
    finish_reason: &'a str,
}

#[derive(Serialize)]
struct CompletionMessage<'a> {
    role: &'static str,
    content: &'a str,
    refusal: Option<()>,
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: u32,
    completion_tokens: u32,
    total_tokens: u32,
}

/// Writes a whole completion that says `text`.
pub(in crate::dialect) fn completion(identity: &Identity, text: &str, finish_reason: &str, out: &mut Vec<u8>) {
    json::write(
        &Completion {
            id: &identity.id,
            object: "chat.completion",
            created: identity.created,
            model: &identity.model,
            choices: [CompletionChoice {
                index: 0,
                message: CompletionMessage { role: "assistant", content: text, refusal: None },
                logprobs: None,
                finish_reason,
            }],
            usage: Usage { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 },
        },
        out,
    );
}
