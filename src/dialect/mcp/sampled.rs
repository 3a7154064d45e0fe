//! Finds the tool calls that a client's model makes for a server: in the answer to `sampling/createMessage`, which since
//! 2026-07-28 stands among the `inputResponses` of a request that is asked again.

use super::message::{Kind, Message};
use crate::dialect::decoding::{Strings, Text, is_variant};
use crate::dialect::{DecodeError, MAX_BLOCKS};
use crate::wire::json::{Field, Form, Malformed, Reader, Value};

/// Deepest nesting that is looked into; the protocol needs four levels.
const MAX_DEPTH: u8 = 64;

/// A call that the client's model makes: where its parts stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sampled {
    /// The content item.
    pub(super) item: Value,
    pub(super) id: Option<Value>,
    pub(super) name: Option<Value>,
    pub(super) input: Option<Value>,
}

impl Sampled {
    /// The arguments as they are written.
    pub(super) fn arguments(&self) -> Text {
        self.input.map_or(Text::EMPTY, Text::verbatim)
    }
}

/// What a message says of such calls.
#[derive(Debug, Default)]
pub(super) struct Sampling {
    pub(super) calls: Vec<Sampled>,
    /// Each `stopReason`, with the calls of its answer: from the first to behind the last.
    pub(super) stop_reasons: Vec<(Value, core::ops::Range<usize>)>,
}

impl Sampling {
    /// Reads the message.
    pub(super) fn of(source: &str, message: &Message) -> Result<Self, DecodeError> {
        let mut finder = Finder { source, found: Self::default() };
        match (message.kind, message.params, message.result) {
            (Kind::Answer, _, Some(result)) => finder.value(&mut Reader::at(source, result), MAX_DEPTH)?,
            (Kind::Request, Some(params), _) => {
                let mut reader = Reader::at(source, params);
                if reader.peek() == Some(b'{') {
                    reader.object::<DecodeError>(|reader, key| match key {
                        "inputResponses" => finder.value(reader, MAX_DEPTH),
                        key if is_variant(key, &["inputResponses"]) => Err(reader.malformed().into()),
                        _ => Ok(reader.skip()?),
                    })?;
                }
            }
            _ => {}
        }
        Ok(finder.found)
    }
}

struct Finder<'a> {
    source: &'a str,
    found: Sampling,
}

impl<'a> Finder<'a> {
    fn value(&mut self, reader: &mut Reader<'a>, depth: u8) -> Result<(), DecodeError> {
        match reader.peek() {
            Some(b'{' | b'[') if depth == 0 => Err(DecodeError::OutOfOrder { what: "an answer that is nested too deeply" }),
            Some(b'{') => self.object(reader, depth.saturating_sub(1)),
            Some(b'[') => reader.array(|reader| self.value(reader, depth.saturating_sub(1))),
            _ => Ok(reader.skip()?),
        }
    }

    fn object(&mut self, reader: &mut Reader<'a>, depth: u8) -> Result<(), DecodeError> {
        let before = self.found.calls.len();
        let start = reader.position();
        let [mut kind, mut id, mut name, mut stop_reason, mut input] = [Field::default(); 5];
        reader.object::<DecodeError>(|reader, key| {
            let is_string = reader.peek() == Some(b'"');
            match key {
                "type" if is_string => Ok(kind.fill(reader, Reader::optional_string)?),
                "id" if is_string => Ok(id.fill(reader, Reader::optional_string)?),
                "name" if is_string => Ok(name.fill(reader, Reader::optional_string)?),
                "stopReason" if is_string => Ok(stop_reason.fill(reader, Reader::optional_string)?),
                "input" => {
                    reader.peek();
                    let start = reader.position();
                    self.value(reader, depth)?;
                    let whole = Value { start, end: reader.position(), form: Form::Other };
                    Ok(input.fill(reader, |_| Ok::<_, Malformed>(Some(whole)))?)
                }
                key if is_variant(key, &["type", "name", "input"]) => Err(reader.malformed().into()),
                _ => self.value(reader, depth),
            }
        })?;
        let mut strings = Strings::default();
        let kind = strings.read(self.source, kind.get())?;
        if strings.get(self.source, kind) == "tool_use" {
            // What its input holds is the call's own.
            self.found.calls.truncate(before);
            self.found.stop_reasons.retain(|(reason, _)| reason.start < start);
            if self.found.calls.len() >= MAX_BLOCKS {
                return Err(DecodeError::TooManyBlocks);
            }
            let item = Value { start, end: reader.position(), form: Form::Other };
            self.found.calls.push(Sampled { item, id: id.get(), name: name.get(), input: input.get() });
        } else if let Some(reason) = stop_reason.get() {
            self.found.stop_reasons.push((reason, before..self.found.calls.len()));
        }
        Ok(())
    }
}
