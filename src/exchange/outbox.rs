//! The outbox: documents in the order in which they came, some of them undecided, and the rule which may leave.
//!
//! A document leaves as soon as all its slots are decided and nothing undecided stands before it that it must not
//! overtake. While nothing is held, documents pass through without being copied.

use core::mem;
use std::collections::VecDeque;

use smallvec::SmallVec;

use crate::block::{BlockId, BlockKind, Chunk};
use crate::dialect::{Dialect, Encoder, Ending, Frame, FrameRole, Insertion, SlotFate, TooLate};
use crate::policy::Shared;
use crate::time::Timestamp;

/// Number of a document within its response.
pub(super) type DocumentNumber = u64;

/// A slot of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SlotRef {
    pub(super) document: DocumentNumber,
    pub(super) slot: usize,
}

/// Most bytes that a replacement for something held is reckoned to need, encoded.
const REPLACEMENT_BYTES: usize = 4096;

/// Capacity that is kept between documents for the texts of their slots.
const KEPT_CAPACITY: usize = 64 * 1024;

/// The order that must be kept: two documents that share a lane do not overtake each other.
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

/// A document with what has been decided about it so far.
#[derive(Debug, Default)]
struct Document {
    frame: Frame,
    fates: SmallVec<[SlotFate; 2]>,
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
    /// Forgets the texts, and keeps some of their room for the next document's.
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

impl Document {
    fn decide(&mut self, slot: usize, fate: SlotFate) {
        let (Some(known), Some(place)) = (self.decided.get_mut(slot), self.fates.get_mut(slot)) else { return };
        if !mem::replace(known, true) {
            self.undecided = self.undecided.saturating_sub(1);
        }
        *place = fate;
    }

    fn carries_client_tool_call(&self) -> bool {
        self.frame.slots.iter().zip(&self.fates).any(|(slot, fate)| slot.kind == BlockKind::ToolCall && *fate != SlotFate::Remove)
    }
}

#[derive(Debug)]
enum Content {
    Document { raw: Vec<u8>, document: Document, came: Timestamp },
    Chunk(Chunk),
}

#[derive(Debug)]
struct Entry {
    /// Of a chunk, the number of the document that it was put before.
    number: DocumentNumber,
    content: Content,
    lanes: Lanes,
}

impl Entry {
    fn is_decided(&self) -> bool {
        match &self.content {
            Content::Document { document, .. } => document.undecided == 0,
            Content::Chunk(_) => true,
        }
    }

    /// Whether it is of the end of a message (finish reason, usage, terminator), which is written anew where it is cut.
    fn belongs_to_end(&self) -> bool {
        match &self.content {
            Content::Document { document, .. } => match document.frame.role {
                FrameRole::Free | FrameRole::Opening | FrameRole::Unknown => false,
                FrameRole::Content => !document.frame.finishes.is_empty() || document.frame.slots.is_empty(),
                FrameRole::Closing | FrameRole::Terminator | FrameRole::Failure => true,
            },
            Content::Chunk(_) => false,
        }
    }

    fn bytes(&self) -> usize {
        match &self.content {
            Content::Document { raw, .. } => raw.len(),
            Content::Chunk(_) => REPLACEMENT_BYTES,
        }
    }

