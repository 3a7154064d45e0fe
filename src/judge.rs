//! Judges: models that are asked for a verdict through a callout.
//!
//! A question is a chat.completions request; the answer's content must be the JSON object
//! `{"probability": 0…1, "explanation": "…"}` and nothing else.

use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::callout::{MAX_REPLY_BYTES, proxy_timeout};
use crate::effect::{Callout, CalloutReply, Effect};
use crate::policy::Shared;
use crate::wait::Waiting;

/// Longest answer of a judge that is read, in bytes. A verdict has a few hundred.
pub const MAX_ANSWER_BYTES: usize = MAX_REPLY_BYTES;

/// Longest explanation that is kept, in characters; the rest is cut off.
pub const MAX_EXPLANATION_CHARS: usize = 500;

/// Most questions that one exchange asks. No answer has nearly as many tool calls; one that has could flood a judge.
pub const MAX_QUESTIONS: u32 = 256;

/// A judge as the policy document describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judge {
    /// Its name in the document.
    pub name: String,
    /// Envoy cluster that it is reached through.
    pub cluster: String,
    /// Value of the `:authority` header.
    pub authority: String,
    /// Path of its chat.completions endpoint.
    pub path: String,
    /// The model to ask.
    pub model: String,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Its own credential, sent as a bearer token. The client's is never used.
    pub credential: Option<Credential>,
}

/// A secret that does not show in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential(String);

impl Credential {
    /// Wraps a secret.
    pub const fn new(secret: String) -> Self {
        Self(secret)
    }

    /// The value of an `authorization` header that carries it.
    pub fn authorization(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(…)")
    }
}

/// What a judge is asked.
#[derive(Clone, Copy, Debug)]
pub struct JudgeQuestion<'a> {
    /// Name of the judge in the policy document.
    pub judge: &'a str,
    /// Instructions: the system message.
    pub instructions: &'a str,
    /// The matter: the user message. What comes from the model must be delimited in it.
    pub matter: &'a str,
}

/// What a judge says.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// How probable harm is, 0 to 1.
    pub probability: f64,
    /// Why.
    pub explanation: String,
}

/// Why there is no verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JudgeError {
    /// The document names no such judge.
    UnknownJudge,
    /// The exchange has asked [`MAX_QUESTIONS`] before.
    TooManyQuestions,
    /// The question could not be sent (unknown cluster, no host, circuit breaker open).
    NotSent,
    /// No answer in time.
    TimedOut,
    /// The judge could not be reached, or its answer broke off.
    Unreachable,
    /// The judge answered with this HTTP status.
    Status(u16),
    /// The answer is longer than [`MAX_ANSWER_BYTES`].
    TooLarge,
    /// The answer is not a chat.completions response.
    NotAnAnswer,
    /// The answer's content is not a verdict.
    NotAVerdict,
    /// The probability is not a number between 0 and 1.
    ProbabilityOutOfRange,
}

impl JudgeError {
    /// A word for events and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownJudge => "unknown_judge",
            Self::TooManyQuestions => "too_many_questions",
            Self::NotSent => "not_sent",
            Self::TimedOut => "timed_out",
            Self::Unreachable => "unreachable",
            Self::Status(_) => "status",
            Self::TooLarge => "answer_too_large",
            Self::NotAnAnswer => "not_an_answer",
            Self::NotAVerdict => "not_a_verdict",
            Self::ProbabilityOutOfRange => "probability_out_of_range",
        }
    }
}

impl fmt::Display for JudgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownJudge => f.write_str("the policy document names no such judge"),
            Self::TooManyQuestions => write!(f, "the exchange has asked {MAX_QUESTIONS} questions before"),
            Self::NotSent => f.write_str("the question could not be sent"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Unreachable => f.write_str("the judge could not be reached"),
            Self::Status(status) => write!(f, "the judge answered with status {status}"),
            Self::TooLarge => write!(f, "the answer is longer than {MAX_ANSWER_BYTES} bytes"),
            Self::NotAnAnswer => f.write_str("the answer is not a chat.completions response"),
            Self::NotAVerdict => f.write_str("the answer's content is not {\"probability\", \"explanation\"}"),
            Self::ProbabilityOutOfRange => f.write_str("the probability is not between 0 and 1"),
        }
    }
}

impl core::error::Error for JudgeError {}

/// Writes the request that carries a question.
fn question_body(judge: &Judge, question: &JudgeQuestion<'_>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Message<'a> {
        role: &'a str,
        content: &'a str,
    }
    #[derive(Serialize)]
    struct ResponseFormat {
        r#type: &'static str,
    }
    #[derive(Serialize)]
    struct Request<'a> {
        model: &'a str,
        temperature: u8,
        max_tokens: u16,
        response_format: ResponseFormat,
        messages: [Message<'a>; 2],
    }
    let request = Request {
        model: &judge.model,
        temperature: 0,
        max_tokens: 300,
        response_format: ResponseFormat { r#type: "json_object" },
        messages: [
            Message { role: "system", content: question.instructions },
            Message { role: "user", content: question.matter },
        ],
    };
    // Strings and numbers alone: writing them to memory cannot fail.
    serde_json::to_vec(&request).unwrap_or_default()
}

/// What a model answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The text of its first choice.
    pub content: String,
    /// Why it ended there, where the model says it.
    pub finish_reason: Option<String>,
}

