//! A policy with raw access at work, on the host.

use std::sync::Arc;

use weir::document::Document;
use weir_driver::{Outcome, Player, Recording, Split};

const DOCUMENT: &str = r#"{"policy": {"id": "plain"}, "chain": [{"use": "no_op"}, {"use": "drop_comments"}]}"#;

const TEXT: &str = r#"data: {"id":"c1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":"a: b"},"finish_reason":null}]}"#;
const END: &str = "data: [DONE]\n\n";

fn play(chain: &str, stream: &str, split: &Split) -> Outcome {
    let document = Document::parse(chain, &custom_policy::registry(), &|_| None).unwrap();
    let body = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"go"}]}"#;
    let recording = Recording::post("/v1/chat/completions", body).streamed(stream);
    Player::new(Arc::new(document.chain)).play(&recording.steps(split))
}

#[test]
fn comments_leave_a_stream_wherever_it_is_cut() {
    let stream = format!(": begin\n\n{TEXT}\n\n: ping\n\n:\n{END}");
    let expected = format!("\n{TEXT}\n\n\n{END}");
    for split in [Split::Whole, Split::Events, Split::Bytes, Split::Every(13)] {
        let outcome = play(DOCUMENT, &stream, &split);
        assert_eq!(outcome.text(), expected, "{split:?}");
        assert_eq!(outcome.enforcement()["raw_policies"][0], "DropComments");
    }
}

#[test]
fn a_policy_behind_one_with_raw_access_is_refused() {
    let document =
        r#"{"policy": {"id": "p"}, "chain": [{"use": "drop_comments"}, {"use": "limit_tool_calls", "with": {"max_calls": 1}}]}"#;
    let error = Document::parse(document, &custom_policy::registry(), &|_| None).unwrap_err();
    assert_eq!(error.path, "chain[1]");
    assert!(error.message.contains("DropComments"), "{error}");
}
