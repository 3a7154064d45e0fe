//! Who may read events and who may send them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header, uri::Authority};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use subtle::ConstantTimeEq;

use crate::app::{Collector, problem};

/// The cookie that stands for the token once the page has been opened with it.
const COOKIE: &str = "weir_token";

/// What a request must show.
#[derive(Clone, Debug)]
pub enum Access {
    /// The token.
    Token(Token),
    /// Nothing, because only this machine reaches the collector. Readers must then ask for it by a loopback name, or
    /// any web page could read events through a host name of its own that resolves to this machine.
    Loopback,
    /// Nothing.
    Open,
}

/// A shared secret that fits into a header, a cookie and a query.
#[derive(Clone)]
pub struct Token(String);

impl FromStr for Token {
    type Err = InvalidToken;

    fn from_str(token: &str) -> Result<Self, Self::Err> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        if (16..=512).contains(&token.len()) && token.bytes().all(fits) { Ok(Self(token.to_owned())) } else { Err(InvalidToken) }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// Compares in a time that tells nothing about the token.
    fn is(&self, shown: &str) -> bool {
        bool::from(self.0.as_bytes().ct_eq(shown.as_bytes()))
    }
}

/// A text cannot be a [`Token`].
#[derive(Debug, PartialEq, Eq)]
pub struct InvalidToken;

impl fmt::Display for InvalidToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a token has 16 to 512 characters out of A-Z a-z 0-9 - . _ ~ + / =; `openssl rand -hex 32` makes one")
    }
}

impl std::error::Error for InvalidToken {}

/// Lets a request pass that may read and send events.
pub(crate) async fn require(State(collector): State<Collector>, request: Request, next: Next) -> Response {
    match collector.access() {
        Access::Open => next.run(request).await,
        Access::Loopback => {
            if is_read(request.method()) && !names_loopback(request.uri(), request.headers()) {
                return problem(
                    StatusCode::FORBIDDEN,
                    "this collector has no token and answers readers on this machine only: open it as localhost or 127.0.0.1",
                );
            }
            next.run(request).await
        }
        Access::Token(token) => {
            if bearer(request.headers()).is_some_and(|shown| token.is(shown)) {
                return next.run(request).await;
            }
            // The cookie comes with every request that a browser makes, whoever wrote the page: it may only read.
            if is_read(request.method()) && cookie(request.headers()).is_some_and(|shown| token.is(shown)) {
                return next.run(request).await;
            }
            if let Some(entered) = token_in_query(token, &request) {
                return entered;
            }
            let mut refusal = problem(
                StatusCode::UNAUTHORIZED,
                "a token is needed: send `authorization: Bearer <token>`, or open the page with ?token=<token>",
            );
            refusal.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
            refusal
        }
    }
}

/// Turns a right `?token=` into the cookie and sends the browser to the address without it, so that the token stays
/// neither in the address bar nor in the history.
fn token_in_query(token: &Token, request: &Request) -> Option<Response> {
    #[derive(Deserialize)]
    struct Entry {
        token: String,
    }
    if request.method() != Method::GET || !request.uri().path().starts_with("/ui/") {
        return None;
    }
    let Query(entry) = Query::<Entry>::try_from_uri(request.uri()).ok()?;
    if !token.is(&entry.token) {
        return None;
    }
    let cookie = format!("{COOKIE}={}; Path=/; HttpOnly; SameSite=Lax; Max-Age=2592000", token.0);
    Some(([(header::SET_COOKIE, cookie)], Redirect::to(request.uri().path())).into_response())
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .into_iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE).then_some(value))
}

fn names_loopback(uri: &Uri, headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).and_then(|host| host.parse().ok());
    let Some(authority) = host.or_else(|| uri.authority().cloned()) else {
        return false;
    };
    let name = Authority::host(&authority).trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
