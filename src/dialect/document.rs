//! Reading documents: what both dialects share.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::DecodeError;
use crate::json::{self, StringError};

/// Capacity that the buffer for unescaped strings keeps between documents.
const KEPT_CAPACITY: usize = 64 * 1024;

/// `bytes` as text.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, DecodeError> {
    core::str::from_utf8(bytes).map_err(|error| DecodeError::Utf8 { at: error.valid_up_to() })
}

/// Reads the object `document` as a `T`.
pub(super) fn read<'a, T: Deserialize<'a>>(document: &'a str) -> Result<T, DecodeError> {
    let read: Result<Object<T>, _> = serde_json::from_str(document);
    read.map(|object| object.0).map_err(|error| DecodeError::Malformed { at: offset(document, &error) })
}

/// Reads `part`, a slice of `document`, as a `T`.
pub(super) fn read_part<'a, T: Deserialize<'a>>(document: &str, part: &'a RawValue) -> Result<T, DecodeError> {
    serde_json::from_str(part.get()).map_err(|error| DecodeError::Malformed {
        at: json::span(document, part.get()).start.saturating_add(offset(part.get(), &error)),
    })
}

/// The byte where `error` stands; serde_json tells lines and columns.
fn offset(document: &str, error: &serde_json::Error) -> usize {
    let lines_before = error.line().saturating_sub(1);
    let line_start: usize = document.split_inclusive('\n').take(lines_before).map(str::len).sum();
    line_start.saturating_add(error.column().saturating_sub(1)).min(document.len())
}

/// A `T` that stands as an object. What derives `Deserialize` is read from a list of its fields' values too, where no
/// client finds it and no edit takes it out.
#[derive(Debug)]
pub(super) struct Object<T>(T);

impl<T> Deref for Object<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData)).map(Object)
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members))
    }
}

/// A short string, borrowed where it has no escapes. (serde borrows a `Cow` in a field of its own only, not within an
/// `Option`.)
#[derive(serde::Deserialize)]
pub(super) struct Word<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// A string of a document: a slice of it, or what [`Strings`] unescaped.
#[derive(Debug, Clone, Copy)]
pub(super) enum Text<'a> {
    Borrowed(&'a str),
    Unescaped { start: usize, end: usize },
}

impl Text<'_> {
    pub(super) const EMPTY: Self = Text::Borrowed("");

    pub(super) const fn is_empty(&self) -> bool {
        match self {
            Text::Borrowed(text) => text.is_empty(),
            Text::Unescaped { start, end } => *start == *end,
        }
    }
}

/// The strings of one document that have escapes, unescaped into one buffer that is reused for the next document.
#[derive(Debug, Default)]
pub(super) struct Strings {
    unescaped: String,
}

impl Strings {
    /// Forgets the strings of the document before.
    pub(super) fn clear(&mut self) {
        self.unescaped.clear();
        self.unescaped.shrink_to(KEPT_CAPACITY);
    }

    /// Reads the string `literal`, a slice of `document`.
    pub(super) fn read<'a>(&mut self, document: &str, literal: &'a RawValue) -> Result<Text<'a>, DecodeError> {
        let start = self.unescaped.len();
        match json::unescape(literal.get(), &mut self.unescaped) {
            Ok(Some(text)) => Ok(Text::Borrowed(text)),
            Ok(None) => Ok(Text::Unescaped { start, end: self.unescaped.len() }),
            Err(StringError::LoneSurrogate) => Err(DecodeError::LoneSurrogate),
            Err(StringError::NotAString) => Err(DecodeError::Malformed { at: json::span(document, literal.get()).start }),
        }
    }

    /// As [`Self::read`]; a string that is missing or null is empty.
    pub(super) fn read_optional<'a>(&mut self, document: &str, literal: Option<&'a RawValue>) -> Result<Text<'a>, DecodeError> {
        literal.map_or(Ok(Text::EMPTY), |literal| self.read(document, literal))
    }

    /// The characters of `text`.
    pub(super) fn get<'s, 'a: 's>(&'s self, text: Text<'a>) -> &'s str {
        match text {
            Text::Borrowed(text) => text,
            Text::Unescaped { start, end } => self.unescaped.get(start..end).unwrap_or_default(),
        }
    }
}
