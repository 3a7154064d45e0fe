//! ContentTransform: find and replace, and case mapping, over live text.

mod replacer;

use std::mem;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use smallvec::SmallVec;
use weir::block::{BlockKind, ContentBlock};
use weir::decision::Decision;
use weir::dialect::DecodeError;
use weir::document::{DocumentError, PolicyConfig, parse};
use weir::event::Severity;
use weir::exchange::{End, Request};
use weir::policy::{
    BlockAction, DeltaAction, Hold, Interests, Policy, PolicyContext, Refusal, RequestAction, SharedPolicy, StreamingContext,
};

use replacer::{Case, Output, Replacer, Rule, Rules};

use crate::in_request::InRequest;
use crate::joined::{Edited, TextKey, watched_action};

/// Most rules that a configuration may have.
const MAX_RULES: usize = 1000;

/// Most bytes that all `find` together, and all `with` together, may have.
const MAX_TOTAL_BYTES: usize = 64 * 1024;

/// Replaces text and maps its case while it flows.
///
/// Of the matches the leftmost wins, of those the longest; they do not overlap, and a replacement is not searched again.
/// The result does not depend on how the provider cuts the text into deltas: exactly the end of the text that could
/// still become a match (or a longer one) waits, all else flows. Text is searched as clients join it: all text of a kind in a
/// choice, over the edges of blocks and parts. A message of MCP, and what is of unknown type, is searched block by block.
///
/// Comparison is by Unicode scalar values, without normalisation. With `ignore_case` a character is compared by the
/// lower case of its upper case, each where that is a single character: `ς` is like `σ`, `ß` is not like `ss`. `case`
/// maps character by character, so a final `Σ` becomes `σ`; replacements leave as they are written.
///
/// What is of a type that Weir does not know counts as text, but cannot be edited: where a rule finds something in it, it
/// is dropped.
///
/// Where events show texts (`evidence` of the policy document), the rules are applied to them, whatever their scope.
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
    /// The longest text that is looked for, in bytes.
    longest: usize,
}

/// What kind of text is transformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scope {
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

/// What takes the place of a text of a request of which nothing is left: providers refuse empty texts.
const NOTHING_LEFT: &str = "[removed]";

#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
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
    /// It was said that replacements would make the texts too long.
    said_exceeded: bool,
}

#[derive(Debug)]
struct OpenText {
    key: TextKey,
    replacer: Replacer,
}

impl Texts {
    fn at(&mut self, key: TextKey) -> Option<&mut Replacer> {
        let position = self.open.iter().position(|text| text.key == key).unwrap_or_else(|| {
            self.open.push(OpenText { key, replacer: Replacer::default() });
            self.open.len().saturating_sub(1)
        });
        self.open.get_mut(position).map(|text| &mut text.replacer)
    }

    fn take_delta<'d>(&mut self, rules: &Rules, key: TextKey, delta: &'d str) -> DeltaAction<'d> {
        let mut output = mem::take(&mut self.output);
        output.clear();
        let Some(replacer) = self.at(key) else { return DeltaAction::Drop };
        replacer.feed(rules, delta, &mut output);
        if output.edited.exceeded {
            *replacer = Replacer::default();
            self.output = output;
            return DeltaAction::Drop;
        }
        let undecided = replacer.undecided();
        let action = output.edited.delta_action(undecided);
        self.output = output;
        action
    }

    /// As [`Self::take_delta`], for what cannot be edited: it is dropped where a rule would replace something of it.
    fn watch_delta<'d>(&mut self, rules: &Rules, key: TextKey, delta: &'d str) -> DeltaAction<'d> {
        self.take_delta(rules, key, delta);
        let undecided = self.at(key).map_or(0, |replacer| replacer.undecided());
        watched_action(self.only_found(), undecided)
    }

    /// What is undecided of a text whose block ends waits for the next one.
    fn end_block(&mut self, key: TextKey) -> BlockAction {
        self.output.clear();
        match self.open.iter().find(|text| text.key == key) {
            Some(text) if text.replacer.undecided() > 0 => BlockAction::Hold,
            _ => BlockAction::Forward,
        }
    }

    /// The text is over: decides what is undecided.
    fn end<'d>(&mut self, rules: &Rules, key: TextKey) -> DeltaAction<'d> {
        self.output.clear();
        let Some(position) = self.open.iter().position(|text| text.key == key) else { return DeltaAction::Forward };
        let mut text = self.open.swap_remove(position);
        text.replacer.finish(rules, &mut self.output);
        self.output.edited.end_action()
    }

    /// As [`Self::end`], for what cannot be edited.
    fn end_watch(&mut self, rules: &Rules, key: TextKey) -> BlockAction {
        let _edited = self.end(rules, key);
        if self.only_found() { BlockAction::Drop } else { BlockAction::Forward }
    }

    /// Makes of what was transformed what was found; whether anything was.
    fn only_found(&mut self) -> bool {
        self.output.case_mapped = false;
        self.output.edited.changed = !self.output.applied.is_empty();
        self.output.edited.changed
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
        self.output.edited.changed
    }
}

