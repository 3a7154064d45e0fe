//! Reads messages.

use smallvec::SmallVec;

use super::{block_kind, is_empty_input};
use crate::block::{BlockId, BlockKind};
use crate::dialect::document::{self, NameBytes, Strings, Text};
use crate::dialect::template::Template;
use crate::dialect::{DecodeError, Frame, FrameRole, MAX_BLOCKS, Part, Piece, Slot};
use crate::json::{Field, Malformed, Reader, Value};
use crate::sse;

/// Some proxies end every stream like this, whatever its dialect; the clients of this one ignore it.
const FOREIGN_TERMINATOR: &[u8] = b"[DONE]";

#[derive(Default)]
struct EventFields {
    r#type: Field<Value>,
    index: Field<u32>,
    content_block: Field<BlockFields>,
    delta: Field<DeltaFields>,
    message: Field<MessageFields>,
}

impl EventFields {
    fn read(document: &str) -> Result<Self, Malformed> {
        let mut fields = Self::default();
        let mut reader = Reader::new(document);
        reader.object(|reader, key| match key {
            "type" => fields.r#type.fill(reader, Reader::optional_string),
            "index" => fields.index.fill(reader, Reader::optional_u32),
            "delta" => fields.delta.fill(reader, DeltaFields::read),
            "content_block" => fields.content_block.fill(reader, BlockFields::read),
            "message" => fields.message.fill(reader, MessageFields::read),
            _ => reader.skip(),
        })?;
        reader.end()?;
        Ok(fields)
    }
}

/// The message that a stream begins with.
#[derive(Default, Clone, Copy)]
struct MessageFields {
    content: Field<Value>,
}

impl MessageFields {
    fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, Malformed> {
        let mut fields = Self::default();
        let present = reader.optional_object(|reader, key| match key {
            "content" => fields.content.fill(reader, Reader::optional_value),
            _ => reader.skip(),
        })?;
        Ok(present.map(|()| fields))
    }
}

/// A content block, or the beginning of one.
#[derive(Default, Clone, Copy)]
struct BlockFields {
    r#type: Field<Value>,
    id: Field<Value>,
    tool_use_id: Field<Value>,
    name: Field<Value>,
    input: Field<Value>,
    text: Field<Value>,
}

impl BlockFields {
    fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, Malformed> {
        let mut fields = Self::default();
        let present = reader.optional_object(|reader, key| {
            let field = match key {
                "type" => return fields.r#type.fill(reader, Reader::optional_string),
                "id" => &mut fields.id,
                "tool_use_id" => &mut fields.tool_use_id,
                "name" => &mut fields.name,
                "input" => &mut fields.input,
                "text" => &mut fields.text,
                _ => return reader.skip(),
            };
            field.fill(reader, Reader::optional_value)
        })?;
        if present.is_some() && fields.r#type.get().is_none() {
            return Err(reader.malformed());
        }
        Ok(present.map(|()| fields))
    }
}

#[derive(Default, Clone, Copy)]
struct DeltaFields {
    r#type: Field<Value>,
    text: Field<Value>,
    partial_json: Field<Value>,
    stop_reason: Field<Value>,
}

impl DeltaFields {
    fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, Malformed> {
        let mut fields = Self::default();
        let present = reader.optional_object(|reader, key| {
            let field = match key {
                "type" => return fields.r#type.fill(reader, Reader::optional_string),
                "text" => &mut fields.text,
                "partial_json" => &mut fields.partial_json,
                "stop_reason" => &mut fields.stop_reason,
                _ => return reader.skip(),
            };
            field.fill(reader, Reader::optional_value)
        })?;
        Ok(present.map(|()| fields))
    }
}

/// A whole body without its content blocks.
#[derive(Default)]
struct BodyFields {
    r#type: Field<Value>,
    content: Field<Value>,
    stop_reason: Field<Value>,
    error: Field<Value>,
}

