//! Rules at work on requests.

use smallvec::SmallVec;
use weir::decision::Decision;
use weir::dialect::Dialect;
use weir::dialect::request::{RequestPart, RequestRewrite};
use weir::exchange::Request;
use weir::policy::{PolicyContext, Refusal, RequestAction};

use super::config::Action;
use super::placeholder::Placeholders;
use super::texts::{Done, Side, Texts};
use super::{Rules, TOO_LONG, refusal};
use crate::in_request::InRequest;

/// What takes the place of a text of a request of which nothing is left: providers refuse empty texts.
pub(super) const NOTHING_LEFT: &str = "[removed]";

/// A text of a request that rules have to do with.
pub(super) struct Part<'r> {
    pub(super) part: &'r RequestPart<'r>,
    pub(super) scope: InRequest,
    /// The rules by which it is summarised.
    pub(super) rules: SmallVec<[usize; 2]>,
    /// What other rules made of it.
    pub(super) edited: Option<String>,
}

impl Part<'_> {
    /// Gives the text, as rules left it.
    pub(super) fn text(&self) -> &str {
        self.edited.as_deref().unwrap_or(&self.part.text)
    }

    /// Lets the request say what became of the text.
    pub(super) fn write(&self, rewrite: &mut RequestRewrite<'_>) {
        if let Some(text) = &self.edited {
            rewrite.replace(self.part, if text.is_empty() { NOTHING_LEFT } else { text });
        }
    }
}

/// Whether the newest message is allowed: it is where a text of it is.
#[derive(Default)]
pub(super) struct Allowance {
    message: String,
    is_allowed: bool,
}

impl Allowance {
    /// Goes on to a text that has to be allowed.
    fn enter(&mut self, path: &str) {
        let message = message_of(path);
        if self.message != message {
            (self.message, self.is_allowed) = (message.to_owned(), false);
        }
    }

    /// Allows the message of this text.
    pub(super) fn allow(&mut self, path: &str) {
        self.is_allowed |= self.message == message_of(path);
    }
}

impl Rules {
    pub(super) async fn search_request(&self, request: &Request, cx: &PolicyContext<Texts>) -> RequestAction {
        let parts = match request.parts() {
            Ok(parts) => parts,
            // A policy before this one made it so.
            Err(error) => {
                return RequestAction::Refuse(Refusal::new(400, format!("The request's texts cannot be read: {error}.")));
            }
        };
        let (mut open, mut allowance) = (Vec::new(), Allowance::default());
        // What an MCP server answers is not restored.
        let placeholders = self.placeholders.as_ref().filter(|_| request.dialect != Some(Dialect::McpTool));
        let done = self.search_parts(&parts, placeholders, &mut open, &mut allowance, cx);
        let is_exceeded = cx.scratchpad(|texts| texts.output.edited.exceeded);
        if let Some(rule) = self.say(&done, cx) {
            return RequestAction::Refuse(refusal(rule));
        }
        if is_exceeded {
            cx.count_failure(TOO_LONG);
            cx.conclude(Decision::Refuse, "REWRITTEN_TOO_LARGE");
            let message = "A rule would make the request longer than limits.max_rewritten_bytes allows.";
            return RequestAction::Refuse(Refusal::new(413, message));
        }
        if let Err(refusal) = self.categorise_parts(&mut open, &mut allowance, cx).await {
            return RequestAction::Refuse(refusal);
        }
        if let Some(rule) = self.rules.iter().find(|rule| rule.action == Action::Allow)
            && !allowance.is_allowed
            && request.dialect != Some(Dialect::McpTool)
        {
            cx.conclude(Decision::Refuse, &rule.reason_code);
            return RequestAction::Refuse(refusal(rule));
        }
        let mut rewrite = request.rewrite();
        let (to_summarise, others): (Vec<_>, Vec<_>) = open.into_iter().partition(|part| !part.rules.is_empty());
        others.iter().for_each(|part| part.write(&mut rewrite));
        self.summarise_parts(&to_summarise, &mut rewrite, cx).await;
        match rewrite.into_body() {
            Some(body) => RequestAction::SendRequestBody(body),
            None => RequestAction::SendRequest,
        }
    }

    /// Searches the texts of a request; those that leave changed, or that more has to be known of, are put into `open`.
    fn search_parts<'r>(
        &self,
        parts: &'r [RequestPart<'r>],
        placeholders: Option<&Placeholders>,
        open: &mut Vec<Part<'r>>,
        allowance: &mut Allowance,
        cx: &PolicyContext<Texts>,
    ) -> Done {
        let most_growth = cx.limits().max_rewritten_bytes;
        cx.scratchpad(|texts| {
            texts.begin();
            texts.output.edited.most_growth = Some(most_growth);
            for part in parts {
                let Some(scope) = InRequest::of(part.scope) else { continue };
                if self.requires(scope) {
                    allowance.enter(&part.path);
                }
                let rules = self.summaries.of_request(scope).map(|group| texts.find(group, &part.text)).unwrap_or_default();
                let before = texts.watched();
                let edited = self.groups.of_request(scope).and_then(|group| match placeholders {
                    Some(made) => texts.edit_reversibly(group, &part.text, made, scope.is_unseen()),
                    None => texts.edit(group, &part.text),
                });
                if self.requires(scope) && texts.has_watched(before, |rule| self.is_allow(rule)) {
                    allowance.allow(&part.path);
                }
                if !rules.is_empty() || edited.is_some() || !self.by_category.of_request(scope).is_empty() {
                    open.push(Part { part, scope, rules, edited });
                }
                if texts.output.refused.is_some() || texts.output.edited.exceeded {
                    break;
                }
            }
            texts.count(Side::Request)
        })
    }

    pub(super) fn is_allow(&self, rule: usize) -> bool {
        self.rule(rule).is_some_and(|rule| rule.action == Action::Allow)
    }

    /// Whether a text of this kind has to be allowed.
    fn requires(&self, scope: InRequest) -> bool {
        self.rules.iter().any(|rule| rule.action == Action::Allow && rule.request.contains(&scope))
    }
}

/// The message that a text stands in: `messages[2]` of `messages[2].content[0].text`.
fn message_of(path: &str) -> &str {
    path.split_inclusive(']').next().unwrap_or(path)
}
