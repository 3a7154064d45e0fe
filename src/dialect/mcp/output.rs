//! Messages of MCP that Weir writes itself.

use serde::Serialize;
use serde_json::value::RawValue;

use super::message::Id;
use super::{Asked, AskedRequest, Awaited};
use crate::dialect::framing::WITHHELD;
use crate::wire::json;

/// Errors of JSON-RPC and of MCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Code {
    ParseError = -32700,
    InvalidRequest = -32600,
    InternalError = -32603,
    HeaderMismatch = -32020,
}

impl Code {
    /// The code for an error of that status and machine-readable word.
    fn of(status: u16, word: &str) -> Self {
        match (status, word) {
            (_, "header_mismatch") => Self::HeaderMismatch,
            (_, "request_malformed") => Self::ParseError,
            (400..=499, _) => Self::InvalidRequest,
            _ => Self::InternalError,
        }
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    jsonrpc: &'static str,
    id: Option<&'a RawValue>,
    #[serde(flatten)]
    outcome: Outcome<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome<'a> {
    Result(CallResult<'a>),
    Error { code: i32, message: &'a str },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CallResult<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    result_type: Option<&'static str>,
    content: [Content<'a>; 1],
    is_error: bool,
}

#[derive(Serialize)]
struct Content<'a> {
    r#type: &'static str,
    text: &'a str,
}

#[derive(Serialize)]
struct LogMessage<'a> {
    jsonrpc: &'static str,
    method: &'static str,
    params: LogParams<'a>,
}

#[derive(Serialize)]
struct LogParams<'a> {
    level: &'static str,
    logger: &'static str,
    data: &'a str,
}

/// What is said to a request in place of the server's answer: to a call, a result that says so; to others, also to a
/// call that is to become a task, an error.
pub(super) fn refusal(asked: &Asked, request: &AskedRequest, text: &str) -> String {
    answer_to(asked, request, text, true)
}

fn answer_to(asked: &Asked, request: &AskedRequest, text: &str, is_error: bool) -> String {
    let text = if text.is_empty() { WITHHELD } else { text };
    if request.kind != Awaited::CallResult {
        return failure(Some(&request.id), Code::InvalidRequest, text);
    }
    let result =
        CallResult { result_type: asked.is_modern.then_some("complete"), content: [Content { r#type: "text", text }], is_error };
    answer(Some(&request.id), Outcome::Result(result))
}

/// What is said to a request whose answer cannot be had.
pub(super) fn internal_error(request: &AskedRequest, message: &str) -> String {
    failure(Some(&request.id), Code::InternalError, message)
}

fn failure(id: Option<&Id>, code: Code, message: &str) -> String {
    answer(id, Outcome::Error { code: code as i32, message })
}

fn answer(id: Option<&Id>, outcome: Outcome<'_>) -> String {
    let id = id.and_then(|id| serde_json::from_str::<&RawValue>(id.json()).ok());
    json::to_text(&Answer { jsonrpc: "2.0", id, outcome })
}

/// A message for the client's log, for streams that answer nothing.
pub(super) fn log_message(text: &str) -> String {
    let params = LogParams { level: "error", logger: "weir", data: text };
    json::to_text(&LogMessage { jsonrpc: "2.0", method: "notifications/message", params })
}

/// Writes a message as an event of a stream.
pub(super) fn event(message: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: message\ndata: ");
    out.extend_from_slice(message.as_bytes());
    out.extend_from_slice(b"\n\n");
}

/// Writes answers as a body of their own: events if the client takes nothing else, an array if they were asked for in one.
pub(super) fn body(asked: &Asked, answers: &[String], streamed: bool, out: &mut Vec<u8>) {
    if streamed {
        answers.iter().for_each(|answer| event(answer, out));
    } else if asked.is_batch {
        out.extend_from_slice(format!("[{}]", answers.join(",")).as_bytes());
    } else {
        answers.iter().for_each(|answer| out.extend_from_slice(answer.as_bytes()));
    }
}

/// Writes an answer of Weir's own to all that was asked.
pub(in crate::dialect) fn answer_all(asked: &Asked, text: &str, is_error: bool, streamed: bool, out: &mut Vec<u8>) {
    let answers: Vec<_> = asked.requests.iter().map(|request| answer_to(asked, request, text, is_error)).collect();
    if answers.is_empty() {
        return body(asked, &[failure(None, Code::InvalidRequest, text)], streamed, out);
    }
    body(asked, &answers, streamed, out);
}

/// Writes an error as the body of an HTTP status. With the id of the request, where there is only one.
pub(in crate::dialect) fn error(asked: &Asked, status: u16, word: &str, message: &str, out: &mut Vec<u8>) {
    let id = match asked.requests.as_slice() {
        [only] if !asked.is_batch => Some(&only.id),
        _ => None,
    };
    out.extend_from_slice(failure(id, Code::of(status, word), message).as_bytes());
}
