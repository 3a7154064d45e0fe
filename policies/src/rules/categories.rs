//! Rules for categories of which a service tells: which texts they are for.

mod work;

pub(super) use work::Asked;

use weir::document::DocumentError;

use super::config::{Action, InAnswer, RawRule, Rule};
use crate::in_request::InRequest;
use crate::moderation::{MAX_NAME_BYTES, Sought};

/// Most categories of a rule.
const MAX_CATEGORIES: usize = 64;

/// Which of these rules are for which texts.
#[derive(Debug, Default)]
pub(super) struct ByCategory {
    request: Vec<(InRequest, Vec<usize>)>,
    answer: Vec<(InAnswer, Vec<usize>)>,
    /// Texts of answers that wait until the service has answered.
    holding: Vec<InAnswer>,
}

impl ByCategory {
    /// Sorts the rules by their texts, and checks that a service is named where it is needed, and that no other rule edits the same
    /// texts of answers as they flow.
    pub(super) fn new(rules: &[Rule], has_service: bool) -> Result<Self, DocumentError> {
        let own = || rules.iter().enumerate().filter(|(_, rule)| rule.categories.is_some());
        if has_service && own().next().is_none() {
            return Err(DocumentError::new("moderation", "no rule has categories"));
        }
        for (number, rule) in own() {
            if !has_service {
                let message = format!("rule {:?} needs a service that tells of categories: name it under moderation", rule.id);
                return Err(DocumentError::new(format!("rules[{number}].match.categories"), message));
            }
            let restores = rules.iter().any(|rule| rule.is_reversible) && rule.answer.iter().any(|scope| scope.is_restored());
            if restores && rule.acts() {
                let message = format!(
                    "rule {:?} holds each text whole, and placeholders are restored in it as it flows: give one of them an entry of \
                     the chain of its own",
                    rule.id
                );
                return Err(DocumentError::new(format!("rules[{number}].answer"), message));
            }
            for other in rules.iter().filter(|other| other.categories.is_none() && other.action.edits()) {
                if let Some(scope) = rule.answer.iter().find(|scope| other.answer.contains(scope)) {
                    let (id, scope, other) = (&rule.id, scope.name(), &other.id);
                    let message = format!(
                        "rule {id:?} asks about each {scope} when it is whole, and rule {other:?} edits {scope} as it flows: \
                         give one of them an entry of the chain of its own, or other texts"
                    );
                    return Err(DocumentError::new(format!("rules[{number}].answer"), message));
                }
            }
        }
        let numbers = |covers: &dyn Fn(&Rule) -> bool| {
            let numbers: Vec<_> = own().filter(|(_, rule)| covers(rule)).map(|(number, _)| number).collect();
            Some(numbers).filter(|numbers| !numbers.is_empty())
        };
        let request =
            InRequest::ALL.into_iter().filter_map(|scope| Some((scope, numbers(&|rule| rule.request.contains(&scope))?)));
        let answer = InAnswer::ALL.into_iter().filter_map(|scope| Some((scope, numbers(&|rule| rule.answer.contains(&scope))?)));
        let holds = |scope: &InAnswer| own().any(|(_, rule)| rule.acts() && rule.answer.contains(scope));
        Ok(Self {
            request: request.collect(),
            answer: answer.collect(),
            holding: InAnswer::ALL.into_iter().filter(holds).collect(),
        })
    }

    pub(super) fn of_request(&self, scope: InRequest) -> &[usize] {
        self.request.iter().find(|(known, _)| *known == scope).map_or(&[], |(_, rules)| rules)
    }

    pub(super) fn of_answer(&self, scope: InAnswer) -> &[usize] {
        self.answer.iter().find(|(known, _)| *known == scope).map_or(&[], |(_, rules)| rules)
    }

    pub(super) fn has_requests(&self) -> bool {
        !self.request.is_empty()
    }

    pub(super) fn has_answers(&self, is_wanted: impl Fn(InAnswer) -> bool) -> bool {
        self.answer.iter().any(|(scope, _)| is_wanted(*scope))
    }

    /// Says whether texts of answers wait until the service has answered.
    pub(super) fn holds(&self, scope: InAnswer) -> bool {
        self.holding.contains(&scope)
    }

    pub(super) fn holds_any(&self) -> bool {
        !self.holding.is_empty()
    }
}

/// Reads the categories that a rule is for; `None` where it is searched for.
pub(super) fn read(raw: &RawRule) -> Result<Option<Sought>, DocumentError> {
    let Some(names) = &raw.r#match.categories else { return Ok(None) };
    let fail = |field: &str, message: String| Err(DocumentError::new(field, message));
    if raw.r#match.has_others() {
        return fail("match", "must have one of terms, pattern, detect and categories".to_owned());
    }
    if names.is_empty() || names.len() > MAX_CATEGORIES {
        return fail("match.categories", format!("must have 1 to {MAX_CATEGORIES} categories"));
    }
    if let Some(at) = names.iter().position(|name| name.is_empty() || name.len() > MAX_NAME_BYTES) {
        return fail(&format!("match.categories[{at}]"), format!("must have 1 to {MAX_NAME_BYTES} bytes"));
    }
    let threshold = raw.r#match.threshold;
    if threshold.is_some_and(|threshold| !(0.0..=1.0).contains(&threshold)) {
        return fail("match.threshold", "must be between 0 and 1".to_owned());
    }
    if raw.action == Action::Rewrite {
        return fail(
            "action",
            format!("rule {:?} cannot rewrite by categories: a template is for what a pattern matches", raw.id),
        );
    }
    if raw.reversible {
        return fail("reversible", "is for what a rule searches for".to_owned());
    }
    if !raw.allowed.is_empty() {
        return fail("allowed", "is for patterns and detectors".to_owned());
    }
    let is_argument = |scope: &InRequest| *scope == InRequest::ToolArgument;
    if raw.request.iter().flatten().any(is_argument) {
        let message = format!(
            "rule {:?} cannot ask about tool_argument: arguments are values that a tool was called with, no text",
            raw.id
        );
        return fail("request", message);
    }
    let replaces = matches!(raw.action, Action::Redact | Action::Replace);
    let cannot = |scope: &&InAnswer| **scope == InAnswer::ToolArgument || (replaces && !InAnswer::SUMMARISED.contains(scope));
    match raw.answer.iter().flatten().find(cannot) {
        Some(InAnswer::ToolArgument) => {
            fail("answer", format!("rule {:?} cannot ask about tool_argument: arguments are values, no text", raw.id))
        }
        Some(scope) => {
            let message = format!("rule {:?} cannot replace each {}: text and tool_result alone can be", raw.id, scope.name());
            fail("answer", message)
        }
        None => Ok(Some(Sought { names: names.clone(), threshold })),
    }
}
