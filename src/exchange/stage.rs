//! A stage: one policy of the chain at work on one response, with the blocks that it has seen.

mod block;
mod delta;
mod lane;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;

pub(super) use self::delta::StageDelta;
pub(super) use self::lane::{LaneKey, Next};

use self::block::{AfterEnd, Aggregate, Progress, StageBlock};
use self::lane::{Hold, Lane};
use super::pipeline::BlockEnd;
use super::release_queue::{FrameNumber, ReleaseQueue};
use crate::block::{BlockId, BlockKind, Chunk};
use crate::policy::{BlockAction, DeltaAction, Hook, Instance, Interests, Place};

/// Where a delta goes from a stage.
pub(super) enum Flow<'a> {
    /// On: nothing stands before it.
    On(StageDelta<'a>),
    /// It waits in the lane, or was put there behind what waits.
    Lane,
    /// It does not go on.
    Removed(StageDelta<'a>),
    /// It came after the end of a guarded block.
    Trailing(StageDelta<'a>),
}

/// What a stage made of a delta.
pub(super) struct Taken<'a> {
    pub(super) flow: Flow<'a>,
    pub(super) lane: LaneKey,
    /// What was held, and does not go on.
    pub(super) removed: Vec<StageDelta<'static>>,
    /// The client gets something else than came.
    pub(super) is_change: bool,
}

/// What a stage made of a block that ended.
#[derive(Debug)]
pub(super) struct Settlement {
    pub(super) lane: LaneKey,
    pub(super) kind: BlockKind,
    /// What was held, and does not go on.
    pub(super) removed: Vec<StageDelta<'static>>,
    /// The client gets something else than came.
    pub(super) is_change: bool,
    /// The policy withholds a call.
    pub(super) withheld: Withheld,
    /// What is put beside the block: not seen by later stages.
    pub(super) beside: Option<Chunk>,
    /// Where what is said in place of the block goes.
    pub(super) before: Place,
    /// The end of the block does not go on, with its slot.
    pub(super) end_removed: bool,
    /// The provider's own call cannot be replaced by one for the client.
    pub(super) not_allowed: bool,
    /// What is held beyond the block is to be decided at once.
    pub(super) ends_text: bool,
}

impl Settlement {
    const fn of(lane: LaneKey, kind: BlockKind, end: BlockEnd) -> Self {
        Self {
            lane,
            kind,
            removed: Vec::new(),
            is_change: false,
            withheld: Withheld::No,
            beside: None,
            before: end.before,
            end_removed: false,
            not_allowed: false,
            ends_text: false,
        }
    }
}

/// Whether a policy withholds a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Withheld {
    No,
    /// And puts another in its place.
    Exchanged,
    Yes,
    /// But has let it go before.
    TooLate,
}

/// A finish reason on its way through the stages.
#[derive(Clone, Debug)]
pub(super) struct Finish {
    pub(super) choice: u32,
    pub(super) reason: String,
    pub(super) frame: FrameNumber,
}

pub(super) struct Stage {
    pub(super) instance: Box<dyn Instance>,
    interests: Interests,
    /// Those of the response that it wants: an answer may have thousands.
    blocks: BTreeMap<BlockId, StageBlock>,
    /// How many blocks of each choice wait for their completion hook.
    completing: BTreeMap<u32, usize>,
    lanes: BTreeMap<LaneKey, Lane>,
    pub(super) waiting_finishes: Vec<Finish>,
    max_text_bytes: usize,
    /// Clients join the texts of a choice.
    joins: bool,
    /// No more text comes: what is carried beyond a block is decided at once.
    pub(super) texts_ended: bool,
}

impl Stage {
    pub(super) const fn new(instance: Box<dyn Instance>, interests: Interests, max_text_bytes: usize) -> Self {
        Self {
            instance,
            interests,
            blocks: BTreeMap::new(),
            completing: BTreeMap::new(),
            lanes: BTreeMap::new(),
            waiting_finishes: Vec::new(),
            max_text_bytes,
            joins: true,
            texts_ended: false,
        }
    }

    /// Texts stand for themselves: each block is read on its own.
    pub(super) const fn read_blocks_apart(&mut self) {
        self.joins = false;
    }

    pub(super) const fn interests(&self) -> Interests {
        self.interests
    }

    pub(super) const fn wants(&self, kind: BlockKind) -> bool {
        match kind {
            BlockKind::Reasoning => self.interests.content && self.interests.reasoning,
            _ => (kind.is_content() && self.interests.content) || (kind.is_tool_call() && self.interests.tool_calls),
        }
    }

    /// Whether a block of the choice is not settled yet, or something of it waits.
    pub(super) fn is_busy(&self, choice: u32) -> bool {
        self.completing.contains_key(&choice) || self.lanes.values().any(|lane| lane.choice == choice && !lane.is_empty())
    }

