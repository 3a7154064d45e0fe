//! JSON-RPC messages, as far as they are the same for all methods.

use super::MAX_MESSAGES;
use crate::dialect::DecodeError;
use crate::dialect::decoding::{NameBytes, Strings, is_variant};
use crate::wire::json::{self, Field, Form, Reader, Value};

/// A message: where its parts stand in the frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message {
    pub(super) span: Value,
    pub(super) kind: Kind,
    pub(super) id: Option<Value>,
    pub(super) method: Option<Value>,
    pub(super) params: Option<Value>,
    pub(super) error: Option<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Notification,
    Answer,
}

/// The member of a message that says what the message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Payload {
    Params,
    Result,
    Error,
}

/// Who reads messages, each byte of them once.
pub(super) trait Visitor<'a> {
    /// The payload of a message comes next, to be read to its end. Never `params` of an answer: they mean nothing.
    fn payload(&mut self, reader: &mut Reader<'a>, payload: Payload) -> Result<(), DecodeError>;

    /// A message ended, whose payload came before.
    fn message(&mut self, message: Message);
}

/// Reads the messages of `frame`; whether they came in an array.
pub(super) fn read<'a>(source: &'a str, visitor: &mut dyn Visitor<'a>) -> Result<bool, DecodeError> {
    let mut reader = Reader::new(source);
    let is_batch = reader.peek() == Some(b'[');
    let mut messages: usize = 0;
    if is_batch {
        reader.array(|reader| {
            if messages >= MAX_MESSAGES {
                return Err(DecodeError::TooManyBlocks);
            }
            messages = messages.saturating_add(1);
            read_message(source, reader, visitor)
        })?;
    } else {
        read_message(source, &mut reader, visitor)?;
    }
    reader.end()?;
    if is_batch && messages == 0 { Err(DecodeError::OutOfOrder { what: "a batch without messages" }) } else { Ok(is_batch) }
}

fn read_message<'a>(source: &'a str, reader: &mut Reader<'a>, visitor: &mut dyn Visitor<'a>) -> Result<(), DecodeError> {
    let [mut id, mut method, mut params, mut result, mut error] = [Field::default(); 5];
    let mut params_came_first = false;
    let span = value(reader, |reader| {
        reader.object(|reader, key| match key {
            "jsonrpc" => Ok(reader.skip()?),
            "id" => id.fill(reader, |reader| Ok(reader.optional_value()?)),
            "method" => method.fill(reader, |reader| Ok(reader.optional_string()?)),
            "params" => params.fill(reader, |reader| {
                params_came_first = method.get().is_none();
                optional_value(reader, |reader| match params_came_first {
                    true => Ok(reader.skip()?),
                    false => visitor.payload(reader, Payload::Params),
                })
            }),
            "result" => result.fill(reader, |reader| optional_value(reader, |reader| visitor.payload(reader, Payload::Result))),
            "error" => error.fill(reader, |reader| optional_value(reader, |reader| visitor.payload(reader, Payload::Error))),
            key if is_variant(key, &["method", "id", "params", "result", "error"]) => Err(reader.malformed().into()),
            _ => Ok(reader.skip()?),
        })
    })?;
    let kind = match (method.get().is_some(), result.get().is_some(), error.get().is_some()) {
        (true, false, false) if id.get().is_some() => Kind::Request,
        (true, false, false) => Kind::Notification,
        (false, true, false) | (false, false, true) => Kind::Answer,
        _ => return Err(DecodeError::OutOfOrder { what: "a message that is neither a request nor an answer" }),
    };
    if let Some(params) = params.get()
        && params_came_first
        && kind != Kind::Answer
    {
        visitor.payload(&mut Reader::at(source, params), Payload::Params)?;
    }
    let (id, method, params, error) = (id.get(), method.get(), params.get(), error.get());
    visitor.message(Message { span, kind, id, method, params, error });
    Ok(())
}

/// Reads a value by `read` and tells where it stands.
fn value<'a>(
    reader: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<(), DecodeError>,
) -> Result<Value, DecodeError> {
    reader.peek();
    let start = reader.position();
    read(reader)?;
    Ok(Value { start, end: reader.position(), form: Form::Other })
}

/// As [`value`]; `None` for null.
fn optional_value<'a>(
    reader: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<(), DecodeError>,
) -> Result<Option<Value>, DecodeError> {
    let is_null = reader.peek() == Some(b'n');
    value(reader, read).map(|value| (!is_null).then_some(value))
}

/// The messages of a frame.
#[derive(Debug, Default)]
pub(super) struct Messages {
    pub(super) all: Vec<Message>,
    pub(super) is_batch: bool,
}

impl Messages {
    pub(super) fn read(source: &str) -> Result<Self, DecodeError> {
        let mut messages = Self::default();
        messages.is_batch = read(source, &mut messages)?;
        Ok(messages)
    }
}

impl<'a> Visitor<'a> for Messages {
    fn payload(&mut self, reader: &mut Reader<'a>, _: Payload) -> Result<(), DecodeError> {
        Ok(reader.skip()?)
    }

    fn message(&mut self, message: Message) {
        self.all.push(message);
    }
}

/// The id of a request as it is written. The number 1 and the string "1" are different ids.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Id(String);

impl Id {
    /// Reads an id, which must be a string or a whole number.
    pub(super) fn read(source: &str, value: Value, names: &mut NameBytes) -> Result<Self, DecodeError> {
        let literal = source.get(value.start..value.end).unwrap_or_default();
        names.add(literal)?;
        if value.form == Form::Other {
            let digits = literal.strip_prefix('-').unwrap_or(literal);
            let is_whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            return if is_whole { Ok(Self(literal.to_owned())) } else { Err(DecodeError::Malformed { at: value.start }) };
        }
        let mut strings = Strings::default();
        let text = strings.read(source, Some(value))?;
        Ok(Self(json::to_text(strings.get(source, text))))
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
