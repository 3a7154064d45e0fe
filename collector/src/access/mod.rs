//! Who may send events, who may read them, and who may change settings.

mod origin;
mod sessions;
mod sign_in;
mod tokens;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use crate::app::{Collector, problem};

pub(crate) use self::sessions::Sessions;
pub(crate) use self::sign_in::{get_sign_in, post_sign_in, post_sign_out};
pub use self::tokens::{InvalidToken, Role, Roles, Tokens, new_token};

/// Says what a request must show.
#[derive(Clone, Debug)]
pub enum Access {
    /// A token, or a session that was opened with one.
    Tokens(Tokens),
    /// Nothing, because only this machine reaches the collector. Requests must then ask for it by a loopback name, or
    /// any web page could read and send events through a host name of its own that resolves to this machine.
    Loopback,
    /// Nothing.
    Open,
}

/// Says what a request wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Send,
    Read,
    Change,
}

impl Need {
    fn of(request: &Request) -> Self {
        match *request.method() {
            Method::GET | Method::HEAD => Self::Read,
            _ if request.uri().path() == "/v1/events" => Self::Send,
            _ => Self::Change,
        }
    }

    fn is_met_by(self, roles: Roles) -> bool {
        match self {
            Self::Send => roles.has(Role::Ingest) || roles.has(Role::Admin),
            Self::Read => [Role::Read, Role::Operate, Role::Admin].into_iter().any(|role| roles.has(role)),
            Self::Change => roles.has(Role::Admin),
        }
    }
}

/// What a request showed.
enum Shown {
    Nothing,
    /// Something that opens nothing.
    Wrong,
    Token(Roles),
    Session(Roles),
}

/// Lets a request pass that may do what it wants.
pub(crate) async fn require(State(collector): State<Collector>, request: Request, next: Next) -> Response {
    let need = Need::of(&request);
    if let Some(message) = origin::objection(collector.access(), need != Need::Read, &request) {
        collector.metrics().count_refusal("origin");
        return problem(StatusCode::FORBIDDEN, message);
    }
    let Access::Tokens(tokens) = collector.access() else { return next.run(request).await };
    let shown = shown(&collector, tokens, request.headers()).await;
    let roles = match shown {
        Shown::Token(roles) => roles,
        // A cookie comes with every request that a browser makes, whoever wrote the page: it never sends events.
        Shown::Session(roles) if need != Need::Send => roles,
        Shown::Session(_) => {
            return refuse(&collector, StatusCode::FORBIDDEN, "session", "a session does not send events; a token does");
        }
        Shown::Nothing if need == Need::Read && request.uri().path().starts_with("/ui/") => return to_sign_in(&request),
        Shown::Nothing => return refuse(&collector, StatusCode::UNAUTHORIZED, "nothing", NEEDS_TOKEN),
        Shown::Wrong if need == Need::Read && request.uri().path().starts_with("/ui/") => return to_sign_in(&request),
        Shown::Wrong => return refuse(&collector, StatusCode::UNAUTHORIZED, "wrong", NEEDS_TOKEN),
    };
    if need.is_met_by(roles) {
        return next.run(request).await;
    }
    refuse(&collector, StatusCode::FORBIDDEN, "role", "this token has no role that allows it")
}

const NEEDS_TOKEN: &str = "a token is needed: send `authorization: Bearer <token>`, or sign in at /ui/sign-in";

async fn shown(collector: &Collector, tokens: &Tokens, headers: &HeaderMap) -> Shown {
    if let Some(token) = bearer(headers) {
        return tokens.roles(token).map_or(Shown::Wrong, Shown::Token);
    }
    let Some(id) = sessions::cookie(headers) else { return Shown::Nothing };
    match collector.sessions().roles(collector.store(), id).await {
        Some(roles) => Shown::Session(roles),
        None => Shown::Wrong,
    }
}

/// Refuses, counts it, and says so in the log now and then: a wrong token would else be seen by its owner alone.
fn refuse(collector: &Collector, status: StatusCode, why: &'static str, message: &str) -> Response {
    collector.metrics().count_refusal(why);
    if let Some(left_out) = collector.refusals().pass() {
        tracing::warn!("refused a request ({why}); {left_out} more were refused since the last such line");
    }
    let mut refusal = problem(status, message);
    if status == StatusCode::UNAUTHORIZED {
        refusal.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    refusal
}

fn to_sign_in(request: &Request) -> Response {
    let wanted = request.uri().path_and_query().map_or("/ui/activity/live", |path| path.as_str());
    let wanted: String = url_encoded(wanted);
    Redirect::to(&format!("/ui/sign-in?next={wanted}")).into_response()
}

fn url_encoded(text: &str) -> String {
    let encode = |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(encode).collect()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}
