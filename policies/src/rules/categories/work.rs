//! Rules at work that a service is asked for.

use serde_json::{Map, Value, json};
use smallvec::SmallVec;
use weir::block::{BlockKind, ContentBlock, build_text_chunk};
use weir::decision::Decision;
use weir::event::Severity;
use weir::limits::FailureMode;
use weir::policy::{BlockAction, Conclusion, PolicyContext, Refusal, StreamingContext};

use super::super::config::{Action, InAnswer, REDACTED, Rule};
use super::super::request::{Allowance, Part};
use super::super::texts::{Side, Texts};
use super::super::{Rules, is_unclear, refusal};
use crate::moderation::{Failure, Moderation, Opinion};

/// Most texts of a request that events tell of, one by one.
const MAX_TOLD: usize = 32;

/// The word by which it is counted that the service did not answer.
const FAILED: &str = "rules_moderation";

/// A rule for a category that a text is of.
struct Found {
    rule: usize,
    /// The categories, with their scores.
    categories: Vec<(String, Option<f64>)>,
}

/// What is known of a text.
#[derive(Default)]
struct Told {
    found: Vec<Found>,
    failure: Option<Failure>,
    /// A rule that would keep something from leaving is undecided for it.
    is_undecided: bool,
}

/// What becomes of a text.
enum Fate<'r> {
    Pass,
    Refuse(&'r Rule),
    Replace(&'r str),
    /// A summary takes its place, by these rules.
    Summarise(SmallVec<[usize; 2]>),
}

/// What the service came to about a block.
pub(in super::super) enum Asked {
    Decided(BlockAction),
    /// These rules have it summarised, where there are any.
    Open(SmallVec<[usize; 2]>),
}

impl Rules {
    /// Asks about texts of a request, as the other rules left them, and marks what becomes of each. An error where the request is
    /// not to leave.
    pub(in super::super) async fn categorise_parts(
        &self,
        parts: &mut [Part<'_>],
        allowance: &mut Allowance,
        cx: &PolicyContext<Texts>,
    ) -> Result<(), Refusal> {
        let Some(moderation) = &self.moderation else { return Ok(()) };
        let is_asked = |part: &Part<'_>| !self.by_category.of_request(part.scope).is_empty() && !part.text().trim().is_empty();
        let texts: Vec<&str> = parts.iter().filter(|part| is_asked(part)).map(Part::text).collect();
        if texts.is_empty() {
            return Ok(());
        }
        let opinions = moderation.ask(&texts, cx).await;
        let (mut refused, mut undecided, mut failures, mut told_of) = (None, false, Vec::new(), 0_usize);
        for (part, opinion) in parts.iter_mut().filter(|part| is_asked(part)).zip(opinions) {
            let told = self.sort(self.by_category.of_request(part.scope), opinion);
            if !told.found.is_empty() {
                told_of = told_of.saturating_add(1);
                let place = (told_of <= MAX_TOLD).then(|| Value::from(part.part.path.as_str()));
                self.tell_of_found(moderation, &told.found, Side::Request, place, cx);
            }
            let passes_open = told.is_undecided && moderation.settings.on_error == FailureMode::Allow;
            if passes_open || told.found.iter().any(|found| self.is_allow(found.rule)) {
                allowance.allow(&part.part.path);
            }
            failures.extend(told.failure);
            undecided |= told.is_undecided;
            match self.fate(&told.found) {
                Fate::Pass => {}
                Fate::Refuse(rule) => refused = refused.or(Some(rule)),
                Fate::Replace(with) => (part.edited, part.rules) = (Some(with.to_owned()), SmallVec::new()),
                Fate::Summarise(rules) => part.rules.extend(rules),
            }
        }
        let unchecked = self.tell_of_failures(moderation, &failures, undecided && refused.is_none(), Value::Null, cx);
        match refused {
            Some(rule) => Err(refusal(rule)),
            None => unchecked.map_or(Ok(()), Err),
        }
    }

    /// Asks about a block of an answer.
    pub(in super::super) async fn categorise_block(
        &self,
        scope: InAnswer,
        block: &ContentBlock,
        cx: &StreamingContext<Texts>,
    ) -> Asked {
        let (rules, text) = (self.by_category.of_answer(scope), block.text());
        let Some(moderation) = self.moderation.as_ref().filter(|_| !rules.is_empty()) else {
            return Asked::Open(SmallVec::new());
        };
        let is_unclear = is_unclear(block);
        if text.trim().is_empty() && !is_unclear {
            return Asked::Open(SmallVec::new());
        }
        if self.by_category.holds(scope) {
            cx.scratchpad(|texts| texts.most_held = texts.most_held.max(text.len()));
        }
        // A service that is asked about one text answers about one.
        let opinion = if is_unclear { None } else { moderation.ask(&[text], cx).await.pop() };
        let told = self.sort(rules, opinion.unwrap_or(Err(Failure::Incomplete)));
        let place = || Value::from(block.choice());
        if !told.found.is_empty() {
            self.tell_of_found(moderation, &told.found, Side::Answer, Some(place()), cx);
        }
        let fate = self.fate(&told.found);
        let is_undecided = told.is_undecided && !matches!(fate, Fate::Refuse(_));
        let unchecked = self.tell_of_failures(moderation, told.failure.as_slice(), is_undecided, place(), cx);
        let refused = match &fate {
            Fate::Refuse(rule) => Some(refusal(rule)),
            _ => unchecked,
        };
        if let Some(refused) = refused {
            cx.refuse_output(refused);
            return Asked::Decided(BlockAction::Drop);
        }
        match fate {
            Fate::Replace(with) if block.kind() != BlockKind::Unknown && !with.is_empty() => {
                Asked::Decided(BlockAction::Replace(build_text_chunk(block.choice(), with)))
            }
            Fate::Replace(_) => Asked::Decided(BlockAction::Drop),
            Fate::Summarise(rules) => Asked::Open(rules),
            Fate::Pass | Fate::Refuse(_) => Asked::Open(SmallVec::new()),
        }
    }

    /// Finds the rules that a text is for, among those that it could be for.
    fn sort(&self, rules: &[usize], opinion: Result<Opinion, Failure>) -> Told {
        let mut told = Told::default();
        for number in rules {
            let Some((rule, sought)) = self.rule(*number).and_then(|rule| Some((rule, rule.categories.as_ref()?))) else {
                continue;
            };
            let found = match &opinion {
                Ok(opinion) => opinion.find(sought).map(|names| (opinion, names)),
                Err(failure) => Err(*failure),
            };
            match found {
                Ok((_, names)) if names.is_empty() => {}
                Ok((opinion, names)) => {
                    let categories = names.into_iter().map(|name| (name.to_owned(), opinion.score(name))).collect();
                    told.found.push(Found { rule: *number, categories });
                }
                Err(failure) => {
                    told.failure = Some(failure);
                    told.is_undecided |= rule.acts() || rule.action == Action::Allow;
                }
            }
        }
        told
    }

    /// Decides what becomes of a text: of what rules say the most restrictive counts, of those that replace it the first.
    fn fate(&self, found: &[Found]) -> Fate<'_> {
        let with = |is_wanted: &dyn Fn(Action) -> bool| {
            found
                .iter()
                .filter_map(|found| Some((found.rule, self.rule(found.rule)?)))
                .filter(|(_, rule)| is_wanted(rule.action))
                .collect::<Vec<_>>()
        };
        if let Some((_, rule)) = with(&|action| action == Action::Refuse).first() {
            return Fate::Refuse(rule);
        }
        if let Some((_, rule)) = with(&|action| matches!(action, Action::Redact | Action::Replace | Action::Rewrite)).first() {
            return Fate::Replace(rule.with.as_deref().unwrap_or(REDACTED));
        }
        let summarising = with(&|action| action == Action::Summary);
        if summarising.is_empty() { Fate::Pass } else { Fate::Summarise(summarising.iter().map(|(rule, _)| *rule).collect()) }
    }

    fn tell_of_found(
        &self,
        moderation: &Moderation,
        found: &[Found],
        side: Side,
        place: Option<Value>,
        cx: &PolicyContext<Texts>,
    ) {
        let done = cx.scratchpad(|texts| {
            texts.begin();
            found.iter().for_each(|found| texts.output.hits.push(found.rule));
            texts.count(side)
        });
        let _refuses_nothing = self.say(&done, cx);
        let mut categories = Map::new();
        // What is concluded besides is the rules' own.
        let mut conclusion = Conclusion::new(Decision::Allow);
        for (name, score) in found.iter().flat_map(|found| &found.categories) {
            conclusion = conclusion.in_category(name.as_str());
            categories.insert(name.clone(), json!(score));
        }
        cx.record(&conclusion);
        let Some(place) = place else { return };
        let rules: Vec<_> = found.iter().filter_map(|found| self.rule(found.rule)).map(|rule| rule.id.as_str()).collect();
        let details = json!({"rules": rules, "judge": moderation.judge(), "categories": categories, "place": place});
        cx.emit("rules.categorised", "A text is of a category that a rule is for", Severity::Info, details);
    }

    /// Tells that nothing is known of texts. Gives the refusal, where what rules are undecided about is not to pass.
    fn tell_of_failures(
        &self,
        moderation: &Moderation,
        failures: &[Failure],
        is_undecided: bool,
        place: Value,
        cx: &PolicyContext<Texts>,
    ) -> Option<Refusal> {
        let failure = failures.first()?;
        let is_refused = is_undecided && moderation.settings.on_error == FailureMode::Block;
        let details = json!({"error": failure.name(), "texts": failures.len(), "judge": moderation.judge(), "failed_open": !is_refused,
            "place": place});
        cx.emit("rules.moderation_failed", format!("No categories: {failure}"), Severity::Error, details);
        cx.count_failure(FAILED);
        if !is_refused {
            cx.count_failed_open(FAILED);
            return None;
        }
        cx.conclude(Decision::Refuse, "MODERATION_FAILED");
        Some(Refusal::new(503, moderation.settings.message.as_str()).with_code("moderation_failed"))
    }
}
