//! Answers a request here: with an answer in the words of its dialect, or a refusal.

use serde_json::{Map, Value};

use super::Step;
use crate::answer::{Answer, Unsayable};
use crate::decision::Decision;
use crate::dialect::Dialect;
use crate::dialect::reply::{self, Origin, Reply};
use crate::event::Severity;
use crate::exchange::RequestProgress;
use crate::limits::FailureMode;
use crate::policy::{Refusal, Shared};
use crate::route::Endpoint;
use crate::wire::encoding::EncodingError;

/// Says an answer in the words of the request's dialect.
pub(in crate::exchange) fn local_answer(
    shared: &Shared,
    dialect: Dialect,
    answer: &Answer,
    streamed: bool,
) -> Result<Reply, Unsayable> {
    if dialect == Dialect::McpTool {
        return Ok(reply::answer_to(&shared.asked(), answer, streamed));
    }
    let call_id = shared.call_id.to_string();
    let created = shared.now().as_unix_secs();
    let origin = Origin { call_id: &call_id, model: &shared.request().model, created };
    reply::answer(dialect, &origin, answer, streamed)
}

/// An error in the words of the dialect.
pub(in crate::exchange) fn error(shared: &Shared, dialect: Option<Dialect>, status: u16, word: &str, message: &str) -> Reply {
    match dialect {
        Some(Dialect::McpTool) => reply::error_to(&shared.asked(), status, word, message),
        dialect => reply::error(dialect, status, word, message),
    }
}

/// What a policy refuses, in the words of the dialect.
pub(in crate::exchange) fn refused(shared: &Shared, dialect: Option<Dialect>, refusal: Refusal) -> Reply {
    let Refusal { status, code, message, headers } = refusal;
    Reply { headers, ..error(shared, dialect, status, &code, &message) }
}

pub(super) fn too_large(shared: &Shared, endpoint: Endpoint) -> Step {
    let limit = shared.chain.limits.max_request_bytes;
    // A body beyond the bound cannot be let through: it is not there to be sent on. Both modes refuse it.
    let message = format!("The request body is longer than {limit} bytes (limits.max_request_bytes).");
    refuse(shared, endpoint, 413, "request_too_large", &message, Map::new())
}

pub(super) fn unreadable_encoding(shared: &Shared, endpoint: Endpoint, error: EncodingError) -> Step {
    match error {
        EncodingError::TooLong => too_large(shared, endpoint),
        EncodingError::Corrupt => {
            let message = "The request body is not what its content-encoding says, or is not whole.";
            unreadable(shared, endpoint, 400, "request_malformed", message)
        }
    }
}

pub(super) fn unreadable(shared: &Shared, endpoint: Endpoint, status: u16, word: &'static str, message: &str) -> Step {
    if shared.chain.limits.on_unreadable == FailureMode::Allow {
        shared.fail_open(word, message);
        return Step::Ungoverned;
    }
    refuse(shared, endpoint, status, word, message, Map::new())
}

pub(super) fn refuse(
    shared: &Shared,
    endpoint: Endpoint,
    status: u16,
    word: &'static str,
    message: &str,
    metadata: Map<String, Value>,
) -> Step {
    shared.outcome.conclude(Decision::Refuse, Some(&word.to_ascii_uppercase()));
    shared.fail(word, Severity::Warning, message.to_owned(), metadata);
    Step::Decided(RequestProgress::Answer(error(shared, endpoint.error_dialect(), status, word, message)))
}
