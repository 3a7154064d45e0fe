//! Rules by which a model's summary takes the place of a whole text.

use serde_json::{Value, json};
use smallvec::SmallVec;
use weir::block::{BlockKind, ContentBlock, build_text_chunk};
use weir::decision::Decision;
use weir::dialect::request::RequestRewrite;
use weir::event::Severity;

use weir::limits::FailureMode;
use weir::policy::{BlockAction, Conclusion, PolicyContext, StreamingContext};

use super::groups::Group;
use super::request::{NOTHING_LEFT, Part};
use super::texts::{Side, Texts};
use super::{Rules, is_unclear};
use crate::writer::{Failure, Summary, Writer};

impl Rules {
    /// Has a block of an answer summarised in which a rule matched, or which is of a category that a rule is for.
    pub(super) async fn summarise_block(
        &self,
        group: Option<&Group>,
        by_category: SmallVec<[usize; 2]>,
        block: &ContentBlock,
        cx: &StreamingContext<Texts>,
    ) -> BlockAction {
        let (text, place) = (block.text(), || Value::from(block.choice()));
        let (mut rules, done) = cx.scratchpad(|texts| {
            texts.begin();
            texts.most_held = texts.most_held.max(text.len());
            (group.map(|group| texts.find(group, text)).unwrap_or_default(), texts.count(Side::Answer))
        });
        rules.extend(by_category);
        let _refuses_nothing = self.say(&done, cx);
        let is_unclear = is_unclear(block);
        // Without a match in all that there is of it, a text is none of the rules' business.
        if rules.is_empty() && !is_unclear {
            return BlockAction::Forward;
        }
        // What cannot be edited cannot have a summary in its place.
        let is_unknown = block.kind() == BlockKind::Unknown;
        let written = match &self.writer {
            Some(writer) if !is_unclear && !is_unknown => writer.write(text, cx).await.map(|summary| (writer, summary)),
            _ => Err(Failure::Incomplete),
        };
        match written {
            Ok((writer, summary)) => {
                self.tell_of_summary(writer, &rules, text.len(), &summary, place(), cx);
                BlockAction::Replace(build_text_chunk(block.choice(), summary.text))
            }
            Err(failure) if self.tell_of_failure(&rules, failure, place(), cx) => BlockAction::Forward,
            Err(_) if is_unknown => BlockAction::Drop,
            Err(_) => BlockAction::Replace(build_text_chunk(block.choice(), self.failure_message())),
        }
    }

    /// Has texts of a request summarised, as the other rules left them.
    pub(super) async fn summarise_parts(&self, parts: &[Part<'_>], rewrite: &mut RequestRewrite<'_>, cx: &PolicyContext<Texts>) {
        let texts: Vec<&str> = parts.iter().map(Part::text).collect();
        let mut written = match &self.writer {
            Some(writer) => writer.find_or_write(&texts, cx).await.into_iter(),
            None => Vec::new().into_iter(),
        };
        for matched in parts {
            let (part, rules, text) = (matched.part, matched.rules.as_slice(), matched.text());
            let place = Value::from(part.path.as_str());
            let summary = written.next().unwrap_or(Err(Failure::TooMany));
            match summary.and_then(|summary| Ok((self.writer.as_ref().ok_or(Failure::TooMany)?, summary))) {
                Ok((writer, summary)) => {
                    rewrite.replace(part, &summary.text);
                    self.tell_of_summary(writer, rules, text.len(), &summary, place, cx);
                }
                Err(failure) if self.tell_of_failure(rules, failure, place, cx) => matched.write(rewrite),
                Err(_) => rewrite.replace(part, self.failure_message()),
            }
        }
    }

    fn failure_message(&self) -> &str {
        self.writer.as_ref().map_or(NOTHING_LEFT, |writer| writer.settings.message.as_str())
    }

    fn ids(&self, rules: &[usize]) -> Vec<&str> {
        rules.iter().filter_map(|rule| self.rule(*rule)).map(|rule| rule.id.as_str()).collect()
    }

    fn tell_of_summary(
        &self,
        writer: &Writer,
        rules: &[usize],
        bytes: usize,
        summary: &Summary,
        place: Value,
        cx: &PolicyContext<Texts>,
    ) {
        for rule in rules.iter().filter_map(|rule| self.rule(*rule)) {
            let mut conclusion = Conclusion::new(Decision::Summary).because(rule.reason_code.as_str());
            if let Some(category) = &rule.category {
                conclusion = conclusion.in_category(category.as_str());
            }
            cx.record(&conclusion);
        }
        let details = json!({"rules": self.ids(rules), "judge": writer.settings.judge, "bytes": bytes,
            "summary_bytes": summary.text.len(), "kept": summary.was_kept, "place": place});
        cx.emit("rules.summarised", "Put a summary in the place of a text in which a rule matched", Severity::Info, details);
    }

    /// Tells that there is no summary. Whether the text passes all the same.
    fn tell_of_failure(&self, rules: &[usize], failure: Failure, place: Value, cx: &PolicyContext<Texts>) -> bool {
        let is_open = self.writer.as_ref().is_some_and(|writer| writer.settings.on_error == FailureMode::Allow);
        let details = json!({"rules": self.ids(rules), "error": failure.name(), "failed_open": is_open, "place": place});
        cx.emit("rules.summary_failed", format!("No summary: {failure}"), Severity::Error, details);
        cx.count_failure("rules_summary");
        let decision = if is_open { Decision::Allow } else { Decision::Refuse };
        let mut conclusion = Conclusion::new(decision);
        if is_open {
            cx.count_failed_open("rules_summary");
        } else {
            conclusion = conclusion.because("SUMMARY_FAILED");
        }
        cx.record(&conclusion);
        for category in rules.iter().filter_map(|rule| self.rule(*rule)?.category.as_deref()) {
            cx.record(&Conclusion::new(decision).in_category(category));
        }
        is_open
    }
}
