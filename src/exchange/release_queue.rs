//! The release_queue: frames in the order in which they came, some of them undecided, and the rule which may leave.
//!
//! A frame leaves as soon as all its slots are decided and nothing undecided stands before it that it must not
//! overtake. While nothing is held, frames pass through without being copied.

use core::mem;
use std::collections::VecDeque;

use smallvec::SmallVec;

use crate::block::{BlockId, BlockKind, Chunk};
use crate::dialect::{Dialect, Encoder, Ending, Frame, FrameRole, Insertion, SlotAction, TooLate};
use crate::policy::Shared;
use crate::time::Timestamp;

/// Number of a frame within its response.
pub(super) type FrameNumber = u64;

/// A slot of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SlotRef {
    pub(super) frame: FrameNumber,
    pub(super) slot: usize,
}

/// Most bytes that a replacement for something held is reckoned to need, encoded.
const REPLACEMENT_BYTES: usize = 4096;

/// Capacity that is kept between frames for the texts of their slots.
const KEPT_CAPACITY: usize = 64 * 1024;

/// The order that must be kept: two frames that share a lane do not overtake each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    /// Text, refusal and reasoning of a choice. It may pass a held tool call: they are different fields of the message.
    Content(u32),
    ToolCalls(u32),
    /// The whole of a choice: its finish reason.
    Choice(u32),
    Everything,
}

impl Lane {
    fn conflicts(self, other: Self) -> bool {
        match (self, other) {
            (Self::Everything, _) | (_, Self::Everything) => true,
            (Self::Choice(one), Self::Choice(two) | Self::Content(two) | Self::ToolCalls(two))
            | (Self::Content(one), Self::Choice(two) | Self::Content(two))
            | (Self::ToolCalls(one), Self::Choice(two) | Self::ToolCalls(two)) => one == two,
            (Self::Content(_), Self::ToolCalls(_)) | (Self::ToolCalls(_), Self::Content(_)) => false,
        }
    }
}

type Lanes = SmallVec<[Lane; 2]>;

/// A frame with what has been decided about it so far.
#[derive(Debug, Default)]
struct QueuedFrame {
    frame: Frame,
    actions: SmallVec<[SlotAction; 2]>,
    decided: SmallVec<[bool; 2]>,
    /// Slots and finish reasons that are undecided.
    undecided: usize,
    texts: KeptTexts,
}

/// The texts of slots that were kept, where something may be appended to them.
#[derive(Debug, Default)]
struct KeptTexts {
    /// All of them, one behind the other.
    text: String,
    /// Each slot, and where its text ends.
    ends: SmallVec<[(usize, usize); 2]>,
}

impl KeptTexts {
    /// Forgets the texts, and keeps some of their room for the next frame's.
    fn clear(&mut self) {
        self.text.clear();
        self.text.shrink_to(KEPT_CAPACITY);
        self.ends.clear();
    }

    fn push(&mut self, slot: usize, text: &str) {
        self.text.push_str(text);
        self.ends.push((slot, self.text.len()));
    }

    fn get(&self, slot: usize) -> Option<&str> {
        let position = self.ends.iter().rposition(|(known, _)| *known == slot)?;
        let (_, end) = self.ends.get(position)?;
        let start = position.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |(_, end)| *end);
        self.text.get(start..*end)
    }
}

impl QueuedFrame {
    fn decide(&mut self, slot: usize, action: SlotAction) {
        let (Some(known), Some(place)) = (self.decided.get_mut(slot), self.actions.get_mut(slot)) else { return };
        if !mem::replace(known, true) {
            self.undecided = self.undecided.saturating_sub(1);
        }
        *place = action;
    }

    fn carries_client_tool_call(&self) -> bool {
        self.frame
            .slots
            .iter()
            .zip(&self.actions)
            .any(|(slot, action)| slot.kind == BlockKind::ToolCall && *action != SlotAction::Remove)
    }
}

#[derive(Debug)]
enum Content {
    Frame { raw: Vec<u8>, queued: QueuedFrame, came: Timestamp },
    Chunk(Chunk),
}

#[derive(Debug)]
struct Entry {
    /// Of a chunk, the number of the frame that it was put before.
    number: FrameNumber,
    content: Content,
    lanes: Lanes,
}

impl Entry {
    fn is_decided(&self) -> bool {
        match &self.content {
            Content::Frame { queued, .. } => queued.undecided == 0,
            Content::Chunk(_) => true,
        }
    }

