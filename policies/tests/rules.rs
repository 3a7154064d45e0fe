//! Rules at work on whole exchanges.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a panic fails the test, as it should"
)]

use serde_json::{Value, json};
use weir::dialect::Dialect::{self, ChatCompletions, McpTool, Messages, Responses};
use weir_test_support::native::{self, Outcome, RequestOutcome};
use weir_test_support::script::{Script, document};
use weir_test_support::{chunking, client, fixtures, legality};

const TERM: &str = "Project Nightingale";
const KEY: &str = "sk-abcdefghijklmnopqrstuvwxyz012345";

fn rules() -> Value {
    json!([
        {"id": "project", "match": {"terms": ["project nightingale"]}, "with": "[internal]"},
        {"id": "keys", "match": {"pattern": "sk-[A-Za-z0-9]{20,}"}, "category": "secrets", "reason_code": "KEY"},
    ])
}

fn chain(rules: &Value) -> Value {
    json!([{"use": "rules", "with": {"rules": rules}}])
}

/// An answer whose text comes in these deltas, as a stream.
fn text_stream(dialect: Dialect, deltas: &[&str]) -> Vec<Vec<u8>> {
    let event = |value: Value| format!("event: {}\ndata: {value}\n\n", value["type"].as_str().unwrap()).into_bytes();
    let whole = deltas.concat();
    match dialect {
        ChatCompletions => {
            let chunk = |delta: Value, finish: Value| {
                let choices = json!([{"index": 0, "delta": delta, "finish_reason": finish}]);
                let chunk = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices});
                format!("data: {chunk}\n\n").into_bytes()
            };
            let mut events = vec![chunk(json!({"role": "assistant", "content": ""}), Value::Null)];
            events.extend(deltas.iter().map(|delta| chunk(json!({"content": delta}), Value::Null)));
            events.extend([chunk(json!({}), json!("stop")), b"data: [DONE]\n\n".to_vec()]);
            events
        }
        Messages => {
            let usage = json!({"input_tokens": 1, "output_tokens": 1});
            let mut events = vec![
                event(json!({"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant",
                    "model": "m", "content": [], "stop_reason": null, "stop_sequence": null, "usage": usage}})),
                event(json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})),
            ];
            events.extend(deltas.iter().map(|delta| {
                event(json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": delta}}))
            }));
            let delta = json!({"stop_reason": "end_turn", "stop_sequence": null});
            events.extend([
                event(json!({"type": "content_block_stop", "index": 0})),
                event(json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 1}})),
                event(json!({"type": "message_stop"})),
            ]);
            events
        }
        _ => {
            let item = |status: &str, content: Value| json!({"id": "msg_1", "type": "message", "role": "assistant", "status": status, "content": content});
            let part = |text: &str| json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []});
            let response = |status: &str, output: Value| {
                json!({"id": "resp_1", "object": "response", "created_at": 1, "status": status,
                "model": "m", "output": output, "parallel_tool_calls": true, "tool_choice": "auto", "tools": [], "usage": null,
                "error": null, "incomplete_details": null, "instructions": null, "metadata": {}, "temperature": 1.0, "top_p": 1.0})
            };
            let mut number = 0;
            let mut numbered = |mut value: Value| {
                value["sequence_number"] = json!(number);
                number += 1;
                event(value)
            };
            let place = |mut value: Value| {
                value["item_id"] = json!("msg_1");
                value["output_index"] = json!(0);
                value["content_index"] = json!(0);
                value
            };
            let mut events = vec![
                numbered(json!({"type": "response.created", "response": response("in_progress", json!([]))})),
                numbered(
                    json!({"type": "response.output_item.added", "output_index": 0, "item": item("in_progress", json!([]))}),
                ),
                numbered(place(json!({"type": "response.content_part.added", "part": part("")}))),
            ];
            for delta in deltas {
                events.push(numbered(place(json!({"type": "response.output_text.delta", "delta": delta, "logprobs": []}))));
            }
            let done = item("completed", json!([part(&whole)]));
            events.extend([
                numbered(place(json!({"type": "response.output_text.done", "text": whole, "logprobs": []}))),
                numbered(place(json!({"type": "response.content_part.done", "part": part(&whole)}))),
                numbered(json!({"type": "response.output_item.done", "output_index": 0, "item": done})),
                numbered(json!({"type": "response.completed", "response": response("completed", json!([done]))})),
            ]);
            events
        }
    }
}

