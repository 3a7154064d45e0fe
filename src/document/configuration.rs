//! Reading configuration: pieces of JSON, with errors that name the path of the wrong field.

use core::fmt;
use core::time::Duration;

use serde::de::{self, DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer};

use crate::wire::json::{Malformed, Reader};

/// What is wrong with a policy document, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentError {
    /// Path of the field, such as `chain[0].with.threshold`; empty for the document as a whole.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
}

impl DocumentError {
    /// An error at `path`.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }

    /// The same error, of what stands below `parent`.
    #[must_use]
    pub fn below(mut self, parent: &str) -> Self {
        self.path = match self.path.as_str() {
            "" | "." => parent.to_owned(),
            path => format!("{parent}.{path}"),
        };
        self
    }
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" | "." => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

impl core::error::Error for DocumentError {}

/// Reads a piece of a document; the error's path is relative to the piece.
///
/// # Errors
/// When the JSON does not have the shape of `T`.
pub fn parse<T: DeserializeOwned>(json: &str) -> Result<T, DocumentError> {
    serde_json::from_str(json).map_err(|error| DocumentError::new(error_path(json, &error), error.to_string()))
}

/// The path of the value, or key, behind which serde_json stopped. To find it once it is needed costs nothing; to have
/// it at hand in every step of reading would take a tenth of the module.
fn error_path(json: &str, error: &serde_json::Error) -> String {
    let lines_before: usize = json.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let mut path = String::new();
    let _reached = descend(&mut Reader::new(json), lines_before.saturating_add(error.column()), &mut path);
    path
}

/// Goes down to the value or key behind which `offset` is; an error says that it was reached.
fn descend(reader: &mut Reader<'_>, offset: usize, path: &mut String) -> Result<(), Malformed> {
    let dot = if path.is_empty() { "" } else { "." };
    let mut child = |reader: &mut Reader<'_>, step: fmt::Arguments<'_>| {
        let parent = path.len();
        let _cannot_fail = fmt::Write::write_fmt(path, step);
        if reader.position() > offset {
            return Err(reader.malformed());
        }
        descend(reader, offset, path)?;
        path.truncate(parent);
        Ok(())
    };
    let first = reader.peek();
    let is_within = reader.position().saturating_add(1) < offset;
    match first {
        Some(b'{') if is_within => reader.object(|reader, key| child(reader, format_args!("{dot}{key}")))?,
        Some(b'[') if is_within => {
            let mut index = 0_usize;
            reader.array(|reader| {
                child(reader, format_args!("[{index}]"))?;
                index = index.saturating_add(1);
                Ok::<_, Malformed>(())
            })?;
        }
        _ => reader.skip()?,
    }
    if reader.position() >= offset { Err(reader.malformed()) } else { Ok(()) }
}

/// A duration in a document, such as `"200ms"` or `"5s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DocumentDuration(pub Duration);

impl<'de> Deserialize<'de> for DocumentDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_text(deserializer, |text| match humantime::parse_duration(text) {
            Ok(duration) => Ok(Self(duration)),
            Err(error) => Err(format!("{text:?} is not a duration such as \"200ms\" or \"5s\": {error}")),
        })
    }
}

/// Deserializes what is written as a string. What is wrong with it is told while the string is read: later its place
/// would not be known.
pub(crate) fn read_text<'de, D, T>(deserializer: D, read: fn(&str) -> Result<T, String>) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
{
    struct TextVisitor<T>(fn(&str) -> Result<T, String>);

    impl<T> Visitor<'_> for TextVisitor<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            (self.0)(text).map_err(E::custom)
        }
    }

    deserializer.deserialize_str(TextVisitor(read))
}
