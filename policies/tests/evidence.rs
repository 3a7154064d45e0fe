//! What the event that ends an exchange tells of what policies changed.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a panic fails the test, as it should")]

use std::sync::Arc;

use serde_json::{Value, json};
use weir::dialect::Dialect::ChatCompletions;
use weir_driver::{Player, ServiceReply};
use weir_test_support::fixtures::stream;
use weir_test_support::script::{self, Script};
use weir_test_support::{chunking, native};

/// Plays a stream of chat.completions through rules that take names out of texts and a judge that refuses every call; gives
/// what the enforcement event says was changed.
fn changes(evidence: Value, salt: &str, chunks: Vec<Vec<u8>>) -> Value {
    let rules = json!([{"find": "Lisbon", "with": "[city]"}, {"find": "/srv", "with": "[path]"}]);
    changes_by(json!({"use": "content_transform", "with": {"replace": rules}}), evidence, salt, chunks)
}

/// The same with another policy in the place of these rules.
fn changes_by(policy: Value, evidence: Value, salt: &str, chunks: Vec<Vec<u8>>) -> Value {
    let mut document = script::document(json!([
        policy,
        {"use": "tool_call_judge", "with": {"judge": "main", "allow": ["get_weather"]}}
    ]));
    document["evidence"] = evidence;
    let mut chain = native::load(&document, &weir_policies::registry()).unwrap();
    chain.evidence.salt = salt.as_bytes().to_vec();
    let player = Player::new(Arc::new(chain)).answering(|_| ServiceReply::verdict(0.9));
    let outcome = player.play(&Script::streamed(ChatCompletions, json!({}), chunks).steps);
    assert!(outcome.faults.is_empty(), "{:?}", outcome.faults);
    let last = outcome.events.into_iter().rfind(|event| event.event_type == "enforcement").unwrap();
    last.metadata.get("changes").cloned().unwrap_or_default()
}

fn calls() -> Vec<Vec<u8>> {
    chunking::events(stream(ChatCompletions, "parallel_tool_calls"))
}

fn texts(deltas: &[&str]) -> Vec<Vec<u8>> {
    let chunk = |delta: Value, finish: Value| {
        let choices = json!([{"index": 0, "delta": delta, "finish_reason": finish}]);
        let chunk = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices});
        format!("data: {chunk}\n\n").into_bytes()
    };
    let mut chunks = vec![chunk(json!({"role": "assistant", "content": ""}), Value::Null)];
    chunks.extend(deltas.iter().map(|text| chunk(json!({"content": text}), Value::Null)));
    chunks.push(chunk(json!({}), json!("stop")));
    chunks.push(b"data: [DONE]\n\n".to_vec());
    chunks
}

