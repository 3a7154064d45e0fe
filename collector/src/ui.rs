//! The activity page, built into the binary: no file to lose, no other host to ask.

use axum::Router;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;

use crate::app::Collector;

/// Scripts and styles come from this collector only and none stands inside the page; and even its own script cannot
/// turn text into markup. So what an event says can never run.
pub(crate) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// What shows events.
pub(crate) fn routes() -> Router<Collector> {
    Router::new()
        .route("/", get(async || Redirect::to("/ui/activity/live")))
        .route("/ui/activity/live", get(async || html(include_str!("ui/index.html"))))
        .route("/ui/activity/activity.mjs", get(async || script(include_str!("ui/activity.mjs"))))
        .route("/ui/activity/rows.mjs", get(async || script(include_str!("ui/rows.mjs"))))
        .route("/ui/activity/changes.mjs", get(async || script(include_str!("ui/changes.mjs"))))
        .route("/ui/activity/text.mjs", get(async || script(include_str!("ui/text.mjs"))))
        .route("/ui/activity/summary.mjs", get(async || script(include_str!("ui/summary.mjs"))))
        .route("/ui/activity/uplot.js", get(async || script(include_str!("ui/vendor/uplot/uPlot.iife.min.js"))))
        .route("/ui/activity/uplot.css", get(async || style(include_str!("ui/vendor/uplot/uPlot.min.css"))))
        .route("/ui/activity/feed.mjs", get(async || script(include_str!("ui/feed.mjs"))))
}

/// What the sign-in page needs, too.
pub(crate) fn public_routes() -> Router<Collector> {
    Router::new()
        .route("/ui/activity/activity.css", get(async || style(include_str!("ui/activity.css"))))
        .route("/ui/activity/icon.svg", get(async || image(include_str!("ui/icon.svg"))))
}

type File = ([(HeaderName, &'static str); 1], &'static str);

fn html(text: &'static str) -> impl IntoResponse {
    file("text/html; charset=utf-8", text)
}

fn script(text: &'static str) -> impl IntoResponse {
    file("text/javascript; charset=utf-8", text)
}

fn style(text: &'static str) -> impl IntoResponse {
    file("text/css; charset=utf-8", text)
}

fn image(text: &'static str) -> impl IntoResponse {
    file("image/svg+xml", text)
}

fn file(content_type: &'static str, text: &'static str) -> File {
    ([(header::CONTENT_TYPE, content_type)], text)
}
