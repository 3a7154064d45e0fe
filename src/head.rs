//! The heads of requests and responses, and what policies see of them.

use crate::dialect::request::{RequestPart, RequestRewrite, parts};
use crate::dialect::{DecodeError, Dialect};
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
    /// `accept`, empty if absent.
    pub accept: &'a [u8],
    /// `mcp-protocol-version`, empty if absent.
    pub mcp_protocol_version: &'a [u8],
    /// `mcp-method`, empty if absent.
    pub mcp_method: &'a [u8],
    /// `mcp-name`, empty if absent.
    pub mcp_name: &'a [u8],
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

/// Whether a body with this `content-type` is read as UTF-8 by everyone: there are readers that take the charset that it
/// names, however it is written, and see another text then.
pub(crate) fn is_utf8(content_type: &[u8]) -> bool {
    content_type.to_ascii_lowercase().split(|byte| *byte == b';').all(|parameter| {
        let names_charset = parameter.windows(b"charset".len()).any(|word| word == b"charset");
        !names_charset || matches!(parameter.trim_ascii(), b"charset=utf-8" | b"charset=utf8" | b"charset=\"utf-8\"")
    })
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

impl Request {
    /// The texts of the body, in its order. Policies that read them say so ([`Interests`](crate::policy::Interests)):
    /// then a request whose texts cannot be read is refused before any policy sees it.
    ///
    /// # Errors
    /// When readers could take the texts differently, or there are too many.
    pub fn parts(&self) -> Result<Vec<RequestPart<'_>>, DecodeError> {
        // Of MCP the calls are governed, not the texts of what asks for them.
        if self.dialect == Some(Dialect::McpTool) { Ok(Vec::new()) } else { parts::read(&self.body) }
    }

    /// Begins a body in which some texts are others, for [`RequestAction::SendRequestBody`](crate::policy::RequestAction).
    pub fn rewrite(&self) -> RequestRewrite<'_> {
        RequestRewrite::new(&self.body)
    }
}

/// A non-streamed response, as policies see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// The JSON body.
    pub body: Vec<u8>,
}
