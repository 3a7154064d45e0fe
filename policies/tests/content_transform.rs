//! ContentTransform at work on whole exchanges.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a panic fails the test, as it should"
)]

mod support;

use serde_json::{Value, json};
use support::{Run, Shape, run, run_stream};
use weir::decision::Decision;
use weir::dialect::Dialect::{self, ChatCompletions, Messages};
use weir::exchange::{EndReason, RequestHead, RequestProgress};
use weir_test_support::fixtures::{self, stream};
use weir_test_support::{chunking, legality, sse};

fn chain(with: &Value) -> Value {
    json!([{"use": "content_transform", "with": with}])
}

/// A stream of one answer whose text comes in these deltas.
fn text_stream(dialect: Dialect, deltas: &[&str]) -> Vec<Vec<u8>> {
    let mut events = Vec::new();
    match dialect {
        ChatCompletions => {
            let chunk = |delta: Value, finish: Value| {
                let choices = json!([{"index": 0, "delta": delta, "finish_reason": finish}]);
                json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices})
            };
            events.push(format!("data: {}\n\n", chunk(json!({"role": "assistant", "content": ""}), Value::Null)));
            for delta in deltas {
                events.push(format!("data: {}\n\n", chunk(json!({"content": delta}), Value::Null)));
            }
            events.push(format!("data: {}\n\n", chunk(json!({}), json!("stop"))));
            events.push("data: [DONE]\n\n".to_owned());
        }
        _ => {
            let event = |value: Value| format!("event: {}\ndata: {value}\n\n", value["type"].as_str().unwrap());
            let usage = json!({"input_tokens": 1, "output_tokens": 1});
            events.push(event(json!({"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant",
                "model": "m", "content": [], "stop_reason": null, "stop_sequence": null, "usage": usage}})));
            events.push(event(json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})));
            for delta in deltas {
                let delta = json!({"type": "text_delta", "text": delta});
                events.push(event(json!({"type": "content_block_delta", "index": 0, "delta": delta})));
            }
            events.push(event(json!({"type": "content_block_stop", "index": 0})));
            let delta = json!({"stop_reason": "end_turn", "stop_sequence": null});
            events.push(event(json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 1}})));
            events.push(event(json!({"type": "message_stop"})));
        }
    }
    events.into_iter().map(String::into_bytes).collect()
}

fn run_chunks(with: &Value, dialect: Dialect, chunks: &[Vec<u8>]) -> support::Outcome {
    run(&chain(with), dialect, Shape::Stream, chunks, &|call| panic!("{call}"))
}

#[test]
fn a_term_cut_at_every_place_is_replaced_and_no_beginning_of_it_leaves() {
    let with = json!({"replace": [{"find": "project nightingale", "with": "[internal]", "ignore_case": true}]});
    let (before, term, after) = ("The plan of ", "Project Nightingale", " is due.");
    let text = format!("{before}{term}{after}");
    for dialect in [ChatCompletions, Messages] {
        for first in 0..=term.len() {
            for second in first..=term.len() {
                let (first, second) = (before.len() + first, before.len() + second);
                let deltas = [&text[..first], &text[first..second], &text[second..]];
                let chunks = text_stream(dialect, &deltas);
                let outcome = run_chunks(&with, dialect, &chunks);
                assert_eq!(outcome.message.only().text, "The plan of [internal] is due.", "{deltas:?}");
                assert!(!String::from_utf8_lossy(&outcome.out).contains("Pr"), "{deltas:?}");
                assert_eq!((outcome.decision, outcome.reason_code()), (Decision::Rewrite, "CONTENT_TRANSFORMED"));
                let event = outcome.event("content_transform.replaced");
                assert_eq!(json!(event.metadata), json!({"replaced": 1, "by_rule": {"0": 1}}));
            }
        }
    }
}

