//! Every buffer has a bound, its error has a name, and past it comes the configured verdict: closed by default.

use std::sync::Arc;

use serde_json::{Value, json};
use weir::chain::Chain;
use weir::decision::Decision;
use weir::dialect::{Dialect, MAX_BLOCKS, MAX_CHOICES, MAX_NAME_BYTES, MAX_REPEATED_BYTES};
use weir::exchange::{EndReason, Exchange, Observation, RequestHead, ResponseHead, ResponseMode};
use weir::id::CallId;
use weir::time::Timestamp;
use weir_test_support::answer::{Answer, Said};
use weir_test_support::native::{self, Outcome, RequestOutcome};
use weir_test_support::script::{self, JudgeReply, JudgeRule, Script, document};
use weir_test_support::{client, fixtures, legality, policies};

use crate::{play, test};

const CHAT: Dialect = Dialect::ChatCompletions;
const MESSAGES: Dialect = Dialect::Messages;
const RESPONSES: Dialect = Dialect::Responses;
const MCP: Dialect = Dialect::McpTool;
const DIALECTS: [Dialect; 4] = [CHAT, MESSAGES, RESPONSES, MCP];

/// The dialects that models answer in: what is held there arrives in many events.
const MODELS: [Dialect; 3] = [CHAT, MESSAGES, RESPONSES];

/// The fixture, streamed and whole, in which this text stands.
const fn with_text(dialect: Dialect) -> (&'static str, &'static str) {
    match dialect {
        MCP => ("call", "Sunny in Paris, 21°C"),
        RESPONSES => ("text", " scheint."),
        _ => ("text", "It lets the water through."),
    }
}

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

/// Plays an answer that goes beyond a bound. What it has in common with one that keeps within leaves as it came.
#[track_caller]
fn assert_refused_beyond(dialect: Dialect, within: &Answer<'_>, beyond: &Answer<'_>) {
    let [within, beyond] = [within, beyond].map(|answer| String::from_utf8(answer.streamed(dialect)).unwrap());
    let same = within.split_inclusive("\n\n").zip(beyond.split_inclusive("\n\n")).take_while(|(within, beyond)| within == beyond);
    let same: String = same.map(|(event, _)| event).collect();
    let chunks = beyond.as_bytes().chunks(64 * 1024).map(<[u8]>::to_vec).collect();
    let outcome = play(&Script::streamed(dialect, document(json!([{"use": "no_op"}])), chunks));
    assert_named(&outcome, "response_malformed");
    assert!(outcome.client.starts_with(same.as_bytes()), "{dialect}: only {} of {} bytes left", outcome.client.len(), same.len());
}

#[track_caller]
fn assert_failed_open(outcome: &Outcome, word: &'static str) {
    assert!(outcome.observations.contains(&Observation::FailedOpen(word)), "{word} is missing in {:?}", outcome.observations);
}

/// An exchange whose request has left and whose answer begins as a stream, limited to holding as many bytes.
fn streaming(dialect: Dialect, chain: Value, max_held_bytes: usize) -> Exchange {
    let chain: Arc<Chain> = Arc::new(native::load(&document(chain), &policies::registry()).unwrap());
    let now = Timestamp::default();
    let mut exchange = Exchange::new(chain, CallId::from_bytes([1; 16]), now);
    exchange.limit_held_bytes(max_held_bytes);
    let head = RequestHead { method: b"POST", path: script::path(dialect).as_bytes(), ..RequestHead::default() };
    let _ = exchange.handle_request_head(&head, false, now);
    let _ = exchange.handle_request_body(script::request_body(dialect, true).to_string().as_bytes(), true, now);
    let head = ResponseHead { status: 200, content_type: b"text/event-stream", content_encoding: b"" };
    assert_eq!(exchange.handle_response_head(&head, false, now), ResponseMode::Stream);
    exchange
}

#[test]
fn an_event_of_100_megabytes_is_cut_off_at_the_bound() {
    const EVENT: usize = 100 * 1024 * 1024;
    static CHUNK: [u8; 64 * 1024] = [b'a'; 64 * 1024];
    for dialect in DIALECTS {
        let now = Timestamp::default();
        let mut exchange = streaming(dialect, json!([{"use": "no_op"}]), usize::MAX);
        let mut out = Vec::new();
        let _ = exchange.handle_response_body(b"data: {\"text\":\"", false, now, &mut out);
        for _ in 0..EVENT / CHUNK.len() {
            let _ = exchange.handle_response_body(&CHUNK, false, now, &mut out);
        }
        let _ = exchange.handle_response_body(b"\"}\n\n", true, now, &mut out);
        exchange.handle_end(EndReason::Completed, now);
        assert!(out.len() < 4096, "{dialect}: {} bytes left", out.len());
        legality::assert_stream(dialect, &out);
        assert_eq!(exchange.decision(), Decision::Refuse, "{dialect}");
    }
}

