//! The members that are read of chunks and of whole bodies.

use smallvec::SmallVec;

use crate::wire::json::{Field, Form, Malformed, Reader, Value};

/// One element of `choices`, of a chunk or of a whole body.
#[derive(Default)]
pub(super) struct ChoiceFields {
    pub(super) index: Field<u32>,
    pub(super) message: Field<MessageFields>,
    pub(super) finish_reason: Field<Value>,
}

impl ChoiceFields {
    /// Reads it; `message_key` is the name that its message goes by.
    pub(super) fn read(reader: &mut Reader<'_>, message_key: &str) -> Result<Self, Malformed> {
        let mut fields = Self::default();
        reader.object(|reader, key| match key {
            "index" => fields.index.fill(reader, Reader::optional_u32),
            "finish_reason" => fields.finish_reason.fill(reader, Reader::optional_value),
            key if key == message_key => fields.message.fill(reader, MessageFields::read),
            _ => reader.skip(),
        })?;
        Ok(fields)
    }
}

/// A message or the delta of one. What it has more than texts is read from its place once all of the choice was read.
#[derive(Clone, Copy)]
pub(super) struct MessageFields {
    pub(super) reasoning_content: Option<Value>,
    pub(super) reasoning: Option<Value>,
    pub(super) content: Option<Value>,
    pub(super) refusal: Option<Value>,
    pub(super) tool_calls: Option<Value>,
    pub(super) function_call: Option<Value>,
    pub(super) audio: Option<Value>,
}

impl MessageFields {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, Malformed> {
        let names = ["content", "tool_calls", "reasoning_content", "reasoning", "refusal", "function_call", "audio"];
        let values = reader.optional_members(names)?;
        Ok(values.map(|[content, tool_calls, reasoning_content, reasoning, refusal, function_call, audio]| Self {
            reasoning_content,
            reasoning,
            content,
            refusal,
            tool_calls,
            function_call,
            audio,
        }))
    }
}

/// One element of `tool_calls`.
#[derive(Default)]
pub(super) struct CallFields {
    /// What goes along where the call is written anew.
    pub(super) extras: SmallVec<[(&'static str, Value); 1]>,
    pub(super) index: Field<CallIndex>,
    pub(super) id: Field<Value>,
    pub(super) kind: Field<Value>,
    pub(super) function: Field<ToolFields>,
    pub(super) custom: Field<ToolFields>,
}

/// What a call says is its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallIndex {
    Number(u32),
    /// Something else, such as −1 or a string: calls are told apart by it all the same.
    Odd(u64),
}

impl CallIndex {
    fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, Malformed> {
        let mut ahead = reader.clone();
        let Some(value) = reader.optional_value()? else { return Ok(None) };
        let number = ahead.optional_u32().ok().flatten().filter(|_| ahead.position() == value.end);
        Ok(Some(number.map_or_else(|| Self::Odd(fingerprint(reader.text(value))), Self::Number)))
    }
}

/// What tells odd indices apart.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0, |known: u64, byte| known.wrapping_mul(31).wrapping_add(u64::from(byte)))
}

impl CallFields {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut fields = Self::default();
        reader.object(|reader, key| match key {
            "index" => fields.index.fill(reader, CallIndex::read),
            "id" => fields.id.fill(reader, Reader::optional_value),
            "type" => fields.kind.fill(reader, Reader::optional_value),
            "function" => fields.function.fill(reader, |reader| ToolFields::read(reader, "arguments")),
            "custom" => fields.custom.fill(reader, |reader| ToolFields::read(reader, "input")),
            _ => {
                let Some(extra) = EXTRAS.iter().find(|extra| **extra == key) else { return reader.skip() };
                if let Some(value) = reader.optional_value()? {
                    fields.extras.push((extra, value));
                }
                Ok(())
            }
        })?;
        Ok(fields)
    }
}

/// Members of a call without which the next request is refused, or worse answered: thought signatures of Gemini as its own
/// gateway (`extra_content`), LiteLLM (`provider_specific_fields`) and others write them.
const EXTRAS: [&str; 3] = ["extra_content", "provider_specific_fields", "thought_signature"];

/// The tool that is called, and what with.
#[derive(Clone, Copy)]
pub(super) struct ToolFields {
    pub(super) name: Option<Value>,
    pub(super) arguments: Option<Value>,
}

impl ToolFields {
    pub(super) fn read(reader: &mut Reader<'_>, arguments_key: &str) -> Result<Option<Self>, Malformed> {
        let values = reader.optional_members(["name", arguments_key])?;
        Ok(values.map(|[name, arguments]| Self { name, arguments }))
    }

    /// Whether the arguments are JSON instead of a string with JSON in it.
    pub(super) fn has_bare_arguments(self) -> bool {
        self.arguments.is_some_and(|arguments| matches!(arguments.form, Form::Array | Form::Other))
    }
}
