//! Reads messages.

use core::ops::Range;

use smallvec::SmallVec;

use super::fields::{BlockFields, EventFields, EventKind, characters};
use super::sequence::{FOREIGN_TERMINATOR, Sequence};
use super::{block_kind, is_empty_input};
use crate::block::{BlockId, BlockKind, Clarity};
use crate::dialect::decoding::{self, BlockNumbers, NameBytes, Strings, Text};
use crate::dialect::plain;
use crate::dialect::template::{Alike, Hole, Template};
use crate::dialect::{Arranged, DecodeError, DecodedEvent, Delta, Frame, FrameRole, Slot};
use crate::wire::json::{Reader, Value};
use crate::wire::sse;

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
    clarity: Clarity,
}

impl Said {
    const fn nothing(kind: BlockKind) -> Self {
        Self { kind, call_id: Text::EMPTY, name: Text::EMPTY, text: Text::EMPTY, clarity: Clarity::Plain }
    }
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
    sequence: Sequence,
    strings: Strings,
    template: Template<Meaning>,
}

impl Decoder {
    /// Thinking that nobody signed is reasoning that a policy wants to see.
    pub(crate) const fn read_thinking(&mut self) {
        self.sequence.hold_thinking();
    }

    pub(crate) fn arrange(&mut self, event: &sse::Event<'_>, out: &mut Vec<u8>) -> Result<Arranged, DecodeError> {
        self.sequence.event(event, out)
    }

    pub(crate) fn arrange_end(&mut self, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        self.sequence.finish(out)
    }

