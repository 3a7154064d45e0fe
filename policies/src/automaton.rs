//! An Aho–Corasick automaton over characters that tells how much of the text could still become a match.

use std::collections::VecDeque;

use hashbrown::HashMap;

/// A place in the automaton: the longest end of the text that begins a pattern.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct State(u32);

const ROOT: State = State(0);

/// How many characters ASCII has.
const ASCII: usize = 128;

/// The longest pattern that ends where the text ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// Number of the pattern.
    pub(crate) pattern: usize,
    /// Its length in characters.
    pub(crate) length: usize,
}

#[derive(Debug, Default)]
struct Node {
    /// The place of the longest proper end of this place's text that begins a pattern as well.
    fallback: State,
    depth: usize,
    /// How many characters of the end of the text could still become a match: those of this place if a pattern goes on
    /// from here, else those of the first fallback from which one does.
    live: usize,
    longest: Option<Ending>,
    /// The nearest fallback at which a pattern ends.
    shorter: State,
}

impl Node {
    /// Whether a pattern is what leads here.
    fn is_end(&self) -> bool {
        self.longest.is_some_and(|ending| ending.length == self.depth)
    }
}

/// Finds patterns in a text that comes character by character.
#[derive(Debug)]
pub(crate) struct Automaton {
    nodes: Vec<Node>,
    edges: HashMap<(State, char), State>,
    /// The edges of the root for ASCII, where most of a text is read.
    root: [State; ASCII],
}

impl Automaton {
    pub(crate) fn builder() -> Builder {
        Builder {
            automaton: Self { nodes: vec![Node::default()], edges: HashMap::new(), root: [ROOT; ASCII] },
            children: vec![Vec::new()],
        }
    }

    /// The state after `character`.
    pub(crate) fn next(&self, mut state: State, character: char) -> State {
        loop {
            if state == ROOT
                && let Some(next) = self.root.get(character as usize)
            {
                return *next;
            }
            if let Some(next) = self.edges.get(&(state, character)) {
                return *next;
            }
            if state == ROOT {
                return ROOT;
            }
            state = self.node(state).map_or(ROOT, |node| node.fallback);
        }
    }

    /// The characters that patterns begin with.
    pub(crate) fn firsts(&self) -> impl Iterator<Item = char> {
        self.edges.keys().filter(|(state, _)| *state == ROOT).map(|(_, character)| *character)
    }

    /// How many characters of the end of the text could still become a match.
    pub(crate) fn live(&self, state: State) -> usize {
        self.node(state).map_or(0, |node| node.live)
    }

    /// The longest pattern that ends here.
    pub(crate) fn longest(&self, state: State) -> Option<Ending> {
        self.node(state).and_then(|node| node.longest)
    }

    /// All patterns that end here, the longest first.
    pub(crate) fn endings(&self, state: State) -> impl Iterator<Item = Ending> {
        let node = self.node(state).filter(|node| node.longest.is_some());
        let first = node.map_or(ROOT, |node| if node.is_end() { state } else { node.shorter });
        let shorter = |state: &State| self.node(*state).map(|node| node.shorter).filter(|state| *state != ROOT);
        core::iter::successors(Some(first).filter(|first| *first != ROOT), shorter).filter_map(|state| self.longest(state))
    }

    fn node(&self, state: State) -> Option<&Node> {
        self.nodes.get(usize::try_from(state.0).ok()?)
    }

    fn node_mut(&mut self, state: State) -> Option<&mut Node> {
        self.nodes.get_mut(usize::try_from(state.0).ok()?)
    }
}

/// Takes patterns in.
pub(crate) struct Builder {
    automaton: Automaton,
    children: Vec<Vec<(char, State)>>,
}

impl Builder {
    /// Adds pattern number `pattern`. If the same characters were added before, nothing is added and the number of that
    /// pattern is returned as the error.
    pub(crate) fn add(&mut self, pattern: usize, characters: impl Iterator<Item = char>) -> Result<(), usize> {
        let mut state = ROOT;
        let mut length = 0_usize;
        for character in characters {
            length = length.saturating_add(1);
            state = match self.automaton.edges.get(&(state, character)) {
                Some(next) => *next,
                None => self.grow(state, character, length),
            };
        }
        let Some(node) = self.automaton.node_mut(state) else { return Ok(()) };
        match node.longest {
            Some(earlier) => Err(earlier.pattern),
            None => {
                node.longest = Some(Ending { pattern, length });
                Ok(())
            }
        }
    }

