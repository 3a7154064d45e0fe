//! The queue of what leaves: frames in the order in which they came, some of them undecided, and the rule which may leave.
//!
//! A frame leaves as soon as all its slots are decided and nothing undecided stands before it that it must not
//! overtake. While nothing is held, frames pass through without being copied.

mod ending;
mod frame;
mod lane;

use core::mem;
use std::collections::VecDeque;
use std::rc::Rc;

use self::ending::{Calls, PendingEnd};
use self::frame::{Content, QueuedFrame, Rest};
use self::lane::{Lane, LaneCounts, Lanes};
use crate::block::{BlockId, BlockKind, Chunk};
use crate::dialect::{Dialect, Encoder, Frame, FrameRole, Insertion, SlotAction, TooLate};
use crate::policy::{At, Output, Place, Refusal, Shared};
use crate::time::Timestamp;

/// Number of a frame within its response.
pub(super) type FrameNumber = u64;

/// Number of the end of a slot's text that is decided on its own.
pub(super) type RestNumber = u32;

/// Something that is decided on its own: a slot of a frame, or the end of a slot's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SlotRef {
    pub(super) frame: FrameNumber,
    pub(super) slot: usize,
    /// The end of its text of this number, in place of the slot itself.
    pub(super) rest: Option<RestNumber>,
}

impl SlotRef {
    /// Gives the place of the slot in the stream.
    pub(super) const fn place(self) -> Place {
        Place { frame: self.frame, at: At::Slot(self.slot) }
    }
}

/// Most bytes that a replacement for something held is reckoned to need, encoded.
const REPLACEMENT_BYTES: usize = 4096;

/// What is held may take so many times its bound of the memory.
const HEAP_FACTOR: usize = 2;

/// What may be taken of the memory whatever the bound on held bytes.
const LEAST_HEAP: usize = 64 * 1024;

#[derive(Debug)]
struct Entry {
    /// Of a chunk, the number of the frame that it was put before; of a rest, of that which it came in.
    number: FrameNumber,
    content: Content,
    lanes: Lanes,
    /// What it takes of the memory, as it was queued.
    allocated: usize,
}

impl Entry {
    fn new(number: FrameNumber, content: Content, lanes: Lanes) -> Self {
        let allocated = size_of::<Self>().saturating_add(content.allocated()).saturating_add(lanes.allocated());
        Self { number, content, lanes, allocated }
    }

    fn bytes(&self) -> usize {
        match &self.content {
            Content::Frame { raw, .. } => raw.len(),
            Content::Rest(rest) => bytes_of_rest(rest),
            Content::Chunk(..) => REPLACEMENT_BYTES,
        }
    }
}

/// A rest leaves as a chunk of its own.
fn bytes_of_rest(rest: &Rest) -> usize {
    rest.bytes().saturating_mul(2).max(REPLACEMENT_BYTES)
}

/// Whether a response comes in events or as one body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Stream,
    Whole,
}

/// See the module.
pub(super) struct ReleaseQueue {
    dialect: Dialect,
    shape: Shape,
    encoder: Encoder,
    output: Rc<Output>,
    /// The frame that is being worked on.
    current: QueuedFrame,
    current_number: FrameNumber,
    /// The last frame that was worked on to its end.
    finished_number: FrameNumber,
    /// The ends of texts of the current frame that are decided on their own.
    current_rests: Vec<Rest>,
    queue: VecDeque<Entry>,
    /// The lanes of what is queued.
    lanes: LaneCounts,
    held_bytes: usize,
    /// What the queue takes of the memory.
    allocated: usize,
    held_slots: usize,
    /// Something about what is queued was decided, or closed, since the last release.
    stirred: bool,
    calls: Calls,
    /// No more tool calls will come.
    closed: bool,
    /// The message has ended: nothing more is said in it.
    terminated: bool,
    /// A policy ends the output, behind a place at which not all is decided yet.
    end: Option<PendingEnd>,
    insertions: Vec<(Place, Insertion)>,
    rests: RestNumber,
    /// A policy refuses the whole output, of which nothing has left.
    refused: Option<Refusal>,
    late: u32,
    /// Decisions about something that is not there.
    lost: u32,
}

