//! Characters that readers take differently: line ends that are none in an event stream, and halves of surrogate pairs.

use memchr::{memchr, memchr2};

use crate::wire::scan::skip_unescaped_ascii;

/// Whether JSON of an event has nothing in it that readers take differently: no line separator as it is, and no escape of
/// half a surrogate pair.
pub(in crate::dialect) fn is_clear(json: &[u8]) -> bool {
    let rest = skip_unescaped_ascii(json);
    rest.is_empty() || (!has_line_separator(rest) && !has_lone_surrogate(rest))
}

/// Whether U+0085, U+2028 or U+2029 stands in it, at which some readers split lines.
fn has_line_separator(bytes: &[u8]) -> bool {
    let mut unread = bytes;
    while let Some((_, from)) = memchr2(0xC2, 0xE2, unread).and_then(|at| unread.split_at_checked(at)) {
        if line_separator(from).is_some() {
            return true;
        }
        unread = from.get(1..).unwrap_or_default();
    }
    false
}

/// The line separator that `bytes` begin with: as an escape, and its length.
fn line_separator(bytes: &[u8]) -> Option<(&'static str, usize)> {
    match bytes {
        [0xC2, 0x85, ..] => Some(("\\u0085", 2)),
        [0xE2, 0x80, 0xA8, ..] => Some(("\\u2028", 3)),
        [0xE2, 0x80, 0xA9, ..] => Some(("\\u2029", 3)),
        _ => None,
    }
}

/// Whether half a surrogate pair is escaped in it.
pub(super) fn has_lone_surrogate(json: &[u8]) -> bool {
    let mut unread = json;
    while let Some((_, from)) = memchr(b'\\', unread).and_then(|at| unread.split_at_checked(at)) {
        match Escape::at(from) {
            Escape::Lone(_) => return true,
            Escape::Other(length) => unread = from.get(length..).unwrap_or_default(),
        }
    }
    false
}

/// An escape in JSON, with its length.
enum Escape {
    /// Half a surrogate pair.
    Lone(usize),
    Other(usize),
}

impl Escape {
    /// The one that `bytes` begin with.
    fn at(bytes: &[u8]) -> Self {
        match code_unit(bytes) {
            None => Self::Other(2),
            Some(0xD800..=0xDBFF) => match code_unit(bytes.get(6..).unwrap_or_default()) {
                Some(0xDC00..=0xDFFF) => Self::Other(12),
                _ => Self::Lone(6),
            },
            Some(0xDC00..=0xDFFF) => Self::Lone(6),
            Some(_) => Self::Other(6),
        }
    }
}

fn code_unit(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.strip_prefix(b"\\u")?.get(..4)?;
    u32::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()
}

/// Appends `json` with line separators as escapes, and half a surrogate pair as the sign for what cannot be shown.
pub(super) fn push_clear(json: &str, out: &mut String) {
    let mut unread = json;
    while let Some(at) = unread.bytes().position(|byte| matches!(byte, b'\\' | 0xC2 | 0xE2)) {
        let (plain, from) = unread.split_at_checked(at).unwrap_or((unread, ""));
        out.push_str(plain);
        let (written, length) = match (line_separator(from.as_bytes()), from.starts_with('\\')) {
            (Some((escape, length)), _) => (escape, length),
            (None, true) => match Escape::at(from.as_bytes()) {
                Escape::Lone(length) => ("\\ufffd", length),
                Escape::Other(length) => (from.get(..length).unwrap_or(from), length),
            },
            (None, false) => {
                let length = from.chars().next().map_or(1, char::len_utf8);
                (from.get(..length).unwrap_or(from), length)
            }
        };
        out.push_str(written);
        unread = from.get(length..).unwrap_or_default();
    }
    out.push_str(unread);
}
