//! A frame in the queue, with what has been decided about it so far.

use core::mem;
use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::RestNumber;
use crate::block::{BlockKind, Chunk};
use crate::dialect::{Frame, FrameRole, SlotAction};
use crate::heap;
use crate::time::Timestamp;

/// Capacity that is kept between frames for the texts of their slots.
const KEPT_CAPACITY: usize = 64 * 1024;

/// Gives what is allocated for the text that an action has.
fn text_of_action(action: &SlotAction) -> usize {
    match action {
        SlotAction::Replace(text) => heap::block(text.capacity()),
        SlotAction::Keep | SlotAction::Remove => 0,
    }
}

/// A frame with what has been decided about it so far.
#[derive(Debug, Default)]
pub(super) struct QueuedFrame {
    pub(super) frame: Frame,
    pub(super) actions: SmallVec<[SlotAction; 2]>,
    decided: SmallVec<[bool; 2]>,
    /// Slots, rests of slots and finish reasons that are undecided.
    pub(super) undecided: usize,
    texts: KeptTexts,
    /// The ends of each slot that are decided on their own, where the frame cannot leave without them.
    rests: BTreeMap<usize, Vec<Rest>>,
    /// What the text of each slot was that have rests, and that no policy had changed by then.
    whole_texts: BTreeMap<usize, Vec<String>>,
    /// What goes before the text of each slot.
    said: BTreeMap<usize, String>,
}

/// The end of a slot's text, which is decided on its own.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) number: RestNumber,
    slot: usize,
    pub(super) choice: u32,
    pub(super) kind: BlockKind,
    text: String,
    action: Option<SlotAction>,
}

impl Rest {
    pub(super) const fn new(number: RestNumber, slot: usize, choice: u32, kind: BlockKind, text: String) -> Self {
        Self { number, slot, choice, kind, text, action: None }
    }

    pub(super) fn decide(&mut self, action: SlotAction) {
        self.action = Some(action);
    }

    pub(super) const fn is_decided(&self) -> bool {
        self.action.is_some()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.text.len()
    }

    fn allocated(&self) -> usize {
        let action = self.action.as_ref().map_or(0, text_of_action);
        heap::block(self.text.capacity()).saturating_add(action)
    }

    /// Gives what leaves of it, as [`Self::left`] does.
    pub(super) fn into_left(self) -> String {
        match self.action {
            Some(SlotAction::Keep) => self.text,
            Some(SlotAction::Replace(text)) => text,
            Some(SlotAction::Remove) | None => String::new(),
        }
    }

    /// Gives what leaves of it; nothing as long as it is undecided.
    pub(super) fn left(&self) -> &str {
        match &self.action {
            Some(SlotAction::Keep) => &self.text,
            Some(SlotAction::Replace(text)) => text,
            Some(SlotAction::Remove) | None => "",
        }
    }
}

/// The texts of slots that were kept, where something may be put beside them.
#[derive(Debug, Default)]
struct KeptTexts {
    /// All of them, one behind the other.
    text: String,
    /// Of each slot, where its text begins and ends.
    places: SmallVec<[(usize, usize); 2]>,
}

impl KeptTexts {
    /// Forgets the texts, and keeps some of their room for the next frame's.
    fn clear(&mut self) {
        self.text.clear();
        self.text.shrink_to(KEPT_CAPACITY);
        self.places.clear();
    }

    fn set(&mut self, slot: usize, text: &str) {
        let start = self.text.len();
        self.text.push_str(text);
        if self.places.len() <= slot {
            self.places.resize(slot.saturating_add(1), (0, 0));
        }
        if let Some(place) = self.places.get_mut(slot) {
            *place = (start, self.text.len());
        }
    }

    fn get(&self, slot: usize) -> &str {
        let (start, end) = self.places.get(slot).copied().unwrap_or_default();
        self.text.get(start..end).unwrap_or_default()
    }
}

impl QueuedFrame {
    /// Makes ready for the next frame.
    pub(super) fn clear(&mut self) {
        self.actions.clear();
        self.decided.clear();
        self.undecided = 0;
        self.texts.clear();
        self.rests.clear();
        self.whole_texts.clear();
        self.said.clear();
    }

    /// Opens the next slot: undecided, and removed if nothing decides it.
    pub(super) fn open_slot(&mut self) -> usize {
        let slot = self.actions.len();
        self.actions.push(SlotAction::Remove);
        self.decided.push(false);
        self.undecided = self.undecided.saturating_add(1);
        slot
    }