impl ReleaseQueue {
    pub(super) fn new(dialect: Dialect, shape: Shape, encoder: Encoder, output: Rc<Output>) -> Self {
        Self {
            dialect,
            shape,
            encoder,
            output,
            current: QueuedFrame::default(),
            current_number: 0,
            finished_number: 0,
            current_rests: Vec::new(),
            queue: VecDeque::new(),
            lanes: LaneCounts::default(),
            held_bytes: 0,
            allocated: 0,
            held_slots: 0,
            stirred: false,
            calls: Calls::default(),
            closed: false,
            terminated: false,
            end: None,
            insertions: Vec::new(),
            rests: 0,
            refused: None,
            late: 0,
            lost: 0,
        }
    }

    pub(super) const fn shape(&self) -> Shape {
        self.shape
    }

    /// The body is of this shape, whatever was announced. Before the first frame only.
    pub(super) const fn take_shape(&mut self, shape: Shape) {
        self.shape = shape;
    }

    /// Whether what takes the place of a block is put where the block stands, not beside it.
    pub(super) const fn edits_in_place(&self) -> bool {
        matches!(self.shape, Shape::Whole) || self.encoder.edits_in_place()
    }

    /// The encoder, for frames of another shape.
    pub(super) fn into_encoder(self) -> Encoder {
        self.encoder
    }

    /// Whether the end of a message is that of all texts.
    pub(super) const fn ends_with_message(&self) -> bool {
        !self.dialect.begins_again()
    }

    pub(super) const fn current(&self) -> FrameNumber {
        self.current_number
    }

    /// The place behind the slots of the frame that is being worked on.
    pub(super) const fn end_of_current(&self) -> Place {
        Place { frame: self.current_number, at: At::End }
    }

    pub(super) const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Gives what the queue takes of the memory: small events take many times their length.
    pub(super) const fn allocated(&self) -> usize {
        self.allocated
    }

    /// Whether more is queued than `max_held_bytes` allows, in bytes or in what they take of the memory.
    pub(super) fn exceeds(&self, max_held_bytes: usize) -> bool {
        let allowed = max_held_bytes.saturating_mul(HEAP_FACTOR).max(LEAST_HEAP);
        self.held_bytes > max_held_bytes || self.allocated > allowed
    }

    pub(super) fn is_finished(&self) -> bool {
        self.output.is_over()
    }

    /// Refuses the whole output; gives the refusal back where some of it may have left.
    pub(super) fn refuse(&mut self, refusal: Refusal) -> Option<Refusal> {
        if self.shape == Shape::Stream {
            return Some(refusal);
        }
        self.refused.get_or_insert(refusal);
        None
    }

    pub(super) const fn take_refusal(&mut self) -> Option<Refusal> {
        self.refused.take()
    }

    /// Chunks that could not be placed any more, since the last call.
    pub(super) fn take_late(&mut self) -> u32 {
        mem::take(&mut self.late)
    }

    /// Decisions about something that is not there, since the last call.
    pub(super) fn take_lost(&mut self) -> u32 {
        mem::take(&mut self.lost)
    }

    /// When the oldest of what is held came.
    pub(super) fn held_since(&self) -> Option<Timestamp> {
        self.queue.iter().find_map(|entry| match &entry.content {
            Content::Frame { came, .. } => Some(*came),
            Content::Rest(_) | Content::Chunk(..) => None,
        })
    }

    /// Whether anything of the output is held.
    pub(super) const fn is_holding(&self) -> bool {
        self.held_slots > 0 || self.held_bytes > 0
    }

    /// Gives what a replacement may take: a stream of `responses` says a text up to five times.
    pub(super) const fn replacement_bytes(&self) -> usize {
        match (self.dialect, self.shape) {
            (Dialect::Responses, Shape::Stream) => REPLACEMENT_BYTES.saturating_mul(4),
            _ => REPLACEMENT_BYTES,
        }
    }

    pub(super) fn max_release_bytes(&self) -> usize {
        self.held_slots.saturating_add(1).saturating_mul(self.replacement_bytes()).saturating_add(self.held_bytes)
    }

    /// An event of the stream came.
    pub(super) fn notice(&mut self, raw: &[u8]) {
        self.encoder.notice(raw);
    }

    /// Begins the next frame. Its slots are opened as they are found.
    pub(super) fn begin(&mut self) {
        self.current_number = self.current_number.saturating_add(1);
        self.current.clear();
        self.current_rests.clear();
    }

    /// Opens the next slot of the frame: undecided.
    pub(super) fn open_slot(&mut self) -> SlotRef {
        SlotRef { frame: self.current_number, slot: self.current.open_slot(), rest: None }
    }

    /// The frame has a finish reason: undecided.
    pub(super) const fn open_finish(&mut self) {
        self.current.undecided = self.current.undecided.saturating_add(1);
    }

