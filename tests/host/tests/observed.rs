//! Exchanges that are observed only: whatever becomes of their streams and of the configuration, what was seen is told.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a panic fails the test, as it should"
)]

use serde_json::{Value, json};
use weir_host_tests::Host;
use weir_host_tests::scene::{DONE, finish, judged, streaming, tool_call, verdict, with};

const CALL: &str = r#"{"path":"/"}"#;

/// A document in the shadow, whose judge may take so long.
fn shadow(timeout: &str) -> String {
    let mut document = judged();
    document["rollout"] = json!({"mode": "shadow"});
    document["judges"]["main"]["timeout"] = json!(timeout);
    with(document, "events", json!({"cluster": "collector"}))
}

/// An exchange with a call, which has passed and is over.
fn played(document: &str) -> Host {
    let (mut host, exchange) = streaming(document);
    let answer = [tool_call(0, "ls", CALL), finish("tool_calls"), DONE.to_owned()].concat();
    host.provider_sends(exchange, &answer);
    host.provider_ends(exchange);
    assert_eq!(host.client(exchange).text(), answer, "nothing waits");
    assert!(host.is_over(exchange));
    host
}

/// The enforcement events that were sent.
fn told(host: &mut Host) -> Vec<Value> {
    let mut events = Vec::new();
    while let Some(callout) = host.callout("collector") {
        let batch: Value = serde_json::from_slice(&callout.body).unwrap();
        events.extend(batch["events"].as_array().unwrap().iter().filter(|event| event["event_type"] == "enforcement").cloned());
        host.answer(&callout, 202, "{}");
    }
    events
}

#[test]
fn a_judge_is_asked_with_the_tick_and_has_all_its_time_from_then_on() {
    let mut host = played(&shadow("100ms"));
    host.pass(200);
    let question = host.callout("judge").expect("the root asks");
    host.answer(&question, 200, verdict(0.9));
    // One batch is under way at a time.
    let events = [(); 3].map(|()| {
        host.pass(200);
        told(&mut host)
    });
    let events = events.concat();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!((&events[0]["metadata"]["decision"], &events[0]["metadata"]["enforced"]), (&json!("refuse"), &json!(false)));
}

#[test]
fn what_awaits_a_verdict_is_told_before_the_root_goes() {
    let mut host = played(&shadow("5s"));
    host.pass(200);
    assert!(host.callout("judge").is_some());
    while host.callout("collector").is_some_and(|batch| {
        host.answer(&batch, 202, "{}");
        true
    }) {}
    assert!(!host.finish_root());
    let events = told(&mut host);
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["metadata"]["rollout_mode"], "shadow");
    assert!(host.root_is_done());
}

#[test]
fn an_exchange_that_ends_before_the_first_tick_is_told_before_the_root_goes() {
    let mut host = played(&shadow("5s"));
    assert!(!host.finish_root());
    assert_eq!(told(&mut host).len(), 1);
}
