//! Rules: terms, patterns, detectors and categories, and what is done where they match.

mod categories;
pub(crate) mod config;
mod detect;
mod evidence;
mod finder;
mod groups;
mod placeholder;
mod request;
mod search;
mod searched;
mod summary;
mod template;
mod texts;
mod tool_calls;

use serde_json::{Map, Value, json};
use weir::block::{BlockKind, ContentBlock, ToolCallBlock};
use weir::decision::Decision;
use weir::dialect::Dialect;
use weir::document::{DocumentError, PolicyConfig, parse};
use weir::event::Severity;
use weir::exchange::{End, Request};
use weir::policy::{
    BlockAction, Conclusion, DeltaAction, Hold, Interests, Policy, PolicyContext, Refusal, RequestAction, SharedPolicy,
    StreamingContext,
};

use categories::{Asked, ByCategory};
pub use config::RuleHold;
use config::{Action, Book, Config, InAnswer, Rule};
use groups::{Group, Groups};
use placeholder::{Key, Placeholders};
use searched::Way;
use texts::{Done, Side, Texts};

use crate::joined::TextKey;
use crate::moderation::Moderation;
use crate::writer::Writer;

/// The word by which it is counted that replacements would make a text too long.
const TOO_LONG: &str = "rewritten_too_large";

/// Finds terms, patterns, values of known forms and categories in requests and answers, and redacts, replaces, refuses, or tells of them.
///
/// Rules search the normalised view of a text, which is not changed by it: see [`crate`]'s README. What waits is the end of the text
/// that could still become part of a match; a pattern is decided at its shortest match, and what continues it goes with it.
///
/// Events: `rules.matched`, at the end of an exchange in which a rule matched; `rules.summarised`, `rules.summary_failed`; `rules.categorised`,
/// `rules.moderation_failed`. Reason codes: those of the rules, or `RULE_REDACTED`, `RULE_REPLACED`, `RULE_REWRITTEN`, `RULE_REFUSED`,
/// `RULE_ESCALATED`, `RULE_SUMMARISED`, `SUMMARY_FAILED`, `MODERATION_FAILED`, `NOT_ALLOWED`.
#[derive(Debug)]
pub struct Rules {
    rules: Vec<Rule>,
    groups: Groups,
    /// The rules by which whole texts are summarised, and the model that does it where there are such rules.
    summaries: Groups,
    writer: Option<Writer>,
    placeholders: Option<Placeholders>,
    /// The rules for categories, and the service that tells of them where there are such rules.
    by_category: ByCategory,
    moderation: Option<Moderation>,
}

impl Rules {
    /// Reads a configuration: what stands under `with`, and the judges of the document.
    ///
    /// # Errors
    /// When anything in it is wrong, with the path of the field.
    pub fn new(config: PolicyConfig<'_>) -> Result<Self, DocumentError> {
        let mut raw: Config = parse(config.with)?;
        let key = Key::read(raw.key.take(), raw.key_env.take(), config.environment)?;
        let Book { rules, groups, summaries, summary, by_category, moderation } = config::compile(raw)?;
        let placeholders = Placeholders::new(key, &rules)?;
        let writer = summary.map(|settings| Writer::new(settings, config).map_err(|error| error.below("summary"))).transpose()?;
        let moderation = moderation.map(|settings| Moderation::new(settings, config)).transpose();
        let moderation = moderation.map_err(|error| error.below("moderation"))?;
        Ok(Self { rules, groups, summaries, writer, placeholders, by_category, moderation })
    }

    /// Gives how much text can wait for each rule of a configuration: what stands under `with`.
    ///
    /// # Errors
    /// When anything in it is wrong, with the path of the field.
    pub fn holds_of(with: &str) -> Result<Vec<RuleHold>, DocumentError> {
        Ok(config::compile(parse(with)?)?.rules.iter().map(Rule::hold).collect())
    }

    /// Gives how much text can wait for each rule.
    pub fn holds(&self) -> Vec<RuleHold> {
        self.rules.iter().map(Rule::hold).collect()
    }

    fn rule(&self, number: usize) -> Option<&Rule> {
        self.rules.get(number)
    }

    fn searches_requests(&self) -> bool {
        self.groups.has_requests() || self.summaries.has_requests() || self.by_category.has_requests()
    }

    /// Tells which text of an answer a block is.
    fn scope_of(block: &ContentBlock, cx: &StreamingContext<Texts>) -> Option<InAnswer> {
        let is_mcp = cx.scratchpad(|texts| texts.is_mcp);
        let is_mcp = is_mcp.unwrap_or_else(|| {
            let is_mcp = cx.request().dialect == Some(Dialect::McpTool);
            cx.scratchpad(|texts| texts.is_mcp = Some(is_mcp));
            is_mcp
        });
        InAnswer::of(block.kind(), is_mcp)
    }

