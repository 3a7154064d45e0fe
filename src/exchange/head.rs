//! The heads of requests and responses, and what policies see of them.

use crate::dialect::Dialect;
use crate::id::TraceContext;
use crate::route::Endpoint;

/// The request head, as far as the engine needs it. Values are bytes: a client may send any.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestHead<'a> {
    /// `:method`
    pub method: &'a [u8],
    /// `:path`, with its query.
    pub path: &'a [u8],
    /// `content-type`, empty if absent.
    pub content_type: &'a [u8],
    /// `content-encoding`, empty if absent.
    pub content_encoding: &'a [u8],
    /// `content-length`, if there is one.
    pub content_length: Option<u64>,
    /// `traceparent`, empty if absent.
    pub traceparent: &'a [u8],
    /// `x-policy-user`, empty if absent.
    pub policy_user: &'a [u8],
}

/// The response head, as far as the engine needs it.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseHead<'a> {
    /// `:status`
    pub status: u16,
    /// `content-type`, empty if absent.
    pub content_type: &'a [u8],
    /// `content-encoding`, empty if absent.
    pub content_encoding: &'a [u8],
}

/// A request, as policies see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The endpoint that it is for; `None` when the request is not governed.
    pub endpoint: Option<Endpoint>,
    /// The wire format of request and response; `None` when the response is not governed.
    pub dialect: Option<Dialect>,
    /// The model that was asked for; empty when the request names none.
    pub model: String,
    /// Whether a streamed answer was asked for.
    pub stream: bool,
    /// The subject that `x-policy-user` names.
    pub policy_user: Option<String>,
    /// The caller's trace.
    pub trace: Option<TraceContext>,
    /// The body: JSON, except where the endpoint takes requests without one. Empty once `on_request` is over, unless a policy of the chain asks for it.
    pub body: Vec<u8>,
}

/// A non-streamed response, as policies see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// The JSON body.
    pub body: Vec<u8>,
}
