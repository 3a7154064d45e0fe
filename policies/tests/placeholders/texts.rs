//! Placeholders in texts of answers.

use serde_json::{Value, json};
use weir::dialect::Dialect::{ChatCompletions, Messages};
use weir_test_support::answer::Said;

use crate::exchange::{DIALECTS, asked, document, for_whole, mark, play, play_bytes, read, request, rules, sent, text};

#[test]
fn a_value_is_hidden_from_the_provider_and_restored_in_the_answer_at_any_cut() {
    for dialect in DIALECTS {
        let body = asked(dialect, "write to ann@corp.example now");
        let mark = mark(dialect, &body);
        let said = format!("Sent to {mark}, [EMAIL_ and done.");
        for cut in 0..said.len() {
            let second = (cut + 3).min(said.len());
            let outcome = play(&rules(), dialect, &body, &[Said::Text(&[&said[..cut], &said[cut..second], &said[second..]])]);
            assert!(!sent(&outcome).contains("ann@"), "{dialect}");
            assert_eq!(read(dialect, &body, &outcome).text, "Sent to ann@corp.example, [EMAIL_ and done.", "{dialect} {cut}");
        }
        let body = for_whole(body);
        let outcome = play(&rules(), dialect, &body, &[Said::Text(&[&said])]);
        assert_eq!(read(dialect, &body, &outcome).text, "Sent to ann@corp.example, [EMAIL_ and done.");
        let matched = outcome.events.iter().find(|event| event.event_type == "rules.matched").unwrap();
        assert_eq!(matched.metadata["restored"], 1, "{dialect}");
        assert!(!format!("{:?}", outcome.events).contains("ann@"), "{dialect}");
    }
}

#[test]
fn no_more_waits_than_the_beginning_of_a_placeholder() {
    let body = asked(ChatCompletions, "to ann@corp.example");
    let mark = mark(ChatCompletions, &body);
    let rules = json!([{"id": "email", "match": {"detect": ["email"]}, "reversible": true, "answer": []}]);
    let held = |deltas: &[&str]| {
        let outcome = play(&rules, ChatCompletions, &body, &[Said::Text(deltas)]);
        let matched = outcome.events.iter().find(|event| event.event_type == "rules.matched").unwrap();
        matched.metadata["held_bytes"].as_u64().unwrap()
    };
    assert_eq!(held(&["a list [1], [EMAIL], [EMAIL_zz", "."]), 0);
    assert_eq!(held(&["so ", &mark[..mark.len() - 1], &mark[mark.len() - 1..]]), mark.len() as u64 - 1);
}

#[test]
fn what_stands_in_the_system_prompt_alone_is_not_restored() {
    for dialect in DIALECTS {
        let system = "Owner: ann@corp.example";
        let body = request(dialect, system, &[("user", "who owns this?")]);
        let mark = mark(dialect, &body);
        let answer = |body: &Value| text(&rules(), dialect, body, &["It is ", &mark]);
        assert_eq!(answer(&body), format!("It is {mark}"), "{dialect}");
        let body = request(dialect, system, &[("user", &format!("who is {mark}?"))]);
        assert_eq!(answer(&body), format!("It is {mark}"), "{dialect}: nor where the user writes the placeholder down");
        let body = request(dialect, system, &[("user", "is it ann@corp.example?")]);
        assert_eq!(answer(&body), "It is ann@corp.example", "{dialect}");
    }
}

#[test]
fn no_rule_matches_a_placeholder_nor_what_is_restored() {
    let rules = json!([
        {"id": "email", "match": {"detect": ["email"]}, "reversible": true},
        {"id": "word", "match": {"terms": ["email", "ann"]}, "with": "#"},
        {"id": "hex", "match": {"pattern": "[0-9a-f]{12}"}, "action": "refuse"},
    ]);
    let body = asked(ChatCompletions, "Ann has an email, ann@corp.example");
    let first = sent(&play(&rules, ChatCompletions, &body, &[Said::Text(&["ok"])]));
    let mark = crate::exchange::marks(&first, "EMAIL").pop().unwrap();
    assert!(first.contains(&format!("# has an #, {mark}")), "{first}");
    let answer = text(&rules, ChatCompletions, &body, &["ann: ", &mark, " bob@corp.example"]);
    assert_eq!(answer, "#: ann@corp.example [redacted]");
    let body = asked(ChatCompletions, &format!("who is {mark}?"));
    let answer = text(&rules, ChatCompletions, &body, &["I do not know ", &mark]);
    assert_eq!(answer, format!("I do not know {mark}"), "a placeholder that the client was left with comes back");
}

#[test]
fn reasoning_is_restored_where_a_reversible_rule_names_it() {
    let body = asked(ChatCompletions, "to ann@corp.example");
    let mark = mark(ChatCompletions, &body);
    let reversible = |answer: Value| json!({"id": "email", "match": {"detect": ["email"]}, "reversible": true, "answer": answer});
    let other = json!({"id": "word", "match": {"terms": ["thought"]}, "with": "#", "answer": ["reasoning"]});
    for (rules, expected) in [
        (json!([reversible(json!(["text"]))]), format!("a thought of {mark}")),
        (json!([reversible(json!(["text"])), other]), format!("a # of {mark}")),
        (json!([reversible(json!(["text", "reasoning"]))]), "a thought of ann@corp.example".to_owned()),
    ] {
        let chunk = |delta: Value, finish: Value| {
            let choices = json!([{"index": 0, "delta": delta, "finish_reason": finish}]);
            let chunk = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices});
            format!("data: {chunk}\n\n")
        };
        let deltas = [
            json!({"role": "assistant", "reasoning_content": "a thought of "}),
            json!({"reasoning_content": mark[..9]}),
            json!({"reasoning_content": mark[9..]}),
            json!({"content": "ok"}),
        ];
        let stream: String = deltas.into_iter().map(|delta| chunk(delta, Value::Null)).collect();
        let stream = stream + &chunk(json!({}), json!("stop")) + "data: [DONE]\n\n";
        let outcome = play_bytes(&document(&rules), ChatCompletions, &body, stream.into_bytes());
        assert_eq!(read(ChatCompletions, &body, &outcome).reasoning, expected, "{rules}");
    }
}

#[test]
fn a_block_of_unknown_type_stays_with_its_placeholder() {
    let body = for_whole(asked(Messages, "to ann@corp.example"));
    let mark = mark(Messages, &body);
    let content = json!([{"type": "text", "text": mark}, {"type": "novelty", "text": mark}]);
    let answer = json!({"id": "m", "type": "message", "role": "assistant", "model": "m", "content": content,
        "stop_reason": "end_turn", "stop_sequence": null, "usage": {"input_tokens": 1, "output_tokens": 1}});
    let outcome = play_bytes(&document(&rules()), Messages, &body, answer.to_string().into_bytes());
    let read: Value = serde_json::from_slice(&outcome.client).unwrap();
    assert_eq!(read["content"], json!([{"type": "text", "text": "ann@corp.example"}, {"type": "novelty", "text": mark}]));
}