/// The word by which it is counted that replacements would make a text too long.
const TOO_LONG: &str = "rewritten_too_large";

impl ContentTransform {
    /// Says what a step did.
    fn say(&self, changed: bool, cx: &PolicyContext<Texts>) {
        let is_exceeded = cx.scratchpad(|texts| texts.output.edited.exceeded && !mem::replace(&mut texts.said_exceeded, true));
        if is_exceeded {
            cx.count_failure(TOO_LONG);
            cx.conclude(Decision::Refuse, "REWRITTEN_TOO_LARGE");
            let summary = "Withheld the rest of the text: rules would make it longer than limits.max_rewritten_bytes allows";
            cx.emit("content_transform.rewritten_too_large", summary, Severity::Error, Value::Null);
        } else if changed {
            cx.conclude(Decision::Rewrite, "CONTENT_TRANSFORMED");
        }
    }

    fn covers(&self, block: &ContentBlock) -> bool {
        self.scope.iter().any(|scope| scope.covers(block.kind()))
    }

    /// The request with its texts transformed, and what was done to them; `None` if that changes nothing.
    fn transform(&self, request: &Request, most_growth: usize) -> Result<Option<(Vec<u8>, Transformed)>, Untransformed> {
        let (mut rewrite, mut done) = (request.rewrite(), Transformed::default());
        let mut output = Output { edited: Edited::within(most_growth), ..Output::default() };
        for part in request.parts().map_err(Untransformed::Unreadable)? {
            if !InRequest::has(&self.request, part.scope) {
                continue;
            }
            output.clear();
            let mut replacer = Replacer::default();
            replacer.feed(&self.rules, &part.text, &mut output);
            replacer.finish(&self.rules, &mut output);
            if output.edited.exceeded {
                return Err(Untransformed::TooLong);
            }
            if output.edited.changed {
                rewrite.replace(&part, if output.edited.text.is_empty() { NOTHING_LEFT } else { &output.edited.text });
                done.texts = done.texts.saturating_add(1);
                done.replaced = done.replaced.saturating_add(output.applied.len());
            }
        }
        Ok(rewrite.into_body().map(|body| (body, done)))
    }
}

/// Why a request was not transformed.
enum Untransformed {
    Unreadable(DecodeError),
    TooLong,
}

/// What was done to a request.
#[derive(Clone, Copy, Debug, Default)]
struct Transformed {
    texts: usize,
    replaced: usize,
}

impl Policy<Texts> for ContentTransform {
    fn greatest_hold(&self) -> Hold {
        match self.longest {
            0 | 1 => Hold::Nothing,
            longest => Hold::Bytes(longest.saturating_sub(1)),
        }
    }

