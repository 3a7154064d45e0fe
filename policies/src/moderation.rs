//! A service that tells of which categories texts are: `/v1/moderations` of an OpenAI-compatible API.

use core::fmt;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use weir::callout::{CalloutError, CalloutResponse};
use weir::document::{DocumentError, PolicyConfig};
use weir::judge::Judge;
use weir::limits::FailureMode;
use weir::policy::PolicyContext;

use crate::json::read_object;
use crate::service;

/// Most texts of a request that are asked about.
pub(crate) const MAX_TEXTS: usize = 256;

/// Most bytes of a text, and of all texts of a question.
const MAX_TEXT_BYTES: usize = 256 * 1024;

/// Most texts that one question can be allowed: an answer, of at most 64 KiB, has some 2 KiB for each.
const MAX_TEXTS_PER_QUESTION: usize = 32;

/// Most categories that a service may tell of, and most bytes of the name of one.
const MAX_CATEGORIES: usize = 256;
pub(crate) const MAX_NAME_BYTES: usize = 128;

/// Which service is asked, and what becomes of a text that it says nothing about.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// The service, of `judges`.
    judge: String,
    /// What becomes of a text that could not be asked about.
    #[serde(default)]
    pub(crate) on_error: FailureMode,
    /// What the client is told of one that is not to pass then.
    #[serde(default = "Settings::default_message")]
    pub(crate) message: String,
    /// Most texts of a request that one question asks about.
    #[serde(default = "Settings::default_texts_per_question")]
    texts_per_question: usize,
}

impl Settings {
    fn default_message() -> String {
        "This could not be checked, and was refused by policy.".to_owned()
    }

    const fn default_texts_per_question() -> usize {
        16
    }
}

/// Why nothing is known of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The text broke off, or can be read in several ways.
    Incomplete,
    /// The text is longer than what is asked about.
    TooLong,
    /// The request has more texts than are asked about.
    TooMany,
    /// The service could not be asked.
    Callout(CalloutError),
    /// It answered with this status.
    Status(u16),
    /// Its answer is none, or not about as many texts as were asked about.
    NotAnAnswer,
    /// Its answer does not tell of a category that a rule is for.
    UnknownCategory,
}

impl Failure {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Incomplete => "text_incomplete",
            Self::TooLong => "text_too_long",
            Self::TooMany => "too_many_texts",
            Self::Callout(error) => error.name(),
            Self::Status(_) => "status",
            Self::NotAnAnswer => "not_an_answer",
            Self::UnknownCategory => "unknown_category",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete => f.write_str("the text is not complete, or can be read in several ways"),
            Self::TooLong => write!(f, "the text is longer than {MAX_TEXT_BYTES} bytes"),
            Self::TooMany => write!(f, "the request has more than {MAX_TEXTS} texts to ask about"),
            Self::Callout(error) => error.fmt(f),
            Self::Status(status) => write!(f, "the service answered with status {status}"),
            Self::NotAnAnswer => f.write_str("what the service sent is no answer of moderations about the texts of the question"),
            Self::UnknownCategory => f.write_str("the service does not tell of a category that a rule is for"),
        }
    }
}

/// What the service says of a text.
#[derive(Debug, Default)]
pub(crate) struct Opinion {
    categories: Map<String, Value>,
    scores: Map<String, Value>,
}

impl Opinion {
    /// Takes a result; `None` where it cannot be what a service means: one that flags a text names the category, and scores are
    /// shares of one.
    fn read(result: &mut Value) -> Option<Self> {
        let mut take = |field: &str| match result.get_mut(field).map(Value::take) {
            None | Some(Value::Null) => Some(Map::new()),
            Some(Value::Object(members)) if members.len() <= MAX_CATEGORIES => Some(members),
            Some(_) => None,
        };
        let (categories, scores) = (take("categories")?, take("category_scores")?);
        let is_flagged = match result.as_object()?.get("flagged") {
            None | Some(Value::Null) => false,
            Some(flagged) => flagged.as_bool()?,
        };
        let are_flags = categories.values().all(|flag| flag.is_boolean() || flag.is_null());
        let is_share = |score: &Value| score.is_null() || score.as_f64().is_some_and(|score| (0.0..=1.0).contains(&score));
        let is_sound = are_flags
            && scores.values().all(is_share)
            && categories.keys().chain(scores.keys()).all(|name| name.len() <= MAX_NAME_BYTES)
            && (!is_flagged || categories.values().any(|flag| *flag == true));
        is_sound.then_some(Self { categories, scores })
    }