    /// Decides a slot. Whether there is one of that number.
    pub(super) fn decide(&mut self, slot: usize, action: SlotAction) -> bool {
        let (Some(known), Some(place)) = (self.decided.get_mut(slot), self.actions.get_mut(slot)) else { return false };
        if !mem::replace(known, true) {
            self.undecided = self.undecided.saturating_sub(1);
        }
        *place = action;
        true
    }

    /// Decides the end of a slot's text. Whether there is one of that number.
    pub(super) fn decide_rest(&mut self, slot: usize, number: RestNumber, action: SlotAction) -> bool {
        let of_slot = self.rests.get_mut(&slot);
        let Some(rest) = of_slot.and_then(|rests| rests.iter_mut().find(|rest| rest.number == number)) else { return false };
        if !rest.is_decided() {
            self.undecided = self.undecided.saturating_sub(1);
        }
        rest.decide(action);
        true
    }

    pub(super) fn has_rest(&self, slot: usize, number: RestNumber) -> bool {
        self.rests.get(&slot).is_some_and(|rests| rests.iter().any(|rest| rest.number == number))
    }

    /// Keeps the end of a slot's text with the frame, which waits until it is decided.
    pub(super) fn push_rest(&mut self, rest: Rest, behind: Option<RestNumber>) {
        self.undecided = self.undecided.saturating_add(usize::from(!rest.is_decided()));
        let rests = self.rests.entry(rest.slot).or_default();
        let position = behind.and_then(|behind| rests.iter().position(|known| known.number == behind));
        rests.insert(position.map_or(rests.len(), |position| position.saturating_add(1)), rest);
    }

    /// Notes what a slot says of which the end is to be decided on its own.
    pub(super) fn note_whole_text(&mut self, slot: usize, text: String) {
        self.whole_texts.entry(slot).or_default().push(text);
    }

    /// Notes the text of a content slot that was kept.
    pub(super) fn note_kept_text(&mut self, slot: usize, text: &str) {
        self.texts.set(slot, text);
    }

    /// Appends text to a content slot. Whether there is one of that number.
    pub(super) fn append(&mut self, slot: usize, text: &str) -> bool {
        let kept = self.texts.get(slot);
        let action = match self.actions.get(slot) {
            Some(SlotAction::Keep) => SlotAction::Replace(format!("{kept}{text}")),
            Some(SlotAction::Replace(replacement)) => SlotAction::Replace(format!("{replacement}{text}")),
            Some(SlotAction::Remove) => SlotAction::Replace(text.to_owned()),
            None => return false,
        };
        self.decide(slot, action)
    }

    /// Puts text before that of a content slot.
    pub(super) fn say_before(&mut self, slot: usize, text: &str) {
        self.said.entry(slot).or_default().push_str(text);
    }

    /// Decides what is undecided: it stays as it came.
    pub(super) fn keep_undecided(&mut self) {
        for (action, decided) in self.actions.iter_mut().zip(&mut self.decided) {
            if !mem::replace(decided, true) {
                *action = SlotAction::Keep;
            }
        }
        self.rests.values_mut().flatten().filter(|rest| !rest.is_decided()).for_each(|rest| rest.decide(SlotAction::Keep));
        self.undecided = 0;
    }

    /// Decides what is undecided: it does not leave.
    pub(super) fn remove_undecided(&mut self) {
        self.decided.iter_mut().for_each(|decided| *decided = true);
        self.rests.values_mut().flatten().filter(|rest| !rest.is_decided()).for_each(|rest| rest.decide(SlotAction::Remove));
        self.undecided = 0;
    }

    /// Removes every slot behind the one of that number, decided or not.
    pub(super) fn remove_behind(&mut self, last: usize) {
        for slot in last.saturating_add(1)..self.actions.len() {
            self.decide(slot, SlotAction::Remove);
        }
        let behind = self.rests.range_mut(last.saturating_add(1)..).flat_map(|(_, rests)| rests);
        let behind = behind.filter(|rest| !rest.is_decided());
        let undecided = behind.map(|rest| rest.decide(SlotAction::Remove)).count();
        self.undecided = self.undecided.saturating_sub(undecided);
    }

    /// Removes slots of the frame that were never opened: whether there are any.
    pub(super) fn remove_unopened(&mut self, slots: usize) -> bool {
        let is_any = self.actions.len() < slots;
        while self.actions.len() < slots {
            self.actions.push(SlotAction::Remove);
        }
        is_any
    }