    /// Gives the place of the first of what the policy holds of a block.
    pub(super) fn held_place(&self, block: BlockId) -> Option<Place> {
        let key = self.blocks.get(&block).map(|known| LaneKey::of(block, known.choice, known.kind, self.joins))?;
        self.lanes.get(&key)?.held_place(block)
    }

    pub(super) fn choice_of(&self, block: BlockId) -> Option<u32> {
        self.blocks.get(&block).map(|block| block.choice)
    }

    /// Whether anything waits.
    pub(super) fn has_waiting(&self) -> bool {
        !self.completing.is_empty() || self.lanes.values().any(|lane| !lane.is_empty())
    }

    fn lane(&mut self, key: LaneKey, choice: u32, kind: BlockKind) -> &mut Lane {
        self.lanes.entry(key).or_insert_with(|| Lane::new(choice, kind))
    }

    fn waiting_lane(&mut self, key: LaneKey) -> Option<&mut Lane> {
        self.lanes.get_mut(&key).filter(|lane| !lane.is_empty())
    }

    /// Takes what goes on from a lane: the next that nothing before it keeps back.
    pub(super) fn next(&mut self, key: LaneKey) -> Option<Next> {
        let lane = self.lanes.get_mut(&key)?;
        let next = lane.pop();
        if lane.is_empty() && matches!(key, LaneKey::Block(_)) {
            self.lanes.remove(&key);
        }
        next
    }