    pub(crate) fn score(&self, name: &str) -> Option<f64> {
        self.scores.get(name).and_then(Value::as_f64)
    }

    /// Gives the categories of the text among those that are sought.
    pub(crate) fn find(&self, sought: &Sought) -> Result<Vec<&str>, Failure> {
        let told = if sought.threshold.is_some() { &self.scores } else { &self.categories };
        let is_of = |verdict: &Value| match sought.threshold {
            None => verdict.as_bool(),
            Some(least) => verdict.as_f64().map(|score| score >= least),
        };
        let mut found: Vec<&str> = Vec::new();
        for wanted in &sought.names {
            let mut is_told = false;
            for (name, verdict) in told.iter().filter(|(name, _)| covers(wanted, name)) {
                let Some(is_of) = is_of(verdict) else { continue };
                is_told = true;
                if is_of && !found.contains(&name.as_str()) {
                    found.push(name);
                }
            }
            if !is_told {
                return Err(Failure::UnknownCategory);
            }
        }
        Ok(found)
    }
}

/// Whether a name stands for a category: one that ends in `*` does for all that begin so.
fn covers(wanted: &str, name: &str) -> bool {
    wanted.strip_suffix('*').map_or(wanted == name, |prefix| name.starts_with(prefix))
}

/// The categories that a rule is for.
#[derive(Clone, Debug)]
pub(crate) struct Sought {
    pub(crate) names: Vec<String>,
    /// The least score; where there is none, the service itself says whether a text is of a category.
    pub(crate) threshold: Option<f64>,
}

/// The service, ready to be asked.
#[derive(Debug)]
pub(crate) struct Moderation {
    judge: Judge,
    pub(crate) settings: Settings,
}

impl Moderation {
    /// Makes one of a checked document's judges.
    pub(crate) fn new(settings: Settings, config: PolicyConfig<'_>) -> Result<Self, DocumentError> {
        let Some(judge) = config.judges.get(settings.judge.as_str()).cloned() else {
            return Err(DocumentError::new("judge", "there is no such judge under judges"));
        };
        if judge.path.ends_with("/chat/completions") {
            let message = format!("judge {:?} has the path of chat.completions: give it that of moderations", judge.name);
            return Err(DocumentError::new("judge", message));
        }
        if settings.message.trim().is_empty() || settings.message.len() > 2048 {
            return Err(DocumentError::new("message", "must have 1 to 2048 bytes"));
        }
        if !(1..=MAX_TEXTS_PER_QUESTION).contains(&settings.texts_per_question) {
            let message = format!("must be between 1 and {MAX_TEXTS_PER_QUESTION}");
            return Err(DocumentError::new("texts_per_question", message));
        }
        Ok(Self { judge, settings })
    }

    pub(crate) fn judge(&self) -> &str {
        &self.judge.name
    }

    /// Asks about texts; an opinion, or why there is none, of each. Every question is sent before the first answer is awaited.
    pub(crate) async fn ask<S: Default>(&self, texts: &[&str], cx: &PolicyContext<S>) -> Vec<Result<Opinion, Failure>> {
        let (asked, left) = texts.split_at_checked(MAX_TEXTS).unwrap_or((texts, &[]));
        let questions: Vec<_> = self
            .questions(asked)
            .into_iter()
            .map(|question| {
                let is_short = question.iter().all(|text| text.len() <= MAX_TEXT_BYTES);
                let sent = is_short.then(|| {
                    let body = json!({"model": self.judge.model, "input": question}).to_string();
                    service::send(&self.judge, body.as_bytes(), cx)
                });
                (question.len(), sent)
            })
            .collect();
        let mut opinions = Vec::with_capacity(texts.len());
        for (count, sent) in questions {
            let answer = match sent {
                Some(sent) => sent.await.map_err(Failure::Callout).and_then(|response| read(&response, count)),
                None => Err(Failure::TooLong),
            };
            match answer {
                Ok(told) => opinions.extend(told.into_iter().map(Ok)),
                Err(failure) => opinions.extend((0..count).map(|_| Err(failure))),
            }
        }
        opinions.extend(left.iter().map(|_| Err(Failure::TooMany)));
        opinions
    }

