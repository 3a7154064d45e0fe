//! Every buffer has a bound, its error has a name, and past it comes the configured verdict: closed by default.

use std::sync::Arc;

use serde_json::{Value, json};
use weir::chain::Chain;
use weir::decision::Decision;
use weir::dialect::{Dialect, MAX_BLOCKS};
use weir::exchange::{EndReason, Exchange, Observation, RequestHead, ResponseHead, ResponseMode};
use weir::id::CallId;
use weir::time::Timestamp;
use weir_test_support::native::{self, Outcome, RequestOutcome};
use weir_test_support::script::{self, JudgeReply, JudgeRule, Script, document};
use weir_test_support::{client, fixtures, legality, policies};

use crate::{play, test};

const CHAT: Dialect = Dialect::ChatCompletions;
const MESSAGES: Dialect = Dialect::Messages;
const DIALECTS: [Dialect; 2] = [CHAT, MESSAGES];

fn limited(chain: Value, limits: Value) -> Value {
    let mut document = document(chain);
    document["limits"] = limits;
    document
}

#[track_caller]
fn assert_named(outcome: &Outcome, word: &'static str) {
    assert_eq!(outcome.decision, Decision::Refuse, "{:#?}", outcome.events);
    assert!(outcome.observations.contains(&Observation::Failed(word)), "{word} is missing in {:?}", outcome.observations);
    assert!(outcome.events.iter().any(|event| event.kind == weir::event::EventKind::Error), "{:#?}", outcome.events);
}

#[track_caller]
fn assert_failed_open(outcome: &Outcome, word: &'static str) {
    assert!(outcome.observations.contains(&Observation::FailedOpen(word)), "{word} is missing in {:?}", outcome.observations);
}

#[test]
fn an_event_of_100_megabytes_is_cut_off_at_the_bound() {
    const EVENT: usize = 100 * 1024 * 1024;
    static CHUNK: [u8; 64 * 1024] = [b'a'; 64 * 1024];
    let chain: Arc<Chain> = Arc::new(native::load(&document(json!([{"use": "no_op"}])), &policies::registry()).unwrap());
    let now = Timestamp::default();
    let mut exchange = Exchange::new(Arc::clone(&chain), CallId::from_bytes([1; 16]), now);
    let request = script::request_body(CHAT, true).to_string();
    let head = RequestHead { method: b"POST", path: b"/v1/chat/completions", ..RequestHead::default() };
    let _ = exchange.handle_request_head(&head, false, now);
    let _ = exchange.handle_request_body(request.as_bytes(), true, now);
    let head = ResponseHead { status: 200, content_type: b"text/event-stream", content_encoding: b"" };
    assert_eq!(exchange.handle_response_head(&head, false, now), ResponseMode::Stream);
    let mut out = Vec::new();
    let _ = exchange.handle_response_body(b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"", false, now, &mut out);
    for _ in 0..EVENT / CHUNK.len() {
        let _ = exchange.handle_response_body(&CHUNK, false, now, &mut out);
    }
    let _ = exchange.handle_response_body(b"\"}}]}\n\ndata: [DONE]\n\n", true, now, &mut out);
    exchange.handle_end(EndReason::Completed, now);
    assert!(out.len() < 4096, "{} bytes left", out.len());
    legality::assert_stream(CHAT, &out);
    assert_eq!(exchange.decision(), Decision::Refuse);
}

#[test]
fn an_event_beyond_its_bound_gets_the_configured_verdict() {
    for dialect in DIALECTS {
        let long = "a".repeat(4096);
        let text = String::from_utf8(fixtures::stream(dialect, "text").to_vec()).unwrap();
        let body = text.replace("It lets the water through.", &long);
        let limits = |verdict| json!({"max_event_bytes": 2048, "on_exceeded": verdict});
        for size in [1, 100, body.len()] {
            let chunks = body.as_bytes().chunks(size).map(<[u8]>::to_vec).collect::<Vec<_>>();
            let blocked = play(&Script::streamed(dialect, limited(json!([{"use": "no_op"}]), limits("block")), chunks.clone()));
            assert_named(&blocked, "event_too_large");
            assert!(!blocked.text().contains("aaaa"), "{}", blocked.text());
            legality::assert_stream(dialect, &blocked.client);
            let allowed = play(&Script::streamed(dialect, limited(json!([{"use": "no_op"}]), limits("allow")), chunks));
            assert_failed_open(&allowed, "event_too_large");
            assert_eq!(allowed.text(), body, "chunks of {size}");
        }
    }
}

