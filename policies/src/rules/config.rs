//! The configuration of `rules`, read and compiled.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use weir::block::BlockKind;
use weir::document::DocumentError;
use weir::policy::Hold;

use super::categories::ByCategory;
use super::detect::{self, HIDDEN_TEXT};
use super::groups::Groups;
use super::search::{Effect, Sought, Term};
use super::template::{Rewriting, Template};
use crate::in_request::InRequest;
use crate::moderation::{self, Sought as SoughtCategories};
use crate::normal::{fold, normalised};
use crate::pattern::Pattern;
use crate::writer::Settings;

/// Most rules of a policy.
const MAX_RULES: usize = 1000;

/// Most terms of all rules, and most bytes that they have together.
const MAX_TERMS: usize = 20_000;
const MAX_TERM_BYTES: usize = 512 * 1024;

/// Most bytes that the automata of all patterns may take.
const MAX_PATTERN_BYTES: usize = 4 * 1024 * 1024;

/// Most bytes of an id, a replacement, a message, a pattern.
const MAX_ID_BYTES: usize = 128;
const MAX_WITH_BYTES: usize = 4096;

/// What takes the place of a match where a rule does not say.
pub(super) const REDACTED: &str = "[redacted]";

/// Most allowed values of a rule.
const MAX_ALLOWED: usize = 1000;

/// Most bytes of one character of the view in a text: what a mathematical letter has.
const MOST_BYTES: usize = 4;

#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    rules: Vec<RawRule>,
    /// The model that writes summaries, for rules with that action.
    summary: Option<Settings>,
    /// The secret that placeholders of reversible rules are made with.
    pub(super) key: Option<String>,
    /// Name of the environment variable that holds it.
    pub(super) key_env: Option<String>,
    /// The service that tells of which categories texts are, for rules that match by them.
    moderation: Option<moderation::Settings>,
}

#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct RawRule {
    pub(super) id: String,
    pub(super) r#match: RawMatch,
    #[serde(default)]
    pub(super) action: Action,
    with: Option<String>,
    /// What takes the place of a match: `$0` is all of it, `${1}` its first group, `$$` the character.
    template: Option<String>,
    message: Option<String>,
    pub(super) request: Option<Vec<InRequest>>,
    pub(super) answer: Option<Vec<InAnswer>>,
    reason_code: Option<String>,
    category: Option<String>,
    #[serde(default)]
    pub(super) allowed: Vec<String>,
    capture: Option<u8>,
    /// Values in requests get placeholders, which are restored in the answer.
    #[serde(default)]
    pub(super) reversible: bool,
}

#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct RawMatch {
    terms: Option<Vec<String>>,
    pattern: Option<String>,
    detect: Option<Vec<String>>,
    /// Categories of the moderation service.
    pub(super) categories: Option<Vec<String>>,
    /// The least score of such a category.
    pub(super) threshold: Option<f64>,
    #[serde(default)]
    case_sensitive: bool,
}

impl RawMatch {
    /// Says whether it has something besides categories.
    pub(super) const fn has_others(&self) -> bool {
        self.terms.is_some() || self.pattern.is_some() || self.detect.is_some() || self.case_sensitive
    }
}

/// What is done where a rule matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum Action {
    /// A mark takes the place of the match.
    #[default]
    Redact,
    /// Another text does.
    Replace,
    /// A template does, with parts of the match.
    Rewrite,
    /// The request, or the rest of the answer, does not leave.
    Refuse,
    /// A summary that a model writes takes the place of the whole text.
    Summary,
    /// A person is to look at it; nothing is changed.
    Escalate,
    /// It is counted.
    Observe,
    /// A request without any match of such a rule does not leave.
    Allow,
}

/// What texts of answers a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum InAnswer {
    Text,
    Refusal,
    Reasoning,
    ToolArgument,
    ToolResult,
}

impl InAnswer {
    pub(super) const ALL: [Self; 5] = [Self::Text, Self::Refusal, Self::Reasoning, Self::ToolArgument, Self::ToolResult];

    /// What a rule is for that does not say. Not reasoning: where it may be signed, it has to wait until that is known.
    const USUAL: [Self; 4] = [Self::Text, Self::Refusal, Self::ToolArgument, Self::ToolResult];

    /// Those of a summary, and those that it can be for: a call's arguments are no text, and reasoning may be signed.
    pub(super) const SUMMARISED: [Self; 2] = [Self::Text, Self::ToolResult];