    fn carries_client_tool_call(&self) -> bool {
        match &self.content {
            Content::Document { document, .. } => document.carries_client_tool_call(),
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
pub(super) struct Outbox {
    dialect: Dialect,
    shape: Shape,
    encoder: Encoder,
    /// The document that is being worked on.
    current: Document,
    current_number: DocumentNumber,
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

impl Outbox {
    pub(super) fn new(dialect: Dialect, shape: Shape, encoder: Encoder) -> Self {
        Self {
            dialect,
            shape,
            encoder,
            current: Document::default(),
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

    /// The encoder, for documents of another shape.
    pub(super) fn into_encoder(self) -> Encoder {
        self.encoder
    }

    pub(super) const fn current(&self) -> DocumentNumber {
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
            Content::Document { came, .. } => Some(*came),
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

    /// Begins the next document. Its slots are opened as they are found.
    pub(super) fn begin(&mut self) {
        self.current_number = self.current_number.saturating_add(1);
        self.current.fates.clear();
        self.current.decided.clear();
        self.current.undecided = 0;
        self.current.texts.clear();
    }

    /// Opens the next slot of the document: undecided.
    pub(super) fn open_slot(&mut self) -> SlotRef {
        let slot = self.current.fates.len();
        self.current.fates.push(SlotFate::Keep);
        self.current.decided.push(false);
        self.current.undecided = self.current.undecided.saturating_add(1);
        SlotRef { document: self.current_number, slot }
    }

    /// The document has a finish reason: undecided.
    pub(super) const fn open_finish(&mut self) {
        self.current.undecided = self.current.undecided.saturating_add(1);
    }

    /// Decides a slot.
    pub(super) fn decide(&mut self, slot: SlotRef, fate: SlotFate) {
        if let Some(document) = self.document(slot.document) {
            document.decide(slot.slot, fate);
        }
    }

    /// Notes the text of a content slot that was kept.
    pub(super) fn note_kept_text(&mut self, slot: SlotRef, text: &str) {
        if self.edits_in_place()
            && let Some(document) = self.document(slot.document)
        {
            document.texts.push(slot.slot, text);
        }
    }

    /// Appends text to a content slot.
    pub(super) fn append_to_slot(&mut self, slot: SlotRef, text: &str) {
        let Some(document) = self.document(slot.document) else { return };
        let kept = document.texts.get(slot.slot).unwrap_or_default();
        let fate = match document.fates.get(slot.slot) {
            Some(SlotFate::Keep) => SlotFate::Replace(format!("{kept}{text}")),
            Some(SlotFate::Replace(replacement)) => SlotFate::Replace(format!("{replacement}{text}")),
            Some(SlotFate::Remove) => SlotFate::Replace(text.to_owned()),
            None => return,
        };
        document.decide(slot.slot, fate);
    }

    /// A finish reason of the document is decided.
    pub(super) fn decide_finish(&mut self, number: DocumentNumber) {
        if let Some(document) = self.document(number) {
            document.undecided = document.undecided.saturating_sub(1);
        }
    }

    /// The document of that number: queued, or the one that is being worked on.
    fn document(&mut self, number: DocumentNumber) -> Option<&mut Document> {
        if self.queue.is_empty() {
            return (number == self.current_number).then_some(&mut self.current);
        }
        let first = self.queue.partition_point(|entry| entry.number < number);
        let queued =
            self.queue.range_mut(first..).take_while(|entry| entry.number == number).find_map(|entry| match &mut entry.content {
                Content::Document { document, .. } => Some(document),
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
        let position = first_tool_call.unwrap_or_else(|| self.queue.partition_point(|entry| entry.number < before.document));
        let number = self.queue.get(position).map_or(self.current_number, |entry| entry.number).min(before.document);
        let lane = match (self.dialect, is_text) {
            (Dialect::Messages | Dialect::Responses | Dialect::McpTool, _) => Lane::Everything,
            (Dialect::ChatCompletions, true) => Lane::Content(choice),
            (Dialect::ChatCompletions, false) => Lane::ToolCalls(choice),
        };
        self.held_bytes = self.held_bytes.saturating_add(REPLACEMENT_BYTES);
        self.queue.insert(position, Entry { number, content: Content::Chunk(chunk), lanes: SmallVec::from_slice(&[lane]) });
        self.release(out);
    }

    /// The document was read to its end and worked on: it leaves, or waits. If it waits, its frame is taken.
    pub(super) fn finish_document(&mut self, raw: &[u8], frame: &mut Frame, shared: &Shared, out: &mut Vec<u8>) {
        if matches!(frame.role, FrameRole::Closing | FrameRole::Terminator | FrameRole::Failure) {
            self.closed = true;
            self.stirred = true;
        }
        if self.finished {
            return;
        }
        if self.queue.is_empty() && self.current.undecided == 0 && self.shape == Shape::Stream {
            self.encoder.event(raw, frame, &self.current.fates, out);
            return;
        }
        let lanes = if self.shape == Shape::Whole { Lanes::new() } else { self.lanes(frame) };
        let stirs = self.shape == Shape::Whole || (self.stirred && !self.queue.is_empty());
        let overtakes = lanes.iter().any(|lane| self.blocked.iter().any(|blocked| blocked.conflicts(*lane)));
        if self.current.undecided == 0 && !stirs && !overtakes {
            self.encoder.event(raw, frame, &self.current.fates, out);
            return;
        }
        self.queue_current(raw, mem::take(frame), shared.now(), lanes);
        if stirs {
            // The document itself is last: what it decided, or closed, about those before it shows first.
            self.release(out);
        }
    }

    fn queue_current(&mut self, raw: &[u8], frame: Frame, came: Timestamp, lanes: Lanes) {
        let document = Document { frame, ..mem::take(&mut self.current) };
        self.held_bytes = self.held_bytes.saturating_add(raw.len());
        self.held_slots = self.held_slots.saturating_add(usize::from(document.frame.slots.iter().any(|slot| slot.starts)));
        for lane in &lanes {
            if !self.blocked.contains(lane) {
                self.blocked.push(*lane);
            }
        }
        let content = Content::Document { raw: raw.to_vec(), document, came };
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
            Content::Document { raw, document, .. } => {
                let starts = document.frame.slots.iter().any(|slot| slot.starts);
                self.held_slots = self.held_slots.saturating_sub(usize::from(starts));
                if self.shape == Shape::Whole {
                    self.encoder.body(&raw, &document.frame, &document.fates, &self.insertions, out);
                } else {
                    self.encoder.event(&raw, &document.frame, &document.fates, out);
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
            Content::Document { document, .. } => document.frame.slots.iter().any(|slot| slot.block == block && slot.starts),
            Content::Chunk(_) => false,
        })
    }

    /// Whether a call has left, or leaves, of which the rest is dropped with what is undecided in the same documents.
    fn drops_rest_of_call(&self) -> bool {
        // In order, because blocks are numbered as they begin.
        let mut dropped: Vec<BlockId> = Vec::new();
        for entry in self.queue.iter().filter(|entry| !entry.is_decided()) {
            let Content::Document { document, .. } = &entry.content else { continue };
            let slots = document.frame.slots.iter().zip(&document.fates);
            for (slot, fate) in slots.filter(|(slot, _)| slot.kind == BlockKind::ToolCall) {
                if slot.starts {
                    dropped.push(slot.block);
                } else if *fate != SlotFate::Remove && dropped.binary_search(&slot.block).is_err() {
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
        let queued = self.queue.iter_mut().filter_map(|entry| match &mut entry.content {
            Content::Document { document, .. } => Some(document),
            Content::Chunk(_) => None,
        });
        for document in queued.chain([&mut self.current]) {
            document.decided.iter_mut().for_each(|decided| *decided = true);
            document.undecided = 0;
        }
    }

    /// The undecided slots of a whole body are removed, and it leaves.
    pub(super) fn remove_undecided(&mut self, out: &mut Vec<u8>) {
        for entry in &mut self.queue {
            let Content::Document { document, .. } = &mut entry.content else { continue };
            for (fate, decided) in document.fates.iter_mut().zip(&mut document.decided) {
                if !mem::replace(decided, true) {
                    *fate = SlotFate::Remove;
                }
            }
            document.undecided = 0;
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
