//! Reads the body of a request.

use std::rc::Rc;

use serde_json::{Map, json};

use super::answer::{refuse, refused, unreadable, unreadable_encoding};
use super::hooks::{may_change, without_body};
use super::{Asking, MCP, Reading, Step};
use crate::dialect::DecodeError;
use crate::dialect::mcp::{self, Asked, Fault};
use crate::dialect::request::{self, parts};
use crate::event::{EventKind, Severity, shortened};
use crate::exchange::pipeline::Pipeline;
use crate::exchange::{RequestProgress, raw};
use crate::head::Request;
use crate::policy::Shared;
use crate::route::RouteAction;
use crate::wire::encoding::EncodingError;

/// Longest name of a model that is kept, in characters.
pub(super) const MAX_MODEL_CHARS: usize = 256;

/// Takes bytes of the body in.
pub(in crate::exchange) fn read(shared: &Shared, pipeline: &Pipeline, mut reading: Reading, chunk: &[u8], end: bool) -> Step {
    let room = shared.chain.limits.max_request_bytes.saturating_sub(reading.body.len());
    let read = match &mut reading.decoder {
        Some(decoder) => decoder.feed(chunk, room, &mut reading.body),
        None if chunk.len() > room => Err(EncodingError::TooLong),
        None => {
            reading.body.extend_from_slice(chunk);
            Ok(())
        }
    };
    match read {
        Err(error) => unreadable_encoding(shared, reading.endpoint, error),
        Ok(()) if end => finish_reading(shared, Some(pipeline), reading),
        Ok(()) => Step::Reading(reading),
    }
}

/// The body is complete, or there is none: then nobody sees it as bytes.
pub(super) fn finish_reading(shared: &Shared, pipeline: Option<&Pipeline>, mut reading: Reading) -> Step {
    let room = shared.chain.limits.max_request_bytes.saturating_sub(reading.body.len());
    let is_encoded = reading.decoder.is_some();
    if let Some(mut decoder) = reading.decoder.take()
        && let Err(error) = decoder.finish(room, &mut reading.body)
    {
        return unreadable_encoding(shared, reading.endpoint, error);
    }
    let endpoint = reading.endpoint;
    // The head may have to say before the body came that it is not encoded: then it is not, changed or not.
    let mut changed = is_encoded && may_change(shared);
    match pipeline.map(|pipeline| raw::edit_request(shared, pipeline, &reading.body)) {
        Some(Ok(Some(body))) => (reading.body, changed) = (body, true),
        Some(Err(refusal)) => {
            let reply = refused(shared, endpoint.error_dialect(), refusal);
            return Step::Decided(RequestProgress::Answer(reply));
        }
        Some(Ok(None)) | None => {}
    }
    let asking = Asking { endpoint, stage: 0, hook: None, given: None, changed };
    if endpoint == MCP {
        return finish_messages(shared, reading, asking);
    }
    let reads_parts = shared.interests().request_parts;
    let facts = request::read(endpoint, &reading.body)
        .and_then(|facts| if reads_parts { parts::read(&reading.body).map(|_| facts) } else { Ok(facts) });
    let facts = match facts {
        Ok(facts) => facts,
        Err(error) => {
            let message = format!("The request body cannot be read as a {endpoint} request: {error}.");
            return unreadable(shared, endpoint, 400, "request_malformed", &message);
        }
    };
    if let Some(stored) = facts.stored_input.filter(|_| shared.chain.routes.stored_input == RouteAction::Block) {
        let message = format!(
            "Input that stands at the provider ({stored}) is blocked by policy (routes.stored_input): send the whole input, and \
             \"store\": false."
        );
        let metadata = Map::from_iter([("stored_input".to_owned(), stored.into())]);
        return refuse(shared, endpoint, 403, "stored_input_blocked", &message, metadata);
    }
    let bytes = reading.body.len();
    shared.request.with(|request| {
        let known = request.as_ref();
        *request = Rc::new(Request {
            endpoint: known.endpoint,
            dialect: known.dialect,
            path: Rc::clone(&known.path),
            model: shortened(&facts.model, MAX_MODEL_CHARS).to_owned(),
            stream: facts.stream,
            policy_user: known.policy_user.clone(),
            trace: known.trace.clone(),
            body: reading.body,
        });
    });
    let request = shared.request();
    let summary = format!("{endpoint} request for {}", if request.model.is_empty() { "no model" } else { &request.model });
    let mut metadata = json!({"route": endpoint.name(), "model": request.model, "stream": request.stream, "request_bytes": bytes, "policy_user": request.policy_user});
    if let (Some(stored), Some(metadata)) = (facts.stored_input, metadata.as_object_mut()) {
        metadata.insert("stored_input".to_owned(), stored.into());
    }
    shared.emit_value(EventKind::Request, "request.received", Severity::Info, summary, metadata);
    Step::Asking(asking)
}

/// Reads the messages of an MCP client; `GET` has none.
fn finish_messages(shared: &Shared, reading: Reading, asking: Asking) -> Step {
    let mut asked = Asked::default();
    let read = match &reading.mcp {
        Some(headers) => mcp::read(&reading.body, headers, &mut asked),
        None if reading.body.is_empty() => Ok(()),
        None => Err(Fault::Unreadable(DecodeError::OutOfOrder { what: "a body where there is none" })),
    };
    let (bytes, subject) = (reading.body.len(), asked.subject());
    let stream = reading.mcp.is_none() || asked.streams_only();
    shared.asked.with(|known| *known = Rc::new(asked));
    match read {
        Ok(()) => {}
        Err(Fault::Unreadable(error)) => {
            let message = format!("The request body cannot be read as messages of MCP: {error}.");
            return unreadable(shared, MCP, 400, "request_malformed", &message);
        }
        Err(Fault::Mismatch(message)) => return refuse(shared, MCP, 400, "header_mismatch", &message, Map::new()),
    }
    shared.request.with(|request| *request = Rc::new(Request { stream, body: reading.body, ..without_body(request) }));
    let request = shared.request();
    let metadata = json!({"route": MCP.name(), "asked": subject, "stream": stream, "request_bytes": bytes, "policy_user": request.policy_user});
    shared.emit_value(EventKind::Request, "request.received", Severity::Info, format!("{MCP} request for {subject}"), metadata);
    Step::Asking(asking)
}

/// The messages of a request that a policy has rewritten.
pub(in crate::exchange) fn read_again(shared: &Shared) -> Option<Step> {
    let mut asked = shared.asked().for_another_body();
    let read = mcp::read(&shared.request().body, &mcp::Headers::default(), &mut asked);
    shared.asked.with(|known| *known = Rc::new(asked));
    let message = "The request could not be checked by policy.";
    read.err().map(|_| refuse(shared, MCP, 500, "policy_failed", message, Map::new()))
}

/// A request whose calls cannot be read.
pub(in crate::exchange) fn unreadable_calls(shared: &Shared, error: DecodeError) -> Step {
    let message = format!("The request body cannot be read as messages of MCP: {error}.");
    unreadable(shared, MCP, 400, "request_malformed", &message)
}
