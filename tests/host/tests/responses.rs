//! Responses on their way to the client.
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
use weir_host_tests::scene::{
    ASK_FOR_STREAM, ASK_FOR_WHOLE, CHAT, DONE, finish, judged, reading, text, tool_call, verdict, whole_tool_call, with,
};

/// A host and an exchange whose stream has begun.
fn streaming(document: &str) -> (Host, u32) {
    streaming_in(Host::new(document).start())
}

fn streaming_in(mut host: Host) -> (Host, u32) {
    let exchange = host.request(CHAT, ASK_FOR_STREAM);
    host.provider_answers(exchange, 200, "text/event-stream");
    (host, exchange)
}

fn ask_for_whole(host: &mut Host, body: &str) -> u32 {
    let exchange = host.request(CHAT, ASK_FOR_WHOLE);
    let length = body.len().to_string();
    host.provider_head(
        exchange,
        &[(":status", b"200"), ("content-type", b"application/json"), ("content-length", length.as_bytes())],
        false,
    );
    exchange
}

#[test]
fn a_stream_that_nobody_changes_arrives_byte_for_byte_however_it_is_cut() {
    let stream =
        [text("one"), ": ping\r\n\r\n".to_owned(), tool_call(0, "ls", "{}"), text("ü€"), finish("stop"), DONE.to_owned()]
            .concat();
    let mut host = Host::new(&reading().to_string()).start();
    // Cuts in a deterministic disorder: 1 to 64 bytes.
    for seed in 1..=20_u32 {
        let exchange = host.request(CHAT, ASK_FOR_STREAM);
        host.provider_answers(exchange, 200, "text/event-stream");
        let (mut rest, mut state) = (stream.as_bytes(), seed);
        while !rest.is_empty() {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (chunk, after) = rest.split_at(rest.len().min(1 + (state >> 26) as usize));
            host.provider_sends(exchange, chunk);
            rest = after;
        }
        host.provider_ends(exchange);
        assert_eq!(host.client(exchange).text(), stream);
        assert!(host.client(exchange).ended);
    }
}

