//! BlockRequests: refuses requests by what they ask for.

use core::cell::OnceCell;

use serde::Deserialize;
use serde_json::{Value, json};
use weir::answer::Answer;
use weir::decision::Decision;
use weir::dialect::request::{RequestPart, RequestScope};
use weir::document::{DocumentError, PolicyConfig, parse};
use weir::event::Severity;
use weir::exchange::Request;
use weir::policy::{Hold, Interests, Policy, PolicyContext, Refusal, RequestAction, SharedPolicy};

use crate::condition::{Condition, Tested, test_all};
use crate::in_request::InRequest;
use crate::json::read_object;
use crate::text::one_line;
use crate::tool_list::ToolList;

/// Most rules.
const MAX_RULES: usize = 100;

/// Most terms of a rule.
const MAX_TERMS: usize = 100;

/// Refuses a request that a rule fits; the first that does gives status and message. All that a rule names has to fit.
///
/// Event: `block_requests.blocked`. Reason code: `REQUEST_BLOCKED`, or the rule's own.
#[derive(Debug)]
pub struct BlockRequests {
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct Rule {
    /// For events; its number where it has none.
    name: Option<String>,
    models: Option<ToolList>,
    except_models: Option<ToolList>,
    tools: Option<ToolList>,
    #[serde(default)]
    when: Vec<Condition>,
    above_bytes: Option<usize>,
    /// Any of these in a text, whatever the case.
    #[serde(default)]
    terms: Vec<String>,
    #[serde(default = "Rule::default_scopes")]
    scopes: Vec<InRequest>,
    #[serde(default = "Rule::default_status")]
    status: u16,
    #[serde(default = "Rule::default_message")]
    message: String,
    #[serde(default = "Rule::default_reason_code")]
    reason_code: String,
    /// The message is the answer, with status 200, instead of an error.
    #[serde(default)]
    answer: bool,
}

impl Rule {
    fn default_scopes() -> Vec<InRequest> {
        vec![InRequest::System, InRequest::User, InRequest::ToolResult]
    }

    const fn default_status() -> u16 {
        403
    }

    fn default_message() -> String {
        "Request blocked by policy.".to_owned()
    }

    fn default_reason_code() -> String {
        "REQUEST_BLOCKED".to_owned()
    }
}

/// What rules look at; each is read once, and only where a rule asks. What cannot be read is `None`.
struct Facts<'r> {
    request: &'r Request,
    json: OnceCell<Option<Value>>,
    parts: OnceCell<Option<Vec<RequestPart<'r>>>>,
    /// The texts of the parts in lower case.
    lower: OnceCell<Vec<String>>,
}

impl<'r> Facts<'r> {
    fn of(request: &'r Request) -> Self {
        Self { request, json: OnceCell::new(), parts: OnceCell::new(), lower: OnceCell::new() }
    }

    fn json(&self) -> Option<&Value> {
        self.json.get_or_init(|| read_object(&self.request.body)).as_ref()
    }

    fn parts(&self) -> Option<&[RequestPart<'r>]> {
        self.parts.get_or_init(|| self.request.parts().ok()).as_deref()
    }

    /// The texts of these kinds in lower case.
    fn lower_texts(&self, kinds: &[InRequest]) -> impl Iterator<Item = &str> {
        let parts = self.parts().unwrap_or_default();
        let lower = self.lower.get_or_init(|| parts.iter().map(|part| part.text.to_lowercase()).collect());
        let is_wanted = |(part, _): &(&RequestPart<'_>, &String)| InRequest::has(kinds, part.scope);
        parts.iter().zip(lower).filter(is_wanted).map(|(_, text)| text.as_str())
    }

    fn offers(&self, tools: &ToolList) -> bool {
        let is_one = |part: &RequestPart<'_>| part.scope == RequestScope::ToolName && tools.find(&part.text).is_some();
        self.parts().unwrap_or_default().iter().any(is_one)
    }
}

impl Rule {
    fn check(&self) -> Result<(), DocumentError> {
        let names_nothing = self.models.is_none() && self.except_models.is_none() && self.tools.is_none();
        if names_nothing && self.when.is_empty() && self.above_bytes.is_none() && self.terms.is_empty() {
            return Err(DocumentError::new("", "names nothing that could fit: it would block every request"));
        }
        for (path, list) in [("models", &self.models), ("except_models", &self.except_models), ("tools", &self.tools)] {
            if let Some(list) = list {
                list.check(path)?;
            }
        }
        for (index, condition) in self.when.iter().enumerate() {
            let below = |error: DocumentError| DocumentError::new(join(&format!("when[{index}]"), &error.path), error.message);
            condition.check().map_err(below)?;
        }
        if self.terms.len() > MAX_TERMS || self.terms.iter().any(String::is_empty) {
            return Err(DocumentError::new("terms", "must have at most 100 terms, none of them empty"));
        }
        if !(400..=599).contains(&self.status) {
            return Err(DocumentError::new("status", "must be between 400 and 599"));
        }
        Ok(())
    }