fn whole_answer(dialect: Dialect, text: &str) -> Value {
    let usage = json!({"input_tokens": 1, "output_tokens": 1, "total_tokens": 2});
    match dialect {
        ChatCompletions => json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}),
        Messages => json!({"id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
            "stop_sequence": null, "usage": usage, "content": [{"type": "text", "text": text}]}),
        Responses => {
            json!({"id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "m", "usage": usage,
            "parallel_tool_calls": true, "tool_choice": "auto", "tools": [], "output": [{"id": "msg_1", "type": "message",
            "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": text, "annotations": []}]}]})
        }
        _ => json!({"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": text}]}}),
    }
}

const STREAM: (&str, &str) = ("content-type", "text/event-stream");
const JSON: (&str, &str) = ("content-type", "application/json");

fn play(script: &Script) -> Outcome {
    native::play(script, &weir_policies::registry())
}

fn stream(rules: &Value, dialect: Dialect, chunks: Vec<Vec<u8>>) -> Outcome {
    let before = legality::stream(dialect, &chunks.concat());
    let outcome = play(&Script::request(dialect, document(chain(rules)), true).respond_with(200, &[STREAM], chunks));
    legality::assert_none(&legality::added(&before, legality::stream(dialect, &outcome.client)), &outcome.client);
    outcome
}

fn whole(rules: &Value, dialect: Dialect, answer: &Value) -> Outcome {
    let script = Script::request(dialect, document(chain(rules)), false);
    play(&script.respond_with(200, &[JSON], vec![answer.to_string().into_bytes()]))
}

fn reason_code(outcome: &Outcome) -> &str {
    let enforcement = outcome.events.iter().find(|event| event.event_type == "enforcement").expect("every exchange has one");
    enforcement.metadata["reason_code"].as_str().unwrap()
}

fn matched(outcome: &Outcome) -> &serde_json::Map<String, Value> {
    &outcome.events.iter().find(|event| event.event_type == "rules.matched").expect("a rule matched").metadata
}

#[test]
fn what_rules_are_against_is_redacted_at_any_cut_in_every_dialect_and_no_beginning_of_it_leaves() {
    for (secret, with, code) in [(TERM, "[internal]", "RULE_REDACTED"), (KEY, "[redacted]", "KEY")] {
        let text = format!("The plan: {secret}, is due.");
        for dialect in [ChatCompletions, Messages, Responses] {
            let expected = format!("The plan: {with}, is due.");
            for cut in 0..text.len() {
                let second = (cut + 3).min(text.len());
                let outcome =
                    stream(&rules(), dialect, text_stream(dialect, &[&text[..cut], &text[cut..second], &text[second..]]));
                assert_eq!(client::streamed(dialect, &outcome.client).only().text, expected, "{dialect} {cut}");
                let beginning = &secret[..3];
                assert!(!outcome.text().contains(beginning), "{dialect} {cut}: {}", outcome.text());
                assert_eq!(reason_code(&outcome), code);
            }
            let outcome = whole(&rules(), dialect, &whole_answer(dialect, &text));
            assert_eq!(client::whole(dialect, &outcome.client).only().text, expected, "{dialect}");
            assert_eq!(matched(&outcome)["matches"], 1);
        }
    }
}

