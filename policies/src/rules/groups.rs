//! Which rules are for which texts: texts with the same rules share what is looked for in them.

use std::sync::Arc;

use super::config::{InAnswer, Rule};
use super::search::{Effect, SameTerm, Search, Sought, Term};
use crate::in_request::InRequest;

/// What is looked for in one kind of text.
#[derive(Debug)]
pub(super) struct Group {
    rules: Vec<usize>,
    /// What is done something about.
    pub(super) acting: Search,
    /// What is only told of, or has to be there.
    pub(super) watching: Search,
}

impl Group {
    /// Says whether nothing is looked for.
    pub(super) fn is_empty(&self) -> bool {
        self.acting.is_empty() && self.watching.is_empty()
    }
}

/// The groups of all kinds of text.
#[derive(Debug, Default)]
pub(super) struct Groups {
    request: Vec<(InRequest, Arc<Group>)>,
    answer: Vec<(InAnswer, Arc<Group>)>,
}

impl Groups {
    pub(super) fn new(
        rules: &[Rule],
        is_wanted: &dyn Fn(&Rule) -> bool,
        terms: &[Term],
        sought: &[Sought],
        hidden: &[usize],
        effects: &Arc<[Effect]>,
    ) -> Result<Self, SameTerm> {
        let (mut groups, mut made): (Self, Vec<Arc<Group>>) = (Self::default(), Vec::new());
        let mut group_of = |numbers: Vec<usize>| -> Result<Arc<Group>, SameTerm> {
            if let Some(known) = made.iter().find(|group| group.rules == numbers) {
                return Ok(Arc::clone(known));
            }
            let search = |is_acting: bool| {
                let mut wanted = vec![false; rules.len()];
                for number in &numbers {
                    if let (Some(wanted), Some(rule)) = (wanted.get_mut(*number), rules.get(*number)) {
                        *wanted = is_acting == rule.acts();
                    }
                }
                let is_wanted = |rule: usize| wanted.get(rule).copied().unwrap_or_default();
                // The number of a term stays the one that it has among all.
                let sought = sought.iter().filter(|sought| is_wanted(sought.rule)).cloned().collect();
                let hidden = hidden.iter().copied().filter(|rule| is_wanted(*rule)).collect();
                Search::new(terms, &is_wanted, sought, hidden, Arc::clone(effects))
            };
            let group = Arc::new(Group { acting: search(true)?, watching: search(false)?, rules: numbers });
            made.push(Arc::clone(&group));
            Ok(group)
        };
        let restores = rules.iter().any(|rule| rule.is_reversible && is_wanted(rule));
        let numbers = |covers: &dyn Fn(&Rule) -> bool| -> Vec<usize> {
            (0..rules.len()).filter(|at| rules.get(*at).is_some_and(|rule| is_wanted(rule) && covers(rule))).collect()
        };
        for scope in InRequest::ALL {
            let numbers = numbers(&|rule| rule.request.contains(&scope));
            if !numbers.is_empty() {
                groups.request.push((scope, group_of(numbers)?));
            }
        }
        for scope in InAnswer::ALL {
            let numbers = numbers(&|rule| rule.answer.contains(&scope));
            // Placeholders are restored also where no rule searches.
            if !numbers.is_empty() || (restores && scope.is_restored()) {
                groups.answer.push((scope, group_of(numbers)?));
            }
        }
        Ok(groups)
    }

    pub(super) fn of_request(&self, scope: InRequest) -> Option<&Arc<Group>> {
        self.request.iter().find(|(known, _)| *known == scope).map(|(_, group)| group)
    }

    pub(super) fn of_answer(&self, scope: InAnswer) -> Option<&Arc<Group>> {
        self.answer.iter().find(|(known, _)| *known == scope).map(|(_, group)| group)
    }

    /// Each group once.
    pub(super) fn all(&self) -> Vec<&Group> {
        let mut groups: Vec<&Arc<Group>> = Vec::new();
        for group in self.request.iter().map(|(_, group)| group).chain(self.answer.iter().map(|(_, group)| group)) {
            if !groups.iter().any(|known| Arc::ptr_eq(known, group)) {
                groups.push(group);
            }
        }
        groups.into_iter().map(AsRef::as_ref).collect()
    }

    pub(super) fn has_requests(&self) -> bool {
        !self.request.is_empty()
    }

    pub(super) fn has_answers(&self, is_wanted: impl Fn(InAnswer) -> bool) -> bool {
        self.answer.iter().any(|(scope, _)| is_wanted(*scope))
    }
}
