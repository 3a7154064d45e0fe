//! The rules of bytes, server-sent events and JSON: each test is one.
//! Splits and line ends are in `identity.rs`, bounds in `bounds.rs`.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::{Value, json};
use weir::decision::Decision;
use weir::dialect::Dialect;
use weir_test_support::script::{JudgeReply, JudgeRule, Script, document};
use weir_test_support::{chunking, client, fixtures, legality, sse};

use crate::{play, test};

const CHAT: Dialect = Dialect::ChatCompletions;
const MESSAGES: Dialect = Dialect::Messages;
const RESPONSES: Dialect = Dialect::Responses;
const MCP: Dialect = Dialect::McpTool;

fn judging(dialect: Dialect, body: &[u8]) -> Script {
    Script::streamed(dialect, document(json!([{"use": "ask_judge"}])), vec![body.to_vec()])
        .judged(JudgeRule::new("/srv/data", JudgeReply::Verdict(0.9)))
        .judged(JudgeRule::new("", JudgeReply::Verdict(0.1)))
}

fn edit(dialect: Dialect, fixture: &str, from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(fixtures::stream(dialect, fixture).to_vec()).unwrap();
    assert!(text.contains(from), "{fixture} has no {from}");
    text.replace(from, to).into_bytes()
}

/// The call in `body` is judged and blocked, whatever its framing.
#[track_caller]
fn assert_scanned(dialect: Dialect, body: &[u8]) {
    let whole = play(&judging(dialect, body));
    assert_eq!(whole.callouts.len(), 1, "the call is judged: {}", whole.text());
    assert!(!whole.text().contains("/srv/data") && whole.decision >= Decision::Rewrite, "{}", whole.text());
    let mut script = judging(dialect, body);
    script.steps.retain(|step| {
        !matches!(
            step,
            weir_test_support::script::Step::ResponseHead { .. } | weir_test_support::script::Step::ResponseBody { .. }
        )
    });
    let bytes = play(&script.respond("text/event-stream", chunking::bytes(body)));
    assert_eq!(sse::read(&bytes.client), sse::read(&whole.client), "byte by byte");
}

#[test]
fn mixed_line_ends() {
    let body = fixtures::stream(MESSAGES, "whole_input");
    for ends in [["\r\n", "\r\n"], ["\r", "\r"], ["\r\n", "\n"], ["\n", "\r\n"]] {
        let mut lines = 0;
        let mixed = String::from_utf8(body.to_vec()).unwrap().split('\n').fold(String::new(), |mut mixed, line| {
            if lines > 0 {
                mixed.push_str(ends[lines % 2]);
            }
            lines += 1;
            mixed.push_str(line);
            mixed
        });
        assert_scanned(MESSAGES, mixed.as_bytes());
        let untouched = play(&Script::streamed(MESSAGES, document(json!([{"use": "no_op"}])), chunking::bytes(mixed.as_bytes())));
        assert_eq!(sse::read(&untouched.client), sse::read(mixed.as_bytes()), "{ends:?}");
        // A CR that may be a line end by itself is one to some clients alone: such an event is written anew.
        if ends == ["\r\n", "\r\n"] {
            assert_eq!(untouched.text(), mixed);
        }
    }
}

#[test]
fn a_byte_order_mark() {
    let mut body = b"\xef\xbb\xbf".to_vec();
    body.extend_from_slice(fixtures::stream(CHAT, "calls_without_index"));
    assert_scanned(CHAT, &body);
}

#[test]
fn several_data_lines_in_one_event() {
    assert_scanned(MESSAGES, &edit(MESSAGES, "whole_input", "\"input\":{\"path\"", "\"input\":\ndata: {\"path\""));
}

#[test]
fn comments_between_and_within_events() {
    let body = edit(
        MESSAGES,
        "whole_input",
        "data: {\"type\":\"content_block_start\"",
        ": OPENROUTER PROCESSING\ndata: {\"type\":\"content_block_start\"",
    );
    assert_scanned(MESSAGES, &body);
}