#[test]
fn the_event_names_rules_counts_and_the_greatest_hold_but_no_text() {
    let deltas = ["a Project Night", "ingale b ", "sk-abcdefghijklmnopqrstuvwxyz", "012345 and project nightingale"];
    let outcome = stream(&rules(), ChatCompletions, text_stream(ChatCompletions, &deltas));
    let expected = json!({"matches": 3, "held_bytes": 13, "by_rule": {
        "project": {"action": "redact", "request": 0, "answer": 2}, "keys": {"action": "redact", "request": 0, "answer": 1}}});
    assert_eq!(&Value::Object(matched(&outcome).clone()), &expected);
    let enforcement = outcome.enforcement();
    assert_eq!(enforcement["denylist_hits"], json!(["project", "keys"]), "{enforcement}");
    assert_eq!(enforcement["triggered_categories"], json!(["secrets"]), "{enforcement}");
    let told = format!("{:?}", outcome.events).to_lowercase();
    assert!(!told.contains("nightingale") && !told.contains("sk-abc"));
}

#[test]
fn a_stream_without_a_match_says_what_it_said() {
    for dialect in [ChatCompletions, Messages, Responses] {
        for fixture in fixtures::streams(dialect) {
            let rules = json!([{"id": "r", "match": {"terms": ["nightingale"]}, "answer": ["text", "refusal"]}]);
            let outcome = stream(&rules, dialect, chunking::events(fixture.body));
            assert!(outcome.events.iter().all(|event| event.event_type != "rules.matched"), "{}", fixture.name);
            let read = |body: &[u8]| client::streamed(dialect, body);
            assert_eq!(read(&outcome.client), read(fixture.body), "{dialect} {}", fixture.name);
        }
    }
}

#[test]
fn a_refused_answer_ends_before_the_match() {
    let rules = json!([{"id": "r", "match": {"terms": ["nightingale"]}, "action": "refuse", "message": "Not here."}]);
    for dialect in [ChatCompletions, Messages, Responses] {
        let outcome = stream(&rules, dialect, text_stream(dialect, &["A fine day. The night", "ingale", " sings."]));
        let read = client::streamed(dialect, &outcome.client);
        assert_eq!(read.only().text, "A fine day. The Not here.", "{dialect}: {}", outcome.text());
        assert!(outcome.text().contains("Not here.") && !outcome.text().contains("ightin") && !outcome.text().contains("sings"));
        assert_eq!(reason_code(&outcome), "RULE_REFUSED");
        let outcome = whole(&rules, dialect, &whole_answer(dialect, "A fine day. The nightingale sings."));
        assert!(outcome.text().contains("Not here.") && !outcome.text().contains("sings"), "{dialect}: {}", outcome.text());
        assert_eq!(outcome.status, 403, "{dialect}");
    }
}

#[test]
fn what_an_mcp_server_answers_is_a_result_of_a_tool() {
    for (scope, expected) in [("tool_result", "the [redacted] file"), ("text", "the nightingale file")] {
        let rules = json!([{"id": "r", "match": {"terms": ["nightingale"]}, "request": [], "answer": [scope]}]);
        let outcome = whole(&rules, McpTool, &whole_answer(McpTool, "the nightingale file"));
        assert!(outcome.text().contains(expected), "{scope}: {}", outcome.text());
    }
}

fn request(rules: &Value, body: &Value) -> Outcome {
    let script = Script::request_to("/v1/chat/completions", document(chain(rules)), vec![body.to_string().into_bytes()]);
    play(&script)
}

