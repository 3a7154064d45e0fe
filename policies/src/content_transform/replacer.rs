//! Replaces patterns in a text that comes in pieces, holding back no more than is undecided.

use std::collections::VecDeque;

use crate::automaton::{Automaton, Builder, Ending, State};
use crate::joined::Edited;
use crate::normal::fold;

/// What is done to the letters that no pattern matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum Case {
    /// Nothing.
    #[default]
    None,
    /// Each character becomes its `to_uppercase`.
    Upper,
    /// Each character becomes its `to_lowercase`.
    Lower,
}

impl Case {
    /// Writes `character` mapped to `out`; whether that changed it.
    fn push(self, character: char, out: &mut String) -> bool {
        match self {
            Self::None => {
                out.push(character);
                false
            }
            Self::Upper => push_all(character, character.to_uppercase(), out),
            Self::Lower => push_all(character, character.to_lowercase(), out),
        }
    }
}

fn push_all(character: char, mapped: impl Iterator<Item = char> + Clone, out: &mut String) -> bool {
    let changes = !mapped.clone().eq([character]);
    out.extend(mapped);
    changes
}

/// One find and replace.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    /// What to look for.
    pub(super) find: String,
    /// What takes its place.
    pub(super) with: String,
    /// Whether case makes no difference.
    #[serde(default)]
    pub(super) ignore_case: bool,
}

/// What is done to a text.
#[derive(Debug)]
pub(super) struct Rules {
    rules: Vec<Rule>,
    /// Those rules that heed case.
    exact: Automaton,
    /// Those that do not, over folded characters.
    folded: Automaton,
    /// The bytes that a match can begin with.
    firsts: Firsts,
    case: Case,
}

/// Tells the bytes that a match can begin with from those that no rule has business with.
#[derive(Debug)]
struct Firsts([bool; 256]);

impl Firsts {
    fn new(exact: &Automaton, folded: &Automaton) -> Self {
        let mut utf8 = [0; 4];
        let mut firsts: Vec<u8> = exact.firsts().filter_map(|first| first.encode_utf8(&mut utf8).bytes().next()).collect();
        let folded: Vec<char> = folded.firsts().collect();
        firsts.extend((0..=0x7f).filter(|byte| folded.contains(&fold(char::from(*byte)))));
        if !folded.is_empty() {
            // Characters of any script can fold to one of another.
            firsts.extend(0xc0..=0xff);
        }
        let mut is_first = [false; 256];
        for byte in firsts {
            if let Some(flag) = is_first.get_mut(usize::from(byte)) {
                *flag = true;
            }
        }
        Self(is_first)
    }

    /// The beginning of `text` in which no match begins, and the rest.
    fn split<'t>(&self, text: &'t str) -> (&'t str, &'t str) {
        let is_first = |byte: u8| self.0.get(usize::from(byte)).copied().unwrap_or_default();
        // It is the first byte of a character: of the others none is ever set.
        let first = text.bytes().position(is_first).unwrap_or(text.len());
        text.split_at_checked(first).unwrap_or(("", text))
    }
}

/// Two rules find the same.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SameFind {
    pub(super) earlier: usize,
    pub(super) later: usize,
}

impl Rules {
    pub(super) fn new(rules: Vec<Rule>, case: Case) -> Result<Self, SameFind> {
        let (mut exact, mut folded): (Builder, Builder) = (Automaton::builder(), Automaton::builder());
        for (later, rule) in rules.iter().enumerate() {
            let added = if rule.ignore_case {
                folded.add(later, rule.find.chars().map(fold))
            } else {
                exact.add(later, rule.find.chars())
            };
            added.map_err(|earlier| SameFind { earlier, later })?;
        }
        let (exact, folded) = (exact.build(), folded.build());
        let firsts = Firsts::new(&exact, &folded);
        Ok(Self { rules, exact, folded, firsts, case })
    }

    pub(super) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    pub(super) const fn case(&self) -> Case {
        self.case
    }
}

/// A match that nothing to its left can take the place of; a longer one from the same start still can.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    /// Offset of its first character in what is pending.
    start: usize,
    end: usize,
    rule: usize,
}

