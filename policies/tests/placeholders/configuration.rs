//! The configuration of reversible rules.

use serde_json::{Value, json};
use weir::document::Document;
use weir_test_support::script;

use crate::exchange::SECRET;

/// The error of a configuration; variables `KEY` and `SHORT` are there.
fn error(with: &Value) -> Option<(String, String)> {
    let variables = |name: &str| match name {
        "KEY" => Some(SECRET.to_owned()),
        "SHORT" => Some("short".to_owned()),
        _ => None,
    };
    let mut document = script::document(json!([{"use": "rules", "with": with}]));
    document["judges"] = json!({"writer": {"cluster": "judge", "model": "m"}});
    let read = Document::parse(&document.to_string(), &weir_policies::registry(), &variables);
    read.err().map(|error| (error.path, error.message))
}

/// A reversible rule, with more fields.
fn reversible(more: &Value) -> Value {
    let mut rule = json!({"id": "r", "match": {"terms": ["a"]}, "reversible": true});
    more.as_object().unwrap().iter().for_each(|(name, value)| rule[name] = value.clone());
    rule
}

#[test]
fn errors_name_the_field() {
    let plain = reversible(&json!({}));
    let one = |rule: Value| json!({"key": SECRET, "rules": [rule]});
    for (with, path) in [
        (json!({"rules": [plain]}), "key"),
        (json!({"key": "short", "rules": [plain]}), "key"),
        (json!({"key": "k".repeat(513), "rules": [plain]}), "key"),
        (json!({"key": SECRET, "key_env": "KEY", "rules": [plain]}), "key"),
        (json!({"key_env": "NO", "rules": [plain]}), "key_env"),
        (json!({"key_env": "SHORT", "rules": [plain]}), "key_env"),
        (json!({"key_env": "KEY", "rules": [{"id": "r", "match": {"terms": ["a"]}}]}), "key_env"),
        (one(json!({"id": "r", "match": {"terms": ["a"]}})), "key"),
        (one(reversible(&json!({"action": "refuse"}))), "rules[0].reversible"),
        (one(reversible(&json!({"with": "x"}))), "rules[0].with"),
        (one(reversible(&json!({"request": []}))), "rules[0].request"),
        (one(reversible(&json!({"match": {"detect": ["hidden_text"]}}))), "rules[0].reversible"),
    ] {
        let (found, message) = error(&with).unwrap_or_else(|| panic!("{with} was read"));
        assert_eq!(found, format!("chain[0].with.{path}"), "{with}: {message}");
        assert!(!message.contains(SECRET) && !message.contains("short"), "{message}");
    }
    assert_eq!(error(&one(plain.clone())), None);
    assert_eq!(error(&json!({"key_env": "KEY", "rules": [plain]})), None);
}

#[test]
fn a_rule_that_holds_texts_whole_and_a_reversible_one_need_entries_of_their_own() {
    let with =
        |summary: Value| json!({"key": SECRET, "summary": {"judge": "writer"}, "rules": [reversible(&json!({})), summary]});
    let summary = |more: Value| {
        let mut rule = json!({"id": "s", "match": {"terms": ["b"]}, "action": "summary"});
        more.as_object().unwrap().iter().for_each(|(name, value)| rule[name] = value.clone());
        rule
    };
    let (path, message) = error(&with(summary(json!({"answer": ["text"]})))).unwrap();
    assert_eq!(path, "chain[0].with.rules[1].answer");
    assert!(message.contains("\"s\" holds each text whole"), "{message}");
    assert_eq!(error(&with(summary(json!({"answer": []})))), None, "summaries in requests alone hold nothing");
}
