//! The services that an exchange asks, faked.

use core::time::Duration;
use std::collections::BTreeMap;

use serde_json::{Value, json};
use weir::exchange::{Callout, CalloutReply};
use weir::judge::Judge;

/// The categories of OpenAI's `/v1/moderations`.
const CATEGORIES: [&str; 13] = [
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
];

/// The score from which on a text is flagged.
const FLAGGED: f64 = 0.5;

/// What a service answers, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceReply {
    pub(crate) answer: Answer,
    pub(crate) delay: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Response { status: u16, body: Vec<u8> },
    Broken,
    NotSent,
    Silence,
}

impl ServiceReply {
    const fn new(answer: Answer) -> Self {
        Self { answer, delay: 0 }
    }

    /// Answers as a judge does that finds so much harm.
    pub fn verdict(probability: f64) -> Self {
        let verdict = json!({"probability": probability, "explanation": "as the script says"});
        Self::content(&verdict.to_string())
    }

    /// Answers as a model does that says this.
    pub fn content(content: &str) -> Self {
        let answer = json!({"id": "chatcmpl-judge", "object": "chat.completion", "created": 1, "model": "small-judge",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}]});
        Self::response(200, answer.to_string())
    }

    /// Answers as OpenAI's moderations do: `scores` gives the scores of a text; the categories that it leaves out have 0. A text is
    /// flagged from 0.5 on. What is no question of moderations gets 400.
    pub fn moderation(question: &Callout, scores: impl Fn(&str) -> Vec<(String, f64)>) -> Self {
        let body: Value = serde_json::from_slice(&question.body).unwrap_or_default();
        let texts =
            body.get("input").and_then(Value::as_array).map(|texts| texts.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
        let Some(Some(texts)) = texts else { return Self::response(400, "{}") };
        let results: Vec<Value> = texts
            .into_iter()
            .map(|text| {
                let zeros = CATEGORIES.iter().map(|name| ((*name).to_owned(), 0.0));
                let scores: BTreeMap<String, f64> = zeros.chain(scores(text)).collect();
                let categories: BTreeMap<&String, bool> = scores.iter().map(|(name, score)| (name, *score >= FLAGGED)).collect();
                let flagged = categories.values().any(|flag| *flag);
                json!({"flagged": flagged, "categories": categories, "category_scores": scores})
            })
            .collect();
        Self::response(200, json!({"id": "modr-1", "model": body.get("model"), "results": results}).to_string())
    }

    /// Answers with this HTTP response.
    pub fn response(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::new(Answer::Response { status, body: body.into() })
    }

    /// Breaks the connection off.
    pub const fn broken() -> Self {
        Self::new(Answer::Broken)
    }

    /// Lets the question not be sent at all; that is known at once.
    pub const fn not_sent() -> Self {
        Self::new(Answer::NotSent)
    }

    /// Never answers.
    pub const fn silence() -> Self {
        Self::new(Answer::Silence)
    }

    /// Lets so many further steps pass before the answer comes.
    #[must_use]
    pub const fn after(mut self, steps: usize) -> Self {
        self.delay = steps;
        self
    }

    /// Gives status and body, where it is a response.
    pub fn to_response(&self) -> Option<(u16, Vec<u8>)> {
        match &self.answer {
            Answer::Response { status, body } => Some((*status, body.clone())),
            Answer::Broken | Answer::NotSent | Answer::Silence => None,
        }
    }

    pub(crate) fn reply(&self) -> CalloutReply<'_> {
        match &self.answer {
            Answer::Response { status, body } => CalloutReply::Response { status: *status, body },
            Answer::NotSent => CalloutReply::NotSent,
            Answer::Broken | Answer::Silence => CalloutReply::Broken,
        }
    }
}

/// Makes a judge of that name, for chains that are not read from a document.
pub fn judge(name: &str) -> Judge {
    Judge {
        name: name.to_owned(),
        cluster: "judge".to_owned(),
        authority: "judge".to_owned(),
        path: "/v1/chat/completions".to_owned(),
        model: "small-judge".to_owned(),
        timeout: Duration::from_secs(5),
        credential: None,
    }
}