impl BodyFields {
    fn read(document: &str) -> Result<Self, Malformed> {
        let mut fields = Self::default();
        let mut reader = Reader::new(document);
        reader.object(|reader, key| {
            let field = match key {
                "type" => return fields.r#type.fill(reader, Reader::optional_string),
                "content" => &mut fields.content,
                "stop_reason" => &mut fields.stop_reason,
                "error" => &mut fields.error,
                _ => return reader.skip(),
            };
            field.fill(reader, Reader::optional_value)
        })?;
        reader.end()?;
        Ok(fields)
    }
}

#[derive(Debug, Clone, Copy)]
struct OpenBlock {
    index: u32,
    block: BlockId,
    kind: BlockKind,
}

/// What a content block says about itself.
struct Said {
    kind: BlockKind,
    call_id: Text,
    name: Text,
    text: Text,
}

/// What the one string of a delta means: text, or input, of a block of this kind.
#[derive(Debug, Clone, Copy)]
struct Meaning {
    index: u32,
    kind: BlockKind,
}

/// Reads the documents of one response.
#[derive(Debug, Default)]
pub struct Decoder {
    blocks: u32,
    names: NameBytes,
    open: SmallVec<[OpenBlock; 2]>,
    /// A `message_start` came.
    has_begun: bool,
    strings: Strings,
    template: Template<Meaning>,
}

