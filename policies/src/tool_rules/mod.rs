//! ToolRules: tool calls by their names, their arguments, and what was called before.

mod command;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use weir::arguments::Arguments;
use weir::block::{ToolCallBlock, build_text_chunk};
use weir::decision::Decision;
use weir::document::{DocumentError, PolicyConfig, parse};
use weir::event::Severity;
use weir::exchange::Request;
use weir::judge::MAX_EXPLANATION_CHARS;
use weir::limits::FailureMode;
use weir::policy::{
    BlockAction, DeltaAction, Hold, Interests, OfferAction, Policy, PolicyContext, RequestAction, SharedPolicy, StreamingContext,
};

use self::command::CommandTest;
use crate::block_requests::join;
use crate::condition::{Condition, Tested, test_all};
use crate::history::{self, PastCall};
use crate::panel::{Opinion, Panel};
use crate::text::one_line;
use crate::tool_call_judge::question::{self, Call};
use crate::tool_list::ToolList;

const MAX_RULES: usize = 200;

/// The reason code of a rule that fits because what it asks about cannot be told.
const UNTESTABLE: &str = "TOOL_CALL_UNTESTABLE";

/// Most bytes of arguments that are put to a judge.
const MAX_JUDGED_BYTES: usize = 64 * 1024;

/// Decides about each tool call by the first rule that fits; `default` decides about the rest. Calls are held until they are
/// complete, text is not.
///
/// What a rule asks about and cannot be told fails closed: a rule that denies, escalates, rewrites or asks a judge fits then, and one
/// that allows does not. That are arguments that are not JSON or that readers take differently, a path that is not there, a value of
/// another type, a command whose programs cannot be told, a history that cannot be read, and a call of before of which one of these is
/// asked. Where such a rule denies or escalates, the reason code says so, and the event what could not be told.
///
/// Of calls of before those count that the request says were made, and those of the answer that this policy let through.
///
/// Events: `tool_rules.passed`, `tool_rules.denied`, `tool_rules.escalated`, `tool_rules.rewritten`, `tool_rules.judged`,
/// `tool_rules.failed`, `tool_rules.hidden`. Reason codes:
/// `TOOL_CALL_DENIED`, `TOOL_CALL_ESCALATED`, `TOOL_CALL_UNTESTABLE`, `TOOL_CALL_REWRITTEN`, `TOOL_CALL_REFUSED` (a judge found harm),
/// `TOOL_CALL_UNCHECKED` (judges failed), `TOOL_CALL_TOO_LONG` (for judges), or the rule's own.
#[derive(Debug)]
pub struct ToolRules {
    rules: Vec<Rule>,
    default: DefaultVerdict,
    panel: Option<Panel>,
    instructions: String,
    message: String,
    has_sequences: bool,
}

#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    rules: Vec<Rule>,
    #[serde(default)]
    default: DefaultVerdict,
    panel: Option<Panel>,
    instructions: Option<String>,
    #[serde(default = "Config::default_message")]
    message: String,
}

impl Config {
    fn default_message() -> String {
        "⛔ BLOCKED: {tool} - not allowed by policy".to_owned()
    }
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct Rule {
    name: Option<String>,
    tools: ToolList,
    #[serde(default)]
    when: Vec<Condition>,
    command: Option<CommandTest>,
    /// What was called before, in this order.
    #[serde(default)]
    after: Vec<Earlier>,
    verdict: Verdict,
    /// What is put where; of `rewrite`.
    #[serde(default)]
    set: Vec<Set>,
    message: Option<String>,
    reason_code: Option<String>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct Earlier {
    tools: ToolList,
    #[serde(default)]
    when: Vec<Condition>,
}

impl Earlier {
    /// Whether a call is such a one.
    fn test(&self, call: &PastCall) -> Tested {
        match self.tools.find(&call.name) {
            Some(_) => test_all(&self.when, call.arguments.as_ref()),
            None => Tested::HoldsNot,
        }
    }
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct Set {
    at: String,
    to: Value,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Allow,
    Deny,
    Rewrite,
    Judge,
    Escalate,
}

/// What becomes of a call that no rule fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum DefaultVerdict {
    #[default]
    Allow,
    Deny,
    Judge,
}

impl DefaultVerdict {
    const fn verdict(self) -> Verdict {
        match self {
            Self::Allow => Verdict::Allow,
            Self::Deny => Verdict::Deny,
            Self::Judge => Verdict::Judge,
        }
    }
}

/// The calls that were let through before; `None` where they cannot be told.
#[derive(Debug)]
pub(crate) struct History(Option<Vec<PastCall>>);

impl Default for History {
    fn default() -> Self {
        Self(Some(Vec::new()))
    }
}

type Context = StreamingContext<History>;

/// How a rule fits a call.
#[derive(Clone, Copy, Debug)]
struct Fit<'r> {
    index: usize,
    rule: &'r Rule,
    /// It fits because that could not be tested.
    untestable: Option<&'static str>,
}

impl Fit<'_> {
    fn name(self) -> String {
        self.rule.name.clone().unwrap_or_else(|| self.index.to_string())
    }
}

