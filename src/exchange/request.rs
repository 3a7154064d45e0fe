//! The request's half of an exchange.

use serde_json::{Map, Value, json};
use std::rc::Rc;

use super::effect::{Effect, Observation};
use super::head::{Request, RequestHead};
use super::pipeline::Pipeline;
use crate::decision::Decision;
use crate::dialect::framing::WITHHELD;
use crate::dialect::mcp::{self, Asked, Fault};
use crate::dialect::reply::{self, Answer, Reply};
use crate::dialect::request::{self, parts};
use crate::dialect::{DecodeError, Dialect, Ending};
use crate::encoding::{Decoder, Encoding, EncodingError, READABLE};
use crate::event::{EventKind, Severity, shortened};
use crate::exchange::RequestProgress;
use crate::id::TraceContext;
use crate::limits::FailureMode;
use crate::policy::{Hook, HookOutput, Interests, RequestAction, Shared};
use crate::route::{Endpoint, Route, RouteAction};

/// Longest name of a model that is kept, in characters.
const MAX_MODEL_CHARS: usize = 256;

/// Longest `x-policy-user` that is kept, in bytes.
const MAX_USER_BYTES: usize = 256;

/// Longest method and path that events name, in characters.
const MAX_METHOD_CHARS: usize = 16;
const MAX_PATH_CHARS: usize = 256;

/// The endpoint whose requests have calls in them.
const MCP: Endpoint = Endpoint::Dialect(Dialect::McpTool);

/// What became of the request so far.
pub(super) enum Step {
    /// It is no concern of the chain.
    Ungoverned,
    /// More of it has to come.
    Reading(Reading),
    /// A hook waits.
    Asking(Asking),
    /// The hooks have let it pass, and its calls are to be decided; whether a policy rewrote it.
    Calls { is_rewritten: bool },
    /// Nothing more is to be done about it.
    Decided(RequestProgress),
}

/// A request whose body is on its way.
pub(super) struct Reading {
    endpoint: Endpoint,
    /// Where the body comes encoded.
    decoder: Option<Decoder>,
    /// As much of it as came, decoded.
    body: Vec<u8>,
    /// What the head says about the body, of MCP; `None` where no body may come.
    mcp: Option<Box<mcp::Headers>>,
}

impl Reading {
    pub(super) const fn is_encoded(&self) -> bool {
        self.decoder.is_some()
    }

    pub(super) fn kept_bytes(&self) -> usize {
        self.body.len().saturating_add(self.decoder.as_ref().map_or(0, Decoder::pending))
    }
}

/// A request whose hooks run.
pub(super) struct Asking {
    endpoint: Endpoint,
    stage: usize,
    hook: Option<Hook>,
    changed: bool,
}

/// Looks at the head.
pub(super) fn begin(shared: &Shared, head: &RequestHead<'_>, end: bool) -> Step {
    let chain = &shared.chain;
    let route = chain.routes.find(&chain.targets, head.method, head.path);
    shared.request.with(|request| {
        *request = Rc::new(Request {
            endpoint: (route.action != RouteAction::Allow).then_some(route.endpoint),
            dialect: match route {
                Route { endpoint: Endpoint::Dialect(dialect), action: RouteAction::Govern } => Some(dialect),
                _ => None,
            },
            trace: TraceContext::parse(head.traceparent),
            policy_user: read_user(head.policy_user),
            ..Request::default()
        });
    });
    let endpoint = route.endpoint;
    match route.action {
        RouteAction::Allow => {
            pass(shared, head, endpoint);
            return Step::Ungoverned;
        }
        RouteAction::Block => return block(shared, head, endpoint),
        RouteAction::Govern => {}
    }
    let limits = chain.limits;
    let Ok(encoding) = Encoding::parse(head.content_encoding) else {
        let message = format!(
            "The request body has a content-encoding that cannot be read here; send it unencoded, or as one of {READABLE}."
        );
        return unreadable(shared, endpoint, 415, "request_encoding", &message);
    };
    let longest = u64::try_from(limits.max_request_bytes).unwrap_or(u64::MAX);
    if head.content_length.is_some_and(|length| length > longest) {
        return too_large(shared, endpoint);
    }
    let has_messages = endpoint == MCP && head.method == b"POST";
    if endpoint == MCP && head.method == b"DELETE" {
        return Step::Ungoverned;
    }
    let reading = Reading {
        endpoint,
        decoder: encoding.map(Decoder::new),
        body: Vec::new(),
        mcp: has_messages.then(|| Box::new(mcp_headers(head))),
    };
    if end { finish_reading(shared, reading) } else { Step::Reading(reading) }
}

fn mcp_headers(head: &RequestHead<'_>) -> mcp::Headers {
    mcp::Headers {
        accept: head.accept.to_vec(),
        protocol_version: head.mcp_protocol_version.to_vec(),
        method: head.mcp_method.to_vec(),
        name: head.mcp_name.to_vec(),
    }
}

