//! Answers as values: what a model says, whatever the dialect and whether it is streamed.
//!
//! A policy answers with one in the model's place; the engine says it in the words of the dialect. What a provider
//! answered can be recorded as one and given again later, in another shape or another dialect.
//!
//! ```
//! use core::time::Duration;
//! use weir::answer::Answer;
//! use weir::exchange::{End, Request};
//! use weir::policy::{Interests, Policy, PolicyContext, RequestAction};
//! use weir::state::Scope;
//!
//! /// Answers a question again as it was answered last. The policies behind it see such an answer as the provider's.
//! #[derive(Debug)]
//! struct Cache;
//!
//! fn key(request: &Request) -> String {
//!     weir::fingerprint::Fingerprint::of(&String::from_utf8_lossy(&request.body)).to_string()
//! }
//!
//! impl Policy<String> for Cache {
//!     fn interests(&self) -> Interests {
//!         Interests::ALL
//!     }
//!
//!     async fn on_request(&self, request: &Request, cx: &PolicyContext<String>) -> RequestAction {
//!         let key = key(request);
//!         if let Ok(Some(known)) = cx.state(Scope::Worker).get(&key).await
//!             && let Ok(answer) = serde_json::from_slice::<Answer>(&known)
//!         {
//!             return RequestAction::SendResponse(answer.through_policies());
//!         }
//!         cx.scratchpad(|known| *known = key);
//!         cx.record_answer();
//!         RequestAction::SendRequest
//!     }
//!
//!     fn on_stream_complete(&self, _: &End, cx: &PolicyContext<String>) {
//!         if let Some(answer) = cx.recorded_answer()
//!             && let Ok(json) = serde_json::to_vec(&answer)
//!         {
//!             let key = cx.scratchpad(|known| known.clone());
//!             let _kept = cx.state(Scope::Worker).put(&key, &json, Duration::from_secs(600));
//!         }
//!     }
//! }
//! ```

mod record;

use core::fmt::Write as _;

use serde::{Deserialize, Serialize};

pub(crate) use self::record::Recorder;
use crate::block::{BlockKind, Chunk};
use crate::dialect::{Dialect, Ending};
use crate::usage::Usage;
use crate::wire::json;

/// What a model, or a policy in its place, answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What is answered. Only `chat.completions` can say more than the first.
    pub choices: Vec<AnswerChoice>,
    /// What it cost, where that is known. Whole answers say it, and streams of `messages`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Whether the policies behind the one that gives it take it for the provider's. A policy's own words need not pass
    /// them; what a provider once said must.
    #[serde(default)]
    pub passes_policies: bool,
}

/// One choice of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerChoice {
    /// Its parts, in their order. Where a dialect knows none, texts go before calls.
    pub blocks: Vec<AnswerBlock>,
    /// How it ends; with calls, [`Ending::Stop`] is said as that they are to be carried out.
    pub ending: Ending,
}

/// A part of a choice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerBlock {
    /// Text for the user.
    Text(String),
    /// The model's own words of refusal; a text where the dialect has no place of its own for it.
    Refusal(String),
    /// Reasoning in clear text. Only `chat.completions` has a place for it that needs no seal; elsewhere it is left out.
    Reasoning(String),
    /// A call that the client is asked to carry out.
    ToolCall {
        /// Its id; one is made where it is empty.
        call_id: String,
        /// Name of the tool.
        name: String,
        /// The arguments: JSON text, unless `free_form`.
        arguments: String,
        /// Whether the tool takes free text.
        #[serde(default)]
        free_form: bool,
    },
}

/// An answer that cannot be said in a dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsayable;

impl Answer {
    /// Makes an answer that is this text.
    pub fn text(text: impl Into<String>) -> Self {
        let blocks = vec![AnswerBlock::Text(text.into())];
        Self { choices: vec![AnswerChoice { blocks, ending: Ending::Stop }], ..Self::default() }
    }

    /// Lets the policies behind the one that gives it take it for the provider's.
    #[must_use]
    pub fn through_policies(mut self) -> Self {
        self.passes_policies = true;
        self
    }

    /// Gives how it ends: what its first choice says.
    pub fn ending(&self) -> Ending {
        self.choices.first().map_or(Ending::Stop, |choice| choice.ending)
    }

    /// Gives the text of its first choice, refusals included: all that is said where there is a place for nothing else.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for block in self.choices.first().map_or(&[][..], |choice| &choice.blocks) {
            match block {
                AnswerBlock::Text(part) | AnswerBlock::Refusal(part) => text.push_str(part),
                AnswerBlock::Reasoning(_) | AnswerBlock::ToolCall { .. } => {}
            }
        }
        text
    }

    /// Gives what `dialect` can say of it, in an order in which it can be said.
    pub(crate) fn sayable(&self, dialect: Dialect) -> Result<Vec<AnswerChoice>, Unsayable> {
        let choices = match dialect {
            Dialect::ChatCompletions => self.choices.as_slice(),
            _ => self.choices.get(..1).unwrap_or_default(),
        };
        let mut calls = 0_u32;
        choices.iter().map(|choice| choice.sayable(dialect, &mut calls)).collect()
    }
}

