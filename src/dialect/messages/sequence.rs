//! Makes one message, whose blocks come one after the other, of whatever an upstream sends.
//!
//! Clients differ in how they find the block that a delta belongs to: by its index, by its place in the list, or as the
//! last that began. They read the same where blocks do not overlap and each has the index of its place. So what comes in
//! any other way is written anew: a block that begins within a call waits until that has ended, an index that is used
//! twice, or is none, becomes that of the place, what belongs to no block is left out, and events are named by their type.

mod block;
mod write;

use std::collections::VecDeque;

use smallvec::SmallVec;

use self::block::{Block, BlockShape};
use super::fields::{EventFields, EventKind, characters};
use crate::block::Clarity;
use crate::dialect::{Arranged, DecodeError, MAX_WAITING_BYTES, decoding};
use crate::wire::json::{Edits, Reader};
use crate::wire::sse;

/// Some proxies end every stream like this, whatever its dialect; the clients of this one ignore it.
pub(super) const FOREIGN_TERMINATOR: &[u8] = b"[DONE]";

/// What an event that waits takes besides its bytes.
const OVERHEAD_BYTES: usize = 64;

/// How far the message has come.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Progress {
    #[default]
    Open,
    /// Its stop reason has come: no block follows.
    Finished,
    /// Its end, or an error, has come: nothing follows but another message.
    Ended,
}

/// What has to be known of a block besides its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Note {
    place: u32,
    clarity: Clarity,
    /// It is thinking that nobody signed.
    is_unsigned: bool,
}

/// An event with what was read of it.
#[derive(Clone, Copy)]
struct Said<'e> {
    event: sse::Event<'e>,
    source: &'e str,
    kind: EventKind,
    fields: &'e EventFields,
}

/// Which block an event belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// The one with its index.
    Exact(usize),
    /// The last that is open, since it names none.
    Unnamed(usize),
    /// The last that is open, since it names none that is.
    Foreign(usize),
    None,
}

/// Arranges the events of one response.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    /// Whether the events that build the message have names.
    named: Option<bool>,
    progress: Progress,
    /// The place that the next block has in the client's list.
    next_place: u32,
    /// The block whose events leave, and those that wait behind it.
    blocks: VecDeque<Block>,
    waiting_bytes: usize,
    notes: SmallVec<[Note; 2]>,
    /// Thinking waits until it is signed, or ends without being so.
    holds_thinking: bool,
    own_ids: u32,
}

impl Sequence {
    /// Thinking that is not signed is text that a policy wants to see.
    pub(super) const fn hold_thinking(&mut self) {
        self.holds_thinking = true;
    }

    pub(super) const fn holds_thinking(&self) -> bool {
        self.holds_thinking
    }

    /// Whether the block with this index is open, and its deltas need not be arranged.
    pub(super) fn is_straight(&self, index: u32) -> bool {
        self.blocks.front().is_some_and(|block| block.is_straight(index))
    }

    /// Whether an event that builds the message has this name.
    pub(super) fn is_name_of(&self, kind: EventKind, name: &[u8]) -> bool {
        if self.named == Some(true) { name == kind.name().as_bytes() } else { name.is_empty() }
    }

    /// How clearly the bytes of the block at this place say what it is.
    pub(super) fn clarity(&self, place: u32) -> Clarity {
        self.notes.iter().find(|note| note.place == place).map_or(Clarity::Plain, |note| note.clarity)
    }

    /// Whether the block at this place is thinking that nobody signed.
    pub(super) fn is_unsigned(&self, place: u32) -> bool {
        self.notes.iter().any(|note| note.place == place && note.is_unsigned)
    }

