//! The patterns that may be matching: where each began, and how far it is.

use hashbrown::HashSet;
use smallvec::SmallVec;

use super::{Match, Text};
use crate::pattern::{DEAD, START, State};
use crate::rules::search::{Effect, Search, Sought};

/// From how many attempts on doubles are looked for by hash.
const MANY: usize = 16;

/// A pattern that matches so far.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    /// Its number.
    sought: usize,
    state: State,
    start: usize,
    /// From where on it keeps text undecided: from its beginning or, where it is decided, from the end of the match so far.
    from: usize,
    /// The end of the longest match so far, which is not decided.
    accepted: Option<usize>,
    /// Where what is replaced begins, once that is decided.
    decided: Option<usize>,
}

/// All that may be matching, in the order of where they began.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    open: Vec<Attempt>,
    seen: HashSet<(usize, State, bool)>,
}

/// Whether an attempt goes on.
#[derive(PartialEq, Eq)]
enum Goes {
    On,
    Over,
}

/// What a step of an attempt works with.
struct Scene<'s, 'f> {
    text: Text<'f>,
    found: &'s mut SmallVec<[Match; 4]>,
}

impl Attempts {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The leftmost place from which text is undecided.
    pub(super) fn live(&self) -> Option<usize> {
        self.open.iter().map(|attempt| attempt.from).min()
    }

    /// Leaves out those of a rule that began before `end`.
    pub(super) fn forget(&mut self, rule: usize, end: usize, search: &Search) {
        self.open.retain(|attempt| {
            let is_of_rule = search.sought.get(attempt.sought).is_some_and(|sought| sought.rule == rule);
            !is_of_rule || attempt.start >= end
        });
    }

    /// As [`Self::live`], of all rules but one.
    pub(super) fn live_beside(&self, rule: usize, search: &Search) -> Option<usize> {
        let is_other = |attempt: &&Attempt| search.sought.get(attempt.sought).is_none_or(|sought| sought.rule != rule);
        self.open.iter().filter(is_other).map(|attempt| attempt.from).min()
    }

    /// The leftmost place from which text is needed.
    pub(super) fn needed(&self) -> Option<usize> {
        self.open.iter().filter(|attempt| attempt.decided.is_none()).map(|attempt| attempt.start).min()
    }

    /// `character` came, at `place`.
    pub(super) fn step(
        &mut self,
        search: &Search,
        (previous, character): (Option<char>, char),
        place: usize,
        text: Text<'_>,
        found: &mut SmallVec<[Match; 4]>,
    ) {
        let mut scene = Scene { text, found };
        self.open.retain_mut(|attempt| {
            let Some(sought) = search.sought.get(attempt.sought) else { return false };
            attempt.step(sought, character, place, &mut scene) == Goes::On
        });
        for number in search.beginning(previous, character) {
            let Some(sought) = search.sought.get(number) else { continue };
            let mut attempt = Attempt { sought: number, state: START, start: place, from: place, accepted: None, decided: None };
            if attempt.step(sought, character, place, &mut scene) == Goes::On {
                self.open.push(attempt);
            }
        }
        if self.open.len() > 1 {
            self.leave_out_doubles(search);
        }
    }

    /// Of two attempts of one pattern in the same state the earlier one covers all that the later one would. Where a match is
    /// judged by its text that holds once both are decided.
    fn leave_out_doubles(&mut self, search: &Search) {
        let key = |attempt: &Attempt| {
            // Of matches that overlap one alone is rewritten: the others cover nothing.
            let rewrites = |sought: &Sought| matches!(search.effect(sought.rule), Effect::Rewrite(_));
            let needs_text = search.sought.get(attempt.sought).is_some_and(|sought| sought.needs_text() || rewrites(sought));
            (!needs_text || attempt.decided.is_some()).then_some((attempt.sought, attempt.state, attempt.decided.is_some()))
        };
        if self.open.len() > MANY {
            self.seen.clear();
            let seen = &mut self.seen;
            self.open.retain(|attempt| key(attempt).is_none_or(|key| seen.insert(key)));
            return;
        }
        let mut at = 1;
        while let Some(attempt) = self.open.get(at) {
            let this = key(attempt);
            if this.is_some() && self.open.iter().take(at).any(|earlier| key(earlier) == this) {
                self.open.remove(at);
            } else {
                at = at.saturating_add(1);
            }
        }
    }

