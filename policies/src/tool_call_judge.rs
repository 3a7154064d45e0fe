//! ToolCallJudge: tool calls wait until a judge has spoken.

mod cache;
pub(crate) mod question;
mod template;
mod unfolding;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use weir::block::{ToolCallBlock, build_text_chunk};
use weir::decision::Decision;
use weir::document::{DocumentError, PolicyConfig, parse};
use weir::event::Severity;
use weir::exchange::End;
use weir::judge::{JudgeError, JudgeQuestion, MAX_EXPLANATION_CHARS, Verdict};
use weir::limits::FailureMode;
use weir::policy::{
    BlockAction, DeltaAction, FinishReason, Hold, Interests, OfferAction, OutputEnd, Policy, PolicyContext, SharedPolicy,
    StreamingContext,
};

use crate::text::one_line;
use crate::tool_list::ToolList;
use cache::{Asked, Cache, CacheConfig};
use question::Call;
use template::{Template, Values};
use unfolding::{Unfolded, unfold};

/// Most characters of a tool's name, or of a call's id, that events and messages show.
const MAX_NAME_CHARS: usize = 128;

/// Longest message in place of a call, as JSON writes it: a proxy that pauses makes room for one in place of each held call.
const MAX_MESSAGE_BYTES: usize = 2048;

/// Most bytes of instructions.
const MAX_INSTRUCTION_BYTES: usize = 32 * 1024;

/// Fewest and most questions that may be asked about one call.
const QUESTIONS_PER_CALL: core::ops::RangeInclusive<usize> = 1..=64;

/// Least and most bytes of arguments that one question can show to a judge.
const ARGUMENT_BYTES: core::ops::RangeInclusive<usize> = 64..=1024 * 1024;

/// Holds every tool call, text flowing on beside it, and asks a judge about it; several at the same time.
///
/// In this order: a tool on the deny list is blocked; one on the allow list passes; a call that was cut off, or whose
/// arguments clients could read differently, is blocked; all others are put to the judge and blocked if it finds the
/// probability of harm to be at or above the threshold. In place of a blocked call the client gets a message.
///
/// The judge is shown all of the arguments, delimited so that they cannot pass for instructions; long ones in several questions, in parts
/// that overlap, each of which must pass. What is too long even for that is blocked unasked. Events
/// never contain the arguments; they carry their length and a hash (FNV-1a, for telling calls apart, not a seal).
///
/// With `cache`, what a judge said of a call decides about the same call for some time; of the same calls of one exchange it is asked
/// about the first. What it failed to say is not kept.
///
/// Where a server lists its tools (MCP), those on the deny list are left out.
///
/// Events: `judge.passed`, `judge.blocked`, `judge.skipped`, `judge.failed`, `judge.hidden`, and `judge.summary` at the end of an
/// exchange that had calls. Reason codes: `TOOL_CALL_REFUSED` (by the judge), `TOOL_CALL_DENIED` (by the deny list),
/// `TOOL_CALL_INVALID`, `TOOL_CALL_TOO_LONG`, `TOOL_CALL_UNCHECKED` (the judge failed).
#[derive(Debug)]
pub struct ToolCallJudge {
    judge: String,
    threshold: f64,
    allow: ToolList,
    deny: ToolList,
    instructions: String,
    has_own_instructions: bool,
    block_message: Template,
    on_error: FailureMode,
    after_block: AfterBlock,
    max_argument_bytes: usize,
    max_questions_per_call: usize,
    cache: Option<Cache>,
}

/// What happens after a call was blocked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum AfterBlock {
    /// The answer goes on; other calls are judged.
    #[default]
    Continue,
    /// The answer ends behind the message.
    End,
}

#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    judge: String,
    #[serde(default = "Config::default_threshold")]
    threshold: f64,
    #[serde(default)]
    allow: ToolList,
    #[serde(default)]
    deny: ToolList,
    instructions: Option<String>,
    #[serde(default = "Config::default_block_message")]
    block_message: String,
    #[serde(default)]
    on_error: FailureMode,
    #[serde(default)]
    after_block: AfterBlock,
    #[serde(default = "Config::default_max_argument_bytes")]
    max_argument_bytes: usize,
    #[serde(default = "Config::default_max_questions_per_call")]
    max_questions_per_call: usize,
    cache: Option<CacheConfig>,
}

