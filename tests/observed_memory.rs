//! A policy that is observed beside enforced ones does without memory before they do.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic fails the test, as it should"
)]

use std::sync::Arc;

use serde_json::{Value, json};
use weir::dialect::Dialect;
use weir::event::Event;
use weir::exchange::{Effect, EndReason, Exchange, RequestHead, RequestProgress, ResponseHead, ResponseMode, ResponseProgress};
use weir::id::CallId;
use weir::time::Timestamp;
use weir_test_support::script::{document, path, request_body};
use weir_test_support::{fixtures, native, policies};

const DIALECT: Dialect = Dialect::ChatCompletions;

/// Where the memory is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Request,
    Judge,
    Response,
    Nowhere,
}

/// Gives what left, the request's fate, and the events.
fn play(chain: &Value, at: At) -> (Vec<u8>, RequestProgress, Vec<Event>) {
    let chain = Arc::new(native::load(&document(chain.clone()), &policies::registry()).unwrap());
    let now = Timestamp::default();
    let mut exchange = Exchange::new(chain, CallId::from_bytes([1; 16]), now);
    let head = RequestHead { method: b"POST", path: path(DIALECT).as_bytes(), ..RequestHead::default() };
    let _ = exchange.handle_request_head(&head, false, now);
    let body = request_body(DIALECT, true).to_string();
    let (first, rest) = body.as_bytes().split_at(20);
    let _ = exchange.handle_request_body(first, false, now);
    give_up(&mut exchange, at == At::Request);
    let request = exchange.handle_request_body(rest, true, now);
    let head = ResponseHead { status: 200, content_type: b"text/event-stream", ..ResponseHead::default() };
    let mode = exchange.handle_response_head(&head, false, now);
    let mut out = Vec::new();
    let stream = fixtures::streams(DIALECT).iter().find(|own| own.name == "tool_call").unwrap().body;
    let chunks: Vec<&[u8]> = stream.chunks(50).collect();
    for (number, chunk) in chunks.iter().enumerate() {
        if mode == ResponseMode::Pass {
            out.extend_from_slice(chunk);
            continue;
        }
        give_up(&mut exchange, at == At::Response && number == 3);
        let progress = exchange.handle_response_body(chunk, number + 1 == chunks.len(), now, &mut out);
        assert!(!matches!(progress, ResponseProgress::Answer(_)), "{progress:?}");
    }
    exchange.handle_end(EndReason::Completed, now);
    give_up(&mut exchange, at == At::Judge);
    // Nobody answers its judges.
    exchange.handle_abandon();
    assert!(!exchange.is_finishing());
    let events = core::iter::from_fn(|| exchange.poll_effect())
        .filter_map(|effect| if let Effect::Event(event) = effect { Some(event) } else { None })
        .collect();
    (out, request, events)
}

fn give_up(exchange: &mut Exchange, is_due: bool) {
    if is_due {
        exchange.give_up_observed();
        let before = exchange.kept_bytes();
        exchange.give_up_observed();
        assert_eq!(exchange.kept_bytes(), before, "once is enough");
    }
}

#[test]
fn what_is_enforced_goes_on_as_if_nothing_had_been_observed() {
    let shadow = json!({"use": "ask_judge", "rollout": {"mode": "shadow"}});
    for enforced in [vec![], vec![json!({"use": "uppercase"})], vec![json!({"use": "drop_text"}), json!({"use": "see_requests"})]]
    {
        let (alone, request, _) = play(&enforced.clone().into(), At::Nowhere);
        for at in [At::Request, At::Response, At::Judge, At::Nowhere] {
            let chain: Value = core::iter::once(shadow.clone()).chain(enforced.iter().cloned()).collect();
            let (out, own_request, events) = play(&chain, at);
            assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&alone), "{at:?} {chain}");
            assert_eq!(own_request, request, "{at:?} {chain}");
            let told = events.iter().filter(|event| event.event_type == "unobserved").count();
            assert_eq!(told, usize::from(at != At::Nowhere), "{at:?} {chain}");
            let ends: Vec<_> = events.iter().filter(|event| event.event_type == "enforcement").collect();
            assert_eq!(ends.len(), 1, "{at:?} {chain}");
            assert_eq!(ends[0].metadata["policy_rollouts"][0]["policy"], "AskJudge", "{at:?} {chain}");
        }
    }
}

#[test]
fn what_was_kept_for_an_observed_policy_is_given_back() {
    let chain = document(json!([{"use": "ask_judge", "rollout": {"mode": "shadow"}}]));
    let chain = Arc::new(native::load(&chain, &policies::registry()).unwrap());
    let now = Timestamp::default();
    let mut exchange = Exchange::new(chain, CallId::from_bytes([1; 16]), now);
    let head = RequestHead { method: b"POST", path: path(DIALECT).as_bytes(), ..RequestHead::default() };
    assert_eq!(exchange.handle_request_head(&head, false, now), RequestProgress::Observe);
    let _ = exchange.handle_request_body(&[b' '; 10_000], false, now);
    assert!(exchange.kept_bytes() >= 10_000);
    exchange.give_up_observed();
    assert_eq!(exchange.kept_bytes(), 0);
    let _ = exchange.handle_request_body(&[b' '; 10_000], true, now);
    assert_eq!(exchange.kept_bytes(), 0);
}