#[test]
fn fields_that_are_no_concern_of_ours() {
    assert_scanned(CHAT, &edit(CHAT, "calls_without_index", "data: {\"id\"", "id: 7\nretry: 10\ndata:{\"id\""));
}

#[test]
fn an_event_line_that_disagrees_with_the_type() {
    let body = edit(MESSAGES, "whole_input", "event: content_block_start", "event: ping");
    let outcome = play(&judging(MESSAGES, &body));
    assert!(!outcome.text().contains("/srv/data"), "what clients could read is not passed unjudged: {}", outcome.text());
    let body = edit(MESSAGES, "whole_input", "event: content_block_start\n", "");
    let outcome = play(&judging(MESSAGES, &body));
    assert!(!outcome.text().contains("/srv/data"), "{}", outcome.text());
}

#[test]
fn a_last_event_without_a_blank_line_is_scanned_not_released() {
    let body = fixtures::stream(CHAT, "calls_in_one_chunk");
    let end = body.windows(2).enumerate().filter(|(_, window)| *window == b"\n\n").nth(1).unwrap().0;
    for cut in [end, end + 1] {
        let outcome = play(&judging(CHAT, &body[..cut]));
        assert!(!outcome.text().contains("/srv/data"), "{}", outcome.text());
    }
    let unterminated = &fixtures::stream(MESSAGES, "text")[..fixtures::stream(MESSAGES, "text").len() - 1];
    let untouched = play(&Script::events(MESSAGES, document(json!([{"use": "no_op"}])), unterminated));
    assert_eq!(untouched.client, unterminated, "a legal last event keeps its form");
}

#[test]
fn a_payload_that_is_not_json_is_not_passed_unseen() {
    for payload in ["data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"\n\n", "data: rm -rf /srv/data\n\n"] {
        let mut body = payload.as_bytes().to_vec();
        body.extend_from_slice(fixtures::stream(CHAT, "text"));
        let blocked = play(&judging(CHAT, &body));
        assert!(!blocked.text().contains(payload) && !blocked.text().contains("/srv/data"), "{payload}: {}", blocked.text());
        assert_eq!(blocked.decision, Decision::Refuse, "{payload}");
        assert!(
            blocked.events.iter().any(|event| event.kind == weir::event::EventKind::Error),
            "{payload}: {:#?}",
            blocked.events
        );
    }
}

#[test]
fn json_that_is_no_object_does_not_leave() {
    for payload in ["data: \"/srv/data\"\n\n", "data: [\"/srv/data\"]\n\n", "data: 3\n\n"] {
        let body = [payload.as_bytes(), fixtures::stream(CHAT, "text")].concat();
        let outcome = play(&judging(CHAT, &body));
        assert_eq!(outcome.client, fixtures::stream(CHAT, "text"), "{payload}: {}", outcome.text());
    }
}

#[test]
fn what_cannot_be_read_passes_where_the_document_says_so() {
    let mut allowing = document(json!([{"use": "no_op"}]));
    allowing["limits"] = json!({"on_unreadable": "allow"});
    let mut body = b"data: not json\n\n".to_vec();
    body.extend_from_slice(fixtures::stream(CHAT, "text"));
    let outcome = play(&Script::events(CHAT, allowing, &body));
    assert_eq!(outcome.client, body);
    assert!(
        outcome.observations.iter().any(|observation| matches!(observation, weir::exchange::Observation::FailedOpen(_))),
        "{:?}",
        outcome.observations
    );
}

#[test]
fn unknown_fields_and_number_formats_are_untouched() {
    let body = fixtures::stream(CHAT, "odd_fields");
    let outcome = play(&judging(CHAT, body));
    assert_eq!(outcome.client, body);
}

