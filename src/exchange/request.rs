//! The request's half of an exchange.

mod answer;
mod body;
mod hooks;

use std::rc::Rc;

use serde_json::{Map, Value};

use self::answer::{refuse, too_large, unreadable};
use self::body::finish_reading;
use crate::caller::Caller;
use crate::dialect::{Dialect, mcp};
use crate::effect::{Effect, Observation};
use crate::event::{EventKind, Severity, shortened};
use crate::exchange::RequestProgress;
use crate::exchange::replay::Given;
use crate::head::{Request, RequestHead, is_utf8};
use crate::id::TraceContext;
use crate::policy::{Hook, Shared};
use crate::route::{Endpoint, Route, RouteAction};
use crate::wire::encoding::{Decoder, Encoding, READABLE};

pub(super) use self::answer::{error, local_answer, refused};
pub(super) use self::body::{read, read_again, unreadable_calls};
pub(super) use self::hooks::{ask, drop_body, forget_body, may_change, unsayable};

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
    /// No policy wants to see any of it, nor of its response.
    Unread,
    /// More of it has to come.
    Reading(Reading),
    /// A hook waits.
    Asking(Asking),
    /// The hooks have let it pass, and its calls are to be decided; whether a policy rewrote it, and what one answers.
    Calls { is_rewritten: bool, given: Option<Given> },
    /// The hooks have let it pass, and a policy answers it.
    Given(Given),
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
    /// What a policy answers, once the others have let the request pass.
    given: Option<Given>,
    changed: bool,
}

/// Looks at the head.
pub(super) fn begin(shared: &Shared, head: &RequestHead<'_>, end: bool) -> Step {
    let chain = &shared.chain;
    let route = if end {
        chain.routes.find_bodiless(&chain.targets, head.method, head.path)
    } else {
        chain.routes.find(&chain.targets, head.method, head.path)
    };
    let mut caller: Caller = head.caller.cloned().unwrap_or_default();
    caller.name_user(read_user(head.policy_user), &chain.identity);
    shared.request.with(|request| {
        *request = Rc::new(Request {
            endpoint: (route.action != RouteAction::Allow).then_some(route.endpoint),
            dialect: match route {
                Route { endpoint: Endpoint::Dialect(dialect), action: RouteAction::Govern } => Some(dialect),
                _ => None,
            },
            path: String::from_utf8_lossy(head.path).into(),
            trace: TraceContext::parse(head.traceparent),
            policy_user: caller.policy_user.clone(),
            ..Request::default()
        });
    });
    shared.caller.with(|known| *known = Rc::new(caller));
    let endpoint = route.endpoint;
    if !chain.is_linked {
        return refuse(
            shared,
            endpoint,
            400,
            "project_not_linked",
            "Project is not linked to a policy.",
            describe(head, endpoint),
        );
    }
    match route.action {
        RouteAction::Allow => {
            pass(shared, head, endpoint);
            return Step::Ungoverned;
        }
        RouteAction::Block => return block(shared, head, endpoint),
        RouteAction::Govern => {}
    }
    if !shared.interests().reads_request() && chain.routes.stored_input != RouteAction::Block {
        return Step::Unread;
    }
    let limits = chain.limits;
    let Ok(encoding) = Encoding::parse(head.content_encoding) else {
        let message = format!(
            "The request body has a content-encoding that cannot be read here; send it unencoded, or as one of {READABLE}."
        );
        return unreadable(shared, endpoint, 415, "request_encoding", &message);
    };
    if !is_utf8(head.content_type) {
        let message = "The request body has a charset that cannot be read here; send it as UTF-8.";
        return unreadable(shared, endpoint, 415, "request_charset", message);
    }
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
    if end { finish_reading(shared, None, reading) } else { Step::Reading(reading) }
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
        // There is nothing to be checked, and that a dialect is no target is plain to see.
        Endpoint::Models | Endpoint::Preflight | Endpoint::Dialect(_) => ("route_allowed", Severity::Info),
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

fn read_user(value: &[u8]) -> Option<String> {
    let value = value.get(..MAX_USER_BYTES.min(value.len()))?;
    (!value.is_empty()).then(|| String::from_utf8_lossy(value).into_owned())
}