    fn interests(&self) -> Interests {
        let transforms_requests = !self.request.is_empty();
        Interests {
            content: !self.scope.is_empty(),
            reasoning: self.scope.contains(&Scope::Reasoning),
            request_parts: transforms_requests,
            rewrites_request: transforms_requests,
            ..Interests::CONTENT_DELTAS
        }
    }

    fn describe(&self) -> Value {
        json!({ "rules": self.rules.rules().len(), "case": self.rules.case(), "scope": self.scope, "request": self.request })
    }

    fn redact(&self, text: &str) -> Option<String> {
        let mut output = Output { edited: Edited::within(MAX_TOTAL_BYTES), ..Output::default() };
        let mut replacer = Replacer::default();
        replacer.feed(&self.rules, text, &mut output);
        replacer.finish(&self.rules, &mut output);
        match (output.edited.exceeded, output.applied.is_empty()) {
            (true, _) => Some(String::new()),
            (false, true) => None,
            (false, false) => Some(output.edited.text),
        }
    }

    async fn on_request(&self, request: &Request, cx: &PolicyContext<Texts>) -> RequestAction {
        if self.request.is_empty() {
            return RequestAction::SendRequest;
        }
        match self.transform(request, cx.limits().max_rewritten_bytes) {
            Ok(None) => RequestAction::SendRequest,
            Ok(Some((body, done))) => {
                cx.conclude(Decision::Rewrite, "CONTENT_TRANSFORMED");
                let metadata = json!({ "texts": done.texts, "replaced": done.replaced });
                let summary = format!("Transformed {} texts of the request", done.texts);
                cx.emit("content_transform.request_transformed", summary, Severity::Info, metadata);
                RequestAction::SendRequestBody(body)
            }
            Err(Untransformed::TooLong) => {
                cx.count_failure(TOO_LONG);
                cx.conclude(Decision::Refuse, "REWRITTEN_TOO_LARGE");
                let message = "A rule would make the request longer than limits.max_rewritten_bytes allows.";
                RequestAction::Refuse(Refusal::new(413, message))
            }
            // A policy before this one made it so.
            Err(Untransformed::Unreadable(error)) => {
                RequestAction::Refuse(Refusal::new(400, format!("The request's texts cannot be read: {error}.")))
            }
        }
    }

