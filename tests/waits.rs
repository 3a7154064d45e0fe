//! A hook may wait for a service of its policy's own, as it may wait for a judge.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic fails the test, as it should")]

use core::time::Duration;
use std::sync::Arc;

use weir::callout::CalloutRequest;
use weir::chain::Chain;
use weir::exchange::{Callout, CalloutReply, Effect, Exchange, Observation, Request, RequestHead, RequestProgress, Resumed};
use weir::id::CallId;
use weir::policy::{Policy, PolicyContext, Refusal, RequestAction, SharedPolicy};
use weir::time::Timestamp;

/// Lets a request pass if a directory service says 200.
#[derive(Debug)]
struct AskDirectory;

impl Policy for AskDirectory {
    async fn on_request(&self, _: &Request, cx: &PolicyContext) -> RequestAction {
        let request = CalloutRequest {
            cluster: "directory",
            authority: "",
            path: "/v1/may",
            authorization: Some("Bearer directory-key"),
            body: br#"{"user":"mia"}"#,
            timeout: Duration::from_secs(2),
        };
        match cx.callout(&request).await {
            Ok(response) if response.status == 200 => RequestAction::SendRequest,
            Ok(response) => RequestAction::Refuse(Refusal::new(403, String::from_utf8(response.body).unwrap())),
            Err(error) => RequestAction::Refuse(Refusal::new(503, error.to_string())),
        }
    }
}

fn ask() -> (Exchange, Callout, Timestamp) {
    let now = Timestamp::from_unix(Duration::from_secs(1));
    let chain = Chain::new(vec![SharedPolicy::new("AskDirectory", AskDirectory)]);
    let mut exchange = Exchange::new(Arc::new(chain), CallId::from_bytes([1; 16]), now);
    let head = RequestHead { method: b"POST", path: b"/v1/chat/completions", ..RequestHead::default() };
    assert_eq!(exchange.handle_request_head(&head, false, now), RequestProgress::Hold);
    let body = br#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
    assert_eq!(exchange.handle_request_body(body, true, now), RequestProgress::Hold);
    let callout = core::iter::from_fn(|| exchange.poll_effect())
        .find_map(|effect| if let Effect::Callout(callout) = effect { Some(callout) } else { None })
        .expect("the service is asked");
    (exchange, callout, now)
}

fn reply(reply: CalloutReply<'_>) -> Resumed {
    let (mut exchange, callout, now) = ask();
    let resumed = exchange.handle_callout_reply(callout.id, reply, now.after(Duration::from_millis(30)), &mut Vec::new());
    let latency = Observation::CalloutLatency(Duration::from_millis(30));
    assert_eq!(exchange.poll_effect(), Some(Effect::Observe(latency)));
    resumed
}

#[track_caller]
fn assert_refused(resumed: &Resumed, status: u16, message: &str) {
    let Resumed::Request(RequestProgress::Answer(reply)) = resumed else { panic!("{resumed:?}") };
    assert_eq!(reply.status, status);
    assert!(String::from_utf8_lossy(&reply.body).contains(message), "{reply:?}");
}

#[test]
fn the_request_goes_on_as_the_service_says() {
    let (_, callout, _) = ask();
    assert_eq!(callout.cluster, "directory");
    assert_eq!(callout.authority, "directory");
    assert_eq!(callout.authorization.as_deref(), Some("Bearer directory-key"));
    assert_eq!(callout.timeout, Duration::from_secs(2));
    assert_eq!(reply(CalloutReply::Response { status: 200, body: b"{}" }), Resumed::Request(RequestProgress::Send));
    assert_refused(&reply(CalloutReply::Response { status: 404, body: b"mia is unknown" }), 403, "mia is unknown");
}

#[test]
fn each_way_in_which_a_callout_fails_is_told() {
    assert_refused(&reply(CalloutReply::NotSent), 503, "could not be sent");
    assert_refused(&reply(CalloutReply::Broken), 503, "could not be reached");
    let long = vec![b' '; weir::callout::MAX_REPLY_BYTES + 1];
    assert_refused(&reply(CalloutReply::Response { status: 200, body: &long }), 503, "longer than 65536 bytes");
    let (mut exchange, _, now) = ask();
    let late = now.after(Duration::from_secs(2));
    assert_eq!(exchange.next_deadline(), Some(late));
    assert_refused(&exchange.handle_tick(late, &mut Vec::new()), 503, "in time");
}
