//! The request's half of an exchange.

use serde_json::json;
use std::rc::Rc;

use super::head::{Request, RequestHead};
use super::pipeline::Pipeline;
use super::route::{Route, route};
use crate::decision::Decision;
use crate::dialect::reply::{self, Answer, Reply};
use crate::dialect::{Dialect, Ending, request};
use crate::event::{EventKind, Severity, shortened};
use crate::exchange::RequestProgress;
use crate::id::TraceContext;
use crate::limits::Verdict;
use crate::policy::{Hook, HookOutput, RequestAction, Shared};

/// Longest name of a model that is kept, in characters.
const MAX_MODEL_CHARS: usize = 256;

/// Longest `x-policy-user` that is kept, in bytes.
const MAX_USER_BYTES: usize = 256;

/// What became of the request so far.
pub(super) enum Step {
    /// It is no concern of the chain.
    Ungoverned,
    /// More of it has to come.
    Reading(Reading),
    /// A hook waits.
    Asking(Asking),
    /// Nothing more is to be done about it.
    Decided(RequestProgress),
}

/// A request whose body is on its way.
pub(super) struct Reading {
    dialect: Dialect,
    body: Vec<u8>,
}

impl Reading {
    pub(super) const fn kept_bytes(&self) -> usize {
        self.body.len()
    }
}

/// A request whose hooks run.
pub(super) struct Asking {
    dialect: Dialect,
    stage: usize,
    hook: Option<Hook>,
    changed: bool,
}

/// Looks at the head.
pub(super) fn begin(shared: &Shared, head: &RequestHead<'_>, end: bool) -> Step {
    let chain = &shared.chain;
    let known = |dialect| Request {
        dialect,
        trace: TraceContext::parse(head.traceparent),
        policy_user: read_user(head.policy_user),
        ..Request::default()
    };
    let dialect = match route(chain, head.method, head.path) {
        Route::Governed(dialect) => dialect,
        Route::Ungoverned => return Step::Ungoverned,
        Route::Unknown(Verdict::Allow) => {
            shared.request.with(|request| *request = Rc::new(known(None)));
            shared.fail_open("unknown_path", "a request for a path that is no endpoint of a governed API");
            return Step::Ungoverned;
        }
        Route::Unknown(Verdict::Block) => {
            shared.request.with(|request| *request = Rc::new(known(None)));
            return refuse(
                shared,
                None,
                404,
                "unknown_path",
                "This path is not served here: the policy lets only known API endpoints pass.",
            );
        }
    };
    shared.request.with(|request| *request = Rc::new(known(Some(dialect))));
    let limits = chain.limits;
    if !is_identity(head.content_encoding) {
        let message = "The request body has a content-encoding that cannot be read here; send it unencoded.";
        return unreadable(shared, dialect, 415, "request_encoding", message);
    }
    let longest = u64::try_from(limits.max_request_bytes).unwrap_or(u64::MAX);
    if head.content_length.is_some_and(|length| length > longest) {
        return too_large(shared, dialect);
    }
    let reading = Reading { dialect, body: Vec::new() };
    if end { finish_reading(shared, reading) } else { Step::Reading(reading) }
}

/// Takes bytes of the body in.
pub(super) fn read(shared: &Shared, mut reading: Reading, chunk: &[u8], end: bool) -> Step {
    if reading.body.len().saturating_add(chunk.len()) > shared.chain.limits.max_request_bytes {
        return too_large(shared, reading.dialect);
    }
    reading.body.extend_from_slice(chunk);
    if end { finish_reading(shared, reading) } else { Step::Reading(reading) }
}

