//! The pages that open and end a session.

use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Form, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::{Access, Need, origin, sessions};
use crate::app::{Collector, problem, unavailable};
use crate::metrics::Operation;

const PAGE: &str = include_str!("../ui/sign-in.html");
const START: &str = "/ui/activity/live";

#[derive(Deserialize)]
pub(crate) struct Wanted {
    next: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Entry {
    token: String,
    next: Option<String>,
}

/// Shows the form.
pub(crate) async fn get_sign_in(query: Result<Query<Wanted>, QueryRejection>) -> Html<String> {
    page("", query.ok().and_then(|Query(wanted)| wanted.next).as_deref())
}

/// Takes a token and opens a session.
pub(crate) async fn post_sign_in(
    State(collector): State<Collector>,
    headers: HeaderMap,
    form: Result<Form<Entry>, FormRejection>,
) -> Response {
    let Access::Tokens(tokens) = collector.access() else { return Redirect::to(START).into_response() };
    let Ok(Form(Entry { token, next })) = form else { return problem(StatusCode::BAD_REQUEST, "the form has no token") };
    if let Some(message) = foreign(&collector, &headers) {
        return problem(StatusCode::FORBIDDEN, message);
    }
    let roles = tokens.roles(token.trim()).filter(|roles| Need::Read.is_met_by(*roles));
    let Some(roles) = roles else {
        collector.metrics().count_refusal("sign_in");
        if let Some(left_out) = collector.refusals().pass() {
            tracing::warn!("refused a sign-in; {left_out} more requests were refused since the last such line");
        }
        return (StatusCode::UNAUTHORIZED, page("This token does not open the page.", next.as_deref())).into_response();
    };
    match collector.sessions().open(collector.store(), roles, collector.secure()).await {
        Ok(cookie) => ([(header::SET_COOKIE, cookie)], Redirect::to(&own_page(next.as_deref()))).into_response(),
        Err(error) => unavailable(&collector, Operation::Session, &error),
    }
}

/// Ends the session.
pub(crate) async fn post_sign_out(State(collector): State<Collector>, headers: HeaderMap) -> Response {
    if let Some(message) = foreign(&collector, &headers) {
        return problem(StatusCode::FORBIDDEN, message);
    }
    let id = sessions::cookie(&headers).unwrap_or_default();
    match collector.sessions().close(collector.store(), id).await {
        Ok(cookie) => ([(header::SET_COOKIE, cookie)], Redirect::to("/ui/sign-in")).into_response(),
        Err(error) => unavailable(&collector, Operation::Session, &error),
    }
}

fn foreign(collector: &Collector, headers: &HeaderMap) -> Option<&'static str> {
    let mut request = Request::new(axum::body::Body::empty());
    *request.headers_mut() = headers.clone();
    origin::objection(collector.access(), true, &request)
}

/// A page of this collector, whatever was asked for: nobody is sent elsewhere by a link.
fn own_page(next: Option<&str>) -> String {
    let is_own = |next: &&str| next.starts_with("/ui/") && !next.contains(['\\', '\r', '\n']) && next.is_ascii();
    next.filter(is_own).unwrap_or(START).to_owned()
}

fn page(message: &str, next: Option<&str>) -> Html<String> {
    let escaped: String = own_page(next)
        .chars()
        .map(|next| match next {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '"' => "&quot;".to_owned(),
            other => other.to_string(),
        })
        .collect();
    Html(PAGE.replace("{{message}}", message).replace("{{next}}", &escaped))
}
