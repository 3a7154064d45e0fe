//! What is read of an event.

use crate::wire::json::{self, Field, Malformed, Reader, Value};

/// The types of events that a stream consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EventKind {
    MessageStart,
    BlockStart,
    BlockDelta,
    BlockStop,
    MessageDelta,
    MessageStop,
    Ping,
    Error,
    /// Any other type.
    Unknown,
}

impl EventKind {
    fn of_type(kind: &[u8]) -> Self {
        match kind {
            b"message_start" => Self::MessageStart,
            b"content_block_start" => Self::BlockStart,
            b"content_block_delta" => Self::BlockDelta,
            b"content_block_stop" => Self::BlockStop,
            b"message_delta" => Self::MessageDelta,
            b"message_stop" => Self::MessageStop,
            b"ping" => Self::Ping,
            b"error" => Self::Error,
            _ => Self::Unknown,
        }
    }

    /// What an event with this name is whose data is of the type `kind`: the type decides where it is known, else the name.
    pub(super) fn of(name: &[u8], kind: &str) -> Self {
        match Self::of_type(kind.as_bytes()) {
            Self::Unknown => Self::of_type(name),
            known => known,
        }
    }

    /// The type, which is also the name of such an event.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::MessageStart => "message_start",
            Self::BlockStart => "content_block_start",
            Self::BlockDelta => "content_block_delta",
            Self::BlockStop => "content_block_stop",
            Self::MessageDelta => "message_delta",
            Self::MessageStop => "message_stop",
            Self::Ping => "ping",
            Self::Error => "error",
            Self::Unknown => "",
        }
    }

    /// Whether it builds the message.
    pub(super) const fn is_part(self) -> bool {
        !matches!(self, Self::Ping | Self::Error | Self::Unknown)
    }
}

#[derive(Default)]
pub(super) struct EventFields {
    pub(super) r#type: Field<Value>,
    pub(super) index: Field<u32>,
    pub(super) content_block: Field<BlockFields>,
    pub(super) delta: Field<DeltaFields>,
    /// `message.content`
    pub(super) content: Field<Value>,
}

impl EventFields {
    pub(super) fn read(source: &str) -> Result<Self, Malformed> {
        let mut fields = Self::default();
        let mut reader = Reader::new(source);
        reader.object(|reader, key| match key {
            "type" => fields.r#type.fill(reader, Reader::optional_string),
            "index" => fields.index.fill(reader, |reader| read_index(source, reader)),
            "delta" => fields.delta.fill(reader, DeltaFields::read),
            "content_block" => fields.content_block.fill(reader, BlockFields::read),
            "message" => fields.content.fill(reader, |reader| {
                let values = reader.optional_members(["content"])?;
                Ok(values.and_then(|[content]| content))
            }),
            _ => reader.skip(),
        })?;
        reader.end()?;
        Ok(fields)
    }
}

/// Reads an index. What is none, such as −1, says nothing about where something belongs.
fn read_index(source: &str, reader: &mut Reader<'_>) -> Result<Option<u32>, Malformed> {
    let value = reader.optional_value()?;
    Ok(value.and_then(|value| source.get(value.start..value.end)).and_then(|number| number.parse().ok()))
}

/// A content block, or the beginning of one.
#[derive(Clone, Copy)]
pub(super) struct BlockFields {
    pub(super) r#type: Option<Value>,
    pub(super) id: Option<Value>,
    pub(super) tool_use_id: Option<Value>,
    pub(super) name: Option<Value>,
    pub(super) input: Option<Value>,
    pub(super) text: Option<Value>,
    pub(super) thinking: Option<Value>,
    pub(super) signature: Option<Value>,
    pub(super) toolset_name: Option<Value>,
    /// Where it stands in the frame.
    pub(super) start: usize,
    pub(super) end: usize,
}

impl BlockFields {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, Malformed> {
        const NAMES: [&str; 9] = ["type", "id", "tool_use_id", "name", "input", "text", "thinking", "signature", "toolset_name"];
        let start = reader.position();
        let Some(values) = reader.optional_members(NAMES)? else { return Ok(None) };
        let [r#type, id, tool_use_id, name, input, text, thinking, signature, toolset_name] = values;
        let end = reader.position();
        Ok(Some(Self { r#type, id, tool_use_id, name, input, text, thinking, signature, toolset_name, start, end }))
    }
}

#[derive(Clone, Copy)]
pub(super) struct DeltaFields {
    pub(super) r#type: Option<Value>,
    pub(super) text: Option<Value>,
    pub(super) partial_json: Option<Value>,
    pub(super) thinking: Option<Value>,
    pub(super) signature: Option<Value>,
    pub(super) stop_reason: Option<Value>,
    pub(super) stop_details: Option<Value>,
    /// Where it stands in the frame.
    pub(super) start: usize,
    pub(super) end: usize,
}

impl DeltaFields {
    fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, Malformed> {
        const NAMES: [&str; 7] = ["type", "text", "partial_json", "thinking", "signature", "stop_reason", "stop_details"];
        let start = reader.position();
        let Some([r#type, text, partial_json, thinking, signature, stop_reason, stop_details]) =
            reader.optional_members(NAMES)?
        else {
            return Ok(None);
        };
        let end = reader.position();
        Ok(Some(Self { r#type, text, partial_json, thinking, signature, stop_reason, stop_details, start, end }))
    }
}

/// The characters of the string `value`; empty where there is none.
pub(super) fn characters(source: &str, value: Option<Value>) -> std::borrow::Cow<'_, str> {
    json::string(value.and_then(|value| source.get(value.start..value.end)).unwrap_or_default())
}
