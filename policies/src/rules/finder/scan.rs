//! Looks over a text in which nothing is undecided, up to where something is: there only does it take its characters one by one.

use smallvec::SmallVec;

use crate::automaton::State;
use crate::normal::{self, fold, is_left_out};
use crate::pattern::{DEAD, START};
use crate::rules::search::{Search, Sought};

/// Most steps of automata for each byte; a text that takes more is read character by character.
const MAX_STEPS_PER_BYTE: usize = 32;

/// What a text begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Clear {
    /// How many bytes no match begins in, none is undecided behind, and nothing in the view stands beside.
    pub(super) bytes: usize,
    /// The last character of them in the view.
    pub(super) last: Option<char>,
    /// How many bytes were looked at, at least: there is something before their end.
    pub(super) looked: usize,
}

struct Scan<'s, 't> {
    search: &'s Search,
    text: &'t str,
    states: SmallVec<[State; 4]>,
    /// How far patterns have read that match nothing.
    read: usize,
    steps: usize,
}

/// Looks over `text`, which stands behind `previous`.
pub(super) fn scan(search: &Search, text: &str, previous: Option<char>) -> Clear {
    let states = search.terms.iter().map(|_| State::default()).collect();
    Scan { search, text, states, read: 0, steps: text.len().saturating_mul(MAX_STEPS_PER_BYTE) }.run(previous)
}

impl Scan<'_, '_> {
    fn run(mut self, mut previous: Option<char>) -> Clear {
        let (mut clear, mut at) = (Clear::default(), 0);
        loop {
            if self.states.iter().all(|state| *state == State::default()) {
                let rest = self.text.as_bytes().get(at..).unwrap_or_default();
                let quiet = self.search.quiet(previous, rest);
                at = at.saturating_add(quiet);
                if let Some(last) = quiet.checked_sub(1).and_then(|last| rest.get(last)) {
                    previous = Some(char::from(*last));
                    if self.read <= at {
                        (clear.bytes, clear.last) = (at, previous);
                    }
                }
            }
            let Some((character, length)) = seen(self.text, at) else { break };
            let is_term_open = self.read_term(character);
            let Some(is_term_open) = is_term_open.filter(|_| self.begins_nothing(character, at, length, previous)) else {
                at = at.saturating_add(length);
                break;
            };
            previous = Some(character);
            at = at.saturating_add(length);
            if !is_term_open && self.read <= at {
                (clear.bytes, clear.last) = (at, previous);
            }
        }
        clear.looked = self.read.max(at);
        clear
    }

    /// Whether a term could go on behind `character`; `None` where one ends.
    fn read_term(&mut self, character: char) -> Option<bool> {
        let mut is_open = false;
        for (state, terms) in self.states.iter_mut().zip(&self.search.terms) {
            *state = terms.automaton.next(*state, if terms.folds { fold(character) } else { character });
            if *state == State::default() {
                continue;
            }
            if terms.automaton.longest(*state).is_some() {
                return None;
            }
            is_open |= terms.automaton.live(*state) > 0;
        }
        Some(is_open)
    }

    /// Whether no pattern could match from `at` on, whatever comes behind the text.
    fn begins_nothing(&mut self, character: char, at: usize, length: usize, previous: Option<char>) -> bool {
        let search = self.search;
        search
            .beginning(previous, character)
            .all(|number| search.sought.get(number).is_some_and(|sought| self.dies(sought, character, at.saturating_add(length))))
    }

    /// Whether the pattern, which has read `first`, comes to nothing within the text.
    fn dies(&mut self, sought: &Sought, first: char, mut at: usize) -> bool {
        let dfa = &sought.pattern.dfa;
        let mut state = dfa.next(START, first);
        while state != DEAD {
            let Some(left) = self.steps.checked_sub(1).filter(|_| !dfa.is_accepting(state)) else { return false };
            self.steps = left;
            let Some((character, length)) = seen(self.text, at) else {
                self.read = self.read.max(at);
                return false;
            };
            state = dfa.next(state, character);
            at = at.saturating_add(length);
            self.read = self.read.max(at);
        }
        true
    }
}

/// The character of the view at `at`, and how many bytes it has; `None` at the end, and where it is not one for one.
fn seen(text: &str, at: usize) -> Option<(char, usize)> {
    let byte = *text.as_bytes().get(at)?;
    if byte.is_ascii() {
        return Some((char::from(byte), 1));
    }
    let character = text.get(at..)?.chars().next()?;
    if is_left_out(character) || character == super::FLAG {
        return None;
    }
    match *normal::map(character) {
        [only] => Some((only, character.len_utf8())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Clear, scan};
    use crate::pattern::Pattern;
    use crate::rules::search::{Effect, Search, Sought, Term};

    fn search(terms: &[&str], patterns: &[&str]) -> Search {
        let terms: Vec<_> = terms.iter().map(|text| Term { rule: 0, text: (*text).to_owned(), folds: true }).collect();
        let sought = |pattern: &&str| {
            let pattern = Arc::new(Pattern::new(pattern, false, false).unwrap());
            Sought { rule: 0, pattern, check: None, allowed: [].into() }
        };
        let sought = patterns.iter().map(sought).collect();
        Search::new(&terms, &|_| true, sought, Vec::new(), [Effect::Refuse].into()).unwrap()
    }

    fn clear(search: &Search, text: &str) -> (usize, usize) {
        let Clear { bytes, looked, .. } = scan(search, text, None);
        (bytes, looked)
    }

    #[test]
    fn what_comes_to_nothing_within_the_text_is_clear() {
        let search = search(&["nightingale"], &["[a-z]{1,9}@b", "sk-[0-9]{4}"]);
        // A pattern may begin in the last word; one ends at `@b`; a term begins.
        assert_eq!(clear(&search, "the night is long. and"), (19, 22));
        assert_eq!(clear(&search, "the sk-123 key "), (15, 15));
        assert_eq!(clear(&search, "write to me@b. Now"), (9, 13));
        assert_eq!(clear(&search, "A nightingale"), (2, 13));
        assert_eq!(clear(&search, "naïve, déjà "), (15, 15));
        // What is several characters in the view, or none, is for the finder.
        assert_eq!(clear(&search, "12 ﬁ 12"), (3, 3));
        assert_eq!(clear(&search, "12\u{200b} 12"), (2, 2));
    }

    #[test]
    fn a_text_that_takes_too_many_steps_is_left_to_the_finder() {
        let search = search(&[], &["[a-z]{1,900}@"]);
        let text = format!("{} ", "a".repeat(4000));
        let (bytes, looked) = clear(&search, &text);
        assert_eq!(bytes, 0);
        assert!((1..text.len()).contains(&looked), "{looked}");
        assert_eq!(clear(&search, "a a a a "), (8, 8));
    }
}
