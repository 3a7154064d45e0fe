//! What is looked for in a text: terms and patterns, compiled, each for a rule.

use std::sync::Arc;

use super::template::Rewriting;
use crate::automaton::{Automaton, Builder};
use crate::normal::{fold, normalised};
use crate::pattern::Pattern;

/// Says whether what a pattern found is what it looks for.
pub(super) type Check = fn(&[char]) -> bool;

/// What becomes of a match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// This takes its place.
    Replace(String),
    /// This does, with parts of the match.
    Rewrite(Rewriting),
    /// Nothing of the text leaves from there on.
    Refuse,
    /// It is told of, whatever else matches there.
    Watch,
}

/// A pattern of a rule.
#[derive(Clone, Debug)]
pub(super) struct Sought {
    pub(super) rule: usize,
    pub(super) pattern: Arc<Pattern>,
    pub(super) check: Option<Check>,
    /// Values that are no match, folded.
    pub(super) allowed: Arc<[Vec<char>]>,
}

impl Sought {
    /// Says whether a decision needs the text of the match.
    pub(super) fn needs_text(&self) -> bool {
        self.check.is_some() || !self.allowed.is_empty() || self.pattern.capture.is_some()
    }

    pub(super) fn is_allowed(&self, text: &[char]) -> bool {
        self.allowed.iter().any(|allowed| allowed.len() == text.len() && begins(allowed, text))
    }

    /// Says whether `text` is, or could become, an allowed value.
    pub(super) fn could_be_allowed(&self, text: &[char]) -> bool {
        self.allowed.iter().any(|allowed| begins(allowed, text))
    }
}

fn begins(allowed: &[char], text: &[char]) -> bool {
    text.len() <= allowed.len() && allowed.iter().zip(text).all(|(allowed, character)| *allowed == fold(*character))
}

/// Terms that are compared alike.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) automaton: Automaton,
    pub(super) folds: bool,
}

/// All that is looked for in one kind of text.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) terms: Vec<Terms>,
    /// The rule of each term.
    rules: Vec<usize>,
    pub(super) sought: Vec<Sought>,
    /// The patterns that can begin with each character of ASCII.
    starts: Vec<Vec<usize>>,
    /// The patterns that can begin with others.
    starts_beyond: Vec<usize>,
    /// The rules that look for hidden text.
    pub(super) hidden: Vec<usize>,
    /// What becomes of the matches of each rule.
    effects: Arc<[Effect]>,
}

/// A term of a rule.
#[derive(Clone, Debug)]
pub(super) struct Term {
    pub(super) rule: usize,
    pub(super) text: String,
    pub(super) folds: bool,
}

/// Two terms are the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct SameTerm {
    pub(super) earlier: usize,
    pub(super) later: usize,
}

impl Search {
    pub(super) fn new(
        terms: &[Term],
        is_wanted: &dyn Fn(usize) -> bool,
        sought: Vec<Sought>,
        hidden: Vec<usize>,
        effects: Arc<[Effect]>,
    ) -> Result<Self, SameTerm> {
        // Those that refuse stand apart: of terms that end at one place an automaton tells the longest alone.
        let refuses = |rule: usize| effects.get(rule) == Some(&Effect::Refuse);
        let belongs = |term: &Term, folds: bool, refusing: bool| {
            is_wanted(term.rule) && term.folds == folds && refuses(term.rule) == refusing
        };
        let mut groups = Vec::new();
        for (folds, refusing) in [(true, false), (false, false), (true, true), (false, true)] {
            let mut builder = Automaton::builder();
            let mut is_empty = true;
            for (later, term) in terms.iter().enumerate().filter(|(_, term)| belongs(term, folds, refusing)) {
                is_empty = false;
                add(&mut builder, later, term).map_err(|earlier| SameTerm { earlier, later })?;
            }
            if !is_empty {
                groups.push(Terms { automaton: builder.build(), folds });
            }
        }
        let mut search = Self {
            rules: if groups.is_empty() { Vec::new() } else { terms.iter().map(|term| term.rule).collect() },
            terms: groups,
            sought,
            starts: Vec::new(),
            starts_beyond: Vec::new(),
            hidden,
            effects,
        };
        search.find_starts();
        Ok(search)
    }

    fn find_starts(&mut self) {
        let begins = |character: char| {
            let sought = self.sought.iter().enumerate();
            sought.filter(|(_, sought)| sought.pattern.dfa.begins_with(character)).map(|(number, _)| number).collect::<Vec<_>>()
        };
        self.starts = (0..128_u8).map(|byte| begins(char::from(byte))).collect();
        self.starts_beyond = (0..self.sought.len()).collect();
    }

    /// The patterns that can begin with `character`.
    pub(super) fn starting_with(&self, character: char) -> &[usize] {
        self.starts.get(character as usize).unwrap_or(&self.starts_beyond)
    }

    /// The rule of a term, by its number.
    pub(super) fn rule_of(&self, term: usize) -> usize {
        self.rules.get(term).copied().unwrap_or_default()
    }

    pub(super) fn effect(&self, rule: usize) -> &Effect {
        // What cannot happen fails closed.
        self.effects.get(rule).unwrap_or(&Effect::Refuse)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.terms.is_empty() && self.sought.is_empty() && self.hidden.is_empty()
    }
}

fn add(builder: &mut Builder, number: usize, term: &Term) -> Result<(), usize> {
    if term.folds { builder.add(number, normalised(&term.text).map(fold)) } else { builder.add(number, normalised(&term.text)) }
}