#[test]
fn text_flows_while_the_end_of_it_is_undecided() {
    let with = json!({"replace": [{"find": "secret", "with": "***"}]});
    for dialect in [ChatCompletions, Messages] {
        let chunks = text_stream(dialect, &["the se", "cret"]);
        let mut run = Run::start(&chain(&with), dialect, Shape::Stream);
        for chunk in chunks.iter().take(3) {
            let _ = run.feed(chunk, false);
        }
        let so_far = String::from_utf8_lossy(&run.out).into_owned();
        let undecided = if dialect == ChatCompletions { "cret" } else { "the se" };
        assert!(so_far.contains("the ") && !so_far.contains(undecided), "{so_far}");
    }
}

#[test]
fn a_stream_without_a_match_passes_as_it_came_also_where_something_was_held() {
    let with = json!({"replace": [{"find": " Weird", "with": " odd"}]});
    for (dialect, name) in [(ChatCompletions, "text"), (Messages, "text")] {
        let outcome = run_stream(&chain(&with), dialect, stream(dialect, name));
        // A ping may overtake what is held.
        let without_pings = |body: &[u8]| sse::read(body).into_iter().filter(|event| event.name != "ping").collect::<Vec<_>>();
        assert_eq!(without_pings(&outcome.out), without_pings(stream(dialect, name)));
        assert_eq!(outcome.out.len(), stream(dialect, name).len());
        assert_eq!(outcome.decision, Decision::Allow);
        assert!(outcome.policy_events().is_empty());
    }
}

#[test]
fn text_that_was_held_in_part_arrives_whole_and_concludes_nothing() {
    let with = json!({"replace": [{"find": "secret", "with": "***"}]});
    for dialect in [ChatCompletions, Messages] {
        for deltas in [&["no se"][..], &["no se", "c", "r"], &["no se", "asons", " s", "ecrets".get(..3).unwrap()]] {
            let outcome = run_chunks(&with, dialect, &text_stream(dialect, deltas));
            assert_eq!(outcome.message.only().text, deltas.concat());
            assert_eq!(outcome.decision, Decision::Allow, "{deltas:?}");
        }
    }
}