impl Config {
    const fn default_threshold() -> f64 {
        0.6
    }

    fn default_block_message() -> String {
        "⛔ BLOCKED: {tool} - {explanation}".to_owned()
    }

    const fn default_max_argument_bytes() -> usize {
        8192
    }

    const fn default_max_questions_per_call() -> usize {
        8
    }
}

/// How many calls of an exchange came to what, and what was said of them.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    asked: Asked,
    /// Put to the judge.
    judged: u32,
    /// Decided by what a judge said of the same call before.
    cached: u32,
    passed: u32,
    blocked: u32,
    /// Not decided upon, because the output was finished.
    skipped: u32,
    /// Put to the judge without a verdict.
    failed: u32,
}

fn add_one(count: &mut u32) {
    *count = count.saturating_add(1);
}

/// Why a call is blocked.
#[derive(Clone, Debug)]
enum Reason<'a> {
    Denied { entry: &'a str },
    Invalid { why: &'static str },
    Judged { verdict: Verdict, is_cached: bool },
    TooLong,
    Unchecked,
}

impl Reason<'_> {
    const fn code(&self) -> &'static str {
        match self {
            Self::Denied { .. } => "TOOL_CALL_DENIED",
            Self::Invalid { .. } => "TOOL_CALL_INVALID",
            Self::Judged { .. } => "TOOL_CALL_REFUSED",
            Self::TooLong => "TOOL_CALL_TOO_LONG",
            Self::Unchecked => "TOOL_CALL_UNCHECKED",
        }
    }

    const fn by(&self) -> &'static str {
        match self {
            Self::Denied { .. } => "denylist",
            Self::Invalid { .. } => "validity",
            Self::Judged { .. } => "judge",
            Self::TooLong => "length",
            Self::Unchecked => "on_error",
        }
    }

    /// What the client is told: nothing of how the check works or failed.
    fn explanation(&self) -> String {
        match self {
            Self::Denied { .. } => "this tool is not allowed here".to_owned(),
            Self::Invalid { why } => (*why).to_owned(),
            Self::Judged { verdict, .. } => {
                let explanation = one_line(&verdict.explanation, MAX_EXPLANATION_CHARS);
                if explanation.is_empty() { "the call was judged to be harmful".to_owned() } else { explanation }
            }
            Self::TooLong => "the call's arguments are too long to be checked".to_owned(),
            Self::Unchecked => "the call could not be checked, so it was not let through".to_owned(),
        }
    }

    const fn probability(&self) -> Option<f64> {
        match self {
            Self::Judged { verdict, .. } => Some(verdict.probability),
            _ => None,
        }
    }
}

/// Why a call can be decided upon without a judge: nobody can know what a client would make of it.
fn find_fault(block: &ToolCallBlock) -> Option<&'static str> {
    if !block.is_complete() {
        Some("the call was cut off before its end")
    } else if let Some(why) = block.ambiguity() {
        Some(why)
    } else if block.name().is_empty() {
        Some("the call names no tool")
    } else if !block.has_valid_arguments() {
        Some("the call's arguments are not valid")
    } else {
        None
    }
}

fn shown_name(block: &ToolCallBlock) -> String {
    let name = one_line(block.name(), MAX_NAME_CHARS);
    if name.is_empty() { "(unnamed tool)".to_owned() } else { name }
}

/// What every event says about its call.
fn describe_call(block: &ToolCallBlock) -> Map<String, Value> {
    Map::from_iter([
        ("tool".to_owned(), shown_name(block).into()),
        ("tool_call_id".to_owned(), one_line(block.call_id(), MAX_NAME_CHARS).into()),
        ("choice".to_owned(), block.choice().into()),
        ("server_side".to_owned(), block.is_server_side().into()),
        ("argument_bytes".to_owned(), block.arguments().len().into()),
        ("arguments_fnv1a64".to_owned(), question::arguments_fingerprint(block.arguments()).into()),
    ])
}