fn conversation(user: &str) -> Value {
    json!({"model": "m", "temperature": 1.50, "messages": [
        {"role": "system", "content": "Nightingale rules."},
        {"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function",
            "function": {"name": "look", "arguments": "{ \"q\": \"night\\u0069ngale\" }"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "a nightingale"},
        {"role": "user", "content": user}]})
}

#[test]
fn texts_of_requests_are_redacted_where_a_rule_is_for_them() {
    for (scopes, left) in [
        (json!(["user"]), ["Nightingale rules.", "night\\\\u0069ngale", "a nightingale", "who is [x]?"]),
        (json!(["system", "tool_result"]), ["[x] rules.", "night\\\\u0069ngale", "a [x]", "who is NIGHTINGALE?"]),
        (json!(["tool_argument"]), ["Nightingale rules.", r#"{ \"q\": \"[x]\" }"#, "a nightingale", "who is NIGHTINGALE?"]),
    ] {
        let rules = json!([{"id": "r", "match": {"terms": ["nightingale"]}, "with": "[x]", "request": scopes, "answer": []}]);
        let outcome = request(&rules, &conversation("who is NIGHTINGALE?"));
        let RequestOutcome::SentBody(sent) = &outcome.request else { panic!("{:?}", outcome.request) };
        let sent = String::from_utf8(sent.clone()).unwrap();
        for text in left {
            assert!(sent.contains(text), "{scopes} {text}: {sent}");
        }
    }
}

#[test]
fn a_refused_request_does_not_leave() {
    let rules = json!([{"id": "r", "match": {"detect": ["payment_card"]}, "action": "refuse", "message": "No cards.", "reason_code": "CARD"}]);
    let outcome = request(&rules, &conversation("my card is 4111 1111 1111 1111"));
    assert_eq!((outcome.status, reason_code(&outcome)), (403, "CARD"));
    assert_eq!(outcome.request, RequestOutcome::Answered);
    assert!(outcome.text().contains("No cards."));
    let outcome = request(&rules, &conversation("my order is 4111 1111 1111 1112"));
    assert_eq!((&outcome.request, reason_code(&outcome)), (&RequestOutcome::Sent, "ALLOW"));
}

#[test]
fn with_allow_rules_the_newest_message_needs_a_match() {
    let rules =
        json!([{"id": "topic", "match": {"terms": ["weather", "climate"]}, "action": "allow", "message": "Weather only."}]);
    let body = |first: &str, second: &str| {
        json!({"model": "m", "messages": [{"role": "user", "content": first}, {"role": "assistant", "content": "ok"},
            {"role": "user", "content": [{"type": "text", "text": second}, {"type": "text", "text": "please"}]}]})
    };
    let outcome = request(&rules, &body("hello", "the WEATHER today?"));
    assert_eq!(outcome.request, RequestOutcome::Sent);
    let outcome = request(&rules, &body("the weather today?", "write code"));
    assert_eq!((outcome.status, reason_code(&outcome)), (403, "NOT_ALLOWED"));
}

#[test]
fn what_is_only_observed_changes_nothing_and_holds_nothing() {
    let rules = json!([
        {"id": "seen", "match": {"terms": ["nightingale"]}, "action": "observe"},
        {"id": "asked", "match": {"terms": ["heron"]}, "action": "escalate"},
    ]);
    let chunks = text_stream(ChatCompletions, &["a nightin", "gale, a heron"]);
    let outcome = stream(&rules, ChatCompletions, chunks.clone());
    assert_eq!(outcome.client, chunks.concat());
    assert_eq!((matched(&outcome)["matches"].as_u64(), matched(&outcome)["held_bytes"].as_u64()), (Some(2), Some(0)));
    assert_eq!(reason_code(&outcome), "RULE_ESCALATED");
}

#[test]
fn what_is_observed_hides_neither_an_escalation_nor_what_is_allowed_on_the_same_text() {
    let observe = json!({"id": "seen", "match": {"terms": ["the grey heron"]}, "action": "observe"});
    let escalate = json!({"id": "asked", "match": {"pattern": "her[o0]n"}, "action": "escalate", "category": "birds"});
    let rules = json!([observe, escalate]);
    let outcome = stream(&rules, ChatCompletions, text_stream(ChatCompletions, &["see the grey", " heron."]));
    assert_eq!(reason_code(&outcome), "RULE_ESCALATED");
    assert_eq!(matched(&outcome)["by_rule"]["seen"]["answer"], 1);

    let rules = json!([observe, {"id": "topic", "match": {"terms": ["heron"]}, "action": "allow"}]);
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "where is the grey heron?"}]});
    assert_eq!(request(&rules, &body).request, RequestOutcome::Sent);

    let hidden = json!([{"id": "a", "match": {"detect": ["hidden_text"]}},
        {"id": "b", "match": {"detect": ["hidden_text"]}, "action": "refuse"}]);
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hello \u{e0068}\u{e0069}"}]});
    assert_eq!(request(&hidden, &body).status, 403);
}

