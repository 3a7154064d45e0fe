//! What a paused response needs of the proxy: room in its buffer, no trailers, an end that is recorded as it was.
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
use weir_host_tests::scene::{
    ASK_FOR_STREAM, CHAT, DONE, ask_for_whole, finish, judged, reading, streaming, streaming_in, text, tool_call, verdict, with,
};

#[test]
fn refusals_of_many_calls_leave_whole_however_long_they_are() {
    let mut document = judged();
    document["chain"][0]["with"]["block_message"] = json!("{explanation} ".repeat(200));
    let explanation = "\u{26d4}\"".repeat(1000);
    let content = json!({"probability": 1.0, "explanation": explanation}).to_string();
    let answer = json!({"choices": [{"message": {"role": "assistant", "content": content}}]}).to_string();
    let calls: Vec<_> = (0..20)
        .map(|index| json!({"id": format!("call_{index}"), "type": "function", "function": {"name": "rm", "arguments": "{}"}}))
        .collect();
    let body = json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0,
        "finish_reason": "tool_calls", "message": {"role": "assistant", "content": null, "tool_calls": calls}}]})
    .to_string();
    let mut host = Host::new(&document.to_string()).start();
    let exchange = ask_for_whole(&mut host, &body);
    host.provider_body(exchange, body.as_bytes(), true);
    while let Some(question) = host.callout("judge") {
        host.answer(&question, 200, &answer);
    }
    assert!(host.client(exchange).ended && !host.client(exchange).reset);
    let read: serde_json::Value = serde_json::from_str(&host.client(exchange).text()).expect("the body is whole");
    assert!(read["choices"][0]["message"]["content"].as_str().unwrap().contains('\u{26d4}'));
    let (mut host, exchange) = streaming_in(host);
    let calls: String = (0..5).map(|index| tool_call(index, "rm", "{}")).collect();
    host.provider_sends(exchange, calls + &finish("tool_calls") + DONE);
    host.provider_ends(exchange);
    while let Some(question) = host.callout("judge") {
        host.answer(&question, 200, &answer);
    }
    assert!(host.client(exchange).ended && !host.client(exchange).reset);
    assert!(host.client(exchange).text().ends_with(DONE));
    assert_eq!(host.metric("weir.errors.ballast"), 0);
}

/// A document whose refusals are about 4 KiB long, and a judge's answer that leads to one.
fn long_refusals() -> (serde_json::Value, String) {
    let mut document = judged();
    document["chain"][0]["with"]["block_message"] = json!("{explanation} ".repeat(200));
    document["events"] = json!({"cluster": "collector"});
    let content = json!({"probability": 1.0, "explanation": "\u{26d4}\"".repeat(1000)}).to_string();
    (document, json!({"choices": [{"message": {"role": "assistant", "content": content}}]}).to_string())
}

fn answer_all(host: &mut Host, answer: &str) {
    while let Some(question) = host.callout("judge") {
        host.answer(&question, 200, answer);
    }
}

/// The decision and the end of the only exchange so far, as the collector gets them.
fn recorded(host: &mut Host) -> (String, String) {
    host.pass(1000);
    let batch: serde_json::Value = serde_json::from_slice(&host.callout("collector").unwrap().body).unwrap();
    let events = batch["events"].as_array().unwrap();
    let enforced = events.iter().find(|event| event["event_type"] == "enforcement").unwrap();
    let word = |name: &str| enforced["metadata"][name].as_str().unwrap().to_owned();
    (word("decision"), word("ended"))
}