    /// Arranges an event: it may leave as it came, unless `out` says what leaves in its place.
    pub(super) fn event(&mut self, event: &sse::Event<'_>, out: &mut Vec<u8>) -> Result<Arranged, DecodeError> {
        let Some(data) = event.data.filter(|data| !data.is_empty() && *data != FOREIGN_TERMINATOR) else {
            return Ok(Arranged::AsItCame);
        };
        let source = decoding::utf8(data)?;
        let fields = EventFields::read(source)?;
        let kind = EventKind::of(event.name, &characters(source, fields.r#type.get()));
        if kind.is_part() {
            self.named.get_or_insert(!event.name.is_empty());
        }
        self.forget_notes();
        let said = Said { event: *event, source, kind, fields: &fields };
        match kind {
            EventKind::MessageStart => self.message_start(&said, out)?,
            EventKind::BlockStart | EventKind::BlockDelta | EventKind::BlockStop if self.progress != Progress::Open => {
                return Ok(Arranged::Anew);
            }
            EventKind::BlockStart => return self.block_start(&said, out),
            EventKind::BlockDelta => return self.block_delta(&said, out),
            EventKind::BlockStop => return self.block_stop(&said, out),
            EventKind::MessageDelta | EventKind::MessageStop if self.progress == Progress::Ended => return Ok(Arranged::Anew),
            EventKind::MessageDelta => {
                let reason = fields.delta.get().and_then(|delta| delta.stop_reason);
                if !characters(source, reason).is_empty() {
                    self.finish(out)?;
                    self.progress = Progress::Finished;
                }
            }
            EventKind::MessageStop | EventKind::Error => {
                self.finish(out)?;
                self.progress = Progress::Ended;
            }
            EventKind::Ping | EventKind::Unknown => return Ok(Arranged::AsItCame),
        }
        Ok(self.leave(&said, Edits::default(), out))
    }

    /// The upstream has ended, or the message has: what waits leaves.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        while self.blocks.len() > 1 {
            self.end_front(out)?;
        }
        self.write_front(out)?;
        self.blocks.clear();
        self.waiting_bytes = 0;
        Ok(())
    }

    /// Another message begins; blocks count from its own on.
    fn message_start(&mut self, said: &Said<'_>, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        self.finish(out)?;
        let mut count: u32 = 0;
        if let Some(content) = said.fields.content.get() {
            Reader::at(said.source, content).array(|reader| {
                count = count.saturating_add(1);
                reader.skip()
            })?;
        }
        self.next_place = count;
        self.progress = Progress::Open;
        Ok(())
    }

    fn block_start(&mut self, said: &Said<'_>, out: &mut Vec<u8>) -> Result<Arranged, DecodeError> {
        let waiting = self.blocks.iter().filter(|block| block.place.is_none() && block.shape != BlockShape::Void).count();
        let place = self.next_place.saturating_add(u32::try_from(waiting).unwrap_or(u32::MAX));
        let index = said.fields.index.get().unwrap_or(place);
        let mut block = Block::new(index, said.source, said.fields.content_block.get());
        if let Some(again) = self.blocks.iter().rposition(|known| known.is_open_as(index)) {
            block.clarity = Clarity::Ambiguous("two content blocks that are open have the same index");
            self.stop_again(again, block.clarity, out)?;
        }
        self.yield_front(out)?;
        self.push(block, said, out)
    }

    /// The block at `position` is open, and another begins with its index: it ends here.
    fn stop_again(&mut self, position: usize, clarity: Clarity, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        if position > 0 {
            if let Some(block) = self.blocks.get_mut(position) {
                block.stop(clarity);
            }
            return Ok(());
        }
        self.note(0, clarity);
        self.write_reminder(out);
        self.end_front(out)?;
        self.advance(out)
    }

    /// What stands behind a text does not wait for the end of it.
    fn yield_front(&mut self, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        while self.blocks.front().is_some_and(|block| block.shape.yields()) {
            self.end_front(out)?;
        }
        Ok(())
    }

    /// Takes a block that begins behind the others; it leaves where there are none.
    fn push(&mut self, block: Block, said: &Said<'_>, out: &mut Vec<u8>) -> Result<Arranged, DecodeError> {
        self.blocks.push_back(block);
        let last = self.blocks.len().saturating_sub(1);
        self.take(last, said, out)
    }

