//! Patterns for streams: compiled to one automaton each, with how much text can wait for them.

mod dfa;
mod groups;
mod nfa;
mod parse;
mod set;

pub(crate) use dfa::{Commits, DEAD, Dfa, START, State, Wait};
pub(crate) use groups::Groups;
pub(crate) use parse::PatternError;
pub(crate) use set::CharSet;

use nfa::Nfa;
use parse::{Node, Parsed};

/// A pattern, compiled.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub(crate) dfa: Dfa,
    /// No character of this set may stand before a match.
    pub(crate) before: Option<CharSet>,
    /// No character of this set may stand behind a match.
    pub(crate) after: Option<CharSet>,
    /// What is to be replaced of a match, where that is not all.
    pub(crate) capture: Option<Capture>,
    /// A match is decided about once it is whole; otherwise at its shortest, and what continues it goes with it.
    pub(crate) is_whole: bool,
    /// How many characters can wait.
    pub(crate) wait: usize,
}

/// The automata of what stands before a group, and from it on.
#[derive(Debug)]
pub(crate) struct Capture {
    before: Dfa,
    from: Dfa,
    /// What stands behind the group; `None` where the match ends with it.
    behind: Option<Dfa>,
}

impl Capture {
    /// Where in a match the group begins and ends, in characters.
    pub(crate) fn find(&self, text: &[char]) -> (usize, usize) {
        let mut state = START;
        let begins = text.iter().map(|character| {
            let may_begin = self.before.is_accepting(state);
            state = self.before.next(state, *character);
            may_begin
        });
        let start = self.from.first_of(text, begins).unwrap_or_default();
        let end = self.behind.as_ref().and_then(|behind| behind.last_from(text, start));
        (start, end.unwrap_or(text.len()))
    }
}

impl Pattern {
    /// Compiles a pattern. With `needs_whole` a match has to be known whole before it is decided about; with `captures` its one group
    /// is what is replaced.
    pub(crate) fn new(pattern: &str, needs_whole: bool, captures: bool) -> Result<Self, PatternError> {
        Self::of(parse::parse(pattern)?, needs_whole, captures)
    }

    /// Compiles a pattern whose matches have to be known whole, so that its groups can be found in them.
    pub(crate) fn with_groups(pattern: &str) -> Result<(Self, Groups), PatternError> {
        let parsed = parse::parse(pattern)?;
        let (node, count) = (parsed.node.clone(), parsed.groups);
        let pattern = Self::of(parsed, true, false)?;
        // Where what stands behind it counts, a match is waited for with all its characters, else with all but the last.
        let longest = pattern.wait.saturating_add(usize::from(pattern.after.is_none()));
        Ok((pattern, Groups::of(&node, count, longest)?))
    }

    fn of(parsed: Parsed, needs_whole: bool, captures: bool) -> Result<Self, PatternError> {
        let dfa = Dfa::new(&Nfa::of(&[&parsed.node])?)?;
        let capture = if captures { Some(capture(&parsed.node)?) } else { None };
        let has_tail = capture.as_ref().is_some_and(|capture| capture.behind.is_some());
        let is_whole = needs_whole || parsed.after.is_some() || has_tail;
        let commits = match (is_whole, &parsed.after) {
            (false, _) => Commits::Early,
            (true, None) => Commits::Whole,
            (true, Some(_)) => Commits::Behind,
        };
        let Wait::AtMost(wait) = dfa.longest_wait(commits) else {
            return Err(PatternError(if is_whole {
                "has no finite point of commitment: what must be known whole (a match that is rewritten; what stands behind it, or behind its group) needs an upper bound, such as {1,64} for +"
                    .to_owned()
            } else {
                "has no finite point of commitment: give what comes before its end an upper bound, such as {0,64} for *"
                    .to_owned()
            }));
        };
        Ok(Self { dfa, before: parsed.before, after: parsed.after, capture, is_whole, wait })
    }
}

fn capture(node: &Node) -> Result<Capture, PatternError> {
    let message = "must have exactly one group (…), and not within another group, to be captured";
    let wrong = || PatternError(message.to_owned());
    let whole = [node];
    let items: Vec<&Node> = match node {
        Node::Concat(items) => items.iter().collect(),
        _ => whole.to_vec(),
    };
    let at = items.iter().position(|item| matches!(item, Node::Group(..))).ok_or_else(wrong)?;
    let (before, rest) = items.split_at_checked(at).ok_or_else(wrong)?;
    let behind = rest.get(1..).unwrap_or_default();
    if before.iter().chain(behind).any(|node| has_group(node)) {
        return Err(wrong());
    }
    // It alone may match the empty text: there need be nothing before the group.
    let part = |nodes: &[&Node]| Dfa::of_part(&Nfa::of(nodes)?);
    let behind = if behind.is_empty() { None } else { Some(part(behind)?) };
    Ok(Capture { before: part(before)?, from: part(rest)?, behind })
}

fn has_group(node: &Node) -> bool {
    match node {
        Node::Group(..) => true,
        Node::Concat(nodes) | Node::Alternate(nodes) => nodes.iter().any(has_group),
        Node::Repeat { node, .. } => has_group(node),
        Node::Empty | Node::Set(_) => false,
    }
}

#[cfg(test)]
mod tests;