    /// Says whether placeholders are restored in such texts.
    pub(super) const fn is_restored(self) -> bool {
        matches!(self, Self::Text | Self::Refusal | Self::ToolArgument)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Refusal => "refusal",
            Self::Reasoning => "reasoning",
            Self::ToolArgument => "tool_argument",
            Self::ToolResult => "tool_result",
        }
    }

    /// The texts of what a server of MCP answers are results of tools.
    pub(super) const fn of(kind: BlockKind, is_mcp: bool) -> Option<Self> {
        match kind {
            BlockKind::Text | BlockKind::Unknown => Some(if is_mcp { Self::ToolResult } else { Self::Text }),
            BlockKind::Refusal => Some(Self::Refusal),
            BlockKind::Reasoning => Some(Self::Reasoning),
            _ => None,
        }
    }
}

/// A rule, as far as it is not searching.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) id: String,
    pub(super) action: Action,
    pub(super) message: String,
    pub(super) reason_code: String,
    pub(super) category: Option<String>,
    pub(super) request: Vec<InRequest>,
    pub(super) answer: Vec<InAnswer>,
    /// Values in requests get placeholders, which are restored in the answer.
    pub(super) is_reversible: bool,
    /// How many characters can wait for it, unless it has whole texts wait.
    pub(super) hold: usize,
    /// The categories that it is for, where it is not searched for itself.
    pub(super) categories: Option<SoughtCategories>,
    /// What takes the place of a text of such a category.
    pub(super) with: Option<String>,
}

/// How much text can wait for a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleHold {
    /// The rule.
    pub id: String,
    /// Most characters that wait, invisible ones between them not counted.
    pub characters: usize,
    /// Most bytes that these have, where each comes in its longest form.
    pub bytes: usize,
    /// Whole texts wait for it, however long they are.
    pub holds_texts: bool,
}

impl RuleHold {
    /// Gives what waits.
    pub const fn hold(&self) -> Hold {
        if self.holds_texts { Hold::Texts } else { Hold::Bytes(self.bytes) }
    }
}

impl Rule {
    /// Says whether it keeps something from leaving as it came.
    pub(super) const fn acts(&self) -> bool {
        self.action.edits() || matches!(self.action, Action::Summary)
    }

    pub(super) fn hold(&self) -> RuleHold {
        let holds_whole = self.action == Action::Summary || (self.categories.is_some() && self.acts());
        let holds_texts = holds_whole && !self.answer.is_empty();
        RuleHold { id: self.id.clone(), characters: self.hold, bytes: self.hold.saturating_mul(MOST_BYTES), holds_texts }
    }
}

/// What is read of all rules.
#[derive(Default)]
struct Compiled {
    rules: Vec<Rule>,
    effects: Vec<Effect>,
    terms: Vec<Term>,
    term_paths: Vec<String>,
    sought: Vec<Sought>,
    hidden: Vec<usize>,
    term_bytes: usize,
    pattern_bytes: usize,
}

/// All rules, ready to search.
pub(super) struct Book {
    pub(super) rules: Vec<Rule>,
    /// Rules that work on texts as they flow.
    pub(super) groups: Groups,
    /// Rules by which a whole text is summarised.
    pub(super) summaries: Groups,
    pub(super) summary: Option<Settings>,
    /// Rules for what a service has to tell.
    pub(super) by_category: ByCategory,
    pub(super) moderation: Option<moderation::Settings>,
}

/// Compiles all rules.
pub(super) fn compile(config: Config) -> Result<Book, DocumentError> {
    if config.rules.is_empty() || config.rules.len() > MAX_RULES {
        return Err(DocumentError::new("rules", format!("must have 1 to {MAX_RULES} rules")));
    }
    let mut compiled = Compiled::default();
    for (number, raw) in config.rules.into_iter().enumerate() {
        compiled.add(number, raw).map_err(|error| error.below(&format!("rules[{number}]")))?;
    }
    let Compiled { mut rules, effects, terms, term_paths, sought, hidden, .. } = compiled;
    add_holds_beside(&mut rules);
    check_summaries(&rules, config.summary.as_ref())?;
    let by_category = ByCategory::new(&rules, config.moderation.is_some())?;
    let effects = effects.into();
    let group = |is_wanted: &dyn Fn(&Rule) -> bool| {
        Groups::new(&rules, is_wanted, &terms, &sought, &hidden, &effects).map_err(|same| {
            let path = |term: usize| term_paths.get(term).cloned().unwrap_or_default();
            DocumentError::new(path(same.later), format!("is the same as {}: keep one of the two", path(same.earlier)))
        })
    };
    let groups = group(&|rule| rule.categories.is_none() && rule.action != Action::Summary)?;
    let summaries = group(&|rule| rule.categories.is_none() && rule.action == Action::Summary)?;
    Ok(Book { rules, groups, summaries, summary: config.summary, by_category, moderation: config.moderation })
}

