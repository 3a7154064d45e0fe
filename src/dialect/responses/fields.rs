//! The members that are read of events, items and responses.

use crate::wire::json::{Field, Malformed, Reader, Value};

/// An event.
#[derive(Default)]
pub(super) struct EventFields {
    pub(super) r#type: Field<Value>,
    pub(super) sequence_number: Field<Sequence>,
    pub(super) output_index: Field<u32>,
    pub(super) item_id: Field<Value>,
    pub(super) content_index: Field<u32>,
    pub(super) summary_index: Field<u32>,
    pub(super) name: Field<Value>,
    pub(super) delta: Field<Value>,
    pub(super) text: Field<Value>,
    pub(super) refusal: Field<Value>,
    pub(super) transcript: Field<Value>,
    pub(super) arguments: Field<Value>,
    pub(super) input: Field<Value>,
    pub(super) code: Field<Value>,
    pub(super) diff: Field<Value>,
    pub(super) command: Field<Value>,
    pub(super) part: Field<Value>,
    pub(super) item: Field<Value>,
    pub(super) response: Field<Value>,
    /// Of another length in every event, so that the length of the text cannot be told from outside.
    pub(super) obfuscation: Field<Value>,
}

/// The number of an event.
#[derive(Clone, Copy)]
pub(super) struct Sequence {
    pub(super) number: u32,
    /// Where it stands in the frame.
    pub(super) value: Value,
}

impl Sequence {
    fn read(source: &str, reader: &mut Reader<'_>) -> Result<Option<Self>, Malformed> {
        let value = reader.optional_value()?;
        Ok(value.and_then(|value| Some(Self { number: number(source, value)?, value })))
    }
}

/// The number at `value`; `None` where something else stands: clients differ in what they make of it.
fn number(source: &str, value: Value) -> Option<u32> {
    source.get(value.start..value.end)?.parse().ok()
}

impl EventFields {
    pub(super) fn read(source: &str) -> Result<Self, Malformed> {
        let mut fields = Self::default();
        let mut reader = Reader::new(source);
        let index = |reader: &mut Reader<'_>| {
            let value = reader.optional_value()?;
            Ok::<_, Malformed>(value.and_then(|value| number(source, value)))
        };
        reader.object(|reader, key| {
            let field = match key {
                "type" => return fields.r#type.fill(reader, Reader::optional_string),
                "sequence_number" => return fields.sequence_number.fill(reader, |reader| Sequence::read(source, reader)),
                "output_index" => return fields.output_index.fill(reader, index),
                "content_index" => return fields.content_index.fill(reader, index),
                "summary_index" => return fields.summary_index.fill(reader, index),
                "item_id" => return fields.item_id.fill(reader, Reader::optional_string),
                "name" => return fields.name.fill(reader, Reader::optional_string),
                "delta" => &mut fields.delta,
                "text" => &mut fields.text,
                "refusal" => &mut fields.refusal,
                "transcript" => &mut fields.transcript,
                "arguments" => &mut fields.arguments,
                "input" => &mut fields.input,
                "code" => &mut fields.code,
                "diff" => &mut fields.diff,
                "command" => &mut fields.command,
                "part" => &mut fields.part,
                "item" => &mut fields.item,
                "response" => &mut fields.response,
                "obfuscation" => &mut fields.obfuscation,
                _ => return reader.skip(),
            };
            field.fill(reader, Reader::optional_value)
        })?;
        reader.end()?;
        Ok(fields)
    }
}

/// A part of the content or the summary of an item.
#[derive(Default, Clone, Copy)]
pub(super) struct PartFields {
    pub(super) r#type: Field<Value>,
    pub(super) text: Field<Value>,
    pub(super) refusal: Field<Value>,
    pub(super) transcript: Field<Value>,
}

impl PartFields {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut fields = Self::default();
        reader.object(|reader, key| match key {
            "type" => fields.r#type.fill(reader, Reader::optional_string),
            "text" => fields.text.fill(reader, Reader::optional_value),
            "refusal" => fields.refusal.fill(reader, Reader::optional_value),
            "transcript" => fields.transcript.fill(reader, Reader::optional_value),
            _ => reader.skip(),
        })?;
        Ok(fields)
    }
}

/// What a shell is asked to do, or a patch to change.
#[derive(Default, Clone, Copy)]
pub(super) struct ActionFields {
    pub(super) r#type: Field<Value>,
    pub(super) commands: Field<Value>,
    pub(super) path: Field<Value>,
    pub(super) diff: Field<Value>,
}

