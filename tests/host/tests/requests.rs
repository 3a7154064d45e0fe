//! Requests on their way to the provider.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a panic fails the test, as it should"
)]

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use weir_host_tests::Host;
use weir_host_tests::scene::{ASK_FOR_STREAM, CHAT, judged, reading, with};

fn holding_heads() -> String {
    with(reading(), "envoy", json!({"request_hold": "headers"}))
}

fn head(length: usize) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        (":method", b"POST".to_vec()),
        (":path", CHAT.into()),
        ("content-type", b"application/json".to_vec()),
        ("content-length", length.to_string().into_bytes()),
    ]
}

fn begin(host: &mut Host, head: &[(&'static str, Vec<u8>)], end: bool) -> u32 {
    let head: Vec<(&str, &[u8])> = head.iter().map(|(name, value)| (*name, value.as_slice())).collect();
    host.request_head(&head, end)
}

#[test]
fn a_body_waits_until_it_is_whole_while_its_head_goes_on() {
    let mut host = Host::new(&reading().to_string()).start();
    let exchange = begin(&mut host, &head(ASK_FOR_STREAM.len()), false);
    assert_eq!(host.upstream(exchange).header(":path"), Some(CHAT));
    let (first, second) = ASK_FOR_STREAM.split_at(20);
    host.request_body(exchange, first.as_bytes(), false);
    assert!(host.upstream(exchange).body.is_empty());
    host.request_body(exchange, second.as_bytes(), false);
    host.request_body(exchange, b"", true);
    let upstream = host.upstream(exchange);
    assert_eq!((upstream.body.as_slice(), upstream.ended), (ASK_FOR_STREAM.as_bytes(), true));
    assert_eq!(upstream.header("accept-encoding"), Some("identity"));
    assert_eq!(upstream.header("content-length"), Some(ASK_FOR_STREAM.len().to_string().as_str()));
}

#[test]
fn a_head_waits_with_its_body_where_the_proxy_can_hold_it() {
    let mut host = Host::new(&holding_heads()).knob(true).start();
    let exchange = begin(&mut host, &head(ASK_FOR_STREAM.len()), false);
    host.request_body(exchange, &ASK_FOR_STREAM.as_bytes()[..9], false);
    assert!(host.upstream(exchange).headers.is_empty());
    host.request_body(exchange, &ASK_FOR_STREAM.as_bytes()[9..], true);
    assert_eq!(host.upstream(exchange).body, ASK_FOR_STREAM.as_bytes());
    assert_eq!(host.upstream(exchange).header(":path"), Some(CHAT));
}

#[test]
fn a_refused_request_never_reaches_the_provider_where_the_head_is_held() {
    let mut host = Host::new(&holding_heads()).knob(true).start();
    let exchange = host.request(CHAT, "this is no JSON");
    assert_eq!(host.client(exchange).status, 400);
    assert_eq!(host.client(exchange).header("content-type"), Some("application/json"));
    assert!(host.upstream(exchange).headers.is_empty());
    assert_eq!(host.filter_state(exchange, "weir.decision"), Some("refuse"));
}

#[test]
fn a_refused_request_is_given_up_where_its_head_has_gone_on() {
    let mut host = Host::new(&reading().to_string()).start();
    let exchange = host.request(CHAT, "this is no JSON");
    assert_eq!((host.client(exchange).status, host.client(exchange).ended), (400, true));
    assert!(host.upstream(exchange).body.is_empty());
    assert!(host.upstream(exchange).cancelled);
}

#[test]
fn a_proxy_that_cannot_hold_heads_is_found_out_and_such_requests_are_refused() {
    let mut host = Host::new(&holding_heads()).knob(false).start();
    for _ in 0..2 {
        let exchange = host.request(CHAT, ASK_FOR_STREAM);
        host.pass(4800);
        assert_eq!(host.client(exchange).status, 0, "a filter before this one may take its time");
        host.pass(1000);
        assert_eq!((host.client(exchange).status, host.client(exchange).ended), (500, true));
        assert!(host.client(exchange).text().contains("request_hold_unsupported"), "{}", host.client(exchange).text());
        assert!(host.upstream(exchange).headers.is_empty() && host.upstream(exchange).body.is_empty());
    }
    assert_eq!(host.metric("weir.errors.request_hold_unsupported"), 2);
    let said = host.logs().into_iter().filter(|line| line.contains("allow_on_headers_stop_iteration")).count();
    assert_eq!(said, 1, "{:?}", host.logs());
}

#[test]
fn nothing_leaves_on_a_guess_while_a_filter_before_this_one_holds_the_body() {
    let mut host = Host::new(&holding_heads()).knob(true).start();
    let exchange = begin(&mut host, &head(ASK_FOR_STREAM.len()), false);
    host.request_body_is_kept_before(exchange, 20);
    host.pass(4800);
    assert!(host.upstream(exchange).headers.is_empty(), "the client has not finished");
    host.request_body(exchange, ASK_FOR_STREAM.as_bytes(), true);
    assert_eq!(host.upstream(exchange).body, ASK_FOR_STREAM.as_bytes());
    let second = begin(&mut host, &head(ASK_FOR_STREAM.len()), false);
    host.request_body_is_kept_before(second, 20);
    host.pass(60_000);
    assert_eq!(host.client(second).status, 0, "what is proven is not doubted");
    assert!(host.upstream(second).headers.is_empty());
    host.request_body(second, b"this is no JSON", true);
    assert_eq!(host.client(second).status, 400);
}

#[test]
fn what_one_root_learns_of_held_heads_is_not_taken_for_true_of_another() {
    for proven_first in [true, false] {
        let mut host = Host::new(&holding_heads()).knob(proven_first).start();
        let first = host.root();
        let exchange = host.request(CHAT, ASK_FOR_STREAM);
        host.pass(6000);
        assert_eq!(host.upstream(exchange).ended, proven_first);
        assert!(host.configure(&holding_heads()));
        host.select_root(host.root(), !proven_first);
        let exchange = host.request(CHAT, ASK_FOR_STREAM);
        host.pass(6000);
        assert_eq!(host.upstream(exchange).ended, !proven_first, "its own setting counts");
        if proven_first {
            assert_eq!(host.client(exchange).status, 500, "it does not hang");
            assert!(host.upstream(exchange).headers.is_empty());
        }
        host.select_root(first, proven_first);
        let exchange = host.request(CHAT, ASK_FOR_STREAM);
        host.pass(6000);
        assert_eq!(host.upstream(exchange).ended, proven_first);
        assert_eq!(host.upstream(exchange).headers.is_empty(), !proven_first, "no head leaks");
    }
}

#[test]
fn a_slow_client_cannot_weaken_the_hold() {
    for proven in [false, true] {
        let mut host = Host::new(&holding_heads()).knob(true).start();
        if proven {
            host.request(CHAT, ASK_FOR_STREAM);
        }
        let slow = begin(&mut host, &head(15), false);
        host.pass(5000);
        assert!(host.upstream(slow).headers.is_empty());
        host.request_body(slow, b"this is no JSON", true);
        assert_eq!(host.client(slow).status, 400);
        assert!(host.upstream(slow).headers.is_empty());
        assert_eq!(host.metric("weir.errors.request_hold_unsupported"), 0);
    }
}

#[test]
fn a_request_without_a_body_is_answered_by_its_head() {
    for knob in [false, true] {
        let mut host = Host::new(&holding_heads()).knob(knob).start();
        let exchange = begin(&mut host, &head(0), true);
        assert_eq!((host.client(exchange).status, host.client(exchange).ended), (400, true));
    }
}

#[test]
fn a_length_beyond_the_bound_is_refused_by_the_head() {
    let document = with(reading(), "limits", json!({"max_request_bytes": 1024}));
    let mut host = Host::new(&document).start();
    let exchange = begin(&mut host, &head(4096), false);
    assert_eq!(host.client(exchange).status, 413);
    assert!(host.upstream(exchange).headers.is_empty());
}

#[test]
fn a_body_beyond_the_proxys_buffer_is_refused_by_the_proxy() {
    let mut host = Host::new(&judged().to_string()).buffer_limit(1024).start();
    let exchange = begin(&mut host, &head(3000), false);
    host.request_body(exchange, &[b' '; 3000], false);
    assert_eq!((host.client(exchange).status, host.client(exchange).ended), (413, true));
}

#[test]
fn headers_may_be_any_bytes() {
    let mut host = Host::new(&reading().to_string()).start();
    for name in ["content-type", "traceparent", "x-policy-user", "content-length", "content-encoding", "accept-encoding"] {
        let mut head = head(15);
        head.retain(|(known, _)| *known != name && *known != "content-length");
        head.push((name, b"\xff\xfe\x00\x80".to_vec()));
        let exchange = begin(&mut host, &head, false);
        host.request_body(exchange, b"this is no JSON", true);
        assert!(host.client(exchange).status >= 400, "{name}");
    }
    let exchange = host.request_head(&[(":method", b"POST"), (":path", b"/\xff\xfe"), (":authority", b"\xff")], true);
    assert_eq!(host.client(exchange).status, 404);
}

#[test]
fn what_no_policy_governs_passes_untouched() {
    let mut host = Host::new(&reading().to_string()).start();
    let exchange = host.request_head(&[(":method", b"GET"), (":path", b"/v1/models"), ("accept-encoding", b"gzip")], true);
    assert_eq!(host.upstream(exchange).header("accept-encoding"), Some("gzip"));
    host.provider_head(
        exchange,
        &[(":status", b"200"), ("content-type", b"application/json"), ("content-encoding", b"gzip"), ("content-length", b"4")],
        false,
    );
    host.provider_sends(exchange, b"\x1f\x8b\x00\xff");
    host.provider_ends(exchange);
    assert_eq!(host.client(exchange).body, b"\x1f\x8b\x00\xff");
    assert_eq!(host.client(exchange).header("content-length"), Some("4"));
}

#[test]
fn trailers_end_a_request_too() {
    for knob in [false, true] {
        let mut host = Host::new(&with(reading(), "envoy", json!({"request_hold": if knob { "headers" } else { "body" }})))
            .knob(knob)
            .start();
        let exchange = begin(&mut host, &head(ASK_FOR_STREAM.len()), false);
        host.request_body(exchange, ASK_FOR_STREAM.as_bytes(), false);
        host.request_trailers(exchange);
        assert!(host.upstream(exchange).ended);
        assert_eq!(host.upstream(exchange).body, ASK_FOR_STREAM.as_bytes());
    }
}

#[test]
fn bodies_that_do_not_end_take_up_no_memory_of_the_worker_until_they_are_whole() {
    let mut host = Host::new(&reading().to_string()).start();
    let body = vec![b' '; 1_000_000];
    for _ in 0..300 {
        let exchange = begin(&mut host, &head(body.len() + 1), false);
        host.request_body(exchange, &body, false);
    }
    let exchange = host.request(CHAT, ASK_FOR_STREAM);
    assert_eq!(host.upstream(exchange).body, ASK_FOR_STREAM.as_bytes());
    assert_eq!(host.metric("weir.errors.worker_memory"), 0);
}

fn gzip(body: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn encoded_head(length: usize) -> Vec<(&'static str, Vec<u8>)> {
    [head(length), vec![("content-encoding", b"gzip".to_vec())]].concat()
}

/// A document that replaces `from` by `to` in what users say.
fn replacing(from: &str, to: &str, hold: &str) -> String {
    let policy = json!({"use": "content_transform", "with": {"replace": [{"find": from, "with": to}], "request": ["user"]}});
    json!({"policy": {"id": "scene"}, "chain": [policy], "envoy": {"request_hold": hold}}).to_string()
}

fn saying(text: &str) -> String {
    json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": text}]}).to_string()
}

/// Sends a request in pieces, as a slow client does.
fn send(host: &mut Host, head: &[(&'static str, Vec<u8>)], body: &[u8]) -> u32 {
    let exchange = begin(host, head, false);
    for chunk in body.chunks(body.len().div_ceil(3)) {
        host.request_body(exchange, chunk, false);
    }
    host.request_body(exchange, b"", true);
    exchange
}

#[test]
fn an_encoded_request_leaves_as_it_came() {
    for (document, knob) in [(reading().to_string(), false), (holding_heads(), true)] {
        let mut host = Host::new(&document).knob(knob).start();
        let body = gzip(ASK_FOR_STREAM);
        let exchange = send(&mut host, &encoded_head(body.len()), &body);
        let upstream = host.upstream(exchange);
        assert_eq!((upstream.body.as_slice(), upstream.ended), (body.as_slice(), true));
        assert_eq!(upstream.header("content-encoding"), Some("gzip"));
    }
}

#[test]
fn an_encoded_request_that_may_be_rewritten_leaves_decoded_with_a_head_that_says_so() {
    for (hold, knob) in [("headers", true), ("body", false)] {
        for (text, sent) in [("a secret", "a ***"), ("nothing", "nothing")] {
            let mut host = Host::new(&replacing("secret", "***", hold)).knob(knob).start();
            let body = gzip(&saying(text));
            let exchange = send(&mut host, &encoded_head(body.len()), &body);
            let upstream = host.upstream(exchange);
            assert_eq!(String::from_utf8_lossy(&upstream.body), saying(sent), "{hold}");
            assert_eq!(upstream.header("content-encoding"), None, "{hold}");
            let length = upstream.body.len().to_string();
            assert_eq!(upstream.header("content-length"), (hold == "headers").then_some(length.as_str()));
        }
    }
}

#[test]
fn an_encoding_that_cannot_be_read_is_refused_with_those_that_can() {
    let mut host = Host::new(&holding_heads()).knob(true).start();
    let exchange = begin(&mut host, &[head(4), vec![("content-encoding", b"br".to_vec())]].concat(), false);
    assert_eq!(host.client(exchange).status, 415);
    assert_eq!(host.client(exchange).header("accept-encoding"), Some("gzip, deflate, zstd"));
}

#[test]
fn a_long_request_may_grow_to_twice_its_length() {
    for (hold, knob) in [("headers", true), ("body", false)] {
        let mut host = Host::new(&replacing("a", "bb", hold)).knob(knob).buffer_limit(11 << 20).start();
        let body = saying(&"a".repeat(300_000));
        let exchange = send(&mut host, &head(body.len()), body.as_bytes());
        assert_eq!(String::from_utf8_lossy(&host.upstream(exchange).body), saying(&"bb".repeat(300_000)), "{hold}");
        let untouched = saying(&"c".repeat(300_000));
        let exchange = send(&mut host, &head(untouched.len()), untouched.as_bytes());
        assert_eq!(host.upstream(exchange).body, untouched.as_bytes(), "{hold}");
    }
}

#[test]
fn a_request_that_grows_beyond_what_the_proxy_was_seen_to_buffer_is_refused() {
    let mut host = Host::new(&replacing("a", "bbbb", "headers")).knob(true).buffer_limit(11 << 20).start();
    let body = saying(&"a".repeat(300_000));
    let exchange = send(&mut host, &head(body.len()), body.as_bytes());
    assert_eq!(host.client(exchange).status, 500);
    assert!(host.upstream(exchange).headers.is_empty());
}

#[test]
fn a_proxy_that_buffers_less_refuses_a_long_request_that_may_grow() {
    let mut host = Host::new(&replacing("a", "bb", "headers")).knob(true).buffer_limit(512 << 10).start();
    let body = saying(&"a".repeat(300_000));
    let exchange = send(&mut host, &head(body.len()), body.as_bytes());
    assert_eq!(host.client(exchange).status, 413);
}

#[test]
fn a_request_that_a_rule_would_make_too_long_is_refused_before_it_is_built() {
    let policy = json!({"use": "content_transform", "with": {"replace": [{"find": "ACME", "with": "y".repeat(100)}], "request": ["user"]}});
    let limits = json!({"max_rewritten_bytes": 48_000});
    let document = json!({"policy": {"id": "scene"}, "chain": [policy], "limits": limits});
    let mut host = Host::new(&document.to_string()).buffer_limit(16 << 20).start();
    let exchange = host.request(CHAT, &saying(&"ACME".repeat(500)));
    assert_eq!(host.upstream(exchange).body.len(), saying(&"y".repeat(50_000)).len(), "as long as is allowed");
    let exchange = host.request(CHAT, &saying(&"ACME".repeat(501)));
    assert_eq!(host.client(exchange).status, 413);
    assert!(host.upstream(exchange).body.is_empty());
    assert_eq!(host.metric("weir.errors.rewritten_too_large"), 1);
}

#[test]
fn a_header_that_decides_may_not_be_repeated() {
    for name in ["content-type", "content-encoding", "mcp-name", "mcp-method", "mcp-protocol-version"] {
        let mut host = Host::new(&reading().to_string()).start();
        let repeated = [(name, b"application/json".to_vec()), (name, b"other".to_vec())];
        let mut head = head(ASK_FOR_STREAM.len());
        head.retain(|(known, _)| *known != name);
        let exchange = begin(&mut host, &[head, repeated.to_vec()].concat(), false);
        host.request_body(exchange, ASK_FOR_STREAM.as_bytes(), true);
        assert!((400..500).contains(&host.client(exchange).status), "{name}");
        assert!(host.upstream(exchange).body.is_empty());
    }
}
