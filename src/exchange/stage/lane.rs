//! What waits at a stage, in the order of the stream: of one lane, nothing overtakes.

use std::borrow::Cow;
use std::collections::VecDeque;

use smallvec::SmallVec;

use super::{Settlement, StageDelta, Withheld};
use crate::block::{BlockId, BlockKind, Chunk, Clarity};
use crate::exchange::pipeline::BlockEnd;
use crate::exchange::release_queue::ReleaseQueue;
use crate::policy::{BlockAction, Place};

/// What a client joins, or reads in order: the texts of a kind in a choice, the calls of a choice. Where texts stand for
/// themselves, each block is a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::exchange) enum LaneKey {
    Text { choice: u32, kind: BlockKind },
    Calls { choice: u32 },
    Block(BlockId),
}

impl LaneKey {
    /// Gives the lane of a block. `joins` says whether clients join the texts of a choice.
    pub(in crate::exchange) const fn of(block: BlockId, choice: u32, kind: BlockKind, joins: bool) -> Self {
        match kind {
            BlockKind::Text | BlockKind::Refusal | BlockKind::Reasoning if joins => Self::Text { choice, kind },
            kind if kind.is_tool_call() && joins => Self::Calls { choice },
            _ => Self::Block(block),
        }
    }
}

/// Why something waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// The policy holds it, as a part of its block.
    Held,
    /// The policy holds it beyond the end of its block.
    Carried,
    /// It goes on once what stands before it does.
    Released,
}

#[derive(Debug)]
pub(super) enum Waiting {
    Delta(StageDelta<'static>, Hold),
    /// A block ends here; whether that goes on.
    End(BlockEnd, Hold),
}

impl Waiting {
    const fn hold(&self) -> Hold {
        match self {
            Self::Delta(_, hold) | Self::End(_, hold) => *hold,
        }
    }
}

/// What goes on from a lane.
#[derive(Debug)]
pub(in crate::exchange) enum Next {
    Delta(StageDelta<'static>),
    End(BlockEnd),
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) choice: u32,
    pub(super) kind: BlockKind,
    waiting: VecDeque<Waiting>,
}

impl Lane {
    pub(super) const fn new(choice: u32, kind: BlockKind) -> Self {
        Self { choice, kind, waiting: VecDeque::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes what goes on: the next that nothing before it keeps back.
    pub(super) fn pop(&mut self) -> Option<Next> {
        if self.waiting.front()?.hold() != Hold::Released {
            return None;
        }
        match self.waiting.pop_front()? {
            Waiting::Delta(item, _) => Some(Next::Delta(item)),
            Waiting::End(end, _) => Some(Next::End(end)),
        }
    }

    pub(super) fn push(&mut self, item: StageDelta<'_>, hold: Hold) {
        self.waiting.push_back(Waiting::Delta(item.into_owned(), hold));
    }

    /// Whether the policy holds something of this block as a part of it.
    pub(super) fn holds_of(&self, block: BlockId) -> bool {
        self.waiting.iter().any(|waiting| matches!(waiting, Waiting::Delta(item, Hold::Held) if item.block == block))
    }

    /// Whether `waiting` is what an action is about: what is held of `block` where there is one, and what was carried.
    fn concerns(waiting: &Waiting, block: Option<BlockId>) -> bool {
        matches!(waiting, Waiting::Delta(item, hold) if Self::concerns_delta(item, *hold, block))
    }

    fn concerns_delta(item: &StageDelta<'_>, hold: Hold, block: Option<BlockId>) -> bool {
        match hold {
            Hold::Held => Some(item.block) == block,
            Hold::Carried => true,
            Hold::Released => false,
        }
    }

    pub(super) fn held_place(&self, block: BlockId) -> Option<Place> {
        let held =
            self.waiting.iter().filter(|waiting| matches!(waiting, Waiting::Delta(item, Hold::Held) if item.block == block));
        held.into_iter().find_map(|waiting| if let Waiting::Delta(item, _) = waiting { Some(item.before) } else { None })
    }

    /// Puts together the text of what is held of this block, and carried.
    pub(super) fn held_text(&self, block: Option<BlockId>) -> String {
        let concerned = self.waiting.iter().filter(|waiting| Self::concerns(waiting, block));
        concerned.filter_map(|waiting| if let Waiting::Delta(item, _) = waiting { Some(&*item.text) } else { None }).collect()
    }

    /// Lets what is held of this block, and carried, wait for another reason.
    pub(super) fn mark(&mut self, block: Option<BlockId>, next: Hold) {
        for waiting in self.waiting.iter_mut().filter(|waiting| Self::concerns(waiting, block)) {
            if let Waiting::Delta(_, hold) = waiting {
                *hold = next;
            }
        }
    }

    /// Lets what is held of a block that is let go go on; it is as clear as all of the block.
    pub(super) fn release(&mut self, block: BlockId, clarity: Clarity) {
        for waiting in self.waiting.iter_mut().filter(|waiting| Self::concerns(waiting, Some(block))) {
            if let Waiting::Delta(item, hold) = waiting {
                item.clarity = item.clarity.and(clarity);
                *hold = Hold::Released;
            }
        }
    }

    /// Takes what is held of this block, and carried, out of the lane.
    pub(super) fn take(&mut self, block: Option<BlockId>) -> Vec<StageDelta<'static>> {
        let (taken, kept): (VecDeque<_>, VecDeque<_>) =
            core::mem::take(&mut self.waiting).into_iter().partition(|waiting| Self::concerns(waiting, block));
        self.waiting = kept;
        let items = taken.into_iter().filter_map(|waiting| match waiting {
            Waiting::Delta(item, _) => Some(item),
            Waiting::End(..) => None,
        });
        items.collect()
    }

    /// Puts `text` in the place of the last of what was carried, and takes the rest of it out.
    pub(super) fn replace_carried(&mut self, text: String) -> Vec<StageDelta<'static>> {
        let is_carried = |waiting: &Waiting| Self::concerns(waiting, None);
        let decided: Vec<usize> =
            self.waiting.iter().enumerate().filter(|(_, waiting)| is_carried(waiting)).map(|(position, _)| position).collect();
        self.mark(None, Hold::Released);
        self.replace_decided(0, &decided, text)
    }

