//! Automata with one way: one table lookup for each character, and all that is to be known of a pattern when it is loaded.

use std::collections::VecDeque;

use hashbrown::HashMap;

use super::nfa::{Nfa, Place};
use super::parse::PatternError;

/// Most states of one pattern.
const MAX_STATES: usize = 4096;

/// Most bytes of the table of one pattern.
const MAX_TABLE_BYTES: usize = 256 * 1024;

/// Most steps that making one may take: places looked at.
const MAX_STEPS: usize = 4_000_000;

/// A state; 0 is the one from which nothing matches.
pub(crate) type State = u16;

/// The state from which nothing matches.
pub(crate) const DEAD: State = 0;

/// The state before the first character.
pub(crate) const START: State = 1;

/// Reads one pattern from where it begins.
#[derive(Debug)]
pub(crate) struct Dfa {
    /// The class of each character of ASCII.
    ascii: [u8; 128],
    /// Where other classes begin, beyond ASCII.
    others: Vec<(u32, u8)>,
    classes: usize,
    table: Vec<State>,
    accepting: Vec<bool>,
}

/// How far a pattern is from its end at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// So many characters can wait for a decision.
    AtMost(usize),
    /// Any number can.
    Unbounded,
}

/// When a match is decided about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commits {
    /// At its shortest.
    Early,
    /// Where nothing can continue it.
    Whole,
    /// Where what stands behind it is known.
    Behind,
}

impl Dfa {
    pub(super) fn new(nfa: &Nfa) -> Result<Self, PatternError> {
        let dfa = Self::of_part(nfa)?;
        if dfa.is_accepting(START) {
            return Err(PatternError("matches the empty text".to_owned()));
        }
        Ok(dfa)
    }

    /// As [`Self::new`], of a part of a pattern, which may match the empty text.
    pub(super) fn of_part(nfa: &Nfa) -> Result<Self, PatternError> {
        let (ascii, others, classes) = divide(nfa)?;
        let mut dfa = Self { ascii, others, classes: classes.len(), table: Vec::new(), accepting: Vec::new() };
        let mut builder = Builder { nfa, known: HashMap::new(), waiting: VecDeque::new(), steps: 0 };
        dfa.add_state(false)?;
        builder.state(&mut dfa, vec![nfa.start])?;
        while let Some((state, places)) = builder.waiting.pop_front() {
            for (class, sets) in classes.iter().enumerate() {
                let next = builder.step(&places, sets);
                let next = builder.state(&mut dfa, next)?;
                let at = usize::from(state).saturating_mul(dfa.classes).saturating_add(class);
                if let Some(entry) = dfa.table.get_mut(at) {
                    *entry = next;
                }
            }
        }
        Ok(dfa)
    }

    fn add_state(&mut self, accepts: bool) -> Result<State, PatternError> {
        let bytes = self.table.len().saturating_add(self.classes).saturating_mul(size_of::<State>());
        let state = State::try_from(self.accepting.len()).ok().filter(|_| self.accepting.len() < MAX_STATES);
        let Some(state) = state.filter(|_| bytes <= MAX_TABLE_BYTES) else {
            return Err(PatternError(format!(
                "is too large: its automaton has more than {MAX_STATES} states or {} KiB",
                MAX_TABLE_BYTES / 1024
            )));
        };
        self.accepting.push(accepts);
        self.table.resize(self.table.len().saturating_add(self.classes), DEAD);
        Ok(state)
    }

    #[inline]
    pub(crate) fn is_accepting(&self, state: State) -> bool {
        self.accepting.get(usize::from(state)).copied().unwrap_or_default()
    }

    /// Says whether this is a match that nothing continues.
    pub(crate) fn is_over(&self, state: State) -> bool {
        self.is_accepting(state) && self.row(usize::from(state)).iter().all(|next| *next == DEAD)
    }

    /// The state after `character`.
    #[inline]
    pub(crate) fn next(&self, state: State, character: char) -> State {
        let class = match self.ascii.get(character as usize) {
            Some(class) => *class,
            None => {
                let at = self.others.partition_point(|(first, _)| *first <= u32::from(character));
                at.checked_sub(1).and_then(|at| self.others.get(at)).map_or(0, |(_, class)| *class)
            }
        };
        let at = usize::from(state).saturating_mul(self.classes).saturating_add(usize::from(class));
        self.table.get(at).copied().unwrap_or(DEAD)
    }