    /// What becomes of placeholders in a text of an answer.
    fn way_of(&self, scope: InAnswer) -> Way {
        if self.placeholders.as_ref().is_some_and(|placeholders| placeholders.restores(scope)) { Way::Restore } else { Way::Keep }
    }

    /// Searches a delta of a text as it flows.
    fn search_delta<'d>(
        &self,
        (group, way): (&Group, Way),
        delta: &'d str,
        block: &ContentBlock,
        cx: &StreamingContext<Texts>,
    ) -> DeltaAction<'d> {
        let (key, most_growth) = (TextKey::of(block), cx.limits().max_rewritten_bytes);
        let (action, done) = cx.scratchpad(|texts| {
            texts.output.edited.most_growth = Some(most_growth);
            let action = match key {
                TextKey::Unknown(_) => texts.watch_delta(group, key, delta),
                TextKey::Joined { .. } => texts.take_delta(group, way, key, delta),
            };
            (action, texts.count(Side::Answer))
        });
        self.say_of_answer(&done, cx);
        action
    }

    /// Decides what is undecided of a text that flows, as far as a block's end decides it.
    fn end_block(&self, group: &Group, block: &ContentBlock, cx: &StreamingContext<Texts>) -> BlockAction {
        let key = TextKey::of(block);
        let (action, done) = cx.scratchpad(|texts| {
            let action = match key {
                TextKey::Unknown(_) => texts.end_watch(group, key),
                TextKey::Joined { .. } => texts.end_block(key),
            };
            (action, texts.count(Side::Answer))
        });
        self.say_of_answer(&done, cx);
        action
    }

    /// Says what a step did; the rule by which all that follows is refused.
    fn say(&self, done: &Done, cx: &PolicyContext<Texts>) -> Option<&Rule> {
        for rule in done.new.iter().filter_map(|number| self.rule(*number)) {
            let decision = match rule.action {
                Action::Redact | Action::Replace | Action::Rewrite => Decision::Rewrite,
                Action::Refuse => Decision::Refuse,
                Action::Escalate => Decision::Escalate,
                // Whether there is a summary is known later.
                Action::Summary => {
                    cx.note_denylist_hit(&rule.id);
                    continue;
                }
                Action::Observe | Action::Allow => Decision::Allow,
            };
            if rule.action == Action::Allow {
                cx.note_allowlist_hit(&rule.id);
                continue;
            }
            cx.note_denylist_hit(&rule.id);
            let mut conclusion = Conclusion::new(decision);
            if rule.action != Action::Observe {
                conclusion = conclusion.because(rule.reason_code.as_str());
            }
            if let Some(category) = &rule.category {
                conclusion = conclusion.in_category(category.as_str());
            }
            cx.record(&conclusion);
        }
        if done.exceeded {
            cx.count_failure(TOO_LONG);
            cx.conclude(Decision::Refuse, "REWRITTEN_TOO_LARGE");
            let summary = "Withheld the rest of the text: rules would make it longer than limits.max_rewritten_bytes allows";
            cx.emit("rules.rewritten_too_large", summary, Severity::Error, Value::Null);
        }
        done.refused.and_then(|rule| self.rule(rule))
    }

    /// As [`Self::say`], of an answer.
    fn say_of_answer(&self, done: &Done, cx: &StreamingContext<Texts>) {
        if let Some(rule) = self.say(done, cx) {
            cx.refuse_output(refusal(rule));
        }
    }
}

/// Whether a block cannot be taken as a whole for one text.
fn is_unclear(block: &ContentBlock) -> bool {
    block.is_truncated() || (block.ambiguity().is_some() && block.kind() != BlockKind::Unknown)
}

fn refusal(rule: &Rule) -> Refusal {
    Refusal::new(403, rule.message.as_str()).with_code("rule_refused")
}

impl Policy<Texts> for Rules {
    fn greatest_hold(&self) -> Hold {
        if self.summaries.has_answers(|_| true) || self.by_category.holds_any() {
            return Hold::Texts;
        }
        let most = self.holds().iter().map(|hold| hold.bytes).max().unwrap_or_default();
        let placeholder = self.placeholders.as_ref().map_or(0, |_| placeholder::MAX_BYTES);
        Hold::Bytes(most.saturating_add(placeholder))
    }

    fn interests(&self) -> Interests {
        let searches_requests = self.searches_requests();
        let wants_texts = self.summaries.has_answers(|_| true) || self.by_category.has_answers(|_| true);
        let is_reasoning = |scope| scope == InAnswer::Reasoning;
        Interests {
            content: wants_texts || self.groups.has_answers(|scope| scope != InAnswer::ToolArgument),
            content_text: wants_texts,
            reasoning: self.groups.has_answers(is_reasoning) || self.by_category.has_answers(is_reasoning),
            tool_calls: self.groups.has_answers(|scope| scope == InAnswer::ToolArgument),
            request_parts: searches_requests,
            rewrites_request: searches_requests,
            ..Interests::CONTENT_DELTAS
        }
    }

