//! What a pattern can be read with: places, and the characters that lead from one to the next.

use super::parse::{Node, PatternError};
use super::set::CharSet;

/// Most places of one pattern.
const MAX_PLACES: usize = 8192;

/// A place of the automaton.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A character of this set leads on.
    Reads { set: usize, next: usize },
    /// It is the same as these two.
    Fork(usize, usize),
    /// A group begins or ends here, for whoever looks for groups.
    Save { slot: usize, next: usize },
    /// The pattern is over.
    End,
}

/// An automaton with many ways (after Thompson).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Nfa {
    pub(super) places: Vec<Place>,
    pub(super) sets: Vec<CharSet>,
    pub(super) start: usize,
    /// It says where groups begin and end.
    has_groups: bool,
}

impl Nfa {
    pub(super) fn of(nodes: &[&Node]) -> Result<Self, PatternError> {
        Self::made(nodes, false)
    }

    pub(super) fn with_groups(node: &Node) -> Result<Self, PatternError> {
        Self::made(&[node], true)
    }

    fn made(nodes: &[&Node], has_groups: bool) -> Result<Self, PatternError> {
        let mut nfa = Self { places: vec![Place::End], sets: Vec::new(), start: 0, has_groups };
        let mut start = 0;
        for node in nodes.iter().rev() {
            start = nfa.add(node, start)?;
        }
        nfa.start = start;
        Ok(nfa)
    }

    fn push(&mut self, place: Place) -> Result<usize, PatternError> {
        if self.places.len() >= MAX_PLACES {
            return Err(PatternError(format!("is too large: it has more than {MAX_PLACES} places")));
        }
        self.places.push(place);
        Ok(self.places.len().saturating_sub(1))
    }

    fn set(&mut self, set: &CharSet) -> usize {
        self.sets.iter().position(|known| known == set).unwrap_or_else(|| {
            self.sets.push(set.clone());
            self.sets.len().saturating_sub(1)
        })
    }

    /// Adds what is read before `next`; where it begins.
    fn add(&mut self, node: &Node, next: usize) -> Result<usize, PatternError> {
        match node {
            Node::Empty => Ok(next),
            Node::Set(set) => {
                let set = self.set(set);
                self.push(Place::Reads { set, next })
            }
            Node::Concat(nodes) => nodes.iter().rev().try_fold(next, |next, node| self.add(node, next)),
            Node::Alternate(nodes) => {
                let mut ways = nodes.iter();
                let Some(first) = ways.next() else { return Ok(next) };
                let mut start = self.add(first, next)?;
                for way in ways {
                    let way = self.add(way, next)?;
                    start = self.push(Place::Fork(start, way))?;
                }
                Ok(start)
            }
            Node::Repeat { node, min, max } => self.repeat(node, *min, *max, next),
            Node::Group(number, node) if self.has_groups => {
                let end = number.saturating_mul(2).saturating_sub(1);
                let next = self.push(Place::Save { slot: end, next })?;
                let next = self.add(node, next)?;
                self.push(Place::Save { slot: end.saturating_sub(1), next })
            }
            Node::Group(_, node) => self.add(node, next),
        }
    }

    fn repeat(&mut self, node: &Node, min: u32, max: Option<u32>, next: usize) -> Result<usize, PatternError> {
        let mut start = next;
        match max {
            None => {
                let fork = self.push(Place::Fork(next, next))?;
                let again = self.add(node, fork)?;
                if let Some(place) = self.places.get_mut(fork) {
                    *place = Place::Fork(again, next);
                }
                start = fork;
            }
            Some(max) => {
                for _ in min..max {
                    let way = self.add(node, start)?;
                    start = self.push(Place::Fork(way, next))?;
                }
            }
        }
        for _ in 0..min {
            start = self.add(node, start)?;
        }
        Ok(start)
    }
}
