//! Members that say again what others say.

use crate::wire::json::{self, Member};

/// Whether the log probabilities `logprobs` of `choice` spell what its message says, and nothing else.
pub(super) fn spells_text(choice: &str, logprobs: &str) -> bool {
    let choice = first_object(choice);
    let message =
        json::member(&choice, "delta").or_else(|| json::member(&choice, "message")).map(json::members).unwrap_or_default();
    let logprobs = json::members(logprobs);
    ["content", "refusal"].into_iter().all(|key| {
        let tokens = json::member(&logprobs, key).map(json::elements).unwrap_or_default();
        let spelt: String = tokens.iter().map(|token| text_of(&json::members(token), "token")).collect();
        spelt.is_empty() || spelt == text_of(&message, key)
    })
}

/// Whether the details of the reasoning of `message` say what its reasoning says, and nothing else.
pub(super) fn says_reasoning(message: &str, details: &str) -> bool {
    let message = first_object(message);
    let said: String = json::elements(details)
        .into_iter()
        .flat_map(|detail| {
            let detail = json::members(detail);
            ["text", "summary", "thinking"].map(|key| text_of(&detail, key))
        })
        .collect();
    said.is_empty() || ["reasoning", "reasoning_content"].iter().any(|key| text_of(&message, key) == said)
}

/// The members of the object that `source` begins with.
fn first_object(source: &str) -> Vec<Member<'_>> {
    json::members(json::first_value(source))
}

fn text_of(members: &[Member<'_>], key: &str) -> String {
    json::member(members, key).map(|literal| json::string(literal).into_owned()).unwrap_or_default()
}
