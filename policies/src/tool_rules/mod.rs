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

/// Most bytes of arguments that are put to a judge.
const MAX_JUDGED_BYTES: usize = 64 * 1024;

/// Decides about each tool call by the first rule that fits; `default` decides about the rest. Calls are held until they are
/// complete, text is not.
///
/// What a rule asks about and cannot be told fails closed: a rule that denies, escalates, rewrites or asks a judge fits then, and one
/// that allows does not. That are arguments that are not JSON or that readers take differently, a path that is not there, a value of
/// another type, a command whose programs cannot be told, and a history that cannot be read.
///
/// Events: `tool_rules.passed`, `tool_rules.denied`, `tool_rules.escalated`, `tool_rules.rewritten`, `tool_rules.hidden`. Reason codes:
/// `TOOL_CALL_DENIED`, `TOOL_CALL_ESCALATED`, `TOOL_CALL_REWRITTEN`, `TOOL_CALL_REFUSED`, `TOOL_CALL_UNCHECKED`, or the rule's own.
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
#[serde(deny_unknown_fields)]
struct Config {
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
#[serde(deny_unknown_fields)]
struct Earlier {
    tools: ToolList,
    #[serde(default)]
    when: Vec<Condition>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    at: String,
    to: Value,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// The calls of before; `None` where they cannot be told.
#[derive(Debug)]
pub(crate) struct History(Option<Vec<PastCall>>);

impl Default for History {
    fn default() -> Self {
        Self(Some(Vec::new()))
    }
}

type Context = StreamingContext<History>;

impl Rule {
    /// Whether it fits a call of `tool` with these arguments.
    fn fits(&self, tool: &str, arguments: Option<&Value>, history: &History) -> bool {
        if self.tools.find(tool).is_none() {
            return false;
        }
        let command = match &self.command {
            None => Tested::Holds,
            Some(test) => arguments.map_or(Tested::Untestable, |arguments| test.test(arguments)),
        };
        let tested = [test_all(&self.when, arguments), command, self.test_history(history)];
        if tested.contains(&Tested::HoldsNot) {
            return false;
        }
        // What cannot be told fails closed.
        self.verdict != Verdict::Allow || !tested.contains(&Tested::Untestable)
    }

    /// Whether the calls of `after` came, in their order.
    fn test_history(&self, history: &History) -> Tested {
        if self.after.is_empty() {
            return Tested::Holds;
        }
        let Some(calls) = &history.0 else { return Tested::Untestable };
        let mut wanted = self.after.iter().peekable();
        for call in calls {
            let is_next = wanted.peek().is_some_and(|earlier| {
                earlier.tools.find(&call.name).is_some() && test_all(&earlier.when, call.arguments.as_ref()) != Tested::HoldsNot
            });
            if is_next {
                wanted.next();
            }
        }
        if wanted.peek().is_none() { Tested::Holds } else { Tested::HoldsNot }
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
    fn tell(
        &self,
        event: &str,
        severity: Severity,
        rule: Option<(usize, &Rule)>,
        reason: &str,
        block: &ToolCallBlock,
        cx: &Context,
    ) {
        let name = rule.map_or_else(|| "default".to_owned(), |(index, rule)| name_of(index, rule));
        let tool = one_line(block.name(), 128);
        let details = json!({"tool": tool, "tool_call_id": one_line(block.call_id(), 128), "choice": block.choice(), "rule": name,
            "reason_code": reason, "argument_bytes": block.arguments().len(),
            "arguments_fnv1a64": question::arguments_fingerprint(block.arguments())});
        let what = event.rsplit('.').next().unwrap_or_default();
        cx.emit(event, format!("{what} {tool} (rule {name})"), severity, details);
    }

    /// The call does not leave.
    fn withhold(
        &self,
        decision: Decision,
        default_reason: &str,
        rule: Option<(usize, &Rule)>,
        block: &ToolCallBlock,
        cx: &Context,
    ) -> BlockAction {
        let reason = rule.and_then(|(_, rule)| rule.reason_code.as_deref()).unwrap_or(default_reason);
        cx.conclude(decision, reason);
        if let Some((index, rule)) = rule {
            cx.note_denylist_hit(&name_of(index, rule));
        }
        let event = if decision == Decision::Escalate { "tool_rules.escalated" } else { "tool_rules.denied" };
        self.tell(event, Severity::Warning, rule, reason, block, cx);
        let message = rule.and_then(|(_, rule)| rule.message.as_deref()).unwrap_or(&self.message);
        let message = message.replace("{tool}", &one_line(block.name(), 128)).replace("{review}", &cx.call_id().to_string());
        BlockAction::Replace(build_text_chunk(block.choice(), message))
    }

    fn rewrite(&self, index: usize, rule: &Rule, block: &ToolCallBlock, cx: &Context) -> BlockAction {
        let rewritten = Arguments::read(block.arguments()).and_then(|mut arguments| {
            let is_set = rule.set.iter().all(|set| arguments.set(&set.at, &set.to.to_string()));
            if is_set { arguments.into_text() } else { None }
        });
        let Some(rewritten) = rewritten else {
            // What was to be another value is not there: the call does not leave as it is.
            return self.withhold(Decision::Refuse, "TOOL_CALL_DENIED", Some((index, rule)), block, cx);
        };
        let reason = rule.reason_code.as_deref().unwrap_or("TOOL_CALL_REWRITTEN");
        cx.conclude(Decision::Rewrite, reason);
        self.tell("tool_rules.rewritten", Severity::Info, Some((index, rule)), reason, block, cx);
        BlockAction::ReplaceArguments(rewritten)
    }

    async fn judge(&self, rule: Option<(usize, &Rule)>, block: &ToolCallBlock, cx: &Context) -> BlockAction {
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

fn name_of(index: usize, rule: &Rule) -> String {
    rule.name.clone().unwrap_or_else(|| index.to_string())
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
        if cx.is_output_finished() {
            return BlockAction::Drop;
        }
        let is_plain = block.is_complete() && !block.is_truncated() && block.ambiguity().is_none();
        let arguments: Option<Value> =
            if is_plain && block.has_valid_arguments() { serde_json::from_str(block.arguments()).ok() } else { None };
        let found = cx.scratchpad(|history| {
            let fits = |(_, rule): &(usize, &Rule)| rule.fits(block.name(), arguments.as_ref(), history);
            let found = self.rules.iter().enumerate().find(fits);
            if let Some(calls) = &mut history.0 {
                calls.push(PastCall { name: block.name().to_owned(), arguments: arguments.clone() });
            }
            found
        });
        let verdict = found.map_or_else(|| self.default.verdict(), |(_, rule)| rule.verdict);
        match (verdict, found) {
            (Verdict::Allow, _) if is_plain => {
                if let Some((index, rule)) = found {
                    cx.note_allowlist_hit(&name_of(index, rule));
                    self.tell("tool_rules.passed", Severity::Debug, found, "ALLOW", block, cx);
                }
                BlockAction::Forward
            }
            // Nobody can tell which call it is.
            (Verdict::Allow | Verdict::Deny, _) => self.withhold(Decision::Refuse, "TOOL_CALL_DENIED", found, block, cx),
            (Verdict::Escalate, _) => self.withhold(Decision::Escalate, "TOOL_CALL_ESCALATED", found, block, cx),
            (Verdict::Judge, _) => self.judge(found, block, cx).await,
            (Verdict::Rewrite, Some((index, rule))) => self.rewrite(index, rule, block, cx),
            (Verdict::Rewrite, None) => BlockAction::Drop,
        }
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