    fn on_content_delta<'d>(&self, delta: &'d str, block: &ContentBlock, cx: &StreamingContext<Texts>) -> DeltaAction<'d> {
        if !self.covers(block) {
            return DeltaAction::Forward;
        }
        let key = TextKey::of(block);
        let most_growth = cx.limits().max_rewritten_bytes;
        let (action, changed) = cx.scratchpad(|texts| {
            texts.output.edited.most_growth = Some(most_growth);
            let action = match key {
                TextKey::Unknown(_) => texts.watch_delta(&self.rules, key, delta),
                TextKey::Joined { .. } => texts.take_delta(&self.rules, key, delta),
            };
            (action, texts.count())
        });
        self.say(changed, cx);
        action
    }

    async fn on_content_complete(&self, block: &ContentBlock, cx: &StreamingContext<Texts>) -> BlockAction {
        let key = TextKey::of(block);
        let (action, changed) = cx.scratchpad(|texts| {
            let action = match key {
                TextKey::Unknown(_) => texts.end_watch(&self.rules, key),
                TextKey::Joined { .. } => texts.end_block(key),
            };
            (action, texts.count())
        });
        self.say(changed, cx);
        action
    }

    fn on_text_end<'d>(&self, _: &'d str, choice: u32, kind: BlockKind, cx: &StreamingContext<Texts>) -> DeltaAction<'d> {
        let (action, changed) = cx.scratchpad(|texts| {
            let action = texts.end(&self.rules, TextKey::Joined { choice, kind });
            (action, texts.count())
        });
        self.say(changed, cx);
        action
    }

    fn on_stream_complete(&self, _: &End, cx: &PolicyContext<Texts>) {
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
    let longest = config.replace.iter().map(|rule| rule.find.len()).max().unwrap_or_default();
    let rules = Rules::new(config.replace, config.case).map_err(|same| {
        let message = format!("is the same as replace[{}].find: keep one of the two", same.earlier);
        DocumentError::new(format!("replace[{}].find", same.later), message)
    })?;
    Ok(SharedPolicy::new("ContentTransform", ContentTransform { rules, scope: config.scope, request: config.request, longest }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use weir::document::Environment;

    use super::*;

    fn rules(replace: &[(&str, &str)]) -> Rules {
        let rule = |(find, with): &(&str, &str)| Rule { find: (*find).to_owned(), with: (*with).to_owned(), ignore_case: false };
        Rules::new(replace.iter().map(rule).collect(), Case::None).unwrap()
    }

    const KEY: TextKey = TextKey::Joined { choice: 0, kind: BlockKind::Text };

    /// What an engine that follows the actions to the letter lets out, delta by delta.
    fn actions(rules: &Rules, deltas: &[&str]) -> (Vec<String>, Texts) {
        let (mut texts, mut held, mut out) = (Texts::default(), String::new(), Vec::new());
        for delta in deltas {
            let action = texts.take_delta(rules, KEY, delta);
            texts.count();
            held += delta;
            let keep = |held: &mut String, count: usize| held.split_off(held.len() - count);
            match action {
                DeltaAction::Forward => out.push(mem::take(&mut held)),
                DeltaAction::Hold => {}
                DeltaAction::Drop => held.clear(),
                DeltaAction::Replace(text) => {
                    assert!(!text.is_empty());
                    held.clear();
                    out.push(text.into_owned());
                }
                DeltaAction::HoldEnd(hold) => {
                    let rest = keep(&mut held, hold);
                    out.push(mem::replace(&mut held, rest));
                }
                DeltaAction::ReplaceHoldEnd { text, hold } => {
                    held = keep(&mut held, hold);
                    out.push(text.into_owned());
                }
            }
        }
        let action = texts.end(rules, KEY);
        texts.count();
        match action {
            DeltaAction::Forward => out.push(held),
            DeltaAction::Replace(text) => out.push(text.into_owned()),
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
        assert_eq!(texts.take_delta(&rules, KEY, ""), DeltaAction::Forward);
        assert_eq!(texts.take_delta(&rules, KEY, "se"), DeltaAction::Hold);
        assert_eq!(texts.take_delta(&rules, KEY, "crew"), DeltaAction::Forward);
        assert_eq!(texts.take_delta(&rules, KEY, "s"), DeltaAction::Hold);
        assert_eq!(texts.end_block(KEY), BlockAction::Hold);
        assert_eq!(texts.end(&rules, KEY), DeltaAction::Forward);
        assert!(!texts.count());
    }

    #[test]
    fn an_empty_delta_is_no_reason_to_conclude_anything() {
        let rules = rules(&[("secret", "***")]);
        let mut texts = Texts::default();
        for (delta, action) in [("a s", DeltaAction::HoldEnd(1)), ("", DeltaAction::Hold), ("o", DeltaAction::Forward)] {
            assert_eq!(texts.take_delta(&rules, KEY, delta), action);
            assert!(!texts.count());
        }
    }

    #[test]
    fn what_a_client_does_not_join_is_searched_apart() {
        let rules = rules(&[("ab", "x")]);
        let mut texts = Texts::default();
        let other = TextKey::Joined { choice: 1, kind: BlockKind::Text };
        assert_eq!(texts.take_delta(&rules, KEY, "a"), DeltaAction::Hold);
        assert_eq!(texts.take_delta(&rules, other, "b"), DeltaAction::Forward);
        assert_eq!(texts.take_delta(&rules, KEY, "b"), DeltaAction::Replace("x".into()));
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
        make(PolicyConfig { with, judges: &hashbrown::HashMap::new(), environment: Environment::NONE }).unwrap_err()
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
        assert!(make(PolicyConfig { with: &most, judges: &hashbrown::HashMap::new(), environment: Environment::NONE }).is_ok());
    }
}