impl Rule {
    /// Whether it fits a call of `tool` with these arguments; if because something cannot be tested, what.
    fn fits(&self, tool: &str, arguments: Option<&Value>, history: &History) -> Option<Option<&'static str>> {
        self.tools.find(tool)?;
        let (command, why) = match &self.command {
            None => (Tested::Holds, None),
            Some(test) => arguments.map_or((Tested::Untestable, None), |arguments| test.test(arguments)),
        };
        let tests = [
            (test_all(&self.when, arguments), "arguments"),
            (command, why.unwrap_or("arguments")),
            (self.test_history(history), "history"),
        ];
        if tests.iter().any(|(tested, _)| *tested == Tested::HoldsNot) {
            return None;
        }
        let untestable = tests.iter().find(|(tested, _)| tested.is_unknown()).map(|(_, what)| *what);
        // What cannot be told fails closed.
        (self.verdict != Verdict::Allow || untestable.is_none()).then_some(untestable)
    }

    /// Whether the calls of `after` came, in their order.
    fn test_history(&self, history: &History) -> Tested {
        if self.after.is_empty() {
            return Tested::Holds;
        }
        let Some(calls) = &history.0 else { return Tested::Untestable };
        // The first call that can be one of them is the one that leaves the most for the others.
        let came = |is_enough: &dyn Fn(Tested) -> bool| {
            let mut wanted = self.after.iter().peekable();
            for call in calls {
                wanted.next_if(|earlier| is_enough(earlier.test(call)));
            }
            wanted.peek().is_none()
        };
        if came(&|tested| tested == Tested::Holds) {
            Tested::Holds
        } else if came(&|tested| tested != Tested::HoldsNot) {
            Tested::Untestable
        } else {
            Tested::HoldsNot
        }
    }

    fn check(&self) -> Result<(), DocumentError> {
        self.tools.check("tools")?;
        if self.tools.is_empty() {
            return Err(DocumentError::new("tools", "must name a tool; \"*\" stands for all"));
        }
        let check = |path: String, condition: &Condition| {
            condition.check().map_err(|error| DocumentError::new(join(&path, &error.path), error.message))
        };
        for (index, condition) in self.when.iter().enumerate() {
            check(format!("when[{index}]"), condition)?;
        }
        for (index, earlier) in self.after.iter().enumerate() {
            earlier.tools.check(&format!("after[{index}].tools"))?;
            for (number, condition) in earlier.when.iter().enumerate() {
                check(format!("after[{index}].when[{number}]"), condition)?;
            }
        }
        if let Some(command) = &self.command {
            command.check()?;
        }
        if (self.verdict == Verdict::Rewrite) == self.set.is_empty() {
            return Err(DocumentError::new("set", "is what the verdict rewrite puts where, and goes with it alone"));
        }
        if self.set.iter().any(|set| !set.at.starts_with('/')) {
            return Err(DocumentError::new("set", "at must be a JSON pointer such as \"/path\""));
        }
        Ok(())
    }
}

impl ToolRules {
    fn tell(&self, event: &str, severity: Severity, rule: Option<Fit<'_>>, reason: &str, block: &ToolCallBlock, cx: &Context) {
        let name = rule.map_or_else(|| "default".to_owned(), Fit::name);
        let tool = one_line(block.name(), 128);
        let mut details = json!({"tool": tool, "tool_call_id": one_line(block.call_id(), 128), "choice": block.choice(), "rule": name,
            "reason_code": reason, "argument_bytes": block.arguments().len(),
            "arguments_fnv1a64": question::arguments_fingerprint(block.arguments())});
        if let (Some(what), Some(details)) = (rule.and_then(|fit| fit.untestable), details.as_object_mut()) {
            details.insert("untestable".to_owned(), what.into());
        }
        let what = event.rsplit('.').next().unwrap_or_default();
        cx.emit(event, format!("{what} {tool} (rule {name})"), severity, details);
    }

