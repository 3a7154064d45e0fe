//! The order that must be kept: two frames that share a lane do not overtake each other.

use smallvec::SmallVec;

use crate::dialect::{Dialect, Frame, FrameRole};

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
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

    /// Gives the lane of a text or a call of a choice.
    pub(super) const fn of(dialect: Dialect, choice: u32, is_text: bool) -> Self {
        match (dialect, is_text) {
            (Dialect::Messages | Dialect::Responses | Dialect::McpTool, _) => Self::Everything,
            (Dialect::ChatCompletions, true) => Self::Content(choice),
            (Dialect::ChatCompletions, false) => Self::ToolCalls(choice),
        }
    }
}

/// The lanes of a frame, or of all that waits.
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
                Self(of_slots.chain(frame.finishes.iter().map(|choice| Lane::Choice(*choice))).collect())
            }
            // Messages are independent of one another; those of one batch stay together.
            (Dialect::McpTool, _) => {
                let mut lanes: SmallVec<[Lane; 2]> = frame.slots.iter().map(|slot| Lane::Content(slot.choice)).collect();
                lanes.dedup();
                Self(lanes)
            }
            _ => Self::one(Lane::Everything),
        }
    }

    /// Gives what is allocated for it.
    pub(super) fn allocated(&self) -> usize {
        crate::heap::spilled(&self.0)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn add(&mut self, others: &Self) {
        for lane in &others.0 {
            if !self.0.contains(lane) {
                self.0.push(*lane);
            }
        }
    }

    pub(super) fn conflict_with(&self, others: &Self) -> bool {
        self.0.iter().any(|lane| others.0.iter().any(|other| other.conflicts(*lane)))
    }
}
