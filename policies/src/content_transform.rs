//! ContentTransform: find and replace, and case mapping, over live text.

mod automaton;
mod replacer;

use std::borrow::Cow;
use std::mem;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use smallvec::SmallVec;
use weir::block::{BlockId, BlockKind, ContentBlock, build_text_chunk};
use weir::decision::Decision;
use weir::dialect::DecodeError;
use weir::dialect::request::RequestScope;
use weir::document::{DocumentError, PolicyConfig, parse};
use weir::event::Severity;
use weir::exchange::Request;
use weir::policy::{BlockAction, DeltaAction, Interests, Policy, PolicyContext, RequestAction, SharedPolicy, StreamingContext};

use replacer::{Case, Output, Replacer, Rule, Rules};

/// Most rules that a configuration may have.
const MAX_RULES: usize = 1000;

/// Most bytes that all `find` together, and all `with` together, may have.
const MAX_TOTAL_BYTES: usize = 64 * 1024;

/// Replaces text and maps its case while it flows.
///
/// Of the matches the leftmost wins, of those the longest; they do not overlap, and a replacement is not searched again.
/// The result does not depend on how the provider cuts the text into deltas: exactly the end of the text that could
/// still become a match (or a longer one) waits, all else flows. Blocks are not joined: a match lies within one.
///
/// Comparison is by Unicode scalar values, without normalisation. With `ignore_case` a character is compared by the
/// lower case of its upper case, each where that is a single character: `ς` is like `σ`, `ß` is not like `ss`. `case`
/// maps character by character, so a final `Σ` becomes `σ`; replacements leave as they are written.
///
/// What is of a type that Weir does not know counts as text, but cannot be edited: where a rule finds something in it, it
/// is dropped.
///
/// The texts of requests are transformed where `request` names their scopes; each text is searched on its own.
///
/// Events: `content_transform.request_transformed`; `content_transform.replaced` and `content_transform.case_mapped`, at
/// the end of an exchange in which that happened. Reason code: `CONTENT_TRANSFORMED`.
#[derive(Debug)]
pub struct ContentTransform {
    rules: Rules,
    scope: Vec<Scope>,
    request: Vec<InRequest>,
}

/// What kind of text is transformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Scope {
    Text,
    Refusal,
    Reasoning,
}

impl Scope {
    const fn covers(self, kind: BlockKind) -> bool {
        matches!(
            (self, kind),
            (Self::Text, BlockKind::Text | BlockKind::Unknown)
                | (Self::Refusal, BlockKind::Refusal)
                | (Self::Reasoning, BlockKind::Reasoning)
        )
    }
}

/// What texts of requests are transformed. Names of tools are not: the client would not know the tool that is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum InRequest {
    System,
    User,
    Assistant,
    ToolDescription,
    ToolResult,
}

impl InRequest {
    const fn covers(self, scope: RequestScope) -> bool {
        matches!(
            (self, scope),
            (Self::System, RequestScope::System)
                | (Self::User, RequestScope::User)
                | (Self::Assistant, RequestScope::Assistant)
                | (Self::ToolDescription, RequestScope::ToolDescription)
                | (Self::ToolResult, RequestScope::ToolResult)
        )
    }
}

/// What takes the place of a text of a request of which nothing is left: providers refuse empty texts.
const NOTHING_LEFT: &str = "[removed]";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    replace: Vec<Rule>,
    #[serde(default)]
    case: Case,
    #[serde(default = "Config::default_scope")]
    scope: Vec<Scope>,
    #[serde(default)]
    request: Vec<InRequest>,
}

impl Config {
    fn default_scope() -> Vec<Scope> {
        vec![Scope::Text]
    }