/// Tells of a request that passes ungoverned.
fn pass(shared: &Shared, head: &RequestHead<'_>, endpoint: Endpoint) {
    let (word, severity) = match endpoint {
        // A list of models has nothing to be checked, and that a dialect is no target is plain to see.
        Endpoint::Models | Endpoint::Dialect(_) => ("route_allowed", Severity::Info),
        Endpoint::Unknown => ("unknown_path", Severity::Warning),
        _ => ("route_allowed", Severity::Warning),
    };
    if severity == Severity::Warning {
        shared.push_effect(Effect::Observe(Observation::FailedOpen(word)));
    }
    let summary = format!("a request to {} passes ungoverned, as configured", shown_path(head));
    shared.emit(EventKind::Request, None, word, severity, summary, describe(head, endpoint));
}

fn block(shared: &Shared, head: &RequestHead<'_>, endpoint: Endpoint) -> Step {
    let (status, word, message) = match endpoint {
        Endpoint::Unknown => {
            let message = "This path is not served here: the policy lets only known API endpoints pass.";
            (404, "unknown_path", message.to_owned())
        }
        endpoint => (403, "route_blocked", format!("This endpoint is blocked by policy (routes.{endpoint}).")),
    };
    refuse(shared, endpoint, status, word, &message, describe(head, endpoint))
}

/// The route of a request, for events.
fn describe(head: &RequestHead<'_>, endpoint: Endpoint) -> Map<String, Value> {
    let method = String::from_utf8_lossy(head.method).into_owned();
    Map::from_iter([
        ("route".to_owned(), endpoint.name().into()),
        ("method".to_owned(), shortened(&method, MAX_METHOD_CHARS).into()),
        ("path".to_owned(), shown_path(head).into()),
    ])
}

/// The path without its query, which may hold secrets.
fn shown_path(head: &RequestHead<'_>) -> String {
    let path = head.path.split(|byte| *byte == b'?').next().unwrap_or_default();
    shortened(&String::from_utf8_lossy(path), MAX_PATH_CHARS).to_owned()
}

/// Takes bytes of the body in.
pub(super) fn read(shared: &Shared, mut reading: Reading, chunk: &[u8], end: bool) -> Step {
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
        Ok(()) if end => finish_reading(shared, reading),
        Ok(()) => Step::Reading(reading),
    }
}

