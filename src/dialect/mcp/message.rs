//! JSON-RPC messages, as far as they are the same for all methods.

use core::hash::{Hash, Hasher};

use super::MAX_MESSAGES;
use crate::dialect::DecodeError;
use crate::dialect::decoding::{NameBytes, Strings, is_variant};
use crate::wire::json::{self, Field, Form, Reader, Value};

/// The members of a message.
pub(super) const MEMBERS: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];

/// A message: where its parts stand in the frame.
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

    /// A value comes next, to be read to its end, in which no reader finds a message.
    fn no_message(&mut self, reader: &mut Reader<'a>) -> Result<(), DecodeError> {
        Err(reader.malformed().into())
    }
}

/// Reads the messages of `source`; whether they came in an array.
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
    if is_batch && messages == 0 {
        visitor.no_message(&mut Reader::new(source))?;
    }
    Ok(is_batch)
}

fn read_message<'a>(source: &'a str, reader: &mut Reader<'a>, visitor: &mut dyn Visitor<'a>) -> Result<(), DecodeError> {
    if reader.peek() != Some(b'{') {
        return visitor.no_message(reader);
    }
    let [mut id, mut method, mut params, mut result, mut error] = [Field::default(); 5];
    let mut params_came_first = false;
    let mut has_members = false;
    let span = value(reader, |reader| {
        reader.object(|reader, key| {
            has_members |= MEMBERS.contains(&key);
            match key {
                "id" => id.fill(reader, |reader| Ok(reader.optional_value()?)),
                "method" => method.fill(reader, |reader| Ok(reader.optional_string()?)),
                "params" => params.fill(reader, |reader| {
                    params_came_first = method.get().is_none();
                    optional_value(reader, |reader| match params_came_first {
                        true => Ok(reader.skip()?),
                        false => visitor.payload(reader, Payload::Params),
                    })
                }),
                // Of null there is nothing to be read, and yet it answers.
                "result" => {
                    result.fill(reader, |reader| value(reader, |reader| visitor.payload(reader, Payload::Result)).map(Some))
                }
                "error" => error.fill(reader, |reader| optional_value(reader, |reader| visitor.payload(reader, Payload::Error))),
                key if is_variant(key, MEMBERS) => Err(reader.malformed().into()),
                _ => Ok(reader.skip()?),
            }
        })
    })?;
    if !has_members {
        return visitor.no_message(&mut Reader::at(source, span));
    }
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
    let (id, method, params, result, error) = (id.get(), method.get(), params.get(), result.get(), error.get());
    visitor.message(Message { span, kind, id, method, params, result, error });
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

/// The id of a request: numbers are the same that all readers take for the same.
#[derive(Debug, Clone)]
pub(super) struct Id {
    /// As it is written.
    json: String,
    /// What it is compared by.
    key: String,
    /// The whole number that it says, which some clients take it for where it is a string, and the other way round.
    number: Option<String>,
}

impl PartialEq for Id {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Id {}

impl Hash for Id {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl Id {
    /// Reads an id, which must be a string or a whole number.
    pub(super) fn read(source: &str, value: Value, names: &mut NameBytes) -> Result<Self, DecodeError> {
        let literal = source.get(value.start..value.end).unwrap_or_default();
        names.add(literal)?;
        if value.form == Form::Other {
            let key = whole_number(literal).ok_or(DecodeError::Malformed { at: value.start })?;
            return Ok(Self { json: literal.to_owned(), number: Some(key.clone()), key });
        }
        let mut strings = Strings::default();
        let text = strings.read(source, Some(value))?;
        let json = json::to_text(strings.get(source, text));
        let number = whole_number(strings.get(source, text).trim());
        Ok(Self { key: json.clone(), json, number })
    }

    pub(super) fn number(&self) -> Option<&str> {
        self.number.as_deref()
    }

    /// The id as JSON.
    pub(super) fn json(&self) -> &str {
        &self.json
    }

    /// The id without the quotes of a string, as events show it.
    pub(super) fn shown(&self) -> &str {
        self.json.trim_matches('"')
    }
}

/// The whole number that `text` says, in its plainest form; `None` where it says none.
fn whole_number(text: &str) -> Option<String> {
    /// Beyond it some readers take neighbours for the same.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if !text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return None;
    }
    let number: f64 = text.parse().ok()?;
    if number.abs() >= EXACT {
        let digits = text.strip_prefix('-').unwrap_or(text);
        return digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.to_owned());
    }
    let is_zero = number.abs() < f64::MIN_POSITIVE;
    (number.fract().abs() < f64::MIN_POSITIVE).then(|| if is_zero { "0".to_owned() } else { format!("{number:.0}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(json: &str) -> Id {
        Id::read(json, Reader::new(json).value().unwrap(), &mut NameBytes::default()).unwrap()
    }

    #[test]
    fn numbers_that_readers_take_for_the_same_are_the_same() {
        for [one, other] in [["1", "1.0"], ["1", "1e0"], ["10", "1e1"], ["0", "-0"], ["0", "0.0"], ["\"a\"", "\"\\u0061\""]] {
            assert_eq!(id(one), id(other));
            assert_eq!((id(one).json(), id(other).shown().is_empty()), (one, false), "it stays as it is written");
        }
        for [one, other] in
            [["1", "2"], ["1", "-1"], ["1", "\"1\""], ["\"1\"", "\"1.0\""], ["9007199254740993", "9007199254740992"]]
        {
            assert_ne!(id(one), id(other));
        }
    }

    #[test]
    fn a_string_may_say_a_number() {
        for (string, number) in [
            ("1", Some("1")),
            ("1.0", Some("1")),
            ("1e1", Some("10")),
            ("-0.0", Some("0")),
            (" 1 ", Some("1")),
            ("07", Some("7")),
            ("9007199254740993", Some("9007199254740993")),
            ("1.5", None),
            ("one", None),
            ("", None),
            ("1a", None),
            ("NaN", None),
            ("1e400", None),
        ] {
            assert_eq!(id(&json::to_text(string)).number(), number, "{string:?}");
        }
    }

    #[test]
    fn an_id_is_a_string_or_a_whole_number() {
        for json in ["true", "{}", "[1]", "1.5", "null"] {
            assert!(Id::read(json, Reader::new(json).value().unwrap(), &mut NameBytes::default()).is_err(), "{json}");
        }
    }
}
