//! Paths and what they are compared with.

use serde::{Deserialize, Deserializer};

use crate::document::read_text;

/// Whether the case of letters counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    Exact,
    Ignored,
}

/// A path in which `*` stands for one segment and `/**`, at the end, for all that is below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern(String);

impl PathPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When no path as servers understand it could match, with what is wrong.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let Some(segments) = pattern.strip_prefix('/') else { return Err("a path must begin with a slash".to_owned()) };
        if !is_plain(pattern) {
            return Err("a path must be written plainly: no query, %, ;, \\, space, // or dot segment".to_owned());
        }
        let mut segments = segments.split('/').peekable();
        while let Some(segment) = segments.next() {
            let is_wildcard = segment == "*" || (segment == "**" && segments.peek().is_none());
            if segment.is_empty() {
                return Err("a path must not end in a slash".to_owned());
            } else if segment.contains('*') && !is_wildcard {
                return Err("in a path * must be a whole segment, and ** the last one".to_owned());
            }
        }
        Ok(Self(pattern.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for PathPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_text(deserializer, Self::new)
    }
}

/// Whether `path` is one that `pattern` stands for.
pub(super) fn matches(pattern: &str, path: &str, case: Case) -> bool {
    strip(pattern, path, case) == Some("")
}

/// What is left of `path` behind that which `pattern` stands for; `None` if it does not begin so.
pub(super) fn strip<'p>(pattern: &str, path: &'p str, case: Case) -> Option<&'p str> {
    let mut rest = path;
    for wanted in pattern.split('/').skip(1) {
        let segments = rest.strip_prefix('/')?;
        let (segment, after) = segments.split_at_checked(segments.find('/').unwrap_or(segments.len()))?;
        let is_met = match (wanted, case) {
            ("*" | "**", _) => !segment.is_empty(),
            (_, Case::Exact) => wanted == segment,
            (_, Case::Ignored) => wanted.eq_ignore_ascii_case(segment),
        };
        if !is_met {
            return None;
        }
        rest = if wanted == "**" { "" } else { after };
    }
    Some(rest)
}

/// The path as it is written, without its query; `None` if servers differ in what they make of it.
pub(super) fn written(path: &[u8]) -> Option<&str> {
    let path = path.split(|byte| *byte == b'?').next()?;
    core::str::from_utf8(path).ok().filter(|path| is_plain(path))
}

/// Some servers cut `;…` off a segment before they resolve `..`, others take `\` for `/`.
fn is_plain(path: &str) -> bool {
    let has_dots = path.split('/').any(|segment| segment == "." || segment == "..");
    let is_odd = |byte: u8| matches!(byte, b'%' | b';' | b'\\' | b'?' | b'#' | b' ') || byte.is_ascii_control();
    !has_dots && !path.bytes().any(is_odd) && !path.contains("//")
}

/// How often servers behind one another may decode a path.
const MAX_DECODINGS: usize = 8;

/// The path as the most lenient of servers reads it: without query, percent-decoded however often, without parameters behind
/// `;`, dot segments and what some take off the end of a segment (dots, blanks), with single slashes and none at its end.
pub(super) fn normalize(path: &[u8]) -> String {
    let path = path.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default();
    let mut decoded = path.to_vec();
    for _ in 0..MAX_DECODINGS {
        let again = decode(&decoded);
        if again == decoded {
            break;
        }
        decoded = again;
    }
    let mut segments: Vec<&[u8]> = Vec::new();
    for segment in decoded.split(|byte| matches!(byte, b'/' | b'\\')) {
        let segment = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        match segment {
            b".." => drop(segments.pop()),
            segment => segments.extend(Some(trim(segment)).filter(|segment| !segment.is_empty())),
        }
    }
    format!("/{}", String::from_utf8_lossy(&segments.join(&b'/')))
}

/// A segment without the dots and blanks at its end.
fn trim(segment: &[u8]) -> &[u8] {
    let is_taken_off = |byte: &u8| *byte == b'.' || *byte <= b' ';
    let length = segment.iter().rposition(|byte| !is_taken_off(byte)).map_or(0, |last| last.saturating_add(1));
    segment.get(..length).unwrap_or_default()
}

fn decode(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, after)) = take_byte(rest) {
        rest = after;
        decoded.push(byte);
    }
    decoded
}

/// The first byte, percent-decoded, and what follows it.
fn take_byte(path: &[u8]) -> Option<(u8, &[u8])> {
    if let [b'%', high, low, after @ ..] = path
        && let (Some(high), Some(low)) = (hex_digit(*high), hex_digit(*low))
    {
        return Some(((high << 4) | low, after));
    }
    path.split_first().map(|(byte, after)| (*byte, after))
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}