    fn check(&self) -> Result<(), DocumentError> {
        if self.replace.is_empty() && self.case == Case::None {
            return Err(DocumentError::new("replace", "there is nothing to do: give at least one rule, or set case"));
        }
        if self.replace.len() > MAX_RULES {
            return Err(DocumentError::new("replace", format!("must have at most {MAX_RULES} rules")));
        }
        if self.scope.is_empty() && self.request.is_empty() {
            return Err(DocumentError::new(
                "scope",
                "must name at least one of text, refusal, reasoning where request names none",
            ));
        }
        let (mut find_bytes, mut with_bytes) = (0_usize, 0_usize);
        for (index, rule) in self.replace.iter().enumerate() {
            if rule.find.is_empty() {
                return Err(DocumentError::new(format!("replace[{index}].find"), "must not be empty"));
            }
            find_bytes = find_bytes.saturating_add(rule.find.len());
            with_bytes = with_bytes.saturating_add(rule.with.len());
            for (field, bytes) in [("find", find_bytes), ("with", with_bytes)] {
                if bytes > MAX_TOTAL_BYTES {
                    let message = format!("all {field} together must have at most {MAX_TOTAL_BYTES} bytes");
                    return Err(DocumentError::new(format!("replace[{index}].{field}"), message));
                }
            }
        }
        Ok(())
    }
}

/// The texts of an exchange on their way, and what was done to them.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    open: SmallVec<[OpenText; 2]>,
    output: Output,
    replaced: Vec<(usize, u64)>,
    case_mapped: bool,
}

#[derive(Debug)]
struct OpenText {
    block: BlockId,
    replacer: Replacer,
    /// Whether the replacer alone still has what is pending, because the delta that it came in was replaced. If not, the
    /// engine holds just what is pending, as it came.
    is_owed: bool,
}

impl Texts {
    fn take_delta<'d>(&mut self, rules: &Rules, block: BlockId, delta: &'d str) -> DeltaAction<'d> {
        self.output.clear();
        let position = self.open.iter().position(|text| text.block == block).unwrap_or_else(|| {
            self.open.push(OpenText { block, replacer: Replacer::default(), is_owed: false });
            self.open.len().saturating_sub(1)
        });
        let Some(text) = self.open.get_mut(position) else { return DeltaAction::Forward };
        text.replacer.feed(rules, delta, &mut self.output);
        let is_idle = text.replacer.is_idle();
        if is_idle && !self.output.changed && !text.is_owed {
            return DeltaAction::Forward;
        }
        if !self.output.decided {
            return DeltaAction::Hold;
        }
        text.is_owed = !is_idle;
        if self.output.text.is_empty() {
            DeltaAction::Drop
        } else {
            DeltaAction::Replace(Cow::Owned(mem::take(&mut self.output.text)))
        }
    }

    /// As [`Self::take_delta`], for what cannot be edited: it is dropped where a rule would replace something of it.
    fn watch_delta<'d>(&mut self, rules: &Rules, block: BlockId, delta: &'d str) -> DeltaAction<'d> {
        let action = self.take_delta(rules, block, delta);
        let is_idle = self.open.iter().all(|text| text.block != block || text.replacer.is_idle());
        match (self.only_found(), action) {
            (true, _) => DeltaAction::Drop,
            (false, _) if !is_idle => DeltaAction::Hold,
            (false, _) => DeltaAction::Forward,
        }
    }

    /// As [`Self::end`], for what cannot be edited.
    fn end_watch(&mut self, rules: &Rules, block: BlockId) -> BlockAction {
        self.end(rules, block, 0);
        if self.only_found() { BlockAction::Drop } else { BlockAction::Forward }
    }

    /// Makes of what was transformed what was found; whether anything was.
    fn only_found(&mut self) -> bool {
        self.output.case_mapped = false;
        self.output.changed = !self.output.applied.is_empty();
        self.output.changed
    }

    fn end(&mut self, rules: &Rules, block: BlockId, choice: u32) -> BlockAction {
        self.output.clear();
        let Some(position) = self.open.iter().position(|text| text.block == block) else { return BlockAction::Forward };
        let mut text = self.open.swap_remove(position);
        text.replacer.finish(rules, &mut self.output);
        if !text.is_owed && !self.output.changed {
            BlockAction::Forward
        } else if self.output.text.is_empty() {
            BlockAction::Drop
        } else {
            BlockAction::Replace(build_text_chunk(choice, mem::take(&mut self.output.text)))
        }
    }

    /// Adds up what the last step did; whether it changed anything.
    fn count(&mut self) -> bool {
        self.case_mapped |= self.output.case_mapped;
        for applied in &self.output.applied {
            match self.replaced.iter_mut().find(|(rule, _)| rule == applied) {
                Some((_, count)) => *count = count.saturating_add(1),
                None => self.replaced.push((*applied, 1)),
            }
        }
        self.output.changed
    }
}

