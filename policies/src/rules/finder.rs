//! Finds matches in a text that comes in pieces, and holds back no more than is undecided.

mod attempts;
mod rewrite;
mod scan;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::placeholder::Taking;
use super::search::{Effect, Search};
use crate::automaton::State;
use crate::joined::Edited;
use crate::normal::{self, fold, is_left_out, is_tag};
use attempts::Attempts;

/// The flag from which the tags of a region's flag follow.
const FLAG: char = '\u{1f3f4}';

/// Most tags that a flag has behind it.
const MAX_FLAG_TAGS: u8 = 7;

/// A character of the view, with what it stands for.
#[derive(Clone, Copy, Debug)]
struct Unit {
    character: char,
    /// How many bytes of the text go on where it does; those of invisible characters behind it among them.
    bytes: usize,
    /// How many bytes of the text came for it.
    came: usize,
    /// It stands for the same character as the one before it.
    continues: bool,
}

/// A match that is to be carried out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Match {
    pub(super) rule: usize,
    /// Where what is replaced begins and ends, in characters of the view from the beginning of the text.
    pub(super) start: usize,
    pub(super) end: usize,
    /// It is not waited for a longer one from the same place.
    pub(super) is_firm: bool,
    /// It goes on from a match that was told of before.
    pub(super) goes_on: bool,
}

/// What became of the text that was fed.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) edited: Edited,
    /// The rules that were carried out, each time.
    pub(super) hits: Vec<usize>,
    /// The rule by which the rest of the text is refused.
    pub(super) refused: Option<usize>,
    /// What reversible rules take out of the text of a request.
    pub(super) taking: Option<Taking>,
    /// How many placeholders were restored.
    pub(super) restored: u64,
}

impl Output {
    /// Makes ready for the next piece; what was allocated stays.
    pub(super) fn clear(&mut self) {
        self.edited.clear();
        self.hits.clear();
    }
}

/// A text on its way through a search.
///
/// What any match covers goes, also where matches overlap; of matches that overlap the first, of those from the same place the longest
/// term or the pattern that is decided first, says what takes their place. The result does not depend on how the text is cut.
#[derive(Debug, Default)]
pub(super) struct Finder {
    /// What is undecided, and before it what checks may still need.
    units: VecDeque<Unit>,
    /// The place of the first unit in the text.
    front: usize,
    /// Where the undecided begins.
    base: usize,
    /// How far the automata have read.
    read: usize,
    /// The undecided text.
    raw: String,
    /// How many bytes of text came for what is undecided.
    undecided: usize,
    states: SmallVec<[State; 2]>,
    attempts: Attempts,
    matches: SmallVec<[Match; 2]>,
    /// How far the matches of each rule that watches have been told of.
    told: SmallVec<[(usize, usize); 2]>,
    /// The character before the one that is read next.
    previous: Option<char>,
    /// How many tags may still belong to a flag.
    flag_tags: u8,
    in_hidden: bool,
    /// The last character of what is decided was taken out.
    is_taken_out: bool,
    /// The rule by which a match was rewritten last, and where that ended.
    rewritten: Option<(usize, usize)>,
    is_refused: bool,
}

impl Finder {
    /// Begins behind a character that is not searched.
    pub(super) fn behind(character: char) -> Self {
        Self { previous: Some(character), ..Self::default() }
    }

    pub(super) const fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// Gives how many bytes at the end of the text are undecided.
    pub(super) const fn undecided(&self) -> usize {
        self.undecided
    }

    /// Takes a piece of text in.
    pub(super) fn feed(&mut self, search: &Search, piece: &str, out: &mut Output) {
        if self.states.len() < search.terms.len() {
            self.states.resize(search.terms.len(), State::default());
        }
        let (mut rest, mut known) = (piece, usize::MAX);
        while !rest.is_empty() && !self.is_refused {
            // Where something was seen it is gone through before the rest is looked over.
            if rest.len() <= known && self.is_idle(search) {
                (rest, known) = self.skip(search, rest, out);
            }
            let mut characters = rest.chars();
            let Some(character) = characters.next() else { break };
            rest = characters.as_str();
            self.take(character, search, out);
            while self.read < self.end() && !self.is_refused {
                self.step(search);
                self.settle(search, out);
            }
        }
        if self.is_refused && !piece.is_empty() {
            self.drop_all(out);
        }
    }

