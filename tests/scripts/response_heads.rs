//! A response is read as what it is, whatever its head says: clients differ in whether they heed the head.

use serde_json::{Value, json};
use weir::decision::Decision;
use weir::dialect::Dialect;
use weir_test_support::native::Outcome;
use weir_test_support::script::{Script, document};
use weir_test_support::{chunking, fixtures, legality};

use crate::{play, test};

const CHAT: Dialect = Dialect::ChatCompletions;
const MCP: Dialect = Dialect::McpTool;

/// Each dialect, a fixture of it, and a text in it as `uppercase` leaves it.
const FIXTURES: [(Dialect, &str, &str); 4] = [
    (CHAT, "text", "LOW DAM"),
    (Dialect::Messages, "text", "LOW DAM"),
    (Dialect::Responses, "text", " SCHEINT."),
    (MCP, "call", "SUNNY IN PARIS"),
];

/// Content types, one that is missing and two headers with different ones among them.
const CONTENT_TYPES: [&str; 11] = [
    "text/event-stream",
    "application/json",
    "",
    "text/json; charset=utf-8",
    "application/vnd.api+json",
    "application/x-ndjson",
    "text/plain",
    "text/html; charset=utf-8",
    "application/octet-stream",
    "application/json, text/event-stream",
    "\u{e9}",
];

fn uppercase() -> Value {
    document(json!([{"use": "uppercase"}]))
}

fn respond(script: Script, content_type: &str, chunks: Vec<Vec<u8>>) -> Outcome {
    let head = [("content-type", content_type)];
    play(&script.respond_with(200, if content_type.is_empty() { &[] } else { &head }, chunks))
}

#[test]
fn a_body_is_read_as_what_it_is_whatever_its_content_type_and_whatever_was_asked_for() {
    for (dialect, fixture, capitals) in FIXTURES {
        for body in [fixtures::stream(dialect, fixture), fixtures::whole(dialect, fixture)] {
            let is_stream = body == fixtures::stream(dialect, fixture);
            let ask = |streamed| Script::request(dialect, uppercase(), streamed);
            let expected = if is_stream { "text/event-stream" } else { "application/json" };
            let expected = respond(ask(is_stream), expected, vec![body.to_vec()]);
            assert!(expected.text().contains(capitals), "{dialect}: {}", expected.text());
            for content_type in CONTENT_TYPES {
                for streamed in [true, false] {
                    for chunks in [vec![body.to_vec()], chunking::at(body, &[1, 3])] {
                        let outcome = respond(ask(streamed), content_type, chunks);
                        let case = format!("{dialect}, {content_type:?}, asked for a stream: {streamed}");
                        assert_eq!(outcome.text(), expected.text(), "{case}");
                        assert_eq!(outcome.decision, expected.decision, "{case}");
                        assert_eq!(outcome.enforcement()["streamed"], is_stream, "{case}");
                    }
                }
            }
        }
    }
}

#[test]
fn nothing_leaves_before_the_first_byte_that_tells_what_comes() {
    for (dialect, fixture, capitals) in FIXTURES {
        let whole = fixtures::whole(dialect, fixture);
        for before in ["\u{feff}", "\r\n \t", "\u{feff}\n\n"] {
            for announced in ["text/event-stream", "application/json", ""] {
                let body = [before.as_bytes(), whole].concat();
                let outcome = respond(Script::request(dialect, uppercase(), true), announced, chunking::bytes(&body));
                assert!(outcome.text().contains(capitals), "{dialect}, {announced:?}: {}", outcome.text());
                legality::assert_whole(dialect, &outcome.client);
                assert!(!outcome.text().starts_with('\u{feff}'), "some readers of JSON give up at a byte order mark");
            }
        }
        let stream = fixtures::stream(dialect, fixture);
        for before in ["\u{feff}", "\r\n\r\n", ": waiting\n\n"] {
            let body = [before.as_bytes(), stream].concat();
            let outcome = respond(Script::request(dialect, uppercase(), true), "", chunking::bytes(&body));
            assert!(outcome.text().contains(capitals), "{dialect}: {}", outcome.text());
        }
    }
}