    /// Says whether a match can begin with this character.
    pub(crate) fn begins_with(&self, character: char) -> bool {
        self.next(START, character) != DEAD
    }

    /// Says whether all of `text` is a match.
    #[cfg(test)]
    pub(crate) fn matches(&self, text: impl Iterator<Item = char>) -> bool {
        let mut state = START;
        for character in text {
            state = self.next(state, character);
            if state == DEAD {
                return false;
            }
        }
        self.is_accepting(state)
    }

    /// The first of the places at which it may begin from which it matches all the rest of `text`.
    pub(super) fn first_of(&self, text: &[char], may_begin: impl Iterator<Item = bool>) -> Option<usize> {
        self.place_of(text, may_begin, false)
    }

    /// The last place, from `first` on, from which it matches all the rest of `text`.
    pub(super) fn last_from(&self, text: &[char], first: usize) -> Option<usize> {
        // At the end there is no rest: that is the last place of all.
        let at_end = self.is_accepting(START).then_some(text.len());
        at_end.or_else(|| self.place_of(text, (0..text.len()).map(|at| at >= first), true))
    }

    /// Reads from all places at once: of two that came to the same state one is as good as both.
    fn place_of(&self, text: &[char], may_begin: impl Iterator<Item = bool>, is_last: bool) -> Option<usize> {
        // Of each state the place that is wanted, and which states there are.
        let mut places = vec![None; self.accepting.len()];
        let mut open: Vec<(State, usize)> = Vec::new();
        let mut stepped: Vec<(State, usize)> = Vec::new();
        for ((at, character), begins) in text.iter().enumerate().zip(may_begin) {
            if begins {
                open.push((START, at));
            }
            for (state, at) in open.drain(..) {
                let state = self.next(state, *character);
                let Some(place) = places.get_mut(usize::from(state)).filter(|_| state != DEAD) else { continue };
                match place {
                    None => {
                        *place = Some(at);
                        stepped.push((state, at));
                    }
                    Some(known) => *known = if is_last { at.max(*known) } else { at.min(*known) },
                }
            }
            open.extend(stepped.drain(..).map(|(state, at)| {
                let wanted = places.get_mut(usize::from(state)).and_then(Option::take);
                (state, wanted.unwrap_or(at))
            }));
        }
        let ends = open.iter().filter(|(state, _)| self.is_accepting(*state)).map(|(_, at)| *at);
        if is_last { ends.max() } else { ends.min() }
    }

    /// How many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.table.len().saturating_mul(size_of::<State>()).saturating_add(self.accepting.len())
    }

    fn row(&self, state: usize) -> &[State] {
        let from = state.saturating_mul(self.classes);
        self.table.get(from..from.saturating_add(self.classes)).unwrap_or_default()
    }

    /// How many characters can wait at most: behind the beginning and, where a match is decided about early, behind each match,
    /// until there is a match or none can come.
    pub(crate) fn longest_wait(&self, commits: Commits) -> Wait {
        let decides = |state: usize| {
            let known = || State::try_from(state).unwrap_or(DEAD);
            match commits {
                _ if state == 0 => true,
                Commits::Early => self.is_accepting(known()),
                Commits::Whole => self.is_over(known()),
                Commits::Behind => false,
            }
        };
        let states = self.accepting.len();
        // How many ways lead to each state from one that waits.
        let mut ways = vec![0_usize; states];
        let mut longest = vec![0_usize; states];
        for state in 1..states {
            for next in self.row(state) {
                let next = usize::from(*next);
                if decides(next) {
                    continue;
                }
                if decides(state) {
                    // What follows a match waits from there.
                    raise(&mut longest, next, 1);
                } else if let Some(ways) = ways.get_mut(next) {
                    *ways = ways.saturating_add(1);
                }
            }
        }
        let mut ready: Vec<usize> = (1..states).filter(|state| !decides(*state) && ways.get(*state) == Some(&0)).collect();
        let (mut settled, mut most) = (0_usize, 0_usize);
        while let Some(state) = ready.pop() {
            settled = settled.saturating_add(1);
            let length = longest.get(state).copied().unwrap_or_default();
            most = most.max(length);
            for next in self.row(state).iter().map(|next| usize::from(*next)).filter(|next| !decides(*next)) {
                raise(&mut longest, next, length.saturating_add(1));
                let Some(left) = ways.get_mut(next) else { continue };
                *left = left.saturating_sub(1);
                if *left == 0 {
                    ready.push(next);
                }
            }
        }
        let waiting = (1..states).filter(|state| !decides(*state)).count();
        if settled == waiting { Wait::AtMost(most) } else { Wait::Unbounded }
    }
}

