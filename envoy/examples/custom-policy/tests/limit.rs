//! The policy at work, on the host: the engine is the same in Envoy.

use std::sync::Arc;

use weir::document::Document;
use weir::event::Event;
use weir::exchange::{Effect, EndReason, Exchange, RequestHead, RequestProgress, ResponseHead, ResponseMode, ResponseProgress};
use weir::id::CallId;
use weir::time::Timestamp;

const DOCUMENT: &str = r#"{"policy": {"id": "limit"}, "chain": [{"use": "limit_tool_calls", "with": {"max_calls": 1}}]}"#;

const STREAM: &str = concat!(
    r#"data: {"id":"c1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"first","arguments":"{}"}}]},"finish_reason":null}]}"#,
    "\n\n",
    r#"data: {"id":"c1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"b","type":"function","function":{"name":"second","arguments":"{}"}}]},"finish_reason":null}]}"#,
    "\n\n",
    r#"data: {"id":"c1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
    "\n\ndata: [DONE]\n\n",
);

/// What the client gets of `stream`, and the events that tell of it.
fn run(document: &str, stream: &str) -> (String, Vec<Event>) {
    let document = Document::parse(document, &custom_policy::registry(), &|_| None).unwrap();
    let now = Timestamp::default();
    let mut exchange = Exchange::new(Arc::new(document.chain), CallId::from_bytes([7; 16]), now);
    let head = RequestHead {
        method: b"POST",
        path: b"/v1/chat/completions",
        content_type: b"application/json",
        ..RequestHead::default()
    };
    assert_eq!(exchange.handle_request_head(&head, false, now), RequestProgress::Hold);
    let body = br#"{"model":"m","stream":true,"messages":[{"role":"user","content":"go"}]}"#;
    assert_eq!(exchange.handle_request_body(body, true, now), RequestProgress::Send);
    let head = ResponseHead { status: 200, content_type: b"text/event-stream", ..ResponseHead::default() };
    assert_eq!(exchange.handle_response_head(&head, false, now), ResponseMode::Stream);
    let mut out = Vec::new();
    let progress = exchange.handle_response_body(stream.as_bytes(), true, now, &mut out);
    assert!(matches!(progress, ResponseProgress::Flowing | ResponseProgress::Finished), "{progress:?}");
    exchange.handle_end(EndReason::Completed, now);
    let effects = std::iter::from_fn(|| exchange.poll_effect());
    let events = effects.filter_map(|effect| if let Effect::Event(event) = effect { Some(event) } else { None }).collect();
    (String::from_utf8(out).unwrap(), events)
}

#[test]
fn the_second_call_is_replaced_by_a_message() {
    let (out, events) = run(DOCUMENT, STREAM);
    assert!(out.contains(r#""name":"first""#), "{out}");
    assert!(!out.contains(r#""name":"second""#), "{out}");
    assert!(out.contains("[second was not called: no more than 1 tool calls at a time.]"), "{out}");
    assert_eq!(events.iter().filter(|event| event.event_type == "limit_tool_calls.blocked").count(), 1);
}

#[test]
fn a_stream_within_the_limit_passes_byte_for_byte() {
    let (out, _) = run(&DOCUMENT.replace("\"max_calls\": 1", "\"max_calls\": 2"), STREAM);
    assert_eq!(out, STREAM);
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
