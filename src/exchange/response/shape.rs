//! Whether a response is a stream of events or one body: told by its first bytes, whatever its head says.
//!
//! Clients differ in whether they heed the content type. What is JSON to one of them is an event stream without data to
//! another, so that a body is read as what it is: no JSON begins like an event, and no event begins like an answer.

use crate::exchange::release_queue::Shape;

/// May stand before either.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// What the head says about the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announced {
    Stream,
    Whole,
    /// There is no content type.
    Nothing,
    /// A content type that is neither, or several that differ.
    Other,
}

impl Announced {
    /// Reads a content type; several of them are separated by commas.
    pub(super) fn read(content_type: &[u8]) -> Self {
        let mut values = content_type.split(|byte| *byte == b',').map(Self::read_one);
        let first = values.next().unwrap_or(Self::Nothing);
        if values.all(|value| value == first) { first } else { Self::Other }
    }

    fn read_one(content_type: &[u8]) -> Self {
        let media_type = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
        match media_type.as_slice() {
            b"" => Self::Nothing,
            b"text/event-stream" => Self::Stream,
            b"application/json" | b"text/json" => Self::Whole,
            media_type if media_type.ends_with(b"+json") => Self::Whole,
            _ => Self::Other,
        }
    }

    /// How the body is taken as long as its first bytes say nothing, and how the client takes an answer of Weir's own once
    /// the head has left: a stream is one only to a client that may have asked for it, or that is sure to have.
    pub(super) const fn shape(self, may_be_asked_for: bool, is_asked_for: bool) -> Shape {
        match self {
            Self::Stream if may_be_asked_for => Shape::Stream,
            Self::Nothing if is_asked_for => Shape::Stream,
            _ => Shape::Whole,
        }
    }
}

/// What the first bytes of a body tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// Nothing yet.
    Open,
    /// Of an event stream.
    Event,
    /// Of an object or an array.
    Json,
    /// Of anything else.
    Neither,
}

impl Beginning {
    /// Looks at the first bytes of a body, decoded.
    pub(super) fn of(body: &[u8]) -> Self {
        if body.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(body) {
            return Self::Open;
        }
        match body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body).trim_ascii_start() {
            [] => Self::Open,
            [b'{' | b'[', ..] => Self::Json,
            [b':', ..] => Self::Event,
            rest => Self::of_field(rest),
        }
    }

    fn of_field(line: &[u8]) -> Self {
        let mut beginning = Self::Neither;
        for field in [b"data".as_slice(), b"event", b"id", b"retry"] {
            match line.strip_prefix(field) {
                Some([b':' | b'\n' | b'\r', ..]) => return Self::Event,
                Some([]) => beginning = Self::Open,
                None if field.starts_with(line) => beginning = Self::Open,
                Some(_) | None => {}
            }
        }
        beginning
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_type_announces_a_stream_json_or_neither() {
        for (content_type, announced) in [
            ("", Announced::Nothing),
            (" ; charset=utf-8", Announced::Nothing),
            ("text/event-stream", Announced::Stream),
            ("Text/Event-Stream; charset=utf-8", Announced::Stream),
            ("text/event-stream, text/event-stream", Announced::Stream),
            ("application/json", Announced::Whole),
            ("text/json", Announced::Whole),
            ("application/problem+json;charset=utf-8", Announced::Whole),
            ("application/json,text/json", Announced::Whole),
            ("application/json, text/event-stream", Announced::Other),
            ("application/x-ndjson", Announced::Other),
            ("text/html", Announced::Other),
        ] {
            assert_eq!(Announced::read(content_type.as_bytes()), announced, "{content_type}");
        }
    }

    #[test]
    fn the_first_bytes_tell_a_stream_from_json_wherever_they_are_split() {
        for (body, beginning) in [
            ("{\"a\":1}", Beginning::Json),
            (" \r\n\t[1]", Beginning::Json),
            ("\u{feff}\n{}", Beginning::Json),
            ("data: x", Beginning::Event),
            ("\u{feff}data:x", Beginning::Event),
            ("\n\nevent: x", Beginning::Event),
            (": waiting", Beginning::Event),
            ("id\ndata: x", Beginning::Event),
            ("retry: 3", Beginning::Event),
            ("", Beginning::Open),
            ("\u{feff} \r\n", Beginning::Open),
            ("dat", Beginning::Open),
            ("event", Beginning::Open),
            ("null", Beginning::Neither),
            ("received: x", Beginning::Neither),
            ("data x", Beginning::Neither),
            ("identity", Beginning::Neither),
            ("Data: x", Beginning::Neither),
            ("<html>", Beginning::Neither),
            ("\u{fffd}", Beginning::Neither),
        ] {
            for end in 0..body.len() {
                let early = Beginning::of(&body.as_bytes()[..end]);
                assert!(early == Beginning::Open || early == beginning, "{body:?} up to {end}: {early:?}");
            }
            assert_eq!(Beginning::of(body.as_bytes()), beginning, "{body:?}");
        }
    }
}
