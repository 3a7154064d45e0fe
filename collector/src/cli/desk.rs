//! What the commands for policy documents share: reading files, and playing exchanges through the engine.

use std::fs;
use std::path::Path;

use serde_json::Value;
use weir_driver::{Outcome, Player, Recording, ServiceReply};
use weir_engine::document::{DocumentError, Documents};
use weir_engine::exchange::Callout;

/// A file that cannot be read, or is neither YAML nor JSON.
#[derive(Debug)]
pub(crate) struct Unreadable(pub(crate) String);

/// Reads YAML or JSON: every JSON is YAML.
pub(crate) fn read(path: &Path) -> Result<Value, Unreadable> {
    let text = fs::read_to_string(path).map_err(|error| Unreadable(format!("{}: {error}", path.display())))?;
    let is_json = path.extension().is_some_and(|extension| extension == "json");
    let read = if is_json {
        serde_json::from_str(&text).map_err(|error| error.to_string())
    } else {
        serde_saphyr::from_str(&text).map_err(|error| error.to_string())
    };
    read.map_err(|error| Unreadable(format!("{}: {error}", path.display())))
}

/// Reads a policy document as the filter does; secrets that it takes from the environment are made up.
pub(crate) fn parse(document: &Value) -> Result<Documents, DocumentError> {
    Documents::parse(&document.to_string(), &weir_policies::registry(), &|_| Some("secret".to_owned()))
}

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

/// Adds an answer: an object is a whole body, a text an event stream.
pub(crate) fn answered(recording: Recording, status: u16, answer: &Value) -> Recording {
    match answer {
        Value::Null => recording,
        Value::String(stream) => recording.answered(status, "text/event-stream", stream.as_bytes()),
        body => recording.answered(status, "application/json", body.to_string()),
    }
}

/// Answers as judges do, by what stands in the question; the first entry that fits counts. Without any no judge can be asked.
pub(crate) fn judged(player: Player, rules: Vec<(String, ServiceReply)>) -> Player {
    player.answering(move |question: &Callout| {
        let matter = serde_json::from_slice::<Value>(&question.body).ok();
        let matter = matter.and_then(|body| Some(body.pointer("/messages/1/content")?.as_str()?.to_owned())).unwrap_or_default();
        let found = rules.iter().find(|(when, _)| matter.contains(when.as_str()));
        found.map_or_else(ServiceReply::not_sent, |(_, reply)| reply.clone())
    })
}

/// What came of an exchange, for people and programs.
pub(crate) fn describe(outcome: &Outcome) -> Value {
    let events: Vec<_> = outcome.events.iter().map(|event| event.event_type.as_str()).collect();
    serde_json::json!({
        "enforcement": outcome.enforcement(),
        "status": outcome.status,
        "request": format!("{:?}", outcome.request),
        "events": events,
        "judge_questions": outcome.callouts.len(),
        "output": outcome.text(),
    })
}