#[test]
fn without_evidence_names_sizes_and_salted_hashes_are_told_and_no_text() {
    let changes = changes(json!({}), "salt", calls());
    let call = &changes.as_array().unwrap()[0];
    assert_eq!((&call["kind"], &call["tool"]), (&json!("tool_call"), &json!("delete_files")), "{changes}");
    assert_eq!(call["before"]["bytes"], json!(r#"{"path":"/srv/data","recursive":true}"#.len()));
    assert_eq!(call["before"]["hash"].as_str().unwrap().len(), 32);
    assert!(!changes.to_string().contains("/srv"), "{changes}");
}

#[test]
fn hashes_tell_nothing_to_who_has_another_salt() {
    let hash = |salt: &str| changes(json!({}), salt, calls())[0]["before"]["hash"].clone();
    assert_eq!(hash("one"), hash("one"));
    assert_ne!(hash("one"), hash("other"));
    assert_eq!(hash(""), Value::Null);
}

#[test]
fn what_came_and_what_left_are_shown_where_the_document_says_so_redacted_by_its_own_rules() {
    let shown = changes(json!({"before": true, "after": true}), "salt", calls());
    assert_eq!(shown[0]["before"]["text"], r#"{"path":"[path]/data","recursive":true}"#, "{shown}");
    assert!(shown[0]["after"]["text"].as_str().unwrap().contains("delete_files"), "{shown}");

    let deltas = ["The weather in Lis", "bon is ", "fine."];
    let shown = changes(json!({"after": true}), "salt", texts(&deltas));
    let length = deltas.concat().len();
    assert_eq!(shown[0]["kind"], "text", "{shown}");
    assert_eq!((&shown[0]["before"]["bytes"], &shown[0]["before"]["text"]), (&json!(length), &Value::Null), "{shown}");
    assert_eq!(shown[0]["after"]["text"], "The weather in [city] is fine.", "{shown}");
}

#[test]
fn rules_redact_what_events_show_whatever_texts_they_are_for() {
    let changes = |rules: Value, chunks| {
        let policy = json!({"use": "rules", "with": {"rules": rules}});
        changes_by(policy, json!({"before": true, "after": true}), "salt", chunks)
    };
    let text = |changes: &Value| changes[0]["before"]["text"].as_str().unwrap().to_owned();
    // For requests alone: it does not act on the answer, which another rule changes.
    let asked = json!({"id": "a", "match": {"terms": ["Lisbon"]}, "request": ["user"], "answer": []});
    let told = json!({"id": "b", "match": {"terms": ["fine"]}, "with": "bad"});
    let shown = changes(json!([asked, told]), texts(&["The weather in Lis", "bon is fine."]));
    assert_eq!(text(&shown), "The weather in [redacted] is bad.", "{shown}");
    assert_eq!(shown[0]["after"]["text"], "The weather in [redacted] is bad.", "{shown}");

    let refused =
        json!([{"id": "r", "match": {"terms": ["lisbon"]}, "action": "refuse", "request": ["user"], "answer": []}, told]);
    let shown = changes(refused, texts(&["It is fine in Lisbon today."]));
    assert_eq!(text(&shown), "It is bad in [redacted]", "{shown}");

    let paths = json!([{"id": "p", "match": {"terms": ["/srv"]}, "with": "[path]", "request": ["user"], "answer": []}]);
    let shown = changes(paths, calls());
    assert_eq!(text(&shown), r#"{"path":"[path]/data","recursive":true}"#, "{shown}");
}

#[test]
fn what_passes_as_it_came_is_no_change_though_some_of_it_waited() {
    assert_eq!(changes(json!({"before": true}), "salt", texts(&["The weather in Lis", "sabon is ", "fine Lis"])), Value::Null);
}

#[test]
fn texts_in_events_are_bounded_and_never_end_within_what_would_have_been_redacted() {
    let long = "x".repeat(4090);
    let shown = changes(json!({"before": true, "after": true}), "salt", texts(&["Lisbon ", &long, " Lisbon Lisbon"]));
    let before = shown[0]["before"]["text"].as_str().unwrap();
    assert!(before.starts_with("[city] x") && before.len() <= 2048 && !before.contains("Lis"), "{shown}");
    assert_eq!(shown[0]["before"]["cut"], true);
    assert_eq!(shown[0]["before"]["bytes"], json!("Lisbon ".len() + long.len() + " Lisbon Lisbon".len()));

    let short = changes(json!({"before": true, "max_bytes": 10}), "salt", texts(&["Lisbon is a city"]));
    assert_eq!(short[0]["before"]["text"], "[city] is ");

    // However many are changed, the event stays below what a collector takes, and says how many it left out.
    let many: Vec<_> =
        (0..200).map(|index| json!({"index": index, "delta": {"content": "Lisbon\u{1}\u{2}".repeat(200)}})).collect();
    let chunk = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": many});
    let chunks = vec![format!("data: {chunk}\n\n").into_bytes(), b"data: [DONE]\n\n".to_vec()];
    let shown = changes(json!({"before": true, "after": true}), "salt", chunks);
    let list = shown.as_array().unwrap();
    assert_eq!((list.len(), &list[32]["left_out"]), (33, &json!(168)), "{}", list.len());
    assert!(shown.to_string().len() < 48 * 1024, "{}", shown.to_string().len());
}
