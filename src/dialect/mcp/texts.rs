//! Finds what policies can see in messages from the server: text, and the tools that it offers.
//!
//! Every string is text, except where the protocol gives it another meaning: identifiers, types, encoded data. So what
//! is not known yet is visible, too.

use smallvec::SmallVec;

use super::message::{self, Message, Payload, Visitor};
use crate::dialect::DecodeError;
use crate::dialect::decoding::{Strings, Text};
use crate::wire::json::{Field, Reader, Value};

/// Most texts and tools that one frame may have.
const MAX_FOUND: usize = 65_536;

/// Deepest nesting that is looked into. Clients' readers give up on less than a tenfold of it.
const MAX_DEPTH: u8 = 128;

/// Members that are no text for anybody, with all that is in them.
const OPAQUE: &[&str] = &[
    "$schema",
    "_meta",
    "action",
    "annotations",
    "blob",
    "capabilities",
    "createdAt",
    "cursor",
    "data",
    "elicitationId",
    "icons",
    "id",
    "lastUpdatedAt",
    "level",
    "logger",
    "method",
    "mimeType",
    "mode",
    "model",
    "modelPreferences",
    "name",
    "nextCursor",
    "progressToken",
    "protocolVersion",
    "ref",
    "requestId",
    "requestState",
    "resultType",
    "role",
    "serverInfo",
    "status",
    "stopReason",
    "supportedVersions",
    "taskId",
    "type",
    "uri",
    "uriTemplate",
    "url",
];

/// Something that policies can see.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    /// Where it stands.
    pub(super) value: Value,
    pub(super) what: What,
    /// The string, or the name of the tool.
    pub(super) text: Text,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum What {
    /// A string.
    Text {
        /// It is the text of a content item, which should not be empty.
        is_content: bool,
    },
    /// An entry of the list of tools with that number.
    Tool { list: u32 },
}

/// A part of a message in which strings mean something of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Payload(Payload),
    /// Anything else that the protocol describes.
    Described,
    /// The server's own data: every string is text.
    Data,
    /// A list of resources, whose names people read.
    Resources,
    /// A JSON schema: what people read of it is text.
    Schema,
}

/// What was found in a message: mostly one string.
#[derive(Debug)]
pub(super) struct MessageTexts {
    /// `None` where it is JSON, but no message.
    pub(super) message: Option<Message>,
    pub(super) found: SmallVec<[Found; 1]>,
    /// The whole part of the number that says how far something is.
    pub(super) progress: Option<Value>,
}

/// The messages of a frame: mostly one.
pub(super) type Texts = SmallVec<[MessageTexts; 1]>;

/// Reads a frame and finds what policies can see in each of its messages; strings with escapes are unescaped into `strings`.
pub(super) fn read(source: &str, strings: &mut Strings) -> Result<Texts, DecodeError> {
    let mut finder =
        Finder { source, strings, found: SmallVec::new(), progress: None, room: MAX_FOUND, lists: 0, texts: Texts::new() };
    message::read(source, &mut finder)?;
    Ok(finder.texts)
}

struct Finder<'a, 's> {
    source: &'a str,
    strings: &'s mut Strings,
    /// Of the message that is being read.
    found: SmallVec<[Found; 1]>,
    progress: Option<Value>,
    room: usize,
    lists: u32,
    texts: Texts,
}

impl<'a> Visitor<'a> for Finder<'a, '_> {
    fn payload(&mut self, reader: &mut Reader<'a>, payload: Payload) -> Result<(), DecodeError> {
        self.value(reader, Place::Payload(payload), true, false, MAX_DEPTH)
    }

    fn message(&mut self, message: Message) {
        self.finish(Some(message));
    }

    fn no_message(&mut self, reader: &mut Reader<'a>) -> Result<(), DecodeError> {
        self.value(reader, Place::Data, true, false, MAX_DEPTH)?;
        self.finish(None);
        Ok(())
    }
}