    /// Whether it is of the end of a message (finish reason, usage, terminator), which is written anew where it is cut.
    fn belongs_to_end(&self) -> bool {
        match &self.content {
            Content::Frame { queued, .. } => match queued.frame.role {
                FrameRole::Free | FrameRole::Opening | FrameRole::Unknown => false,
                FrameRole::Content => !queued.frame.finishes.is_empty() || queued.frame.slots.is_empty(),
                FrameRole::Closing | FrameRole::Terminator | FrameRole::Failure => true,
            },
            Content::Chunk(_) => false,
        }
    }

    fn bytes(&self) -> usize {
        match &self.content {
            Content::Frame { raw, .. } => raw.len(),
            Content::Chunk(_) => REPLACEMENT_BYTES,
        }
    }

    fn carries_client_tool_call(&self) -> bool {
        match &self.content {
            Content::Frame { queued, .. } => queued.carries_client_tool_call(),
            Content::Chunk(chunk) => matches!(chunk, Chunk::ToolCall { .. }),
        }
    }
}

/// Whether a response comes in events or as one body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Stream,
    Whole,
}

/// See the module.
#[derive(Debug)]
pub(super) struct ReleaseQueue {
    dialect: Dialect,
    shape: Shape,
    encoder: Encoder,
    /// The frame that is being worked on.
    current: QueuedFrame,
    current_number: FrameNumber,
    queue: VecDeque<Entry>,
    /// The lanes of what is queued.
    blocked: Lanes,
    held_bytes: usize,
    held_slots: usize,
    /// Something about what is queued was decided, or closed, since the last release.
    stirred: bool,
    /// Calls for the client that have begun and not ended.
    open_calls: SmallVec<[BlockId; 2]>,
    /// No more tool calls will come.
    closed: bool,
    finished: bool,
    insertions: Vec<Insertion>,
    late: u32,
}

impl ReleaseQueue {
    pub(super) fn new(dialect: Dialect, shape: Shape, encoder: Encoder) -> Self {
        Self {
            dialect,
            shape,
            encoder,
            current: QueuedFrame::default(),
            current_number: 0,
            queue: VecDeque::new(),
            blocked: Lanes::new(),
            held_bytes: 0,
            held_slots: 0,
            stirred: false,
            open_calls: SmallVec::new(),
            closed: false,
            finished: false,
            insertions: Vec::new(),
            late: 0,
        }
    }

    pub(super) const fn shape(&self) -> Shape {
        self.shape
    }

    /// Whether what takes the place of a block is put where the block stands, not beside it.
    pub(super) const fn edits_in_place(&self) -> bool {
        matches!(self.shape, Shape::Whole) || self.encoder.edits_in_place()
    }

    /// The encoder, for frames of another shape.
    pub(super) fn into_encoder(self) -> Encoder {
        self.encoder
    }

    pub(super) const fn current(&self) -> FrameNumber {
        self.current_number
    }

    pub(super) const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    pub(super) const fn is_finished(&self) -> bool {
        self.finished
    }

    /// Chunks that could not be placed any more, since the last call.
    pub(super) fn take_late(&mut self) -> u32 {
        mem::take(&mut self.late)
    }

    /// When the oldest of what is held came.
    pub(super) fn held_since(&self) -> Option<Timestamp> {
        self.queue.iter().find_map(|entry| match &entry.content {
            Content::Frame { came, .. } => Some(*came),
            Content::Chunk(_) => None,
        })
    }

    /// Whether anything of the output is held.
    pub(super) const fn is_holding(&self) -> bool {
        self.held_slots > 0 || self.held_bytes > 0
    }

    pub(super) fn max_release_bytes(&self) -> usize {
        self.held_slots.saturating_add(1).saturating_mul(REPLACEMENT_BYTES).saturating_add(self.held_bytes)
    }

    /// An event of the stream came.
    pub(super) fn notice(&mut self, raw: &[u8]) {
        self.encoder.notice(raw);
    }

    /// Begins the next frame. Its slots are opened as they are found.
    pub(super) fn begin(&mut self) {
        self.current_number = self.current_number.saturating_add(1);
        self.current.actions.clear();
        self.current.decided.clear();
        self.current.undecided = 0;
        self.current.texts.clear();
    }

    /// Opens the next slot of the frame: undecided.
    pub(super) fn open_slot(&mut self) -> SlotRef {
        let slot = self.current.actions.len();
        self.current.actions.push(SlotAction::Keep);
        self.current.decided.push(false);
        self.current.undecided = self.current.undecided.saturating_add(1);
        SlotRef { frame: self.current_number, slot }
    }

