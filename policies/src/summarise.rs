//! Summarise: a model writes what stands in the place of long texts.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use weir::block::{BlockKind, ContentBlock, build_text_chunk};
use weir::decision::Decision;
use weir::dialect::request::RequestPart;
use weir::document::{DocumentDuration, DocumentError, PolicyConfig, parse};
use weir::event::Severity;
use weir::exchange::Request;
use weir::limits::FailureMode;
use weir::policy::{
    BlockAction, DeltaAction, Hold, Interests, Policy, PolicyContext, Refusal, RequestAction, SharedPolicy, StreamingContext,
};
use weir::state::Scope;

use crate::in_request::InRequest;
use crate::writer::{Failure, MAX_TEXT_BYTES, Settings, Summary, Writer};

/// Puts a summary in the place of texts that are longer than some length, in requests (the results of tools, as a rule) and in answers.
/// A model of the document's `judges` writes it. Summaries of requests are kept, so that the same text has the same one in every turn.
///
/// Texts of an answer wait until they are complete.
///
/// Events: `summarise.summarised`, `summarise.failed`. Reason codes: `SUMMARISED`, with the decision `summary`; `SUMMARY_FAILED`.
#[derive(Debug)]
pub struct Summarise {
    config: Config,
    writer: Writer,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The model that writes, of `judges`.
    judge: String,
    /// What it is told.
    #[serde(default = "Settings::default_instructions")]
    instructions: String,
    /// Texts of more bytes are summarised.
    #[serde(default = "Config::default_longer_than")]
    longer_than: usize,
    /// Most bytes of a summary.
    #[serde(default = "Settings::default_max_bytes")]
    max_bytes: usize,
    /// Which texts of requests.
    #[serde(default = "Config::default_request")]
    request: Vec<InRequest>,
    /// Which texts of answers.
    #[serde(default)]
    answer: Vec<InAnswer>,
    /// What becomes of a text without a summary.
    #[serde(default)]
    on_error: FailureMode,
    /// What stands in the place of one that is not to pass without.
    #[serde(default = "Config::default_message")]
    message: String,
    /// How long summaries of texts of requests are kept.
    #[serde(default = "Settings::default_kept_for")]
    keep_for: DocumentDuration,
    #[serde(default = "Settings::default_scope")]
    scope: Scope,
}

impl Config {
    const fn default_longer_than() -> usize {
        8 * 1024
    }

    fn default_request() -> Vec<InRequest> {
        vec![InRequest::ToolResult]
    }

    fn default_message() -> String {
        "[A long text was withheld: there is no summary of it.]".to_owned()
    }

    fn settings(&self) -> Settings {
        Settings {
            judge: self.judge.clone(),
            instructions: self.instructions.clone(),
            max_bytes: self.max_bytes,
            on_error: self.on_error,
            message: self.message.clone(),
            keep_for: self.keep_for,
            scope: self.scope,
        }
    }

    fn check(&self) -> Result<(), DocumentError> {
        let checks = [
            ("longer_than", self.longer_than > self.max_bytes, "must be more than max_bytes: a summary is shorter than its text"),
            ("longer_than", self.longer_than < MAX_TEXT_BYTES, "must be less than 262144"),
            ("request", !(self.request.is_empty() && self.answer.is_empty()), "name a text in request or in answer"),
        ];
        let wrong = checks.iter().find(|(_, is_right, _)| !is_right);
        wrong.map_or(Ok(()), |(field, _, message)| Err(DocumentError::new(*field, *message)))
    }
}

/// Texts of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum InAnswer {
    /// What is said; of MCP what tools answer.
    Text,
}

impl Summarise {
    fn is_sought(&self, part: &RequestPart<'_>) -> bool {
        InRequest::has(&self.config.request, part.scope) && part.text.len() > self.config.longer_than
    }

    /// Tells of a summary.
    fn tell(&self, text: &str, summary: &Summary, place: Value, cx: &PolicyContext) {
        cx.conclude(Decision::Summary, "SUMMARISED");
        let details = json!({"judge": self.config.judge, "bytes": text.len(), "summary_bytes": summary.text.len(), "kept": summary.was_kept,
            "place": place});
        cx.emit("summarise.summarised", "Put a summary in the place of a text", Severity::Info, details);
    }

