//! The most memory that input can drive through each bound, as an allocator counts it: at most four times what the limits
//! allow. `cargo test -p weir-policies --test memory -- --nocapture` prints the table of envoy/README.md.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a panic fails the test, as it should"
)]

use std::sync::Arc;

use serde_json::{Value, json};
use weir::chain::Chain;
use weir::dialect::Dialect;
use weir::document::Document;
use weir::exchange::{Exchange, RequestHead, ResponseHead};
use weir::id::CallId;
use weir::limits::Limits;
use weir::time::Timestamp;
use weir_test_support::allocations::{self, Counting};
use weir_test_support::fixtures;
use weir_test_support::script::{path, request_body};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MIB: usize = 1024 * 1024;

/// Heap for a byte that the limits allow.
const MOST_HEAP: usize = 4;

fn chain(policies: Value) -> Arc<Chain> {
    let document = json!({
        "policy": {"id": "memory"}, "chain": policies, "judges": {"main": {"cluster": "judge", "model": "m"}},
    });
    Arc::new(Document::parse(&document.to_string(), &weir_policies::registry(), &|_| None).unwrap().chain)
}

fn judged() -> Arc<Chain> {
    chain(json!([{"use": "tool_call_judge", "with": {"judge": "main"}}]))
}

fn replacing(with: &str) -> Arc<Chain> {
    chain(
        json!([{"use": "content_transform", "with": {"replace": [{"find": "ACME", "with": with}], "scope": ["text"], "request": ["user"]}}]),
    )
}

/// An exchange whose request was sent, and whose response begins.
fn begun(chain: &Arc<Chain>, dialect: Dialect, streamed: bool) -> Exchange {
    let now = Timestamp::default();
    let mut exchange = Exchange::new(Arc::clone(chain), CallId::from_bytes([1; 16]), now);
    let head = RequestHead { method: b"POST", path: path(dialect).as_bytes(), ..RequestHead::default() };
    let _ = exchange.handle_request_head(&head, false, now);
    let _ = exchange.handle_request_body(request_body(dialect, streamed).to_string().as_bytes(), true, now);
    let content_type: &[u8] = if streamed { b"text/event-stream" } else { b"application/json" };
    let _ = exchange.handle_response_head(&ResponseHead { status: 200, content_type, content_encoding: b"" }, false, now);
    while exchange.poll_effect().is_some() {}
    exchange
}

/// The most memory while chunks of 64 KiB of `body` come, and nothing answers.
fn most_while_fed(mut exchange: Exchange, body: &[u8]) -> usize {
    allocations::most_bytes(|| {
        for chunk in body.chunks(64 * 1024) {
            let mut out = Vec::new();
            let _ = exchange.handle_response_body(chunk, false, Timestamp::default(), &mut out);
            while exchange.poll_effect().is_some() {}
        }
        let mut out = Vec::new();
        let _ = exchange.handle_response_body(&[], true, Timestamp::default(), &mut out);
        while exchange.poll_effect().is_some() {}
    })
}

/// The most memory while a request comes.
fn most_while_asked(chain: &Arc<Chain>, body: &[u8]) -> usize {
    let now = Timestamp::default();
    let mut exchange = Exchange::new(Arc::clone(chain), CallId::from_bytes([1; 16]), now);
    let head = RequestHead { method: b"POST", path: path(Dialect::ChatCompletions).as_bytes(), ..RequestHead::default() };
    let _ = exchange.handle_request_head(&head, false, now);
    allocations::most_bytes(|| {
        let _ = exchange.handle_request_body(body, true, now);
        while exchange.poll_effect().is_some() {}
    })
}

/// Says how much it was, and that it is not too much.
fn row(what: &str, most: usize, allowed: usize) {
    let (most_mib, allowed_mib) = (most as f64 / MIB as f64, allowed as f64 / MIB as f64);
    println!("| {what} | {allowed_mib:.1} MiB | {most_mib:.1} MiB | {:.1} |", most as f64 / allowed as f64);
    assert!(most <= MOST_HEAP * allowed, "{what}: {most} bytes of memory for {allowed} that are allowed");
}

fn chat(delta: &Value) -> String {
    format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]}))
}

/// The beginning of a stream, up to a call that the judge is asked about.
fn with_held_call(dialect: Dialect) -> Vec<u8> {
    let (fixture, end) =
        if dialect == Dialect::Messages { ("tool_use", "message_delta") } else { ("tool_call", "response.completed") };
    let body = String::from_utf8(fixtures::stream(dialect, fixture).to_vec()).unwrap();
    body.split_inclusive("\n\n").take_while(|event| !event.contains(end)).collect::<String>().into_bytes()
}

