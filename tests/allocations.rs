//! A forwarded delta costs no heap allocation once the buffers are warm.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a panic fails the test, as it should"
)]

use std::sync::Arc;

use serde_json::{Value, json};
use weir::dialect::Dialect;
use weir::exchange::{Exchange, RequestHead, ResponseHead};
use weir::id::CallId;
use weir::time::Timestamp;
use weir_test_support::allocations::{self, Counting};
use weir_test_support::script::{self, document};
use weir_test_support::{fixtures, native, policies};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Text that is aggregated grows by doubling: these deltas have just filled 8 KiB, and the measured ones fit into 16.
const WARM_UP: usize = 1_400;
const MEASURED: usize = 500;

/// What opens the stream, and a delta of three or four bytes, each of which is forwarded twice.
fn stream(dialect: Dialect, fixture: &str, delta_with: &str, text: &str) -> (Vec<u8>, Vec<u8>) {
    let body = String::from_utf8(fixtures::stream(dialect, fixture).to_vec()).unwrap();
    let position = body.split_inclusive("\n\n").position(|event| event.contains(delta_with)).unwrap();
    let opening = body.split_inclusive("\n\n").take(position).collect::<String>();
    let delta = body.split_inclusive("\n\n").nth(position).unwrap().replace(delta_with, text);
    (opening.into_bytes(), delta.into_bytes())
}

fn allocations_per_stream(chain: Value, dialect: Dialect, opening: &[u8], delta: &[u8]) -> usize {
    let chain = Arc::new(native::load(&document(chain), &policies::registry()).unwrap());
    let now = Timestamp::default();
    let mut exchange = Exchange::new(chain, CallId::from_bytes([1; 16]), now);
    let head = RequestHead { method: b"POST", path: script::path(dialect).as_bytes(), ..RequestHead::default() };
    let _ = exchange.handle_request_head(&head, false, now);
    let _ = exchange.handle_request_body(script::request_body(dialect, true).to_string().as_bytes(), true, now);
    let _ = exchange.handle_response_head(
        &ResponseHead { status: 200, content_type: b"text/event-stream", content_encoding: b"" },
        false,
        now,
    );
    let mut out = Vec::with_capacity(1 << 16);
    let _ = exchange.handle_response_body(opening, false, now, &mut out);
    let halves = delta.split_at(delta.len() / 2);
    let mut forward = || {
        for chunk in [delta, halves.0, halves.1] {
            let _ = exchange.handle_response_body(chunk, false, now, &mut out);
            while exchange.poll_effect().is_some() {}
        }
        assert!(out.ends_with(delta), "the delta is forwarded");
        out.clear();
    };
    (0..WARM_UP).for_each(|_| forward());
    allocations::count(|| (0..MEASURED).for_each(|_| forward()))
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations::count(|| drop(std::hint::black_box(vec![1_u8; 100]))), 1);
}

#[test]
fn a_forwarded_text_delta_allocates_nothing() {
    for (dialect, text) in [(Dialect::ChatCompletions, " aus"), (Dialect::Messages, " aus"), (Dialect::Responses, " aus")] {
        let (opening, delta) = stream(dialect, "text", text, "a\\nb");
        for chain in
            [json!([]), json!([{"use": "no_op"}]), json!([{"use": "ask_judge"}]), json!([{"use": "ask_judge"}, {"use": "no_op"}])]
        {
            assert_eq!(allocations_per_stream(chain.clone(), dialect, &opening, &delta), 0, "{dialect} with {chain}");
        }
    }
}

#[test]
fn a_forwarded_fragment_of_a_tool_call_allocates_nothing() {
    for (dialect, fixture) in
        [(Dialect::ChatCompletions, "tool_call"), (Dialect::Messages, "tool_use"), (Dialect::Responses, "tool_call")]
    {
        let (opening, delta) = stream(dialect, fixture, "{\\\"city", "{\\\"a");
        let (opening, delta) = (opening, String::from_utf8(delta).unwrap().replace("{\\\"a", "aaaa").into_bytes());
        for chain in [json!([{"use": "no_op"}]), json!([{"use": "watch"}])] {
            assert_eq!(allocations_per_stream(chain.clone(), dialect, &opening, &delta), 0, "{dialect} with {chain}");
        }
    }
}

/// Each is a message of its own, whose text is a block of its own: a policy that looks at text costs allocations.
#[test]
fn a_forwarded_notification_of_mcp_allocates_nothing() {
    let (opening, notification) = stream(Dialect::McpTool, "call", "asking the station", "a\\nb");
    assert_eq!(allocations_per_stream(json!([]), Dialect::McpTool, &opening, &notification), 0);
}
