//! Answers and errors that Weir gives itself, in the words of each dialect.

use super::mcp::{self, Asked};
use super::{Dialect, Encoder, Ending, chat, messages, responses};
use crate::answer::{Answer, AnswerChoice, Unsayable};
use crate::usage::Usage;

const JSON: &str = "application/json";
const EVENT_STREAM: &str = "text/event-stream";

/// A whole HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Value of the `content-type` header.
    pub content_type: &'static str,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// Answers with this body and no further header.
    pub(crate) const fn new(status: u16, content_type: &'static str, body: Vec<u8>) -> Self {
        Self { status, content_type, headers: Vec::new(), body }
    }
}

/// What an answer of Weir's own says about itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    /// Id of the exchange; the answer's id is made of it.
    pub(crate) call_id: &'a str,
    /// The model that the request asked for.
    pub(crate) model: &'a str,
    /// Unix time in seconds.
    pub(crate) created: u64,
}

/// Says `answer` as clients parse a normal one, with status 200; as a stream if `streamed`.
pub(crate) fn answer(dialect: Dialect, origin: &Origin<'_>, answer: &Answer, streamed: bool) -> Result<Reply, Unsayable> {
    let choices = answer.sayable(dialect)?;
    let usage = answer.usage.unwrap_or_default();
    let mut body = Vec::new();
    if streamed {
        stream(dialect, origin, &choices, usage, &mut body);
    } else if let Some(first) = choices.first() {
        match dialect {
            Dialect::ChatCompletions => chat::output::completion(&origin.of_chat(), &choices, usage, &mut body),
            Dialect::Messages => messages::output::message(&origin.of_messages(usage), first, &mut body),
            Dialect::Responses => responses::output::whole_response(&origin.of_responses(answer.usage), first, &mut body),
            // It takes knowing what was asked ([`answer_to`]).
            Dialect::McpTool => return Err(Unsayable),
        }
    } else {
        return Err(Unsayable);
    }
    Ok(Reply::new(200, if streamed { EVENT_STREAM } else { JSON }, body))
}

/// What MCP answers in place of a server: every call with a result that says the text of `answer`, all else with an error.
pub(crate) fn answer_to(asked: &Asked, answer: &Answer, streamed: bool) -> Reply {
    let mut body = Vec::new();
    // What a policy says of its own is no result of the tool.
    let is_error = !answer.passes_policies || answer.ending() != Ending::Stop;
    mcp::output::answer_all(asked, &answer.to_text(), is_error, streamed, &mut body);
    Reply::new(200, if streamed { EVENT_STREAM } else { JSON }, body)
}

/// An error of MCP, addressed to what was asked.
pub(crate) fn error_to(asked: &Asked, status: u16, code: &str, message: &str) -> Reply {
    let mut body = Vec::new();
    mcp::output::error(asked, status, code, message, &mut body);
    Reply::new(status, JSON, body)
}

fn stream(dialect: Dialect, origin: &Origin<'_>, choices: &[AnswerChoice], usage: Usage, out: &mut Vec<u8>) {
    let mut encoder = match dialect {
        Dialect::ChatCompletions => {
            let mut encoder = chat::Encoder::with_identity(origin.of_chat());
            (0..).zip(choices).for_each(|(index, _)| encoder.begin_choice(index, out));
            Encoder::Chat(encoder)
        }
        Dialect::Messages => Encoder::Messages(messages::Encoder::with_identity(origin.of_messages(usage))),
        Dialect::Responses => Encoder::Responses(responses::Encoder::with_identity(origin.of_responses(Some(usage)))),
        Dialect::McpTool => return,
    };
    for (index, choice) in (0..).zip(choices) {
        for block in &choice.blocks {
            // Nothing has left yet, and the blocks are in an order in which they can be said: it cannot be too late.
            let _never_too_late = encoder.chunk(&block.to_chunk(index), out);
        }
        if let Encoder::Chat(encoder) = &mut encoder {
            encoder.finish_choice(index, choice.ending, out);
        }
    }
    encoder.end(choices.first().map_or(Ending::Stop, |choice| choice.ending), out);
}

impl Origin<'_> {
    fn of_chat(&self) -> chat::output::Identity {
        chat::output::Identity {
            id: format!("chatcmpl-{}", self.call_id),
            created: self.created,
            model: self.model.to_owned(),
            system_fingerprint: None,
        }
    }

    fn of_messages(&self, usage: Usage) -> messages::output::Identity {
        messages::output::Identity { id: format!("msg_{}", self.call_id), model: self.model.to_owned(), usage }
    }

    fn of_responses(&self, usage: Option<Usage>) -> responses::output::Identity {
        responses::output::Identity {
            id: format!("resp_{}", self.call_id),
            created: self.created,
            model: self.model.to_owned(),
            usage,
        }
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
    Reply::new(status, JSON, body)
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
