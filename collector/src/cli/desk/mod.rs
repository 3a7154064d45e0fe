//! What the commands for policy documents share: reading files, and playing exchanges through the engine.

mod fault;
mod judges;
mod place;
mod source;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use weir_driver::{Outcome, Player, Recording, RequestOutcome};
use weir_engine::document::Documents;

pub(crate) use self::fault::Fault;
pub(crate) use self::judges::{Answer, Judged, judged};
pub(crate) use self::place::Place;
pub(crate) use self::source::{Source, read_documents};

/// Makes a player for the chain of a project.
pub(crate) fn player(documents: &Documents, project: &str) -> Player {
    Player::new(documents.choose(project.as_bytes()))
}

/// Where requests of a kind go, by what stands in them.
pub(crate) fn path_of(body: &Value) -> &'static str {
    let has = |key: &str| body.get(key).is_some();
    if has("jsonrpc") || body.is_array() {
        "/mcp"
    } else if has("input") {
        "/v1/responses"
    } else if has("max_tokens") && body.get("model").and_then(Value::as_str).is_some_and(|model| model.starts_with("claude")) {
        "/v1/messages"
    } else {
        "/v1/chat/completions"
    }
}

/// Reads an answer: a body in JSON, or an event stream (any other file).
pub(crate) fn read_answer(file: &Path) -> Result<Value, Fault> {
    if file.extension().is_some_and(|extension| extension == "json") {
        return Ok(Source::read(file)?.value);
    }
    fs::read_to_string(file).map(Value::String).map_err(|error| Fault::unreadable(file, &error))
}

/// Adds an answer: an object is a whole body, a text an event stream.
pub(crate) fn answered(recording: Recording, status: u16, answer: &Value) -> Recording {
    match answer {
        Value::Null => recording,
        Value::String(stream) => recording.answered(status, "text/event-stream", stream.as_bytes()),
        body => recording.answered(status, "application/json", body.to_string()),
    }
}

/// What came of an exchange, for people and programs.
pub(crate) fn describe(outcome: &Outcome) -> Value {
    let (request, body) = match &outcome.request {
        RequestOutcome::Sent => ("sent as it came", None),
        RequestOutcome::SentBody(body) => ("sent with another body", Some(String::from_utf8_lossy(body))),
        RequestOutcome::Answered => ("answered", None),
        RequestOutcome::Held => ("held", None),
    };
    // That which ends the exchange stands for itself.
    let events = outcome.events.iter().filter(|event| event.event_type != "enforcement");
    let events: Vec<_> = events
        .map(|event| {
            json!({"event_type": event.event_type, "policy": event.policy_class, "summary": event.summary, "metadata": event.metadata})
        })
        .collect();
    json!({
        "enforcement": outcome.enforcement(),
        "status": outcome.status,
        "request": request,
        "request_body": body,
        "events": events,
        "judge_questions": outcome.callouts.len(),
        "output": outcome.text(),
    })
}