/// Reads the body of a chat.completions response; `None` where it is none.
pub fn read_completion(body: &[u8]) -> Option<Completion> {
    #[derive(Deserialize)]
    struct Message {
        content: String,
    }
    #[derive(Deserialize)]
    struct Choice {
        message: Message,
        finish_reason: Option<String>,
    }
    #[derive(Deserialize)]
    struct Answer {
        choices: Vec<Choice>,
    }
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let choice = answer.choices.into_iter().next()?;
    Some(Completion { content: choice.message.content, finish_reason: choice.finish_reason })
}

/// Reads the body of a judge's answer.
fn read_answer(body: &[u8]) -> Result<Verdict, JudgeError> {
    if body.len() > MAX_ANSWER_BYTES {
        return Err(JudgeError::TooLarge);
    }
    let completion = read_completion(body).ok_or(JudgeError::NotAnAnswer)?;
    let mut verdict: Verdict = serde_json::from_str(&completion.content).map_err(|_| JudgeError::NotAVerdict)?;
    if !(0.0..=1.0).contains(&verdict.probability) {
        return Err(JudgeError::ProbabilityOutOfRange);
    }
    if let Some((end, _)) = verdict.explanation.char_indices().nth(MAX_EXPLANATION_CHARS) {
        verdict.explanation.truncate(end);
    }
    Ok(verdict)
}

/// Reads what came back.
pub(crate) fn read_reply(reply: CalloutReply<'_>) -> Result<Verdict, JudgeError> {
    match reply {
        CalloutReply::Response { status: 200..=299, body } => read_answer(body),
        // What Envoy answers when the judge takes too long.
        CalloutReply::Response { status: 504, .. } => Err(JudgeError::TimedOut),
        CalloutReply::Response { status, .. } => Err(JudgeError::Status(status)),
        CalloutReply::Broken => Err(JudgeError::Unreachable),
        CalloutReply::NotSent => Err(JudgeError::NotSent),
    }
}

/// Resolves to a judge's verdict.
pub type Judging = Waiting<Result<Verdict, JudgeError>>;

/// Puts a question to a judge, for a hook that waits for the verdict.
pub(crate) fn ask(shared: &Shared, question: &JudgeQuestion<'_>) -> Judging {
    let Some(judge) = shared.chain.judge(question.judge) else { return Waiting::settled(Err(JudgeError::UnknownJudge)) };
    let now = shared.now();
    let Some((id, judging)) = shared.waits.with(|waits| waits.question(now, judge.timeout)) else {
        return Waiting::settled(Err(JudgeError::TooManyQuestions));
    };
    shared.push_effect(Effect::Callout(Callout {
        id,
        cluster: judge.cluster.clone(),
        authority: judge.authority.clone(),
        path: judge.path.clone(),
        authorization: judge.credential.as_ref().map(Credential::authorization),
        body: question_body(judge, question),
        timeout: proxy_timeout(shared, judge.timeout),
    }));
    judging
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(content: &str) -> Vec<u8> {
        serde_json::to_vec(&serde_json::json!({"choices": [{"message": {"role": "assistant", "content": content}}]})).unwrap()
    }

    #[test]
    fn only_a_bare_verdict_is_one() {
        let verdict = read_answer(&answer(r#"{"probability": 0.25, "explanation": "reads a file"}"#)).unwrap();
        assert_eq!(verdict, Verdict { probability: 0.25, explanation: "reads a file".to_owned() });
        for (content, error) in [
            ("", JudgeError::NotAVerdict),
            ("harmless", JudgeError::NotAVerdict),
            ("```json\n{\"probability\":0,\"explanation\":\"\"}\n```", JudgeError::NotAVerdict),
            (r#"Sure: {"probability":0,"explanation":""}"#, JudgeError::NotAVerdict),
            (r#"{"probability":NaN,"explanation":""}"#, JudgeError::NotAVerdict),
            (r#"{"probability":"0","explanation":""}"#, JudgeError::NotAVerdict),
            (r#"{"probability":0,"probability":1,"explanation":""}"#, JudgeError::NotAVerdict),
            (r#"{"probability":0}"#, JudgeError::NotAVerdict),
            (r#"{"probability":7,"explanation":""}"#, JudgeError::ProbabilityOutOfRange),
            (r#"{"probability":-0.1,"explanation":""}"#, JudgeError::ProbabilityOutOfRange),
            (r#"{"probability":1e999,"explanation":""}"#, JudgeError::NotAVerdict),
        ] {
            assert_eq!(read_answer(&answer(content)), Err(error), "{content}");
        }
        assert_eq!(read_answer(b"upstream connect error"), Err(JudgeError::NotAnAnswer));
        assert_eq!(read_answer(br#"{"choices":[]}"#), Err(JudgeError::NotAnAnswer));
        assert_eq!(read_answer(&vec![b' '; MAX_ANSWER_BYTES + 1]), Err(JudgeError::TooLarge));
    }

    #[test]
    fn a_long_explanation_is_cut_between_characters() {
        let long = format!(r#"{{"probability":1,"explanation":"{}"}}"#, "ü".repeat(2000));
        assert_eq!(read_answer(&answer(&long)).unwrap().explanation, "ü".repeat(MAX_EXPLANATION_CHARS));
    }
}