    /// No more text comes.
    pub(super) fn finish(&mut self, search: &Search, end: usize, text: Text<'_>) -> SmallVec<[Match; 4]> {
        let mut found = SmallVec::new();
        let mut scene = Scene { text, found: &mut found };
        for mut attempt in self.open.drain(..) {
            let Some(sought) = search.sought.get(attempt.sought) else { continue };
            if sought.pattern.after.is_some() && sought.pattern.dfa.is_accepting(attempt.state) {
                let _over = attempt.accept(sought, end, &mut scene);
            }
            attempt.die(sought, &mut scene);
        }
        found
    }
}

impl Attempt {
    fn step(&mut self, sought: &Sought, character: char, place: usize, scene: &mut Scene<'_, '_>) -> Goes {
        let dfa = &sought.pattern.dfa;
        if let Some(after) = &sought.pattern.after
            && dfa.is_accepting(self.state)
            && !after.contains(character)
            && self.accept(sought, place, scene) == Goes::Over
        {
            return Goes::Over;
        }
        self.state = dfa.next(self.state, character);
        if self.state == DEAD {
            self.die(sought, scene);
            return Goes::Over;
        }
        let end = place.saturating_add(1);
        if sought.pattern.after.is_none() && dfa.is_accepting(self.state) {
            let goes = self.accept(sought, end, scene);
            if goes == Goes::On && sought.pattern.is_whole && dfa.is_over(self.state) {
                self.die(sought, scene);
                return Goes::Over;
            }
            return goes;
        }
        if self.accepted.is_some() && !sought.pattern.is_whole && !sought.could_be_allowed(&scene.text.read(self.start, end)) {
            self.decide(sought, scene);
        }
        Goes::On
    }

    /// What was read so far, up to `end`, is a match.
    fn accept(&mut self, sought: &Sought, end: usize, scene: &mut Scene<'_, '_>) -> Goes {
        if let Some(start) = self.decided {
            scene.found.push(Match { rule: sought.rule, start, end, is_firm: true, goes_on: true });
            self.from = end;
            return Goes::On;
        }
        if let Some(check) = sought.check
            && !check(&scene.text.read(self.start, end))
        {
            return if sought.pattern.is_whole { Goes::On } else { Goes::Over };
        }
        self.accepted = Some(end);
        let waits = || !sought.allowed.is_empty() && sought.could_be_allowed(&scene.text.read(self.start, end));
        if !sought.pattern.is_whole && !waits() {
            self.decide(sought, scene);
        }
        Goes::On
    }

    fn decide(&mut self, sought: &Sought, scene: &mut Scene<'_, '_>) {
        let Some(end) = self.accepted.take() else { return };
        let (start, stop) = self.replaced(sought, end, scene);
        scene.found.push(Match { rule: sought.rule, start, end: stop, is_firm: true, goes_on: false });
        (self.decided, self.from) = (Some(start), end);
    }

    /// Where what is replaced of a match begins and ends.
    fn replaced(&self, sought: &Sought, end: usize, scene: &Scene<'_, '_>) -> (usize, usize) {
        match &sought.pattern.capture {
            Some(capture) => {
                let (from, to) = capture.find(&scene.text.read(self.start, end));
                (self.start.saturating_add(from), self.start.saturating_add(to))
            }
            None => (self.start, end),
        }
    }

    /// It matches no further.
    fn die(&self, sought: &Sought, scene: &mut Scene<'_, '_>) {
        let Some(end) = self.accepted else { return };
        if sought.allowed.is_empty() || !sought.is_allowed(&scene.text.read(self.start, end)) {
            let (start, stop) = self.replaced(sought, end, scene);
            scene.found.push(Match { rule: sought.rule, start, end: stop, is_firm: false, goes_on: false });
        }
    }
}