    /// Whether the policy holds the beginning of this block.
    pub(super) fn holds_start_of(&self, block: BlockId) -> bool {
        let starts =
            |waiting: &Waiting| matches!(waiting, Waiting::Delta(item, Hold::Held) if item.block == block && item.starts);
        self.waiting.iter().any(starts)
    }

    /// Lets one of the deltas that are held of a call say all of its arguments, and takes out the others that say any.
    pub(super) fn replace_arguments(&mut self, block: BlockId, arguments: &str) -> Vec<StageDelta<'static>> {
        let is_of_call = |waiting: &Waiting| Self::concerns(waiting, Some(block));
        let says = |waiting: &Waiting| matches!(waiting, Waiting::Delta(item, _) if !item.text.is_empty());
        let first = self.waiting.iter().position(|waiting| is_of_call(waiting) && says(waiting));
        let place = first.or_else(|| self.waiting.iter().position(is_of_call));
        let (mut removed, mut kept) = (Vec::new(), VecDeque::new());
        for (position, waiting) in core::mem::take(&mut self.waiting).into_iter().enumerate() {
            let (is_place, is_other) = (Some(position) == place, is_of_call(&waiting) && says(&waiting));
            match waiting {
                Waiting::Delta(mut item, hold) if is_place => {
                    (item.text, item.changed) = (Cow::Owned(arguments.to_owned()), true);
                    kept.push_back(Waiting::Delta(item, hold));
                }
                Waiting::Delta(item, _) if is_other => removed.push(item),
                other => kept.push_back(other),
            }
        }
        self.waiting = kept;
        removed
    }

