//! The heads of requests and responses, and what policies see of them.

use std::rc::Rc;

use crate::caller::Caller;
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
    /// The header that names the user ([`Identity`](crate::caller::Identity)), `x-policy-user` unless the document names
    /// another; empty if absent.
    pub policy_user: &'a [u8],
    /// The header that names the session ([`Rollout`](crate::rollout::Rollout)), empty if absent.
    pub session: &'a [u8],
    /// `accept`, empty if absent.
    pub accept: &'a [u8],
    /// `mcp-protocol-version`, empty if absent.
    pub mcp_protocol_version: &'a [u8],
    /// `mcp-method`, empty if absent.
    pub mcp_method: &'a [u8],
    /// `mcp-name`, empty if absent.
    pub mcp_name: &'a [u8],
    /// What the host knows of the caller.
    pub caller: Option<&'a Caller>,
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

/// What the charset that a content type names means for who reads the body as UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Charset {
    /// None is named, or UTF-8.
    Utf8,
    /// One in which the characters of ASCII are the bytes that they are in UTF-8, or UTF-8 in a spelling that not everyone
    /// knows: without that name everyone reads UTF-8.
    Ascii,
    /// Any other: what is text to its readers is another text to those of UTF-8.
    Other,
}

impl Charset {
    /// Reads the charset of a content type; of several, and of several content types, that which is furthest from UTF-8.
    pub(crate) fn read(content_type: &[u8]) -> Self {
        let content_type = content_type.to_ascii_lowercase();
        let parameters = content_type.split(|byte| matches!(byte, b';' | b','));
        parameters.map(Self::read_parameter).max().unwrap_or(Self::Utf8)
    }

    fn read_parameter(parameter: &[u8]) -> Self {
        let parameter = parameter.trim_ascii();
        if is_utf8(parameter) {
            return Self::Utf8;
        }
        let mut sides = parameter.splitn(2, |byte| *byte == b'=').map(<[u8]>::trim_ascii);
        let (Some(b"charset"), Some(value)) = (sides.next(), sides.next()) else { return Self::Other };
        let quotes = |byte: &u8| matches!(byte, b'"' | b'\'');
        let name: Vec<u8> = value.iter().copied().filter(|byte| !quotes(byte)).collect();
        match name.as_slice() {
            b"" | b"utf-8" | b"utf8" | b"us-ascii" | b"ascii" | b"ansi_x3.4-1968" | b"latin1" | b"latin-1" | b"l1" => Self::Ascii,
            name => {
                let families: [&[u8]; 5] = [b"iso-8859-", b"iso8859-", b"iso_8859-", b"windows-125", b"cp125"];
                let number = families.iter().find_map(|family| name.strip_prefix(*family)).unwrap_or_default();
                let is_number = (1..=2).contains(&number.len()) && number.iter().all(u8::is_ascii_digit);
                if is_number { Self::Ascii } else { Self::Other }
            }
        }
    }
}

/// A content type without its parameters; of several, all. `None` where it is no text.
pub(crate) fn media_type(content_type: &[u8]) -> Option<String> {
    let types = content_type.split(|byte| *byte == b',').map(|one| {
        let media_type = one.split(|byte| *byte == b';').next().unwrap_or_default();
        core::str::from_utf8(media_type).map(str::trim)
    });
    types.collect::<Result<Vec<_>, _>>().ok().map(|types| types.join(", "))
}

/// Whether a `content-type` says that an event stream follows.
pub(crate) fn is_event_stream(content_type: &[u8]) -> bool {
    let media_type = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    media_type.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
}

/// A request, as policies see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The endpoint that it is for; `None` when the request is not governed.
    pub endpoint: Option<Endpoint>,
    /// The wire format of request and response; `None` when the response is not governed.
    pub dialect: Option<Dialect>,
    /// Where it goes: `:path`, with its query.
    pub path: Rc<str>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charset_is_utf_8_or_one_that_has_ascii_in_it_or_another() {
        for (content_type, charset) in [
            ("", Charset::Utf8),
            ("text/event-stream", Charset::Utf8),
            ("text/event-stream; charset=utf-8", Charset::Utf8),
            ("text/event-stream;Charset=\"UTF-8\"; q=1", Charset::Utf8),
            ("text/event-stream; charset = utf-8", Charset::Ascii),
            ("text/event-stream; charset='utf-8'", Charset::Ascii),
            ("application/json; charset=us-ascii", Charset::Ascii),
            ("application/json; charset=ISO-8859-1", Charset::Ascii),
            ("application/json; charset=windows-1252", Charset::Ascii),
            ("application/json; charset=", Charset::Ascii),
            ("application/json; charset=utf-8, text/json; charset=latin1", Charset::Ascii),
            ("application/json; charset=utf-16le", Charset::Other),
            ("application/json; charset=iso-8859-x", Charset::Other),
            ("application/json; charset=utf-7", Charset::Other),
            ("application/json; charset*=''utf-8", Charset::Other),
            ("application/json; charset=utf-8; charset=utf-16", Charset::Other),
            ("application/json, text/json; charset=shift_jis", Charset::Other),
            ("application/json; x=charset", Charset::Other),
        ] {
            assert_eq!(Charset::read(content_type.as_bytes()), charset, "{content_type}");
        }
    }

    #[test]
    fn a_media_type_has_no_parameters() {
        assert_eq!(media_type(b"text/event-stream ; charset=us-ascii").as_deref(), Some("text/event-stream"));
        assert_eq!(media_type(b"application/json;a=b,text/json;c=d").as_deref(), Some("application/json, text/json"));
        assert_eq!(media_type(b"\xff; charset=us-ascii"), None);
    }
}
