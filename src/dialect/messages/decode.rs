//! Reads messages.

use serde::Deserialize;
use serde_json::value::RawValue;
use smallvec::SmallVec;

use super::{block_kind, is_empty_input};
use crate::block::{BlockId, BlockKind};
use crate::dialect::document::{self, Object, Strings, Text, Word};
use crate::dialect::{DecodeError, Frame, FrameRole, MAX_BLOCKS, Part, Piece, Slot};
use crate::sse;

/// Some proxies end every stream like this, whatever its dialect; the clients of this one ignore it.
const FOREIGN_TERMINATOR: &[u8] = b"[DONE]";

#[derive(Deserialize)]
struct EventFields<'a> {
    #[serde(borrow)]
    r#type: Option<Word<'a>>,
    index: Option<u32>,
    #[serde(borrow)]
    content_block: Option<Object<ContentBlock<'a>>>,
    #[serde(borrow)]
    delta: Option<Object<DeltaFields<'a>>>,
    #[serde(borrow)]
    message: Option<Object<MessageFields<'a>>>,
}

#[derive(Deserialize)]
struct MessageFields<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ContentBlock<'a> {
    #[serde(borrow)]
    r#type: Word<'a>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_use_id: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct DeltaFields<'a> {
    #[serde(borrow)]
    r#type: Option<Word<'a>>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    partial_json: Option<&'a RawValue>,
    #[serde(borrow)]
    stop_reason: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    r#type: Option<Word<'a>>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    stop_reason: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Debug, Clone, Copy)]
struct OpenBlock {
    index: u32,
    block: BlockId,
    kind: BlockKind,
}

/// What a content block says about itself.
struct Said<'a> {
    kind: BlockKind,
    call_id: Text<'a>,
    name: Text<'a>,
    text: Text<'a>,
}

