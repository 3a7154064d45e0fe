//! Answers and errors that Weir gives itself, in the words of each dialect.

use super::mcp::{self, Asked};
use super::{Dialect, Encoder, Ending, chat, messages, responses};
use crate::block::build_text_chunk;

const JSON: &str = "application/json";
const EVENT_STREAM: &str = "text/event-stream";

/// A whole HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Value of the `content-type` header.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

/// What an answer of Weir's own says.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// Id of the exchange; the answer's id is made of it.
    pub call_id: &'a str,
    /// The model that the request asked for.
    pub model: &'a str,
    /// Unix time in seconds.
    pub created: u64,
    /// The text; must not be empty.
    pub text: &'a str,
    /// How the answer ends.
    pub ending: Ending,
}

/// An answer that clients parse as a normal one, with status 200; as a stream if `streamed`.
pub fn answer(dialect: Dialect, answer: &Answer<'_>, streamed: bool) -> Reply {
    let mut body = Vec::new();
    match (dialect, streamed) {
        (Dialect::ChatCompletions, true) => {
            let mut encoder = chat::Encoder::with_identity(chat_identity(answer));
            encoder.begin_choice(0, &mut body);
            stream(Encoder::Chat(encoder), answer, &mut body);
        }
        (Dialect::ChatCompletions, false) => {
            let finish_reason = match answer.ending {
                Ending::Stop => "stop",
                Ending::Cut => "length",
                Ending::Refusal => "content_filter",
            };
            chat::output::completion(&chat_identity(answer), answer.text, finish_reason, &mut body);
        }
        (Dialect::Messages, true) => {
            let encoder = messages::Encoder::with_identity(messages_identity(answer));
            stream(Encoder::Messages(encoder), answer, &mut body);
        }
        (Dialect::Messages, false) => {
            let stop_reason = match answer.ending {
                Ending::Stop => "end_turn",
                Ending::Cut => "max_tokens",
                Ending::Refusal => "refusal",
            };
            messages::output::message(&messages_identity(answer), answer.text, stop_reason, &mut body);
        }
        (Dialect::Responses, true) => {
            let encoder = responses::Encoder::with_identity(responses_identity(answer));
            stream(Encoder::Responses(encoder), answer, &mut body);
        }
        (Dialect::Responses, false) => {
            responses::output::text_response(&responses_identity(answer), answer.text, answer.ending, &mut body);
        }
        (Dialect::McpTool, streamed) => mcp::output::answer_all(&Asked::default(), answer.text, streamed, &mut body),
    }
    Reply { status: 200, content_type: if streamed { EVENT_STREAM } else { JSON }, body }
}

/// What MCP answers in place of a server: every call with a result that says `text`, all else with an error.
pub(crate) fn answer_to(asked: &Asked, text: &str, streamed: bool) -> Reply {
    let mut body = Vec::new();
    mcp::output::answer_all(asked, text, streamed, &mut body);
    Reply { status: 200, content_type: if streamed { EVENT_STREAM } else { JSON }, body }
}

/// An error of MCP, addressed to what was asked.
pub(crate) fn error_to(asked: &Asked, status: u16, code: &str, message: &str) -> Reply {
    let mut body = Vec::new();
    mcp::output::error(asked, status, code, message, &mut body);
    Reply { status, content_type: JSON, body }
}

fn stream(mut encoder: Encoder, answer: &Answer<'_>, out: &mut Vec<u8>) {
    // Nothing has left yet, so that it cannot be too late.
    let _never_too_late = encoder.chunk(&build_text_chunk(0, answer.text), out);
    encoder.end(answer.ending, out);
}

fn chat_identity(answer: &Answer<'_>) -> chat::output::Identity {
    chat::output::Identity {
        id: format!("chatcmpl-{}", answer.call_id),
        created: answer.created,
        model: answer.model.to_owned(),
        system_fingerprint: None,
    }
}

fn messages_identity(answer: &Answer<'_>) -> messages::output::Identity {
    messages::output::Identity { id: format!("msg_{}", answer.call_id), model: answer.model.to_owned() }
}

fn responses_identity(answer: &Answer<'_>) -> responses::output::Identity {
    responses::output::Identity {
        id: format!("resp_{}", answer.call_id),
        created: answer.created,
        model: answer.model.to_owned(),
    }
}

/// An error in the dialect's own shape (OpenAI's where no dialect is known). `code` is a machine-readable word such as `policy_refused`.
pub fn error(dialect: Option<Dialect>, status: u16, code: &str, message: &str) -> Reply {
    let mut body = Vec::new();
    match dialect {
        Some(Dialect::McpTool) => mcp::output::error(&Asked::default(), status, code, message, &mut body),
        Some(Dialect::Messages) => messages::output::failure(messages_error_type(status), message, &mut body),
        Some(Dialect::ChatCompletions | Dialect::Responses) | None => {
            chat::output::failure(chat_error_type(status), Some(code), message, &mut body);
        }
    }
    Reply { status, content_type: JSON, body }
}

const fn chat_error_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}

const fn messages_error_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        _ => "api_error",
    }
}

#[cfg(test)]
mod tests;