#[test]
fn what_is_held_takes_a_bounded_multiple_of_its_bound() {
    let allowed = Limits::default().max_held_bytes;
    println!("| what comes | allowed | most memory | ratio |\n|---|---|---|---|");
    let call = json!({"tool_calls": [{"index": 0, "id": "call_0", "type": "function", "function": {"name": "ls", "arguments": "{\"a\":\""}}]});
    let piece = json!({"tool_calls": [{"index": 0, "function": {"arguments": "x"}}]});
    let whole =
        json!({"tool_calls": [{"index": 0, "id": "call_0", "type": "function", "function": {"name": "ls", "arguments": "{}"}}]});
    for (what, first, event) in [
        ("a held call in deltas of a byte", &call, chat(&piece)),
        ("empty objects behind a held call", &whole, "data:{}\n\n".to_owned()),
        ("usage behind a held call", &whole, "data: {\"usage\":{}}\n\n".to_owned()),
        ("empty choices behind a held call", &whole, "data: {\"choices\":[]}\n\n".to_owned()),
        (
            "text behind a held finish reason",
            &whole,
            format!("{}{}", r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#, "\n\n"),
        ),
    ] {
        let body = chat(first) + &event.repeat(8 * MIB / event.len());
        let most = most_while_fed(begun(&judged(), Dialect::ChatCompletions, true), body.as_bytes());
        row(what, most, allowed);
    }
    for dialect in [Dialect::Messages, Dialect::Responses] {
        for event in ["event: ping\ndata: {\"type\":\"ping\"}\n\n", "data: {\"type\":\"x\"}\n\n", ":\n\n"] {
            let mut body = with_held_call(dialect);
            body.extend_from_slice(event.repeat(4 * MIB / event.len()).as_bytes());
            row(
                &format!("{event:?} behind a call of {dialect}"),
                most_while_fed(begun(&judged(), dialect, true), &body),
                allowed,
            );
        }
    }
}

#[test]
fn a_whole_answer_and_a_long_event_take_a_bounded_multiple_of_their_bounds() {
    let limits = Limits::default();
    for (what, text) in [("letters", "x".to_owned()), ("escapes", "\\n".to_owned())] {
        let length = limits.max_response_bytes - 1000;
        let content = text.repeat(length / text.len());
        let body = format!(
            r#"{{"choices":[{{"index":0,"message":{{"role":"assistant","content":"{content}"}},"finish_reason":"stop"}}]}}"#
        );
        let most = most_while_fed(begun(&replacing("x"), Dialect::ChatCompletions, false), body.as_bytes());
        row(&format!("a whole answer of {what}"), most, limits.max_response_bytes + limits.max_rewritten_bytes);
        let length = limits.max_event_bytes - 1000;
        let content = text.repeat(length / text.len());
        let body =
            format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{content}\"}},\"finish_reason\":null}}]}}\n\n");
        let most = most_while_fed(begun(&replacing("x"), Dialect::ChatCompletions, true), body.as_bytes());
        row(&format!("an event of {what}"), most, limits.max_event_bytes + limits.max_rewritten_bytes);
    }
}

#[test]
fn what_a_rule_makes_longer_takes_a_bounded_multiple_of_its_bound() {
    let limits = Limits::default();
    let long = replacing(&"y".repeat(100));
    let content = "ACME".repeat((limits.max_request_bytes - 2000) / 4);
    let request = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{content}"}}]}}"#);
    let allowed = limits.max_request_bytes + limits.max_rewritten_bytes;
    row("a request that a rule makes 25 times as long", most_while_asked(&long, request.as_bytes()), allowed);
    let answer =
        format!(r#"{{"choices":[{{"index":0,"message":{{"role":"assistant","content":"{content}"}},"finish_reason":"stop"}}]}}"#);
    let most = most_while_fed(begun(&long, Dialect::ChatCompletions, false), answer.as_bytes());
    row("an answer that a rule makes 25 times as long", most, limits.max_response_bytes + limits.max_rewritten_bytes);
    let event = chat(&json!({"content": "ACME".repeat(1_000_000)}));
    let most = most_while_fed(begun(&long, Dialect::ChatCompletions, true), event.as_bytes());
    row("an event that a rule makes 25 times as long", most, limits.max_event_bytes + limits.max_rewritten_bytes);
}
