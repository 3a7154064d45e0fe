//! Reads messages.

use core::ops::Range;

use smallvec::SmallVec;

use super::{block_kind, is_empty_input};
use crate::block::{BlockId, BlockKind};
use crate::dialect::decoding::{self, BlockNumbers, NameBytes, Strings, Text};
use crate::dialect::template::{Alike, Hole, Template};
use crate::dialect::{DecodeError, DecodedEvent, Delta, Frame, FrameRole, Slot};
use crate::wire::json::{Field, Malformed, Reader, Value};

/// Some proxies end every stream like this, whatever its dialect; the clients of this one ignore it.
const FOREIGN_TERMINATOR: &[u8] = b"[DONE]";

#[derive(Default)]
struct EventFields {
    r#type: Field<Value>,
    index: Field<u32>,
    content_block: Field<BlockFields>,
    delta: Field<DeltaFields>,
    /// `message.content`
    content: Field<Value>,
}

impl EventFields {
    fn read(source: &str) -> Result<Self, Malformed> {
        let mut fields = Self::default();
        let mut reader = Reader::new(source);
        reader.object(|reader, key| match key {
            "type" => fields.r#type.fill(reader, Reader::optional_string),
            "index" => fields.index.fill(reader, Reader::optional_u32),
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

/// A content block, or the beginning of one.
#[derive(Clone, Copy)]
struct BlockFields {
    r#type: Value,
    id: Option<Value>,
    tool_use_id: Option<Value>,
    name: Option<Value>,
    input: Option<Value>,
    text: Option<Value>,
    /// Where it stands in the frame.
    start: usize,
    end: usize,
}

impl BlockFields {
    fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, Malformed> {
        let start = reader.position();
        let values = reader.optional_members(["type", "id", "tool_use_id", "name", "input", "text"])?;
        let Some([r#type, id, tool_use_id, name, input, text]) = values else { return Ok(None) };
        let r#type = r#type.ok_or_else(|| reader.malformed())?;
        Ok(Some(Self { r#type, id, tool_use_id, name, input, text, start, end: reader.position() }))
    }
}

#[derive(Clone, Copy)]
struct DeltaFields {
    r#type: Option<Value>,
    text: Option<Value>,
    partial_json: Option<Value>,
    stop_reason: Option<Value>,
    /// Where it stands in the frame.
    start: usize,
    end: usize,
}

impl DeltaFields {
    fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, Malformed> {
        let start = reader.position();
        let values = reader.optional_members(["type", "text", "partial_json", "stop_reason"])?;
        Ok(values.map(|[r#type, text, partial_json, stop_reason]| Self {
            r#type,
            text,
            partial_json,
            stop_reason,
            start,
            end: reader.position(),
        }))
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

/// Reads the frames of one response.
#[derive(Debug, Default)]
pub struct Decoder {
    blocks: BlockNumbers,
    names: NameBytes,
    open: SmallVec<[OpenBlock; 2]>,
    /// Whether the events that build the message have names.
    named: Option<bool>,
    strings: Strings,
    template: Template<Meaning>,
}

impl Decoder {
    pub(crate) fn event(
        &mut self,
        name: &[u8],
        data: &[u8],
        frame: &mut Frame,
        each: &mut dyn FnMut(DecodedEvent<'_>),
    ) -> Result<(), DecodeError> {
        if data == FOREIGN_TERMINATOR {
            return Ok(());
        }
        self.strings.clear();
        if self.is_delta_again(name, data, frame, each)? {
            return Ok(());
        }
        let text = decoding::utf8(data)?;
        let fields = EventFields::read(text)?;
        let kind = self.strings.read(text, fields.r#type.get())?;
        let kind = self.strings.get(text, kind);
        if !name.is_empty() && name != kind.as_bytes() {
            return Err(DecodeError::OutOfOrder { what: "an event whose name is not the type of its data" });
        }
        // Some clients pass over events without a name, others do not look at names: they must read the same message.
        let is_part = kind.starts_with("content_block_") || kind.starts_with("message_") || kind == "error";
        if is_part && *self.named.get_or_insert(!name.is_empty()) == name.is_empty() {
            return Err(DecodeError::OutOfOrder { what: "events with and without names in one stream" });
        }
        match kind {
            "content_block_delta" => self.delta(text, &fields, frame, each),
            "content_block_start" => self.start(text, &fields, frame, each),
            "content_block_stop" => self.stop(text, &fields, frame, each),
            "message_delta" => self.message_delta(text, &fields, frame, each),
            "message_start" => self.message_start(text, &fields, frame, each),
            "message_stop" => {
                frame.role = FrameRole::Terminator;
                self.stop_all(true, each);
                each(DecodedEvent::End);
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
            _ => self.report_unknown(text, 0..text.len(), fields.r#type.get(), frame, each),
        }
    }

    pub(crate) fn body(
        &mut self,
        body: &[u8],
        frame: &mut Frame,
        each: &mut dyn FnMut(DecodedEvent<'_>),
    ) -> Result<(), DecodeError> {
        frame.clear();
        self.strings.clear();
        let text = decoding::utf8(body)?;
        let mut reader = Reader::new(text);
        let [kind, content, stop_reason, error] = reader.members(["type", "content", "stop_reason", "error"])?;
        reader.end()?;
        let said_kind = self.strings.read(text, kind)?;
        if error.is_some() || self.strings.get(text, said_kind) == "error" {
            frame.role = FrameRole::Failure;
        } else if content.is_none() {
            self.report_unknown(text, 0..text.len(), kind, frame, each)?;
        }
        let all_said = self.said_in(text, content)?;
        let reason = self.strings.read(text, stop_reason)?;
        for (block, said) in all_said {
            let slot = Slot { block, choice: 0, kind: said.kind, starts: true, stops: true };
            self.report(text, slot, &said, frame, each);
        }
        if !reason.is_empty() {
            frame.finishes.push(0);
            each(DecodedEvent::Finish { choice: 0, reason: self.strings.get(text, reason) });
        }
        each(DecodedEvent::End);
        Ok(())
    }

    pub(crate) fn finish(&mut self, each: &mut dyn FnMut(DecodedEvent<'_>)) {
        self.stop_all(false, each);
    }

    /// Reads a delta that is like an earlier one but for its string; whether it is one.
    fn is_delta_again(
        &mut self,
        name: &[u8],
        data: &[u8],
        frame: &mut Frame,
        each: &mut dyn FnMut(DecodedEvent<'_>),
    ) -> Result<bool, DecodeError> {
        let Some(Alike { string, value, meaning, .. }) = self.template.find(data) else { return Ok(false) };
        let open = self.open_block(meaning.index).map(|(_, open)| open).filter(|open| open.kind == meaning.kind);
        let Some(open) = open.filter(|_| match self.named {
            Some(true) => name == b"content_block_delta",
            _ => name.is_empty(),
        }) else {
            return Ok(false);
        };
        let text = self.strings.read(string, Some(value))?;
        self.report_delta(string, open, text, frame, each);
        Ok(true)
    }

    fn stop_all(&mut self, complete: bool, each: &mut dyn FnMut(DecodedEvent<'_>)) {
        for open in self.open.drain(..) {
            each(DecodedEvent::Stop { block: open.block, complete });
        }
    }

    /// Clients take the message as it stands here, with blocks that no other event announces.
    fn message_start(
        &mut self,
        source: &str,
        fields: &EventFields,
        frame: &mut Frame,
        each: &mut dyn FnMut(DecodedEvent<'_>),
    ) -> Result<(), DecodeError> {
        let all_said = self.said_in(source, fields.content.get())?;
        // Another message in the same stream: what was open of the first stays cut off.
        self.stop_all(false, each);
        if !all_said.is_empty() {
            frame.role = FrameRole::Opening;
        }
        for (block, said) in all_said {
            let slot = Slot { block, choice: 0, kind: said.kind, starts: true, stops: true };
            self.report(source, slot, &said, frame, each);
        }
        Ok(())
    }

    /// What the blocks in `content`, an array, say about themselves.
    fn said_in(&mut self, source: &str, content: Option<Value>) -> Result<Vec<(BlockId, Said)>, DecodeError> {
        let mut all_said = Vec::new();
        if let Some(content) = content {
            Reader::at(source, content).array(|reader| {
                let block = BlockFields::read(reader)?.ok_or_else(|| reader.malformed())?;
                all_said.push((self.blocks.begin()?, self.said(source, &block, true)?));
                Ok::<_, DecodeError>(())
            })?;
        }
        Ok(all_said)
    }

    fn start(
        &mut self,
        source: &str,
        fields: &EventFields,
        frame: &mut Frame,
        each: &mut dyn FnMut(DecodedEvent<'_>),
    ) -> Result<(), DecodeError> {
        let (Some(index), Some(content_block)) = (fields.index.get(), fields.content_block.get()) else {
            return Err(DecodeError::OutOfOrder { what: "a content_block_start without index or content_block" });
        };
        if self.open.iter().any(|open| open.index == index) {
            return Err(DecodeError::OutOfOrder { what: "a content block that is open begins again" });
        }
        let said = self.said(source, &content_block, false)?;
        let block = self.blocks.begin()?;
        self.open.push(OpenBlock { index, block, kind: said.kind });
        let slot = Slot { block, choice: 0, kind: said.kind, starts: true, stops: false };
        self.report(source, slot, &said, frame, each);
        Ok(())
    }

    /// What a block says about itself; nothing is to follow if it is `whole`.
    fn said(&mut self, source: &str, block: &BlockFields, whole: bool) -> Result<Said, DecodeError> {
        let kind = self.strings.read(source, Some(block.r#type))?;
        let kind = block_kind(self.strings.get(source, kind));
        let mut said = Said { kind, call_id: Text::EMPTY, name: Text::EMPTY, text: Text::EMPTY };
        match kind {
            BlockKind::Text => said.text = self.strings.read(source, block.text)?,
            BlockKind::ToolCall | BlockKind::ServerToolCall => {
                said.call_id = self.strings.read(source, block.id)?;
                said.name = self.strings.read(source, block.name)?;
                let input = block.input.map_or(Text::EMPTY, Text::verbatim);
                let is_to_come = !whole && is_empty_input(self.strings.get(source, input));
                said.text = if is_to_come { Text::EMPTY } else { input };
            }
            BlockKind::ToolResult => said.call_id = self.strings.read(source, block.tool_use_id)?,
            BlockKind::Unknown => said.text = self.strings.leaves(source, block.start..block.end, Some(block.r#type))?,
            BlockKind::Refusal | BlockKind::Reasoning | BlockKind::Other => {}
        }
        self.names.add(self.strings.get(source, said.call_id))?;
        self.names.add(self.strings.get(source, said.name))?;
        Ok(said)
    }

    fn delta(
        &mut self,
        source: &str,
        fields: &EventFields,
        frame: &mut Frame,
        each: &mut dyn FnMut(DecodedEvent<'_>),
    ) -> Result<(), DecodeError> {
        let Some((_, open)) = fields.index.get().and_then(|index| self.open_block(index)) else {
            return Err(DecodeError::OutOfOrder { what: "a delta of a content block that is not open" });
        };
        let Some(delta) = fields.delta.get() else {
            return Err(DecodeError::OutOfOrder { what: "a content_block_delta without delta" });
        };
        let kind = self.strings.read(source, delta.r#type)?;
        let value = match (self.strings.get(source, kind), open.kind) {
            ("text_delta", BlockKind::Text) => delta.text,
            ("input_json_delta", kind) if kind.is_tool_call() => delta.partial_json,
            ("text_delta", _) | ("input_json_delta", BlockKind::Text) => {
                return Err(DecodeError::OutOfOrder { what: "a delta of another kind than its content block" });
            }
            ("citations_delta", BlockKind::Text) | (_, BlockKind::Other) => None,
            (_, BlockKind::Unknown) => {
                let text = self.strings.leaves(source, delta.start..delta.end, delta.r#type)?;
                self.report_delta(source, open, text, frame, each);
                return Ok(());
            }
            _ => return self.report_unknown(source, delta.start..delta.end, delta.r#type, frame, each),
        };
        let text = self.strings.read(source, value)?;
        if let (Some(index), Some(_), Some(value)) = (fields.index.get(), value, text.value()) {
            self.template.learn(source, &[(Hole::Text, Some(value))], Meaning { index, kind: open.kind });
        }
        self.report_delta(source, open, text, frame, each);
        Ok(())
    }

    fn report_delta(&self, source: &str, open: OpenBlock, text: Text, frame: &mut Frame, each: &mut dyn FnMut(DecodedEvent<'_>)) {
        let slot = Slot { block: open.block, choice: 0, kind: open.kind, starts: false, stops: false };
        self.report(source, slot, &Said { kind: open.kind, call_id: Text::EMPTY, name: Text::EMPTY, text }, frame, each);
    }

    fn stop(
        &mut self,
        source: &str,
        fields: &EventFields,
        frame: &mut Frame,
        each: &mut dyn FnMut(DecodedEvent<'_>),
    ) -> Result<(), DecodeError> {
        let Some((position, open)) = fields.index.get().and_then(|index| self.open_block(index)) else {
            return Err(DecodeError::OutOfOrder { what: "the end of a content block that is not open" });
        };
        self.open.remove(position);
        let slot = Slot { block: open.block, choice: 0, kind: open.kind, starts: false, stops: true };
        let nothing = Said { kind: open.kind, call_id: Text::EMPTY, name: Text::EMPTY, text: Text::EMPTY };
        self.report(source, slot, &nothing, frame, each);
        Ok(())
    }

    fn message_delta(
        &mut self,
        source: &str,
        fields: &EventFields,
        frame: &mut Frame,
        each: &mut dyn FnMut(DecodedEvent<'_>),
    ) -> Result<(), DecodeError> {
        frame.role = FrameRole::Closing;
        let reason = self.strings.read(source, fields.delta.get().and_then(|delta| delta.stop_reason))?;
        if reason.is_empty() {
            return Ok(());
        }
        self.stop_all(self.strings.get(source, reason) != "max_tokens", each);
        frame.finishes.push(0);
        each(DecodedEvent::Finish { choice: 0, reason: self.strings.get(source, reason) });
        Ok(())
    }

    fn open_block(&self, index: u32) -> Option<(usize, OpenBlock)> {
        let position = self.open.iter().rposition(|open| open.index == index)?;
        self.open.get(position).map(|open| (position, *open))
    }

    /// Reports something of a type that is unknown by the strings in `part` of the frame.
    fn report_unknown(
        &mut self,
        source: &str,
        part: Range<usize>,
        r#type: Option<Value>,
        frame: &mut Frame,
        each: &mut dyn FnMut(DecodedEvent<'_>),
    ) -> Result<(), DecodeError> {
        let text = self.strings.leaves(source, part, r#type)?;
        frame.role = FrameRole::Unknown;
        let kind = BlockKind::Unknown;
        let slot = Slot { block: self.blocks.begin_unknown(), choice: 0, kind, starts: true, stops: true };
        self.report(source, slot, &Said { kind, call_id: Text::EMPTY, name: Text::EMPTY, text }, frame, each);
        Ok(())
    }

    fn report(&self, source: &str, slot: Slot, said: &Said, frame: &mut Frame, each: &mut dyn FnMut(DecodedEvent<'_>)) {
        frame.slots.push(slot);
        each(DecodedEvent::Delta(Delta {
            call_id: self.strings.get(source, said.call_id),
            name: self.strings.get(source, said.name),
            text: self.strings.get(source, said.text),
            ..Delta::of(slot)
        }));
    }
}