#[test]
fn refusals_of_a_whole_answer_whose_end_comes_alone_leave_whole_or_are_one_short_refusal() {
    for (calls, is_short) in [(3, false), (200, true)] {
        let (document, answer) = long_refusals();
        let listed: Vec<_> = (0..calls)
            .map(
                |index| json!({"id": format!("call_{index}"), "type": "function", "function": {"name": "rm", "arguments": "{}"}}),
            )
            .collect();
        let body = json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0,
            "finish_reason": "tool_calls", "message": {"role": "assistant", "content": null, "tool_calls": listed}}]})
        .to_string();
        for head_is_held in [true, false] {
            let mut host = Host::new(&document.to_string()).knob(head_is_held).start();
            let exchange = ask_for_whole(&mut host, &body);
            host.provider_sends(exchange, &body);
            host.provider_ends(exchange);
            answer_all(&mut host, &answer);
            assert!(host.client(exchange).ended && !host.client(exchange).reset, "{calls}");
            let read: serde_json::Value = serde_json::from_str(&host.client(exchange).text()).expect("the body is whole");
            assert_eq!(read["choices"][0]["message"]["tool_calls"], serde_json::Value::Null);
            let said = read["choices"][0]["message"]["content"].as_str().unwrap();
            assert!(said.contains('\u{26d4}') || is_short, "{calls}: {said}");
            assert!(!said.is_empty());
            assert_eq!(recorded(&mut host), ("refuse".to_owned(), "completed".to_owned()));
        }
    }
}

#[test]
fn refusals_of_calls_that_come_in_a_pause_leave_whole_or_give_way_to_an_error() {
    let (document, answer) = long_refusals();
    for end_comes_alone in [true, false] {
        let mut host = Host::new(&document.to_string()).start();
        let exchange = host.request(CHAT, ASK_FOR_STREAM);
        host.provider_answers(exchange, 200, "text/event-stream");
        host.provider_sends(exchange, text("before") + &tool_call(0, "rm", "{}"));
        let more: String = (1..40).map(|index| tool_call(index, "rm", "{}")).collect();
        host.provider_body(exchange, (more + &finish("tool_calls") + DONE).as_bytes(), !end_comes_alone);
        if end_comes_alone {
            host.provider_ends(exchange);
        }
        answer_all(&mut host, &answer);
        let client = host.client(exchange);
        assert!(client.ended && !client.reset, "{:?}", host.logs());
        let read = client.text();
        assert!(read.starts_with(&text("before")) && !read.contains("\"rm\""), "{read}");
        assert!(read.ends_with("\n\n"));
        for event in read.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap()) {
            assert!(event == "[DONE]" || serde_json::from_str::<serde_json::Value>(event).is_ok(), "{event}");
        }
        assert!(read.contains("\"error\""), "it says that something is missing: {read}");
        assert_eq!(host.metric("weir.errors.ballast"), 1);
        assert_eq!(recorded(&mut host), ("refuse".to_owned(), "completed".to_owned()));
    }
}

#[test]
fn a_verdict_that_never_left_is_not_recorded_as_delivered() {
    for (how, ended) in [("client", "client_gone"), ("provider", "upstream_broke")] {
        let mut host = Host::new(&with(judged(), "events", json!({"cluster": "collector"}))).start();
        let exchange = host.request(CHAT, ASK_FOR_STREAM);
        host.provider_answers(exchange, 200, "text/event-stream");
        host.provider_sends(exchange, tool_call(0, "ls", "{}"));
        host.provider_sends(exchange, text("behind"));
        let question = host.callout("judge").unwrap();
        host.answer(&question, 200, verdict(0.0));
        assert_eq!(host.client(exchange).text(), text("behind"), "the verdict is to leave with the next bytes");
        if how == "client" {
            host.client_leaves(exchange);
        } else {
            host.provider_resets(exchange);
        }
        assert_eq!(recorded(&mut host), ("undecided".to_owned(), ended.to_owned()));
    }
}

#[test]
fn a_response_that_is_broken_off_is_recorded_so() {
    let mut host = Host::new(&with(judged(), "events", json!({"cluster": "collector"}))).start();
    let exchange = host.request(CHAT, ASK_FOR_STREAM);
    host.provider_answers(exchange, 200, "text/event-stream");
    host.provider_sends(exchange, tool_call(0, "ls", "{}"));
    host.provider_sends(exchange, text("before"));
    host.provider_ends_with_trailers(exchange);
    assert!(host.client(exchange).reset);
    assert_eq!(recorded(&mut host), ("undecided".to_owned(), "broken_off".to_owned()));
}

