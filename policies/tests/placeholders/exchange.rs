//! Exchanges with reversible rules, and what becomes of them.

use std::sync::Arc;

use serde_json::{Value, json};
use weir::dialect::Dialect::{self, ChatCompletions, Messages, Responses};
use weir_driver::{Outcome, Player, Recording, RequestOutcome, Split};
use weir_test_support::answer::{Answer, Said};
use weir_test_support::client::Choice;
use weir_test_support::{client, legality, native, script};

pub(crate) const DIALECTS: [Dialect; 3] = [ChatCompletions, Messages, Responses];

pub(crate) const SECRET: &str = "a secret of thirty-two bytes, or more";

/// Addresses are reversible.
pub(crate) fn rules() -> Value {
    json!([{"id": "email", "match": {"detect": ["email"]}, "reversible": true}])
}

pub(crate) fn document(rules: &Value) -> Value {
    script::document(json!([{"use": "rules", "with": {"key": SECRET, "rules": rules}}]))
}

/// A request for a stream, with a system prompt and turns.
pub(crate) fn request(dialect: Dialect, system: &str, turns: &[(&str, &str)]) -> Value {
    let mut messages: Vec<Value> = turns.iter().map(|(role, text)| json!({"role": role, "content": text})).collect();
    match dialect {
        ChatCompletions => {
            messages.insert(0, json!({"role": "system", "content": system}));
            json!({"model": "m", "stream": true, "messages": messages})
        }
        Messages => json!({"model": "m", "max_tokens": 9, "stream": true, "system": system, "messages": messages}),
        _ => json!({"model": "m", "stream": true, "instructions": system, "input": messages}),
    }
}

/// A request for a stream in which the user says so.
pub(crate) fn asked(dialect: Dialect, text: &str) -> Value {
    request(dialect, "Be kind.", &[("user", text)])
}

/// The same request for a whole answer.
pub(crate) fn for_whole(mut body: Value) -> Value {
    body["stream"] = json!(false);
    body
}

fn is_streamed(body: &Value) -> bool {
    body["stream"] == true
}

/// Plays an exchange whose answer says so.
pub(crate) fn play(rules: &Value, dialect: Dialect, body: &Value, said: &[Said<'_>]) -> Outcome {
    play_document(&document(rules), dialect, body, said)
}

pub(crate) fn play_document(document: &Value, dialect: Dialect, body: &Value, said: &[Said<'_>]) -> Outcome {
    let answer = Answer { said: said.to_vec(), cut: false };
    let bytes = if is_streamed(body) { answer.streamed(dialect) } else { answer.whole(dialect) };
    play_bytes(document, dialect, body, bytes)
}

pub(crate) fn play_bytes(document: &Value, dialect: Dialect, body: &Value, answer: Vec<u8>) -> Outcome {
    let chain = native::load(document, &weir_policies::registry()).unwrap_or_else(|error| panic!("{error}: {document}"));
    let recording = Recording::post(script::path(dialect), body.to_string());
    let recording = if is_streamed(body) { recording.streamed(answer) } else { recording.whole(answer) };
    let outcome = Player::new(Arc::new(chain)).play(&recording.steps(&Split::Events));
    assert!(outcome.faults.is_empty(), "{:?}", outcome.faults);
    outcome
}

/// What the client makes of the answer.
pub(crate) fn read(dialect: Dialect, body: &Value, outcome: &Outcome) -> Choice {
    if is_streamed(body) {
        legality::assert_stream(dialect, &outcome.client);
        client::streamed(dialect, &outcome.client).only().clone()
    } else {
        legality::assert_whole(dialect, &outcome.client);
        client::whole(dialect, &outcome.client).only().clone()
    }
}

/// The text that the client reads of an answer that says so.
pub(crate) fn text(rules: &Value, dialect: Dialect, body: &Value, deltas: &[&str]) -> String {
    read(dialect, body, &play(rules, dialect, body, &[Said::Text(deltas)])).text
}

/// What the provider got.
pub(crate) fn sent(outcome: &Outcome) -> String {
    let RequestOutcome::SentBody(sent) = &outcome.request else { panic!("{:?}", outcome.request) };
    String::from_utf8(sent.clone()).unwrap()
}

/// What the provider gets of a request.
pub(crate) fn sent_of(rules: &Value, dialect: Dialect, body: &Value) -> String {
    sent(&play(rules, dialect, body, &[Said::Text(&["ok"])]))
}

/// The placeholders with this label in a text, in order.
pub(crate) fn marks(text: &str, label: &str) -> Vec<String> {
    let beginning = format!("[{label}_");
    text.match_indices(&beginning).map(|(at, _)| text[at..at + beginning.len() + 13].to_owned()).collect()
}

/// The placeholder of the only address of a request.
pub(crate) fn mark(dialect: Dialect, body: &Value) -> String {
    let mut found = marks(&sent_of(&rules(), dialect, body), "EMAIL");
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// A call with these arguments, cut so.
pub(crate) fn call<'a>(arguments: &'a [&'a str]) -> Said<'a> {
    Said::Call { id: "call_1", name: "send", arguments }
}