    /// Puts texts into questions, in their order. One that is too long stands alone.
    fn questions<'t>(&self, texts: &[&'t str]) -> Vec<Vec<&'t str>> {
        let (mut questions, mut bytes) = (Vec::<Vec<&str>>::new(), 0_usize);
        for text in texts {
            let fits = bytes.saturating_add(text.len()) <= MAX_TEXT_BYTES;
            match questions.last_mut().filter(|last| fits && last.len() < self.settings.texts_per_question) {
                Some(last) => last.push(text),
                None => {
                    questions.push(vec![text]);
                    bytes = 0;
                }
            }
            bytes = bytes.saturating_add(text.len());
        }
        questions
    }
}

/// Reads an answer about so many texts.
fn read(response: &CalloutResponse, count: usize) -> Result<Vec<Opinion>, Failure> {
    if !(200..300).contains(&response.status) {
        return Err(Failure::Status(response.status));
    }
    let mut answer = read_object(&response.body).ok_or(Failure::NotAnAnswer)?;
    let results = answer.get_mut("results").and_then(Value::as_array_mut).filter(|results| results.len() == count);
    let opinions = results.and_then(|results| results.iter_mut().map(Opinion::read).collect());
    opinions.ok_or(Failure::NotAnAnswer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opinion(value: &Value) -> Opinion {
        Opinion::read(&mut value.clone()).unwrap()
    }

    fn sought(names: &[&str], threshold: Option<f64>) -> Sought {
        Sought { names: names.iter().map(ToString::to_string).collect(), threshold }
    }

    #[test]
    fn the_services_own_word_counts_unless_a_threshold_says_otherwise() {
        let told = opinion(&json!({"flagged": true, "categories": {"hate": true, "hate/threatening": false, "violence": false},
            "category_scores": {"hate": 0.9, "hate/threatening": 0.4, "violence": 0.2}}));
        for (names, threshold, found) in [
            (&["hate"][..], None, &["hate"][..]),
            (&["hate*"], None, &["hate"]),
            (&["hate*"], Some(0.4), &["hate", "hate/threatening"]),
            (&["violence", "hate/threatening"], Some(0.2), &["violence", "hate/threatening"]),
            (&["hate", "*"], Some(0.95), &[]),
            (&["*"], Some(0.0), &["hate", "hate/threatening", "violence"]),
        ] {
            assert_eq!(told.find(&sought(names, threshold)).unwrap(), found, "{names:?} {threshold:?}");
        }
    }

    #[test]
    fn a_category_that_the_service_does_not_tell_of_is_a_failure() {
        let told = opinion(&json!({"categories": {"hate": false, "illicit": null}, "category_scores": {"violence": 0.1}}));
        for (names, threshold) in [(["violence"], None), (["illicit"], None), (["hate"], Some(0.5)), (["self-harm*"], Some(0.5))]
        {
            assert_eq!(told.find(&sought(&names, threshold)), Err(Failure::UnknownCategory), "{names:?} {threshold:?}");
        }
    }

    #[test]
    fn texts_share_questions_within_bounds_and_keep_their_order() {
        let judge = Judge {
            name: "m".to_owned(),
            cluster: "m".to_owned(),
            authority: "m".to_owned(),
            path: "/v1/moderations".to_owned(),
            model: "m".to_owned(),
            timeout: core::time::Duration::from_secs(1),
            credential: None,
        };
        let settings = serde_json::from_value(json!({"judge": "m", "texts_per_question": 3})).unwrap();
        let moderation = Moderation { judge, settings };
        let (half, long) = ("x".repeat(MAX_TEXT_BYTES / 2), "x".repeat(MAX_TEXT_BYTES + 1));
        let texts = ["a", "b", "c", "d", half.as_str(), half.as_str(), long.as_str(), "e"];
        let questions = moderation.questions(&texts);
        assert_eq!(questions.iter().map(Vec::len).collect::<Vec<_>>(), [3, 2, 1, 1, 1]);
        assert_eq!(questions.concat(), texts);
    }
}
