//! The order that must be kept: two frames that share a lane do not overtake each other.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use crate::dialect::{Dialect, Frame, FrameRole};

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// Text, refusal and reasoning of a choice. It may pass a held tool call: they are different fields of the message.
    Content(u32),
    ToolCalls(u32),
    /// The whole of a choice: its finish reason.
    Choice(u32),
    Everything,
}

impl Lane {
    /// Gives the lane of a text or a call of a choice.
    pub(super) const fn of(dialect: Dialect, choice: u32, is_text: bool) -> Self {
        match (dialect, is_text) {
            (Dialect::Messages | Dialect::Responses | Dialect::McpTool, _) => Self::Everything,
            (Dialect::ChatCompletions, true) => Self::Content(choice),
            (Dialect::ChatCompletions, false) => Self::ToolCalls(choice),
        }
    }
}

/// The lanes of a frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lanes(SmallVec<[Lane; 2]>);

impl Lanes {
    pub(super) fn one(lane: Lane) -> Self {
        Self(SmallVec::from_slice(&[lane]))
    }

    pub(super) fn of(dialect: Dialect, frame: &Frame) -> Self {
        match (dialect, frame.role) {
            (_, FrameRole::Free) => Self::default(),
            (Dialect::ChatCompletions, FrameRole::Content) if !(frame.slots.is_empty() && frame.finishes.is_empty()) => {
                let of_slots = frame.slots.iter().map(|slot| Lane::of(dialect, slot.choice, !slot.kind.is_tool_call()));
                Self::each_once(of_slots.chain(frame.finishes.iter().map(|choice| Lane::Choice(*choice))))
            }
            // Messages are independent of one another; those of one batch stay together.
            (Dialect::McpTool, _) => Self::each_once(frame.slots.iter().map(|slot| Lane::Content(slot.choice))),
            _ => Self::one(Lane::Everything),
        }
    }

    /// A frame has thousands of slots at times, and few lanes.
    fn each_once(lanes: impl Iterator<Item = Lane>) -> Self {
        let mut each: SmallVec<[Lane; 2]> = SmallVec::new();
        for lane in lanes {
            if each.last() != Some(&lane) {
                each.push(lane);
            }
        }
        each.sort_unstable();
        each.dedup();
        Self(each)
    }

    /// Gives what is allocated for it.
    pub(super) fn allocated(&self) -> usize {
        crate::heap::spilled(&self.0)
    }
}

/// How many of several entries are in which lanes: what is queued, or what waits of it. A choice's lane is both of its others.
#[derive(Debug, Default)]
pub(super) struct LaneCounts {
    content: BTreeMap<u32, usize>,
    tool_calls: BTreeMap<u32, usize>,
    everything: usize,
    /// Entries that are in no lane: nothing keeps them back.
    free: usize,
}

impl LaneCounts {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn add(&mut self, entry: &Lanes) {
        self.each(entry, |count| *count = count.saturating_add(1));
    }

    /// Takes out an entry that was added.
    pub(super) fn remove(&mut self, entry: &Lanes) {
        self.each(entry, |count| *count = count.saturating_sub(1));
        for lane in &entry.0 {
            if let Lane::Content(choice) | Lane::Choice(choice) = lane {
                forget_if_empty(&mut self.content, *choice);
            }
            if let Lane::ToolCalls(choice) | Lane::Choice(choice) = lane {
                forget_if_empty(&mut self.tool_calls, *choice);
            }
        }
    }

    fn each(&mut self, entry: &Lanes, change: impl Fn(&mut usize)) {
        if entry.0.is_empty() {
            change(&mut self.free);
        }
        for lane in &entry.0 {
            match lane {
                Lane::Content(choice) => change(self.content.entry(*choice).or_default()),
                Lane::ToolCalls(choice) => change(self.tool_calls.entry(*choice).or_default()),
                Lane::Choice(choice) => {
                    change(self.content.entry(*choice).or_default());
                    change(self.tool_calls.entry(*choice).or_default());
                }
                Lane::Everything => change(&mut self.everything),
            }
        }
    }

    /// Whether an entry may not overtake all of these.
    pub(super) fn keep_back(&self, entry: &Lanes) -> bool {
        let keeps_back = |lane: &Lane| match lane {
            _ if self.everything > 0 => true,
            Lane::Content(choice) => self.content.contains_key(choice),
            Lane::ToolCalls(choice) => self.tool_calls.contains_key(choice),
            Lane::Choice(choice) => self.content.contains_key(choice) || self.tool_calls.contains_key(choice),
            Lane::Everything => !self.content.is_empty() || !self.tool_calls.is_empty(),
        };
        entry.0.iter().any(keeps_back)
    }

    /// Whether these, some of `all`, keep back every other.
    pub(super) fn keep_back_all(&self, all: &Self) -> bool {
        let is_every_choice = self.content.len() == all.content.len() && self.tool_calls.len() == all.tool_calls.len();
        let is_any_choice = !self.content.is_empty() || !self.tool_calls.is_empty();
        let is_all = is_every_choice && (is_any_choice || all.everything == 0);
        self.free == all.free && (self.everything > 0 || is_all)
    }
}

fn forget_if_empty(counts: &mut BTreeMap<u32, usize>, choice: u32) {
    if counts.get(&choice) == Some(&0) {
        counts.remove(&choice);
    }
}
