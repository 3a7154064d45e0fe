//! Deltas of blocks on their way through the stages.

use std::borrow::Cow;

use super::super::release_queue::SlotRef;
use crate::block::{BlockId, BlockKind, Clarity};
use crate::dialect::Delta;
use crate::policy::Place;

/// A delta of a block on its way through the stages.
#[derive(Debug)]
pub(in crate::exchange) struct StageDelta<'a> {
    /// The slot that it came in, or the end of one; `None` for what a policy made.
    pub(in crate::exchange) slot: Option<SlotRef>,
    /// Where it goes if it has no slot.
    pub(in crate::exchange) before: Place,
    pub(in crate::exchange) block: BlockId,
    pub(in crate::exchange) choice: u32,
    pub(in crate::exchange) kind: BlockKind,
    pub(in crate::exchange) starts: bool,
    pub(in crate::exchange) call_id: Cow<'a, str>,
    pub(in crate::exchange) name: Cow<'a, str>,
    pub(in crate::exchange) text: Cow<'a, str>,
    pub(in crate::exchange) extras: Cow<'a, str>,
    pub(in crate::exchange) free_form: bool,
    pub(in crate::exchange) clarity: Clarity,
    /// Whether the text is another than that of its slot.
    pub(in crate::exchange) changed: bool,
}

impl<'a> StageDelta<'a> {
    pub(in crate::exchange) const fn of(delta: &Delta<'a>, slot: SlotRef) -> Self {
        Self {
            slot: Some(slot),
            before: slot.place(),
            block: delta.block,
            choice: delta.choice,
            kind: delta.kind,
            starts: delta.starts,
            call_id: Cow::Borrowed(delta.call_id),
            name: Cow::Borrowed(delta.name),
            text: Cow::Borrowed(delta.text),
            extras: Cow::Borrowed(delta.extras),
            free_form: delta.free_form,
            clarity: delta.clarity,
            changed: false,
        }
    }

    /// Whether it says nothing that a hook would want to know.
    pub(super) fn is_silent(&self) -> bool {
        self.text.is_empty() && (self.kind.is_content() || !(self.starts || !self.name.is_empty() || !self.call_id.is_empty()))
    }

    /// The same delta, owning its text, to be kept.
    pub(in crate::exchange) fn into_owned(self) -> StageDelta<'static> {
        StageDelta {
            slot: self.slot,
            before: self.before,
            block: self.block,
            choice: self.choice,
            kind: self.kind,
            starts: self.starts,
            call_id: Cow::Owned(self.call_id.into_owned()),
            name: Cow::Owned(self.name.into_owned()),
            text: Cow::Owned(self.text.into_owned()),
            extras: Cow::Owned(self.extras.into_owned()),
            free_form: self.free_form,
            clarity: self.clarity,
            changed: self.changed,
        }
    }

    /// Makes a delta that stands for a block and says nothing yet.
    pub(in crate::exchange) const fn saying(block: BlockId, kind: BlockKind, before: Place) -> StageDelta<'static> {
        StageDelta {
            slot: None,
            before,
            block,
            choice: 0,
            kind,
            starts: true,
            call_id: Cow::Borrowed(""),
            name: Cow::Borrowed(""),
            text: Cow::Borrowed(""),
            extras: Cow::Borrowed(""),
            free_form: false,
            clarity: Clarity::Plain,
            changed: true,
        }
    }

    /// Makes a delta of the same block that says `text` of a policy's own at this place.
    pub(in crate::exchange) fn made(&self, text: String) -> StageDelta<'static> {
        StageDelta {
            choice: self.choice,
            starts: false,
            text: Cow::Owned(text),
            free_form: self.free_form,
            clarity: self.clarity,
            ..StageDelta::saying(self.block, self.kind, self.before)
        }
    }
}
