//! Texts as clients join them, and what becomes of their deltas where a policy edits them as they flow.

use std::borrow::Cow;
use std::mem;

use weir::block::{BlockId, BlockKind, ContentBlock};
use weir::policy::DeltaAction;

/// What a client joins to one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextKey {
    /// All of a kind in a choice.
    Joined { choice: u32, kind: BlockKind },
    /// A block of unknown type, which stands for itself.
    Unknown(BlockId),
}

impl TextKey {
    pub(crate) const fn of(block: &ContentBlock) -> Self {
        match block.kind() {
            BlockKind::Unknown => Self::Unknown(block.id()),
            kind => Self::Joined { choice: block.choice(), kind },
        }
    }
}

/// What became of the latest piece of a text.
#[derive(Debug, Default)]
pub(crate) struct Edited {
    /// The decided text, with replacements.
    pub(crate) text: String,
    /// Whether it differs from what it was made of.
    pub(crate) changed: bool,
    /// Whether anything was decided, though it may have come to nothing.
    pub(crate) decided: bool,
    /// Most bytes that replacements may add to all that is fed; where there is none they may add any number.
    pub(crate) most_growth: Option<usize>,
    /// What replacements have added.
    growth: usize,
    /// Replacements would have added more: the text lacks them, and must not be used.
    pub(crate) exceeded: bool,
}

impl Edited {
    /// Nothing yet of texts to which replacements may add so many bytes.
    pub(crate) fn within(most_growth: usize) -> Self {
        Self { most_growth: Some(most_growth), ..Self::default() }
    }

    /// Makes ready for the next piece; what was allocated stays.
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        (self.changed, self.decided) = (false, false);
    }

    /// Puts `with` in the place of so many bytes, unless the texts would become too long by it. That is counted before it is
    /// built: a short rule can make a long text many times as long.
    pub(crate) fn replace(&mut self, removed: usize, with: &str) {
        self.replace_with(removed, core::iter::once(with));
    }

    /// As [`Self::replace`], with parts that are written one after the other.
    pub(crate) fn replace_with<'p>(&mut self, removed: usize, parts: impl Iterator<Item = &'p str> + Clone) {
        let added = parts.clone().fold(0, |bytes: usize, part| bytes.saturating_add(part.len()));
        self.growth = self.growth.saturating_add(added.saturating_sub(removed));
        self.exceeded |= self.most_growth.is_some_and(|most| self.growth > most);
        if !self.exceeded {
            self.text.extend(parts);
        }
    }

    /// Gives what becomes of a delta, of which so many bytes are undecided now.
    pub(crate) fn delta_action<'d>(&mut self, undecided: usize) -> DeltaAction<'d> {
        match (self.changed, undecided) {
            (false, 0) => DeltaAction::Forward,
            (false, _) if !self.decided => DeltaAction::Hold,
            (false, hold) => DeltaAction::HoldEnd(hold),
            (true, 0) if self.text.is_empty() => DeltaAction::Drop,
            (true, 0) => DeltaAction::Replace(self.take_text()),
            (true, hold) => DeltaAction::ReplaceHoldEnd { text: self.take_text(), hold },
        }
    }

    /// Gives what becomes of the rest of a text that is over.
    pub(crate) fn end_action<'d>(&mut self) -> DeltaAction<'d> {
        if self.exceeded {
            DeltaAction::Drop
        } else if !self.changed {
            DeltaAction::Forward
        } else if self.text.is_empty() {
            DeltaAction::Drop
        } else {
            DeltaAction::Replace(self.take_text())
        }
    }

    fn take_text<'d>(&mut self) -> Cow<'d, str> {
        Cow::Owned(mem::take(&mut self.text))
    }
}

/// Gives what becomes of a delta that cannot be edited: it is dropped where something of it would be changed.
pub(crate) const fn watched_action<'d>(changed: bool, undecided: usize) -> DeltaAction<'d> {
    match (changed, undecided) {
        (true, _) => DeltaAction::Drop,
        (false, 0) => DeltaAction::Forward,
        (false, _) => DeltaAction::Hold,
    }
}
