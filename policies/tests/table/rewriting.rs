//! Rules that rewrite what they find, by a template.

use serde_json::{Value, json};
use weir::dialect::Dialect;
use weir_test_support::answer::Said;

use crate::exchange::{answer, decision, each, player, reason, recording, sent, with_result};

/// Addresses of one domain get another.
fn chain(more: &Value) -> Value {
    let mut rule = json!({"id": "domain", "match": {"pattern": r"(\w{1,64})@corp\.example"}, "action": "rewrite",
        "template": "${1}@example.org"});
    more.as_object().unwrap().iter().for_each(|(name, value)| rule[name] = value.clone());
    json!([{"use": "rules", "with": {"rules": [rule]}}])
}

fn call(arguments: &'static [&'static str]) -> Said<'static> {
    Said::Call { id: "call_1", name: "send", arguments }
}

#[test]
fn rules_rewrite_texts_and_arguments_of_answers() {
    const SAID: [Said<'static>; 2] = [
        Said::Text(&["Ask Jo", "sé@co", "rp.example, not ann@corp.", "examples."]),
        Said::Call { id: "call_1", name: "send", arguments: &["{ \"to\":\"joe", "@corp.example\",  \"n\": 1.50}"] },
    ];
    each(|dialect, streamed| {
        let (outcome, message) = answer(&chain(&json!({})), dialect, streamed, &SAID);
        let message = message.only();
        assert_eq!(message.text, "Ask José@example.org, not ann@example.orgs.", "{dialect} {streamed}");
        let arguments: Value = serde_json::from_str(&message.calls[0].arguments).unwrap();
        assert_eq!(arguments, json!({"to": "joe@example.org", "n": 1.5}), "{dialect} {streamed}");
        // The client of messages reads arguments as an object.
        if dialect != Dialect::Messages {
            assert_eq!(message.calls[0].arguments, r#"{ "to":"joe@example.org",  "n": 1.50}"#, "every other byte stays");
        }
        assert_eq!((reason(&outcome).as_str(), decision(&outcome).as_str()), ("RULE_REWRITTEN", "rewrite"));
    });
}

#[test]
fn what_a_template_writes_into_arguments_is_escaped() {
    let rule = json!({"match": {"pattern": r#"say "(\w{1,9})"(\s?)"#}, "template": "\\${0}\"$1\" $$1$2\n"});
    each(|dialect, streamed| {
        let (_, message) = answer(&chain(&rule), dialect, streamed, &[call(&[r#"{"what":"say \"jo"#, r#"e\"\n","n":2}"#])]);
        let arguments: Value = serde_json::from_str(&message.only().calls[0].arguments).unwrap();
        let expected = "\\say \"joe\"\n\"joe\" $1\n\n";
        assert_eq!(arguments, json!({"what": expected, "n": 2}), "{dialect} {streamed}");
    });
}

#[test]
fn rules_rewrite_requests() {
    each(|dialect, streamed| {
        let with = with_result(dialect, "write to joe@corp.example, or to joe@corp.examine");
        let recorded = recording(dialect, streamed, with, &[Said::Text(&["ok"])]);
        let outcome = crate::exchange::play(&player(&chain(&json!({}))), &recorded);
        let sent = sent(&outcome);
        assert!(sent.contains("write to joe@example.org, or to joe@corp.examine"), "{dialect}: {sent}");
        assert_eq!(reason(&outcome), "RULE_REWRITTEN");
    });
}

#[test]
fn reasoning_and_refusals_are_rewritten_where_the_rule_names_them() {
    let chunk = |delta: Value, finish: Value| {
        let choices = json!([{"index": 0, "delta": delta, "finish_reason": finish}]);
        let chunk = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices});
        format!("data: {chunk}\n\n")
    };
    let stream = [
        chunk(json!({"role": "assistant", "reasoning_content": "Is it joe@co"}), Value::Null),
        chunk(json!({"reasoning_content": "rp.example?"}), Value::Null),
        chunk(json!({"refusal": "Not joe@co"}), Value::Null),
        chunk(json!({"refusal": "rp.example!"}), Value::Null),
        chunk(json!({}), json!("stop")),
        "data: [DONE]\n\n".to_owned(),
    ]
    .concat();
    for (scopes, reasoning, refusal) in [
        (json!(["reasoning", "refusal"]), "Is it joe@example.org?", "Not joe@example.org!"),
        (json!(["text"]), "Is it joe@corp.example?", "Not joe@corp.example!"),
    ] {
        let body = weir_test_support::script::request_body(Dialect::ChatCompletions, true).to_string();
        let recorded = weir_driver::Recording::post("/v1/chat/completions", body).streamed(stream.clone());
        let outcome = crate::exchange::play(&player(&chain(&json!({"answer": scopes}))), &recorded);
        let message = crate::exchange::message(Dialect::ChatCompletions, true, &outcome);
        assert_eq!((message.only().reasoning.as_str(), message.only().refusal.as_str()), (reasoning, refusal));
    }
}