#[test]
fn blanks_before_the_first_byte_are_bounded() {
    for announced in ["text/event-stream", "application/json"] {
        let mut document = uppercase();
        document["limits"] = json!({"max_held_bytes": 1024});
        let chunks = vec![vec![b'\n'; 100]; 20];
        let outcome = respond(Script::request(CHAT, document, true), announced, chunks);
        assert_eq!(outcome.decision, Decision::Refuse, "{announced}");
        assert_eq!(outcome.enforcement()["reason_code"], "HELD_TOO_LARGE");
    }
}

#[test]
fn what_is_neither_a_stream_nor_json_is_withheld() {
    for dialect in [CHAT, Dialect::Messages, Dialect::Responses, MCP] {
        for content_type in ["text/plain", "text/html", "image/png", "application/json, text/event-stream"] {
            let body = b"rm -rf /srv/data".to_vec();
            let outcome = respond(Script::request(dialect, uppercase(), true), content_type, vec![body]);
            let reason = &outcome.enforcement()["reason_code"];
            assert_eq!((outcome.status, reason), (502, &json!("RESPONSE_CONTENT_TYPE")), "{dialect}, {content_type}");
            assert!(!outcome.text().contains("rm -rf"), "{}", outcome.text());
        }
    }
    let mut allowing = uppercase();
    allowing["limits"] = json!({"on_unreadable": "allow"});
    let outcome = respond(Script::request(CHAT, allowing, true), "text/plain", vec![b"Hello".to_vec(), b" there".to_vec()]);
    assert_eq!((outcome.status, outcome.text().as_str()), (200, "Hello there"));
}

#[test]
fn where_a_stream_was_announced_the_client_is_told_in_one_why_json_is_withheld() {
    for (dialect, fixture, _) in FIXTURES {
        let broken = [fixtures::whole(dialect, fixture), b"{"].concat();
        let outcome = respond(Script::request(dialect, uppercase(), true), "text/event-stream", vec![broken]);
        assert_eq!((outcome.status, outcome.decision), (200, Decision::Refuse), "{dialect}");
        legality::assert_stream(dialect, &outcome.client);

        let chain = document(json!([{"use": "block_stream", "with": {"text": "Not today."}}]));
        let whole = fixtures::whole(dialect, fixture).to_vec();
        let outcome = respond(Script::request(dialect, chain, true), "text/event-stream", vec![whole]);
        legality::assert_stream(dialect, &outcome.client);
        assert!(outcome.text().contains("Not today."), "{dialect}: {}", outcome.text());
    }
}

#[test]
fn json_lines_are_not_read_as_one_answer() {
    for (dialect, fixture, _) in FIXTURES {
        let line: String = String::from_utf8(fixtures::whole(dialect, fixture).to_vec()).unwrap().replace('\n', "");
        let lines = format!("{line}\n{line}\n");
        for content_type in ["application/x-ndjson", "text/event-stream"] {
            let outcome = respond(Script::request(dialect, uppercase(), true), content_type, vec![lines.clone().into_bytes()]);
            assert_eq!(outcome.decision, Decision::Refuse, "{dialect}, {content_type}");
        }
    }
}

#[test]
fn a_charset_that_has_ascii_in_it_is_read_as_utf_8_and_named_to_nobody() {
    for (dialect, fixture, capitals) in FIXTURES {
        for charset in ["us-ascii", "iso-8859-1", "\"Windows-1252\"", "latin1", ""] {
            for (media_type, body) in [
                ("text/event-stream", fixtures::stream(dialect, fixture)),
                ("application/json", fixtures::whole(dialect, fixture)),
            ] {
                let content_type = format!("{media_type}; charset={charset}");
                let outcome = respond(Script::request(dialect, uppercase(), true), &content_type, vec![body.to_vec()]);
                assert!(outcome.text().contains(capitals), "{dialect}, {content_type}: {}", outcome.text());
                assert_eq!(outcome.content_type.as_deref(), Some(media_type), "{content_type}");
            }
        }
        let body = fixtures::stream(dialect, fixture);
        let outcome =
            respond(Script::request(dialect, uppercase(), true), "text/event-stream; charset=utf-8", vec![body.to_vec()]);
        assert_eq!(outcome.content_type, None, "it stays as it is");
    }
}