    fn grow(&mut self, parent: State, character: char, depth: usize) -> State {
        let child = State(u32::try_from(self.automaton.nodes.len()).unwrap_or(u32::MAX));
        self.automaton.nodes.push(Node { depth, ..Node::default() });
        self.automaton.edges.insert((parent, character), child);
        if parent == ROOT
            && let Some(edge) = self.automaton.root.get_mut(character as usize)
        {
            *edge = child;
        }
        self.children.push(Vec::new());
        if let Some(siblings) = usize::try_from(parent.0).ok().and_then(|parent| self.children.get_mut(parent)) {
            siblings.push((character, child));
        }
        child
    }

    /// Links the fallbacks, nearest to the root first, since each rests on shallower ones.
    pub(crate) fn build(mut self) -> Automaton {
        let mut waiting = VecDeque::from([ROOT]);
        while let Some(state) = waiting.pop_front() {
            let children = usize::try_from(state.0).ok().and_then(|index| self.children.get_mut(index)).map(std::mem::take);
            let children = children.unwrap_or_default();
            self.inherit(state, !children.is_empty());
            let fallback = self.automaton.node(state).map_or(ROOT, |node| node.fallback);
            for (character, child) in children {
                let target = if state == ROOT { ROOT } else { self.automaton.next(fallback, character) };
                if let Some(node) = self.automaton.node_mut(child) {
                    node.fallback = target;
                }
                waiting.push_back(child);
            }
        }
        self.automaton
    }

    fn inherit(&mut self, state: State, goes_on: bool) {
        let Some(fallback) = self.automaton.node(state).map(|node| node.fallback) else { return };
        let (live, longest) = (self.automaton.live(fallback), self.automaton.longest(fallback));
        let shorter = self.automaton.node(fallback).map_or(ROOT, |node| if node.is_end() { fallback } else { node.shorter });
        if let Some(node) = self.automaton.node_mut(state) {
            node.live = if goes_on { node.depth } else { live };
            node.longest = node.longest.or(longest);
            node.shorter = shorter;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn automaton(patterns: &[&str]) -> Automaton {
        let mut builder = Automaton::builder();
        for (number, pattern) in patterns.iter().enumerate() {
            builder.add(number, pattern.chars()).unwrap();
        }
        builder.build()
    }

    fn after(automaton: &Automaton, text: &str) -> State {
        text.chars().fold(State::default(), |state, character| automaton.next(state, character))
    }

    #[test]
    fn the_live_end_is_the_longest_that_begins_a_pattern_and_can_grow() {
        let automaton = automaton(&["abab", "ba", "c"]);
        for (text, live) in [("", 0), ("a", 1), ("ab", 2), ("aba", 3), ("abab", 2), ("ababa", 3), ("x", 0), ("ac", 0), ("bb", 1)]
        {
            assert_eq!(automaton.live(after(&automaton, text)), live, "{text}");
        }
    }

    #[test]
    fn the_longest_pattern_that_ends_here_is_found_through_fallbacks() {
        let automaton = automaton(&["she", "he", "hers"]);
        assert_eq!(automaton.longest(after(&automaton, "ushe")), Some(Ending { pattern: 0, length: 3 }));
        assert_eq!(automaton.longest(after(&automaton, "the")), Some(Ending { pattern: 1, length: 2 }));
        assert_eq!(automaton.longest(after(&automaton, "ushers")), Some(Ending { pattern: 2, length: 4 }));
        assert_eq!(automaton.longest(after(&automaton, "ushes")), None);
    }

    #[test]
    fn the_same_pattern_twice_is_named() {
        let mut builder = Automaton::builder();
        assert_eq!(builder.add(0, "ab".chars()), Ok(()));
        assert_eq!(builder.add(1, "a".chars()), Ok(()));
        assert_eq!(builder.add(2, "ab".chars()), Err(0));
    }
}