/// Chunks that readers understand differently: whatever is decided, the client does not get the call.
fn assert_ambiguity_is_blocked(dialect: Dialect, fixture: &str, from: &str, to: &str) {
    let body = edit(dialect, fixture, from, to);
    let script = Script::streamed(
        dialect,
        document(json!([{"use": "deny_tool", "with": {"name": "delete_files", "message": "No."}}])),
        vec![body.clone()],
    );
    let outcome = play(&script);
    assert!(!outcome.text().contains("/srv/data"), "{to}: {}", outcome.text());
    legality::assert_none(
        &legality::added(&legality::stream(dialect, &body), legality::stream(dialect, &outcome.client)),
        &outcome.client,
    );
}

#[test]
fn duplicate_keys() {
    let last_is_denied = "\"name\":\"get_weather\",\"name\":\"delete_files\"";
    let first_is_denied = "\"name\":\"delete_files\",\"name\":\"get_weather\"";
    assert_ambiguity_is_blocked(CHAT, "calls_without_index", "\"name\":\"delete_files\"", last_is_denied);
    assert_ambiguity_is_blocked(MESSAGES, "whole_input", "\"name\":\"delete_files\"", last_is_denied);
    // The last one is what most readers take, and all that leaves.
    for (dialect, fixture) in [(CHAT, "calls_without_index"), (MESSAGES, "whole_input")] {
        let body = edit(dialect, fixture, "\"name\":\"delete_files\"", first_is_denied);
        let script = Script::streamed(dialect, document(json!([{"use": "ask_judge"}])), vec![body])
            .judged(JudgeRule::new("", JudgeReply::Verdict(0.0)));
        let outcome = play(&script);
        assert!(!outcome.text().contains("delete_files") && outcome.text().contains("get_weather"), "{}", outcome.text());
    }
    assert_ambiguity_is_blocked(CHAT, "calls_without_index", "\"choices\":[", "\"choices\":[],\"choices\":[");
    assert_ambiguity_is_blocked(MESSAGES, "whole_input", "\"type\":\"tool_use\"", "\"type\":\"text\",\"type\":\"tool_use\"");
}