    /// The frame has a finish reason: undecided.
    pub(super) const fn open_finish(&mut self) {
        self.current.undecided = self.current.undecided.saturating_add(1);
    }

    /// Decides a slot.
    pub(super) fn decide(&mut self, slot: SlotRef, action: SlotAction) {
        if let Some(queued) = self.frame_of(slot.frame) {
            queued.decide(slot.slot, action);
        }
    }

    /// Notes the text of a content slot that was kept.
    pub(super) fn note_kept_text(&mut self, slot: SlotRef, text: &str) {
        if self.edits_in_place()
            && let Some(queued) = self.frame_of(slot.frame)
        {
            queued.texts.push(slot.slot, text);
        }
    }

    /// Appends text to a content slot.
    pub(super) fn append_to_slot(&mut self, slot: SlotRef, text: &str) {
        let Some(queued) = self.frame_of(slot.frame) else { return };
        let kept = queued.texts.get(slot.slot).unwrap_or_default();
        let action = match queued.actions.get(slot.slot) {
            Some(SlotAction::Keep) => SlotAction::Replace(format!("{kept}{text}")),
            Some(SlotAction::Replace(replacement)) => SlotAction::Replace(format!("{replacement}{text}")),
            Some(SlotAction::Remove) => SlotAction::Replace(text.to_owned()),
            None => return,
        };
        queued.decide(slot.slot, action);
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
                Content::Frame { queued, .. } => Some(queued),
                Content::Chunk(_) => None,
            });
        if queued.is_some() {
            self.stirred = true;
            return queued;
        }
        (number == self.current_number).then_some(&mut self.current)
    }

    /// Puts a chunk before a slot, or as close to it as the dialect allows.
    pub(super) fn insert(&mut self, before: SlotRef, chunk: Chunk, out: &mut Vec<u8>) {
        if self.finished {
            self.late = self.late.saturating_add(1);
            return;
        }
        if self.shape == Shape::Whole {
            let position = self.insertions.partition_point(|known| known.before <= before.slot);
            self.insertions.insert(position, Insertion { before: before.slot, chunk });
            return;
        }
        if self.encoder.edits_in_place() {
            // There is nothing between messages to put it into.
            self.late = self.late.saturating_add(1);
            return;
        }
        let (choice, is_text) = match &chunk {
            Chunk::Text { choice, .. } => (*choice, true),
            Chunk::ToolCall { choice, .. } => (*choice, false),
        };
        let gathers = self.encoder.gathers_tool_calls();
        let first_tool_call = if gathers && is_text { self.queue.iter().position(Entry::carries_client_tool_call) } else { None };
        let position = first_tool_call.unwrap_or_else(|| self.queue.partition_point(|entry| entry.number < before.frame));
        let number = self.queue.get(position).map_or(self.current_number, |entry| entry.number).min(before.frame);
        let lane = match (self.dialect, is_text) {
            (Dialect::Messages | Dialect::Responses | Dialect::McpTool, _) => Lane::Everything,
            (Dialect::ChatCompletions, true) => Lane::Content(choice),
            (Dialect::ChatCompletions, false) => Lane::ToolCalls(choice),
        };
        self.held_bytes = self.held_bytes.saturating_add(REPLACEMENT_BYTES);
        self.queue.insert(position, Entry { number, content: Content::Chunk(chunk), lanes: SmallVec::from_slice(&[lane]) });
        self.release(out);
    }

    /// The frame was read to its end and worked on: it leaves, or waits. If it waits, its frame is taken.
    pub(super) fn finish_frame(&mut self, raw: &[u8], frame: &mut Frame, shared: &Shared, out: &mut Vec<u8>) {
        if matches!(frame.role, FrameRole::Closing | FrameRole::Terminator | FrameRole::Failure) {
            self.closed = true;
            self.stirred = true;
        }
        if self.finished {
            return;
        }
        if self.queue.is_empty() && self.current.undecided == 0 && self.shape == Shape::Stream {
            self.encoder.event(raw, frame, &self.current.actions, out);
            return;
        }
        let lanes = if self.shape == Shape::Whole { Lanes::new() } else { self.lanes(frame) };
        let stirs = self.shape == Shape::Whole || (self.stirred && !self.queue.is_empty());
        let overtakes = lanes.iter().any(|lane| self.blocked.iter().any(|blocked| blocked.conflicts(*lane)));
        if self.current.undecided == 0 && !stirs && !overtakes {
            self.encoder.event(raw, frame, &self.current.actions, out);
            return;
        }
        self.queue_current(raw, mem::take(frame), shared.now(), lanes);
        if stirs {
            // The frame itself is last: what it decided, or closed, about those before it shows first.
            self.release(out);
        }
    }

    fn queue_current(&mut self, raw: &[u8], frame: Frame, came: Timestamp, lanes: Lanes) {
        let queued = QueuedFrame { frame, ..mem::take(&mut self.current) };
        self.held_bytes = self.held_bytes.saturating_add(raw.len());
        self.held_slots = self.held_slots.saturating_add(usize::from(queued.frame.slots.iter().any(|slot| slot.starts)));
        for lane in &lanes {
            if !self.blocked.contains(lane) {
                self.blocked.push(*lane);
            }
        }
        let content = Content::Frame { raw: raw.to_vec(), queued, came };
        self.queue.push_back(Entry { number: self.current_number, content, lanes });
    }

    fn lanes(&self, frame: &Frame) -> Lanes {
        match (self.dialect, frame.role) {
            (_, FrameRole::Free) => Lanes::new(),
            (Dialect::ChatCompletions, FrameRole::Content) if !(frame.slots.is_empty() && frame.finishes.is_empty()) => {
                let of_slots = frame.slots.iter().map(|slot| match slot.kind.is_tool_call() {
                    true => Lane::ToolCalls(slot.choice),
                    false => Lane::Content(slot.choice),
                });
                of_slots.chain(frame.finishes.iter().map(|choice| Lane::Choice(*choice))).collect()
            }
            // Messages are independent of one another; those of one batch stay together.
            (Dialect::McpTool, _) => {
                let mut lanes: Lanes = frame.slots.iter().map(|slot| Lane::Content(slot.choice)).collect();
                lanes.dedup();
                lanes
            }
            _ => SmallVec::from_slice(&[Lane::Everything]),
        }
    }

    /// Lets go what may leave.
    pub(super) fn release(&mut self, out: &mut Vec<u8>) {
        self.stirred = false;
        if self.finished || self.queue.is_empty() {
            return;
        }
        let gathering = self.shape == Shape::Stream
            && self.encoder.gathers_tool_calls()
            && !(self.closed && self.queue.iter().all(|entry| entry.is_decided() || !entry.carries_client_tool_call()));
        self.blocked.clear();
        let mut waiting = VecDeque::with_capacity(self.queue.len());
        for entry in mem::take(&mut self.queue) {
            let gathered = gathering && entry.carries_client_tool_call();
            let overtakes = entry.lanes.iter().any(|lane| self.blocked.iter().any(|blocked| blocked.conflicts(*lane)));
            if entry.is_decided() && !gathered && !overtakes {
                self.write(entry, out);
                continue;
            }
            for lane in &entry.lanes {
                if !self.blocked.contains(lane) {
                    self.blocked.push(*lane);
                }
            }
            waiting.push_back(entry);
        }
        self.queue = waiting;
    }

    fn write(&mut self, entry: Entry, out: &mut Vec<u8>) {
        self.held_bytes = self.held_bytes.saturating_sub(entry.bytes());
        match entry.content {
            Content::Frame { raw, queued, .. } => {
                let starts = queued.frame.slots.iter().any(|slot| slot.starts);
                self.held_slots = self.held_slots.saturating_sub(usize::from(starts));
                if self.shape == Shape::Whole {
                    self.encoder.body(&raw, &queued.frame, &queued.actions, &self.insertions, out);
                } else {
                    self.encoder.event(&raw, &queued.frame, &queued.actions, out);
                }
            }
            Content::Chunk(chunk) => {
                if let Err(TooLate) = self.encoder.chunk(&chunk, out) {
                    self.late = self.late.saturating_add(1);
                }
            }
        }
    }

    /// The upstream ended: nothing more will come.
    pub(super) fn close(&mut self, out: &mut Vec<u8>) {
        self.closed = true;
        self.release(out);
        if self.shape == Shape::Stream && self.queue.is_empty() && !self.finished {
            self.encoder.flush(out);
        }
    }

    /// Ends the output properly here: what is decided leaves, what is not is dropped.
    pub(super) fn end(&mut self, ending: Ending, out: &mut Vec<u8>) {
        if self.finished {
            return;
        }
        if self.shape == Shape::Whole {
            // The body leaves once all of it was worked on; what is undecided by then is not part of it.
            return;
        }
        let is_cut = self.open_calls.iter().any(|call| !self.holds_start_of(*call)) || self.drops_rest_of_call();
        self.write_decided(out);
        self.encoder.end(if is_cut { Ending::Cut } else { ending }, out);
        self.finish();
    }

    fn holds_start_of(&self, block: BlockId) -> bool {
        self.queue.iter().any(|entry| match &entry.content {
            Content::Frame { queued, .. } => queued.frame.slots.iter().any(|slot| slot.block == block && slot.starts),
            Content::Chunk(_) => false,
        })
    }

    /// Whether a call has left, or leaves, of which the rest is dropped with what is undecided in the same frames.
    fn drops_rest_of_call(&self) -> bool {
        // In order, because blocks are numbered as they begin.
        let mut dropped: Vec<BlockId> = Vec::new();
        for entry in self.queue.iter().filter(|entry| !entry.is_decided()) {
            let Content::Frame { queued, .. } = &entry.content else { continue };
            let slots = queued.frame.slots.iter().zip(&queued.actions);
            for (slot, action) in slots.filter(|(slot, _)| slot.kind == BlockKind::ToolCall) {
                if slot.starts {
                    dropped.push(slot.block);
                } else if *action != SlotAction::Remove && dropped.binary_search(&slot.block).is_err() {
                    return true;
                }
            }
        }
        false
    }

    /// A policy decides about blocks: the client must read the same blocks as the policy.
    pub(super) const fn number_by_place(&mut self) {
        self.encoder.number_by_place();
    }

    /// A tool call for the client begins.
    pub(super) fn begin_call(&mut self, block: BlockId) {
        self.open_calls.push(block);
    }

    /// A block ended.
    pub(super) fn end_call(&mut self, block: BlockId) {
        self.open_calls.retain(|call| *call != block);
    }

    /// Gives this chunk as the whole output.
    pub(super) fn answer(&mut self, chunk: &Chunk, out: &mut Vec<u8>) {
        self.cut_with(chunk, Ending::Stop, out);
    }

    /// Cuts the output off here, with this chunk as its last: what is decided leaves before it, what is not is dropped.
    pub(super) fn cut(&mut self, chunk: &Chunk, out: &mut Vec<u8>) {
        self.cut_with(chunk, Ending::Refusal, out);
    }

    fn cut_with(&mut self, chunk: &Chunk, ending: Ending, out: &mut Vec<u8>) {
        if self.finished {
            return;
        }
        let gathers = self.encoder.gathers_tool_calls();
        // Where text may not follow a tool call, the calls that were gathered make way for it.
        self.queue.retain(|entry| !(gathers && entry.carries_client_tool_call()));
        self.write_decided(out);
        if let Err(TooLate) = self.encoder.chunk(chunk, out) {
            self.late = self.late.saturating_add(1);
        }
        self.encoder.end(ending, out);
        self.finish();
    }

    /// Ends the output here with an error; what is held is dropped.
    pub(super) fn fail(&mut self, message: &str, out: &mut Vec<u8>) {
        if !self.finished {
            self.encoder.failure(message, out);
            self.finish();
        }
    }

    /// Lets go everything as it came: the configured verdict is to allow what cannot be checked.
    pub(super) fn let_go(&mut self, out: &mut Vec<u8>) {
        self.decide_all();
        self.close(out);
    }

    /// Decides what is undecided: it stays as it came.
    fn decide_all(&mut self) {
        let frames = self.queue.iter_mut().filter_map(|entry| match &mut entry.content {
            Content::Frame { queued, .. } => Some(queued),
            Content::Chunk(_) => None,
        });
        for queued in frames.chain([&mut self.current]) {
            queued.decided.iter_mut().for_each(|decided| *decided = true);
            queued.undecided = 0;
        }
    }

    /// The undecided slots of a whole body are removed, and it leaves.
    pub(super) fn remove_undecided(&mut self, out: &mut Vec<u8>) {
        for entry in &mut self.queue {
            let Content::Frame { queued, .. } = &mut entry.content else { continue };
            for (action, decided) in queued.actions.iter_mut().zip(&mut queued.decided) {
                if !mem::replace(decided, true) {
                    *action = SlotAction::Remove;
                }
            }
            queued.undecided = 0;
        }
        self.close(out);
    }

    /// What ends the stream does not leave: the end is written after this.
    fn write_decided(&mut self, out: &mut Vec<u8>) {
        for entry in mem::take(&mut self.queue) {
            if entry.is_decided() && !entry.belongs_to_end() {
                self.write(entry, out);
            } else {
                self.encoder.withhold();
            }
        }
    }

    fn finish(&mut self) {
        self.finished = true;
        self.queue.clear();
        self.blocked.clear();
        self.held_bytes = 0;
        self.held_slots = 0;
    }
}