#[test]
fn what_is_held_of_a_text_leaves_before_the_finish_reason_that_stands_beside_it() {
    let with = json!({"replace": [{"find": "secret", "with": "***"}]});
    for deltas in [&["no se"][..], &["no s", "e", "c"], &["no secret is a sec", "ret, nor this: secre"], &["secre", "t"], &["se"]]
    {
        let mut chunks = text_stream(ChatCompletions, deltas);
        let last = chunks.len() - 3;
        let finished =
            String::from_utf8(chunks[last].clone()).unwrap().replace(r#""finish_reason":null"#, r#""finish_reason":"stop""#);
        chunks[last] = finished.into_bytes();
        chunks.remove(last + 1);
        let body = chunks.concat();
        for chunks in [chunks, chunking::bytes(&body), vec![body]] {
            let outcome = run_chunks(&with, ChatCompletions, &chunks);
            assert_eq!(outcome.message.only().text, deltas.concat().replace("secret", "***"));
            assert!(outcome.events.iter().all(|event| event.event_type != "send_too_late"), "{deltas:?}");
            // What the first holds, the second holds in part, too.
            let two = json!([{"use": "content_transform", "with": with},
                {"use": "content_transform", "with": {"replace": [{"find": "s secret", "with": "-"}, {"find": "secr-", "with": ""}]}}]);
            let outcome = run(&two, ChatCompletions, Shape::Stream, &chunks, &|call| panic!("{call}"));
            assert_eq!(outcome.message.only().text, deltas.concat().replace("secret", "***"));
        }
    }
}

#[test]
fn the_result_is_the_same_for_any_chunking() {
    let with = json!({"replace": [{"find": "a low", "with": "LOW"}, {"find": "Weir:", "with": "<>"}, {"find": "ü", "with": "ue"}], "case": "upper"});
    for dialect in [ChatCompletions, Messages] {
        for fixture in fixtures::streams(dialect) {
            let by_event = run_chunks(&with, dialect, &chunking::events(fixture.body));
            let by_byte = run_chunks(&with, dialect, &chunking::bytes(fixture.body));
            let at_once = run_chunks(&with, dialect, &[fixture.body.to_vec()]);
            assert_eq!(by_byte.message, by_event.message, "{}", fixture.name);
            assert_eq!(at_once.message, by_event.message, "{}", fixture.name);
            assert_eq!(by_byte.decision, by_event.decision, "{}", fixture.name);
        }
    }
    let outcome = run_chunks(&with, ChatCompletions, &chunking::events(stream(ChatCompletions, "text")));
    assert_eq!(outcome.message.only().text, "GRueSSE AUS <> LOW DAM 🌊\n\nIT LETS THE WATER THROUGH.");
    assert_eq!(outcome.policy_events(), ["content_transform.replaced", "content_transform.case_mapped"]);
}

#[test]
fn a_whole_body_is_treated_as_the_stream_is() {
    let with = json!({"replace": [{"find": "Weir: a", "with": "W"}, {"find": "rough.", "with": "r"}], "case": "lower",
        "scope": ["text", "refusal", "reasoning"]});
    for dialect in [ChatCompletions, Messages] {
        for fixture in fixtures::wholes(dialect) {
            let streamed = run_stream(&chain(&with), dialect, stream(dialect, fixture.name));
            let whole = run(&chain(&with), dialect, Shape::Whole, &[fixture.body.to_vec()], &|call| panic!("{call}"));
            assert_eq!(whole.message, streamed.message, "{}", fixture.name);
            assert_eq!(whole.decision, streamed.decision, "{}", fixture.name);
            assert_eq!(whole.policy_events(), streamed.policy_events(), "{}", fixture.name);
        }
    }
}

#[test]
fn only_what_is_in_scope_is_touched() {
    for (scope, name, text, refusal, reasoning) in [
        ("text", "reasoning", "WEIR.", "", "The user wants a word."),
        ("reasoning", "reasoning", "Weir.", "", "THE USER WANTS A WORD."),
        ("refusal", "refusal", "", "I CANNOT HELP WITH THAT.", ""),
        ("text", "refusal", "", "I cannot help with that.", ""),
    ] {
        let with = json!({"case": "upper", "scope": [scope]});
        let outcome = run_stream(&chain(&with), ChatCompletions, stream(ChatCompletions, name));
        let choice = outcome.message.only();
        assert_eq!(
            (choice.text.as_str(), choice.refusal.as_str(), choice.reasoning.as_str()),
            (text, refusal, reasoning),
            "{scope}"
        );
    }
}

#[test]
fn the_held_end_of_a_refusal_or_of_reasoning_stays_what_it_is() {
    for (scope, name, find, expected) in [
        ("refusal", "refusal", "that.!", ["", "I cannot help with that.", ""]),
        ("reasoning", "reasoning", "word.!", ["Weir.", "", "The user wants a word."]),
    ] {
        let with = json!({"replace": [{"find": find, "with": "*"}], "scope": [scope]});
        let outcome = run_stream(&chain(&with), ChatCompletions, stream(ChatCompletions, name));
        let choice = outcome.message.only();
        assert_eq!([choice.text.as_str(), &choice.refusal, &choice.reasoning], expected, "{scope}");
    }
}

#[test]
fn what_is_held_of_a_stream_that_breaks_off_is_not_lost() {
    let with = json!({"replace": [{"find": "secret", "with": "***"}]});
    for dialect in [ChatCompletions, Messages] {
        let chunks = text_stream(dialect, &["the se", "cr"]);
        let mut run = Run::start(&chain(&with), dialect, Shape::Stream);
        for chunk in chunks.iter().take(if dialect == ChatCompletions { 3 } else { 4 }) {
            let _ = run.feed(chunk, false);
        }
        let _ = run.feed(b"", true);
        let outcome = run.end(EndReason::UpstreamBroke);
        assert_eq!(outcome.message.only().text, "the secr");
        let violations = legality::stream(dialect, &outcome.out);
        assert!(violations.iter().all(|violation| violation.event + 1 >= sse::read(&outcome.out).len()), "{violations:?}");
    }
}

#[test]
fn what_is_of_an_unknown_type_is_dropped_where_a_rule_finds_something_and_passes_otherwise() {
    let with = json!({"replace": [{"find": "nightingale", "with": "*"}], "case": "upper"});
    for dialect in [ChatCompletions, Messages] {
        let unknown = |text: &str| {
            let event = json!({"type": "vendor.note", "notes": [{"text": text}]});
            format!("event: vendor.note\ndata: {event}\n\n").into_bytes()
        };
        let mut chunks = text_stream(dialect, &["abc"]);
        let end = chunks.len() - 2;
        let innocent = unknown("night, and in gale\u{e9}s: night");
        chunks.insert(end, innocent.clone());
        chunks.insert(end, unknown("the nightingale"));
        let outcome = run_chunks(&with, dialect, &chunks);
        let out = String::from_utf8_lossy(&outcome.out).into_owned();
        assert_eq!(outcome.message.only().text, "ABC");
        assert!(!out.contains("nightingale"), "{out}");
        assert!(out.contains(core::str::from_utf8(&innocent).unwrap()), "{out}");
        assert_eq!(outcome.event("content_transform.replaced").metadata["replaced"], json!(1));
    }
}

#[test]
fn a_term_cut_in_an_unknown_block_is_found_there_too() {
    let with = json!({"replace": [{"find": "nightingale", "with": "*"}]});
    let mut chunks = text_stream(Messages, &["abc"]);
    let end = chunks.len() - 2;
    let event = |value: Value| format!("event: {}\ndata: {value}\n\n", value["type"].as_str().unwrap()).into_bytes();
    let delta =
        |text: &str| event(json!({"type": "content_block_delta", "index": 1, "delta": {"type": "new_delta", "note": text}}));
    let block = [
        event(json!({"type": "content_block_start", "index": 1, "content_block": {"type": "new"}})),
        delta("a "),
        delta("nightin"),
        delta("gale"),
        delta(" b"),
        event(json!({"type": "content_block_stop", "index": 1})),
    ];
    let kept = [&block[..2], &block[4..]].concat();
    let expected: Vec<u8> = [&chunks[..end], &kept, &chunks[end..]].concat().concat();
    chunks.splice(end..end, block);
    let outcome = run_chunks(&with, Messages, &chunks);
    assert_eq!(String::from_utf8_lossy(&outcome.out), String::from_utf8_lossy(&expected));
}

#[test]
fn of_two_in_a_chain_each_tells_its_own_configuration() {
    let chain = json!([
        {"use": "content_transform", "with": {"replace": [{"find": "abc", "with": "def"}]}},
        {"use": "content_transform", "with": {"case": "upper"}},
    ]);
    let mut run = Run::start(&chain, Messages, Shape::Stream);
    let _ = run.feed(&text_stream(Messages, &["abc"]).concat(), true);
    let outcome = run.end(EndReason::Completed);
    let case_of = |event_type: &str| outcome.event(event_type).policy_config.as_ref().unwrap()["case"].clone();
    assert_eq!(case_of("content_transform.replaced"), "none");
    assert_eq!(case_of("content_transform.case_mapped"), "upper");
}

#[test]
fn requests_of_mcp_have_no_texts_to_transform() {
    let (mut exchange, now) = support::exchange(&chain(&json!({"case": "upper", "request": ["user"]})));
    let head = RequestHead { method: b"POST", path: b"/mcp", content_type: b"application/json", ..RequestHead::default() };
    assert_eq!(exchange.handle_request_head(&head, false, now), RequestProgress::Hold);
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "a", "arguments": {"text": "abc"}}});
    let batch = json!([{"jsonrpc": "2.0", "id": 2, "method": "tools/list"}, call]);
    let sent = exchange.handle_request_body(batch.to_string().as_bytes(), true, now);
    assert_eq!(sent, RequestProgress::Send);
}