type Context = StreamingContext<Tally>;

impl ToolCallJudge {
    /// The entry that the first of these tools is allowed by, if all of them are.
    fn find_allowed(&self, names: &[&str]) -> Option<&str> {
        let mut entries = names.iter().map(|name| self.allow.find(name));
        let first = entries.next()??;
        entries.all(|entry| entry.is_some()).then_some(first)
    }

    /// Says, once all calls before it are decided, whether the answer has ended before this one.
    async fn is_skipped(&self, block: &ToolCallBlock, cx: &Context) -> bool {
        cx.turn().await;
        let is_skipped = cx.is_output_finished();
        if is_skipped {
            skip(block, cx);
        }
        is_skipped
    }

    /// What needs no judge is decided in its turn, too: what is told of a call does not depend on when another was judged.
    async fn decide_alone(&self, block: &ToolCallBlock, reason: &Reason<'_>, cx: &Context) -> BlockAction {
        if self.is_skipped(block, cx).await { BlockAction::Drop } else { self.block(block, reason, cx) }
    }

    async fn put_to_judge(&self, block: &ToolCallBlock, cx: &Context) -> BlockAction {
        // As a client reads them: escapes can hide a word from a reader of the raw text.
        let arguments = block.canonical_arguments();
        let call = Call { tool: block.name(), arguments: &arguments, server_side: block.is_server_side() };
        let tag = question::tag(cx.call_id(), block.id());
        let Some(matters) = call.write_matters(&tag, self.max_argument_bytes, self.max_questions_per_call) else {
            return self.decide_alone(block, &Reason::TooLong, cx).await;
        };
        let cache = self.cache.as_ref().map(|cache| (cache, cache.key(&call, cx)));
        if let Some((cache, key)) = &cache
            && let Some(verdict) = cache.find(key, cx).await
        {
            if self.is_skipped(block, cx).await {
                return BlockAction::Drop;
            }
            cx.scratchpad(|tally| add_one(&mut tally.cached));
            return self.decide(block, verdict, None, cx);
        }
        let keep = |verdict: &Verdict| {
            if let Some((cache, key)) = &cache {
                cache.keep(key, verdict, cx);
            }
        };
        let ask = |matter| cx.judge(JudgeQuestion { judge: &self.judge, instructions: &self.instructions, matter });
        // All are sent before the first is awaited. They are read in their order, so that it does not matter which is answered first.
        let questions: Vec<_> = matters.iter().map(|matter| ask(matter)).collect();
        if self.is_skipped(block, cx).await {
            return BlockAction::Drop;
        }
        cx.scratchpad(|tally| add_one(&mut tally.judged));
        let (mut worst, mut failure) = (None::<Verdict>, None);
        for question in questions {
            match question.await {
                Ok(verdict) if verdict.probability >= self.threshold => {
                    keep(&verdict);
                    return self.decide(block, verdict, Some(matters.len()), cx);
                }
                Ok(verdict) => {
                    let is_worse = worst.as_ref().is_none_or(|worst| verdict.probability > worst.probability);
                    worst = if is_worse { Some(verdict) } else { worst };
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        match (failure, worst) {
            (Some(error), _) => self.fail(block, error, cx),
            (None, Some(worst)) => {
                keep(&worst);
                self.decide(block, worst, Some(matters.len()), cx)
            }
            // There is a question about every call.
            (None, None) => self.fail(block, JudgeError::NotSent, cx),
        }
    }

    /// Does what a verdict says, which took so many questions, or none where it was known.
    fn decide(&self, block: &ToolCallBlock, verdict: Verdict, questions: Option<usize>, cx: &Context) -> BlockAction {
        if verdict.probability >= self.threshold {
            return self.block(block, &Reason::Judged { verdict, is_cached: questions.is_none() }, cx);
        }
        let mut how = Map::from_iter([
            ("by".to_owned(), "judge".into()),
            ("probability".to_owned(), verdict.probability.into()),
            ("explanation".to_owned(), one_line(&verdict.explanation, MAX_EXPLANATION_CHARS).into()),
        ]);
        match questions {
            Some(questions) => how.insert("questions".to_owned(), questions.into()),
            None => how.insert("cached".to_owned(), true.into()),
        };
        pass(block, how.into(), cx)
    }

    fn block(&self, block: &ToolCallBlock, reason: &Reason<'_>, cx: &Context) -> BlockAction {
        cx.scratchpad(|tally| add_one(&mut tally.blocked));
        cx.conclude(Decision::Refuse, reason.code());
        let (tool, explanation, probability) = (shown_name(block), reason.explanation(), reason.probability());
        let mut metadata = describe_call(block);
        metadata.insert("by".to_owned(), reason.by().into());
        metadata.insert("reason_code".to_owned(), reason.code().into());
        metadata.insert("explanation".to_owned(), explanation.as_str().into());
        if let Some(probability) = probability {
            metadata.insert("probability".to_owned(), probability.into());
        }
        match reason {
            Reason::Denied { entry } => drop(metadata.insert("entry".to_owned(), (*entry).into())),
            Reason::Judged { is_cached: true, .. } => drop(metadata.insert("cached".to_owned(), true.into())),
            _ => {}
        }
        let summary = probability.map_or_else(
            || format!("Blocked {tool} ({})", reason.by()),
            |probability| format!("Blocked {tool} (p={probability:.2})"),
        );
        cx.emit("judge.blocked", summary, Severity::Warning, metadata.into());

        let message =
            within(self.block_message.render(Values { tool: &tool, explanation: &explanation, probability }), MAX_MESSAGE_BYTES);
        let chunk = build_text_chunk(block.choice(), message);
        match self.after_block {
            AfterBlock::Continue => BlockAction::Replace(chunk),
            AfterBlock::End => {
                // If the output is finished, an earlier block has spoken already.
                if cx.send(chunk).is_ok() {
                    cx.end_output(OutputEnd::because(FinishReason::Stop));
                }
                BlockAction::Drop
            }
        }
    }

    fn fail(&self, block: &ToolCallBlock, error: JudgeError, cx: &Context) -> BlockAction {
        cx.scratchpad(|tally| add_one(&mut tally.failed));
        let mut metadata = describe_call(block);
        metadata.insert("error".to_owned(), error.name().into());
        if let JudgeError::Status(status) = error {
            metadata.insert("status".to_owned(), status.into());
        }
        metadata.insert("judge".to_owned(), self.judge.as_str().into());
        metadata.insert("failed_open".to_owned(), (self.on_error == FailureMode::Allow).into());
        let outcome = match self.on_error {
            FailureMode::Block => "blocked",
            FailureMode::Allow => "let through unchecked",
        };
        let summary = format!("No verdict about {}, {outcome}: {error}", shown_name(block));
        cx.emit("judge.failed", summary, Severity::Error, metadata.into());
        cx.count_failure("judge");
        match self.on_error {
            FailureMode::Block => self.block(block, &Reason::Unchecked, cx),
            FailureMode::Allow => {
                cx.count_failed_open("judge");
                BlockAction::Forward
            }
        }
    }
}

fn pass(block: &ToolCallBlock, how: Value, cx: &Context) -> BlockAction {
    cx.scratchpad(|tally| add_one(&mut tally.passed));
    let mut metadata = describe_call(block);
    if let Value::Object(how) = how {
        metadata.extend(how);
    }
    cx.emit("judge.passed", format!("Passed {}", shown_name(block)), Severity::Info, metadata.into());
    BlockAction::Forward
}

fn skip(block: &ToolCallBlock, cx: &Context) -> BlockAction {
    cx.scratchpad(|tally| add_one(&mut tally.skipped));
    let summary = format!("Skipped {}: the output is finished", shown_name(block));
    cx.emit("judge.skipped", summary, Severity::Info, describe_call(block).into());
    BlockAction::Drop
}

impl Policy<Tally> for ToolCallJudge {
    fn greatest_hold(&self) -> Hold {
        Hold::Calls
    }

    fn interests(&self) -> Interests {
        Interests::TOOL_CALLS
    }

    fn describe(&self) -> Value {
        json!({
            "judge": self.judge,
            "threshold": self.threshold,
            "allow": self.allow,
            "deny": self.deny,
            "instructions": if self.has_own_instructions { "own" } else { "default" },
            "on_error": self.on_error,
            "after_block": self.after_block,
            "max_argument_bytes": self.max_argument_bytes,
            "max_questions_per_call": self.max_questions_per_call,
            "cache": self.cache.as_ref().map(Cache::describe),
        })
    }

    fn on_tool_call_delta<'d>(&self, _: &'d str, _: &ToolCallBlock, _: &Context) -> DeltaAction<'d> {
        DeltaAction::Hold
    }

    async fn on_tool_call_complete(&self, block: &ToolCallBlock, cx: &Context) -> BlockAction {
        if cx.is_output_finished() {
            return skip(block, cx);
        }
        let unfolded = unfold(block);
        let names = match &unfolded {
            Unfolded::Itself | Unfolded::Unreadable => vec![block.name()],
            Unfolded::Tools(tools) => tools.iter().map(String::as_str).collect(),
        };
        let denied = core::iter::once(block.name()).chain(names.iter().copied());
        if let Some((name, entry)) = denied.filter_map(|name| self.deny.find(name).map(|entry| (name, entry))).next() {
            if self.is_skipped(block, cx).await {
                return BlockAction::Drop;
            }
            cx.note_denylist_hit(name);
            return self.block(block, &Reason::Denied { entry }, cx);
        }
        if unfolded == Unfolded::Unreadable {
            let reason = Reason::Invalid { why: "nobody can tell which tools the call is for" };
            return self.decide_alone(block, &reason, cx).await;
        }
        if let Some(entry) = self.find_allowed(&names) {
            if self.is_skipped(block, cx).await {
                return BlockAction::Drop;
            }
            names.iter().for_each(|name| cx.note_allowlist_hit(name));
            return pass(block, json!({ "by": "allowlist", "entry": entry }), cx);
        }
        if let Some(why) = find_fault(block) {
            return self.decide_alone(block, &Reason::Invalid { why }, cx).await;
        }
        self.put_to_judge(block, cx).await
    }

    /// A tool that would be blocked by its name alone need not be known.
    fn on_tool_offered(&self, name: &str, cx: &Context) -> OfferAction {
        let Some(entry) = self.deny.find(name) else { return OfferAction::Keep };
        cx.note_denylist_hit(name);
        let tool = one_line(name, MAX_NAME_CHARS);
        cx.emit("judge.hidden", format!("Hid {tool}"), Severity::Info, json!({ "tool": tool, "entry": entry }));
        OfferAction::Remove
    }

    fn on_stream_complete(&self, _: &End, cx: &PolicyContext<Tally>) {
        let Tally { judged, cached, passed, blocked, skipped, failed, .. } = cx.scratchpad(core::mem::take);
        if [judged, passed, blocked, skipped].iter().all(|count| *count == 0) {
            return;
        }
        let mut metadata =
            json!({ "judged": judged, "passed": passed, "blocked": blocked, "skipped": skipped, "failed": failed });
        if let (Some(_), Some(metadata)) = (&self.cache, metadata.as_object_mut()) {
            metadata.insert("cached".to_owned(), cached.into());
        }
        let summary =
            format!("{judged} judged: {passed} passed, {blocked} blocked, {skipped} skipped, {failed} without a verdict");
        cx.emit("judge.summary", summary, Severity::Info, metadata);
    }
}

pub(crate) fn make(config: PolicyConfig<'_>) -> Result<SharedPolicy, DocumentError> {
    let Config {
        judge,
        threshold,
        allow,
        deny,
        instructions,
        block_message,
        on_error,
        after_block,
        max_argument_bytes,
        max_questions_per_call,
        cache,
    } = parse(config.with)?;
    let Some(asked) = config.judges.get(judge.as_str()) else {
        return Err(DocumentError::new("judge", unknown_judge(&judge, config)));
    };
    if !(0.0..=1.0).contains(&threshold) {
        return Err(DocumentError::new("threshold", "must be between 0 and 1"));
    }
    allow.check("allow")?;
    deny.check("deny")?;
    if let Some(own) = &instructions
        && (own.trim().is_empty() || own.len() > MAX_INSTRUCTION_BYTES)
    {
        let message = format!("must have between 1 and {MAX_INSTRUCTION_BYTES} bytes; leave it out for the default text");
        return Err(DocumentError::new("instructions", message));
    }
    let block_message =
        Template::parse(&block_message).map_err(|error| DocumentError::new("block_message", error.to_string()))?;
    if !ARGUMENT_BYTES.contains(&max_argument_bytes) {
        let message = format!("must be between {} and {}", ARGUMENT_BYTES.start(), ARGUMENT_BYTES.end());
        return Err(DocumentError::new("max_argument_bytes", message));
    }
    if !QUESTIONS_PER_CALL.contains(&max_questions_per_call) {
        let message = format!("must be between {} and {}", QUESTIONS_PER_CALL.start(), QUESTIONS_PER_CALL.end());
        return Err(DocumentError::new("max_questions_per_call", message));
    }
    let has_own_instructions = instructions.is_some();
    let instructions = question::write_instructions(instructions.as_deref().unwrap_or(question::DEFAULT_INSTRUCTIONS));
    // A verdict in parts is that of the first part that is above the threshold.
    let bounds = format!("{threshold} {max_argument_bytes} {max_questions_per_call}");
    let cache = cache.map(|cache| cache.build(asked, &[&instructions, &bounds])).transpose()?;
    let policy = ToolCallJudge {
        judge,
        threshold,
        allow,
        deny,
        instructions,
        has_own_instructions,
        block_message,
        on_error,
        after_block,
        max_argument_bytes,
        max_questions_per_call,
        cache,
    };
    Ok(SharedPolicy::new("ToolCallJudge", policy))
}

fn unknown_judge(judge: &str, config: PolicyConfig<'_>) -> String {
    // The few names are put in order one by one: what sorts any number of them is code that the module has no room for.
    let mut names: Vec<&str> = Vec::new();
    for name in config.judges.keys() {
        names.insert(names.partition_point(|known| *known < name.as_str()), name);
    }
    if names.is_empty() {
        format!("the document has no judge {judge:?}: add it under judges")
    } else {
        format!("the document has no judge {judge:?}; there are: {}", names.join(", "))
    }
}

/// Shortens a message to what takes so many bytes as JSON.
fn within(message: String, bytes: usize) -> String {
    let written = |character: char| match character {
        '"' | '\\' => 2,
        '\0'..='\x1f' => 6,
        _ => character.len_utf8(),
    };
    let mut left = bytes.saturating_sub('…'.len_utf8());
    let end = message.char_indices().find_map(|(index, character)| match left.checked_sub(written(character)) {
        Some(rest) => {
            left = rest;
            None
        }
        None => Some(index),
    });
    match end.and_then(|end| message.get(..end)) {
        Some(beginning) => format!("{beginning}…"),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use hashbrown::HashMap;
    use weir::document::Environment;
    use weir::judge::Judge;

    use super::*;

    fn read(with: &str) -> Result<SharedPolicy, DocumentError> {
        let main = Judge {
            name: "main".to_owned(),
            cluster: "judge".to_owned(),
            authority: "judge".to_owned(),
            path: "/v1/chat/completions".to_owned(),
            model: "small-judge".to_owned(),
            timeout: Duration::from_secs(5),
            credential: None,
        };
        make(PolicyConfig { with, judges: &HashMap::from_iter([("main".to_owned(), main)]), environment: Environment::NONE })
    }

    #[test]
    fn a_judge_is_enough_of_a_configuration() {
        let policy = read(r#"{"judge":"main"}"#).unwrap();
        assert_eq!(policy.name(), "ToolCallJudge");
        assert_eq!(policy.interests(), Interests::TOOL_CALLS);
        assert_eq!(
            policy.describe(),
            json!({"judge": "main", "threshold": 0.6, "allow": [], "deny": [], "instructions": "default", "on_error": "block",
                   "after_block": "continue", "max_argument_bytes": 8192, "max_questions_per_call": 8, "cache": null})
        );
        let caching = read(r#"{"judge":"main","cache":{}}"#).unwrap().describe();
        assert_eq!(caching["cache"], json!({"for_s": 600, "scope": "worker"}));
    }

    #[test]
    fn every_error_names_the_path_of_the_wrong_field() {
        for (fields, path) in [
            (r#""judge":"mian""#, "judge"),
            (r#""judge":"main","threshold":1.1"#, "threshold"),
            (r#""judge":"main","threshold":-0.1"#, "threshold"),
            (r#""judge":"main","threshold":"0.5""#, "threshold"),
            (r#""judge":"main","threshold":null"#, "threshold"),
            (r#""judge":"main","threshold":1e999"#, "threshold"),
            (r#""judge":"main","cache":{"for":"0s"}"#, "cache.for"),
            (r#""judge":"main","cache":{"scope":"fleet"}"#, "cache.scope"),
            (r#""judge":"main","cache":{"ttl":"1m"}"#, "cache.ttl"),
            (r#""judge":"main","allow":["a",""]"#, "allow[1]"),
            (r#""judge":"main","deny":["*a"]"#, "deny[0]"),
            (r#""judge":"main","deny":"rm""#, "deny"),
            (r#""judge":"main","instructions":"""#, "instructions"),
            (r#""judge":"main","block_message":"{reason}""#, "block_message"),
            (r#""judge":"main","block_message":"""#, "block_message"),
            (r#""judge":"main","on_error":"ignore""#, "on_error"),
            (r#""judge":"main","after_block":"stop""#, "after_block"),
            (r#""judge":"main","max_argument_bytes":1"#, "max_argument_bytes"),
            (r#""judge":"main","max_questions_per_call":0"#, "max_questions_per_call"),
            (r#""judge":"main","treshold":0.5"#, "treshold"),
        ] {
            assert_eq!(read(&format!("{{{fields}}}")).unwrap_err().path, path, "{fields}");
        }
        assert_eq!(read(r#"{"threshold":NaN}"#).unwrap_err().path, "threshold");
        assert!(read("{}").unwrap_err().message.contains("missing field `judge`"));
        assert!(read(r#"{"judge":"mian"}"#).unwrap_err().message.contains("there are: main"));
    }

    #[test]
    fn the_client_is_told_nothing_of_how_the_check_failed() {
        let shown = Reason::Unchecked.explanation();
        for internal in ["judge", "time", "status", "cluster", "error"] {
            assert!(!shown.contains(internal), "{shown}");
        }
    }

    #[test]
    fn a_message_is_shortened_to_what_a_proxy_makes_room_for() {
        assert_eq!(within("short".to_owned(), 100), "short");
        for character in ["x", "\"", "\n", "⛔", "\u{1}"] {
            let message = within(character.repeat(5000), MAX_MESSAGE_BYTES);
            let written = serde_json::to_string(&message).unwrap().len() - 2;
            assert!((500..=MAX_MESSAGE_BYTES).contains(&written) && message.ends_with('…'), "{written} of {character:?}");
        }
    }

    #[test]
    fn an_explanation_is_one_bounded_visible_line() {
        let verdict = |explanation: &str| Reason::Judged {
            verdict: Verdict { probability: 1.0, explanation: explanation.to_owned() },
            is_cached: false,
        };
        assert_eq!(verdict("deletes\nall").explanation(), "deletes all");
        assert_eq!(verdict(" \n").explanation(), "the call was judged to be harmful");
        assert_eq!(verdict(&"x".repeat(1000)).explanation().chars().count(), MAX_EXPLANATION_CHARS);
    }
}