#[test]
fn what_is_not_utf_8_is_withheld_whatever_charset_is_named() {
    for content_type in ["text/event-stream; charset=iso-8859-1", "application/json; charset=iso-8859-1"] {
        let text = |body: &[u8]| String::from_utf8_lossy(body).replace("It lets", "Il l\u{0}").into_bytes();
        let body = if content_type.starts_with("text") { fixtures::stream(CHAT, "text") } else { fixtures::whole(CHAT, "text") };
        let latin: Vec<u8> = text(body).into_iter().map(|byte| if byte == 0 { 0xe8 } else { byte }).collect();
        assert!(latin.contains(&0xe8), "the fixture has the text");
        let outcome = respond(Script::request(CHAT, uppercase(), true), content_type, vec![latin]);
        assert_eq!(outcome.decision, Decision::Refuse, "{content_type}");
        assert!(!outcome.client.contains(&0xe8), "{content_type}");
    }
}

#[test]
fn a_charset_that_is_read_as_another_text_is_withheld() {
    for charset in ["utf-16", "utf-16le", "utf-7", "utf-32", "shift_jis", "ebcdic-us", "utf-8; charset=utf-16"] {
        let content_type = format!("application/json; charset={charset}");
        let body = fixtures::whole(CHAT, "text").to_vec();
        let outcome = respond(Script::request(CHAT, uppercase(), false), &content_type, vec![body]);
        assert_eq!((outcome.status, &outcome.enforcement()["reason_code"]), (502, &json!("RESPONSE_CHARSET")), "{charset}");
    }
}

#[test]
fn an_encoding_that_is_none_is_none() {
    for encoding in ["none", "identity", "", " None ", "identity, none", "none,none"] {
        for (dialect, fixture, capitals) in FIXTURES {
            let body = fixtures::stream(dialect, fixture);
            let head = [("content-type", "text/event-stream"), ("content-encoding", encoding)];
            let outcome = play(&Script::request(dialect, uppercase(), true).respond_with(200, &head, vec![body.to_vec()]));
            assert!(outcome.text().contains(capitals), "{dialect}, {encoding:?}: {}", outcome.text());
        }
    }
    for encoding in ["gzip, gzip", "gzip, none", "identity, gzip", "br"] {
        let head = [("content-type", "text/event-stream"), ("content-encoding", encoding)];
        let body = fixtures::stream(CHAT, "text");
        let outcome = play(&Script::request(CHAT, uppercase(), true).respond_with(200, &head, vec![body.to_vec()]));
        assert_eq!(&outcome.enforcement()["reason_code"], "RESPONSE_ENCODING", "{encoding}");
    }
}

#[test]
fn a_status_that_is_no_error_of_http_is_governed() {
    // Some clients take for an error what is from 400 to 599 alone.
    for status in [200, 201, 206, 226, 299, 600, 601, 700, 999] {
        for (dialect, fixture, capitals) in FIXTURES {
            let body = fixtures::whole(dialect, fixture).to_vec();
            let head = [("content-type", "application/json")];
            let outcome = play(&Script::request(dialect, uppercase(), false).respond_with(status, &head, vec![body]));
            assert!(outcome.text().contains(capitals), "{dialect}, {status}: {}", outcome.text());
            assert_eq!(outcome.status, status);
        }
    }
    for status in [300, 301, 302, 304, 307, 308, 399] {
        let body = fixtures::whole(CHAT, "text").to_vec();
        let head = [("content-type", "application/json"), ("location", "http://elsewhere/")];
        let outcome = play(&Script::request(CHAT, uppercase(), false).respond_with(status, &head, vec![body]));
        assert_eq!((outcome.status, &outcome.enforcement()["reason_code"]), (502, &json!("RESPONSE_REDIRECT")), "{status}");
    }
}