impl<'a> Finder<'a, '_> {
    fn finish(&mut self, message: Option<Message>) {
        let (found, progress) = (core::mem::take(&mut self.found), self.progress.take());
        self.texts.push(MessageTexts { message, found, progress });
    }

    /// Adds what was found at `value`, and says `text`.
    fn add(&mut self, value: Value, what: What, text: Option<Value>) -> Result<(), DecodeError> {
        self.room = self.room.checked_sub(1).ok_or(DecodeError::TooManyBlocks)?;
        let text = self.strings.read(self.source, text)?;
        self.found.push(Found { value, what, text });
        Ok(())
    }

    /// Looks into the next value; `shown` says whether it is text if it is a string.
    fn value(
        &mut self,
        reader: &mut Reader<'a>,
        place: Place,
        shown: bool,
        is_content: bool,
        depth: u8,
    ) -> Result<(), DecodeError> {
        match reader.peek() {
            Some(b'"') if shown => match reader.optional_string()? {
                Some(value) => self.add(value, What::Text { is_content }, Some(value)),
                None => Ok(()),
            },
            Some(b'{' | b'[') if depth == 0 => Err(DecodeError::OutOfOrder { what: "a message that is nested too deeply" }),
            Some(b'{') => reader.object(|reader, key| self.member(reader, place, key, depth.saturating_sub(1))),
            Some(b'[') => {
                let place = match place {
                    Place::Data | Place::Schema | Place::Resources => place,
                    Place::Payload(_) | Place::Described => Place::Described,
                };
                reader.array(|reader| self.value(reader, place, shown, is_content, depth.saturating_sub(1)))
            }
            _ => Ok(reader.skip()?),
        }
    }

    fn member(&mut self, reader: &mut Reader<'a>, place: Place, key: &str, depth: u8) -> Result<(), DecodeError> {
        // Whatever the key: there is no text in a number.
        if !matches!(reader.peek(), Some(b'"' | b'{' | b'[')) {
            return self.scalar(reader, key);
        }
        let (inner, shown) = match (place, key) {
            (Place::Data, _) => (Place::Data, true),
            (Place::Schema, "description" | "title" | "enumNames" | "default") => (Place::Schema, true),
            (Place::Schema, _) => (Place::Schema, false),
            (Place::Payload(Payload::Result), "tools") if reader.peek() == Some(b'[') => return self.tools(reader, depth),
            (Place::Payload(Payload::Result), "resources" | "resourceTemplates") => (Place::Resources, true),
            (Place::Resources, "name") => (Place::Described, true),
            (Place::Payload(Payload::Error | Payload::Params), "data") | (_, "structuredContent") => (Place::Data, true),
            (_, "inputSchema" | "outputSchema" | "requestedSchema") => (Place::Schema, false),
            (_, key) if OPAQUE.contains(&key) => return Ok(reader.skip()?),
            _ => (Place::Described, true),
        };
        self.value(reader, inner, shown, key == "text" && inner == Place::Described, depth)
    }

    /// A member that is no string.
    fn scalar(&mut self, reader: &mut Reader<'a>, key: &str) -> Result<(), DecodeError> {
        let Some(value) = reader.optional_value()?.filter(|_| key == "progress") else { return Ok(()) };
        let digits = self.source.as_bytes().iter().skip(value.start).take_while(|byte| byte.is_ascii_digit()).count();
        self.progress = (digits > 0).then_some(Value { end: value.start.saturating_add(digits), ..value });
        Ok(())
    }

    /// The entries of `tools/list`.
    fn tools(&mut self, reader: &mut Reader<'a>, depth: u8) -> Result<(), DecodeError> {
        let list = self.lists;
        self.lists = list.saturating_add(1);
        reader.array(|reader| {
            let Some(entry) = reader.optional_value()? else { return Ok(()) };
            let mut name = Field::default();
            let mut inner = Reader::at(self.source, entry);
            if inner.peek() == Some(b'{') {
                inner.object(|reader, key| match key {
                    "name" => name.fill(reader, Reader::optional_string),
                    _ => reader.skip(),
                })?;
            }
            self.add(entry, What::Tool { list }, name.get())?;
            self.value(&mut Reader::at(self.source, entry), Place::Described, true, false, depth.saturating_sub(1))
        })
    }
}
