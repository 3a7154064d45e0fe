//! What is looked for in a text: terms and patterns, compiled, each for a rule.

use std::sync::Arc;

use super::template::Rewriting;
use crate::automaton::{Automaton, Builder, State};
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

    /// Says whether it cannot begin behind `previous`.
    fn is_blocked_by(&self, previous: Option<char>) -> bool {
        self.pattern.before.as_ref().zip(previous).is_some_and(|(set, previous)| set.contains(previous))
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

/// How many characters ASCII has.
const ASCII: usize = 128;

/// Most classes of characters that are told apart by what they keep from beginning; of others patterns say so one by one.
const MAX_CLASSES: usize = 16;

/// The patterns that can begin with a character of ASCII behind another: within a word most cannot.
#[derive(Debug, Default)]
struct Starts {
    /// The class of each character, by which patterns it keeps from beginning behind it, if it has one.
    classes: Vec<Option<usize>>,
    /// The list of each class and character.
    lists: Vec<usize>,
    /// The different lists of numbers of patterns.
    numbers: Vec<Vec<usize>>,
    /// Of each class and character whether neither a pattern nor a term begins with it.
    quiet: Vec<bool>,
}

impl Starts {
    /// `is_no_term` says whether no term begins with a character.
    fn of(sought: &[Sought], is_no_term: impl Fn(char) -> bool) -> Self {
        let characters = || (0..128_u8).map(char::from);
        // Behind nothing all can begin.
        let mut blocked: Vec<Vec<bool>> = vec![vec![false; sought.len()]];
        let mut starts = Self::default();
        for previous in characters() {
            let blocks: Vec<bool> = sought.iter().map(|sought| sought.is_blocked_by(Some(previous))).collect();
            let known = blocked.iter().position(|known| *known == blocks);
            let class = known.or_else(|| (blocked.len() < MAX_CLASSES).then(|| position_or_push(&mut blocked, blocks)));
            starts.classes.push(class);
        }
        let begins = |character| {
            let begins = move |(_, sought): &(usize, &Sought)| sought.pattern.dfa.begins_with(character);
            sought.iter().enumerate().filter(begins).map(|(number, _)| number).collect::<Vec<_>>()
        };
        let begins: Vec<Vec<usize>> = characters().map(begins).collect();
        for blocks in &blocked {
            for (begins, character) in begins.iter().zip(characters()) {
                let can_begin = |number: &usize| blocks.get(*number) == Some(&false);
                let list: Vec<usize> = begins.iter().copied().filter(can_begin).collect();
                starts.quiet.push(list.is_empty() && is_no_term(character));
                starts.lists.push(position_or_push(&mut starts.numbers, list));
            }
        }
        starts
    }

    fn quiet(&self, previous: Option<char>, text: &[u8]) -> usize {
        let class_of = |previous: usize| self.classes.get(previous).copied().flatten();
        let mut class = match previous {
            Some(previous) => class_of(previous as usize),
            None => Some(0),
        };
        let is_quiet = |byte: &u8| {
            let known = class.map(|class| class.saturating_mul(ASCII).saturating_add(usize::from(*byte)));
            let is_quiet = byte.is_ascii() && known.is_some_and(|known| self.quiet.get(known) == Some(&true));
            class = class_of(usize::from(*byte));
            is_quiet
        };
        text.iter().copied().take_while(is_quiet).count()
    }

    /// The patterns that can begin with `character` behind `previous`; `None` where that is not known from before.
    fn find(&self, previous: Option<char>, character: char) -> Option<&[usize]> {
        let class = match previous {
            Some(previous) => (*self.classes.get(previous as usize)?)?,
            None => 0,
        };
        let character = Some(character as usize).filter(|character| *character < ASCII)?;
        let list = self.lists.get(class.saturating_mul(ASCII).saturating_add(character))?;
        self.numbers.get(*list).map(Vec::as_slice)
    }
}

/// Where `item` stands in `list`, in which it is put if it is not there.
fn position_or_push<T: PartialEq>(list: &mut Vec<T>, item: T) -> usize {
    list.iter().position(|known| *known == item).unwrap_or_else(|| {
        list.push(item);
        list.len().saturating_sub(1)
    })
}

/// All that is looked for in one kind of text.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) terms: Vec<Terms>,
    /// The rule of each term.
    rules: Vec<usize>,
    pub(super) sought: Vec<Sought>,
    starts: Starts,
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
            starts: Starts::default(),
            hidden,
            effects,
        };
        search.starts = Starts::of(&search.sought, |character| {
            let stays = |terms: &Terms| {
                let character = if terms.folds { fold(character) } else { character };
                terms.automaton.next(State::default(), character) == State::default()
            };
            search.terms.iter().all(stays)
        });
        Ok(search)
    }

    /// How many bytes at the front of `text`, which stands behind `previous`, no term and no pattern begins with.
    pub(super) fn quiet(&self, previous: Option<char>, text: &[u8]) -> usize {
        self.starts.quiet(previous, text)
    }

    /// The patterns that can begin with `character` where it stands behind `previous`.
    pub(super) fn beginning(&self, previous: Option<char>, character: char) -> impl Iterator<Item = usize> {
        let known = self.starts.find(previous, character);
        let (known, beyond) = match known {
            Some(known) => (known, 0),
            None => ([].as_slice(), self.sought.len()),
        };
        let begins = move |number: &usize| {
            self.sought
                .get(*number)
                .is_some_and(|sought| !sought.is_blocked_by(previous) && sought.pattern.dfa.begins_with(character))
        };
        known.iter().copied().chain((0..beyond).filter(begins))
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
