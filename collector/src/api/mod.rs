//! What readers ask for: history in pages, one call, counts over a range, exports, senders, settings.

mod events;
mod export;
mod openapi;
mod overview;
mod page;

use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use crate::app::problem;
use crate::query::Query;

pub(crate) use self::events::{get_call, get_events};
pub(crate) use self::export::get_export;
pub(crate) use self::openapi::get_openapi;
pub(crate) use self::overview::{get_senders, get_settings, get_status, get_summary, put_settings};

/// What part of the history is asked for.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Selection {
    q: Option<String>,
    /// Arrived at or after, in milliseconds since 1970.
    from: Option<u64>,
    /// Arrived before.
    to: Option<u64>,
}

impl Selection {
    fn query(&self) -> Result<Query, Box<Response>> {
        let text = self.q.as_deref().unwrap_or_default();
        text.parse().map_err(|error| Box::new(problem(StatusCode::BAD_REQUEST, &format!("q: {error}"))))
    }
}