    /// Carries out that a block which ended does not leave as it came.
    pub(super) fn withhold(&mut self, end: BlockEnd, action: BlockAction, start_was_removed: bool, settlement: &mut Settlement) {
        let position = self.position_of(end.block);
        let held = self.take(Some(end.block));
        let text: String = held.iter().map(|item| &*item.text).collect();
        let start_removed = start_was_removed || held.iter().any(|item| item.starts && item.block == end.block);
        let kind = settlement.kind;
        settlement.before = held.first().map_or(end.before, |item| item.before);
        settlement.removed = held;
        settlement.is_change = kind.is_tool_call() || !text.is_empty();
        let said = StageDelta::saying(end.block, kind, settlement.before);
        let (mut is_reopened, mut is_exchanged) = (false, false);
        match action {
            BlockAction::Replace(Chunk::Text { choice, text: replacement, .. })
                if kind.is_content() && kind != BlockKind::Unknown =>
            {
                settlement.is_change = replacement != text;
                let item = StageDelta { choice, text: Cow::Owned(replacement), ..said };
                self.insert(position, Next::Delta(item));
                is_reopened = true;
            }
            BlockAction::Replace(Chunk::ToolCall { .. }) if kind == BlockKind::ServerToolCall => settlement.not_allowed = true,
            BlockAction::Replace(Chunk::ToolCall { choice, call_id, name, arguments, free_form }) if kind.is_tool_call() => {
                let item = StageDelta {
                    choice,
                    call_id: Cow::Owned(call_id),
                    name: Cow::Owned(name),
                    text: Cow::Owned(arguments),
                    free_form,
                    ..said
                };
                self.insert(position, Next::End(BlockEnd { slot: None, before: settlement.before, ..end }));
                self.insert(position, Next::Delta(item));
                is_exchanged = true;
            }
            BlockAction::Replace(chunk) => {
                settlement.is_change = true;
                settlement.beside = Some(chunk);
            }
            BlockAction::Drop | BlockAction::Forward | BlockAction::Hold | BlockAction::ReplaceArguments(_) => {}
        }
        settlement.withheld = match (kind.is_tool_call(), start_removed, is_exchanged) {
            (false, ..) => Withheld::No,
            (true, true, true) => Withheld::Exchanged,
            (true, true, false) => Withheld::Yes,
            (true, false, _) => Withheld::TooLate,
        };
        settlement.end_removed = start_removed && !is_reopened;
        self.settle_end(end, !settlement.end_removed);
    }

    /// Where the first of what is held of this block, or carried to it, stands; else the end of the block.
    pub(super) fn position_of(&self, block: BlockId) -> usize {
        let first = self.waiting.iter().position(|waiting| Self::concerns(waiting, Some(block)));
        first.or_else(|| self.end_position(block)).unwrap_or(self.waiting.len())
    }

    /// Puts what goes on into the lane at this place.
    pub(super) fn insert(&mut self, position: usize, next: Next) {
        let waiting = match next {
            Next::Delta(item) => Waiting::Delta(item, Hold::Released),
            Next::End(end) => Waiting::End(end, Hold::Released),
        };
        self.waiting.insert(position.min(self.waiting.len()), waiting);
    }

    pub(super) fn push_end(&mut self, end: BlockEnd) {
        self.waiting.push_back(Waiting::End(end, Hold::Held));
    }

    /// Lets the end of a block go on, or takes it out.
    pub(super) fn settle_end(&mut self, end: BlockEnd, goes_on: bool) {
        let is_end = |waiting: &Waiting| matches!(waiting, Waiting::End(known, Hold::Held) if known.block == end.block);
        let Some(position) = self.waiting.iter().position(is_end) else { return };
        if !goes_on {
            self.waiting.remove(position);
        } else if let Some(Waiting::End(_, hold)) = self.waiting.get_mut(position) {
            *hold = Hold::Released;
        }
    }

    /// Holds a delta that came after the end of its block before that end.
    pub(super) fn hold_before_end(&mut self, item: StageDelta<'static>) {
        let position = self.end_position(item.block).unwrap_or(self.waiting.len());
        self.waiting.insert(position, Waiting::Delta(item, Hold::Held));
    }

    /// Carries what is held of blocks that are open and stands before `limit` beyond them.
    pub(super) fn carry_open(&mut self, limit: Option<Place>, is_open: impl Fn(BlockId) -> bool) {
        for waiting in &mut self.waiting {
            if let Waiting::Delta(item, hold @ Hold::Held) = waiting
                && is_open(item.block)
                && limit.is_none_or(|limit| item.before <= limit)
            {
                *hold = Hold::Carried;
            }
        }
    }

