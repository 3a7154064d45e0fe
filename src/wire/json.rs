//! Small tools on JSON text that serde_json does not have.

mod object;
mod reader;

use std::borrow::Cow;
use std::ops::Range;
use std::{fmt, io};

use memchr::{memchr, memchr2};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::SmallVec;

pub(crate) use object::{canonical, is_unambiguous_object};
pub(crate) use reader::{Field, Form, Malformed, Reader, Value, keys, string_leaves, take_string};

/// Why a string literal has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StringError {
    /// Not a string literal at all.
    NotAString,
    /// Half of a surrogate pair: readers differ in what they make of it.
    LoneSurrogate,
}

/// The characters of a string literal that has been found valid JSON (as in a [`RawValue`]): borrowed if it has no
/// escapes, else appended to `unescaped` and `None`.
pub(crate) fn unescape<'a>(literal: &'a str, unescaped: &mut String) -> Result<Option<&'a str>, StringError> {
    let inner = literal.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or(StringError::NotAString)?;
    if memchr(b'\\', inner.as_bytes()).is_none() {
        return Ok(Some(inner));
    }
    unescape_into(inner, unescaped)?;
    Ok(None)
}

/// Appends the characters of what stands between the quotes of a string literal.
pub(crate) fn unescape_into(inner: &str, unescaped: &mut String) -> Result<(), StringError> {
    let mut rest = inner;
    while let Some((plain, escape)) = rest.split_once('\\') {
        unescaped.push_str(plain);
        let mut following = escape.chars();
        let character = match following.next().ok_or(StringError::NotAString)? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                rest = following.as_str();
                unescaped.push(take_code_point(&mut rest)?);
                continue;
            }
            literally @ ('"' | '\\' | '/') => literally,
            _ => return Err(StringError::NotAString),
        };
        unescaped.push(character);
        rest = following.as_str();
    }
    unescaped.push_str(rest);
    Ok(())
}

/// Takes the four hex digits after `\u`, and the second half of a surrogate pair.
fn take_code_point(rest: &mut &str) -> Result<char, StringError> {
    let first = take_code_unit(rest)?;
    let mut units: SmallVec<[u16; 2]> = SmallVec::new();
    units.push(first);
    if (0xD800..0xDC00).contains(&first) {
        *rest = rest.strip_prefix("\\u").ok_or(StringError::LoneSurrogate)?;
        units.push(take_code_unit(rest)?);
    }
    let mut characters = char::decode_utf16(units);
    match (characters.next(), characters.next()) {
        (Some(Ok(character)), None) => Ok(character),
        _ => Err(StringError::LoneSurrogate),
    }
}

fn take_code_unit(rest: &mut &str) -> Result<u16, StringError> {
    let (digits, after) = rest.split_at_checked(4).ok_or(StringError::NotAString)?;
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(StringError::NotAString);
    }
    *rest = after;
    u16::from_str_radix(digits, 16).map_err(|_| StringError::NotAString)
}

/// Writes `value` as JSON in which no character stands for itself at which some reader of events ends a line. Writing into
/// memory what has string keys only cannot fail.
pub(crate) fn write<T: serde::Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    let _cannot_fail = value.serialize(&mut serde_json::Serializer::with_formatter(out, OneLine));
}

/// `value` as JSON, as [`write`] writes it.
pub(crate) fn to_text<T: serde::Serialize + ?Sized>(value: &T) -> String {
    let mut out = Vec::with_capacity(128);
    write(value, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// Escapes U+0085, U+2028 and U+2029 besides what has to be.
struct OneLine;

impl serde_json::ser::Formatter for OneLine {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut unread = fragment;
        while memchr2(0xC2, 0xE2, unread.as_bytes()).is_some()
            && let Some((plain, separator)) =
                unread.find(['\u{85}', '\u{2028}', '\u{2029}']).and_then(|at| unread.split_at_checked(at))
        {
            let mut characters = separator.chars();
            let character = characters.next().map_or(0, u32::from);
            write!(writer, "{plain}\\u{character:04x}")?;
            unread = characters.as_str();
        }
        writer.write_all(unread.as_bytes())
    }
}

/// Where `part`, a slice of `frame`, stands in it.
pub(crate) fn span(source: &str, part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(source.as_ptr() as usize);
    start..start.saturating_add(part.len())
}

/// A member of an object.
#[derive(Debug, Clone)]
pub(crate) struct Member<'a> {
    /// The key, unescaped.
    pub(crate) key: Cow<'a, str>,
    /// The key as it stands in the frame.
    pub(crate) key_text: &'a str,
    /// The value as it stands in the frame.
    pub(crate) value: &'a str,
}

/// The members of the object `text`, in its order; none if it is no object.
pub(crate) fn members(text: &str) -> Vec<Member<'_>> {
    serde_json::from_str::<Members<'_>>(text).map(|members| members.0).unwrap_or_default()
}

/// The value of `key` in the object `text`, as it stands there; `None` for a missing key and for null.
pub(crate) fn member<'a>(members: &[Member<'a>], key: &str) -> Option<&'a str> {
    members.iter().find(|member| member.key == key).map(|member| member.value).filter(|value| *value != "null")
}

/// The value that `text` begins with; empty where it is none.
pub(crate) fn first_value(text: &str) -> &str {
    let mut reader = Reader::new(text);
    let end = reader.skip().map_or(0, |()| reader.position());
    text.get(..end).unwrap_or_default()
}

/// The elements of the array `text`; none if it is no array.
pub(crate) fn elements(text: &str) -> Vec<&str> {
    serde_json::from_str::<Vec<&RawValue>>(text).unwrap_or_default().into_iter().map(RawValue::get).collect()
}

