//! What is known of a sender's numbers: which have been stored, which are missing, and which came twice and differed.
//!
//! An event is who sent it and its number. [`Numbers`] is that rule as a value, for the stores of one process;
//! `append.lua` is the same rule inside Redis, and `tests/store.rs` holds both to the same answers.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::event::DIGEST_BYTES;

/// The most gaps of a sender that are remembered. Where there are more, what lies before the oldest cannot be told any more.
pub(super) const MAX_GAPS: usize = 64;
/// How many runs of events of a sender are remembered to compare what comes again with what was stored.
pub(super) const MAX_RECENT: usize = 1_024;
/// The most events of a sender that are kept beside another of the same number; later ones are only counted.
pub(super) const MAX_CONFLICTS: u64 = 1_024;

/// The hash of an event's content.
pub(super) type Digest = [u8; DIGEST_BYTES];

/// Says what an event is to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Its number was not stored yet.
    Fresh,
    /// It was stored.
    Known,
    /// Something else was stored under its number.
    Conflict,
    /// Its number is so old that nobody can tell.
    TooOld,
}

/// What is known of one sender.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Numbers {
    /// Behind the highest number.
    pub(super) next: u64,
    /// Below it nothing can be told but from `recent`.
    floor: u64,
    /// Numbers below `next` that never came: from, to.
    gaps: VecDeque<(u64, u64)>,
    /// How many those are, with the forgotten ones.
    pub(super) missing: u64,
    /// What the sender says it dropped.
    pub(super) dropped: u64,
    /// How many events came under a number that something else has.
    pub(super) conflicts: u64,
    /// When something came last.
    pub(super) last_seen_ms: u64,
    /// Found again in the entries themselves when a store is opened.
    #[serde(skip)]
    recent: VecDeque<(u64, Vec<Digest>)>,
}

impl Numbers {
    /// Says what an event is.
    pub(super) fn class(&self, number: u64, digest: &Digest) -> Class {
        if number >= self.next || self.gaps.iter().any(|(from, to)| (from..to).contains(&&number)) {
            return Class::Fresh;
        }
        let kept = |(first, digests): &(u64, Vec<Digest>)| {
            let index = usize::try_from(number.checked_sub(*first)?).ok()?;
            digests.get(index).copied()
        };
        let mut kept = self.recent.iter().rev().filter_map(kept).peekable();
        if kept.peek().is_none() {
            // What is not remembered was stored long ago, unless it lies where a gap was forgotten.
            return if number < self.floor { Class::TooOld } else { Class::Known };
        }
        if kept.any(|kept| kept == *digest) { Class::Known } else { Class::Conflict }
    }

    /// Takes notice of numbers up to `sequence`: those that were not there are missing. Returns how many are so now.
    pub(super) fn reach(&mut self, sequence: u64) -> u64 {
        let missing = sequence.saturating_sub(self.next);
        if missing > 0 {
            self.gaps.push_back((self.next, sequence));
            self.next = sequence;
            self.missing = self.missing.saturating_add(missing);
            while self.gaps.len() > MAX_GAPS {
                self.floor = self.gaps.pop_front().map_or(self.floor, |(_, to)| to);
            }
        }
        missing
    }

    /// Takes notice that events were stored. Returns how many numbers they leave out.
    pub(super) fn store(&mut self, first: u64, digests: Vec<Digest>) -> u64 {
        let missing = self.reach(first);
        let end = first.saturating_add(digests.len() as u64);
        let mut gaps = VecDeque::with_capacity(self.gaps.len());
        for (from, to) in self.gaps.drain(..) {
            let filled = to.min(end).saturating_sub(from.max(first));
            self.missing = self.missing.saturating_sub(filled);
            if filled == 0 {
                gaps.push_back((from, to));
                continue;
            }
            gaps.extend([(from, first), (end, to)].into_iter().filter(|(from, to)| from < to));
        }
        self.gaps = gaps;
        self.next = self.next.max(end);
        self.remember(first, digests);
        missing
    }

    /// Takes notice of events whose numbers something else has. Whether they are to be kept beside it.
    pub(super) fn conflict(&mut self, first: u64, digests: Vec<Digest>) -> bool {
        let keep = self.conflicts < MAX_CONFLICTS;
        self.conflicts = self.conflicts.saturating_add(digests.len() as u64);
        if keep {
            self.remember(first, digests);
        }
        keep
    }

    /// Remembers what was stored, to compare it with what comes again.
    pub(super) fn remember(&mut self, first: u64, digests: Vec<Digest>) {
        if digests.is_empty() {
            return;
        }
        self.recent.push_back((first, digests));
        while self.recent.len() > MAX_RECENT {
            self.recent.pop_front();
        }
    }

    /// Takes notice of what the sender says it dropped. Returns how many that is more than before.
    pub(super) fn drop_up_to(&mut self, dropped: u64) -> u64 {
        let more = dropped.saturating_sub(self.dropped);
        self.dropped = self.dropped.max(dropped);
        more
    }
}