    pub(super) fn carries(&self) -> bool {
        self.waiting.iter().any(|waiting| waiting.hold() == Hold::Carried)
    }

    /// Lets the last `undecided` bytes of what is held of the block, with `item` behind it, wait; what stands before them goes
    /// on, or `replacement` in its place. Gives back what does not go on.
    pub(super) fn hold_end(
        &mut self,
        item: StageDelta<'static>,
        undecided: usize,
        replacement: Option<String>,
        queue: &mut ReleaseQueue,
    ) -> Vec<StageDelta<'static>> {
        let block = Some(item.block);
        let text_of = |waiting: &Waiting| match waiting {
            Waiting::Delta(item, _) if Self::concerns(waiting, block) => item.text.len(),
            _ => 0,
        };
        let total = self.waiting.iter().map(text_of).sum::<usize>().saturating_add(item.text.len());
        let mut decided = total.saturating_sub(undecided);
        self.waiting.push_back(Waiting::Delta(item, Hold::Held));
        let mut decided_at: SmallVec<[usize; 2]> = SmallVec::new();
        let first = self.waiting.iter().position(|waiting| Self::concerns(waiting, block)).unwrap_or_default();
        let mut position: usize = 0;
        // Each is taken off the front and put back behind: once round, they stand in their order again.
        for _ in 0..self.waiting.len() {
            match self.waiting.pop_front() {
                Some(Waiting::Delta(item, hold))
                    if Self::concerns_delta(&item, hold, block) && (decided > 0 || undecided == 0) =>
                {
                    let (head, tail) = split(item, decided, queue);
                    decided = decided.saturating_sub(head.text.len());
                    decided_at.push(position);
                    self.waiting.push_back(Waiting::Delta(head, Hold::Released));
                    if let Some(tail) = tail {
                        position = position.saturating_add(1);
                        self.waiting.push_back(Waiting::Delta(tail, hold));
                    }
                }
                other => self.waiting.extend(other),
            }
            position = position.saturating_add(1);
        }
        replacement.map_or_else(Vec::new, |text| self.replace_decided(first, &decided_at, text))
    }

    /// Lets the last of what was decided say `text`, and takes the rest of it out.
    fn replace_decided(&mut self, first: usize, decided: &[usize], text: String) -> Vec<StageDelta<'static>> {
        let Some(last) = decided.last() else {
            // Nothing of what came is decided: what is said goes before it.
            if let Some(Waiting::Delta(item, _)) = self.waiting.get(first).filter(|_| !text.is_empty()) {
                let said = item.made(text);
                self.insert(first, Next::Delta(said));
            }
            return Vec::new();
        };
        if let Some(Waiting::Delta(item, _)) = self.waiting.get_mut(*last) {
            (item.text, item.changed) = (Cow::Owned(text), true);
        }
        let mut removed = Vec::new();
        for position in 0..self.waiting.len() {
            match self.waiting.pop_front() {
                Some(Waiting::Delta(item, _)) if position != *last && decided.contains(&position) && !item.text.is_empty() => {
                    removed.push(item);
                }
                other => self.waiting.extend(other),
            }
        }
        removed
    }

    fn end_position(&self, block: BlockId) -> Option<usize> {
        self.waiting.iter().position(|waiting| matches!(waiting, Waiting::End(end, _) if end.block == block))
    }
}

/// Cuts a delta in two behind `length` bytes of its text, or where it ends. Its end is decided on its own then.
fn split(
    mut item: StageDelta<'static>,
    length: usize,
    queue: &mut ReleaseQueue,
) -> (StageDelta<'static>, Option<StageDelta<'static>>) {
    let length = item.text.floor_char_boundary(length);
    if length >= item.text.len() {
        return (item, None);
    }
    let (head, tail) = item.text.split_at_checked(length).unwrap_or((&item.text, ""));
    let (head, tail) = (head.to_owned(), tail.to_owned());
    let whole = (!item.changed && queue.edits_in_place()).then(|| item.text.to_string());
    let slot = item.slot.map(|slot| queue.split(slot, item.choice, item.kind, &tail, whole));
    let rest = StageDelta { slot, changed: false, ..item.made(tail) };
    item.text = Cow::Owned(head);
    item.changed = true;
    (item, Some(rest))
}