/// The string `literal` unescaped; empty if it is no string.
pub(crate) fn string(literal: &str) -> Cow<'_, str> {
    let mut unescaped = String::new();
    match unescape(literal, &mut unescaped) {
        Ok(Some(borrowed)) => Cow::Borrowed(borrowed),
        Ok(None) => Cow::Owned(unescaped),
        Err(_) => Cow::Borrowed(""),
    }
}

struct Members<'a>(Vec<Member<'a>>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Members<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some((key, value)) = access.next_entry::<&'de RawValue, &'de RawValue>()? {
            members.push(Member { key: string(key.get()), key_text: key.get(), value: value.get() });
        }
        Ok(Members(members))
    }
}

/// Changes to a frame, to be applied in one go.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    edits: SmallVec<[(Range<usize>, String); 4]>,
}

impl Edits {
    /// Puts `text` in place of the bytes in `range`.
    pub(crate) fn replace(&mut self, range: Range<usize>, text: impl Into<String>) {
        // Nearly always the last: kept in order they need no sorting, which takes more of the module than all edits do.
        let position = self.edits.partition_point(|(known, _)| known.start <= range.start);
        self.edits.insert(position, (range, text.into()));
    }

    /// Puts `text` before the byte at `position`.
    pub(crate) fn insert(&mut self, position: usize, text: impl Into<String>) {
        self.replace(position..position, text);
    }

    /// Takes out the items of a comma-separated list for which `is_removed` says so, with the commas that they leave over.
    pub(crate) fn remove_items(&mut self, items: &[Range<usize>], is_removed: impl Fn(usize) -> bool) {
        let mut kept_end = None;
        for (position, item) in items.iter().enumerate() {
            if !is_removed(position) {
                kept_end = Some(item.end);
                continue;
            }
            let previous_end = position.checked_sub(1).and_then(|previous| items.get(previous)).map(|item| item.end);
            let range = match (kept_end, previous_end) {
                (Some(_), Some(previous_end)) => previous_end..item.end,
                _ => item.start..items.get(position.saturating_add(1)).map_or(item.end, |next| next.start),
            };
            self.replace(range, "");
        }
    }

    /// Whether nothing changes.
    pub(crate) fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// The only change, if there is just one.
    pub(crate) fn single(&self) -> Option<(&Range<usize>, &str)> {
        match self.edits.as_slice() {
            [(range, text)] => Some((range, text)),
            _ => None,
        }
    }

    /// Writes `frame` with all changes. A change that overlaps an earlier one is left out.
    pub(crate) fn apply(&self, source: &[u8], out: &mut Vec<u8>) {
        let mut written: usize = 0;
        for (range, text) in &self.edits {
            let Some(untouched) = source.get(written..range.start) else {
                continue;
            };
            out.extend_from_slice(untouched);
            out.extend_from_slice(text.as_bytes());
            written = range.end.max(written);
        }
        out.extend_from_slice(source.get(written..).unwrap_or_default());
    }
}

/// Finds where a JSON object that arrives in fragments closes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ObjectScanner {
    depth: u32,
    in_string: bool,
    after_backslash: bool,
    state: ScanState,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum ScanState {
    #[default]
    Before,
    Within,
    Closed,
    /// What came is no object; where it ends cannot be told.
    NotAnObject,
}

impl ObjectScanner {
    /// Goes on with the next fragment.
    pub(crate) fn feed(&mut self, fragment: &str) {
        for byte in fragment.bytes() {
            match self.state {
                ScanState::Before => match byte {
                    b'{' => {
                        self.state = ScanState::Within;
                        self.depth = 1;
                    }
                    b' ' | b'\t' | b'\r' | b'\n' => {}
                    _ => self.state = ScanState::NotAnObject,
                },
                ScanState::Within => self.scan_within(byte),
                ScanState::Closed | ScanState::NotAnObject => return,
            }
        }
    }

    /// Whether the object has closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.state == ScanState::Closed
    }

    fn scan_within(&mut self, byte: u8) {
        if self.in_string {
            if core::mem::take(&mut self.after_backslash) {
                return;
            }
            match byte {
                b'\\' => self.after_backslash = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    self.state = ScanState::Closed;
                }
            }
            _ => {}
        }
    }
}

impl Edits {
    /// Takes the members `removed` out of `object`, a slice of `frame`, and gives the members `set` these values.
    pub(crate) fn edit_object(
        &mut self,
        source: &str,
        object: &str,
        members: &[Member<'_>],
        removed: &[&str],
        set: &[(&str, String)],
    ) {
        let is_removed = |position: usize| members.get(position).is_some_and(|member| removed.contains(&member.key.as_ref()));
        let ranges: Vec<Range<usize>> =
            members.iter().map(|member| span(source, member.key_text).start..span(source, member.value).end).collect();
        self.remove_items(&ranges, is_removed);
        let mut is_last = (0..members.len()).all(is_removed);
        let start = span(source, object).start.saturating_add(1);
        // Each new member goes to the front, hence the comma behind it.
        for (key, value) in set {
            match members.iter().find(|member| member.key == *key) {
                Some(member) => self.replace(span(source, member.value), value.as_str()),
                None => {
                    let comma = if core::mem::take(&mut is_last) { "" } else { "," };
                    let mut text = to_text(key);
                    text.push(':');
                    text.push_str(value);
                    text.push_str(comma);
                    self.insert_first(start, text);
                }
            }
        }
    }

    /// As [`Self::insert`], but before what was inserted there already.
    fn insert_first(&mut self, position: usize, text: String) {
        let place = self.edits.partition_point(|(known, _)| known.start < position);
        self.edits.insert(place, (position..position, text));
    }
}

#[cfg(test)]
mod tests;
