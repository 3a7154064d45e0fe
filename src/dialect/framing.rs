//! Writing events: what both dialects share.

use super::again::FoundText;
use crate::wire::sse::{self, take_line};

/// Said in place of content when nothing else would be left of a message.
pub(crate) const WITHHELD: &str = "This content was withheld by policy.";

/// Said in place of a response that could not be checked, or not to its end.
pub(crate) const RESPONSE_WITHHELD: &str = "The provider's response was withheld: it could not be checked by policy.";

/// Keeps events of Weir's own apart from an event of the upstream that lacks the blank line at its end.
#[derive(Debug, Default)]
pub(super) struct EventBoundary {
    missing: &'static str,
}

impl EventBoundary {
    /// Writes an upstream's event as it came.
    pub(super) fn verbatim(&mut self, raw: &[u8], out: &mut Vec<u8>) {
        self.close(out);
        out.extend_from_slice(raw);
        self.missing = missing_line_ends(raw);
    }

    /// Writes the event `raw` with `data` in place of its own; the other lines stay.
    pub(super) fn with_data(&mut self, raw: &[u8], data: &[u8], out: &mut Vec<u8>) {
        self.close(out);
        let mut unread = raw;
        let mut written = false;
        while !unread.is_empty() {
            let (line, line_end) = take_line(&mut unread);
            let is_data = line.strip_prefix(b"data").is_some_and(|rest| rest.is_empty() || rest.starts_with(b":"));
            if !is_data {
                out.extend_from_slice(line);
                out.extend_from_slice(line_end);
            } else if !core::mem::replace(&mut written, true) {
                let line_end: &[u8] = if line_end.is_empty() { b"\n" } else { line_end };
                for part in data.split(|byte| matches!(byte, b'\n' | b'\r')) {
                    out.extend_from_slice(b"data: ");
                    out.extend_from_slice(part);
                    out.extend_from_slice(line_end);
                }
            }
        }
        self.missing = missing_line_ends(raw);
    }

    /// Writes an upstream's event with `text` in place of its own.
    pub(super) fn replaced(&mut self, raw: &[u8], own: &FoundText, text: &str, out: &mut Vec<u8>) {
        self.close(out);
        own.write(raw, text, out);
        self.missing = missing_line_ends(raw);
    }

    /// To be called before an event of Weir's own is written.
    pub(super) fn close(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(core::mem::take(&mut self.missing).as_bytes());
    }
}

/// What an event lacks to be complete.
fn missing_line_ends(raw: &[u8]) -> &'static str {
    let Some(rest) = strip_line_end(raw) else {
        return if raw.is_empty() { "" } else { "\n\n" };
    };
    if rest.is_empty() || strip_line_end(rest).is_some() { "" } else { "\n" }
}

fn strip_line_end(bytes: &[u8]) -> Option<&[u8]> {
    bytes.strip_suffix(b"\r\n").or_else(|| bytes.strip_suffix(b"\n")).or_else(|| bytes.strip_suffix(b"\r"))
}

/// Calls `then` with the data of the event `raw`.
pub(super) fn with_data(raw: &[u8], then: impl FnOnce(&[u8])) {
    let mut parser = sse::Parser::new(usize::MAX);
    let mut input = raw;
    while let Ok(Some(event)) = parser.next(&mut input) {
        if let Some(data) = event.data {
            return then(data);
        }
    }
    if let Some(data) = parser.finish().and_then(|event| event.data) {
        then(data);
    }
}
