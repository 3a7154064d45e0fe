//! Rules at work on requests.

use weir::decision::Decision;
use weir::dialect::Dialect;
use weir::exchange::Request;
use weir::policy::{PolicyContext, Refusal, RequestAction};

use super::config::Action;
use super::summary::Matched;
use super::texts::{Done, Side, Texts};
use super::{Rules, TOO_LONG, refusal};
use crate::in_request::InRequest;

/// What takes the place of a text of a request of which nothing is left: providers refuse empty texts.
pub(super) const NOTHING_LEFT: &str = "[removed]";

impl Rules {
    pub(super) async fn search_request(&self, request: &Request, cx: &PolicyContext<Texts>) -> RequestAction {
        let parts = match request.parts() {
            Ok(parts) => parts,
            // A policy before this one made it so.
            Err(error) => {
                return RequestAction::Refuse(Refusal::new(400, format!("The request's texts cannot be read: {error}.")));
            }
        };
        let mut rewrite = request.rewrite();
        let most_growth = cx.limits().max_rewritten_bytes;
        // What an MCP server answers is not restored.
        let placeholders = self.placeholders.as_ref().filter(|_| request.dialect != Some(Dialect::McpTool));
        // A message is allowed where a text of it is.
        let (mut message, mut is_allowed) = (String::new(), false);
        let mut to_summarise: Vec<Matched<'_>> = Vec::new();
        let done: Done = cx.scratchpad(|texts| {
            texts.begin();
            texts.output.edited.most_growth = Some(most_growth);
            for part in &parts {
                let Some(scope) = InRequest::of(part.scope) else { continue };
                let summarising = self.summaries.of_request(scope);
                let rules = summarising.map(|group| texts.find(group, &part.text)).unwrap_or_default();
                let Some(group) = self.groups.of_request(scope) else {
                    if !rules.is_empty() {
                        to_summarise.push(Matched { part, rules, edited: None });
                    }
                    continue;
                };
                if self.requires(scope) {
                    let this = message_of(&part.path);
                    if message != this {
                        (message, is_allowed) = (this.to_owned(), false);
                    }
                }
                let before = texts.watched();
                let edited = match placeholders {
                    Some(made) => texts.edit_reversibly(group, &part.text, made, scope.is_unseen()),
                    None => texts.edit(group, &part.text),
                };
                if !rules.is_empty() {
                    to_summarise.push(Matched { part, rules, edited });
                } else if let Some(text) = edited {
                    rewrite.replace(part, if text.is_empty() { NOTHING_LEFT } else { &text });
                }
                if self.requires(scope) {
                    is_allowed |= texts.has_watched(before, |rule| self.is_allow(rule));
                }
                if texts.output.refused.is_some() || texts.output.edited.exceeded {
                    break;
                }
            }
            texts.count(Side::Request)
        });
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
        if let Some(rule) = self.rules.iter().find(|rule| rule.action == Action::Allow)
            && !is_allowed
            && request.dialect != Some(Dialect::McpTool)
        {
            cx.conclude(Decision::Refuse, &rule.reason_code);
            return RequestAction::Refuse(refusal(rule));
        }
        self.summarise_parts(&to_summarise, &mut rewrite, cx).await;
        match rewrite.into_body() {
            Some(body) => RequestAction::SendRequestBody(body),
            None => RequestAction::SendRequest,
        }
    }

    fn is_allow(&self, rule: usize) -> bool {
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
