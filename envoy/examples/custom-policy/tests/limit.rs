//! The policy at work, on the host: the engine is the same in Envoy.

use std::sync::Arc;

use weir::decision::Decision;
use weir::document::Document;
use weir_driver::{Outcome, Player, Recording, Split};

const DOCUMENT: &str = r#"{"policy": {"id": "limit"}, "chain": [{"use": "limit_tool_calls", "with": {"max_calls": 1}}]}"#;

const STREAM: &str = concat!(
    r#"data: {"id":"c1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"first","arguments":"{}"}}]},"finish_reason":null}]}"#,
    "\n\n",
    r#"data: {"id":"c1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"b","type":"function","function":{"name":"second","arguments":"{}"}}]},"finish_reason":null}]}"#,
    "\n\n",
    r#"data: {"id":"c1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
    "\n\ndata: [DONE]\n\n",
);

/// What comes of an exchange whose answer is `stream`, cut so.
fn play(document: &str, stream: &str, split: &Split) -> Outcome {
    let document = Document::parse(document, &custom_policy::registry(), &|_| None).unwrap();
    let body = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"go"}]}"#;
    let recording = Recording::post("/v1/chat/completions", body).streamed(stream);
    Player::new(Arc::new(document.chain)).traced().play(&recording.steps(split))
}

const SPLITS: [Split; 4] = [Split::Whole, Split::Events, Split::Bytes, Split::Every(13)];

#[test]
fn the_second_call_is_replaced_by_a_message() {
    for split in SPLITS {
        let outcome = play(DOCUMENT, STREAM, &split);
        let out = outcome.text();
        assert!(out.contains(r#""name":"first""#), "{out}");
        assert!(!out.contains(r#""name":"second""#), "{out}");
        assert!(out.contains("[second was not called: no more than 1 tool calls at a time.]"), "{out}");
        assert_eq!(outcome.events_of("limit_tool_calls.blocked").len(), 1);
        assert_eq!(outcome.decision, Decision::Refuse);
        assert_eq!(outcome.enforcement()["reason_code"], "TOO_MANY_TOOL_CALLS");
        assert_eq!(outcome.runs_of("on_tool_call_complete"), 2);
    }
}

#[test]
fn a_stream_within_the_limit_passes_byte_for_byte() {
    for split in SPLITS {
        let outcome = play(&DOCUMENT.replace("\"max_calls\": 1", "\"max_calls\": 2"), STREAM, &split);
        assert_eq!(outcome.text(), STREAM);
        assert_eq!(outcome.decision, Decision::Allow);
    }
}

#[test]
fn a_wrong_configuration_is_refused_with_its_path() {
    for (with, path) in [("{}", "chain[0].with"), (r#"{"max_calls": 0}"#, "chain[0].with.max_calls")] {
        let document = format!(r#"{{"policy": {{"id": "p"}}, "chain": [{{"use": "limit_tool_calls", "with": {with}}}]}}"#);
        assert_eq!(Document::parse(&document, &custom_policy::registry(), &|_| None).unwrap_err().path, path);
    }
}

#[test]
fn the_document_in_the_readme_is_read() {
    let readme = include_str!("../README.md");
    let document = readme.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert!(Document::parse(document, &custom_policy::registry(), &|_| None).is_ok());
}
