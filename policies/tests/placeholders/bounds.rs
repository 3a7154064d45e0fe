//! What reversible rules do not go beyond.

use serde_json::{Value, json};
use weir::dialect::Dialect::ChatCompletions;
use weir_test_support::answer::Said;

use crate::exchange::{asked, document, mark, marks, play_document, rules, sent_of, text};

/// How many values of a request get placeholders, and how many are gone for good.
fn counts(rules: &Value, request: &str, label: &str) -> (usize, usize) {
    let sent = sent_of(rules, ChatCompletions, &asked(ChatCompletions, request));
    (marks(&sent, label).len(), sent.matches("[redacted]").count())
}

#[test]
fn a_value_of_more_than_512_bytes_is_redacted_for_good() {
    let rules = json!([{"id": "key", "match": {"pattern": "sk-[a-z]{20,}"}, "reversible": true}]);
    for (length, is_reversible) in [(509, true), (510, false)] {
        let sent = sent_of(&rules, ChatCompletions, &asked(ChatCompletions, &format!("a sk-{} b", "x".repeat(length))));
        assert_eq!(marks(&sent, "KEY").len(), usize::from(is_reversible), "{length}: {sent}");
        assert_eq!(sent.contains("a [redacted] b"), !is_reversible, "{length}: {sent}");
        assert!(!sent.contains("sk-"));
    }
}

#[test]
fn a_request_has_at_most_1024_placeholders_of_256_kib() {
    let many: Vec<String> = (0..1030).map(|number| format!("u{number}@corp.example")).collect();
    assert_eq!(counts(&rules(), &many.join(" "), "EMAIL"), (1024, 6));
    let keys = json!([{"id": "key", "match": {"pattern": "sk-[0-9a-z]{20,}"}, "reversible": true}]);
    let large: Vec<String> = (0..520).map(|number| format!("sk-{number:0508}x")).collect();
    assert_eq!(counts(&keys, &large.join(" "), "KEY"), (512, 8));
}

#[test]
fn a_text_has_at_most_4096_matches_that_are_restored() {
    assert_eq!(counts(&rules(), &"a@corp.com ".repeat(4100), "EMAIL"), (4096, 4));
    let parts: Vec<Value> = (0..2).map(|_| json!({"type": "text", "text": "a@corp.com ".repeat(4096)})).collect();
    let mut body = asked(ChatCompletions, "");
    body["messages"] = json!([{"role": "user", "content": parts}]);
    let sent = sent_of(&rules(), ChatCompletions, &body);
    assert_eq!((marks(&sent, "EMAIL").len(), sent.contains("[redacted]")), (8192, false), "each text counts for itself");
}

#[test]
fn of_what_has_the_form_of_a_placeholder_256_are_passed_over() {
    let rules = json!([
        {"id": "email", "match": {"detect": ["email"]}, "reversible": true},
        {"id": "hex", "match": {"pattern": "[0-9a-f]{12}"}, "with": "#"},
    ]);
    let passed = |label: &str| {
        let many: Vec<String> = (0..260).map(|number| format!("[{label}_{number:012x}]")).collect();
        let sent = sent_of(&rules, ChatCompletions, &asked(ChatCompletions, &format!("{} and nothing else", many.join(" "))));
        marks(&sent, label).iter().filter(|mark| many.contains(mark)).count()
    };
    assert_eq!(passed("EMAIL"), 256);
    assert_eq!(passed("OTHER"), 0, "only those of rules of the policy are");
}

#[test]
fn placeholders_that_are_made_up_stay_and_a_flood_of_true_ones_is_bounded() {
    let body = asked(ChatCompletions, "to ann@corp.example");
    let made_up = "[EMAIL_000000000000] [EMAIL_] [EMAIL_00000000000g] [EMAIL_[EMAIL_";
    assert_eq!(text(&rules(), ChatCompletions, &body, &[made_up]), made_up);

    let long = format!("{}@corp.example", "a".repeat(60));
    let body = asked(ChatCompletions, &format!("to {long}"));
    let mark = mark(ChatCompletions, &body);
    let mut document = document(&rules());
    document["limits"] = json!({"max_rewritten_bytes": 4096});
    let outcome = play_document(&document, ChatCompletions, &body, &[Said::Text(&[&mark.repeat(1000)])]);
    assert!(outcome.client.len() < 8192, "{}", outcome.client.len());
    assert!(outcome.events.iter().any(|event| event.event_type == "rules.rewritten_too_large"), "{:?}", outcome.events);
}
