//! Frames of responses that Weir writes itself.

use core::fmt::Display;

use serde::Serialize;
use serde_json::value::RawValue;

use super::PartKey;
use crate::answer::{AnswerBlock, AnswerChoice};
use crate::dialect::Ending;
use crate::dialect::framing::WITHHELD;
use crate::usage::Usage;
use crate::wire::json;

/// An event of a stream. What is `None` is left out.
#[derive(Serialize, Default)]
pub(super) struct Event<'a> {
    pub(super) r#type: &'static str,
    pub(super) sequence_number: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) item_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) output_index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) summary_index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) delta: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) arguments: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) input: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) logprobs: Option<[(); 0]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) part: Option<DecodedEvent<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) item: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) response: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<Failure<'a>>,
}

impl Event<'_> {
    /// Writes the event with its `event` line.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(self.r#type.as_bytes());
        out.extend_from_slice(b"\ndata: ");
        json::write(self, out);
        out.extend_from_slice(b"\n\n");
    }
}

/// A part of an item.
#[derive(Serialize)]
pub(super) struct DecodedEvent<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<[(); 0]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<[(); 0]>,
}

impl<'a> DecodedEvent<'a> {
    /// The part at `key`.
    pub(super) fn new(key: PartKey, text: &'a str) -> Self {
        let bare = Self { r#type: "output_text", text: Some(text), refusal: None, annotations: None, logprobs: None };
        match key {
            PartKey::Refusal(_) => Self { r#type: "refusal", text: None, refusal: Some(text), ..bare },
            PartKey::Summary(_) => Self { r#type: "summary_text", ..bare },
            PartKey::Reasoning(_) => Self { r#type: "reasoning_text", ..bare },
            PartKey::Text(_) | PartKey::Transcript(_) | PartKey::Payload => {
                Self { annotations: Some([]), logprobs: Some([]), ..bare }
            }
        }
    }
}

#[derive(Serialize)]
struct Message<'a> {
    id: &'a str,
    r#type: &'static str,
    status: &'static str,
    role: &'static str,
    content: &'a [DecodedEvent<'a>],
}

/// A message with these parts.
pub(super) fn message(id: &str, status: &'static str, content: &[DecodedEvent<'_>]) -> String {
    json::to_text(&Message { id, r#type: "message", status, role: "assistant", content })
}

/// The beginning of an item of this type that the upstream has not announced.
pub(super) fn unannounced(id: &str, r#type: &str) -> String {
    json::to_text(&Unannounced { id, r#type, status: "in_progress", summary: (r#type == "reasoning").then_some([]) })
}

#[derive(Serialize)]
struct Unannounced<'a> {
    id: &'a str,
    r#type: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<[(); 0]>,
}

/// A call for the client.
#[derive(Serialize)]
struct Call<'a> {
    id: &'a str,
    r#type: &'static str,
    status: &'static str,
    call_id: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<&'a str>,
}

/// What a response says about itself.
#[derive(Debug, Clone)]
pub(in crate::dialect) struct Identity {
    pub(in crate::dialect) id: String,
    /// Unix time in seconds.
    pub(in crate::dialect) created: u64,
    pub(in crate::dialect) model: String,
    /// What it cost, once it has ended.
    pub(in crate::dialect) usage: Option<Usage>,
}

impl Default for Identity {
    fn default() -> Self {
        Self { id: "resp_weir".to_owned(), created: 0, model: "unknown".to_owned(), usage: None }
    }
}

#[derive(Serialize)]
struct Response<'a> {
    id: &'a str,
    object: &'static str,
    created_at: u64,
    status: &'static str,
    error: Option<&'a str>,
    incomplete_details: Option<IncompleteDetails>,
    instructions: Option<&'a str>,
    metadata: NoMembers,
    model: &'a str,
    output: Option<&'a RawValue>,
    parallel_tool_calls: bool,
    temperature: Option<f64>,
    tool_choice: &'static str,
    tools: [(); 0],
    top_p: Option<f64>,
    usage: Option<TokenCounts>,
}

#[derive(Serialize)]
struct TokenCounts {
    input_tokens: u64,
    input_tokens_details: CachedTokens,
    output_tokens: u64,
    output_tokens_details: ReasoningTokens,
    total_tokens: u64,
}

#[derive(Serialize)]
struct CachedTokens {
    cached_tokens: u64,
}

#[derive(Serialize)]
struct ReasoningTokens {
    reasoning_tokens: u64,
}

impl From<Usage> for TokenCounts {
    fn from(usage: Usage) -> Self {
        Self {
            input_tokens: usage.input_tokens,
            input_tokens_details: CachedTokens { cached_tokens: 0 },
            output_tokens: usage.output_tokens,
            output_tokens_details: ReasoningTokens { reasoning_tokens: 0 },
            total_tokens: usage.input_tokens.saturating_add(usage.output_tokens),
        }
    }
}

#[derive(Serialize)]
struct NoMembers {}

/// Why a response is incomplete.
#[derive(Serialize, Clone, Copy)]
pub(super) struct IncompleteDetails {
    pub(super) reason: &'static str,
}

/// A response with this output, an array of items.
pub(super) fn response(
    identity: &Identity,
    status: &'static str,
    incomplete_details: Option<IncompleteDetails>,
    output: &str,
) -> String {
    json::to_text(&Response {
        id: &identity.id,
        object: "response",
        created_at: identity.created,
        status,
        error: None,
        incomplete_details,
        instructions: None,
        metadata: NoMembers {},
        model: &identity.model,
        output: serde_json::from_str(output).ok(),
        parallel_tool_calls: true,
        temperature: None,
        tool_choice: "auto",
        tools: [],
        top_p: None,
        usage: identity.usage.filter(|_| status != "in_progress").map(TokenCounts::from),
    })
}

/// The status of a response that ends so, and why it is incomplete if it is.
pub(super) const fn status(ending: Ending) -> (&'static str, Option<IncompleteDetails>) {
    match ending {
        Ending::Stop => ("completed", None),
        Ending::Cut => ("incomplete", Some(IncompleteDetails { reason: "max_output_tokens" })),
        Ending::Refusal => ("incomplete", Some(IncompleteDetails { reason: "content_filter" })),
    }
}

/// Writes a whole response that says this.
pub(in crate::dialect) fn whole_response(identity: &Identity, choice: &AnswerChoice, out: &mut Vec<u8>) {
    let mut items: Vec<String> =
        choice.blocks.iter().enumerate().filter_map(|(index, block)| output_item(index, block)).collect();
    if items.is_empty() {
        items.extend(output_item(0, &AnswerBlock::Text(WITHHELD.to_owned())));
    }
    let (status, details) = status(choice.ending);
    out.extend_from_slice(response(identity, status, details, &format!("[{}]", items.join(","))).as_bytes());
}

/// The item that says this; `None` where responses cannot.
fn output_item(index: usize, block: &AnswerBlock) -> Option<String> {
    match block {
        AnswerBlock::Text(text) | AnswerBlock::Refusal(text) => {
            let parts = [DecodedEvent::new(PartKey::Text(0), text)];
            Some(message(&inserted_id("msg", index), "completed", &parts))
        }
        AnswerBlock::ToolCall { call_id, name, arguments, free_form } => {
            Some(call(&inserted_id("fc", index), "completed", call_id, name, arguments, *free_form))
        }
        // It stands in items that only the provider can make.
        AnswerBlock::Reasoning(_) => None,
    }
}

/// A call of a tool that takes JSON, or free text.
pub(super) fn call(id: &str, status: &'static str, call_id: &str, name: &str, text: &str, free_form: bool) -> String {
    let bare = Call { id, r#type: "function_call", status, call_id, name, arguments: Some(text), input: None };
    if !free_form {
        return json::to_text(&bare);
    }
    json::to_text(&Call { r#type: "custom_tool_call", arguments: None, input: Some(text), ..bare })
}

/// The id of an item that Weir makes, the `index`th of its response.
pub(super) fn inserted_id(prefix: &str, index: impl Display) -> String {
    format!("{prefix}_weir_{index}")
}

/// An error in mid-stream.
#[derive(Serialize)]
pub(super) struct Failure<'a> {
    pub(super) r#type: &'a str,
    pub(super) code: &'a str,
    pub(super) message: &'a str,
    pub(super) param: Option<&'a str>,
}