impl ContentTransform {
    fn covers(&self, block: &ContentBlock) -> bool {
        self.scope.iter().any(|scope| scope.covers(block.kind()))
    }

    /// The request with its texts transformed, and what was done to them; `None` if that changes nothing.
    fn transform(&self, request: &Request) -> Result<Option<(Vec<u8>, Transformed)>, DecodeError> {
        let (mut rewrite, mut done) = (request.rewrite(), Transformed::default());
        let mut output = Output::default();
        for part in request.parts()? {
            if !self.request.iter().any(|scope| scope.covers(part.scope)) {
                continue;
            }
            output.clear();
            let mut replacer = Replacer::default();
            replacer.feed(&self.rules, &part.text, &mut output);
            replacer.finish(&self.rules, &mut output);
            if output.changed {
                rewrite.replace(&part, if output.text.is_empty() { NOTHING_LEFT } else { &output.text });
                done.texts = done.texts.saturating_add(1);
                done.replaced = done.replaced.saturating_add(output.applied.len());
            }
        }
        Ok(rewrite.into_body().map(|body| (body, done)))
    }
}

/// What was done to a request.
#[derive(Clone, Copy, Debug, Default)]
struct Transformed {
    texts: usize,
    replaced: usize,
}

impl Policy<Texts> for ContentTransform {
    fn interests(&self) -> Interests {
        let transforms_requests = !self.request.is_empty();
        Interests {
            content: !self.scope.is_empty(),
            request_parts: transforms_requests,
            rewrites_request: transforms_requests,
            ..Interests::CONTENT_DELTAS
        }
    }

    fn describe(&self) -> Value {
        json!({ "rules": self.rules.rules().len(), "case": self.rules.case(), "scope": self.scope, "request": self.request })
    }

    async fn on_request(&self, request: &Request, cx: &PolicyContext<Texts>) -> RequestAction {
        if self.request.is_empty() {
            return RequestAction::SendRequest;
        }
        match self.transform(request) {
            Ok(None) => RequestAction::SendRequest,
            Ok(Some((body, done))) => {
                cx.conclude(Decision::Rewrite, "CONTENT_TRANSFORMED");
                let metadata = json!({ "texts": done.texts, "replaced": done.replaced });
                let summary = format!("Transformed {} texts of the request", done.texts);
                cx.emit("content_transform.request_transformed", summary, Severity::Info, metadata);
                RequestAction::SendRequestBody(body)
            }
            // A policy before this one made it so.
            Err(error) => RequestAction::Refuse { status: 400, message: format!("The request's texts cannot be read: {error}.") },
        }
    }

