//! Matches of which parts stay: a template takes their place.

use smallvec::SmallVec;

use super::{Finder, Match, Output, Text};
use crate::rules::config::REDACTED;
use crate::rules::search::{Effect, Search};
use crate::rules::template::Rewriting;

impl Finder {
    /// Says whether no match of another rule can begin within this one any more, where it is to be rewritten.
    pub(super) fn can_be_rewritten(&self, found: &Match, search: &Search) -> bool {
        if !matches!(search.effect(found.rule), Effect::Rewrite(_)) || found.start < self.base {
            return true;
        }
        let mut terms = self.states.iter().zip(&search.terms);
        let are_behind = terms.all(|(state, terms)| self.read.saturating_sub(terms.automaton.live(*state)) >= found.end);
        are_behind && self.attempts.live_beside(found.rule, search).is_none_or(|live| live >= found.end)
    }

    /// Carries out a match that is rewritten; what stands before it has been let go.
    pub(super) fn rewrite(&mut self, found: Match, rewriting: &Rewriting, search: &Search, out: &mut Output) {
        if self.rewritten.is_some_and(|(rule, end)| rule == found.rule && found.start < end) {
            return;
        }
        if found.end <= self.base {
            return;
        }
        out.hits.push(found.rule);
        if let Some(taking) = &mut out.taking {
            taking.begin(found.rule, found.start < self.base, out.edited.text.len(), 0);
        }
        if found.start >= self.base {
            // Of matches of one rule that overlap the first is rewritten, and the others are none.
            self.rewritten = Some((found.rule, found.end));
            self.attempts.forget(found.rule, found.end, search);
            let (_, came) = self.measure(self.whole(found.end));
            match self.groups(&found, rewriting).filter(|_| !self.is_disputed(&found, search)) {
                Some(groups) => {
                    let group = |number: usize| groups.get(number).copied().unwrap_or_default();
                    out.edited.replace_with(came, rewriting.template.expanded(group));
                }
                // What a template has of the match could be what the other rule is against.
                None => out.edited.replace(came, REDACTED),
            }
        }
        self.remove(found.end, out);
    }

    /// Says whether a match of another rule lies in part within this one.
    fn is_disputed(&self, found: &Match, search: &Search) -> bool {
        self.matches.iter().any(|other| {
            let overlaps = other.start < found.end && other.end > found.start;
            overlaps && other.rule != found.rule && *search.effect(other.rule) != Effect::Watch
        })
    }

    /// What all of a match and each of its groups is in the text itself: whole characters, each where its beginning is.
    fn groups(&self, found: &Match, rewriting: &Rewriting) -> Option<SmallVec<[&str; 4]>> {
        let view = Text { units: &self.units, front: self.front }.read(found.start, found.end);
        let spans = rewriting.groups.find(&view)?;
        let byte = |place: usize| {
            // A character that begins before the match goes with it.
            let place = if place == 0 { self.base } else { found.start.saturating_add(place) };
            self.measure(self.whole(place)).0
        };
        let part = |(start, end): (usize, usize)| if start < end { self.raw.get(byte(start)..byte(end)) } else { Some("") };
        let all = core::iter::once(Some((0, view.len()))).chain(spans);
        all.map(|span| span.map_or(Some(""), part)).collect()
    }
}
