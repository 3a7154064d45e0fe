//! Files of cases: a policy document, exchanges, and what is expected of each.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use weir_driver::ServiceReply;

use crate::cli::desk::{Answer, Judged};

/// A file of cases.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cases {
    /// The policy document, or the path of its file, from that of the cases.
    pub(crate) document: Value,
    pub(crate) cases: Vec<Case>,
}

/// One exchange, and what is expected of it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Where the request goes; told by its body where it is not given.
    pub(crate) path: Option<String>,
    #[serde(default)]
    pub(crate) headers: Map<String, Value>,
    /// The project, where the document has several.
    #[serde(default)]
    pub(crate) project: String,
    /// The request's body.
    pub(crate) request: Value,
    /// What the provider answers: a body (an object) or an event stream (a text).
    #[serde(default)]
    pub(crate) response: Value,
    /// The path of a file with it, from that of the cases.
    pub(crate) response_file: Option<PathBuf>,
    /// The status of the provider's answer.
    #[serde(default = "Case::default_status")]
    pub(crate) status: u16,
    #[serde(default)]
    pub(crate) split: CaseSplit,
    /// How judges answer; the first entry that fits a question counts.
    #[serde(default)]
    pub(crate) judge: Vec<Judge>,
    pub(crate) expect: Expectation,
}

impl Case {
    const fn default_status() -> u16 {
        200
    }

    pub(super) fn replies(&self) -> Vec<Judged> {
        self.judge.iter().map(Judge::reply).collect()
    }
}

/// How the answer is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CaseSplit {
    /// Each event by itself.
    #[default]
    Events,
    /// Not at all.
    Whole,
    /// Each byte by itself.
    Bytes,
    /// In two at every byte, and in all the other ways.
    All,
}

/// How a judge answers questions in which `when` stands. Without probability, content, categories and status it does not answer.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Judge {
    #[serde(default)]
    when: String,
    /// The probability of harm of its verdict.
    probability: Option<f64>,
    /// The judge's own words, in place of a verdict.
    content: Option<String>,
    /// The scores that a service of moderations gives texts in which `when` stands, by category; flagged from 0.5 on.
    categories: Option<BTreeMap<String, f64>>,
    /// The HTTP status of a judge that fails.
    status: Option<u16>,
}

impl Judge {
    fn reply(&self) -> Judged {
        let reply = match (self.probability, &self.content, &self.categories, self.status) {
            (Some(probability), ..) => Answer::Reply(ServiceReply::verdict(probability)),
            (None, Some(content), ..) => Answer::Reply(ServiceReply::content(content)),
            (None, None, Some(categories), _) => Answer::Scores(categories.clone()),
            (None, None, None, Some(status)) => Answer::Reply(ServiceReply::response(status, Vec::new())),
            (None, None, None, None) => Answer::Reply(ServiceReply::silence()),
        };
        Judged { when: self.when.clone(), answer: reply }
    }
}

/// What is expected; what is not named is not compared.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Expectation {
    pub(super) decision: Option<String>,
    pub(super) effective_decision: Option<String>,
    pub(super) reason_code: Option<String>,
    /// The class of the policy that decided.
    pub(super) decided_by: Option<String>,
    /// The status that the client gets.
    pub(super) status: Option<u16>,
    /// The rules that hit, by the names in events' lists of hits.
    pub(super) hits: Vec<String>,
    /// The rules that must not.
    pub(super) no_hits: Vec<String>,
    /// The events that are there.
    pub(super) events: Vec<String>,
    /// The events that must not be.
    pub(super) no_events: Vec<String>,
    /// The client's bytes, exactly.
    pub(super) output: Option<String>,
    /// What stands in the client's bytes.
    pub(super) output_contains: Vec<String>,
    /// What must not.
    pub(super) output_lacks: Vec<String>,
    /// Whether the client gets what the provider sent, byte for byte.
    pub(super) unchanged: Option<bool>,
    /// The most bytes of the answer, as the provider sent them, that may wait at the same time.
    pub(super) holds_at_most: Option<usize>,
}
