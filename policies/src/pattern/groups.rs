//! Where the groups of a pattern are in a match of it.

use super::nfa::{Nfa, Place};
use super::parse::{Node, PatternError};

/// Most groups that a template can name.
const MAX_GROUPS: usize = 32;

/// Most characters of a match in which groups are found.
const MAX_LONGEST: usize = 512;

/// Most pairs of a place of the automaton and a place in the text.
const MAX_PAIRS: usize = 1 << 20;

/// Finds the groups of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Groups {
    nfa: Nfa,
    count: usize,
    /// How many characters a match has at most.
    longest: usize,
}

/// What is left to be tried.
enum Job {
    Go { place: usize, at: usize },
    Restore { slot: usize, before: Option<usize> },
}

impl Groups {
    /// Makes ready to find the groups in matches of so many characters at most.
    pub(super) fn of(node: &Node, count: usize, longest: usize) -> Result<Self, PatternError> {
        if count > MAX_GROUPS {
            return Err(PatternError(format!("has more than {MAX_GROUPS} groups")));
        }
        if longest > MAX_LONGEST {
            let message = format!("has matches of {longest} characters: a template can be for {MAX_LONGEST} at most");
            return Err(PatternError(message));
        }
        let nfa = Nfa::with_groups(node)?;
        if pairs(&nfa, longest) > MAX_PAIRS {
            let places = nfa.places.len();
            let message = format!(
                "is too large for groups to be found: its {places} places times the {longest} characters of its longest match are \
                 more than {MAX_PAIRS}"
            );
            return Err(PatternError(message));
        }
        Ok(Self { nfa, count, longest })
    }

    /// How many there are.
    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    /// Where each group is in `text`, all of which is a match, in characters: as regular expressions have it, so that earlier
    /// alternatives and longer repetitions come first, and the last repetition of a group counts. `None` where it is no match.
    pub(crate) fn find(&self, text: &[char]) -> Option<Vec<Option<(usize, usize)>>> {
        if text.len() > self.longest {
            return None;
        }
        // From one pair nothing new comes a second time.
        let mut seen = vec![0_u8; pairs(&self.nfa, text.len()).div_ceil(8)];
        let mut slots = vec![None; self.count.saturating_mul(2)];
        let mut jobs = vec![Job::Go { place: self.nfa.start, at: 0 }];
        while let Some(job) = jobs.pop() {
            match job {
                Job::Restore { slot, before } => {
                    if let Some(known) = slots.get_mut(slot) {
                        *known = before;
                    }
                }
                Job::Go { place, at } => {
                    if self.go((place, at), text, &mut seen, &mut slots, &mut jobs) {
                        let spans = slots.chunks_exact(2).map(|ends| match ends {
                            [Some(start), Some(end)] => Some((*start, *end)),
                            _ => None,
                        });
                        return Some(spans.collect());
                    }
                }
            }
        }
        None
    }

    /// Goes on as far as there is a way; whether it leads to the end.
    fn go(
        &self,
        (mut place, mut at): (usize, usize),
        text: &[char],
        seen: &mut [u8],
        slots: &mut [Option<usize>],
        jobs: &mut Vec<Job>,
    ) -> bool {
        while note(seen, place.saturating_mul(text.len().saturating_add(1)).saturating_add(at)) {
            match self.nfa.places.get(place) {
                Some(Place::Reads { set, next }) => {
                    let set = self.nfa.sets.get(*set);
                    if !set.zip(text.get(at)).is_some_and(|(set, character)| set.contains(*character)) {
                        return false;
                    }
                    (place, at) = (*next, at.saturating_add(1));
                }
                Some(Place::Fork(one, other)) => {
                    jobs.push(Job::Go { place: *other, at });
                    place = *one;
                }
                Some(Place::Save { slot, next }) => {
                    if let Some(known) = slots.get_mut(*slot) {
                        jobs.push(Job::Restore { slot: *slot, before: *known });
                        *known = Some(at);
                    }
                    place = *next;
                }
                Some(Place::End) => return at == text.len(),
                None => return false,
            }
        }
        false
    }
}

fn pairs(nfa: &Nfa, characters: usize) -> usize {
    nfa.places.len().saturating_mul(characters.saturating_add(1))
}

/// Sets a bit; whether it was not set before.
fn note(seen: &mut [u8], bit: usize) -> bool {
    let Some(byte) = seen.get_mut(bit / 8) else { return false };
    let mask = 1_u8 << (bit % 8);
    let is_new = *byte & mask == 0;
    *byte |= mask;
    is_new
}
