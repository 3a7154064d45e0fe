//! Finds what policies can see in messages from the server: text, and the tools that it offers.
//!
//! Every string is text, except where the protocol gives it another meaning: identifiers, types, encoded data. So what
//! is not known yet is visible, too.

use super::message::{Kind, Message, Messages};
use crate::dialect::DecodeError;
use crate::dialect::document::Strings;
use crate::json::{Field, Reader, Value};

/// Most texts and tools that one document may have.
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
}

#[derive(Debug, Clone, Copy)]
pub(super) enum What {
    /// A string.
    Text {
        /// It is the text of a content item, which should not be empty.
        is_content: bool,
    },
    /// An entry of the list of tools with that number.
    Tool { list: u32, name: Option<Value> },
}

/// A part of a message in which strings mean something of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Result,
    Params,
    Error,
    /// Anything else that the protocol describes.
    Described,
    /// The server's own data: every string is text.
    Data,
    /// A JSON schema: descriptions and titles are text.
    Schema,
}

/// What was found in a message.
#[derive(Debug)]
pub(super) struct MessageTexts {
    pub(super) message: Message,
    pub(super) found: Vec<Found>,
}

/// Reads a document and finds what policies can see in each of its messages.
pub(super) fn read(document: &str) -> Result<Vec<MessageTexts>, DecodeError> {
    let mut room = MAX_FOUND;
    let mut lists = 0;
    let mut all = Vec::new();
    for message in Messages::read(document)?.all {
        let mut finder = Finder { document, found: Vec::new(), room, lists };
        finder.message(&message)?;
        room = finder.room;
        lists = finder.lists;
        all.push(MessageTexts { message, found: finder.found });
    }
    Ok(all)
}

struct Finder<'a> {
    document: &'a str,
    found: Vec<Found>,
    room: usize,
    lists: u32,
}

impl<'a> Finder<'a> {
    fn message(&mut self, message: &Message) -> Result<(), DecodeError> {
        let (value, place) = match message.kind {
            Kind::Request | Kind::Notification => (message.params, Place::Params),
            Kind::Answer if message.result.is_some() => (message.result, Place::Result),
            Kind::Answer => (message.error, Place::Error),
        };
        value.map_or(Ok(()), |value| self.value(&mut Reader::at(self.document, value), place, true, false, MAX_DEPTH))
    }

    fn add(&mut self, value: Value, what: What) -> Result<(), DecodeError> {
        self.room = self.room.checked_sub(1).ok_or(DecodeError::TooManyBlocks)?;
        self.found.push(Found { value, what });
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
                Some(value) => self.add(value, What::Text { is_content }),
                None => Ok(()),
            },
            Some(b'{' | b'[') if depth == 0 => Err(DecodeError::OutOfOrder { what: "a message that is nested too deeply" }),
            Some(b'{') => reader.object(|reader, key| self.member(reader, place, key, depth.saturating_sub(1))),
            Some(b'[') => {
                let place = if place == Place::Data || place == Place::Schema { place } else { Place::Described };
                reader.array(|reader| self.value(reader, place, shown, is_content, depth.saturating_sub(1)))
            }
            _ => Ok(reader.skip()?),
        }
    }

    fn member(&mut self, reader: &mut Reader<'a>, place: Place, key: &str, depth: u8) -> Result<(), DecodeError> {
        let (inner, shown) = match (place, key) {
            (Place::Data, _) => (Place::Data, true),
            (Place::Schema, "description" | "title") => (Place::Schema, true),
            (Place::Schema, _) => (Place::Schema, false),
            (Place::Result, "tools") if reader.peek() == Some(b'[') => return self.tools(reader, depth),
            (Place::Error | Place::Params, "data") | (_, "structuredContent") => (Place::Data, true),
            (_, "inputSchema" | "outputSchema" | "requestedSchema") => (Place::Schema, false),
            (_, key) if OPAQUE.contains(&key) => return Ok(reader.skip()?),
            _ => (Place::Described, true),
        };
        self.value(reader, inner, shown, key == "text" && inner == Place::Described, depth)
    }

    /// The entries of `tools/list`.
    fn tools(&mut self, reader: &mut Reader<'a>, depth: u8) -> Result<(), DecodeError> {
        let list = self.lists;
        self.lists = list.saturating_add(1);
        reader.array(|reader| {
            let Some(entry) = reader.optional_value()? else { return Ok(()) };
            let mut name = Field::default();
            let mut inner = Reader::at(self.document, entry);
            if inner.peek() == Some(b'{') {
                inner.object(|reader, key| match key {
                    "name" => name.fill(reader, Reader::optional_string),
                    _ => reader.skip(),
                })?;
            }
            self.add(entry, What::Tool { list, name: name.get() })?;
            self.value(&mut Reader::at(self.document, entry), Place::Described, true, false, depth.saturating_sub(1))
        })
    }
}

/// The strings of what was found, unescaped.
pub(super) fn strings(
    document: &str,
    found: &[Found],
    strings: &mut Strings,
) -> Result<Vec<crate::dialect::document::Text>, DecodeError> {
    found
        .iter()
        .map(|found| match found.what {
            What::Text { .. } => strings.read(document, Some(found.value)),
            What::Tool { name, .. } => strings.read(document, name),
        })
        .collect()
}
