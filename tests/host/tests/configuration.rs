//! Policy documents, as they are loaded and replaced.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a panic fails the test, as it should"
)]

use serde_json::json;
use weir_host_tests::Host;
use weir_host_tests::scene::{ASK_FOR_STREAM, CHAT, judged, reading, with};

#[test]
fn a_wrong_document_is_refused_with_the_path_of_what_is_wrong() {
    let cases = [
        (with(reading(), "envoy", json!({"request_hold": "everything"})), "envoy.request_hold"),
        (with(reading(), "envoy", json!({"hold": 1})), "envoy.hold"),
        (with(reading(), "chain", json!([{"use": "nothing"}])), "chain[0].use"),
        (
            with(judged(), "chain", json!([{"use": "tool_call_judge", "with": {"judge": "main", "threshold": 7}}])),
            "chain[0].with.threshold",
        ),
        (with(reading(), "events", json!({"cluster": "c", "token_env": "TOKEN"})), "events.token_env"),
        ("no JSON".to_owned(), "expected"),
    ];
    for (document, path) in cases {
        let (host, accepted) = Host::new(&document).try_start();
        assert!(!accepted, "{document}");
        assert_eq!(host.logs().len(), 1, "{:?}", host.logs());
        assert!(host.logs()[0].contains(path), "{:?} names {path}", host.logs());
    }
}

#[test]
fn a_wrong_update_leaves_the_last_good_document_in_force() {
    let mut host = Host::new(&reading().to_string()).start();
    assert!(!host.configure("{}"));
    let exchange = host.request(CHAT, ASK_FOR_STREAM);
    assert_eq!(host.upstream(exchange).body, ASK_FOR_STREAM.as_bytes());
}

#[test]
fn an_update_holds_for_new_exchanges_and_old_ones_keep_their_document() {
    let mut host = Host::new(&reading().to_string()).start();
    let old = host.request(CHAT, ASK_FOR_STREAM);
    host.provider_answers(old, 200, "text/event-stream");
    assert!(host.configure(&with(reading(), "limits", json!({"max_request_bytes": 1024}))));
    host.provider_sends(old, "data: [DONE]\n\n");
    host.provider_ends(old);
    assert_eq!(host.client(old).text(), "data: [DONE]\n\n");
    let new = host.request(CHAT, &" ".repeat(2000));
    assert_eq!(host.client(new).status, 413);
}