#[test]
fn arguments_of_calls_stay_json_and_keep_every_other_byte() {
    let fixture = |dialect| if dialect == Messages { "tool_use" } else { "tool_call" };
    for dialect in [ChatCompletions, Messages, Responses] {
        let body = fixtures::stream(dialect, fixture(dialect));
        let before = client::streamed(dialect, body);
        let arguments = before.only().calls[0].arguments.clone();
        let value: Value = serde_json::from_str(&arguments).unwrap();
        let text = value.as_object().unwrap().values().find_map(Value::as_str).unwrap().to_owned();
        let rules =
            json!([{"id": "r", "match": {"terms": [text]}, "with": "a \"quote\"", "request": [], "answer": ["tool_argument"]}]);
        let outcome = stream(&rules, dialect, chunking::bytes(body));
        let after = client::streamed(dialect, &outcome.client).only().calls[0].arguments.clone();
        assert_eq!(after, arguments.replace(&text, r#"a \"quote\""#), "{dialect}");
        let rules = json!([{"id": "r", "match": {"terms": [text]}, "action": "refuse", "message": "No such call.", "request": [], "answer": ["tool_argument"]}]);
        let outcome = stream(&rules, dialect, chunking::bytes(body));
        let read = client::streamed(dialect, &outcome.client);
        assert!(read.only().calls.is_empty() && read.only().text.contains("No such call."), "{dialect}: {}", outcome.text());
        assert_eq!(reason_code(&outcome), "RULE_REFUSED");
    }
}

#[test]
fn the_result_is_the_same_for_any_chunking() {
    let rules = json!([
        {"id": "a", "match": {"terms": ["a low", "ü", "Weir:"]}, "answer": ["text", "refusal", "reasoning", "tool_argument"]},
        {"id": "b", "match": {"pattern": "[a-z]{3,5}er[a-z]+"}, "with": "<>", "answer": ["text", "refusal", "reasoning", "tool_argument"]},
    ]);
    for dialect in [ChatCompletions, Messages, Responses] {
        for fixture in fixtures::streams(dialect) {
            let by_event = stream(&rules, dialect, chunking::events(fixture.body));
            let by_byte = stream(&rules, dialect, chunking::bytes(fixture.body));
            let read = |outcome: &Outcome| client::streamed(dialect, &outcome.client);
            assert_eq!(read(&by_byte), read(&by_event), "{dialect} {}", fixture.name);
            assert_eq!(reason_code(&by_byte), reason_code(&by_event), "{dialect} {}", fixture.name);
        }
    }
}

#[test]
fn a_rule_for_reasoning_alone_leaves_text_alone() {
    let rules = json!([{"id": "r", "match": {"terms": ["e"]}, "with": "", "answer": ["reasoning"]}]);
    let body = fixtures::stream(ChatCompletions, "reasoning");
    let (before, outcome) = (client::streamed(ChatCompletions, body), stream(&rules, ChatCompletions, chunking::events(body)));
    let after = client::streamed(ChatCompletions, &outcome.client);
    assert_eq!(after.only().text, before.only().text);
    assert_eq!(after.only().reasoning, before.only().reasoning.replace(['e', 'E'], ""));
}
