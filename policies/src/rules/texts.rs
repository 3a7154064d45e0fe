//! The texts of an exchange on their way through the rules, and what was done to them.

use std::mem;

use smallvec::SmallVec;
use weir::policy::{BlockAction, DeltaAction};

use super::finder::{Finder, Output};
use super::groups::Group;
use super::placeholder::{Known, Placeholders, Taking};
use super::searched::{Found, Searched, Way};
use crate::joined::{Edited, TextKey, watched_action};

/// Where a rule matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Answer,
}

/// How often a rule matched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Count {
    pub(super) rule: usize,
    pub(super) request: u64,
    pub(super) answer: u64,
}

#[derive(Debug)]
struct OpenText {
    key: TextKey,
    searched: Searched,
}

/// What a policy of rules knows of an exchange.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    open: SmallVec<[OpenText; 2]>,
    pub(super) output: Output,
    watched: Output,
    pub(super) counts: Vec<Count>,
    /// Most bytes of text that were undecided at the end of a delta.
    pub(super) most_held: usize,
    /// It was said that replacements would make the texts too long.
    pub(super) said_exceeded: bool,
    pub(super) is_mcp: Option<bool>,
    /// The placeholders that the request has.
    known: Known,
    /// How many were restored.
    pub(super) restored: u64,
}

/// What a step was about.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// The rules that matched for the first time.
    pub(super) new: SmallVec<[usize; 2]>,
    /// The rule by which what follows is refused.
    pub(super) refused: Option<usize>,
    pub(super) exceeded: bool,
}

impl Texts {
    pub(super) fn take_delta<'d>(&mut self, group: &Group, way: Way, key: TextKey, delta: &'d str) -> DeltaAction<'d> {
        self.begin();
        let position = self.open.iter().position(|text| text.key == key).unwrap_or_else(|| {
            self.open.push(OpenText { key, searched: Searched::default() });
            self.open.len().saturating_sub(1)
        });
        let Some(text) = self.open.get_mut(position) else { return DeltaAction::Drop };
        let mut found = Found { output: &mut self.output, watched: &mut self.watched };
        text.searched.feed(group, (&self.known, way), delta, &mut found);
        if self.output.edited.exceeded {
            text.searched = Searched::default();
            return DeltaAction::Drop;
        }
        let undecided = text.searched.undecided();
        self.most_held = self.most_held.max(undecided);
        self.output.edited.delta_action(undecided)
    }

    /// As [`Self::take_delta`], for what cannot be edited: it is dropped where a rule would change something of it.
    pub(super) fn watch_delta<'d>(&mut self, group: &Group, key: TextKey, delta: &'d str) -> DeltaAction<'d> {
        let _edited = self.take_delta(group, Way::Keep, key, delta);
        let undecided = self.open.iter().find(|text| text.key == key).map_or(0, |text| text.searched.undecided());
        watched_action(self.output.edited.changed, undecided)
    }

    /// What is undecided of a text whose block ends waits for the next one.
    pub(super) fn end_block(&mut self, key: TextKey) -> BlockAction {
        self.begin();
        match self.open.iter().find(|text| text.key == key) {
            Some(text) if text.searched.undecided() > 0 => BlockAction::Hold,
            _ => BlockAction::Forward,
        }
    }

    /// The text is over: decides what is undecided.
    pub(super) fn end<'d>(&mut self, group: &Group, key: TextKey) -> DeltaAction<'d> {
        self.begin();
        let Some(position) = self.open.iter().position(|text| text.key == key) else { return DeltaAction::Forward };
        let mut text = self.open.swap_remove(position);
        text.searched.finish(group, &mut Found { output: &mut self.output, watched: &mut self.watched });
        self.output.edited.end_action()
    }

    /// As [`Self::end`], for what cannot be edited.
    pub(super) fn end_watch(&mut self, group: &Group, key: TextKey) -> BlockAction {
        let _edited = self.end(group, key);
        if self.output.edited.changed { BlockAction::Drop } else { BlockAction::Forward }
    }

    /// Searches a text that stands for itself; another in its place, where that changes it. After [`Self::begin`], and until
    /// [`Self::count`], of any number of texts.
    pub(super) fn edit(&mut self, group: &Group, text: &str) -> Option<String> {
        self.search_whole(group, text, Way::Restore);
        self.output.edited.changed.then(|| mem::take(&mut self.output.edited.text))
    }

    /// As [`Self::edit`], of a request: reversible rules put placeholders in it.
    pub(super) fn edit_reversibly(&mut self, group: &Group, text: &str, made: &Placeholders, is_system: bool) -> Option<String> {
        made.note_written(text, &mut self.known);
        self.output.taking = Some(Taking::of(made.reversible()));
        self.search_whole(group, text, Way::Keep);
        let taken = self.output.taking.take().map(Taking::into_taken).unwrap_or_default();
        made.put(taken, is_system, &mut self.known, &mut self.output.edited);
        self.output.edited.changed.then(|| mem::take(&mut self.output.edited.text))
    }

    fn search_whole(&mut self, group: &Group, text: &str, way: Way) {
        self.output.edited.clear();
        self.watched.edited.clear();
        let mut searched = Searched::default();
        let mut found = Found { output: &mut self.output, watched: &mut self.watched };
        searched.feed(group, (&self.known, way), text, &mut found);
        searched.finish(group, &mut found);
    }

    /// Says whether a placeholder of the request is restored in the answer.
    pub(super) const fn restores(&self) -> bool {
        self.known.restores()
    }

    /// Counts the matches in a whole text that stays as it is; gives the rules that matched, each once. Between [`Self::begin`] and
    /// [`Self::count`].
    pub(super) fn find(&mut self, group: &Group, text: &str) -> SmallVec<[usize; 2]> {
        // What would become of it is not used, and does not grow.
        let (mut finder, mut found) = (Finder::default(), Output { edited: Edited::within(0), ..Output::default() });
        finder.feed(&group.acting, text, &mut found);
        finder.finish(&group.acting, &mut found);
        let mut rules = SmallVec::new();
        for rule in found.hits {
            self.output.hits.push(rule);
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
        rules
    }

    /// Makes ready for a step.
    pub(super) fn begin(&mut self) {
        self.output.clear();
        self.watched.clear();
        (self.output.refused, self.watched.refused) = (None, None);
    }

    /// Adds up what the last step did.
    pub(super) fn count(&mut self, side: Side) -> Done {
        let mut done = Done { refused: self.output.refused, ..Done::default() };
        self.restored = self.restored.saturating_add(mem::take(&mut self.output.restored));
        done.exceeded = self.output.edited.exceeded && !mem::replace(&mut self.said_exceeded, true);
        for rule in self.output.hits.drain(..).chain(self.watched.hits.drain(..)) {
            let position = self.counts.iter().position(|count| count.rule == rule).unwrap_or_else(|| {
                self.counts.push(Count { rule, request: 0, answer: 0 });
                done.new.push(rule);
                self.counts.len().saturating_sub(1)
            });
            let Some(count) = self.counts.get_mut(position) else { continue };
            match side {
                Side::Request => count.request = count.request.saturating_add(1),
                Side::Answer => count.answer = count.answer.saturating_add(1),
            }
        }
        done
    }

    /// How often rules that only watch have matched since [`Self::begin`].
    pub(super) fn watched(&self) -> usize {
        self.watched.hits.len()
    }

    /// Whether such a rule has matched since there were as many matches.
    pub(super) fn has_watched(&self, since: usize, is_sought: impl Fn(usize) -> bool) -> bool {
        self.watched.hits.iter().skip(since).any(|rule| is_sought(*rule))
    }
}