#[test]
fn a_client_that_leaves_behind_the_providers_end_is_gone() {
    let mut host = Host::new(&with(judged(), "events", json!({"cluster": "collector"}))).start();
    let exchange = host.request(CHAT, ASK_FOR_STREAM);
    host.provider_answers(exchange, 200, "text/event-stream");
    host.provider_sends(exchange, [tool_call(0, "ls", "{}"), finish("tool_calls"), DONE.to_owned()].concat());
    host.provider_ends(exchange);
    host.client_leaves(exchange);
    assert_eq!(recorded(&mut host), ("undecided".to_owned(), "client_gone".to_owned()));
}

#[test]
fn a_response_whose_deciding_headers_are_repeated_is_refused() {
    for name in ["content-type", "content-encoding"] {
        let mut host = Host::new(&with(reading(), "events", json!({"cluster": "collector"}))).start();
        let exchange = host.request(CHAT, ASK_FOR_STREAM);
        let kind: &[u8] = b"text/event-stream";
        let (first, second): (&[u8], &[u8]) =
            if name == "content-type" { (kind, b"application/json") } else { (b"identity", b"gzip") };
        let mut head = vec![(":status", b"200" as &[u8]), (name, first), (name, second)];
        if name != "content-type" {
            head.push(("content-type", kind));
        }
        host.provider_head(exchange, &head, false);
        assert_eq!(host.client(exchange).status, 502, "{name}");
        assert_eq!(recorded(&mut host).0, "refuse");
    }
}

#[test]
fn a_request_that_goes_on_as_another_stream_has_no_event_of_its_own() {
    let mut host = Host::new(&with(reading(), "events", json!({"cluster": "collector"}))).start();
    let exchange = host.request(CHAT, ASK_FOR_STREAM);
    host.redirects_internally(exchange);
    host.pass(1000);
    let sent = host.callout("collector").map(|batch| String::from_utf8(batch.body).unwrap()).unwrap_or_default();
    assert!(!sent.contains("enforcement"), "{sent}");
}

#[test]
fn a_provider_that_resets_is_not_taken_for_a_client_that_left() {
    let document = with(judged(), "events", json!({"cluster": "collector"}));
    let (mut host, exchange) = streaming(&document);
    host.provider_sends(exchange, text("half"));
    host.provider_resets(exchange);
    host.pass(1000);
    let batch = String::from_utf8(host.callout("collector").unwrap().body).unwrap();
    assert!(!batch.contains("client_gone"), "{batch}");
}

#[test]
fn what_trailers_would_cut_off_is_broken_off_once_and_kept_from_then_on() {
    let (mut host, first) = streaming(&judged().to_string());
    let stream = [text("before"), tool_call(0, "ls", "{}"), finish("tool_calls"), DONE.to_owned()].concat();
    host.provider_sends(first, tool_call(0, "ls", "{}"));
    host.provider_sends(first, [text("before"), finish("tool_calls"), DONE.to_owned()].concat());
    host.provider_ends_with_trailers(first);
    assert!(host.client(first).reset, "text was under way, so that the response was not paused");
    assert_eq!(host.client(first).text(), text("before"));
    assert_eq!(host.metric("weir.errors.trailers"), 1);
    let _ = host.callout("judge");
    let (mut host, second) = streaming_in(host);
    host.provider_sends(second, &stream);
    host.provider_ends_with_trailers(second);
    let question = host.callout("judge").unwrap();
    host.answer(&question, 200, verdict(0.0));
    assert_eq!(host.client(second).text(), stream);
    assert!(host.client(second).trailers);
}

const ROUTE: &[&str] = &["xds", "route_name"];

/// A host of which one response on the route `with-trailers` has ended with trailers.
fn where_trailers_came() -> Host {
    let mut host = Host::new(&judged().to_string()).property(ROUTE, b"with-trailers").start();
    let exchange = host.request(CHAT, ASK_FOR_STREAM);
    host.provider_answers(exchange, 200, "text/event-stream");
    host.provider_sends(exchange, [text("hello"), finish("stop"), DONE.to_owned()].concat());
    host.provider_ends_with_trailers(exchange);
    assert!(host.client(exchange).ended);
    host
}