fn finish_reading(shared: &Shared, mut reading: Reading) -> Step {
    let room = shared.chain.limits.max_request_bytes.saturating_sub(reading.body.len());
    let is_encoded = reading.decoder.is_some();
    if let Some(mut decoder) = reading.decoder.take()
        && let Err(error) = decoder.finish(room, &mut reading.body)
    {
        return unreadable_encoding(shared, reading.endpoint, error);
    }
    let endpoint = reading.endpoint;
    // The head may have to say before the body came that it is not encoded: then it is not, changed or not.
    let asking = Asking { endpoint, stage: 0, hook: None, changed: is_encoded && may_change(shared) };
    if endpoint == MCP {
        return finish_messages(shared, reading, asking);
    }
    let reads_parts = shared.chain.policies.iter().any(|policy| policy.interests().request_parts);
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

/// Runs the request hooks as far as they go.
pub(super) fn ask(shared: &Shared, pipeline: &Pipeline, mut asking: Asking) -> Step {
    loop {
        let hook = asking
            .hook
            .take()
            .or_else(|| pipeline.stages().get(asking.stage).map(|stage| stage.instance.on_request(shared.request())));
        let Some(mut hook) = hook else { break };
        let Some(output) = pipeline.advance(&mut hook) else {
            asking.hook = Some(hook);
            return Step::Asking(asking);
        };
        let stage = asking.stage;
        asking.stage = stage.saturating_add(1);
        match output {
            HookOutput::Request(RequestAction::SendRequest) => {}
            HookOutput::Request(RequestAction::SendRequestBody(body)) if rewrites(shared, stage) => {
                shared.conclude(Decision::Rewrite, None);
                asking.changed = true;
                shared.request.with(|request| *request = Rc::new(Request { body, ..without_body(request) }));
            }
            HookOutput::Request(RequestAction::SendResponse(text)) => {
                shared.conclude(Decision::Refuse, None);
                let request = shared.request();
                return Step::Decided(RequestProgress::Answer(match request.dialect {
                    Some(dialect) => local_answer(shared, dialect, &text, Ending::Stop, request.stream),
                    // What it asks for is no text: the answer can only be an error that says it.
                    None => reply::error(asking.endpoint.error_dialect(), 403, "policy_refused", &text),
                }));
            }
            HookOutput::Request(RequestAction::Refuse { status, message }) => {
                shared.conclude(Decision::Refuse, None);
                let reply = error(shared, asking.endpoint.error_dialect(), status.clamp(400, 599), "policy_refused", &message);
                return Step::Decided(RequestProgress::Answer(reply));
            }
            _ => {
                let message = "The request could not be checked by policy.";
                return refuse(shared, asking.endpoint, 500, "policy_failed", message, Map::new());
            }
        }
    }
    if asking.endpoint == MCP && shared.asked().is_known() {
        return Step::Calls { is_rewritten: asking.changed };
    }
    Step::Decided(leave(shared, asking.changed))
}

/// Whether the body may leave changed: a policy rewrites requests, or the calls in them.
pub(super) fn may_change(shared: &Shared) -> bool {
    let has_calls = shared.request().dialect == Some(Dialect::McpTool);
    let changes = |interests: Interests| interests.rewrites_request || (has_calls && interests.tool_calls);
    shared.chain.policies.iter().any(|policy| changes(policy.interests()))
}

/// The messages of a request that a policy has rewritten.
pub(super) fn read_again(shared: &Shared) -> Option<Step> {
    let mut asked = shared.asked().for_another_body();
    let read = mcp::read(&shared.request().body, &mcp::Headers::default(), &mut asked);
    shared.asked.with(|known| *known = Rc::new(asked));
    let message = "The request could not be checked by policy.";
    read.err().map(|_| refuse(shared, MCP, 500, "policy_failed", message, Map::new()))
}

/// A request whose calls cannot be read.
pub(super) fn unreadable_calls(shared: &Shared, error: DecodeError) -> Step {
    let message = format!("The request body cannot be read as messages of MCP: {error}.");
    unreadable(shared, MCP, 400, "request_malformed", &message)
}

/// The request leaves; what is kept of it is what policies ask for.
fn leave(shared: &Shared, is_changed: bool) -> RequestProgress {
    let body = if is_changed { Some(shared.request().body.clone()) } else { None };
    forget_body(shared);
    body.map_or(RequestProgress::Send, RequestProgress::SendBody)
}

/// Drops the body unless a policy wants to see it later.
pub(super) fn forget_body(shared: &Shared) {
    let keeps_body = shared.chain.policies.iter().any(|policy| policy.interests().request_body);
    if !keeps_body {
        shared.request.with(|request| *request = Rc::new(without_body(request)));
    }
}

/// Whether the policy said beforehand that it rewrites requests; the proxy may have let a fixed length go otherwise.
fn rewrites(shared: &Shared, stage: usize) -> bool {
    shared.chain.policies.get(stage).is_some_and(|policy| policy.interests().rewrites_request)
}

/// A normal answer in the words of the request's dialect.
pub(super) fn local_answer(shared: &Shared, dialect: Dialect, text: &str, ending: Ending, streamed: bool) -> Reply {
    let request = shared.request();
    if dialect == Dialect::McpTool {
        return reply::answer_to(&shared.asked(), text, streamed);
    }
    let call_id = shared.call_id.to_string();
    let created = shared.now().as_unix_secs();
    let text = if text.is_empty() { WITHHELD } else { text };
    let answer = Answer { call_id: &call_id, model: &request.model, created, text, ending };
    reply::answer(dialect, &answer, streamed)
}

/// An error in the words of the dialect.
pub(super) fn error(shared: &Shared, dialect: Option<Dialect>, status: u16, word: &str, message: &str) -> Reply {
    match dialect {
        Some(Dialect::McpTool) => reply::error_to(&shared.asked(), status, word, message),
        dialect => reply::error(dialect, status, word, message),
    }
}

fn without_body(request: &Request) -> Request {
    Request {
        endpoint: request.endpoint,
        dialect: request.dialect,
        model: request.model.clone(),
        stream: request.stream,
        policy_user: request.policy_user.clone(),
        trace: request.trace.clone(),
        body: Vec::new(),
    }
}

fn read_user(value: &[u8]) -> Option<String> {
    let value = value.get(..MAX_USER_BYTES.min(value.len()))?;
    (!value.is_empty()).then(|| String::from_utf8_lossy(value).into_owned())
}

fn too_large(shared: &Shared, endpoint: Endpoint) -> Step {
    let limit = shared.chain.limits.max_request_bytes;
    // A body beyond the bound cannot be let through: it is not there to be sent on. Both modes refuse it.
    let message = format!("The request body is longer than {limit} bytes (limits.max_request_bytes).");
    refuse(shared, endpoint, 413, "request_too_large", &message, Map::new())
}

fn unreadable_encoding(shared: &Shared, endpoint: Endpoint, error: EncodingError) -> Step {
    match error {
        EncodingError::TooLong => too_large(shared, endpoint),
        EncodingError::Corrupt => {
            let message = "The request body is not what its content-encoding says, or is not whole.";
            unreadable(shared, endpoint, 400, "request_malformed", message)
        }
    }
}

fn unreadable(shared: &Shared, endpoint: Endpoint, status: u16, word: &'static str, message: &str) -> Step {
    if shared.chain.limits.on_unreadable == FailureMode::Allow {
        shared.fail_open(word, message);
        return Step::Ungoverned;
    }
    refuse(shared, endpoint, status, word, message, Map::new())
}

fn refuse(
    shared: &Shared,
    endpoint: Endpoint,
    status: u16,
    word: &'static str,
    message: &str,
    metadata: Map<String, Value>,
) -> Step {
    shared.conclude(Decision::Refuse, Some(&word.to_ascii_uppercase()));
    shared.fail(word, Severity::Warning, message.to_owned(), metadata);
    Step::Decided(RequestProgress::Answer(error(shared, endpoint.error_dialect(), status, word, message)))
}