/// A stream with one tool call of about `bytes` bytes of arguments in many fragments.
fn long_call(dialect: Dialect, bytes: usize) -> Vec<u8> {
    let (fixture, from) =
        if dialect == CHAT { ("tool_call", "is\\\",\\\"unit\\\":") } else { ("tool_use", "is\\\",\\\"unit\\\":") };
    let text = String::from_utf8(fixtures::stream(dialect, fixture).to_vec()).unwrap();
    let start = text.find("\n\n").unwrap() + 2;
    let fragment = text[start..]
        .split_inclusive("\n\n")
        .find(|event| event.contains(from))
        .unwrap_or_else(|| panic!("{fixture} has no {from}"));
    let filler = fragment.replace(from, &"x".repeat(100)).repeat(bytes / 100);
    text.replace(fragment, &format!("{filler}{fragment}")).into_bytes()
}

#[test]
fn a_held_span_beyond_its_bound_gets_the_configured_verdict() {
    for dialect in DIALECTS {
        let body = long_call(dialect, 20_000);
        let script = |verdict| {
            Script::events(
                dialect,
                limited(json!([{"use": "ask_judge"}]), json!({"max_held_bytes": 8192, "on_exceeded": verdict})),
                &body,
            )
            .judged(JudgeRule::new("", JudgeReply::Verdict(0.0)))
        };
        let blocked = play(&script("block"));
        assert_named(&blocked, "held_too_large");
        assert!(!blocked.text().contains("xxxx"), "{}", blocked.text());
        legality::assert_stream(dialect, &blocked.client);
        let message = client::streamed(dialect, &blocked.client);
        assert!(message.only().calls.is_empty() && message.only().text.len() > "I will look that up.".len(), "{message:?}");
        let allowed = play(&script("allow"));
        assert_failed_open(&allowed, "held_too_large");
        assert_eq!(allowed.client, body);
    }
}

#[test]
fn what_is_held_never_exceeds_what_the_proxy_was_told() {
    for dialect in DIALECTS {
        let held = 64 * 1024;
        let body = long_call(dialect, 40_000);
        let script = Script::events(dialect, limited(json!([{"use": "ask_judge"}]), json!({"max_held_bytes": held})), &body)
            .judged(JudgeRule::new("", JudgeReply::Verdict(0.0)).after(usize::MAX));
        let outcome = play(&script);
        for release in &outcome.releases {
            assert!(
                release.bytes.len() <= outcome.max_release_bytes + 16 * 1024,
                "{} of {}",
                release.bytes.len(),
                outcome.max_release_bytes
            );
        }
    }
}

fn many_blocks(dialect: Dialect, count: usize) -> Vec<u8> {
    let mut body = String::new();
    match dialect {
        MESSAGES => {
            let text = String::from_utf8(fixtures::stream(MESSAGES, "text").to_vec()).unwrap();
            body.push_str(text.split_inclusive("\n\n").next().unwrap());
            for index in 0..count {
                let event = |name: &str, rest: Value| {
                    let mut data = rest;
                    data["type"] = json!(name);
                    data["index"] = json!(index);
                    format!("event: {name}\ndata: {data}\n\n")
                };
                body.push_str(&event("content_block_start", json!({"content_block": {"type": "text", "text": ""}})));
                body.push_str(&event("content_block_delta", json!({"delta": {"type": "text_delta", "text": "x"}})));
                body.push_str(&event("content_block_stop", json!({})));
            }
        }
        _ => {
            for index in 0..count {
                let chunk = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
                    "choices": [{"index": 0, "delta": {"tool_calls": [{"index": index, "id": format!("call_{index}"), "type": "function",
                        "function": {"name": "f", "arguments": "{}"}}]}, "finish_reason": null}]});
                body.push_str(&format!("data: {chunk}\n\n"));
            }
        }
    }
    body.into_bytes()
}

#[test]
fn more_blocks_than_the_bound_are_refused() {
    for dialect in DIALECTS {
        let script = |count| {
            let body = many_blocks(dialect, count);
            Script::streamed(dialect, document(json!([{"use": "no_op"}])), body.chunks(64 * 1024).map(<[u8]>::to_vec).collect())
        };
        let refused = play(&script(MAX_BLOCKS + 1));
        assert_named(&refused, "response_malformed");
        let passed = play(&script(MAX_BLOCKS - 1));
        assert!(
            passed.observations.iter().all(|observation| !matches!(observation, Observation::Failed(_))),
            "{:?}",
            passed.observations
        );
    }
}