    fn on_content_delta<'d>(&self, delta: &'d str, block: &ContentBlock, cx: &StreamingContext<Texts>) -> DeltaAction<'d> {
        if !self.covers(block) {
            return DeltaAction::Forward;
        }
        let (action, changed) = cx.scratchpad(|texts| {
            let action = if block.kind() == BlockKind::Unknown {
                texts.watch_delta(&self.rules, block.id(), delta)
            } else {
                texts.take_delta(&self.rules, block.id(), delta)
            };
            (action, texts.count())
        });
        if changed {
            cx.conclude(Decision::Rewrite, "CONTENT_TRANSFORMED");
        }
        action
    }

    async fn on_content_complete(&self, block: &ContentBlock, cx: &StreamingContext<Texts>) -> BlockAction {
        let (action, changed) = cx.scratchpad(|texts| {
            let action = if block.kind() == BlockKind::Unknown {
                texts.end_watch(&self.rules, block.id())
            } else {
                texts.end(&self.rules, block.id(), block.choice())
            };
            (action, texts.count())
        });
        if changed {
            cx.conclude(Decision::Rewrite, "CONTENT_TRANSFORMED");
        }
        action
    }

    fn on_stream_complete(&self, cx: &PolicyContext<Texts>) {
        let (replaced, case_mapped) = cx.scratchpad(|texts| (mem::take(&mut texts.replaced), texts.case_mapped));
        if !replaced.is_empty() {
            let total = replaced.iter().fold(0_u64, |total, (_, count)| total.saturating_add(*count));
            // Rules by number: what they look for is not to stand in events.
            let by_rule: Map<_, _> = replaced.iter().map(|(rule, count)| (rule.to_string(), Value::from(*count))).collect();
            let metadata = json!({ "replaced": total, "by_rule": by_rule });
            cx.emit("content_transform.replaced", format!("Replaced {total} matches"), Severity::Info, metadata);
        }
        if case_mapped {
            let metadata = json!({ "case": self.rules.case() });
            cx.emit("content_transform.case_mapped", "Changed the case of text", Severity::Info, metadata);
        }
    }
}