fn raise(longest: &mut [usize], state: usize, length: usize) {
    if let Some(known) = longest.get_mut(state) {
        *known = (*known).max(length);
    }
}

/// The sets that a class of characters is in.
type Signature = Vec<usize>;

/// Divides all characters into classes that no set tells apart.
#[allow(clippy::type_complexity, reason = "three parts of one automaton")]
fn divide(nfa: &Nfa) -> Result<([u8; 128], Vec<(u32, u8)>, Vec<Signature>), PatternError> {
    let mut edges: Vec<u32> = [0, 128].into_iter().chain(nfa.sets.iter().flat_map(|set| set.edges())).collect();
    edges.sort_unstable();
    edges.dedup();
    let (mut ascii, mut others, mut classes): ([u8; 128], Vec<(u32, u8)>, Vec<Signature>) = ([0; 128], Vec::new(), Vec::new());
    for (at, first) in edges.iter().enumerate() {
        let signature: Signature =
            (0..nfa.sets.len()).filter(|set| nfa.sets.get(*set).is_some_and(|set| set.has_code(*first))).collect();
        let class = classes.iter().position(|known| *known == signature).unwrap_or_else(|| {
            classes.push(signature);
            classes.len().saturating_sub(1)
        });
        let Ok(class) = u8::try_from(class) else {
            return Err(PatternError("is too large: it tells more than 256 classes of characters apart".to_owned()));
        };
        if *first >= 128 {
            others.push((*first, class));
            continue;
        }
        let end = edges.get(at.saturating_add(1)).map_or(128, |next| (*next).min(128));
        for code in *first..end {
            if let Some(entry) = usize::try_from(code).ok().and_then(|code| ascii.get_mut(code)) {
                *entry = class;
            }
        }
    }
    Ok((ascii, others, classes))
}

struct Builder<'n> {
    nfa: &'n Nfa,
    known: HashMap<Vec<usize>, State>,
    waiting: VecDeque<(State, Vec<usize>)>,
    steps: usize,
}

impl Builder<'_> {
    /// The state of all that is reached from `places` without a character.
    fn state(&mut self, dfa: &mut Dfa, places: Vec<usize>) -> Result<State, PatternError> {
        if places.is_empty() {
            return Ok(DEAD);
        }
        let places = self.close(places)?;
        if let Some(known) = self.known.get(&places) {
            return Ok(*known);
        }
        let accepts = places.iter().any(|place| matches!(self.nfa.places.get(*place), Some(Place::End)));
        let state = dfa.add_state(accepts)?;
        self.known.insert(places.clone(), state);
        self.waiting.push_back((state, places));
        Ok(state)
    }

    fn close(&mut self, mut open: Vec<usize>) -> Result<Vec<usize>, PatternError> {
        let mut seen = Vec::with_capacity(open.len());
        let mut forks = Vec::new();
        while let Some(place) = open.pop() {
            self.steps = self.steps.saturating_add(1);
            match self.nfa.places.get(place) {
                Some(Place::Fork(one, other)) => {
                    if !forks.contains(&place) {
                        forks.push(place);
                        open.extend([*one, *other]);
                    }
                }
                _ => seen.push(place),
            }
        }
        if self.steps > MAX_STEPS {
            return Err(PatternError("is too large: making its automaton takes too long".to_owned()));
        }
        seen.sort_unstable();
        seen.dedup();
        Ok(seen)
    }

    fn step(&mut self, places: &[usize], sets: &[usize]) -> Vec<usize> {
        self.steps = self.steps.saturating_add(places.len());
        let reads = places.iter().filter_map(|place| match self.nfa.places.get(*place) {
            Some(Place::Reads { set, next }) if sets.contains(set) => Some(*next),
            _ => None,
        });
        reads.collect()
    }
}