/// What became of the text that was fed.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) edited: Edited,
    /// Whether the case of a letter was changed.
    pub(super) case_mapped: bool,
    /// The rules that were applied, each time.
    pub(super) applied: Vec<usize>,
}

impl Output {
    /// Makes ready for the next piece; what was allocated stays.
    pub(super) fn clear(&mut self) {
        self.edited.clear();
        self.applied.clear();
        self.case_mapped = false;
    }
}

/// A text on its way through the rules.
///
/// The leftmost match wins, of those the longest, of those the earlier rule. Matches do not overlap, and what a rule
/// writes is not searched again. The result does not depend on how the text is cut into pieces.
#[derive(Debug, Default)]
pub(super) struct Replacer {
    /// The end of the text that is undecided: it could still become a match, or is one that could still become a longer one.
    pending: VecDeque<char>,
    /// How many bytes it has.
    pending_bytes: usize,
    /// How many characters of it the automata have read.
    read: usize,
    exact: State,
    folded: State,
    candidate: Option<Candidate>,
}

impl Replacer {
    /// Gives how many bytes at the end of the text are undecided.
    pub(super) const fn undecided(&self) -> usize {
        self.pending_bytes
    }

    /// Takes a piece of text in.
    pub(super) fn feed(&mut self, rules: &Rules, piece: &str, out: &mut Output) {
        let mut rest = piece;
        loop {
            if self.pending.is_empty() && rules.case == Case::None {
                rest = self.skip(rules, rest, out);
            }
            let mut characters = rest.chars();
            let Some(character) = characters.next() else { return };
            rest = characters.as_str();
            self.pending.push_back(character);
            self.pending_bytes = self.pending_bytes.saturating_add(character.len_utf8());
            self.search(rules, out);
        }
    }

