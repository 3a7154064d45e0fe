//! The plain form of events whose data is open, as that of MCP is: what is in it is for the decoder alone, and only lines
//! and characters that readers take differently are put right.

use super::text::{has_lone_surrogate, is_clear, push_clear};
use super::{BYTE_ORDER_MARK, write};
use crate::dialect::{DecodeError, decoding};
use crate::wire::json::Reader;
use crate::wire::sse;

/// Whether every reader takes the event for the same.
pub(super) fn is_plain(event: &sse::Event<'_>) -> bool {
    event.is_plain && event.data.is_none_or(|data| is_clear(data) && core::str::from_utf8(data).is_ok())
}

/// Writes all that the event says as plain events, one for each value of JSON.
pub(super) fn write(event: &sse::Event<'_>, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    let Some(data) = event.data.filter(|data| !data.is_empty()) else {
        write::without_data(event, out);
        return Ok(());
    };
    let mut clear = String::new();
    push_clear(decoding::utf8(data)?, &mut clear);
    let is_blank = |character: char| character.is_whitespace() || character == BYTE_ORDER_MARK;
    let fields = write::Fields::of(event.raw);
    let mut unread = clear.trim_matches(is_blank);
    let mut is_first = true;
    while !unread.is_empty() {
        let mut reader = Reader::new(unread);
        // What is no JSON is one text to its end.
        let length = reader.skip().map_or(unread.len(), |()| reader.position());
        let (value, rest) = unread.split_at_checked(length).unwrap_or((unread, ""));
        unread = rest.trim_start_matches(is_blank);
        fields.write(event.name, value.replace(['\n', '\r'], " ").as_bytes(), is_first, out);
        is_first = false;
    }
    Ok(())
}

/// A whole body without what readers take differently; `None` if it has nothing of it.
pub(super) fn body(body: &[u8]) -> Option<Vec<u8>> {
    let text = core::str::from_utf8(body).ok().filter(|text| has_lone_surrogate(text.as_bytes()))?;
    let mut clear = String::with_capacity(text.len());
    push_clear(text, &mut clear);
    Some(clear.into_bytes())
}