    /// Decides a slot, or the end of one.
    pub(super) fn decide(&mut self, slot: SlotRef, action: SlotAction) {
        if self.end.is_some_and(|end| slot.place() > end.place) {
            return;
        }
        let is_known = match slot.rest {
            Some(number) => self.decide_rest(slot, number, action),
            None => self.frame_of(slot.frame).is_some_and(|queued| queued.decide(slot.slot, action)),
        };
        // What was cut off behind an end is not there any more.
        if !is_known && !self.output.is_ending() {
            self.lost = self.lost.saturating_add(1);
        }
    }

    fn decide_rest(&mut self, SlotRef { frame, slot, .. }: SlotRef, number: RestNumber, action: SlotAction) -> bool {
        if self.edits_in_place() {
            return self.frame_of(frame).is_some_and(|queued| queued.decide_rest(slot, number, action));
        }
        if let Some(rest) = self.current_rests.iter_mut().find(|rest| rest.number == number) {
            rest.decide(action);
            return true;
        }
        let first = self.queue.partition_point(|entry| entry.number < frame);
        let rests = self.queue.range_mut(first..).filter_map(|entry| match &mut entry.content {
            Content::Rest(rest) => Some(rest),
            Content::Frame { .. } | Content::Chunk(..) => None,
        });
        if let Some(rest) = rests.into_iter().find(|rest| rest.number == number) {
            rest.decide(action);
            self.stirred = true;
            return true;
        }
        self.frame_of(frame).is_some_and(|queued| queued.decide_rest(slot, number, action))
    }

    /// Lets the end of a slot's text be decided on its own: what stands before it can leave. `whole` is what the slot says, if
    /// it says so as it came.
    pub(super) fn split(&mut self, slot: SlotRef, choice: u32, kind: BlockKind, end: &str, whole: Option<String>) -> SlotRef {
        self.rests = self.rests.saturating_add(1);
        let number = self.rests;
        let rest = Rest::new(number, slot.slot, choice, kind, end.to_owned());
        let behind = slot.rest;
        if self.edits_in_place() {
            if let Some(queued) = self.frame_of(slot.frame) {
                if let Some(whole) = whole.filter(|_| behind.is_none()) {
                    queued.note_whole_text(slot.slot, whole);
                }
                queued.push_rest(rest, behind);
            }
        } else if slot.frame == self.current_number && !self.is_queued(slot.frame) {
            let position = behind.and_then(|behind| self.current_rests.iter().position(|known| known.number == behind));
            self.current_rests.insert(position.map_or(self.current_rests.len(), |position| position.saturating_add(1)), rest);
        } else if let Some(queued) = behind.and_then(|behind| self.frame_with_rest(slot, behind)) {
            queued.push_rest(rest, behind);
        } else {
            self.queue_rest(slot.frame, behind, rest);
        }
        SlotRef { rest: Some(number), ..slot }
    }

    fn frame_with_rest(&mut self, slot: SlotRef, number: RestNumber) -> Option<&mut QueuedFrame> {
        self.frame_of(slot.frame).filter(|queued| queued.has_rest(slot.slot, number))
    }

    /// Keeps rests with a frame that has the finish reason of their choice, too: behind it nothing could be said any more.
    fn keep_finished_rests(&mut self, frame: &Frame) {
        if frame.finishes.is_empty() {
            return;
        }
        for rest in mem::take(&mut self.current_rests) {
            if frame.finishes.contains(&rest.choice) {
                self.current.push_rest(rest, None);
            } else {
                self.current_rests.push(rest);
            }
        }
    }

    fn is_queued(&self, frame: FrameNumber) -> bool {
        let is_frame = |entry: &Entry| entry.number == frame && matches!(entry.content, Content::Frame { .. });
        self.queue.iter().rev().take_while(|entry| entry.number >= frame).any(is_frame)
    }

    /// Queues a rest behind its frame, and behind that which it is the end of.
    fn queue_rest(&mut self, frame: FrameNumber, behind: Option<RestNumber>, rest: Rest) {
        let is_behind = |entry: &Entry| matches!(&entry.content, Content::Rest(known) if Some(known.number) == behind);
        let first = self.queue.partition_point(|entry| entry.number < frame);
        let of_frame = self.queue.range(first..).take_while(|entry| entry.number == frame);
        let offset = of_frame.into_iter().position(is_behind).filter(|_| behind.is_some());
        let position = offset.map(|offset| first.saturating_add(offset).saturating_add(1));
        let position = position.unwrap_or_else(|| self.queue.partition_point(|entry| entry.number <= frame));
        self.held_bytes = self.held_bytes.saturating_add(bytes_of_rest(&rest));
        let lanes = Lanes::one(Lane::of(self.dialect, rest.choice, true));
        self.lanes.add(&lanes);
        let entry = Entry::new(frame, Content::Rest(rest), lanes);
        self.allocated = self.allocated.saturating_add(entry.allocated);
        self.queue.insert(position, entry);
    }

