//! Writes events anew where they may not leave as they came.

use super::block::{Block, BlockShape};
use super::{MAX_WAITING_BYTES, Note, OVERHEAD_BYTES, Said, Sequence};
use crate::block::Clarity;
use crate::dialect::messages::fields::{BlockFields, EventFields, EventKind, characters};
use crate::dialect::messages::output::{ContentBlock, Delta, Event};
use crate::dialect::{Arranged, DecodeError, decoding};
use crate::wire::json::{self, Edits, Value};
use crate::wire::sse;

impl Sequence {
    /// Takes an event of the block at `position`: it leaves, or waits with the block.
    pub(super) fn take(&mut self, position: usize, said: &Said<'_>, out: &mut Vec<u8>) -> Result<Arranged, DecodeError> {
        let holds_thinking = self.holds_thinking;
        let Some(block) = self.blocks.get_mut(position) else {
            return Err(DecodeError::Unreachable("a content block that was just found is not there"));
        };
        block.sign(said.source, said.fields.delta.get().and_then(|delta| delta.signature));
        if let Some(place) = block.place {
            let is_unsigned = block.is_unsigned();
            return Ok(self.write_part(said, place, is_unsigned, out));
        }
        let taken = said.event.raw.len().saturating_add(OVERHEAD_BYTES);
        self.waiting_bytes = self.waiting_bytes.saturating_add(taken);
        if self.waiting_bytes > MAX_WAITING_BYTES {
            return Err(DecodeError::TooMuchWaiting);
        }
        block.kept_bytes = block.kept_bytes.saturating_add(taken);
        let waits = position > 0 || (holds_thinking && block.is_unsigned());
        if block.kept.is_empty() && !waits && block.shape != BlockShape::Void && !block.is_unannounced {
            let place = self.begin_front()?;
            let is_unsigned = self.blocks.front().is_some_and(Block::is_unsigned);
            return Ok(self.write_part(said, place, is_unsigned, out));
        }
        if block.shape != BlockShape::Void {
            block.kept.extend_from_slice(said.event.raw);
            block.kept.extend_from_slice(missing_end(said.event.raw));
        }
        if !waits {
            self.write_front(out)?;
        }
        Ok(Arranged::Anew)
    }

    /// Gives the first block its place in the client's list.
    fn begin_front(&mut self) -> Result<u32, DecodeError> {
        let place = self.next_place;
        let Some(block) = self.blocks.front_mut() else {
            return Err(DecodeError::Unreachable("a content block that was just found is not there"));
        };
        block.place = Some(place);
        let is_unsigned = self.holds_thinking && block.is_unsigned();
        if block.clarity != Clarity::Plain || is_unsigned {
            self.notes.push(Note { place, clarity: block.clarity, is_unsigned });
        }
        self.next_place = place.saturating_add(1);
        self.waiting_bytes = self.waiting_bytes.saturating_sub(core::mem::take(&mut block.kept_bytes));
        Ok(place)
    }

