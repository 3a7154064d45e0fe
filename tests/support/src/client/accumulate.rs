//! Builds the assistant's message from a stream or a whole body.

use serde_json::{Value, json};
use weir::dialect::Dialect;

use super::responses;
use crate::json::{array, text};
use crate::sse;

/// What the assistant said, the same for streamed and whole answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The choices; `messages` and `responses` have one.
    pub choices: Vec<Choice>,
    /// The error that ended it, as the client would show it.
    pub error: Option<String>,
}

/// One choice of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// All text for the user, in order.
    pub text: String,
    /// The model's refusal.
    pub refusal: String,
    /// Reasoning, signed or not.
    pub reasoning: String,
    /// The tool calls that the client is asked to carry out.
    pub calls: Vec<Call>,
    /// The finish reason; empty when none came.
    pub finish: String,
    /// The content blocks of `messages`, or the items of `responses`, as they go back in the next turn.
    pub content: Vec<Value>,
}

/// A tool call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// The provider's id of it.
    pub id: String,
    /// Name of the tool.
    pub name: String,
    /// The arguments, as text.
    pub arguments: String,
}

impl Message {
    /// The only choice.
    ///
    /// # Panics
    /// When there is not exactly one.
    #[track_caller]
    pub fn only(&self) -> &Choice {
        assert_eq!(self.choices.len(), 1, "one choice was expected in {self:?}");
        &self.choices[0]
    }
}

impl Choice {
    /// Names of the tools that are called, in order.
    pub fn tools(&self) -> Vec<&str> {
        self.calls.iter().map(|call| call.name.as_str()).collect()
    }
}

/// What a client makes of a streamed body.
pub fn streamed(dialect: Dialect, body: &[u8]) -> Message {
    let values = sse::read(body).into_iter().filter_map(|event| serde_json::from_str::<Value>(&event.data).ok());
    let mut message = Message { choices: Vec::new(), error: None };
    for value in values {
        if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
            message.error = Some(text(error, "/message").to_owned());
            break;
        }
        match dialect {
            Dialect::ChatCompletions => chat_chunk(&mut message, &value),
            Dialect::Messages => messages_event(&mut message, &value),
            Dialect::Responses => responses::event(&mut message, &value),
            other => panic!("there is no client for {other}"),
        }
    }
    if dialect == Dialect::Messages {
        for choice in &mut message.choices {
            read_content(choice);
        }
    }
    message
}

/// What a client makes of a whole JSON body.
///
/// # Panics
/// When it is not JSON.
#[track_caller]
pub fn whole(dialect: Dialect, body: &[u8]) -> Message {
    let value: Value = serde_json::from_slice(body).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(body)));
    let mut message = Message { choices: Vec::new(), error: None };
    if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
        message.error = Some(text(error, "/message").to_owned());
        return message;
    }
    match dialect {
        Dialect::ChatCompletions => {
            for choice in array(&value, "/choices") {
                let mut choice = choice.clone();
                for (index, call) in choice["message"]["tool_calls"].as_array_mut().into_iter().flatten().enumerate() {
                    call["index"] = index.into();
                }
                chat_choice(&mut message, &choice, &choice["message"]);
            }
        }
        Dialect::Messages => {
            let mut choice = Choice { finish: text(&value, "/stop_reason").to_owned(), ..Choice::default() };
            choice.content = array(&value, "/content").to_vec();
            read_content(&mut choice);
            message.choices.push(choice);
        }
        Dialect::Responses => {
            let mut choice = Choice::default();
            responses::response(&mut choice, &value);
            message.choices.push(choice);
        }
        other => panic!("there is no client for {other}"),
    }
    message
}

fn chat_chunk(message: &mut Message, chunk: &Value) {
    for choice in array(chunk, "/choices") {
        chat_choice(message, choice, &choice["delta"]);
    }
}

fn chat_choice(message: &mut Message, outer: &Value, delta: &Value) {
    let index = outer["index"].as_u64().and_then(|index| usize::try_from(index).ok()).unwrap_or_default();
    if message.choices.len() <= index {
        message.choices.resize_with(index + 1, Choice::default);
    }
    let choice = &mut message.choices[index];
    choice.text.push_str(text(delta, "/content"));
    choice.text.push_str(text(delta, "/audio/transcript"));
    choice.refusal.push_str(text(delta, "/refusal"));
    choice.reasoning.push_str(text(delta, "/reasoning_content"));
    for call in array(delta, "/tool_calls") {
        chat_call(choice, call);
    }
    if let Some(reason) = outer["finish_reason"].as_str() {
        reason.clone_into(&mut choice.finish);
    }
}

fn chat_call(choice: &mut Choice, delta: &Value) {
    let index = delta["index"].as_u64().and_then(|index| usize::try_from(index).ok()).unwrap_or_default();
    if choice.calls.len() <= index {
        choice.calls.resize_with(index + 1, Call::default);
    }
    let call = &mut choice.calls[index];
    call.id.push_str(text(delta, "/id"));
    for (name, arguments) in [("/function/name", "/function/arguments"), ("/custom/name", "/custom/input")] {
        call.name.push_str(text(delta, name));
        call.arguments.push_str(text(delta, arguments));
    }
}

fn messages_event(message: &mut Message, event: &Value) {
    if message.choices.is_empty() {
        message.choices.push(Choice::default());
    }
    let choice = &mut message.choices[0];
    match text(event, "/type") {
        "content_block_start" => choice.content.push(event["content_block"].clone()),
        "content_block_delta" => {
            let index = event["index"].as_u64().and_then(|index| usize::try_from(index).ok()).unwrap_or_default();
            if let Some(block) = choice.content.get_mut(index) {
                messages_delta(block, &event["delta"]);
            }
        }
        "content_block_stop" => {
            let index = event["index"].as_u64().and_then(|index| usize::try_from(index).ok()).unwrap_or_default();
            if let Some(block) = choice.content.get_mut(index).and_then(Value::as_object_mut)
                && let Some(input) = block.remove("partial_json")
            {
                // What is not JSON stays as text, so that comparisons see it.
                let read = serde_json::from_str(input.as_str().unwrap_or_default()).unwrap_or(input);
                block.insert("input".to_owned(), read);
            }
        }
        "message_delta" => {
            if let Some(reason) = event.pointer("/delta/stop_reason").and_then(Value::as_str) {
                reason.clone_into(&mut choice.finish);
            }
        }
        _ => {}
    }
}

fn messages_delta(block: &mut Value, delta: &Value) {
    for field in ["text", "thinking", "signature", "partial_json"] {
        let fragment = text(delta, &format!("/{field}"));
        if !fragment.is_empty() {
            let so_far = text(block, &format!("/{field}")).to_owned();
            block[field] = json!(so_far + fragment);
        }
    }
    if delta["type"] == "compaction_delta" {
        for field in ["content", "encrypted_content"] {
            block[field] = delta[field].clone();
        }
    }
    if delta["citation"].is_object() {
        match block["citations"].as_array_mut() {
            Some(citations) => citations.push(delta["citation"].clone()),
            None => block["citations"] = json!([delta["citation"]]),
        }
    }
}

fn read_content(choice: &mut Choice) {
    for block in &choice.content {
        match text(block, "/type") {
            "text" => choice.text.push_str(text(block, "/text")),
            "thinking" => choice.reasoning.push_str(text(block, "/thinking")),
            "tool_use" => choice.calls.push(Call {
                id: text(block, "/id").to_owned(),
                name: text(block, "/name").to_owned(),
                arguments: block["input"].to_string(),
            }),
            _ => {}
        }
    }
}