    fn queue_current_rests(&mut self) {
        for rest in mem::take(&mut self.current_rests) {
            self.queue_rest(self.current_number, None, rest);
        }
    }

    /// Notes the text of a content slot that was kept.
    pub(super) fn note_kept_text(&mut self, slot: SlotRef, text: &str) {
        if self.edits_in_place()
            && slot.rest.is_none()
            && let Some(queued) = self.frame_of(slot.frame)
        {
            queued.note_kept_text(slot.slot, text);
        }
    }

    /// Appends text to a content slot.
    pub(super) fn append_to_slot(&mut self, place: Place, text: &str) {
        let is_appended = match place.at {
            At::Slot(slot) => self.frame_of(place.frame).is_some_and(|queued| queued.append(slot, text)),
            At::End => false,
        };
        if !is_appended {
            self.late = self.late.saturating_add(1);
        }
    }

    /// A finish reason of the frame is decided.
    pub(super) fn decide_finish(&mut self, number: FrameNumber) {
        if let Some(queued) = self.frame_of(number) {
            queued.undecided = queued.undecided.saturating_sub(1);
        }
    }

    /// The frame of that number: queued, or the one that is being worked on.
    fn frame_of(&mut self, number: FrameNumber) -> Option<&mut QueuedFrame> {
        if self.queue.is_empty() {
            return (number == self.current_number).then_some(&mut self.current);
        }
        let first = self.queue.partition_point(|entry| entry.number < number);
        let queued =
            self.queue.range_mut(first..).take_while(|entry| entry.number == number).find_map(|entry| match &mut entry.content {
                Content::Frame { queued, .. } => Some(queued.as_mut()),
                Content::Rest(_) | Content::Chunk(..) => None,
            });
        if queued.is_some() {
            self.stirred = true;
            return queued;
        }
        (number == self.current_number).then_some(&mut self.current)
    }

    /// Puts a chunk before a place, or as close to it as the dialect allows. `extras` are members of the provider's that go
    /// along with a call.
    pub(super) fn insert(&mut self, before: Place, chunk: Chunk, extras: String, out: &mut Vec<u8>) {
        let is_cut_off = self.end.is_some_and(|end| before > end.place);
        if self.is_finished() || is_cut_off {
            self.late = self.late.saturating_add(u32::from(!is_cut_off));
            return;
        }
        if self.shape == Shape::Whole {
            let before_slot = match before.at {
                At::Slot(slot) => slot,
                At::End => self.slots_of(before.frame),
            };
            let position = self.insertions.partition_point(|(known, _)| *known <= before);
            self.insertions.insert(position, (before, Insertion { before: before_slot, chunk, extras }));
            return;
        }
        if self.encoder.edits_in_place() {
            return self.say_in_place(before, chunk);
        }
        let (choice, is_text) = match &chunk {
            Chunk::Text { choice, .. } => (*choice, true),
            Chunk::ToolCall { choice, .. } => (*choice, false),
        };
        let gathers = self.encoder.gathers_tool_calls();
        let first_tool_call =
            if gathers && is_text { self.queue.iter().position(|entry| entry.content.carries_client_tool_call()) } else { None };
        let position = first_tool_call.unwrap_or_else(|| self.queue.partition_point(|entry| entry.number < before.frame));
        let number = self.queue.get(position).map_or(self.current_number, |entry| entry.number).min(before.frame);
        let lanes = Lanes::one(Lane::of(self.dialect, choice, is_text));
        self.held_bytes = self.held_bytes.saturating_add(REPLACEMENT_BYTES);
        self.lanes.add(&lanes);
        let entry = Entry::new(number, Content::Chunk(chunk, extras), lanes);
        self.allocated = self.allocated.saturating_add(entry.allocated);
        self.queue.insert(position, entry);
        self.release(out);
    }

    /// Puts a text where there is nothing between messages to put it into: before the text at this place.
    fn say_in_place(&mut self, before: Place, chunk: Chunk) {
        let queued = self.frame_of(before.frame);
        match (queued, chunk, before.at) {
            (Some(queued), Chunk::Text { text, .. }, At::Slot(slot)) => queued.say_before(slot, &text),
            _ => self.late = self.late.saturating_add(1),
        }
    }