/// A match that is rewritten waits until no match of another rule can begin within it.
fn add_holds_beside(rules: &mut [Rule]) {
    let share = |one: &Rule, other: &Rule| {
        one.request.iter().any(|scope| other.request.contains(scope))
            || one.answer.iter().any(|scope| other.answer.contains(scope))
    };
    let hold = |(at, rule): (usize, &Rule)| {
        let others = rules.iter().enumerate().filter(|(other, _)| *other != at && rule.action == Action::Rewrite);
        let beside = others.filter(|(_, other)| share(rule, other)).map(|(_, other)| other.hold).max();
        rule.hold.saturating_add(beside.unwrap_or_default())
    };
    let holds: Vec<usize> = rules.iter().enumerate().map(hold).collect();
    for (rule, hold) in rules.iter_mut().zip(holds) {
        rule.hold = hold;
    }
}

/// Checks that summaries can be written, and that no rule edits as they flow the texts of answers that are held whole for one.
fn check_summaries(rules: &[Rule], summary: Option<&Settings>) -> Result<(), DocumentError> {
    let summarising = || rules.iter().enumerate().filter(|(_, rule)| rule.action == Action::Summary);
    if summary.is_some() && summarising().next().is_none() {
        return Err(DocumentError::new("summary", "no rule has the action summary"));
    }
    for (number, rule) in summarising() {
        if rules.iter().any(|rule| rule.is_reversible) && rule.answer.iter().any(|scope| scope.is_restored()) {
            let message = format!(
                "rule {:?} holds each text whole, and placeholders are restored in it as it flows: give one of them an entry of \
                 the chain of its own",
                rule.id
            );
            return Err(DocumentError::new(format!("rules[{number}].answer"), message));
        }
        if summary.is_none() {
            let message = format!("rule {:?} needs a model that writes: name it under summary", rule.id);
            return Err(DocumentError::new(format!("rules[{number}].action"), message));
        }
        for other in rules.iter().filter(|other| other.categories.is_none() && other.action.edits()) {
            if let Some(scope) = rule.answer.iter().find(|scope| other.answer.contains(scope)) {
                let (id, scope, other) = (&rule.id, scope.name(), &other.id);
                let message = format!(
                    "rule {id:?} holds each {scope} whole to summarise it, and rule {other:?} edits {scope} as it flows: \
                     give one of them an entry of the chain of its own, or other texts"
                );
                return Err(DocumentError::new(format!("rules[{number}].answer"), message));
            }
        }
    }
    Ok(())
}

impl Compiled {
    fn add(&mut self, number: usize, raw: RawRule) -> Result<(), DocumentError> {
        check(&raw)?;
        if self.rules.iter().any(|rule| rule.id == raw.id) {
            return Err(DocumentError::new("id", format!("{:?} stands before: ids tell rules apart in events", raw.id)));
        }
        let allowed: Arc<[Vec<char>]> = raw.allowed.iter().map(|value| normalised(value).map(fold).collect()).collect();
        let categories = super::categories::read(&raw)?;
        let longest_allowed = allowed.iter().map(Vec::len).max().unwrap_or_default();
        let (hold, rewriting) = match &raw.template {
            Some(template) => self.add_rewriting(number, &raw, template, &allowed).map(|(hold, made)| (hold, Some(made)))?,
            None if categories.is_some() => (0, None),
            None => (self.add_match(number, &raw, &allowed).map_err(|error| error.below("match"))?, None),
        };
        self.effects.push(match raw.action {
            Action::Rewrite => rewriting.map_or(Effect::Refuse, Effect::Rewrite),
            Action::Refuse => Effect::Refuse,
            Action::Redact | Action::Replace => Effect::Replace(raw.with.clone().unwrap_or_else(|| REDACTED.to_owned())),
            // Of the match nothing is shown in events; what becomes of the text is no matter of searching.
            Action::Summary => Effect::Replace(REDACTED.to_owned()),
            Action::Escalate | Action::Observe | Action::Allow => Effect::Watch,
        });
        let is_held = categories.is_none() && raw.action.edits();
        let request = if categories.is_some() { raw.action.usual_request_by_category() } else { raw.action.usual_request() };
        let answer = if categories.is_some() { raw.action.usual_answer_by_category() } else { raw.action.usual_answer() };
        self.rules.push(Rule {
            id: raw.id,
            action: raw.action,
            message: raw.message.unwrap_or_else(|| "This was refused by policy.".to_owned()),
            reason_code: raw.reason_code.unwrap_or_else(|| raw.action.reason_code().to_owned()),
            category: raw.category,
            request: raw.request.unwrap_or_else(|| request.to_vec()),
            answer: raw.answer.unwrap_or_else(|| answer.to_vec()),
            is_reversible: raw.reversible,
            hold: if is_held { hold.max(longest_allowed) } else { 0 },
            with: raw.with.filter(|_| categories.is_some()),
            categories,
        });
        Ok(())
    }