#[test]
fn duplicate_keys_within_the_arguments_are_not_judged_as_one() {
    let body = edit(CHAT, "calls_without_index", r#"{\"path\":\"/srv/data\""#, r#"{\"path\":\"/tmp\",\"path\":\"/srv/data\""#);
    let script = Script::streamed(CHAT, document(json!([{"use": "ask_judge"}])), vec![body])
        .judged(JudgeRule::new("", JudgeReply::Verdict(0.0)));
    let outcome = play(&script);
    assert!(!outcome.text().contains("/srv/data"), "{}", outcome.text());
}

#[test]
fn escapes_for_plain_letters() {
    for to in [r#""na\u006de":"delete_files""#, r#""name":"\u0064elete_files""#] {
        assert_ambiguity_is_blocked(CHAT, "calls_without_index", "\"name\":\"delete_files\"", to);
        assert_ambiguity_is_blocked(MESSAGES, "whole_input", "\"name\":\"delete_files\"", to);
    }
    assert_ambiguity_is_blocked(MESSAGES, "whole_input", "\"type\":\"tool_use\"", r#""type":"tool\u005fuse""#);
    assert_ambiguity_is_blocked(CHAT, "calls_without_index", "\"tool_calls\":[", r#""tool\u005fcalls":["#);
}

#[test]
fn null_characters() {
    let body = edit(CHAT, "text", "\"content\":\" aus\"", r#""content":" \u0000aus""#);
    let outcome = play(&judging(CHAT, &body));
    assert_eq!(outcome.client, body, "a null character is a character");
    let outcome = play(&Script::events(CHAT, document(json!([{"use": "uppercase"}])), &body));
    assert!(client::streamed(CHAT, &outcome.client).only().text.contains(" \0AUS"), "{}", outcome.text());
}

#[test]
fn lone_surrogates() {
    let body = edit(CHAT, "text", "\"content\":\" aus\"", r#""content":" \ud83caus""#);
    let outcome = play(&Script::events(CHAT, document(json!([{"use": "uppercase"}])), &body));
    assert!(!outcome.text().contains("ud83c"), "readers differ in what they make of it: {}", outcome.text());
    let body = edit(CHAT, "calls_without_index", "\"name\":\"delete_files\"", r#""name":"delete_files\udc00""#);
    let outcome = play(&judging(CHAT, &body));
    assert!(!outcome.text().contains("udc00"), "{}", outcome.text());
}

#[test]
fn numbers_as_strings_and_huge_numbers() {
    for index in ["\"0\"", "1e999", "99999999999999999999", "-1", "0.5"] {
        assert_ambiguity_is_blocked(CHAT, "interleaved_tool_calls", "\"index\":1,\"id\"", &format!("\"index\":{index},\"id\""));
        assert_ambiguity_is_blocked(MESSAGES, "whole_input", "\"index\":0", &format!("\"index\":{index}"));
    }
}

#[test]
fn very_deep_nesting() {
    let deep = format!("\"x\":{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let body = edit(CHAT, "text", "\"content\":\" aus\"", &format!("\"content\":\" aus\",{deep}"));
    let outcome = play(&judging(CHAT, &body));
    let passed = outcome.client == body;
    assert!(passed || outcome.decision == Decision::Refuse, "it passes whole, or is refused");
}

#[test]
fn not_utf8() {
    let mut body = fixtures::stream(CHAT, "text").to_vec();
    let position = body.windows(4).position(|window| window == b" aus").unwrap();
    body[position + 1] = 0xff;
    let outcome = play(&judging(CHAT, &body));
    assert_eq!(outcome.decision, Decision::Refuse);
    assert!(core::str::from_utf8(&outcome.client).is_ok(), "{}", outcome.text());
}

type Encode = fn(&[u8]) -> Vec<u8>;

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn zlib(body: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn an_encoded_response_leaves_decoded_and_governed() {
    let encodings: [(&str, Encode); 2] = [("gzip", gzip), ("deflate", zlib)];
    for (dialect, fixture, capitals) in [
        (CHAT, "text", "LOW DAM"),
        (MESSAGES, "text", "LOW DAM"),
        (RESPONSES, "text", " SCHEINT."),
        (MCP, "call", "SUNNY IN PARIS"),
    ] {
        for (encoding, encode) in encodings {
            for (streamed, content_type) in [(true, "text/event-stream"), (false, "application/json")] {
                let body = if streamed { fixtures::stream(dialect, fixture) } else { fixtures::whole(dialect, fixture) };
                let headers = [("content-type", content_type), ("content-encoding", encoding)];
                let encoded = encode(body);
                for size in [1, 100, encoded.len()] {
                    let chunks: Vec<_> = encoded.chunks(size).map(<[u8]>::to_vec).collect();
                    let respond = |chain| {
                        play(&Script::request(dialect, document(chain), streamed).respond_with(200, &headers, chunks.clone()))
                    };
                    assert_eq!(respond(json!([{"use": "no_op"}])).client, body, "{dialect}, {encoding} by {size}");
                    let changed = respond(json!([{"use": "uppercase"}])).text();
                    assert!(changed.contains(capitals), "{encoding} by {size}: {changed}");
                }
            }
        }
    }
}

#[test]
fn an_encoded_response_that_is_broken_or_decodes_to_too_much_is_withheld() {
    let body = fixtures::stream(CHAT, "text");
    let whole = gzip(body);
    let mut wrong = whole.clone();
    let length = wrong.len();
    wrong[length - 5] ^= 1;
    let bomb = gzip(&vec![b'\n'; 2_000_000]);
    for (encoded, reason) in [
        (body.to_vec(), "RESPONSE_MALFORMED"),
        (whole[..length - 1].to_vec(), "RESPONSE_MALFORMED"),
        (wrong, "RESPONSE_MALFORMED"),
        ([whole.as_slice(), b"more"].concat(), "RESPONSE_MALFORMED"),
        (bomb, "RESPONSE_TOO_LARGE"),
    ] {
        // What cannot be decoded cannot be let through either: the head said already that it is not encoded.
        for on_unreadable in ["block", "allow"] {
            let mut document = document(json!([{"use": "no_op"}]));
            document["limits"] = json!({"on_unreadable": on_unreadable, "max_response_bytes": 1_000_000});
            let headers = [("content-type", "text/event-stream"), ("content-encoding", "gzip")];
            let outcome = play(&Script::request(CHAT, document, true).respond_with(200, &headers, vec![encoded.clone()]));
            assert_eq!(outcome.decision, Decision::Refuse, "{reason}");
            assert_eq!(outcome.enforcement()["reason_code"], reason);
            assert!(outcome.client.len() < 100_000, "{reason}");
        }
    }
}

/// Bodies in encodings that cannot be read.
#[test]
fn a_response_in_an_unreadable_encoding_gets_the_configured_verdict() {
    let gzip: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03";
    for encoding in ["br", "zstd", "gzip, br", "x-unknown"] {
        let headers = [("content-type", "text/event-stream"), ("content-encoding", encoding)];
        let respond = |document: Value| Script::request(CHAT, document, true).respond_with(200, &headers, vec![gzip.to_vec()]);
        let blocked = play(&respond(document(json!([{"use": "no_op"}]))));
        assert!(!blocked.client.windows(4).any(|window| window == &gzip[..4]), "{encoding}: {:?}", blocked.client);
        assert_eq!(blocked.decision, Decision::Refuse, "{encoding}");
        let mut allowing = document(json!([{"use": "no_op"}]));
        allowing["limits"] = json!({"on_unreadable": "allow"});
        let allowed = play(&respond(allowing));
        assert_eq!(allowed.client, gzip, "{encoding}");
    }
    let headers = [("content-type", "text/event-stream"), ("content-encoding", "identity")];
    let body = fixtures::stream(CHAT, "text");
    let identity =
        play(&Script::request(CHAT, document(json!([{"use": "no_op"}])), true).respond_with(200, &headers, vec![body.to_vec()]));
    assert_eq!(identity.client, body);
}

#[test]
fn an_upstream_error_keeps_its_status_and_its_body() {
    let error = br#"{"error":{"message":"Rate limit reached","type":"rate_limit_error"}}"#;
    for (dialect, status) in [(CHAT, 429), (MESSAGES, 529), (CHAT, 500), (MESSAGES, 401), (RESPONSES, 429), (MCP, 404)] {
        for streamed in [true, false] {
            let script = Script::request(dialect, document(json!([{"use": "ask_judge"}])), streamed).respond_with(
                status,
                &[("content-type", "application/json"), ("retry-after", "7")],
                vec![error.to_vec()],
            );
            let outcome = play(&script.judged(JudgeRule::new("", JudgeReply::Verdict(0.0))));
            assert_eq!((outcome.status, outcome.client.as_slice()), (status, error.as_slice()));
        }
    }
    let html = play(&Script::request(CHAT, document(json!([{"use": "no_op"}])), true).respond_with(
        502,
        &[("content-type", "text/html")],
        vec![b"<h1>Bad gateway</h1>".to_vec()],
    ));
    assert_eq!((html.status, html.text().as_str()), (502, "<h1>Bad gateway</h1>"));
}

#[test]
fn an_answer_that_is_neither_a_stream_nor_json_is_not_passed_unseen() {
    let script = Script::request(CHAT, document(json!([{"use": "no_op"}])), true)
        .respond("text/plain", vec![b"rm -rf /srv/data".to_vec()]);
    let outcome = play(&script);
    assert!(!outcome.text().contains("/srv/data") && outcome.decision == Decision::Refuse, "{}", outcome.text());
}