    /// The text is over: decides what is pending.
    pub(super) fn finish(&mut self, search: &Search, out: &mut Output) {
        for found in self.attempts.finish(search, self.read, Text { units: &self.units, front: self.front }) {
            self.add(found, search);
        }
        self.states.fill(State::default());
        self.settle(search, out);
        self.pass(self.end(), out);
    }

    fn end(&self) -> usize {
        self.front.saturating_add(self.units.len())
    }

    /// Nothing is undecided, and no match could go on from what has left.
    fn is_idle(&self, search: &Search) -> bool {
        let is_over = |(state, terms): (&State, &super::search::Terms)| terms.automaton.live(*state) == 0;
        self.base == self.end()
            && self.states.iter().zip(&search.terms).all(is_over)
            && self.attempts.is_empty()
            && self.matches.is_empty()
            && !self.in_hidden
            && self.flag_tags == 0
    }

    /// Lets pass, where nothing is undecided, what no match can reach; gives the rest, and how much of it has not been looked at.
    fn skip<'t>(&mut self, search: &Search, text: &'t str, out: &mut Output) -> (&'t str, usize) {
        let clear = scan::scan(search, text, self.previous);
        let (passes, rest) = text.split_at_checked(clear.bytes).unwrap_or(("", text));
        if clear.last.is_some() {
            out.edited.decided = true;
            out.edited.text.push_str(passes);
            self.previous = clear.last;
            self.is_taken_out = false;
            self.states.fill(State::default());
        }
        (rest, text.len().saturating_sub(clear.looked))
    }

    fn take(&mut self, character: char, search: &Search, out: &mut Output) {
        if is_left_out(character) {
            self.take_invisible(character, search, out);
            return;
        }
        self.in_hidden = false;
        self.flag_tags = if character == FLAG { MAX_FLAG_TAGS } else { 0 };
        let bytes = character.len_utf8();
        self.raw.push(character);
        self.undecided = self.undecided.saturating_add(bytes);
        let mut came = bytes;
        for mapped in normal::map(character).iter() {
            self.units.push_back(Unit { character: *mapped, bytes: came, came, continues: came == 0 });
            came = 0;
        }
    }

    /// What the view leaves out belongs to the character before it.
    fn take_invisible(&mut self, character: char, search: &Search, out: &mut Output) {
        let is_payload = is_tag(character) && self.flag_tags == 0;
        self.flag_tags = if is_tag(character) { self.flag_tags.saturating_sub(1) } else { 0 };
        let is_hidden = is_payload && !search.hidden.is_empty();
        if is_hidden && !self.in_hidden {
            out.hits.extend_from_slice(&search.hidden);
            if let Some(rule) = search.hidden.iter().find(|rule| *search.effect(**rule) == Effect::Refuse) {
                self.refuse(*rule, out);
                return;
            }
        }
        self.in_hidden = is_hidden;
        let bytes = character.len_utf8();
        let kept = if is_hidden { 0 } else { bytes };
        let is_pending = self.base < self.end();
        match self.units.back_mut().filter(|_| is_pending) {
            Some(unit) => {
                unit.bytes = unit.bytes.saturating_add(kept);
                unit.came = unit.came.saturating_add(bytes);
                self.undecided = self.undecided.saturating_add(bytes);
                if kept > 0 {
                    self.raw.push(character);
                }
            }
            None => {
                // It goes where the character before it went.
                if let Some(taking) = out.taking.as_mut().filter(|_| self.is_taken_out && !is_hidden) {
                    taking.add(character.encode_utf8(&mut [0; 4]));
                }
                let kept = if self.is_taken_out { 0 } else { kept };
                out.edited.decided = true;
                out.edited.changed |= kept == 0;
                if kept > 0 {
                    out.edited.text.push(character);
                }
            }
        }
    }

    fn step(&mut self, search: &Search) {
        let Some(character) = self.units.get(self.read.saturating_sub(self.front)).map(|unit| unit.character) else { return };
        let place = self.read;
        self.read = self.read.saturating_add(1);
        let folded = fold(character);
        let (mut found, read) = (SmallVec::<[Match; 4]>::new(), self.read);
        for (state, terms) in self.states.iter_mut().zip(&search.terms) {
            *state = terms.automaton.next(*state, if terms.folds { folded } else { character });
            for ending in terms.automaton.endings(*state) {
                let (rule, start) = (search.rule_of(ending.pattern), read.saturating_sub(ending.length));
                found.push(Match { rule, start, end: read, is_firm: false, goes_on: false });
                if *search.effect(rule) != Effect::Watch {
                    // It covers those that end there, too.
                    break;
                }
            }
        }
        let text = Text { units: &self.units, front: self.front };
        self.attempts.step(search, (self.previous, character), place, text, &mut found);
        self.previous = Some(character);
        for found in found {
            self.add(found, search);
        }
    }

    fn add(&mut self, mut found: Match, search: &Search) {
        if matches!(search.effect(found.rule), Effect::Refuse | Effect::Watch) {
            // It counts, also where all of it is gone already.
            found.end = found.end.max(self.base);
        } else if found.end <= self.base {
            return;
        }
        match self.matches.iter_mut().find(|known| found.goes_on && known.rule == found.rule && known.start == found.start) {
            Some(known) => known.end = known.end.max(found.end),
            None => self.matches.push(found),
        }
    }

    /// The leftmost place at which a match could still begin, or grow.
    fn live(&self, search: &Search) -> usize {
        let terms = self.states.iter().zip(&search.terms);
        let live = terms.map(|(state, terms)| self.read.saturating_sub(terms.automaton.live(*state))).min().unwrap_or(self.read);
        live.min(self.attempts.live().unwrap_or(self.read)).max(self.base)
    }

    /// Carries out what is decided, and lets pass what no match can reach any more.
    fn settle(&mut self, search: &Search, out: &mut Output) {
        let live = self.live(search);
        while let Some(next) = self.first_match(search) {
            let found = self.matches.get(next).copied();
            let is_decided = |found: &Match| {
                let is_known = found.start < live.max(self.base) || (found.is_firm && found.start <= live);
                is_known && self.can_be_rewritten(found, search)
            };
            let Some(found) = found.filter(is_decided) else { break };
            self.matches.swap_remove(next);
            self.carry_out(found, search, out);
            if self.is_refused {
                return;
            }
        }
        let first = self.matches.iter().map(|found| found.start).min().unwrap_or(live);
        self.pass(live.min(first), out);
        let needed = self.attempts.needed().unwrap_or(self.base).min(self.base).min(self.read);
        while self.front < needed && self.units.pop_front().is_some() {
            self.front = self.front.saturating_add(1);
        }
    }

    fn first_match(&self, search: &Search) -> Option<usize> {
        let refuses = |found: &Match| *search.effect(found.rule) == Effect::Refuse;
        let order = |found: &Match| (found.start, !refuses(found), core::cmp::Reverse(found.end), found.rule);
        (0..self.matches.len()).min_by_key(|at| self.matches.get(*at).map(order))
    }

    fn carry_out(&mut self, found: Match, search: &Search, out: &mut Output) {
        if *search.effect(found.rule) == Effect::Watch {
            return self.tell(found, out);
        }
        let mut start = found.start;
        while start > self.base && self.unit(start).is_some_and(|unit| unit.continues) {
            start = start.saturating_sub(1);
        }
        self.pass(start, out);
        let goes_on = found.goes_on || found.start < self.base;
        match search.effect(found.rule) {
            Effect::Refuse => {
                out.hits.push(found.rule);
                self.refuse(found.rule, out);
            }
            Effect::Replace(with) => {
                if found.end <= self.base {
                    return;
                }
                if !found.goes_on {
                    out.hits.push(found.rule);
                }
                if let Some(taking) = &mut out.taking {
                    taking.begin(found.rule, goes_on, out.edited.text.len(), with.len());
                }
                let removed = self.remove(found.end, out);
                if goes_on {
                    return;
                }
                out.edited.replace(removed, with);
            }
            Effect::Rewrite(rewriting) => self.rewrite(found, rewriting, search, out),
            Effect::Watch => {}
        }
    }

    /// Tells of a match that changes nothing: of those of one rule that overlap, of what goes beyond the first.
    fn tell(&mut self, found: Match, out: &mut Output) {
        let position = self.told.iter().position(|(rule, _)| *rule == found.rule).unwrap_or_else(|| {
            self.told.push((found.rule, 0));
            self.told.len().saturating_sub(1)
        });
        let Some((_, told)) = self.told.get_mut(position).filter(|(_, told)| found.end > *told) else { return };
        *told = found.end;
        if !found.goes_on {
            out.hits.push(found.rule);
        }
    }

    fn unit(&self, place: usize) -> Option<&Unit> {
        self.units.get(place.checked_sub(self.front)?)
    }

    /// Lets go what stands before `end`, but for parts of a character.
    fn pass(&mut self, mut end: usize, out: &mut Output) {
        while end > self.base && self.unit(end).is_some_and(|unit| unit.continues) {
            end = end.saturating_sub(1);
        }
        let (bytes, came) = self.measure(end);
        if end <= self.base {
            return;
        }
        out.edited.decided = true;
        out.edited.changed |= bytes != came;
        out.edited.text.push_str(self.raw.get(..bytes).unwrap_or_default());
        self.is_taken_out = false;
        self.let_go(end, bytes, came);
    }

    /// The first place from `end` on at which a character begins.
    fn whole(&self, mut end: usize) -> usize {
        while self.unit(end).is_some_and(|unit| unit.continues) {
            end = end.saturating_add(1);
        }
        end
    }

    /// Takes out what stands before `end`, and whatever of a character begins there; how many bytes that were.
    fn remove(&mut self, end: usize, out: &mut Output) -> usize {
        let end = self.whole(end);
        let (bytes, came) = self.measure(end);
        (out.edited.decided, out.edited.changed) = (true, true);
        if let Some(taking) = &mut out.taking {
            taking.add(self.raw.get(..bytes).unwrap_or_default());
        }
        self.is_taken_out = true;
        self.let_go(end, bytes, came);
        came
    }

    /// How many bytes go on, and how many came, of what is undecided before `end`.
    fn measure(&self, end: usize) -> (usize, usize) {
        let (from, to) = (self.base.saturating_sub(self.front), end.saturating_sub(self.front).min(self.units.len()));
        let units = self.units.range(from.min(to)..to);
        units.fold((0, 0), |(bytes, came), unit| (unit.bytes.saturating_add(bytes), unit.came.saturating_add(came)))
    }

    fn let_go(&mut self, end: usize, bytes: usize, came: usize) {
        self.raw.replace_range(..bytes.min(self.raw.len()), "");
        self.undecided = self.undecided.saturating_sub(came);
        self.base = end;
    }

    fn refuse(&mut self, rule: usize, out: &mut Output) {
        out.refused = out.refused.or(Some(rule));
        self.is_refused = true;
        self.drop_all(out);
    }

    fn drop_all(&mut self, out: &mut Output) {
        (out.edited.decided, out.edited.changed) = (true, true);
        (self.base, self.read) = (self.end(), self.end());
        self.raw.clear();
        self.undecided = 0;
    }
}

/// The text of matches that are not decided.
#[derive(Clone, Copy)]
pub(super) struct Text<'f> {
    units: &'f VecDeque<Unit>,
    front: usize,
}

impl Text<'_> {
    /// Gives the characters from one place to another.
    fn read(&self, start: usize, end: usize) -> SmallVec<[char; 64]> {
        let (from, to) = (start.saturating_sub(self.front), end.saturating_sub(self.front).min(self.units.len()));
        self.units.range(from.min(to)..to).map(|unit| unit.character).collect()
    }
}