    /// Adds the pattern of a rule that rewrites; how many characters can wait for it, and what becomes of a match.
    fn add_rewriting(
        &mut self,
        rule: usize,
        raw: &RawRule,
        template: &str,
        allowed: &Arc<[Vec<char>]>,
    ) -> Result<(usize, Rewriting), DocumentError> {
        let RawMatch { terms: None, pattern: Some(pattern), detect: None, categories: None, case_sensitive, .. } = &raw.r#match
        else {
            let message =
                format!("must be a pattern: rule {:?} rewrites, and terms and detectors have no groups for its template", raw.id);
            return Err(DocumentError::new("match", message));
        };
        let text = if *case_sensitive { pattern.clone() } else { without_case(pattern) };
        let (made, groups) =
            Pattern::with_groups(&text).map_err(|error| DocumentError::new("match.pattern", format!("{pattern:?} {error}")))?;
        let template = Template::parse(template, groups.count())
            .map_err(|error| DocumentError::new("template", format!("{template:?} {error}")))?;
        let sought = Sought { rule, pattern: Arc::new(made), check: None, allowed: Arc::clone(allowed) };
        let hold = self.add_pattern(sought).map_err(|error| error.below("match"))?;
        Ok((hold, Rewriting { groups, template }))
    }

    /// Adds what a rule looks for; how many characters can wait for it.
    fn add_match(&mut self, rule: usize, raw: &RawRule, allowed: &Arc<[Vec<char>]>) -> Result<usize, DocumentError> {
        match (&raw.r#match.terms, &raw.r#match.pattern, &raw.r#match.detect) {
            (Some(terms), None, None) => self.add_terms(rule, terms, !raw.r#match.case_sensitive),
            (None, Some(pattern), None) => {
                let text = if raw.r#match.case_sensitive { pattern.clone() } else { without_case(pattern) };
                let pattern = Pattern::new(&text, false, raw.capture.is_some());
                let pattern = pattern.map_err(|error| {
                    DocumentError::new(
                        "pattern",
                        format!("{pattern:?} {error}", pattern = raw.r#match.pattern.as_deref().unwrap_or_default()),
                    )
                })?;
                self.add_pattern(Sought { rule, pattern: Arc::new(pattern), check: None, allowed: Arc::clone(allowed) })
            }
            (None, None, Some(names)) => self.add_detectors(rule, names, allowed),
            _ => Err(DocumentError::new("", "must have one of terms, pattern, detect and categories")),
        }
    }

    fn add_terms(&mut self, rule: usize, terms: &[String], folds: bool) -> Result<usize, DocumentError> {
        if terms.is_empty() {
            return Err(DocumentError::new("terms", "must not be empty"));
        }
        let mut longest = 0;
        for (at, text) in terms.iter().enumerate() {
            let path = || format!("terms[{at}]");
            let length = normalised(text).count();
            if length == 0 {
                return Err(DocumentError::new(path(), "has no visible character"));
            }
            longest = longest.max(length);
            self.term_bytes = self.term_bytes.saturating_add(text.len());
            if self.term_bytes > MAX_TERM_BYTES || self.terms.len() >= MAX_TERMS {
                let message = format!("there may be {MAX_TERMS} terms in all, with {MAX_TERM_BYTES} bytes together");
                return Err(DocumentError::new(path(), message));
            }
            self.terms.push(Term { rule, text: text.clone(), folds });
            self.term_paths.push(format!("rules[{rule}].match.terms[{at}]"));
        }
        Ok(longest.saturating_sub(1))
    }

    fn add_detectors(&mut self, rule: usize, names: &[String], allowed: &Arc<[Vec<char>]>) -> Result<usize, DocumentError> {
        if names.is_empty() {
            return Err(DocumentError::new("detect", "must not be empty"));
        }
        let mut hold = 0;
        for (at, name) in names.iter().enumerate() {
            if name == HIDDEN_TEXT {
                self.hidden.push(rule);
                continue;
            }
            let detectors = detect::find(name);
            let path = || format!("detect[{at}]");
            if detectors.is_empty() {
                let message = format!("there is no detector {name:?}; there are: {}", detect::names().join(", "));
                return Err(DocumentError::new(path(), message));
            }
            for detector in detectors {
                let pattern = Pattern::new(detector.pattern, detector.is_whole, detector.captures)
                    .map_err(|error| DocumentError::new(path(), format!("{name:?} {error}")))?;
                let sought = Sought { rule, pattern: Arc::new(pattern), check: detector.check, allowed: Arc::clone(allowed) };
                hold = self.add_pattern(sought)?.max(hold);
            }
        }
        Ok(hold)
    }

    fn add_pattern(&mut self, sought: Sought) -> Result<usize, DocumentError> {
        self.pattern_bytes = self.pattern_bytes.saturating_add(sought.pattern.dfa.bytes());
        if self.pattern_bytes > MAX_PATTERN_BYTES {
            let message = format!("is too large: the automata of all patterns may take {MAX_PATTERN_BYTES} bytes together");
            return Err(DocumentError::new("", message));
        }
        let wait = sought.pattern.wait;
        self.sought.push(sought);
        Ok(wait)
    }
}

/// A pattern in which case makes no difference.
fn without_case(pattern: &str) -> String {
    if pattern.starts_with("(?i)") { pattern.to_owned() } else { format!("(?i){pattern}") }
}

fn check(raw: &RawRule) -> Result<(), DocumentError> {
    let fail = |field: &str, message: &str| Err(DocumentError::new(field, message));
    if raw.id.is_empty() || raw.id.len() > MAX_ID_BYTES {
        return fail("id", "must have 1 to 128 bytes");
    }
    match (raw.action, &raw.with) {
        (Action::Replace, None) => {
            return fail("with", "is what takes the place of a match: replace needs it (redact has a mark of its own)");
        }
        (Action::Redact | Action::Replace, Some(with)) if with.len() > MAX_WITH_BYTES => {
            return fail("with", "must have at most 4096 bytes");
        }
        (Action::Redact | Action::Replace, _) | (_, None) => {}
        (_, Some(_)) => return fail("with", "is for the actions redact and replace"),
    }
    check_reversible(raw)?;
    check_rewriting(raw)?;
    if raw.message.as_ref().is_some_and(|message| message.len() > MAX_WITH_BYTES || message.trim().is_empty()) {
        return fail("message", "must have 1 to 4096 bytes");
    }
    if raw.message.is_some() && !matches!(raw.action, Action::Refuse | Action::Allow) {
        return fail("message", "is for the actions refuse and allow");
    }
    if raw.action == Action::Allow && raw.answer.as_ref().is_some_and(|answer| !answer.is_empty()) {
        return fail("answer", "cannot have an allow rule: whether a streamed answer has a match is known when it has left");
    }
    if raw.r#match.categories.is_none() && raw.r#match.threshold.is_some() {
        return fail("match.threshold", "is for categories");
    }
    if raw.action == Action::Summary {
        check_scopes_of_summary(raw)?;
    }
    if raw.request.as_ref().is_some_and(Vec::is_empty)
        && (raw.action == Action::Allow || raw.answer.as_ref().is_some_and(Vec::is_empty))
    {
        return fail("request", "the rule is for no text: name a scope under request or answer");
    }
    if raw.allowed.len() > MAX_ALLOWED || raw.allowed.iter().any(|value| value.len() > MAX_ID_BYTES) {
        return fail("allowed", "must have at most 1000 values of at most 128 bytes");
    }
    if raw.r#match.terms.is_some() && !raw.allowed.is_empty() {
        return fail("allowed", "is for patterns and detectors: a term that is allowed can be left out");
    }
    if raw.capture.is_some() && (raw.capture != Some(1) || raw.r#match.pattern.is_none()) {
        return fail("capture", "can be 1, of a rule with a pattern");
    }
    if raw.reason_code.as_ref().is_some_and(|code| code.is_empty() || code.len() > MAX_ID_BYTES) {
        return fail("reason_code", "must have 1 to 128 bytes");
    }
    Ok(())
}

