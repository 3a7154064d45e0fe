//! A policy that keeps its questions alive gets more time for them, and not without end.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic fails the test, as it should")]

use core::time::Duration;
use std::sync::Arc;

use weir::block::{ContentBlock, ToolCallBlock};
use weir::chain::Chain;
use weir::exchange::{Effect, Exchange, RequestHead, ResponseHead, ResponseProgress, Resumed};
use weir::id::CallId;
use weir::judge::{Judge, JudgeQuestion};
use weir::policy::{BlockAction, DeltaAction, Policy, SharedPolicy, StreamAction, StreamingContext};
use weir::time::Timestamp;

const TIMEOUT: Duration = Duration::from_secs(1);

/// Asks about every call, and keeps the question alive as long as text comes.
#[derive(Debug)]
struct Patient;

impl Policy for Patient {
    async fn on_stream_start(&self, cx: &StreamingContext) -> StreamAction {
        cx.keepalive();
        StreamAction::SendStreamingResponse
    }

    fn on_content_delta<'d>(&self, _: &'d str, _: &ContentBlock, cx: &StreamingContext) -> DeltaAction<'d> {
        cx.keepalive();
        DeltaAction::Forward
    }

    fn on_tool_call_delta<'d>(&self, _: &'d str, _: &ToolCallBlock, _: &StreamingContext) -> DeltaAction<'d> {
        DeltaAction::Hold
    }

    async fn on_tool_call_complete(&self, call: &ToolCallBlock, cx: &StreamingContext) -> BlockAction {
        let question = JudgeQuestion { judge: "main", instructions: "", matter: call.arguments() };
        if cx.judge(question).await.is_ok() { BlockAction::Forward } else { BlockAction::Drop }
    }
}

fn chunk(delta: &str) -> Vec<u8> {
    format!("data: {{\"id\":\"c\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":null}}]}}\n\n").into_bytes()
}

fn after(tenths: u64) -> Timestamp {
    Timestamp::from_unix(Duration::from_millis(tenths.checked_mul(100).unwrap()))
}

fn with_an_open_question() -> Exchange {
    let mut chain = Chain::new(vec![SharedPolicy::new("Patient", Patient)]);
    let judge = Judge {
        name: "main".to_owned(),
        cluster: "judge".to_owned(),
        authority: "judge".to_owned(),
        path: "/".to_owned(),
        model: "m".to_owned(),
        timeout: TIMEOUT,
        credential: None,
    };
    chain.judges.insert("main".to_owned(), judge);
    let mut exchange = Exchange::new(Arc::new(chain), CallId::from_bytes([1; 16]), after(0));
    let head = RequestHead { method: b"POST", path: b"/v1/chat/completions", ..RequestHead::default() };
    let _ = exchange.handle_request_head(&head, false, after(0));
    let _ = exchange.handle_request_body(br#"{"model":"m","stream":true,"messages":[]}"#, true, after(0));
    let head = ResponseHead { status: 200, content_type: b"text/event-stream", ..ResponseHead::default() };
    let _ = exchange.handle_response_head(&head, false, after(0));
    let call = r#"{"tool_calls":[{"index":0,"id":"t","type":"function","function":{"name":"go","arguments":"{}"}}]}"#;
    let progress = exchange.handle_response_body(&chunk(call), false, after(0), &mut Vec::new());
    assert_eq!(progress, ResponseProgress::Waiting);
    exchange
}

fn text_at(exchange: &mut Exchange, tenths: u64) {
    let _ = exchange.handle_response_body(&chunk(r#"{"content":"a"}"#), false, after(tenths), &mut Vec::new());
}

#[test]
fn a_question_that_is_kept_alive_outlives_its_timeout_and_the_proxy_waits_for_it() {
    let mut exchange = with_an_open_question();
    let callout = core::iter::from_fn(|| exchange.poll_effect()).find_map(|effect| match effect {
        Effect::Callout(callout) => Some(callout),
        _ => None,
    });
    assert_eq!(callout.unwrap().timeout, TIMEOUT * 4);
    text_at(&mut exchange, 8);
    assert_eq!(exchange.handle_tick(after(12), &mut Vec::new()), Resumed::Nothing);
    assert!(matches!(exchange.handle_tick(after(18), &mut Vec::new()), Resumed::Response(_)), "a second without a sign of life");
}

#[test]
fn no_question_is_kept_alive_beyond_four_timeouts() {
    let mut exchange = with_an_open_question();
    (1..50).step_by(5).for_each(|tenths| text_at(&mut exchange, tenths));
    assert!(matches!(exchange.handle_tick(after(40), &mut Vec::new()), Resumed::Response(_)));
}
