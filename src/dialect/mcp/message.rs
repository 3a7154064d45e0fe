//! JSON-RPC messages, as far as they are the same for all methods.

use super::MAX_MESSAGES;
use crate::dialect::DecodeError;
use crate::dialect::document::{NameBytes, Strings};
use crate::json::{self, Field, Form, Reader, Value};

/// A message: where its parts stand in the document.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message {
    pub(super) span: Value,
    pub(super) kind: Kind,
    pub(super) id: Option<Value>,
    pub(super) method: Option<Value>,
    pub(super) params: Option<Value>,
    pub(super) result: Option<Value>,
    pub(super) error: Option<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Notification,
    Answer,
}

/// The messages of a document.
#[derive(Debug, Default)]
pub(super) struct Messages {
    pub(super) all: Vec<Message>,
    pub(super) is_batch: bool,
}

impl Messages {
    pub(super) fn read(document: &str) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(document);
        if reader.peek() != Some(b'[') {
            let span = reader.optional_value()?.ok_or_else(|| reader.malformed())?;
            reader.end()?;
            return Ok(Self { all: vec![Message::read(document, span)?], is_batch: false });
        }
        let mut all = Vec::new();
        reader.array(|reader| {
            if all.len() >= MAX_MESSAGES {
                return Err(DecodeError::TooManyBlocks);
            }
            let span = reader.optional_value()?.ok_or_else(|| reader.malformed())?;
            all.push(Message::read(document, span)?);
            Ok(())
        })?;
        reader.end()?;
        if all.is_empty() {
            return Err(DecodeError::OutOfOrder { what: "a batch without messages" });
        }
        Ok(Self { all, is_batch: true })
    }
}

impl Message {
    fn read(document: &str, span: Value) -> Result<Self, DecodeError> {
        let [mut id, mut method, mut params, mut result, mut error] = [Field::default(); 5];
        Reader::at(document, span).object(|reader, key| {
            let field = match key {
                "method" => return method.fill(reader, Reader::optional_string),
                "id" => &mut id,
                "params" => &mut params,
                "result" => &mut result,
                "error" => &mut error,
                key if is_variant(key, &["method", "id", "params", "result", "error"]) => return Err(reader.malformed()),
                _ => return reader.skip(),
            };
            field.fill(reader, Reader::optional_value)
        })?;
        let kind = match (method.get().is_some(), result.get().is_some(), error.get().is_some()) {
            (true, false, false) if id.get().is_some() => Kind::Request,
            (true, false, false) => Kind::Notification,
            (false, true, false) | (false, false, true) => Kind::Answer,
            _ => return Err(DecodeError::OutOfOrder { what: "a message that is neither a request nor an answer" }),
        };
        Ok(Self {
            span,
            kind,
            id: id.get(),
            method: method.get(),
            params: params.get(),
            result: result.get(),
            error: error.get(),
        })
    }
}

/// Whether `key` is one of `names` but for the case of its letters: some readers (Go's) take it for the same.
pub(super) fn is_variant(key: &str, names: &[&str]) -> bool {
    let is_same = |name: &str| {
        let folded = key.chars().map(|letter| match letter {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            letter => letter.to_ascii_lowercase(),
        });
        folded.eq(name.chars())
    };
    names.iter().any(|name| *name != key && is_same(name))
}

/// The id of a request as it is written. The number 1 and the string "1" are different ids.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Id(String);

impl Id {
    /// Reads an id, which must be a string or a whole number.
    pub(super) fn read(document: &str, value: Value, names: &mut NameBytes) -> Result<Self, DecodeError> {
        let literal = document.get(value.start..value.end).unwrap_or_default();
        names.add(literal)?;
        if value.form == Form::Other {
            let digits = literal.strip_prefix('-').unwrap_or(literal);
            let is_whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            return if is_whole { Ok(Self(literal.to_owned())) } else { Err(DecodeError::Malformed { at: value.start }) };
        }
        let mut strings = Strings::default();
        let text = strings.read(document, Some(value))?;
        Ok(Self(json::to_text(strings.get(document, text))))
    }

    /// The id as JSON.
    pub(super) fn json(&self) -> &str {
        &self.0
    }

    /// The id without the quotes of a string, as events show it.
    pub(super) fn shown(&self) -> &str {
        self.0.trim_matches('"')
    }
}