fn check_reversible(raw: &RawRule) -> Result<(), DocumentError> {
    let fail = |field: &str, message: &str| Err(DocumentError::new(field, message));
    if !raw.reversible {
        return Ok(());
    }
    if raw.action != Action::Redact {
        return fail("reversible", "is for the action redact");
    }
    if raw.with.is_some() {
        return fail("with", "has no place in a reversible rule: a placeholder takes the place of the match");
    }
    if raw.request.as_ref().is_some_and(Vec::is_empty) {
        return fail("request", "must name a scope: a reversible rule puts placeholders in requests");
    }
    if raw.r#match.detect.iter().flatten().any(|name| name == HIDDEN_TEXT) {
        return fail("reversible", "cannot be with hidden_text, which is taken out for good");
    }
    Ok(())
}

fn check_rewriting(raw: &RawRule) -> Result<(), DocumentError> {
    let fail = |field: &str, message: &str| Err(DocumentError::new(field, message));
    match (raw.action, &raw.template) {
        (Action::Rewrite, None) => fail("template", "is what takes the place of a match: rewrite needs it"),
        (Action::Rewrite, Some(template)) if template.len() > MAX_WITH_BYTES => fail("template", "must have at most 4096 bytes"),
        (Action::Rewrite, Some(_)) if raw.capture.is_some() => {
            fail("capture", "has no place in a rule that rewrites: its template says what stays of a match")
        }
        (Action::Rewrite, Some(_)) | (_, None) => Ok(()),
        (_, Some(_)) => fail("template", "is for the action rewrite"),
    }
}