fn finish_reading(shared: &Shared, reading: Reading) -> Step {
    let dialect = reading.dialect;
    let facts = match request::read(dialect, &reading.body) {
        Ok(facts) => facts,
        Err(error) => {
            let message = format!("The request body cannot be read as a {dialect} request: {error}.");
            return unreadable(shared, dialect, 400, "request_malformed", &message);
        }
    };
    let bytes = reading.body.len();
    shared.request.with(|request| {
        let known = request.as_ref();
        *request = Rc::new(Request {
            dialect: Some(dialect),
            model: shortened(&facts.model, MAX_MODEL_CHARS).to_owned(),
            stream: facts.stream,
            policy_user: known.policy_user.clone(),
            trace: known.trace.clone(),
            body: reading.body,
        });
    });
    let request = shared.request();
    let summary = format!("{dialect} request for {}", if request.model.is_empty() { "no model" } else { &request.model });
    let metadata =
        json!({"model": request.model, "stream": request.stream, "request_bytes": bytes, "policy_user": request.policy_user});
    shared.emit_value(EventKind::Request, "request.received", Severity::Info, summary, metadata);
    Step::Asking(Asking { dialect, stage: 0, hook: None, changed: false })
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
                return Step::Decided(RequestProgress::Answer(local_answer(
                    shared,
                    asking.dialect,
                    &text,
                    Ending::Stop,
                    shared.request().stream,
                )));
            }
            HookOutput::Request(RequestAction::Refuse { status, message }) => {
                shared.conclude(Decision::Refuse, None);
                let reply = reply::error(Some(asking.dialect), status.clamp(400, 599), "policy_refused", &message);
                return Step::Decided(RequestProgress::Answer(reply));
            }
            _ => {
                return refuse(shared, Some(asking.dialect), 500, "policy_failed", "The request could not be checked by policy.");
            }
        }
    }
    let keeps_body = shared.chain.policies.iter().any(|policy| policy.interests().request_body);
    let body = if asking.changed { Some(shared.request().body.clone()) } else { None };
    if !keeps_body {
        shared.request.with(|request| *request = Rc::new(without_body(request)));
    }
    Step::Decided(body.map_or(RequestProgress::Send, RequestProgress::SendBody))
}

/// Whether the policy said beforehand that it rewrites requests; the proxy may have let a fixed length go otherwise.
fn rewrites(shared: &Shared, stage: usize) -> bool {
    shared.chain.policies.get(stage).is_some_and(|policy| policy.interests().rewrites_request)
}

/// A normal answer in the words of the request's dialect.
pub(super) fn local_answer(shared: &Shared, dialect: Dialect, text: &str, ending: Ending, streamed: bool) -> Reply {
    let request = shared.request();
    let call_id = shared.call_id.to_string();
    let created = shared.now().as_unix_secs();
    let text = if text.is_empty() { "This was withheld by policy." } else { text };
    let answer = Answer { call_id: &call_id, model: &request.model, created, text, ending };
    reply::answer(dialect, &answer, streamed)
}

fn without_body(request: &Request) -> Request {
    Request {
        dialect: request.dialect,
        model: request.model.clone(),
        stream: request.stream,
        policy_user: request.policy_user.clone(),
        trace: request.trace.clone(),
        body: Vec::new(),
    }
}

/// Whether a `content-encoding` leaves the body as it is.
pub(super) fn is_identity(encoding: &[u8]) -> bool {
    let encoding = encoding.trim_ascii();
    encoding.is_empty() || encoding.eq_ignore_ascii_case(b"identity")
}

fn read_user(value: &[u8]) -> Option<String> {
    let value = value.get(..MAX_USER_BYTES.min(value.len()))?;
    (!value.is_empty()).then(|| String::from_utf8_lossy(value).into_owned())
}

fn too_large(shared: &Shared, dialect: Dialect) -> Step {
    let limit = shared.chain.limits.max_request_bytes;
    // A body beyond the bound cannot be let through: it is not there to be sent on. Both verdicts refuse it.
    refuse(
        shared,
        Some(dialect),
        413,
        "request_too_large",
        &format!("The request body is longer than {limit} bytes (limits.max_request_bytes)."),
    )
}

fn unreadable(shared: &Shared, dialect: Dialect, status: u16, word: &'static str, message: &str) -> Step {
    if shared.chain.limits.on_unreadable == Verdict::Allow {
        shared.fail_open(word, message);
        return Step::Ungoverned;
    }
    refuse(shared, Some(dialect), status, word, message)
}

fn refuse(shared: &Shared, dialect: Option<Dialect>, status: u16, word: &'static str, message: &str) -> Step {
    shared.conclude(Decision::Refuse, Some(&word.to_ascii_uppercase()));
    shared.fail(word, Severity::Warning, message.to_owned(), serde_json::Map::new());
    Step::Decided(RequestProgress::Answer(reply::error(dialect, status, word, message)))
}