    /// Tells that there is none. Whether the text passes all the same.
    fn fail(&self, failure: &Failure, place: Value, cx: &PolicyContext) -> bool {
        let is_open = self.config.on_error == FailureMode::Allow;
        let details = json!({"judge": self.config.judge, "error": failure.name(), "failed_open": is_open, "place": place});
        cx.emit("summarise.failed", format!("No summary: {failure}"), Severity::Error, details);
        cx.count_failure("summarise");
        if is_open {
            cx.count_failed_open("summarise");
        } else {
            cx.conclude(Decision::Refuse, "SUMMARY_FAILED");
        }
        is_open
    }
}

impl Policy for Summarise {
    fn greatest_hold(&self) -> Hold {
        if self.config.answer.is_empty() { Hold::Nothing } else { Hold::Texts }
    }

    fn interests(&self) -> Interests {
        let (of_request, of_answer) = (!self.config.request.is_empty(), !self.config.answer.is_empty());
        Interests {
            request: true,
            request_body: of_request,
            request_parts: of_request,
            rewrites_request: of_request,
            response: of_answer,
            content: of_answer,
            content_text: of_answer,
            ..Interests::NONE
        }
    }

    fn describe(&self) -> Value {
        json!({"judge": self.config.judge, "longer_than": self.config.longer_than, "max_bytes": self.config.max_bytes,
            "request": self.config.request, "answer": self.config.answer, "on_error": self.config.on_error,
            "keep_for_s": self.config.keep_for.0.as_secs(), "scope": self.config.scope.name()})
    }

    async fn on_request(&self, request: &Request, cx: &PolicyContext) -> RequestAction {
        if self.config.request.is_empty() {
            return RequestAction::SendRequest;
        }
        let parts = match request.parts() {
            Ok(parts) => parts,
            // A policy before this one made it so.
            Err(error) => {
                return RequestAction::Refuse(Refusal::new(400, format!("The request's texts cannot be read: {error}.")));
            }
        };
        let long: Vec<&RequestPart<'_>> = parts.iter().filter(|part| self.is_sought(part)).collect();
        let mut rewrite = request.rewrite();
        let texts: Vec<&str> = long.iter().map(|part| part.text.as_ref()).collect();
        let written = self.writer.find_or_write(&texts, cx).await;
        for (part, written) in long.into_iter().zip(written) {
            match written {
                Ok(summary) => {
                    rewrite.replace(part, &summary.text);
                    self.tell(&part.text, &summary, part.path.clone().into(), cx);
                }
                Err(failure) => {
                    if !self.fail(&failure, part.path.clone().into(), cx) {
                        rewrite.replace(part, &self.config.message);
                    }
                }
            }
        }
        rewrite.into_body().map_or(RequestAction::SendRequest, RequestAction::SendRequestBody)
    }

    fn on_content_delta<'d>(&self, _: &'d str, block: &ContentBlock, _: &StreamingContext) -> DeltaAction<'d> {
        if block.kind() == BlockKind::Text { DeltaAction::Hold } else { DeltaAction::Forward }
    }

    async fn on_content_complete(&self, block: &ContentBlock, cx: &StreamingContext) -> BlockAction {
        if block.kind() != BlockKind::Text || block.text().len() <= self.config.longer_than {
            return BlockAction::Forward;
        }
        let written = if block.is_truncated() || block.ambiguity().is_some() {
            Err(Failure::Incomplete)
        } else {
            self.writer.write(block.text(), cx).await
        };
        let text = match written {
            Ok(summary) => {
                self.tell(block.text(), &summary, block.choice().into(), cx);
                summary.text
            }
            Err(failure) if self.fail(&failure, block.choice().into(), cx) => return BlockAction::Forward,
            Err(_) => self.config.message.clone(),
        };
        BlockAction::Replace(build_text_chunk(block.choice(), text))
    }
}

pub(crate) fn make(config: PolicyConfig<'_>) -> Result<SharedPolicy, DocumentError> {
    let own: Config = parse(config.with)?;
    let writer = Writer::new(own.settings(), config)?;
    own.check()?;
    Ok(SharedPolicy::new("Summarise", Summarise { config: own, writer }))
}