#[test]
fn more_choices_than_the_bound_are_refused() {
    let chunk = |index: u64| {
        let chunk = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": index, "delta": {"content": "x"}, "finish_reason": null}]});
        format!("data: {chunk}\n\n")
    };
    let body = (0..=MAX_BLOCKS as u64).map(chunk).collect::<String>();
    let refused = play(&Script::streamed(CHAT, document(json!([{"use": "no_op"}])), vec![body.into_bytes()]));
    assert_named(&refused, "response_malformed");
}

#[test]
fn a_whole_body_beyond_its_bound_gets_the_configured_verdict() {
    for dialect in DIALECTS {
        let body = fixtures::whole(dialect, "text").to_vec();
        let padded = [body.as_slice(), &vec![b' '; 4096]].concat();
        let script = |verdict| {
            let limits = json!({"max_response_bytes": 2048, "on_exceeded": verdict});
            Script::whole(dialect, limited(json!([{"use": "no_op"}]), limits), vec![padded.clone()])
        };
        let blocked = play(&script("block"));
        assert_named(&blocked, "response_too_large");
        assert_eq!(blocked.status, 502);
        legality::assert_whole(dialect, &blocked.client);
        let allowed = play(&script("allow"));
        assert_failed_open(&allowed, "response_too_large");
        assert_eq!(allowed.client, padded);
    }
}

#[test]
fn a_request_beyond_its_bound_is_refused_by_both_verdicts() {
    for dialect in DIALECTS {
        for verdict in ["block", "allow"] {
            let limits = json!({"max_request_bytes": 1024, "on_exceeded": verdict});
            for announced in [true, false] {
                let body = script::request_body(dialect, true).to_string().replace("Paris", &"x".repeat(2048)).into_bytes();
                let mut script = Script::request_to(
                    script::path(dialect),
                    limited(json!([]), limits.clone()),
                    body.chunks(100).map(<[u8]>::to_vec).collect(),
                );
                if !announced && let script::Step::RequestHead { headers, .. } = &mut script.steps[0] {
                    headers.retain(|(name, _)| name != "content-length");
                }
                let outcome = play(&script);
                assert_eq!((outcome.request.clone(), outcome.status), (RequestOutcome::Answered, 413));
                assert_named(&outcome, "request_too_large");
                legality::assert_whole(dialect, &outcome.client);
            }
        }
    }
}

#[test]
fn a_bound_on_what_the_proxy_can_hold_is_kept() {
    let body = long_call(CHAT, 20_000);
    let chain = native::load(&document(json!([{"use": "ask_judge"}])), &policies::registry()).unwrap();
    let now = Timestamp::default();
    let mut exchange = Exchange::new(Arc::new(chain), CallId::from_bytes([1; 16]), now);
    exchange.limit_held_bytes(8192);
    let head = RequestHead { method: b"POST", path: b"/v1/chat/completions", ..RequestHead::default() };
    let _ = exchange.handle_request_head(&head, false, now);
    let _ = exchange.handle_request_body(script::request_body(CHAT, true).to_string().as_bytes(), true, now);
    let _ = exchange.handle_response_head(
        &ResponseHead { status: 200, content_type: b"text/event-stream", content_encoding: b"" },
        false,
        now,
    );
    let mut out = Vec::new();
    for chunk in body.chunks(1000) {
        let _ = exchange.handle_response_body(chunk, false, now, &mut out);
    }
    legality::assert_stream(CHAT, &out);
    assert_eq!(exchange.decision(), Decision::Refuse);
}

#[test]
fn a_first_chunk_longer_than_what_may_be_held_passes_when_nothing_is_held() {
    for dialect in DIALECTS {
        let body = fixtures::stream(dialect, "text");
        for verdict in ["block", "allow"] {
            let limits = json!({"max_held_bytes": 1024, "on_exceeded": verdict});
            let outcome = play(&Script::streamed(dialect, limited(json!([{"use": "no_op"}]), limits), vec![body.to_vec()]));
            assert_eq!(outcome.text(), String::from_utf8_lossy(body), "{dialect} {verdict}");
        }
    }
}