    /// Takes a delta that it wants in: aggregates it and asks the policy about it.
    pub(super) fn take<'a>(&mut self, item: StageDelta<'a>, queue: &mut ReleaseQueue) -> Taken<'a> {
        let lane = LaneKey::of(item.block, item.choice, item.kind, self.joins);
        let block = self.blocks.entry(item.block).or_insert_with(|| StageBlock::new(&item));
        if block.progress != Progress::Open {
            let after_end = block.after_end(&item);
            return self.take_after_end(item, after_end, lane);
        }
        block.clarity = block.clarity.and(item.clarity);
        block.aggregate.add(&item, self.interests, self.max_text_bytes);
        if item.is_silent() {
            return self.take_silent(item, lane);
        }
        let action = match &block.aggregate {
            Aggregate::Content(content) => self.instance.on_content_delta(&item.text, content),
            Aggregate::ToolCall(call) => self.instance.on_tool_call_delta(&item.text, call),
            Aggregate::Concluded => DeltaAction::Drop,
        };
        let action = match action.into_owned() {
            // What is unknown cannot be edited, and arguments are not cut where they could be read in two ways.
            DeltaAction::Replace(_) | DeltaAction::ReplaceHoldEnd { .. } if item.kind == BlockKind::Unknown => DeltaAction::Drop,
            DeltaAction::HoldEnd(_) if item.kind == BlockKind::Unknown || item.kind.is_tool_call() => DeltaAction::Hold,
            DeltaAction::ReplaceHoldEnd { .. } if item.kind.is_tool_call() => DeltaAction::Drop,
            action => action,
        };
        self.apply(item, action, lane, queue)
    }

    fn apply<'a>(
        &mut self,
        mut item: StageDelta<'a>,
        action: DeltaAction<'static>,
        key: LaneKey,
        queue: &mut ReleaseQueue,
    ) -> Taken<'a> {
        let id = item.block;
        let taken = |flow, removed, is_change| Taken { flow, lane: key, removed, is_change };
        match action {
            DeltaAction::Forward => {
                if let Some(lane) = self.waiting_lane(key) {
                    lane.mark(Some(id), Hold::Released);
                }
                taken(self.let_on(item, key), Vec::new(), false)
            }
            DeltaAction::Hold => {
                self.guard(id, false);
                let (choice, kind) = (item.choice, item.kind);
                self.lane(key, choice, kind).push(item, Hold::Held);
                taken(Flow::Lane, Vec::new(), false)
            }
            DeltaAction::Drop => {
                let removed = self.waiting_lane(key).map(|lane| lane.take(Some(id))).unwrap_or_default();
                let starts = item.starts || removed.iter().any(|held| held.starts && held.block == id);
                let is_change = !item.text.is_empty() || removed.iter().any(|held| !held.text.is_empty());
                self.guard(id, true);
                self.note_removed_start(id, starts);
                taken(Flow::Removed(item), removed, is_change || starts)
            }
            DeltaAction::Replace(text) => {
                let lane = self.waiting_lane(key);
                let held = lane.as_ref().map(|lane| lane.held_text(Some(id))).unwrap_or_default();
                let is_change = !is_same(&text, &held, &item.text);
                let removed = lane.map(|lane| lane.take(Some(id))).unwrap_or_default();
                let (starts, removed): (Vec<_>, Vec<_>) =
                    removed.into_iter().partition(|held| held.starts && held.kind.is_tool_call());
                let removes_start = removed.iter().any(|held| held.starts && held.block == id);
                self.note_removed_start(id, removes_start);
                self.touch(id, is_change);
                for mut start in starts {
                    // A tool call keeps the delta that began it, without its text.
                    start.changed |= !start.text.is_empty();
                    start.text = Cow::Borrowed("");
                    let (choice, kind) = (start.choice, start.kind);
                    self.lane(key, choice, kind).push(start, Hold::Released);
                }
                item.changed |= is_change || !removed.is_empty();
                item.text = text;
                taken(self.let_on(item, key), removed, is_change)
            }
            DeltaAction::HoldEnd(undecided) => {
                self.guard(id, false);
                let (choice, kind) = (item.choice, item.kind);
                let removed = self.lane(key, choice, kind).hold_end(item.into_owned(), undecided, None, queue);
                taken(Flow::Lane, removed, false)
            }
            DeltaAction::ReplaceHoldEnd { text, hold } => {
                self.guard(id, true);
                let (choice, kind) = (item.choice, item.kind);
                let replacement = Some(text.into_owned());
                let removed = self.lane(key, choice, kind).hold_end(item.into_owned(), hold, replacement, queue);
                let removes_start = removed.iter().any(|held| held.starts && held.block == id);
                self.note_removed_start(id, removes_start);
                taken(Flow::Lane, removed, true)
            }
        }
    }

    /// Lets a delta go on behind what waits.
    fn let_on<'a>(&mut self, item: StageDelta<'a>, key: LaneKey) -> Flow<'a> {
        match self.waiting_lane(key) {
            None => Flow::On(item),
            Some(lane) => {
                lane.push(item, Hold::Released);
                Flow::Lane
            }
        }
    }

    fn guard(&mut self, id: BlockId, touched: bool) {
        if let Some(block) = self.blocks.get_mut(&id) {
            block.guarded = true;
            block.touched |= touched;
        }
    }

    fn touch(&mut self, id: BlockId, touched: bool) {
        if let Some(block) = self.blocks.get_mut(&id) {
            block.touched |= touched;
        }
    }

    fn note_removed_start(&mut self, id: BlockId, removed: bool) {
        if let Some(block) = self.blocks.get_mut(&id) {
            block.start_removed |= removed;
        }
    }

    /// A delta without a message for the policy shares the lot of its block.
    fn take_silent<'a>(&mut self, item: StageDelta<'a>, key: LaneKey) -> Taken<'a> {
        let taken = |flow| Taken { flow, lane: key, removed: Vec::new(), is_change: false };
        let (id, choice, kind) = (item.block, item.choice, item.kind);
        // What is said about text that was changed (citations) would tell it.
        let is_removed = |block: &StageBlock| block.start_removed || (block.touched && block.kind.is_content());
        if self.blocks.get(&id).is_none_or(is_removed) {
            return taken(Flow::Removed(item));
        }
        if self.waiting_lane(key).is_some_and(|lane| lane.holds_of(id)) {
            self.lane(key, choice, kind).push(item, Hold::Held);
            return taken(Flow::Lane);
        }
        taken(self.let_on(item, key))
    }

    fn take_after_end<'a>(&mut self, item: StageDelta<'a>, after_end: AfterEnd, key: LaneKey) -> Taken<'a> {
        let (choice, kind) = (item.choice, item.kind);
        let (flow, is_change) = match after_end {
            AfterEnd::Pass => (self.let_on(item, key), false),
            AfterEnd::Wait => {
                self.lane(key, choice, kind).hold_before_end(item.into_owned());
                (Flow::Lane, false)
            }
            AfterEnd::Remove => (Flow::Removed(item), false),
            AfterEnd::Trailing => (Flow::Trailing(item), true),
        };
        Taken { flow, lane: key, removed: Vec::new(), is_change }
    }

    /// Forgets a block that is settled, if nothing more can come of it: a text that came whole, or something of unknown
    /// type. A tool call is never forgotten: more can come for one that came whole.
    fn forget(&mut self, id: BlockId, is_whole: bool) {
        let is_over = |block: &StageBlock| block.kind == BlockKind::Unknown || (is_whole && !block.kind.is_tool_call());
        if self.blocks.get(&id).is_some_and(is_over) {
            self.blocks.remove(&id);
        }
    }

    /// The block ended: starts its completion hook. `None` when this stage has nothing to say about it.
    pub(super) fn complete(&mut self, end: BlockEnd) -> Option<Hook> {
        let joins = self.joins;
        let block = self.blocks.get_mut(&end.block)?;
        if block.progress != Progress::Open {
            return None;
        }
        block.progress = Progress::Completing;
        block.aggregate.finish(end.complete);
        let hook = match &block.aggregate {
            Aggregate::Content(content) => self.instance.on_content_complete(Rc::clone(content)),
            Aggregate::ToolCall(call) => self.instance.on_tool_call_complete(Rc::clone(call)),
            Aggregate::Concluded => return None,
        };
        let completing = self.completing.entry(block.choice).or_default();
        *completing = completing.saturating_add(1);
        let (key, choice, kind) = (LaneKey::of(block.id, block.choice, block.kind, joins), block.choice, block.kind);
        self.lane(key, choice, kind).push_end(end);
        Some(hook)
    }

    /// Settles a block: what its policy decided about it becomes what goes on from its lane.
    pub(super) fn settle(&mut self, end: BlockEnd, action: BlockAction) -> Option<Settlement> {
        let joins = self.joins;
        let block = self.blocks.get_mut(&end.block)?;
        let (id, kind, choice) = (block.id, block.kind, block.choice);
        let (clarity, start_was_removed) = (block.clarity, block.start_removed);
        let key = LaneKey::of(id, choice, kind, joins);
        let ends_text = !joins || self.texts_ended;
        let lane = self.lane(key, choice, kind);
        let is_let_go = match action {
            BlockAction::Forward => true,
            BlockAction::Hold => kind.is_content() && kind != BlockKind::Unknown,
            // Of a call of which some has left the rest cannot say all of its arguments: it is dropped.
            BlockAction::ReplaceArguments(_) => kind.is_tool_call() && lane.holds_start_of(id),
            BlockAction::Drop | BlockAction::Replace(_) => false,
        };
        let is_withheld = !is_let_go && (kind.is_tool_call() || lane.holds_of(id));
        let mut settlement = Settlement::of(key, kind, end);
        match action {
            BlockAction::Hold if is_let_go => {
                settlement.ends_text = ends_text;
                lane.mark(Some(id), Hold::Carried);
                lane.settle_end(end, true);
            }
            BlockAction::ReplaceArguments(arguments) if is_let_go => {
                settlement.is_change = true;
                settlement.removed = lane.replace_arguments(id, &arguments);
                lane.release(id, clarity);
                lane.settle_end(end, true);
            }
            BlockAction::Forward => {
                lane.release(id, clarity);
                lane.settle_end(end, true);
            }
            action => lane.withhold(end, action, start_was_removed, &mut settlement),
        }
        self.leave_completing(choice);
        if let Some(block) = self.blocks.get_mut(&id) {
            block.start_removed |= !is_let_go && settlement.removed.iter().any(|item| item.starts && item.block == id);
            block.conclude(if is_withheld { Progress::Withheld } else { Progress::Passed });
        }
        self.forget(end.block, end.is_whole);
        Some(settlement)
    }

    /// A block of the choice is settled.
    fn leave_completing(&mut self, choice: u32) {
        if let Some(left) = self.completing.get_mut(&choice) {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.completing.remove(&choice);
            }
        }
    }

    /// Gives the lanes of texts of which something is held, before `limit`, beyond what completion hooks decide about.
    pub(super) fn end_texts(&mut self, limit: Option<Place>) -> Vec<LaneKey> {
        let blocks = &self.blocks;
        let is_open = |id| blocks.get(&id).is_some_and(|block| block.progress == Progress::Open);
        for lane in self.lanes.values_mut() {
            lane.carry_open(limit, is_open);
        }
        self.lanes.iter().filter(|(_, lane)| lane.carries()).map(|(key, _)| *key).collect()
    }

    /// No more text can come in a lane: asks the policy about what is held. `drops` where nobody asks.
    pub(super) fn end_text(&mut self, key: LaneKey, drops: bool) -> Taken<'static> {
        let mut taken = Taken { flow: Flow::Lane, lane: key, removed: Vec::new(), is_change: false };
        let Some(lane) = self.lanes.get_mut(&key) else { return taken };
        let held = lane.held_text(None);
        let is_text = lane.kind.is_content() && lane.kind != BlockKind::Unknown;
        let action = if is_text && !drops { self.instance.on_text_end(&held, lane.choice, lane.kind) } else { DeltaAction::Drop };
        match action {
            DeltaAction::Forward => lane.mark(None, Hold::Released),
            DeltaAction::Replace(text) => {
                taken.is_change = *text != *held;
                taken.removed = lane.replace_carried(text.into_owned());
            }
            DeltaAction::Drop | DeltaAction::Hold | DeltaAction::HoldEnd(_) | DeltaAction::ReplaceHoldEnd { .. } => {
                taken.is_change = !held.is_empty();
                taken.removed = lane.take(None);
            }
        }
        taken
    }
}

/// Whether `text` is `held` with `came` behind it.
fn is_same(text: &str, held: &str, came: &str) -> bool {
    text.strip_prefix(held) == Some(came)
}
