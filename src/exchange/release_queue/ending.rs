//! How the output ends before the upstream has ended it.

use core::mem;
use std::collections::BTreeSet;

use smallvec::SmallVec;

use super::frame::Content;
use super::{ReleaseQueue, Shape};
use crate::block::{BlockId, BlockKind, Chunk};
use crate::dialect::{Ending, Frame, Slot, SlotAction};
use crate::policy::{At, FinishReason, OutputEnd, Place};

/// An end that a policy has put behind a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingEnd {
    pub(super) place: Place,
    ending: Ending,
}

/// The calls that a client sees: one of which the rest is dropped is cut.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// Those that have begun and not ended.
    open: BTreeSet<BlockId>,
    /// Those whose beginning has left.
    left: BTreeSet<BlockId>,
    /// Those of which something that came later was dropped.
    shortened: BTreeSet<BlockId>,
}

impl Calls {
    pub(super) fn begin(&mut self, block: BlockId) {
        self.open.insert(block);
    }

    pub(super) fn end(&mut self, block: BlockId) {
        self.open.remove(&block);
    }

    /// Notes a frame that leaves.
    pub(super) fn note(&mut self, frame: &Frame, actions: &[SlotAction]) {
        for (slot, action) in frame.slots.iter().zip(actions) {
            if slot.kind == BlockKind::ToolCall && slot.starts && *action != SlotAction::Remove {
                self.left.insert(slot.block);
            }
        }
    }

    pub(super) fn shorten(&mut self, slot: &Slot) {
        if slot.kind == BlockKind::ToolCall && !slot.starts {
            self.shortened.insert(slot.block);
        }
    }

    fn are_cut(&self) -> bool {
        self.left.iter().any(|call| self.open.contains(call) || self.shortened.contains(call))
    }
}

impl From<FinishReason> for Ending {
    fn from(reason: FinishReason) -> Self {
        match reason {
            FinishReason::Stop => Self::Stop,
            FinishReason::Length => Self::Cut,
            FinishReason::Refusal => Self::Refusal,
        }
    }
}

impl ReleaseQueue {
    /// Whether a frame comes behind the end that a policy has put.
    pub(super) fn is_behind_end(&self, number: super::FrameNumber) -> bool {
        self.end.is_some_and(|end| number > end.place.frame)
    }

    /// Ends the output behind this place: what stands before it leaves once it is decided, what comes behind it does not.
    pub(in crate::exchange) fn end_behind(&mut self, place: Place, end: OutputEnd) {
        if self.is_finished() || self.end.is_some_and(|known| known.place <= place) {
            return;
        }
        self.end = Some(PendingEnd { place, ending: end.reason.into() });
        self.closed = true;
        self.stirred = true;
        self.insertions.retain(|(before, _)| *before <= place);
        self.remove_behind_end();
        let (kept, dropped) = mem::take(&mut self.queue).into_iter().partition(|entry| entry.number <= place.frame);
        self.queue = kept;
        for entry in dropped {
            self.held_bytes = self.held_bytes.saturating_sub(entry.bytes());
            self.allocated = self.allocated.saturating_sub(entry.allocated);
            self.lanes.remove(&entry.lanes);
            if let Content::Frame { queued, .. } = &entry.content {
                self.held_slots = self.held_slots.saturating_sub(queued.begun());
                queued.frame.slots.iter().for_each(|slot| self.calls.shorten(slot));
                self.encoder.withhold();
            }
        }
    }

    /// Removes what of the frame of the end stands behind the end.
    pub(super) fn remove_behind_end(&mut self) {
        let Some(PendingEnd { place: Place { frame, at: At::Slot(last) }, .. }) = self.end else { return };
        let mut behind: SmallVec<[Slot; 2]> = SmallVec::new();
        if let Some(queued) = self.frame_of(frame) {
            queued.remove_behind(last);
            behind.extend(queued.frame.slots.iter().skip(last.saturating_add(1)).copied());
        }
        behind.iter().for_each(|slot| self.calls.shorten(slot));
    }

    /// The frame of that number is about to leave: a finish reason in it says why the output ends.
    pub(super) fn prepare_end(&mut self, number: super::FrameNumber) {
        if let Some(end) = self.end.filter(|end| end.place.frame == number) {
            self.encoder.set_ending(if self.calls.are_cut() { Ending::Cut } else { end.ending });
        }
    }

    /// Writes the end that a policy has put, once everything before it has left.
    pub(super) fn settle_end(&mut self, out: &mut Vec<u8>) {
        let Some(end) = self.end else { return };
        let is_reached = self.finished_number >= end.place.frame;
        if self.shape == Shape::Whole || !self.queue.is_empty() || !is_reached {
            return;
        }
        self.write_end(end.ending, out);
    }

    fn write_end(&mut self, ending: Ending, out: &mut Vec<u8>) {
        self.encoder.end(if self.calls.are_cut() { Ending::Cut } else { ending }, out);
        self.finish();
    }

    /// Cuts the output off here, with this chunk as its last: what is decided leaves before it, what is not is dropped.
    pub(in crate::exchange) fn cut(&mut self, chunk: &Chunk, out: &mut Vec<u8>) {
        if self.is_finished() {
            return;
        }
        let gathers = self.encoder.gathers_tool_calls();
        // Where text may not follow a tool call, the calls that were gathered make way for it.
        self.queue.retain(|entry| !(gathers && entry.content.carries_client_tool_call()));
        self.write_decided(out);
        self.write_chunk(chunk, "", out);
        self.encoder.end(Ending::Refusal, out);
        self.finish();
    }

    /// Ends the output here with an error; what is held is dropped.
    pub(in crate::exchange) fn fail(&mut self, message: &str, out: &mut Vec<u8>) {
        if !self.is_finished() {
            self.encoder.failure(message, out);
            self.finish();
        }
    }

    /// As [`Self::fail`], in place of an end that was written and cannot be sent.
    pub(in crate::exchange) fn fail_late(&mut self, message: &str, out: &mut Vec<u8>) {
        self.encoder.reopen();
        self.encoder.failure(message, out);
        self.finish();
    }

    /// What ends the stream does not leave: the end is written after this.
    fn write_decided(&mut self, out: &mut Vec<u8>) {
        for entry in mem::take(&mut self.queue) {
            if entry.content.is_decided() && !entry.content.belongs_to_end() {
                self.write(entry, out);
            } else {
                self.encoder.withhold();
            }
        }
    }

    /// What left is all that leaves.
    pub(in crate::exchange) fn finish(&mut self) {
        self.output.end();
        self.queue.clear();
        self.lanes.clear();
        self.held_bytes = 0;
        self.allocated = 0;
        self.held_slots = 0;
    }
}