impl Decoder {
    pub(crate) fn event(
        &mut self,
        event: &sse::Event<'_>,
        frame: &mut Frame,
        each: &mut dyn FnMut(Part<'_>),
    ) -> Result<(), DecodeError> {
        frame.clear();
        let Some(data) = event.data.filter(|data| !data.is_empty()) else {
            frame.role = FrameRole::Free;
            return Ok(());
        };
        if data == FOREIGN_TERMINATOR {
            return Ok(());
        }
        self.strings.clear();
        if self.is_delta_again(event.name, data, frame, each)? {
            return Ok(());
        }
        let text = document::utf8(data)?;
        let fields = EventFields::read(text)?;
        let kind = self.strings.read(text, fields.r#type.get())?;
        let kind = self.strings.get(text, kind);
        if !event.name.is_empty() && event.name != kind.as_bytes() {
            return Err(DecodeError::OutOfOrder { what: "an event whose name is not the type of its data" });
        }
        match kind {
            "content_block_delta" => self.delta(text, &fields, frame, each),
            "content_block_start" => self.start(text, &fields, frame, each),
            "content_block_stop" => self.stop(text, &fields, frame, each),
            "message_delta" => self.message_delta(text, &fields, frame, each),
            "message_start" => self.message_start(text, &fields),
            "message_stop" => {
                frame.role = FrameRole::Terminator;
                self.stop_all(true, each);
                each(Part::End);
                Ok(())
            }
            "ping" => {
                frame.role = FrameRole::Free;
                Ok(())
            }
            "error" => {
                frame.role = FrameRole::Failure;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn body(&mut self, body: &[u8], frame: &mut Frame, each: &mut dyn FnMut(Part<'_>)) -> Result<(), DecodeError> {
        frame.clear();
        self.strings.clear();
        let text = document::utf8(body)?;
        let fields = BodyFields::read(text)?;
        let kind = self.strings.read(text, fields.r#type.get())?;
        if fields.error.get().is_some() || self.strings.get(text, kind) == "error" {
            frame.role = FrameRole::Failure;
        }
        let mut all_said = Vec::new();
        if let Some(content) = fields.content.get() {
            Reader::at(text, content).array(|reader| {
                let block = BlockFields::read(reader)?.ok_or_else(|| reader.malformed())?;
                all_said.push((self.new_block()?, self.said(text, &block)?));
                Ok::<_, DecodeError>(())
            })?;
        }
        let reason = self.strings.read(text, fields.stop_reason.get())?;
        for (block, said) in all_said {
            let slot = Slot { block, choice: 0, kind: said.kind, starts: true, stops: true };
            self.report(text, slot, &said, frame, each);
        }
        if !reason.is_empty() {
            frame.finishes.push(0);
            each(Part::Finish { choice: 0, reason: self.strings.get(text, reason) });
        }
        each(Part::End);
        Ok(())
    }

    pub(crate) fn finish(&mut self, each: &mut dyn FnMut(Part<'_>)) {
        self.stop_all(false, each);
    }

    /// Reads a delta that is like an earlier one but for its string; whether it is one.
    fn is_delta_again(
        &mut self,
        name: &[u8],
        data: &[u8],
        frame: &mut Frame,
        each: &mut dyn FnMut(Part<'_>),
    ) -> Result<bool, DecodeError> {
        let Some((string, value, meaning)) = self.template.find(data) else { return Ok(false) };
        let open = self.open_block(meaning.index).map(|(_, open)| open).filter(|open| open.kind == meaning.kind);
        let Some(open) = open.filter(|_| matches!(name, b"" | b"content_block_delta")) else { return Ok(false) };
        let text = self.strings.read(string, Some(value))?;
        self.report_delta(string, open, text, frame, each);
        Ok(true)
    }

    fn stop_all(&mut self, complete: bool, each: &mut dyn FnMut(Part<'_>)) {
        for open in self.open.drain(..) {
            each(Part::Stop { block: open.block, complete });
        }
    }

    fn message_start(&mut self, document: &str, fields: &EventFields) -> Result<(), DecodeError> {
        // Clients pass over a second one, and go on counting blocks where the first message left off.
        if core::mem::replace(&mut self.has_begun, true) {
            return Err(DecodeError::OutOfOrder { what: "a second message_start" });
        }
        let Some(content) = fields.message.get().and_then(|message| message.content.get()) else { return Ok(()) };
        // Clients take the message as it stands here, with blocks that no event has announced.
        Reader::at(document, content).array(|_| Err(DecodeError::OutOfOrder { what: "a message_start with content" }))
    }

    fn start(
        &mut self,
        document: &str,
        fields: &EventFields,
        frame: &mut Frame,
        each: &mut dyn FnMut(Part<'_>),
    ) -> Result<(), DecodeError> {
        let (Some(index), Some(content_block)) = (fields.index.get(), fields.content_block.get()) else {
            return Err(DecodeError::OutOfOrder { what: "a content_block_start without index or content_block" });
        };
        if self.open.iter().any(|open| open.index == index) {
            return Err(DecodeError::OutOfOrder { what: "a content block that is open begins again" });
        }
        let said = self.said(document, &content_block)?;
        let block = self.new_block()?;
        self.open.push(OpenBlock { index, block, kind: said.kind });
        let slot = Slot { block, choice: 0, kind: said.kind, starts: true, stops: false };
        self.report(document, slot, &said, frame, each);
        Ok(())
    }

    fn said(&mut self, document: &str, block: &BlockFields) -> Result<Said, DecodeError> {
        let kind = self.strings.read(document, block.r#type.get())?;
        let kind = block_kind(self.strings.get(document, kind));
        let mut said = Said { kind, call_id: Text::EMPTY, name: Text::EMPTY, text: Text::EMPTY };
        match kind {
            BlockKind::Text => said.text = self.strings.read(document, block.text.get())?,
            BlockKind::ToolCall | BlockKind::ServerToolCall => {
                said.call_id = self.strings.read(document, block.id.get())?;
                said.name = self.strings.read(document, block.name.get())?;
                let input = block.input.get().map(Text::verbatim).unwrap_or(Text::EMPTY);
                said.text = if is_empty_input(self.strings.get(document, input)) { Text::EMPTY } else { input };
            }
            BlockKind::ToolResult => said.call_id = self.strings.read(document, block.tool_use_id.get())?,
            BlockKind::Refusal | BlockKind::Reasoning | BlockKind::Other => {}
        }
        self.names.add(self.strings.get(document, said.call_id))?;
        self.names.add(self.strings.get(document, said.name))?;
        Ok(said)
    }

    fn delta(
        &mut self,
        document: &str,
        fields: &EventFields,
        frame: &mut Frame,
        each: &mut dyn FnMut(Part<'_>),
    ) -> Result<(), DecodeError> {
        let Some((_, open)) = fields.index.get().and_then(|index| self.open_block(index)) else {
            return Err(DecodeError::OutOfOrder { what: "a delta of a content block that is not open" });
        };
        let Some(delta) = fields.delta.get() else {
            return Err(DecodeError::OutOfOrder { what: "a content_block_delta without delta" });
        };
        let kind = self.strings.read(document, delta.r#type.get())?;
        let value = match (self.strings.get(document, kind), open.kind) {
            ("text_delta", BlockKind::Text) => delta.text.get(),
            ("input_json_delta", kind) if kind.is_tool_call() => delta.partial_json.get(),
            ("text_delta", _) | ("input_json_delta", BlockKind::Text) => {
                return Err(DecodeError::OutOfOrder { what: "a delta of another kind than its content block" });
            }
            _ => None,
        };
        let text = self.strings.read(document, value)?;
        if let (Some(index), Some(_)) = (fields.index.get(), value) {
            self.template.learn(document, text, None, Meaning { index, kind: open.kind });
        }
        self.report_delta(document, open, text, frame, each);
        Ok(())
    }

    fn report_delta(&self, document: &str, open: OpenBlock, text: Text, frame: &mut Frame, each: &mut dyn FnMut(Part<'_>)) {
        let slot = Slot { block: open.block, choice: 0, kind: open.kind, starts: false, stops: false };
        self.report(document, slot, &Said { kind: open.kind, call_id: Text::EMPTY, name: Text::EMPTY, text }, frame, each);
    }

    fn stop(
        &mut self,
        document: &str,
        fields: &EventFields,
        frame: &mut Frame,
        each: &mut dyn FnMut(Part<'_>),
    ) -> Result<(), DecodeError> {
        let Some((position, open)) = fields.index.get().and_then(|index| self.open_block(index)) else {
            return Err(DecodeError::OutOfOrder { what: "the end of a content block that is not open" });
        };
        self.open.remove(position);
        let slot = Slot { block: open.block, choice: 0, kind: open.kind, starts: false, stops: true };
        let nothing = Said { kind: open.kind, call_id: Text::EMPTY, name: Text::EMPTY, text: Text::EMPTY };
        self.report(document, slot, &nothing, frame, each);
        Ok(())
    }

    fn message_delta(
        &mut self,
        document: &str,
        fields: &EventFields,
        frame: &mut Frame,
        each: &mut dyn FnMut(Part<'_>),
    ) -> Result<(), DecodeError> {
        frame.role = FrameRole::Closing;
        let reason = self.strings.read(document, fields.delta.get().and_then(|delta| delta.stop_reason.get()))?;
        if reason.is_empty() {
            return Ok(());
        }
        self.stop_all(self.strings.get(document, reason) != "max_tokens", each);
        frame.finishes.push(0);
        each(Part::Finish { choice: 0, reason: self.strings.get(document, reason) });
        Ok(())
    }

    fn open_block(&self, index: u32) -> Option<(usize, OpenBlock)> {
        let position = self.open.iter().rposition(|open| open.index == index)?;
        self.open.get(position).map(|open| (position, *open))
    }

    fn new_block(&mut self) -> Result<BlockId, DecodeError> {
        let block = BlockId(self.blocks);
        if usize::try_from(self.blocks).is_ok_and(|blocks| blocks >= MAX_BLOCKS) {
            return Err(DecodeError::TooManyBlocks);
        }
        self.blocks = self.blocks.saturating_add(1);
        Ok(block)
    }

    fn report(&self, document: &str, slot: Slot, said: &Said, frame: &mut Frame, each: &mut dyn FnMut(Part<'_>)) {
        frame.slots.push(slot);
        each(Part::Piece(Piece {
            block: slot.block,
            choice: slot.choice,
            kind: slot.kind,
            starts: slot.starts,
            stops: slot.stops,
            call_id: self.strings.get(document, said.call_id),
            name: self.strings.get(document, said.name),
            text: self.strings.get(document, said.text),
            free_form: false,
        }));
    }
}