    fn slots_of(&mut self, number: FrameNumber) -> usize {
        self.frame_of(number).map_or(0, |queued| queued.actions.len())
    }

    /// The frame was read to its end and worked on: it leaves, or waits. If it waits, its frame is taken.
    pub(super) fn finish_frame(&mut self, raw: &[u8], frame: &mut Frame, shared: &Shared, out: &mut Vec<u8>) {
        if matches!(frame.role, FrameRole::Closing | FrameRole::Terminator | FrameRole::Failure) {
            self.closed = true;
            self.stirred = true;
        }
        self.finished_number = self.current_number;
        if self.is_finished() {
            return;
        }
        if self.is_behind_end(self.current_number) {
            return frame.slots.iter().for_each(|slot| self.calls.shorten(slot));
        }
        self.remove_behind_end();
        if self.is_after_terminator(frame) {
            let summary = "something was said behind the end of the answer; it was dropped".to_owned();
            shared.fail("after_end", crate::event::Severity::Warning, summary, serde_json::Map::new());
            return;
        }
        self.keep_finished_rests(frame);
        let lanes = if self.shape == Shape::Whole { Lanes::default() } else { Lanes::of(self.dialect, frame) };
        if self.leaves_behind_queue(frame) {
            self.release(out);
        }
        let stirs = self.shape == Shape::Whole || self.end.is_some() || (self.stirred && !self.queue.is_empty());
        let waits = self.current.undecided > 0 || stirs || self.lanes.keep_back(&lanes);
        if !waits {
            self.write_current(raw, frame, out);
            return self.queue_current_rests();
        }
        self.queue_current(raw, mem::take(frame), shared.now(), lanes);
        self.queue_current_rests();
        self.remove_behind_end();
        if stirs {
            // The frame itself is last: what it decided, or closed, about those before it shows first.
            self.release(out);
        }
    }

    /// Whether what is queued can be let go before the frame that is being worked on is looked at: that is text alone, all of which
    /// is decided, and so need not be queued only to leave behind the others.
    fn leaves_behind_queue(&self, frame: &Frame) -> bool {
        let is_text_alone = frame.role == FrameRole::Content
            && frame.finishes.is_empty()
            && frame.slots.iter().all(|slot| slot.kind != BlockKind::ToolCall);
        self.shape == Shape::Stream && self.end.is_none() && self.stirred && self.current.undecided == 0 && is_text_alone
    }

    /// Clients differ in whether they read what comes behind the end of a message. Where another may begin, decoders tell.
    fn is_after_terminator(&mut self, frame: &Frame) -> bool {
        let says_something = !frame.slots.is_empty() || !frame.finishes.is_empty();
        let is_after = self.terminated && says_something && !self.dialect.begins_again();
        self.terminated |= frame.role == FrameRole::Terminator && self.shape == Shape::Stream;
        is_after
    }

    fn write_current(&mut self, raw: &[u8], frame: &Frame, out: &mut Vec<u8>) {
        self.lost = self.lost.saturating_add(u32::from(self.current.remove_unopened(frame.slots.len())));
        self.calls.note(frame, &self.current.actions);
        self.current.settle();
        self.encoder.event(raw, frame, &self.current.actions, out);
    }

    fn queue_current(&mut self, raw: &[u8], frame: Frame, came: Timestamp, lanes: Lanes) {
        self.lost = self.lost.saturating_add(u32::from(self.current.remove_unopened(frame.slots.len())));
        let mut queued = mem::take(&mut self.current);
        queued.frame = frame;
        self.held_bytes = self.held_bytes.saturating_add(raw.len());
        self.held_slots = self.held_slots.saturating_add(queued.begun());
        self.lanes.add(&lanes);
        let content = Content::Frame { raw: raw.to_vec(), queued: Box::new(queued), came };
        let entry = Entry::new(self.current_number, content, lanes);
        self.allocated = self.allocated.saturating_add(entry.allocated);
        self.queue.push_back(entry);
    }

