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
    ASK_FOR_STREAM, ASK_FOR_WHOLE, CHAT, DONE, ask_for_whole, finish, judged, reading, streaming, streaming_in, text, tool_call,
    verdict, whole_tool_call, with,
};

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