    /// Lets pass, where nothing is undecided, what comes before the next place where a match could begin.
    fn skip<'t>(&mut self, rules: &Rules, text: &'t str, out: &mut Output) -> &'t str {
        let (passes, rest) = rules.firsts.split(text);
        if !passes.is_empty() {
            out.edited.decided = true;
            out.edited.text.push_str(passes);
            // From the end of a match that cannot grow the same goes on as from nothing.
            (self.exact, self.folded) = Default::default();
        }
        rest
    }

    /// The text is over: decides what is pending.
    pub(super) fn finish(&mut self, rules: &Rules, out: &mut Output) {
        while !self.pending.is_empty() {
            self.search(rules, out);
            self.settle(self.read, rules, out);
        }
    }

    fn search(&mut self, rules: &Rules, out: &mut Output) {
        while let Some(character) = self.pending.get(self.read).copied() {
            self.read = self.read.saturating_add(1);
            self.exact = rules.exact.next(self.exact, character);
            self.folded = rules.folded.next(self.folded, fold(character));
            self.consider(rules.exact.longest(self.exact));
            self.consider(rules.folded.longest(self.folded));
            let live = rules.exact.live(self.exact).max(rules.folded.live(self.folded));
            self.settle(self.read.saturating_sub(live), rules, out);
        }
    }

    fn consider(&mut self, ending: Option<Ending>) {
        let Some(Ending { pattern: rule, length }) = ending else { return };
        let end = self.read;
        let start = end.saturating_sub(length);
        let is_better = self.candidate.is_none_or(|best| {
            start < best.start || (start == best.start && (end > best.end || (end == best.end && rule < best.rule)))
        });
        if is_better {
            self.candidate = Some(Candidate { start, end, rule });
        }
    }

    /// Decides what lies before `live`, the leftmost place where a match could still grow.
    fn settle(&mut self, live: usize, rules: &Rules, out: &mut Output) {
        match self.candidate {
            Some(best) if live > best.start => {
                self.pass(best.start, rules.case, out);
                self.replace(best.end.saturating_sub(best.start), best.rule, rules, out);
                // What lies behind the match was read as if there were none: it is read again from a fresh start.
                (self.read, self.exact, self.folded) = Default::default();
                self.candidate = None;
            }
            _ => {
                self.pass(live, rules.case, out);
                self.read = self.read.saturating_sub(live);
                if let Some(best) = &mut self.candidate {
                    best.start = best.start.saturating_sub(live);
                    best.end = best.end.saturating_sub(live);
                }
            }
        }
    }

    fn pass(&mut self, count: usize, case: Case, out: &mut Output) {
        for character in self.pending.drain(..count.min(self.pending.len())) {
            self.pending_bytes = self.pending_bytes.saturating_sub(character.len_utf8());
            out.edited.decided = true;
            out.case_mapped |= case.push(character, &mut out.edited.text);
        }
        out.edited.changed |= out.case_mapped;
    }

    fn replace(&mut self, count: usize, rule: usize, rules: &Rules, out: &mut Output) {
        let with = rules.rules.get(rule).map_or("", |rule| rule.with.as_str());
        let found = self.pending.drain(..count.min(self.pending.len()));
        let (mut is_same, mut left) = (true, with.chars());
        let mut found_bytes = 0_usize;
        for character in found {
            found_bytes = found_bytes.saturating_add(character.len_utf8());
            self.pending_bytes = self.pending_bytes.saturating_sub(character.len_utf8());
            is_same &= left.next() == Some(character);
        }
        out.edited.changed |= !is_same || left.next().is_some();
        out.edited.decided = true;
        out.edited.replace(found_bytes, with);
        if !out.edited.exceeded {
            out.applied.push(rule);
        }
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::string_slice, reason = "a panic fails the test, as it should")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(find: &str, with: &str, ignore_case: bool) -> Rule {
        Rule { find: find.to_owned(), with: with.to_owned(), ignore_case }
    }

    /// Compares text with patterns character by character, without an automaton.
    struct BruteForce<'a> {
        rules: &'a [Rule],
        text: Vec<char>,
    }

    impl BruteForce<'_> {
        fn begins(&self, rule: &Rule, at: usize, pattern_length: usize) -> bool {
            let pattern = rule.find.chars().take(pattern_length);
            let text = self.text[at..].iter().copied().take(pattern_length);
            if rule.ignore_case { pattern.map(fold).eq(text.map(fold)) } else { pattern.eq(text) }
        }

        /// The transformed text, and from where on it would be undecided if more could come.
        fn transform(&self, ended: bool) -> (String, usize) {
            let (mut out, mut at) = (String::new(), 0);
            while at < self.text.len() {
                let rest = self.text.len() - at;
                let length = |rule: &Rule| rule.find.chars().count();
                if !ended && self.rules.iter().any(|rule| length(rule) > rest && self.begins(rule, at, rest)) {
                    return (out, at);
                }
                let matches = self.rules.iter().filter(|rule| length(rule) <= rest && self.begins(rule, at, length(rule)));
                // `max_by_key` would take the last of equals.
                match matches.reduce(|best, other| if length(other) > length(best) { other } else { best }) {
                    Some(rule) => {
                        out.push_str(&rule.with);
                        at += length(rule);
                    }
                    None => {
                        out.push(self.text[at]);
                        at += 1;
                    }
                }
            }
            (out, at)
        }
    }

    fn transform(rules: &Rules, pieces: &[&str]) -> String {
        let (mut replacer, mut out) = (Replacer::default(), Output::default());
        for piece in pieces {
            replacer.feed(rules, piece, &mut out);
        }
        replacer.finish(rules, &mut out);
        out.edited.text
    }

    #[test]
    fn the_leftmost_longest_match_wins_and_is_not_searched_again() {
        let rules = Rules::new(
            vec![rule("cat", "dog", false), rule("cats", "birds", false), rule("dog", "cat", false), rule("at", "@", false)],
            Case::None,
        )
        .unwrap();
        assert_eq!(transform(&rules, &["cat cats catsdog hat ca"]), "dog birds birdscat h@ ca");
    }

    #[test]
    fn a_shorter_match_wins_when_the_longer_one_fails() {
        let rules =
            Rules::new(vec![rule("b", "1", false), rule("abcd", "2", false), rule("bc", "3", false)], Case::None).unwrap();
        assert_eq!(transform(&rules, &["abcx abcd abb"]), "a3x 2 a11");
    }

    #[test]
    fn a_term_cut_at_every_place_is_found_and_no_beginning_of_it_leaves() {
        let rules = Rules::new(vec![rule("Nightingale", "*", true)], Case::None).unwrap();
        let text = "über Project NIGHTINGALE: go";
        for cut in (0..=text.len()).filter(|cut| text.is_char_boundary(*cut)) {
            let (mut replacer, mut out) = (Replacer::default(), Output::default());
            replacer.feed(&rules, &text[..cut], &mut out);
            assert!(!out.edited.text.contains('N'), "{:?} left after {:?}", out.edited.text, &text[..cut]);
            replacer.feed(&rules, &text[cut..], &mut out);
            replacer.finish(&rules, &mut out);
            assert_eq!(out.edited.text, "über Project *: go");
        }
    }

    #[test]
    fn case_is_ignored_by_simple_folding() {
        let rules =
            Rules::new(vec![rule("ΣΑΣ", "*", true), rule("straße", "+", true), rule("K", "k!", false)], Case::None).unwrap();
        assert_eq!(transform(&rules, &["σας STRAßE STRASSE \u{212a}K"]), "* + STRASSE \u{212a}k!");
    }

    #[test]
    fn letters_change_their_case_but_replacements_do_not() {
        let upper = Rules::new(vec![rule("b", "b", false)], Case::Upper).unwrap();
        assert_eq!(transform(&upper, &["abß"]), "AbSS");
        let lower = Rules::new(Vec::new(), Case::Lower).unwrap();
        assert_eq!(transform(&lower, &["ΑΣ İ"]), "ασ i\u{307}");
    }

    #[test]
    fn an_output_says_what_happened() {
        let rules = Rules::new(vec![rule("a", "a", false), rule("b", "", false)], Case::None).unwrap();
        let (mut replacer, mut out) = (Replacer::default(), Output::default());
        replacer.feed(&rules, "xa", &mut out);
        assert!(out.edited.decided && !out.edited.changed && out.applied == [0]);
        out.clear();
        replacer.feed(&rules, "b", &mut out);
        assert!(out.edited.decided && out.edited.changed && out.edited.text.is_empty() && out.applied == [1]);
        out.clear();
        replacer.feed(&rules, "", &mut out);
        assert!(!out.edited.decided && !out.edited.changed);
    }

    #[test]
    fn the_same_find_twice_is_named() {
        let twice = vec![rule("A", "1", true), rule("a", "2", false), rule("a", "3", true)];
        assert_eq!(Rules::new(twice, Case::None).unwrap_err(), SameFind { earlier: 0, later: 2 });
    }

    /// Few letters, so that patterns overlap, repeat and begin one another.
    fn some_rules() -> impl Strategy<Value = Rules> {
        let rule = ("[abcABσς]{1,5}", "[abx]{0,3}", any::<bool>());
        proptest::collection::vec(rule, 0..6).prop_map(|raw| {
            let mut rules: Vec<Rule> = Vec::new();
            for (find, with, ignore_case) in raw {
                let next = Rule { find, with, ignore_case };
                rules.push(next);
                if Rules::new(rules.clone(), Case::None).is_err() {
                    rules.pop();
                }
            }
            Rules::new(rules, Case::None).unwrap()
        })
    }

    fn some_pieces() -> impl Strategy<Value = Vec<String>> {
        proptest::collection::vec("[abcABσςx]{0,6}", 0..8)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_cutting_gives_what_the_whole_text_gives(rules in some_rules(), pieces in some_pieces()) {
            let brute_force = BruteForce { rules: rules.rules(), text: pieces.concat().chars().collect() };
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            prop_assert_eq!(transform(&rules, &pieces), brute_force.transform(true).0);
        }

        #[test]
        fn exactly_the_undecided_end_is_held_back(rules in some_rules(), pieces in some_pieces()) {
            let (mut replacer, mut out, mut fed) = (Replacer::default(), Output::default(), String::new());
            for piece in &pieces {
                replacer.feed(&rules, piece, &mut out);
                fed.push_str(piece);
                let brute_force = BruteForce { rules: rules.rules(), text: fed.chars().collect() };
                let (decided, undecided_from) = brute_force.transform(false);
                prop_assert_eq!(&out.edited.text, &decided);
                prop_assert_eq!(replacer.pending.len(), brute_force.text.len() - undecided_from);
            }
        }
    }
}