    fn describe(&self) -> Value {
        json!({ "rules": self.rules.len() })
    }

    fn redact(&self, text: &str) -> Option<String> {
        self.redact_shown(text)
    }

    async fn on_request(&self, request: &Request, cx: &PolicyContext<Texts>) -> RequestAction {
        if self.searches_requests() { self.search_request(request, cx).await } else { RequestAction::SendRequest }
    }

    fn on_content_delta<'d>(&self, delta: &'d str, block: &ContentBlock, cx: &StreamingContext<Texts>) -> DeltaAction<'d> {
        let Some(scope) = Self::scope_of(block, cx) else { return DeltaAction::Forward };
        let action = self.groups.of_answer(scope).map(|group| self.search_delta((group, self.way_of(scope)), delta, block, cx));
        // Where a text is held whole, the rules that see it flow change nothing of it.
        let is_held = self.summaries.of_answer(scope).is_some() || self.by_category.holds(scope);
        if is_held { DeltaAction::Hold } else { action.unwrap_or(DeltaAction::Forward) }
    }

    async fn on_content_complete(&self, block: &ContentBlock, cx: &StreamingContext<Texts>) -> BlockAction {
        let Some(scope) = Self::scope_of(block, cx) else { return BlockAction::Forward };
        let action = self.groups.of_answer(scope).map(|group| self.end_block(group, block, cx));
        let by_category = match self.categorise_block(scope, block, cx).await {
            Asked::Decided(action) => return action,
            Asked::Open(rules) => rules,
        };
        let group = self.summaries.of_answer(scope);
        if group.is_some() || !by_category.is_empty() {
            return self.summarise_block(group.map(AsRef::as_ref), by_category, block, cx).await;
        }
        action.unwrap_or(BlockAction::Forward)
    }

    fn on_text_end<'d>(&self, _: &'d str, choice: u32, kind: BlockKind, cx: &StreamingContext<Texts>) -> DeltaAction<'d> {
        let is_mcp = cx.scratchpad(|texts| texts.is_mcp) == Some(true);
        let Some(group) = InAnswer::of(kind, is_mcp).and_then(|scope| self.groups.of_answer(scope)) else {
            return DeltaAction::Forward;
        };
        let (action, done) = cx.scratchpad(|texts| {
            let action = texts.end(group, TextKey::Joined { choice, kind });
            (action, texts.count(Side::Answer))
        });
        self.say_of_answer(&done, cx);
        action
    }

    fn on_tool_call_delta<'d>(&self, _: &'d str, _: &ToolCallBlock, cx: &StreamingContext<Texts>) -> DeltaAction<'d> {
        // Only whole arguments can be read as what they are.
        let is_searched = self.groups.of_answer(InAnswer::ToolArgument).is_some_and(|group| !group.is_empty());
        if is_searched || cx.scratchpad(|texts| texts.restores()) { DeltaAction::Hold } else { DeltaAction::Forward }
    }

    async fn on_tool_call_complete(&self, block: &ToolCallBlock, cx: &StreamingContext<Texts>) -> BlockAction {
        self.search_tool_call(block, cx)
    }

    fn on_stream_complete(&self, _: &End, cx: &PolicyContext<Texts>) {
        let (counts, most_held, restored) =
            cx.scratchpad(|texts| (std::mem::take(&mut texts.counts), texts.most_held, texts.restored));
        if counts.is_empty() {
            return;
        }
        let (mut by_rule, mut total, mut severity) = (Map::new(), 0_u64, Severity::Info);
        for count in counts {
            let Some(rule) = self.rule(count.rule) else { continue };
            total = total.saturating_add(count.request).saturating_add(count.answer);
            if rule.action == Action::Refuse {
                severity = Severity::Warning;
            }
            let entry = json!({ "action": rule.action, "request": count.request, "answer": count.answer });
            by_rule.insert(rule.id.clone(), entry);
        }
        let rules = by_rule.len();
        let mut metadata = Map::new();
        metadata.insert("matches".to_owned(), total.into());
        metadata.insert("by_rule".to_owned(), by_rule.into());
        metadata.insert("held_bytes".to_owned(), most_held.into());
        if self.placeholders.is_some() {
            metadata.insert("restored".to_owned(), restored.into());
        }
        cx.emit("rules.matched", format!("{total} matches of {rules} rules"), severity, metadata.into());
    }
}

pub(crate) fn make(config: PolicyConfig<'_>) -> Result<SharedPolicy, DocumentError> {
    Ok(SharedPolicy::new("Rules", Rules::new(config)?))
}

#[cfg(test)]
mod tests;