fn check_scopes_of_summary(raw: &RawRule) -> Result<(), DocumentError> {
    if raw.request.as_ref().is_some_and(|request| request.contains(&InRequest::ToolArgument)) {
        let message = format!(
            "rule {:?} cannot summarise tool_argument: arguments are values that a tool was called with, no text",
            raw.id
        );
        return Err(DocumentError::new("request", message));
    }
    let mut answer = raw.answer.iter().flatten();
    if let Some(scope) = answer.find(|scope| !InAnswer::SUMMARISED.contains(scope)) {
        let message = format!("rule {:?} cannot summarise {}: text and tool_result alone can be", raw.id, scope.name());
        return Err(DocumentError::new("answer", message));
    }
    Ok(())
}

impl Action {
    /// Says whether matches do not stay as they are.
    pub(super) const fn edits(self) -> bool {
        matches!(self, Self::Redact | Self::Replace | Self::Rewrite | Self::Refuse)
    }

    /// What texts of requests a rule is for that does not say.
    const fn usual_request(self) -> &'static [InRequest] {
        match self {
            Self::Allow => &[InRequest::User],
            Self::Summary => &[InRequest::User, InRequest::ToolResult],
            _ => &InRequest::ALL,
        }
    }

    /// As [`Self::usual_request`], of a rule that a service is asked for.
    const fn usual_request_by_category(self) -> &'static [InRequest] {
        match self {
            Self::Allow => &[InRequest::User],
            _ => &[InRequest::User, InRequest::ToolResult],
        }
    }

    /// As [`Self::usual_request_by_category`], of answers.
    const fn usual_answer_by_category(self) -> &'static [InAnswer] {
        match self {
            Self::Allow => &[],
            Self::Redact | Self::Replace | Self::Summary => &InAnswer::SUMMARISED,
            _ => &[InAnswer::Text, InAnswer::Refusal, InAnswer::ToolResult],
        }
    }

    /// As [`Self::usual_request`], of answers.
    const fn usual_answer(self) -> &'static [InAnswer] {
        match self {
            Self::Allow => &[],
            Self::Summary => &InAnswer::SUMMARISED,
            _ => &InAnswer::USUAL,
        }
    }

    const fn reason_code(self) -> &'static str {
        match self {
            Self::Redact => "RULE_REDACTED",
            Self::Replace => "RULE_REPLACED",
            Self::Rewrite => "RULE_REWRITTEN",
            Self::Refuse => "RULE_REFUSED",
            Self::Summary => "RULE_SUMMARISED",
            Self::Escalate => "RULE_ESCALATED",
            Self::Observe => "RULE_OBSERVED",
            Self::Allow => "NOT_ALLOWED",
        }
    }
}