#[test]
fn trailers_of_one_route_make_no_stream_of_another_wait() {
    for (route, wait, flows) in [("with-trailers", 0, false), ("other", 0, true), ("with-trailers", 601_000, true)] {
        let mut host = where_trailers_came();
        host.set_property(ROUTE, route.as_bytes());
        host.pass(wait);
        let (mut host, exchange) = streaming_in(host);
        host.provider_sends(exchange, "data: {\"choices\":");
        host.provider_sends(exchange, &text("x")[17..]);
        let half = &text("behind")[..20];
        host.provider_sends(exchange, text("before") + half);
        assert!(host.client(exchange).text().contains("before"), "half an event is nothing that is held ({route})");
        host.provider_sends(exchange, &text("behind")[20..]);
        host.provider_sends(exchange, &tool_call(0, "ls", "{\"")[..60]);
        host.provider_sends(exchange, &tool_call(0, "ls", "{\"")[60..]);
        host.provider_sends(exchange, text("live"));
        assert_eq!(host.client(exchange).text().contains("live"), flows, "{route} after {wait} ms");
    }
}

const PAYLOAD: usize = 200_000;

#[test]
fn a_small_buffer_is_learned_for_its_route_from_what_was_refused_and_for_a_time() {
    for (route, wait, holds_less) in [("small", 0, true), ("other", 0, false), ("small", 601_000, false)] {
        let mut host = Host::new(&judged().to_string()).property(ROUTE, b"small").buffer_limit(40_000).start();
        let call = tool_call(0, "ls", &format!(r#"{{"a":"{}"}}"#, "x".repeat(50_000)));
        let first = host.request(CHAT, ASK_FOR_STREAM);
        host.provider_answers(first, 200, "text/event-stream");
        host.provider_sends(first, &call);
        assert!(host.client(first).reset);
        host.set_property(ROUTE, route.as_bytes());
        host.pass(wait);
        let (mut host, second) = streaming_in(host);
        host.provider_sends(second, &call);
        assert_eq!(host.client(second).reset, !holds_less, "{route} after {wait} ms");
    }
}

#[test]
fn a_burst_on_top_of_what_is_held_teaches_no_smaller_buffer() {
    let mut host = Host::new(&judged().to_string()).buffer_limit(100_000).start();
    let first = host.request(CHAT, ASK_FOR_STREAM);
    host.provider_answers(first, 200, "text/event-stream");
    host.provider_sends(first, tool_call(0, "ls", "{}"));
    host.provider_sends(first, vec![b' '; PAYLOAD]);
    assert!(host.client(first).reset);
    let (mut host, second) = streaming_in(host);
    let call = tool_call(0, "ls", &format!(r#"{{"a":"{}"}}"#, "x".repeat(50_000)));
    host.provider_sends(second, &call);
    host.provider_sends(second, [finish("tool_calls"), DONE.to_owned()].concat());
    while let Some(question) = host.callout("judge") {
        host.answer(&question, 200, verdict(0.0));
    }
    host.provider_ends(second);
    assert!(host.client(second).text().contains("xxxx"), "it is held and judged as before");
}

#[test]
fn a_verdict_that_nobody_waits_for_takes_nothing_from_what_leaves_with_the_tick() {
    let mut document = judged();
    document["chain"][0]["with"]["after_block"] = json!("end");
    let (mut host, exchange) = streaming(&document.to_string());
    let calls = [0, 1, 2].map(|index| tool_call(index, "ls", r#"{"path":"/"}"#)).concat();
    host.provider_sends(exchange, [calls, finish("tool_calls"), DONE.to_owned()].concat());
    let questions = [(); 3].map(|()| host.callout("judge").unwrap());
    host.answer(&questions[0], 200, verdict(0.1));
    host.answer(&questions[1], 200, verdict(0.9));
    host.provider_ends(exchange);
    host.answer(&questions[2], 200, verdict(0.1));
    host.pass(200);
    let client = host.client(exchange);
    assert!(client.text().contains("BLOCKED") && client.text().ends_with(DONE), "{}", client.text());
    assert!(client.ended);
    assert_eq!(host.filter_state(exchange, "weir.decision"), Some("refuse"));
}