#[test]
fn a_tool_call_waits_for_the_judge_and_leaves_as_soon_as_it_has_spoken() {
    let (mut host, exchange) = streaming(&judged().to_string());
    let call = tool_call(0, "ls", r#"{"path":"/"}"#);
    host.provider_sends(exchange, text("hello"));
    assert_eq!(host.client(exchange).text(), text("hello"));
    host.provider_sends(exchange, &call);
    host.provider_sends(exchange, finish("tool_calls"));
    let question = host.callout("judge").expect("the judge is asked");
    assert_eq!(question.header(":path"), Some("/v1/chat/completions"));
    assert_eq!(question.header(":method"), Some("POST"));
    assert_eq!(host.client(exchange).text(), text("hello"));
    host.answer(&question, 200, verdict(0.1));
    assert!(host.client(exchange).text().starts_with(&[text("hello"), call].concat()), "{}", host.client(exchange).text());
    host.provider_sends(exchange, DONE);
    host.provider_ends(exchange);
    assert!(host.client(exchange).text().ends_with(DONE));
    assert_eq!(host.filter_state(exchange, "weir.decision"), Some("allow"));
    assert_eq!(host.metric("weir.decisions.allow"), 1);
}

#[test]
fn verdicts_that_come_before_the_providers_end_leave_behind_it() {
    let (mut host, exchange) = streaming(&judged().to_string());
    let calls = [tool_call(0, "ls", r#"{"path":"/"}"#), tool_call(1, "ls", r#"{"path":"/a"}"#)];
    host.provider_sends(exchange, [calls.concat(), finish("tool_calls"), DONE.to_owned()].concat());
    let questions = [host.callout("judge").unwrap(), host.callout("judge").unwrap()];
    questions.iter().for_each(|question| host.answer(question, 200, verdict(0.1)));
    // The provider was silent between the verdicts: what the second one let go waits for its end.
    host.provider_ends(exchange);
    host.pass(200);
    assert_eq!(host.client(exchange).text(), [calls.concat(), finish("tool_calls"), DONE.to_owned()].concat());
    assert!(host.client(exchange).ended);
    assert_eq!(host.filter_state(exchange, "weir.decision"), Some("allow"));
}

#[test]
fn a_blocked_tool_call_never_reaches_the_client() {
    let (mut host, exchange) = streaming(&judged().to_string());
    host.provider_sends(exchange, tool_call(0, "rm", r#"{"path":"/secret"}"#));
    host.provider_sends(exchange, finish("tool_calls"));
    let question = host.callout("judge").unwrap();
    host.answer(&question, 200, verdict(0.9));
    host.provider_sends(exchange, DONE);
    host.provider_ends(exchange);
    let client = host.client(exchange);
    assert!(!client.text().contains("secret"), "{}", client.text());
    assert!(client.text().ends_with(DONE));
    assert!(client.ended);
    assert_eq!(host.filter_state(exchange, "weir.decision"), Some("refuse"));
}

#[test]
fn two_calls_are_judged_at_the_same_time_and_leave_in_their_order() {
    let (mut host, exchange) = streaming(&judged().to_string());
    let calls = [tool_call(0, "first", "{}"), tool_call(1, "second", "{}")];
    host.provider_sends(exchange, calls.concat());
    host.provider_sends(exchange, finish("tool_calls"));
    let (first, second) = (host.callout("judge").unwrap(), host.callout("judge").unwrap());
    host.answer(&second, 200, verdict(0.0));
    assert!(!host.client(exchange).text().contains("second"));
    host.answer(&first, 200, verdict(0.0));
    assert!(host.client(exchange).text().starts_with(&calls.concat()));
}

#[test]
fn text_flows_while_the_judge_is_out() {
    let (mut host, exchange) = streaming(&judged().to_string());
    host.provider_sends(exchange, text("before"));
    assert_eq!(host.client(exchange).text(), text("before"));
    host.provider_sends(exchange, tool_call(0, "ls", "{}"));
    host.provider_sends(exchange, text("behind"));
    assert_eq!(host.client(exchange).text(), text("before") + &text("behind"));
    host.provider_sends(exchange, finish("tool_calls"));
    let question = host.callout("judge").unwrap();
    host.answer(&question, 200, verdict(0.0));
    assert!(host.client(exchange).text().contains("\"ls\""));
    host.provider_sends(exchange, DONE);
    host.provider_ends(exchange);
    let expected = [text("before"), text("behind"), tool_call(0, "ls", "{}"), finish("tool_calls"), DONE.to_owned()];
    assert_eq!(host.client(exchange).text(), expected.concat());
}

#[test]
fn a_stream_that_ends_while_the_judge_is_out_ends_after_the_verdict() {
    for trailers in [false, true] {
        let (mut host, exchange) = streaming(&judged().to_string());
        let stream = [tool_call(0, "ls", "{}"), finish("tool_calls"), DONE.to_owned()].concat();
        host.provider_sends(exchange, &stream);
        if trailers {
            host.provider_ends_with_trailers(exchange);
        } else {
            host.provider_ends(exchange);
        }
        assert!(!host.client(exchange).ended);
        let question = host.callout("judge").unwrap();
        host.answer(&question, 200, verdict(0.0));
        assert_eq!(host.client(exchange).text(), stream);
        assert!(host.client(exchange).ended);
        assert_eq!(host.client(exchange).trailers, trailers);
    }
}

#[test]
fn a_verdict_leaves_at_once_though_text_came_with_the_call_and_the_provider_is_silent() {
    for probability in [0.0, 1.0] {
        let (mut host, exchange) = streaming(&judged().to_string());
        host.provider_sends(exchange, text("before") + &tool_call(0, "ls", "{}"));
        let question = host.callout("judge").unwrap();
        host.answer(&question, 200, verdict(probability));
        let read = host.client(exchange).text();
        assert!(read.starts_with(&text("before")), "{read}");
        assert_eq!((read.contains("\"ls\""), read.contains("BLOCKED")), (probability < 0.5, probability > 0.5), "{read}");
    }
}

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
fn a_judge_that_fails_blocks() {
    for failure in ["refused", "broken", "error", "late"] {
        let builder = Host::new(&judged().to_string());
        let (mut host, exchange) =
            streaming_in(if failure == "refused" { builder.unreachable("judge") } else { builder }.start());
        host.provider_sends(exchange, tool_call(0, "rm", r#"{"path":"/secret"}"#));
        host.provider_sends(exchange, finish("tool_calls"));
        match (failure, host.callout("judge")) {
            ("refused", asked) => assert!(asked.is_none()),
            ("broken", Some(question)) => host.break_off(&question),
            ("error", Some(question)) => host.answer(&question, 500, "oh no"),
            (_, Some(question)) => {
                host.pass(6000);
                assert!(host.client(exchange).text().contains("finish_reason"), "the deadline ends the wait");
                host.answer(&question, 200, verdict(0.0));
            }
            (_, None) => panic!("the judge is asked"),
        }
        host.provider_sends(exchange, DONE);
        host.provider_ends(exchange);
        assert!(!host.client(exchange).text().contains("secret"), "{failure}");
        assert!(host.client(exchange).ended, "{failure}");
    }
}

#[test]
fn a_client_that_leaves_while_the_judge_is_out_is_no_trouble() {
    let (mut host, exchange) = streaming(&judged().to_string());
    host.provider_sends(exchange, [tool_call(0, "ls", "{}"), finish("tool_calls")].concat());
    let question = host.callout("judge").unwrap();
    host.client_leaves(exchange);
    host.answer(&question, 200, verdict(0.0));
    host.pass(10_000);
    assert!(host.client(exchange).body.is_empty());
}

#[test]
fn a_provider_that_breaks_off_while_the_judge_is_out_is_no_trouble() {
    let (mut host, exchange) = streaming(&judged().to_string());
    host.provider_sends(exchange, tool_call(0, "ls", r#"{"secret":1}"#));
    host.provider_breaks_off(exchange);
    host.pass(10_000);
    assert!(host.client(exchange).body.is_empty());
}

#[test]
fn more_than_the_proxy_buffers_is_broken_off_and_less_is_held_from_then_on() {
    let arguments = format!(r#"{{"a":"{}"}}"#, "x".repeat(20_000));
    let builder = Host::new(&judged().to_string()).buffer_limit(16 * 1024);
    let (mut host, first) = streaming_in(builder.start());
    host.provider_sends(first, tool_call(0, "ls", &arguments));
    host.provider_sends(first, finish("tool_calls"));
    assert!(host.client(first).reset);
    assert_eq!(host.metric("weir.errors.proxy_buffer_exceeded"), 1);
    assert!(host.logs().iter().any(|line| line.contains("per_connection_buffer_limit_bytes")), "{:?}", host.logs());
    let (mut host, second) = streaming_in(host);
    host.provider_sends(second, tool_call(0, "ls", &arguments));
    host.provider_sends(second, [finish("tool_calls"), DONE.to_owned()].concat());
    host.provider_ends(second);
    assert!(host.client(second).ended, "the second is cut by policy, in an orderly way");
    assert!(!host.client(second).text().contains("xxx"));
}

#[test]
fn a_whole_answer_is_judged_before_any_of_it_leaves() {
    let body = whole_tool_call("ls", "{}");
    for ends_with_trailers in [false, true] {
        let mut host = Host::new(&judged().to_string()).start();
        let exchange = ask_for_whole(&mut host, &body);
        host.provider_sends(exchange, &body[..30]);
        host.provider_sends(exchange, &body[30..]);
        if ends_with_trailers {
            host.provider_ends_with_trailers(exchange);
        } else {
            host.provider_ends(exchange);
        }
        assert!(host.client(exchange).body.is_empty());
        let question = host.callout("judge").unwrap();
        host.answer(&question, 200, verdict(0.0));
        assert_eq!(host.client(exchange).text(), body);
        assert!(host.client(exchange).ended);
    }
}

#[test]
fn a_whole_answer_larger_than_the_proxys_buffer_passes() {
    let body = json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0, "finish_reason": "stop",
        "message": {"role": "assistant", "content": "x".repeat(100_000)}}]})
    .to_string();
    let mut host = Host::new(&reading().to_string()).buffer_limit(32 * 1024).start();
    let exchange = ask_for_whole(&mut host, &body);
    for chunk in body.as_bytes().chunks(10_000) {
        host.provider_sends(exchange, chunk);
    }
    host.provider_ends(exchange);
    assert_eq!(host.client(exchange).text(), body);
}

#[test]
fn a_whole_answer_that_cannot_be_read_changes_the_status_where_its_head_is_held() {
    // Once a head of success has left, clients look for an answer and for no error.
    for (hold, status, shape) in [("headers", 502, "error"), ("body", 200, "choices")] {
        let document = with(judged(), "envoy", json!({"request_hold": hold}));
        let mut host = Host::new(&document).knob(true).start();
        let exchange = ask_for_whole(&mut host, "secret, and no JSON");
        host.provider_sends(exchange, "secret, and no JSON");
        host.provider_ends(exchange);
        let client = host.client(exchange);
        assert_eq!((client.status, client.ended), (status, true));
        assert!(client.text().contains(shape) && !client.text().contains("secret"), "{}", client.text());
    }
}

#[test]
fn a_response_that_is_refused_by_its_head_is_answered_in_its_place() {
    let mut host = Host::new(&judged().to_string()).start();
    let exchange = host.request(CHAT, ASK_FOR_STREAM);
    host.provider_head(
        exchange,
        &[(":status", b"200"), ("content-type", b"text/event-stream"), ("content-encoding", b"br")],
        false,
    );
    host.provider_sends(exchange, b"secret");
    let client = host.client(exchange);
    assert_eq!((client.status, client.ended), (502, true));
    assert!(!client.text().contains("secret"));
    assert!(host.upstream(exchange).cancelled);
}

#[test]
fn an_error_of_the_providers_passes_as_it_is() {
    let mut host = Host::new(&judged().to_string()).start();
    let exchange = host.request(CHAT, ASK_FOR_STREAM);
    host.provider_head(exchange, &[(":status", b"429"), ("content-type", b"application/json"), ("content-length", b"2")], false);
    host.provider_sends(exchange, "{}");
    host.provider_ends(exchange);
    assert_eq!((host.client(exchange).status, host.client(exchange).text().as_str()), (429, "{}"));
    assert_eq!(host.client(exchange).header("content-length"), Some("2"));
}

#[test]
fn an_answer_that_comes_before_the_request_has_left_does_not_pass_by_the_policies() {
    let mut host = Host::new(&judged().to_string()).start();
    let head: [(&str, &[u8]); 3] = [(":method", b"POST"), (":path", CHAT.as_bytes()), ("content-type", b"application/json")];
    let early = host.request_head(&head, false);
    host.provider_answers(early, 200, "text/event-stream");
    host.provider_sends(early, tool_call(0, "rm", r#"{"path":"/secret"}"#));
    assert_eq!((host.client(early).status, host.client(early).ended), (502, true));
    assert!(!host.client(early).text().contains("secret"));
    let refused = host.request_head(&head, false);
    host.provider_head(refused, &[(":status", b"401"), ("content-type", b"application/json"), ("content-length", b"2")], false);
    host.provider_sends(refused, "{}");
    host.provider_ends(refused);
    assert_eq!((host.client(refused).status, host.client(refused).text().as_str()), (401, "{}"));
}

/// Of the gibibyte that a worker's memory can have.
const MOST_MEMORY: usize = 900 << 20;

#[test]
fn many_streams_that_each_hold_little_are_bounded_by_what_is_allocated() {
    let mut host = Host::new(&judged().to_string()).start();
    let mut open = Vec::new();
    let piece = "{".to_owned() + &" ".repeat(62_000);
    let mut refused = 0;
    for _ in 0..9_000 {
        let exchange = host.request(CHAT, ASK_FOR_WHOLE);
        if host.client(exchange).status == 503 {
            refused += 1;
            continue;
        }
        host.provider_answers(exchange, 200, "application/json");
        host.provider_sends(exchange, &piece);
        open.push(exchange);
    }
    assert!(refused > 0 && open.len() > 1000, "{refused} refused of {}", open.len());
    assert!(host.memory_bytes() < MOST_MEMORY, "{}", host.memory_bytes());
    assert!(host.metric("weir.errors.worker_memory") >= refused);
    let logged = host.logs().iter().filter(|line| line.contains("memory")).count();
    assert_eq!(logged, 1, "one line of a kind, however many exchanges");
    for exchange in open.drain(..) {
        host.client_leaves(exchange);
    }
    let (host, exchange) = streaming_in(host);
    assert_eq!(host.client(exchange).status, 200, "there is room again");
}

#[test]
fn responses_that_do_not_end_cannot_take_up_all_memory_of_a_worker() {
    let mut host = Host::new(&reading().to_string()).start();
    let whole = |host: &mut Host| {
        let exchange = host.request(CHAT, ASK_FOR_WHOLE);
        host.provider_answers(exchange, 200, "application/json");
        exchange
    };
    let piece = vec![b' '; 1_000_000];
    for _ in 0..30 {
        let exchange = whole(&mut host);
        host.provider_sends(exchange, "{");
        for _ in 0..9 {
            host.provider_sends(exchange, &piece);
        }
    }
    assert!(host.metric("weir.errors.worker_memory") > 0, "{:?}", host.logs());
    let exchange = whole(&mut host);
    host.provider_sends(exchange, whole_tool_call("ls", "{}"));
    host.provider_ends(exchange);
    let answer: serde_json::Value = serde_json::from_str(&host.client(exchange).text()).unwrap();
    assert_eq!(answer["choices"][0]["message"]["tool_calls"][0]["function"]["name"], "ls", "a short answer passes");
}

#[test]
fn an_encoded_response_leaves_decoded_with_a_head_that_says_so() {
    let body = format!("{}{}{DONE}", text("Hello"), finish("stop"));
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body.as_bytes()).unwrap();
    let encoded = encoder.finish().unwrap();
    let mut host = Host::new(&judged().to_string()).start();
    let exchange = host.request(CHAT, ASK_FOR_STREAM);
    let length = encoded.len().to_string();
    host.provider_head(
        exchange,
        &[
            (":status", b"200"),
            ("content-type", b"text/event-stream"),
            ("content-encoding", b"gzip"),
            ("content-length", length.as_bytes()),
        ],
        false,
    );
    for chunk in encoded.chunks(20) {
        host.provider_sends(exchange, chunk);
    }
    host.provider_ends(exchange);
    let client = host.client(exchange);
    assert_eq!((client.text(), client.ended), (body, true));
    assert_eq!((client.header("content-encoding"), client.header("content-length")), (None, None));
}