    fn block_delta(&mut self, said: &Said<'_>, out: &mut Vec<u8>) -> Result<Arranged, DecodeError> {
        let Some(delta) = said.fields.delta.get() else { return Ok(Arranged::Anew) };
        let kind = characters(said.source, delta.r#type);
        let target = self.target(said.fields.index.get());
        let (Target::Exact(position) | Target::Unnamed(position) | Target::Foreign(position)) = target else {
            return self.text_without_block(said, &kind, out);
        };
        let Some(block) = self.blocks.get_mut(position) else {
            return Err(DecodeError::Unreachable("a content block that was just found is not there"));
        };
        if !block.shape.takes(&kind) {
            return match target {
                Target::Exact(_) => Ok(Arranged::Anew),
                _ => self.text_without_block(said, &kind, out),
            };
        }
        let says_something = !characters(said.source, delta.partial_json).trim().is_empty();
        let clarity = match target {
            Target::Foreign(_) if block.shape == BlockShape::Call && says_something => {
                Clarity::Ambiguous("a part of the call is said to be another block's")
            }
            _ if block.has_input && says_something => Clarity::Ambiguous("the input came whole, and in parts besides"),
            Target::Exact(_) | Target::None => Clarity::Plain,
            Target::Unnamed(_) | Target::Foreign(_) => Clarity::Canonical,
        };
        self.note(position, clarity);
        self.take(position, said, out)
    }

    /// A delta that belongs to no block that is open: text is a block of its own, and nothing else is read of it by all.
    fn text_without_block(&mut self, said: &Said<'_>, kind: &str, out: &mut Vec<u8>) -> Result<Arranged, DecodeError> {
        let text = said.fields.delta.get().and_then(|delta| delta.text);
        if kind != "text_delta" || characters(said.source, text).is_empty() {
            return Ok(Arranged::Anew);
        }
        self.yield_front(out)?;
        let index = said.fields.index.get().unwrap_or(self.next_place);
        self.push(Block::unannounced_text(index), said, out)
    }

    fn block_stop(&mut self, said: &Said<'_>, out: &mut Vec<u8>) -> Result<Arranged, DecodeError> {
        let (Target::Exact(position) | Target::Unnamed(position)) = self.target(said.fields.index.get()) else {
            return Ok(Arranged::Anew);
        };
        if position > 0 {
            if let Some(block) = self.blocks.get_mut(position) {
                block.stop(Clarity::Plain);
            }
            return Ok(Arranged::Anew);
        }
        self.write_front(out)?;
        let place = self.blocks.pop_front().and_then(|block| block.place);
        let arranged = place.map_or(Arranged::Anew, |place| self.write_part(said, place, false, out));
        if self.blocks.is_empty() {
            return Ok(arranged);
        }
        if arranged == Arranged::AsItCame {
            out.extend_from_slice(said.event.raw);
        }
        self.advance(out)?;
        Ok(Arranged::Anew)
    }

    /// Lets go of the blocks that wait, up to one that is still open.
    fn advance(&mut self, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        while let Some(front) = self.blocks.front() {
            if front.is_stopped || (front.shape.yields() && self.blocks.len() > 1) {
                self.end_front(out)?;
            } else if self.holds_thinking && front.is_unsigned() {
                return Ok(());
            } else {
                return self.write_front(out);
            }
        }
        Ok(())
    }

    /// Which block an event with this index belongs to.
    fn target(&self, index: Option<u32>) -> Target {
        let Some(last) = self.blocks.iter().rposition(|block| !block.is_stopped) else { return Target::None };
        let Some(index) = index else { return Target::Unnamed(last) };
        match self.blocks.iter().rposition(|block| block.is_open_as(index)) {
            Some(position) => Target::Exact(position),
            None => Target::Foreign(last),
        }
    }

    /// Notes how clear something of the block at `position` is.
    fn note(&mut self, position: usize, clarity: Clarity) {
        let Some(block) = self.blocks.get_mut(position).filter(|_| clarity != Clarity::Plain) else { return };
        block.clarity = block.clarity.and(clarity);
        if let Some(place) = block.place {
            let note = Note { place, clarity: block.clarity, is_unsigned: false };
            self.notes.retain(|known| known.place != place);
            self.notes.push(note);
        }
    }

    /// Forgets what was noted of blocks that have ended.
    fn forget_notes(&mut self) {
        if !self.notes.is_empty() {
            let open = self.blocks.front().and_then(|block| block.place);
            self.notes.retain(|note| Some(note.place) == open);
        }
    }
}