    /// The call does not leave.
    fn withhold(
        &self,
        decision: Decision,
        default_reason: &str,
        rule: Option<Fit<'_>>,
        block: &ToolCallBlock,
        cx: &Context,
    ) -> BlockAction {
        // A rule that fits because nothing can be told does not say what its author meant it to.
        let own = rule.filter(|_| default_reason != UNTESTABLE).and_then(|fit| fit.rule.reason_code.as_deref());
        let reason = own.unwrap_or(default_reason);
        cx.conclude(decision, reason);
        if let Some(fit) = rule {
            cx.note_denylist_hit(&fit.name());
        }
        let event = if decision == Decision::Escalate { "tool_rules.escalated" } else { "tool_rules.denied" };
        self.tell(event, Severity::Warning, rule, reason, block, cx);
        let message = rule.and_then(|fit| fit.rule.message.as_deref()).unwrap_or(&self.message);
        let message = message.replace("{tool}", &one_line(block.name(), 128)).replace("{review}", &cx.call_id().to_string());
        BlockAction::Replace(build_text_chunk(block.choice(), message))
    }

    fn rewrite(&self, fit: Fit<'_>, block: &ToolCallBlock, cx: &Context) -> BlockAction {
        let rule = fit.rule;
        let rewritten = Arguments::read(block.arguments()).and_then(|mut arguments| {
            let is_set = rule.set.iter().all(|set| arguments.set(&set.at, &set.to.to_string()));
            if is_set { arguments.into_text() } else { None }
        });
        let Some(rewritten) = rewritten else {
            // What was to be another value is not there: the call does not leave as it is.
            return self.withhold(Decision::Refuse, "TOOL_CALL_DENIED", Some(fit), block, cx);
        };
        let reason = rule.reason_code.as_deref().unwrap_or("TOOL_CALL_REWRITTEN");
        cx.conclude(Decision::Rewrite, reason);
        self.tell("tool_rules.rewritten", Severity::Info, Some(fit), reason, block, cx);
        BlockAction::ReplaceArguments(rewritten)
    }

    async fn decide(&self, found: Option<Fit<'_>>, is_plain: bool, block: &ToolCallBlock, cx: &Context) -> BlockAction {
        let verdict = found.map_or_else(|| self.default.verdict(), |fit| fit.rule.verdict);
        let is_untestable = found.is_some_and(|fit| fit.untestable.is_some());
        let reason = |usual| if is_untestable { UNTESTABLE } else { usual };
        match (verdict, found) {
            (Verdict::Allow, _) if is_plain => {
                if let Some(fit) = found {
                    cx.note_allowlist_hit(&fit.name());
                    self.tell("tool_rules.passed", Severity::Debug, found, "ALLOW", block, cx);
                }
                BlockAction::Forward
            }
            // Nobody can tell which call it is.
            (Verdict::Allow | Verdict::Deny, _) => self.withhold(Decision::Refuse, reason("TOOL_CALL_DENIED"), found, block, cx),
            (Verdict::Escalate, _) => self.withhold(Decision::Escalate, reason("TOOL_CALL_ESCALATED"), found, block, cx),
            (Verdict::Judge, _) => self.judge(found, block, cx).await,
            (Verdict::Rewrite, Some(fit)) => self.rewrite(fit, block, cx),
            (Verdict::Rewrite, None) => BlockAction::Drop,
        }
    }

    async fn judge(&self, rule: Option<Fit<'_>>, block: &ToolCallBlock, cx: &Context) -> BlockAction {
        let Some(panel) = &self.panel else { return self.withhold(Decision::Refuse, "TOOL_CALL_UNCHECKED", rule, block, cx) };
        let arguments = block.canonical_arguments();
        let call = Call { tool: block.name(), arguments: &arguments, server_side: block.is_server_side() };
        let matters = call.write_matters(&question::tag(cx.call_id(), block.id()), MAX_JUDGED_BYTES, 1);
        let Some(matter) = matters.as_ref().and_then(|matters| matters.first()) else {
            return self.withhold(Decision::Refuse, "TOOL_CALL_TOO_LONG", rule, block, cx);
        };
        match panel.ask(&self.instructions, matter, cx).await {
            Opinion::Harmless => BlockAction::Forward,
            Opinion::Harmful(verdict) => {
                let why = one_line(&verdict.explanation, MAX_EXPLANATION_CHARS);
                cx.emit(
                    "tool_rules.judged",
                    "A judge found harm",
                    Severity::Info,
                    json!({"explanation": why, "probability": verdict.probability}),
                );
                self.withhold(Decision::Refuse, "TOOL_CALL_REFUSED", rule, block, cx)
            }
            Opinion::Unknown(error) => {
                let is_open = panel.on_error == FailureMode::Allow;
                let details = json!({"error": error.name(), "failed_open": is_open});
                cx.emit("tool_rules.failed", format!("No verdict about a call: {error}"), Severity::Error, details);
                cx.count_failure("tool_rules");
                if is_open {
                    cx.count_failed_open("tool_rules");
                    return BlockAction::Forward;
                }
                self.withhold(Decision::Refuse, "TOOL_CALL_UNCHECKED", rule, block, cx)
            }
        }
    }
}