    /// Whether all that the rule names fits. What cannot be looked at fits: it fails closed.
    fn fits(&self, facts: &Facts<'_>) -> bool {
        let request = facts.request;
        let fits_model = self.models.as_ref().is_none_or(|models| models.find(&request.model).is_some());
        let is_excepted = self.except_models.as_ref().is_some_and(|models| models.find(&request.model).is_some());
        if !fits_model || is_excepted || self.above_bytes.is_some_and(|bytes| request.body.len() <= bytes) {
            return false;
        }
        if !self.when.is_empty() {
            let Some(json) = facts.json() else { return true };
            // A parameter that is not there is not asked for; one that cannot be tested may be what is not to be.
            if matches!(test_all(&self.when, Some(json)), Tested::HoldsNot | Tested::Missing) {
                return false;
            }
        }
        if self.tools.is_none() && self.terms.is_empty() {
            return true;
        }
        if facts.parts().is_none() {
            return true;
        }
        let says = |text: &str| self.terms.iter().any(|term| text.contains(term.as_str()));
        self.tools.as_ref().is_none_or(|tools| facts.offers(tools))
            && (self.terms.is_empty() || facts.lower_texts(&self.scopes).any(says))
    }
}

impl Policy for BlockRequests {
    fn greatest_hold(&self) -> Hold {
        Hold::Nothing
    }

    fn interests(&self) -> Interests {
        let reads_parts = self.rules.iter().any(|rule| rule.tools.is_some() || !rule.terms.is_empty());
        Interests { request_parts: reads_parts, ..Interests::REQUESTS }
    }

    fn describe(&self) -> Value {
        json!({ "rules": self.rules.len() })
    }

    async fn on_request(&self, request: &Request, cx: &PolicyContext) -> RequestAction {
        let facts = Facts::of(request);
        let Some((index, rule)) = self.rules.iter().enumerate().find(|(_, rule)| rule.fits(&facts)) else {
            return RequestAction::SendRequest;
        };
        let name = rule.name.clone().unwrap_or_else(|| index.to_string());
        cx.conclude(Decision::Refuse, &rule.reason_code);
        cx.note_denylist_hit(&name);
        let details = json!({"rule": name, "model": one_line(&request.model, 128), "reason_code": rule.reason_code});
        cx.emit("block_requests.blocked", format!("Blocked a request by rule {name}"), Severity::Warning, details);
        if rule.answer && request.dialect.is_some() {
            return RequestAction::SendResponse(Answer::text(rule.message.as_str()));
        }
        RequestAction::Refuse(Refusal::new(rule.status, rule.message.as_str()).with_code("request_blocked"))
    }
}

/// Joins the paths of a thing and of what is wrong in it.
pub(crate) fn join(parent: &str, path: &str) -> String {
    if path.is_empty() { parent.to_owned() } else { format!("{parent}.{path}") }
}

pub(crate) fn make(config: PolicyConfig<'_>) -> Result<SharedPolicy, DocumentError> {
    let Config { mut rules } = parse(config.with)?;
    if rules.is_empty() || rules.len() > MAX_RULES {
        return Err(DocumentError::new("rules", "must be 1 to 100"));
    }
    for (index, rule) in rules.iter().enumerate() {
        rule.check().map_err(|error| DocumentError::new(join(&format!("rules[{index}]"), &error.path), error.message))?;
    }
    rules.iter_mut().flat_map(|rule| &mut rule.terms).for_each(|term| *term = term.to_lowercase());
    Ok(SharedPolicy::new("BlockRequests", BlockRequests { rules }))
}