#[test]
fn an_event_beyond_its_bound_gets_the_configured_verdict() {
    for dialect in DIALECTS {
        let (fixture, text) = with_text(dialect);
        let stream = String::from_utf8(fixtures::stream(dialect, fixture).to_vec()).unwrap();
        let body = stream.replace(text, &"a".repeat(4096));
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
    let filler = "x".repeat(100);
    let mut arguments = vec!["{\"city\":\""];
    arguments.extend(vec![filler.as_str(); bytes / filler.len()]);
    arguments.push("\"}");
    let said =
        vec![Said::Text(&["I will look ", "that up."]), Said::Call { id: "call_1", name: "get_weather", arguments: &arguments }];
    Answer { said, cut: false }.streamed(dialect)
}

#[test]
fn a_held_span_beyond_its_bound_gets_the_configured_verdict() {
    for dialect in MODELS {
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
fn a_held_result_beyond_its_bound_gets_the_configured_verdict() {
    let (fixture, text) = with_text(MCP);
    let stream = String::from_utf8(fixtures::stream(MCP, fixture).to_vec()).unwrap().replace(text, &"a".repeat(20_000));
    let script = |verdict| {
        let limits = json!({"max_held_bytes": 8192, "on_exceeded": verdict});
        Script::events(MCP, limited(json!([{"use": "ask_about_text"}]), limits), stream.as_bytes())
            .judged(JudgeRule::new("", JudgeReply::Verdict(0.0)).after(1))
    };
    let blocked = play(&script("block"));
    assert_named(&blocked, "held_too_large");
    assert!(!blocked.text().contains("aaaa"), "{}", blocked.text());
    legality::assert_stream(MCP, &blocked.client);
    let allowed = play(&script("allow"));
    assert_failed_open(&allowed, "held_too_large");
    assert!(allowed.text().contains(&"a".repeat(20_000)), "{}", allowed.text());
}

#[test]
fn what_is_held_never_exceeds_what_the_proxy_was_told() {
    for dialect in MODELS {
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

/// An answer that calls a tool so often.
fn calls<'a>(count: usize, name: &'a str) -> Answer<'a> {
    Answer { said: vec![Said::Call { id: "c", name, arguments: &["{}"] }; count], cut: false }
}

#[test]
fn more_blocks_than_the_bound_are_refused() {
    for dialect in MODELS {
        assert_refused_beyond(dialect, &calls(MAX_BLOCKS, "f"), &calls(MAX_BLOCKS + 1, "f"));
    }
}

#[test]
fn more_choices_than_the_bound_are_refused() {
    let chunk = |index: u64| {
        let chunk = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": index, "delta": {"content": "x"}, "finish_reason": null}]});
        format!("data: {chunk}\n\n")
    };
    let body = (0..=MAX_CHOICES as u64).map(chunk).collect::<String>();
    let refused = play(&Script::streamed(CHAT, document(json!([{"use": "no_op"}])), vec![body.into_bytes()]));
    assert_named(&refused, "response_malformed");
}

#[test]
fn ids_and_names_beyond_the_bound_are_refused() {
    let name = "n".repeat(MAX_NAME_BYTES / 16);
    for dialect in MODELS {
        assert_refused_beyond(dialect, &calls(15, &name), &calls(16, &name));
    }
}

#[test]
fn text_that_is_to_be_repeated_is_bounded() {
    let piece = "a".repeat(MAX_REPEATED_BYTES / 8);
    let pieces = [piece.as_str(); 9];
    let [within, beyond] = [&pieces[1..], &pieces[..]].map(|pieces| Answer { said: vec![Said::Text(pieces)], cut: false });
    assert_refused_beyond(RESPONSES, &within, &beyond);
}

#[test]
fn messages_of_a_batch_beyond_the_bound_are_refused() {
    let note = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "x"}});
    for (count, is_refused) in [(MAX_BLOCKS, false), (MAX_BLOCKS + 1, true)] {
        let batch = Value::from(vec![note.clone(); count]).to_string().into_bytes();
        let outcome = play(&Script::whole(MCP, document(json!([{"use": "no_op"}])), vec![batch.clone()]));
        if is_refused {
            assert_named(&outcome, "response_malformed");
        } else {
            assert!(outcome.client == batch, "{:?}", outcome.observations);
        }
    }
}

#[test]
fn a_whole_body_beyond_its_bound_gets_the_configured_verdict() {
    for dialect in DIALECTS {
        let body = fixtures::whole(dialect, with_text(dialect).0).to_vec();
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
                    limited(json!([{"use": "no_op"}]), limits.clone()),
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
    for dialect in MODELS {
        let mut exchange = streaming(dialect, json!([{"use": "ask_judge"}]), 8192);
        let mut out = Vec::new();
        for chunk in long_call(dialect, 20_000).chunks(1000) {
            let _ = exchange.handle_response_body(chunk, false, Timestamp::default(), &mut out);
        }
        legality::assert_stream(dialect, &out);
        assert_eq!(exchange.decision(), Decision::Refuse, "{dialect}");
    }
}

#[test]
fn a_first_chunk_longer_than_what_may_be_held_passes_when_nothing_is_held() {
    for dialect in DIALECTS {
        let body = fixtures::stream(dialect, with_text(dialect).0);
        for verdict in ["block", "allow"] {
            let limits = json!({"max_held_bytes": 1024, "on_exceeded": verdict});
            let outcome = play(&Script::streamed(dialect, limited(json!([{"use": "no_op"}]), limits), vec![body.to_vec()]));
            assert_eq!(outcome.text(), String::from_utf8_lossy(body), "{dialect} {verdict}");
        }
    }
}
