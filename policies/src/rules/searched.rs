//! A text on its way through the rules for it, past the placeholders in it.

use core::mem;

use super::finder::{Finder, Output};
use super::groups::Group;
use super::placeholder::{Known, Part, Split};

/// What becomes of placeholders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// They stay.
    Keep,
    /// What they stand for takes their place.
    Restore,
}

/// A text that is being searched.
#[derive(Debug, Default)]
pub(super) struct Searched {
    acting: Finder,
    watching: Finder,
    split: Split,
}

/// Where what is found goes.
#[derive(Debug)]
pub(super) struct Found<'o> {
    pub(super) output: &'o mut Output,
    pub(super) watched: &'o mut Output,
}

impl Searched {
    /// Gives how many bytes at the end of the text are undecided.
    pub(super) const fn undecided(&self) -> usize {
        self.acting.undecided().saturating_add(self.split.undecided())
    }

    /// Takes a piece of text in.
    pub(super) fn feed(&mut self, group: &Group, (known, way): (&Known, Way), piece: &str, found: &mut Found<'_>) {
        if known.is_empty() {
            return self.search(group, piece, found);
        }
        let mut split = mem::take(&mut self.split);
        split.feed(known, piece, |part| match part {
            Part::Text(text) => self.search(group, text, found),
            Part::Placeholder(text) => self.pass(group, text, known.restored(text).filter(|_| way == Way::Restore), found),
        });
        self.split = split;
    }

    /// The text is over: decides what is undecided.
    pub(super) fn finish(&mut self, group: &Group, found: &mut Found<'_>) {
        let mut split = mem::take(&mut self.split);
        split.finish(|part| {
            if let Part::Text(text) = part {
                self.search(group, text, found);
            }
        });
        self.acting.finish(&group.acting, found.output);
        self.watching.finish(&group.watching, found.watched);
    }

    fn search(&mut self, group: &Group, text: &str, found: &mut Found<'_>) {
        self.acting.feed(&group.acting, text, found.output);
        if !group.watching.is_empty() {
            self.watching.feed(&group.watching, text, found.watched);
        }
    }

    /// Lets a placeholder pass, or what it stands for: neither is searched, and no match goes over it.
    fn pass(&mut self, group: &Group, placeholder: &str, restored: Option<&str>, found: &mut Found<'_>) {
        self.acting.finish(&group.acting, found.output);
        self.watching.finish(&group.watching, found.watched);
        if self.acting.is_refused() {
            return;
        }
        (self.acting, self.watching) = (Finder::behind(']'), Finder::behind(']'));
        let edited = &mut found.output.edited;
        edited.decided = true;
        match restored {
            Some(value) => {
                edited.changed = true;
                edited.replace(placeholder.len(), value);
                found.output.restored = found.output.restored.saturating_add(1);
            }
            None => edited.text.push_str(placeholder),
        }
    }
}