    /// Lets go what may leave.
    pub(super) fn release(&mut self, out: &mut Vec<u8>) {
        self.stirred = false;
        if self.is_finished() || self.refused.is_some() || (self.queue.is_empty() && self.end.is_none()) {
            return;
        }
        let waits = |entry: &Entry| !entry.content.is_decided() && entry.content.carries_client_tool_call();
        let gathering =
            self.shape == Shape::Stream && self.encoder.gathers_tool_calls() && (!self.closed || self.queue.iter().any(waits));
        let (mut waiting, mut lanes) = (Vec::new(), LaneCounts::default());
        // It is looked through as far as anything can leave: each of thousands of calls that wait lets go of little.
        while !lanes.keep_back_all(&self.lanes)
            && let Some(entry) = self.queue.pop_front()
        {
            let gathered = gathering && entry.content.carries_client_tool_call();
            if entry.content.is_decided() && !gathered && !lanes.keep_back(&entry.lanes) {
                self.write(entry, out);
                continue;
            }
            lanes.add(&entry.lanes);
            waiting.push(entry);
        }
        waiting.into_iter().rev().for_each(|entry| self.queue.push_front(entry));
        self.settle_end(out);
    }

    fn write(&mut self, entry: Entry, out: &mut Vec<u8>) {
        self.held_bytes = self.held_bytes.saturating_sub(entry.bytes());
        self.allocated = self.allocated.saturating_sub(entry.allocated);
        self.lanes.remove(&entry.lanes);
        match entry.content {
            Content::Frame { raw, mut queued, .. } => {
                self.held_slots = self.held_slots.saturating_sub(queued.begun());
                self.calls.note(&queued.frame, &queued.actions);
                queued.settle();
                self.prepare_end(entry.number);
                if self.shape == Shape::Whole {
                    let insertions: Vec<Insertion> =
                        mem::take(&mut self.insertions).into_iter().map(|(_, known)| known).collect();
                    self.encoder.body(&raw, &queued.frame, &queued.actions, &insertions, out);
                } else {
                    self.encoder.event(&raw, &queued.frame, &queued.actions, out);
                }
            }
            Content::Rest(rest) if rest.left().is_empty() => {}
            Content::Rest(rest) => {
                let chunk = Chunk::Text { choice: rest.choice, kind: rest.kind, text: rest.into_left() };
                self.write_chunk(&chunk, "", out);
            }
            Content::Chunk(chunk, extras) => self.write_chunk(&chunk, &extras, out),
        }
    }

    fn write_chunk(&mut self, chunk: &Chunk, extras: &str, out: &mut Vec<u8>) {
        if let Err(TooLate) = self.encoder.call(chunk, extras, out) {
            self.late = self.late.saturating_add(1);
        }
    }

    /// The upstream ended: nothing more will come.
    pub(super) fn close(&mut self, out: &mut Vec<u8>) {
        self.closed = true;
        self.release(out);
        if self.shape == Shape::Stream && self.queue.is_empty() && !self.is_finished() {
            self.encoder.flush(out);
        }
    }

    /// A policy decides about blocks: the client must read the same blocks as the policy.
    pub(super) const fn number_by_place(&mut self) {
        self.encoder.number_by_place();
    }

    /// A tool call for the client begins.
    pub(super) fn begin_call(&mut self, block: BlockId) {
        self.calls.begin(block);
    }

    /// A block ended.
    pub(super) fn end_call(&mut self, block: BlockId) {
        self.calls.end(block);
    }

    /// Lets go everything as it came: the configured verdict is to allow what cannot be checked.
    pub(super) fn let_go(&mut self, out: &mut Vec<u8>) {
        for queued in self.queued_frames() {
            queued.keep_undecided();
        }
        self.current.keep_undecided();
        self.decide_rests(&SlotAction::Keep);
        self.close(out);
    }

    /// What is undecided is removed, and the rest leaves.
    pub(super) fn remove_undecided(&mut self, out: &mut Vec<u8>) {
        for queued in self.queued_frames() {
            queued.remove_undecided();
        }
        self.decide_rests(&SlotAction::Remove);
        self.close(out);
    }

    fn queued_frames(&mut self) -> impl Iterator<Item = &mut QueuedFrame> {
        self.queue.iter_mut().filter_map(|entry| match &mut entry.content {
            Content::Frame { queued, .. } => Some(queued.as_mut()),
            Content::Rest(_) | Content::Chunk(..) => None,
        })
    }

    fn decide_rests(&mut self, action: &SlotAction) {
        let queued = self.queue.iter_mut().filter_map(|entry| match &mut entry.content {
            Content::Rest(rest) => Some(rest),
            Content::Frame { .. } | Content::Chunk(..) => None,
        });
        for rest in queued.chain(&mut self.current_rests).filter(|rest| !rest.is_decided()) {
            rest.decide(action.clone());
        }
    }
}