impl From<&str> for Answer {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Answer {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl AnswerChoice {
    fn sayable(&self, dialect: Dialect, calls: &mut u32) -> Result<Self, Unsayable> {
        let mut blocks = Vec::with_capacity(self.blocks.len());
        for block in &self.blocks {
            if let Some(block) = block.sayable(dialect, calls)? {
                blocks.push(block);
            }
        }
        if dialect != Dialect::Responses {
            // No text may follow a call in messages, and in chat.completions there is no order between them.
            blocks.sort_by_key(|block| matches!(block, AnswerBlock::ToolCall { .. }));
        }
        Ok(Self { blocks, ending: self.ending })
    }
}

impl AnswerBlock {
    /// Gives it as `dialect` says it; `None` where there is nothing to say.
    fn sayable(&self, dialect: Dialect, calls: &mut u32) -> Result<Option<Self>, Unsayable> {
        match self {
            Self::Text(text) | Self::Refusal(text) | Self::Reasoning(text) if text.is_empty() => Ok(None),
            Self::Refusal(text) if dialect != Dialect::ChatCompletions => Ok(Some(Self::Text(text.clone()))),
            Self::Reasoning(_) if dialect != Dialect::ChatCompletions => Ok(None),
            Self::ToolCall { call_id, name, arguments, free_form } => {
                *calls = calls.saturating_add(1);
                let mut call_id = call_id.clone();
                if call_id.is_empty() {
                    let _cannot_fail = write!(call_id, "call_weir_{calls}");
                }
                let arguments = sayable_arguments(dialect, arguments, *free_form)?;
                let free_form = *free_form && dialect != Dialect::Messages;
                Ok(Some(Self::ToolCall { call_id, name: name.clone(), arguments, free_form }))
            }
            Self::Text(_) | Self::Refusal(_) | Self::Reasoning(_) => Ok(Some(self.clone())),
        }
    }

    /// Gives it as a chunk of a stream.
    pub(crate) fn to_chunk(&self, choice: u32) -> Chunk {
        let text = |kind, text: &String| Chunk::Text { choice, kind, text: text.clone() };
        match self {
            Self::Text(said) => text(BlockKind::Text, said),
            Self::Refusal(said) => text(BlockKind::Refusal, said),
            Self::Reasoning(said) => text(BlockKind::Reasoning, said),
            Self::ToolCall { call_id, name, arguments, free_form } => Chunk::ToolCall {
                choice,
                call_id: call_id.clone(),
                name: name.clone(),
                arguments: arguments.clone(),
                free_form: *free_form,
            },
        }
    }
}

/// The arguments of a call as the dialect carries them. A call that clients could read differently is not said at all.
fn sayable_arguments(dialect: Dialect, arguments: &str, free_form: bool) -> Result<String, Unsayable> {
    match (free_form, dialect) {
        // Tools that take free text are there in the others alone.
        (true, Dialect::Messages) => Ok(json::to_text(&serde_json::json!({ "input": arguments }))),
        (true, _) => Ok(arguments.to_owned()),
        (false, _) if arguments.trim().is_empty() => Ok("{}".to_owned()),
        (false, _) if json::is_unambiguous_object(arguments) => Ok(arguments.to_owned()),
        (false, _) => Err(Unsayable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(arguments: &str) -> AnswerBlock {
        AnswerBlock::ToolCall { call_id: String::new(), name: "f".to_owned(), arguments: arguments.to_owned(), free_form: false }
    }

    fn of(blocks: Vec<AnswerBlock>) -> Answer {
        Answer { choices: vec![AnswerChoice { blocks, ending: Ending::Stop }], ..Answer::default() }
    }

    #[test]
    fn a_call_that_clients_could_read_differently_is_not_said() {
        for arguments in ["{", "[]", r#"{"a":1,"a":2}"#, "null", "{} {}"] {
            for dialect in [Dialect::ChatCompletions, Dialect::Messages, Dialect::Responses] {
                assert_eq!(of(vec![call(arguments)]).sayable(dialect), Err(Unsayable), "{dialect}: {arguments}");
            }
        }
    }

    #[test]
    fn texts_go_before_calls_where_no_text_may_follow() {
        let answer = of(vec![call("{}"), AnswerBlock::Text("behind".to_owned())]);
        let first = |dialect| answer.sayable(dialect).unwrap()[0].blocks[0].clone();
        assert_eq!(first(Dialect::Messages), AnswerBlock::Text("behind".to_owned()));
        assert!(matches!(first(Dialect::Responses), AnswerBlock::ToolCall { call_id, .. } if call_id == "call_weir_1"));
    }

    #[test]
    fn an_answer_survives_being_kept_as_json() {
        let mut answer = of(vec![call("{}"), AnswerBlock::Refusal("no".to_owned())]).through_policies();
        answer.usage = Some(Usage { input_tokens: 3, output_tokens: 4 });
        let json = serde_json::to_string(&answer).unwrap();
        assert_eq!(serde_json::from_str::<Answer>(&json).unwrap(), answer, "{json}");
    }
}