    /// Lets go of what waits of the first block.
    pub(super) fn write_front(&mut self, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let Some(block) = self.blocks.front_mut() else { return Ok(()) };
        if block.shape == BlockShape::Void {
            self.waiting_bytes = self.waiting_bytes.saturating_sub(core::mem::take(&mut block.kept_bytes));
            return Ok(());
        }
        if block.place.is_some() {
            return Ok(());
        }
        let kept = core::mem::take(&mut block.kept);
        let (is_unannounced, is_unsigned) = (block.is_unannounced, block.is_unsigned());
        let place = self.begin_front()?;
        if is_unannounced {
            self.write_own(&Event::ContentBlockStart { index: place, content_block: ContentBlock::Text { text: "" } }, out);
        }
        let mut parser = sse::Parser::new(usize::MAX);
        let mut unread = kept.as_slice();
        while let Ok(Some(event)) = parser.next(&mut unread) {
            let source = decoding::utf8(event.data.unwrap_or_default())?;
            let fields = EventFields::read(source)?;
            let kind = EventKind::of(event.name, &characters(source, fields.r#type.get()));
            let said = Said { event, source, kind, fields: &fields };
            if self.write_part(&said, place, is_unsigned, out) == Arranged::AsItCame {
                out.extend_from_slice(event.raw);
            }
        }
        Ok(())
    }

    /// Ends the first block with what waits of it.
    pub(super) fn end_front(&mut self, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        self.write_front(out)?;
        if let Some(index) = self.blocks.pop_front().and_then(|block| block.place) {
            self.write_own(&Event::ContentBlockStop { index }, out);
        }
        Ok(())
    }

    /// Writes a delta of the first block that says nothing: what was noted of the block shows with it.
    pub(super) fn write_reminder(&self, out: &mut Vec<u8>) {
        let call = self.blocks.front().filter(|block| block.shape == BlockShape::Call);
        if let Some(index) = call.and_then(|block| block.place) {
            self.write_own(&Event::ContentBlockDelta { index, delta: Delta::InputJson { partial_json: "" } }, out);
        }
    }

    /// Writes an event of the block at this place.
    pub(super) fn write_part(&mut self, said: &Said<'_>, place: u32, is_unsigned: bool, out: &mut Vec<u8>) -> Arranged {
        let mut edits = Edits::default();
        if said.fields.index.get() != Some(place) {
            let members = json::members(said.source);
            edits.edit_object(said.source, said.source, &members, &[], &[("index", place.to_string())]);
        }
        let block = said.fields.content_block.get().filter(|_| said.kind == EventKind::BlockStart);
        let moved = block.and_then(|block| self.edit_start(said.source, block, is_unsigned, &mut edits));
        let arranged = self.leave(said, edits, out);
        let Some(moved) = moved else { return arranged };
        let text = characters(said.source, Some(moved));
        let delta = if is_unsigned { Delta::Thinking { thinking: &text } } else { Delta::Text { text: &text } };
        self.write_own(&Event::ContentBlockDelta { index: place, delta }, out);
        Arranged::Anew
    }

    /// Edits the beginning of a block: text that stands in it, which some clients leave out, is to follow as a delta, and
    /// is returned; a call without an id gets one, for clients could not say whose result they send.
    fn edit_start(&mut self, source: &str, block: BlockFields, is_unsigned: bool, edits: &mut Edits) -> Option<Value> {
        let kind = characters(source, block.r#type);
        let object = source.get(block.start..block.end)?.trim();
        if kind == "tool_use" && characters(source, block.id).is_empty() {
            self.own_ids = self.own_ids.saturating_add(1);
            let id = json::to_text(&format!("toolu_weir_{}", self.own_ids));
            edits.edit_object(source, object, &json::members(object), &[], &[("id", id)]);
        }
        let text = match kind.as_ref() {
            "text" => block.text,
            "thinking" if is_unsigned => block.thinking,
            _ => None,
        };
        let text = text.filter(|text| !characters(source, Some(*text)).is_empty())?;
        edits.replace(text.start..text.end, "\"\"");
        Some(text)
    }

    /// Lets an event go with these edits, by the name that belongs to it: as it came if nothing of it, and nothing before
    /// it, was written anew.
    pub(super) fn leave(&self, said: &Said<'_>, mut edits: Edits, out: &mut Vec<u8>) -> Arranged {
        let kind = characters(said.source, said.fields.r#type.get());
        if said.kind.is_part() && kind != said.kind.name() {
            let members = json::members(said.source);
            let name = json::to_text(said.kind.name());
            edits.edit_object(said.source, said.source, &members, &[], &[("type", name)]);
        }
        let name = if self.named == Some(true) { said.kind.name().as_bytes() } else { b"" };
        // An error is one to clients whether or not it is named; only among named events it has to be, too.
        let is_named_right = said.event.name == name || (said.kind == EventKind::Error && self.named != Some(true));
        if edits.is_empty() && is_named_right {
            if out.is_empty() {
                return Arranged::AsItCame;
            }
            out.extend_from_slice(said.event.raw);
            out.extend_from_slice(missing_end(said.event.raw));
            return Arranged::Anew;
        }
        if !name.is_empty() {
            out.extend_from_slice(b"event: ");
            out.extend_from_slice(name);
            out.push(b'\n');
        }
        out.extend_from_slice(b"data: ");
        let start = out.len();
        edits.apply(said.source.as_bytes(), out);
        // Line ends stand between the values alone.
        out.iter_mut().skip(start).filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
        out.extend_from_slice(b"\n\n");
        Arranged::Anew
    }

    fn write_own(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        event.write(self.named != Some(false), out);
    }
}

/// What an event lacks to be complete.
fn missing_end(raw: &[u8]) -> &'static [u8] {
    let is_complete = raw.ends_with(b"\n\n") || raw.ends_with(b"\n\r\n") || raw.ends_with(b"\r\r") || raw.ends_with(b"\n\r");
    if is_complete { b"" } else { b"\n\n" }
}