    /// Brings the rests of slots, and what is said before them, into the actions: before the frame leaves.
    pub(super) fn settle(&mut self) {
        let (rests, mut said) = (mem::take(&mut self.rests), mem::take(&mut self.said));
        for slot in rests.keys() {
            said.entry(*slot).or_default();
        }
        for (slot, before) in said {
            let behind: String = rests.get(&slot).into_iter().flatten().map(Rest::left).collect();
            let kept = self.texts.get(slot);
            let Some(action) = self.actions.get_mut(slot) else { continue };
            let own = match &*action {
                SlotAction::Keep => kept,
                SlotAction::Replace(text) => text,
                SlotAction::Remove => "",
            };
            let whole = [before.as_str(), own, behind.as_str()].concat();
            let is_as_it_came = self.whole_texts.get(&slot).is_some_and(|texts| texts.contains(&whole));
            *action = match whole {
                _ if is_as_it_came => SlotAction::Keep,
                whole if whole.is_empty() => SlotAction::Remove,
                whole => SlotAction::Replace(whole),
            };
        }
    }

    /// Gives what is allocated for it beside itself.
    fn allocated(&self) -> usize {
        let texts = self.actions.iter().map(text_of_action);
        let rests = self.rests.values().flatten().map(Rest::allocated);
        let others = [
            self.frame.allocated(),
            heap::spilled(&self.actions),
            heap::spilled(&self.decided),
            heap::block(self.texts.text.capacity()),
            heap::spilled(&self.texts.places),
            heap::tree::<usize, Vec<Rest>>(self.rests.len()),
            self.rests
                .values()
                .fold(0, |sum, rests| sum.saturating_add(heap::block(rests.capacity().saturating_mul(size_of::<Rest>())))),
        ];
        let whole_texts = self.whole_texts.values().flatten().map(|text| heap::block(text.capacity()));
        texts.chain(rests).chain(others).chain(whole_texts).fold(0, usize::saturating_add)
    }

    /// Gives how many blocks begin in it: each may get a replacement.
    pub(super) fn begun(&self) -> usize {
        self.frame.slots.iter().filter(|slot| slot.starts).count()
    }

    pub(super) fn carries_client_tool_call(&self) -> bool {
        let slots = self.frame.slots.iter().zip(&self.actions).zip(&self.decided);
        let leaves = |action: &SlotAction, decided: bool| !decided || *action != SlotAction::Remove;
        slots.into_iter().any(|((slot, action), decided)| slot.kind == BlockKind::ToolCall && leaves(action, *decided))
    }
}

fn bytes_of_chunk(chunk: &Chunk) -> usize {
    match chunk {
        Chunk::Text { text, .. } => text.capacity(),
        Chunk::ToolCall { call_id, name, arguments, .. } => {
            call_id.capacity().saturating_add(name.capacity()).saturating_add(arguments.capacity())
        }
    }
}

/// What waits in the queue.
#[derive(Debug)]
pub(super) enum Content {
    Frame {
        raw: Vec<u8>,
        queued: Box<QueuedFrame>,
        came: Timestamp,
    },
    /// The end of a slot's text, behind the frame that it came in.
    Rest(Rest),
    /// Something of a policy's own, with the extras of the call that it stands for.
    Chunk(Chunk, String),
}

impl Content {
    /// Gives what is allocated for it.
    pub(super) fn allocated(&self) -> usize {
        match self {
            Self::Frame { raw, queued, .. } => heap::block(raw.capacity())
                .saturating_add(heap::block(size_of::<QueuedFrame>()))
                .saturating_add(queued.allocated()),
            Self::Rest(rest) => rest.allocated(),
            Self::Chunk(chunk, extras) => heap::block(bytes_of_chunk(chunk)).saturating_add(heap::block(extras.capacity())),
        }
    }

    pub(super) fn is_decided(&self) -> bool {
        match self {
            Self::Frame { queued, .. } => queued.undecided == 0,
            Self::Rest(rest) => rest.is_decided(),
            Self::Chunk(..) => true,
        }
    }

    /// Whether it is of the end of a message (finish reason, usage, terminator), which is written anew where it is cut.
    pub(super) fn belongs_to_end(&self) -> bool {
        match self {
            Self::Frame { queued, .. } => match queued.frame.role {
                FrameRole::Free | FrameRole::Opening | FrameRole::Unknown => false,
                FrameRole::Content => !queued.frame.finishes.is_empty() || queued.frame.slots.is_empty(),
                FrameRole::Closing | FrameRole::Terminator | FrameRole::Failure => true,
            },
            Self::Rest(_) | Self::Chunk(..) => false,
        }
    }

    pub(super) fn carries_client_tool_call(&self) -> bool {
        match self {
            Self::Frame { queued, .. } => queued.carries_client_tool_call(),
            Self::Rest(_) => false,
            Self::Chunk(chunk, _) => matches!(chunk, Chunk::ToolCall { .. }),
        }
    }
}