impl ActionFields {
    pub(super) fn at(source: &str, action: Value) -> Result<Self, Malformed> {
        let mut fields = Self::default();
        Reader::at(source, action).object(|reader, key| match key {
            "type" => fields.r#type.fill(reader, Reader::optional_value),
            "commands" => fields.commands.fill(reader, Reader::optional_value),
            "path" => fields.path.fill(reader, Reader::optional_value),
            "diff" => fields.diff.fill(reader, Reader::optional_value),
            _ => reader.skip(),
        })?;
        Ok(fields)
    }
}

/// An item.
#[derive(Default, Clone, Copy)]
pub(super) struct ItemFields {
    /// All of it.
    pub(super) whole: Option<Value>,
    pub(super) r#type: Field<Value>,
    pub(super) id: Field<Value>,
    pub(super) call_id: Field<Value>,
    pub(super) name: Field<Value>,
    pub(super) status: Field<Value>,
    pub(super) content: Field<Value>,
    pub(super) summary: Field<Value>,
    pub(super) encrypted_content: Field<Value>,
    pub(super) execution: Field<Value>,
    pub(super) environment: Field<Value>,
    pub(super) arguments: Field<Value>,
    pub(super) input: Field<Value>,
    pub(super) code: Field<Value>,
    pub(super) action: Field<Value>,
    pub(super) actions: Field<Value>,
    pub(super) operation: Field<Value>,
    pub(super) queries: Field<Value>,
    pub(super) revised_prompt: Field<Value>,
}

impl ItemFields {
    /// Reads the item that stands at `item`.
    pub(super) fn at(source: &str, item: Value) -> Result<Self, Malformed> {
        Self::read(&mut Reader::at(source, item)).map(|fields| Self { whole: Some(item), ..fields })
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut fields = Self::default();
        reader.object(|reader, key| {
            let field = match key {
                "type" => return fields.r#type.fill(reader, Reader::optional_string),
                "id" => &mut fields.id,
                "call_id" => &mut fields.call_id,
                "name" => &mut fields.name,
                "status" => &mut fields.status,
                "content" => &mut fields.content,
                "summary" => &mut fields.summary,
                "encrypted_content" => &mut fields.encrypted_content,
                "environment" => &mut fields.environment,
                "execution" => &mut fields.execution,
                "arguments" => &mut fields.arguments,
                "input" => &mut fields.input,
                "code" => &mut fields.code,
                "action" => &mut fields.action,
                "actions" => &mut fields.actions,
                "operation" => &mut fields.operation,
                "queries" => &mut fields.queries,
                "revised_prompt" => &mut fields.revised_prompt,
                _ => return reader.skip(),
            };
            field.fill(reader, Reader::optional_value)
        })?;
        Ok(fields)
    }

    /// The member of that name, of those that a payload can stand in.
    pub(super) fn member(&self, key: &str) -> Option<Value> {
        match key {
            "arguments" => self.arguments,
            "input" => self.input,
            "code" => self.code,
            "action" => self.action,
            "actions" => self.actions,
            "queries" => self.queries,
            "revised_prompt" => self.revised_prompt,
            _ => return None,
        }
        .get()
    }
}

/// A response, within an event or as a whole body.
#[derive(Default, Clone, Copy)]
pub(super) struct ResponseFields {
    pub(super) output: Field<Value>,
    pub(super) output_text: Field<Value>,
    pub(super) status: Field<Value>,
    pub(super) incomplete_details: Field<IncompleteFields>,
    pub(super) error: Field<Value>,
}

impl ResponseFields {
    /// Reads the whole body `frame`.
    pub(super) fn read(source: &str) -> Result<Self, Malformed> {
        let mut reader = Reader::new(source);
        let fields = Self::read_object(&mut reader)?;
        reader.end()?;
        Ok(fields)
    }

    /// Reads the response that stands at `response`.
    pub(super) fn at(source: &str, response: Value) -> Result<Self, Malformed> {
        Self::read_object(&mut Reader::at(source, response))
    }

    fn read_object(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut fields = Self::default();
        reader.object(|reader, key| {
            let field = match key {
                "incomplete_details" => return fields.incomplete_details.fill(reader, IncompleteFields::read),
                "output" => &mut fields.output,
                "output_text" => &mut fields.output_text,
                "status" => &mut fields.status,
                "error" => &mut fields.error,
                _ => return reader.skip(),
            };
            field.fill(reader, Reader::optional_value)
        })?;
        Ok(fields)
    }
}

/// Why a response is incomplete.
#[derive(Default, Clone, Copy)]
pub(super) struct IncompleteFields {
    pub(super) reason: Field<Value>,
}

impl IncompleteFields {
    fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, Malformed> {
        let mut fields = Self::default();
        let present = reader.optional_object(|reader, key| match key {
            "reason" => fields.reason.fill(reader, Reader::optional_value),
            _ => reader.skip(),
        })?;
        Ok(present.map(|()| fields))
    }
}