pub(crate) fn make(config: PolicyConfig<'_>) -> Result<SharedPolicy, DocumentError> {
    let config: Config = parse(config.with)?;
    config.check()?;
    let rules = Rules::new(config.replace, config.case).map_err(|same| {
        let message = format!("is the same as replace[{}].find: keep one of the two", same.earlier);
        DocumentError::new(format!("replace[{}].find", same.later), message)
    })?;
    Ok(SharedPolicy::new("ContentTransform", ContentTransform { rules, scope: config.scope, request: config.request }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules(replace: &[(&str, &str)]) -> Rules {
        let rule = |(find, with): &(&str, &str)| Rule { find: (*find).to_owned(), with: (*with).to_owned(), ignore_case: false };
        Rules::new(replace.iter().map(rule).collect(), Case::None).unwrap()
    }

    /// What an engine that follows the actions to the letter lets out, delta by delta.
    fn actions(rules: &Rules, deltas: &[&str]) -> (Vec<String>, Texts) {
        let (mut texts, mut held, mut out) = (Texts::default(), String::new(), Vec::new());
        for delta in deltas {
            let action = texts.take_delta(rules, BlockId(0), delta);
            texts.count();
            match action {
                DeltaAction::Forward => out.push(mem::take(&mut held) + delta),
                DeltaAction::Hold => held += delta,
                DeltaAction::Drop => held.clear(),
                DeltaAction::Replace(text) => {
                    assert!(!text.is_empty());
                    held.clear();
                    out.push(text.into_owned());
                }
            }
        }
        let action = texts.end(rules, BlockId(0), 0);
        texts.count();
        match action {
            BlockAction::Forward => out.push(held),
            BlockAction::Replace(chunk) => {
                assert!(chunk != build_text_chunk(0, ""));
                out.push(match chunk {
                    weir::block::Chunk::Text { text, .. } => text,
                    other => panic!("{other:?}"),
                });
            }
            _ => (),
        }
        (out, texts)
    }

    #[test]
    fn text_flows_up_to_what_could_become_a_match() {
        let (out, texts) = actions(&rules(&[("secret", "***")]), &["the se", "cret is", " safe", ", secr", ""]);
        assert_eq!(out, ["the ", "*** i", "s safe", ", ", "secr"]);
        assert_eq!(texts.replaced, [(0, 1)]);
    }

    #[test]
    fn held_deltas_that_turn_out_harmless_are_forwarded_as_they_came() {
        let rules = rules(&[("secret", "***")]);
        let mut texts = Texts::default();
        assert_eq!(texts.take_delta(&rules, BlockId(0), ""), DeltaAction::Forward);
        assert_eq!(texts.take_delta(&rules, BlockId(0), "se"), DeltaAction::Hold);
        assert_eq!(texts.take_delta(&rules, BlockId(0), "crew"), DeltaAction::Forward);
        assert_eq!(texts.take_delta(&rules, BlockId(0), "s"), DeltaAction::Hold);
        assert_eq!(texts.end(&rules, BlockId(0), 0), BlockAction::Forward);
        assert!(!texts.count());
    }

    #[test]
    fn a_match_is_not_joined_across_blocks() {
        let rules = rules(&[("ab", "x")]);
        let mut texts = Texts::default();
        assert_eq!(texts.take_delta(&rules, BlockId(0), "a"), DeltaAction::Hold);
        assert_eq!(texts.take_delta(&rules, BlockId(1), "b"), DeltaAction::Forward);
        assert_eq!(texts.take_delta(&rules, BlockId(0), "b"), DeltaAction::Replace("x".into()));
    }

    #[test]
    fn text_that_is_replaced_by_nothing_is_dropped() {
        let (out, texts) = actions(&rules(&[("ab", "")]), &["ab", "a", "ba", "b"]);
        assert_eq!(out.concat(), "");
        assert_eq!(texts.replaced, [(0, 3)]);
    }

    proptest! {
        #[test]
        fn any_cutting_into_deltas_lets_the_same_text_out(deltas in proptest::collection::vec("[abcd]{0,4}", 0..10)) {
            let rules = rules(&[("ab", ""), ("abc", "ab"), ("cc", "d"), ("dbba", "ccc"), ("bb", "bb")]);
            let deltas: Vec<&str> = deltas.iter().map(String::as_str).collect();
            let (cut, _) = actions(&rules, &deltas);
            let (whole, _) = actions(&rules, &[&deltas.concat()]);
            prop_assert_eq!(cut.concat(), whole.concat());
        }
    }

    fn error(with: &str) -> DocumentError {
        make(PolicyConfig { with, judges: &hashbrown::HashMap::new() }).unwrap_err()
    }

    #[test]
    fn every_error_names_the_path_of_the_wrong_field() {
        for (with, path) in [
            ("{}", "replace"),
            (r#"{"replace":[{"find":"a","with":"b"},{"find":"","with":"b"}]}"#, "replace[1].find"),
            (r#"{"replace":[{"find":"a"}]}"#, "replace[0]"),
            (r#"{"replace":[{"find":"a","with":"b","ignorecase":true}]}"#, "replace[0].ignorecase"),
            (r#"{"replace":[{"find":"a","with":"b"},{"find":"a","with":"c"}]}"#, "replace[1].find"),
            (r#"{"case":"title"}"#, "case"),
            (r#"{"case":"upper","scope":[]}"#, "scope"),
            (r#"{"case":"upper","scope":["text","tool_calls"]}"#, "scope[1]"),
            (r#"{"case":"upper","request":["user","tool_name"]}"#, "request[1]"),
        ] {
            assert_eq!(error(with).path, path, "{with}");
        }
    }

    #[test]
    fn the_bounds_are_kept() {
        let rule = |find: String| json!({ "find": find, "with": "" });
        let many: Vec<Value> = (0..=MAX_RULES).map(|number| rule(number.to_string())).collect();
        assert_eq!(error(&json!({ "replace": many }).to_string()).path, "replace");
        let long = [rule("a".repeat(MAX_TOTAL_BYTES)), rule("b".to_owned())];
        assert_eq!(error(&json!({ "replace": long }).to_string()).path, "replace[1].find");
        let most = json!({ "replace": [rule("a".repeat(MAX_TOTAL_BYTES))] }).to_string();
        assert!(make(PolicyConfig { with: &most, judges: &hashbrown::HashMap::new() }).is_ok());
    }
}