impl Policy<History> for ToolRules {
    fn greatest_hold(&self) -> Hold {
        Hold::Calls
    }

    fn interests(&self) -> Interests {
        Interests { request: self.has_sequences, ..Interests::TOOL_CALLS }
    }

    fn describe(&self) -> Value {
        json!({"rules": self.rules.len(), "default": self.default, "judges": self.panel.as_ref().map(Panel::names)})
    }

    async fn on_request(&self, request: &Request, cx: &PolicyContext<History>) -> RequestAction {
        if self.has_sequences && request.dialect != Some(weir::dialect::Dialect::McpTool) {
            let calls = history::read(&request.body);
            cx.scratchpad(|history| history.0 = calls);
        }
        RequestAction::SendRequest
    }

    fn on_tool_call_delta<'d>(&self, _: &'d str, _: &ToolCallBlock, _: &Context) -> DeltaAction<'d> {
        DeltaAction::Hold
    }

    async fn on_tool_call_complete(&self, block: &ToolCallBlock, cx: &Context) -> BlockAction {
        if self.has_sequences {
            // Which of the calls before this one leave must be known.
            cx.turn().await;
        }
        if cx.is_output_finished() {
            return BlockAction::Drop;
        }
        let is_plain = block.is_complete() && !block.is_truncated() && block.ambiguity().is_none();
        let arguments = if is_plain { history::arguments_of(block) } else { None };
        let found = cx.scratchpad(|history| {
            let fit = |(index, rule): (usize, &'_ Rule)| Some((index, rule.fits(block.name(), arguments.as_ref(), history)?));
            self.rules.iter().enumerate().find_map(fit)
        });
        let found = found.and_then(|(index, untestable)| Some(Fit { index, rule: self.rules.get(index)?, untestable }));
        let action = self.decide(found, is_plain, block, cx).await;
        let past = match &action {
            BlockAction::Forward => arguments,
            BlockAction::ReplaceArguments(text) => serde_json::from_str(text).ok(),
            // What does not leave was not called.
            _ => return action,
        };
        cx.scratchpad(|history| {
            if let Some(calls) = &mut history.0 {
                calls.push(PastCall { name: block.name().to_owned(), arguments: past });
            }
        });
        action
    }

    /// A tool that a rule denies whatever its arguments need not be known.
    fn on_tool_offered(&self, name: &str, cx: &Context) -> OfferAction {
        let first = self.rules.iter().find(|rule| rule.tools.find(name).is_some());
        let denied = first.is_some_and(|rule| {
            rule.verdict == Verdict::Deny && rule.when.is_empty() && rule.command.is_none() && rule.after.is_empty()
        });
        if !denied {
            return OfferAction::Keep;
        }
        let tool = one_line(name, 128);
        cx.emit("tool_rules.hidden", format!("Hid {tool}"), Severity::Info, json!({ "tool": tool }));
        OfferAction::Remove
    }
}

pub(crate) fn make(config: PolicyConfig<'_>) -> Result<SharedPolicy, DocumentError> {
    let Config { rules, default, panel, instructions, message } = parse(config.with)?;
    if rules.len() > MAX_RULES {
        return Err(DocumentError::new("rules", "must be at most 200"));
    }
    for (index, rule) in rules.iter().enumerate() {
        rule.check().map_err(|error| DocumentError::new(join(&format!("rules[{index}]"), &error.path), error.message))?;
    }
    let judges = default == DefaultVerdict::Judge || rules.iter().any(|rule| rule.verdict == Verdict::Judge);
    match &panel {
        None if judges => return Err(DocumentError::new("panel", "is missing: a verdict asks judges")),
        Some(panel) => {
            panel.check(config).map_err(|error| DocumentError::new(format!("panel.{}", error.path), error.message))?;
        }
        None => {}
    }
    if message.trim().is_empty() || message.len() > 2048 {
        return Err(DocumentError::new("message", "must have 1 to 2048 bytes"));
    }
    let instructions = question::write_instructions(instructions.as_deref().unwrap_or(question::DEFAULT_INSTRUCTIONS));
    let has_sequences = rules.iter().any(|rule| !rule.after.is_empty());
    Ok(SharedPolicy::new("ToolRules", ToolRules { rules, default, panel, instructions, message, has_sequences }))
}