    /// Reads a delta that is like an earlier one but for its string, whose block is open and needs no arranging; whether it
    /// is one.
    pub(crate) fn event_again(
        &mut self,
        name: &[u8],
        data: &[u8],
        frame: &mut Frame,
        each: &mut dyn FnMut(DecodedEvent<'_>),
    ) -> Result<bool, DecodeError> {
        let Some(Alike { string, value, meaning, .. }) = self.template.find(data) else { return Ok(false) };
        let open = self.open_block(meaning.index).map(|(_, open)| open).filter(|open| {
            open.kind == meaning.kind
                && self.sequence.is_straight(open.index)
                && self.sequence.is_name_of(EventKind::BlockDelta, name)
        });
        let Some(open) = open.filter(|_| plain::is_clear(string.as_bytes())) else { return Ok(false) };
        self.strings.clear();
        let text = if open.kind == BlockKind::Other { Text::EMPTY } else { self.strings.read(string, Some(value))? };
        self.report_delta(string, open, text, frame, each);
        Ok(true)
    }

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
        let text = decoding::utf8(data)?;
        let fields = EventFields::read(text)?;
        match EventKind::of(name, &characters(text, fields.r#type.get())) {
            EventKind::BlockDelta => self.delta(text, &fields, frame, each),
            EventKind::BlockStart => self.start(text, &fields, frame, each),
            EventKind::BlockStop => self.stop(text, &fields, frame, each),
            EventKind::MessageDelta => self.message_delta(text, &fields, frame, each),
            EventKind::MessageStart => self.message_start(text, &fields, frame, each),
            EventKind::MessageStop => {
                frame.role = FrameRole::Terminator;
                self.stop_all(true, each);
                each(DecodedEvent::End);
                Ok(())
            }
            EventKind::Ping => {
                frame.role = FrameRole::Free;
                Ok(())
            }
            EventKind::Error => {
                frame.role = FrameRole::Failure;
                Ok(())
            }
            EventKind::Unknown => self.report_unknown(text, 0..text.len(), fields.r#type.get(), frame, each),
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
        let [kind, content, stop_reason, stop_details, error] =
            reader.members(["type", "content", "stop_reason", "stop_details", "error"])?;
        reader.end()?;
        let said_kind = self.strings.read(text, kind)?;
        if error.is_some() || self.strings.get(text, said_kind) == "error" {
            frame.role = FrameRole::Failure;
        } else if content.is_none() {
            self.report_unknown(text, 0..text.len(), kind, frame, each)?;
        }
        let all_said = self.said_in(text, content)?;
        let reason = self.strings.read(text, stop_reason)?;
        let details = self.details(text, stop_details)?;
        for (block, said) in all_said {
            let slot = Slot { block, choice: 0, kind: said.kind, starts: true, stops: true };
            self.report(text, slot, &said, frame, each);
        }
        if let Some((slot, said)) = details {
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
                let is_unsigned = self.sequence.holds_thinking() && characters(source, block.signature).is_empty();
                all_said.push((self.blocks.begin()?, self.said(source, &block, true, is_unsigned)?));
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
            return Err(DecodeError::Unreachable("a content block begins without index, or without anything else"));
        };
        if self.open.iter().any(|open| open.index == index) {
            return Err(DecodeError::Unreachable("a content block that is open begins again"));
        }
        let said = self.said(source, &content_block, false, self.sequence.is_unsigned(index))?;
        let block = self.blocks.begin()?;
        self.open.push(OpenBlock { index, block, kind: said.kind });
        let slot = Slot { block, choice: 0, kind: said.kind, starts: true, stops: false };
        let clarity = said.clarity.and(self.sequence.clarity(index));
        self.report(source, slot, &Said { clarity, ..said }, frame, each);
        Ok(())
    }

    /// What a block says about itself; nothing is to follow if it is `whole`. Thinking that `is_unsigned` is reasoning.
    fn said(&mut self, source: &str, block: &BlockFields, whole: bool, is_unsigned: bool) -> Result<Said, DecodeError> {
        let r#type = characters(source, block.r#type);
        let kind = match block_kind(&r#type) {
            BlockKind::Other if is_unsigned && r#type == "thinking" => BlockKind::Reasoning,
            kind => kind,
        };
        let mut said = Said::nothing(kind);
        match kind {
            BlockKind::Text => said.text = self.strings.read(source, block.text)?,
            BlockKind::Reasoning => said.text = self.strings.read(source, block.thinking)?,
            BlockKind::ToolCall | BlockKind::ServerToolCall => {
                said.call_id = self.strings.read(source, block.id)?;
                said.name = self.strings.read(source, block.name)?;
                let input = block.input.map_or(Text::EMPTY, Text::verbatim);
                let is_to_come = !whole && is_empty_input(self.strings.get(source, input));
                said.text = if is_to_come { Text::EMPTY } else { input };
                // Programmatic tool calling brings all of the input here. There are clients of streams that pass over it,
                // and none that reads it otherwise.
                said.clarity = if characters(source, block.toolset_name).is_empty() {
                    Clarity::Plain
                } else {
                    Clarity::Ambiguous("some clients take the call for one of the tool that toolset_name names")
                };
            }
            BlockKind::ToolResult => said.call_id = self.strings.read(source, block.tool_use_id)?,
            BlockKind::Unknown => said.text = self.strings.leaves(source, block.start..block.end, block.r#type)?,
            BlockKind::Refusal | BlockKind::Other => {}
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
            return Err(DecodeError::Unreachable("a delta of a content block that is not open"));
        };
        let Some(delta) = fields.delta.get() else {
            return Err(DecodeError::Unreachable("a content_block_delta without delta"));
        };
        // What stands in its one string, and whether policies see that.
        let (value, is_seen) = match (characters(source, delta.r#type).as_ref(), open.kind) {
            ("text_delta", BlockKind::Text) => (delta.text, true),
            ("thinking_delta", BlockKind::Reasoning) => (delta.thinking, true),
            ("thinking_delta", BlockKind::Other) => (delta.thinking, false),
            ("input_json_delta", kind) if kind.is_tool_call() => (delta.partial_json, true),
            ("citations_delta", BlockKind::Text) | ("signature_delta", BlockKind::Reasoning) => (None, false),
            ("input_json_delta", BlockKind::ToolResult) | (_, BlockKind::Other) => (None, false),
            ("text_delta" | "input_json_delta" | "thinking_delta" | "signature_delta" | "citations_delta", _) => {
                return Err(DecodeError::Unreachable("a delta of another kind than its content block"));
            }
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
        self.report_delta(source, open, if is_seen { text } else { Text::EMPTY }, frame, each);
        Ok(())
    }

    fn report_delta(&self, source: &str, open: OpenBlock, text: Text, frame: &mut Frame, each: &mut dyn FnMut(DecodedEvent<'_>)) {
        let slot = Slot { block: open.block, choice: 0, kind: open.kind, starts: false, stops: false };
        let clarity = self.sequence.clarity(open.index);
        self.report(source, slot, &Said { text, clarity, ..Said::nothing(open.kind) }, frame, each);
    }

    fn stop(
        &mut self,
        source: &str,
        fields: &EventFields,
        frame: &mut Frame,
        each: &mut dyn FnMut(DecodedEvent<'_>),
    ) -> Result<(), DecodeError> {
        let Some((position, open)) = fields.index.get().and_then(|index| self.open_block(index)) else {
            return Err(DecodeError::Unreachable("the end of a content block that is not open"));
        };
        self.open.remove(position);
        let slot = Slot { block: open.block, choice: 0, kind: open.kind, starts: false, stops: true };
        self.report(source, slot, &Said::nothing(open.kind), frame, each);
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
        let delta = fields.delta.get();
        let reason = self.strings.read(source, delta.and_then(|delta| delta.stop_reason))?;
        let details = self.details(source, delta.and_then(|delta| delta.stop_details))?;
        if let Some((slot, said)) = details {
            self.report(source, slot, &said, frame, each);
        }
        if reason.is_empty() {
            return Ok(());
        }
        self.stop_all(self.strings.get(source, reason) != "max_tokens", each);
        frame.finishes.push(0);
        each(DecodedEvent::Finish { choice: 0, reason: self.strings.get(source, reason) });
        Ok(())
    }

    /// What is said in clear about the reason that a message stops for, which some clients show.
    fn details(&mut self, source: &str, details: Option<Value>) -> Result<Option<(Slot, Said)>, DecodeError> {
        let Some(details) = details else { return Ok(None) };
        let text = self.strings.leaves(source, details.start..details.end, None)?;
        if text.is_empty() {
            return Ok(None);
        }
        let kind = BlockKind::Unknown;
        let slot = Slot { block: self.blocks.begin_unknown(), choice: 0, kind, starts: true, stops: true };
        Ok(Some((slot, Said { text, ..Said::nothing(kind) })))
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
        self.report(source, slot, &Said { text, ..Said::nothing(kind) }, frame, each);
        Ok(())
    }

    fn report(&self, source: &str, slot: Slot, said: &Said, frame: &mut Frame, each: &mut dyn FnMut(DecodedEvent<'_>)) {
        frame.slots.push(slot);
        each(DecodedEvent::Delta(Delta {
            call_id: self.strings.get(source, said.call_id),
            name: self.strings.get(source, said.name),
            text: self.strings.get(source, said.text),
            clarity: said.clarity,
            ..Delta::of(slot)
        }));
    }
}