/// Reads the documents of one response.
#[derive(Debug, Default)]
pub struct Decoder {
    blocks: u32,
    open: SmallVec<[OpenBlock; 2]>,
    /// A `message_start` came.
    has_begun: bool,
    strings: Strings,
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
        let text = document::utf8(data)?;
        let fields: EventFields<'_> = document::read(text)?;
        let kind = fields.r#type.as_ref().map(|word| word.0.as_ref()).unwrap_or_default();
        if !event.name.is_empty() && event.name != kind.as_bytes() {
            return Err(DecodeError::OutOfOrder { what: "an event whose name is not the type of its data" });
        }
        match kind {
            "content_block_delta" => self.delta(text, &fields, frame, each),
            "content_block_start" => self.start(text, &fields, frame, each),
            "content_block_stop" => self.stop(&fields, frame, each),
            "message_delta" => self.message_delta(text, &fields, frame, each),
            "message_start" => self.message_start(&fields),
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
        let fields: Body<'_> = document::read(text)?;
        if fields.error.is_some() || fields.r#type.as_ref().map(|word| word.0.as_ref()) == Some("error") {
            frame.role = FrameRole::Failure;
        }
        let blocks: Vec<Object<ContentBlock<'_>>> = match fields.content {
            Some(content) => document::read_part(text, content)?,
            None => Vec::new(),
        };
        let reason = self.strings.read_optional(text, fields.stop_reason)?;
        let mut all_said = Vec::with_capacity(blocks.len());
        for block in &blocks {
            all_said.push((self.new_block()?, self.said(text, block)?));
        }
        for (block, said) in all_said {
            let slot = Slot { block, choice: 0, kind: said.kind, starts: true, stops: true };
            self.report(slot, &said, frame, each);
        }
        if !reason.is_empty() {
            frame.finishes.push(0);
            each(Part::Finish { choice: 0, reason: self.strings.get(reason) });
        }
        each(Part::End);
        Ok(())
    }

    pub(crate) fn finish(&mut self, each: &mut dyn FnMut(Part<'_>)) {
        self.stop_all(false, each);
    }

    fn stop_all(&mut self, complete: bool, each: &mut dyn FnMut(Part<'_>)) {
        for open in self.open.drain(..) {
            each(Part::Stop { block: open.block, complete });
        }
    }

    fn message_start(&mut self, fields: &EventFields<'_>) -> Result<(), DecodeError> {
        // Clients pass over a second one, and go on counting blocks where the first message left off.
        if core::mem::replace(&mut self.has_begun, true) {
            return Err(DecodeError::OutOfOrder { what: "a second message_start" });
        }
        // Clients take the message as it stands here, with blocks that no event has announced.
        let content = fields.message.as_ref().and_then(|message| message.content).map(RawValue::get);
        if content.is_some_and(|content| content.bytes().any(|byte| !matches!(byte, b'[' | b']' | b' ' | b'\t' | b'\r' | b'\n')))
        {
            return Err(DecodeError::OutOfOrder { what: "a message_start with content" });
        }
        Ok(())
    }

    fn start(
        &mut self,
        document: &str,
        fields: &EventFields<'_>,
        frame: &mut Frame,
        each: &mut dyn FnMut(Part<'_>),
    ) -> Result<(), DecodeError> {
        let (Some(index), Some(content_block)) = (fields.index, &fields.content_block) else {
            return Err(DecodeError::OutOfOrder { what: "a content_block_start without index or content_block" });
        };
        if self.open.iter().any(|open| open.index == index) {
            return Err(DecodeError::OutOfOrder { what: "a content block that is open begins again" });
        }
        let said = self.said(document, content_block)?;
        let block = self.new_block()?;
        self.open.push(OpenBlock { index, block, kind: said.kind });
        let slot = Slot { block, choice: 0, kind: said.kind, starts: true, stops: false };
        self.report(slot, &said, frame, each);
        Ok(())
    }

    fn said<'a>(&mut self, document: &str, block: &ContentBlock<'a>) -> Result<Said<'a>, DecodeError> {
        let kind = block_kind(&block.r#type.0);
        let mut said = Said { kind, call_id: Text::EMPTY, name: Text::EMPTY, text: Text::EMPTY };
        match kind {
            BlockKind::Text => said.text = self.strings.read_optional(document, block.text)?,
            BlockKind::ToolCall | BlockKind::ServerToolCall => {
                said.call_id = self.strings.read_optional(document, block.id)?;
                said.name = self.strings.read_optional(document, block.name)?;
                said.text = match block.input.map(RawValue::get).filter(|input| !is_empty_input(input)) {
                    Some(input) => Text::Borrowed(input),
                    None => Text::EMPTY,
                };
            }
            BlockKind::ToolResult => said.call_id = self.strings.read_optional(document, block.tool_use_id)?,
            BlockKind::Refusal | BlockKind::Reasoning | BlockKind::Other => {}
        }
        Ok(said)
    }

    fn delta(
        &mut self,
        document: &str,
        fields: &EventFields<'_>,
        frame: &mut Frame,
        each: &mut dyn FnMut(Part<'_>),
    ) -> Result<(), DecodeError> {
        let Some((_, open)) = fields.index.and_then(|index| self.open_block(index)) else {
            return Err(DecodeError::OutOfOrder { what: "a delta of a content block that is not open" });
        };
        let Some(delta) = &fields.delta else {
            return Err(DecodeError::OutOfOrder { what: "a content_block_delta without delta" });
        };
        let literal = match (delta.r#type.as_ref().map(|word| word.0.as_ref()).unwrap_or_default(), open.kind) {
            ("text_delta", BlockKind::Text) => delta.text,
            ("input_json_delta", kind) if kind.is_tool_call() => delta.partial_json,
            ("text_delta", _) | ("input_json_delta", BlockKind::Text) => {
                return Err(DecodeError::OutOfOrder { what: "a delta of another kind than its content block" });
            }
            _ => None,
        };
        let text = self.strings.read_optional(document, literal)?;
        let slot = Slot { block: open.block, choice: 0, kind: open.kind, starts: false, stops: false };
        self.report(slot, &Said { kind: open.kind, call_id: Text::EMPTY, name: Text::EMPTY, text }, frame, each);
        Ok(())
    }

    fn stop(&mut self, fields: &EventFields<'_>, frame: &mut Frame, each: &mut dyn FnMut(Part<'_>)) -> Result<(), DecodeError> {
        let Some((position, open)) = fields.index.and_then(|index| self.open_block(index)) else {
            return Err(DecodeError::OutOfOrder { what: "the end of a content block that is not open" });
        };
        self.open.remove(position);
        let slot = Slot { block: open.block, choice: 0, kind: open.kind, starts: false, stops: true };
        let nothing = Said { kind: open.kind, call_id: Text::EMPTY, name: Text::EMPTY, text: Text::EMPTY };
        self.report(slot, &nothing, frame, each);
        Ok(())
    }

    fn message_delta(
        &mut self,
        document: &str,
        fields: &EventFields<'_>,
        frame: &mut Frame,
        each: &mut dyn FnMut(Part<'_>),
    ) -> Result<(), DecodeError> {
        frame.role = FrameRole::Closing;
        let literal = fields.delta.as_ref().and_then(|delta| delta.stop_reason);
        let reason = self.strings.read_optional(document, literal)?;
        if reason.is_empty() {
            return Ok(());
        }
        self.stop_all(self.strings.get(reason) != "max_tokens", each);
        frame.finishes.push(0);
        each(Part::Finish { choice: 0, reason: self.strings.get(reason) });
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

    fn report(&self, slot: Slot, said: &Said<'_>, frame: &mut Frame, each: &mut dyn FnMut(Part<'_>)) {
        frame.slots.push(slot);
        each(Part::Piece(Piece {
            block: slot.block,
            choice: slot.choice,
            kind: slot.kind,
            starts: slot.starts,
            stops: slot.stops,
            call_id: self.strings.get(said.call_id),
            name: self.strings.get(said.name),
            text: self.strings.get(said.text),
            free_form: false,
        }));
    }
}
