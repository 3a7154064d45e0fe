//! Events on their way to the collector.
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
use weir_host_tests::scene::{ASK_FOR_STREAM, CHAT, reading, with};
use weir_host_tests::{Callout, Host, SharedData};

fn reporting(sink: Value) -> Host {
    let mut whole = json!({"cluster": "collector", "token_env": "TOKEN"});
    whole.as_object_mut().unwrap().extend(sink.as_object().unwrap().clone());
    Host::new(&with(reading(), "events", whole)).environment("TOKEN", "hush").start()
}

/// An exchange: it is good for two events, that of the request and that of the decision.
fn exchange(host: &mut Host) {
    let exchange = host.request(CHAT, ASK_FOR_STREAM);
    host.provider_head(exchange, &[(":status", b"500")], true);
    assert!(host.client(exchange).ended);
}

fn batch(callout: &Callout) -> Value {
    serde_json::from_slice(&callout.body).expect("a batch is JSON")
}

fn ids(batch: &Value) -> Vec<String> {
    batch["events"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn events_leave_in_numbered_batches() {
    let mut host = reporting(json!({}));
    exchange(&mut host);
    assert!(host.callout("collector").is_none(), "an exchange sends nothing itself");
    host.pass(200);
    let first = host.callout("collector").unwrap();
    assert_eq!(first.header(":path"), Some("/v1/events"));
    assert_eq!(first.header("authorization"), Some("Bearer hush"));
    assert_eq!((batch(&first)["sequence"].as_u64(), ids(&batch(&first)).len()), (Some(0), 2));
    exchange(&mut host);
    host.pass(400);
    assert!(host.callout("collector").is_none(), "one batch is under way at a time");
    host.answer(&first, 202, "{}");
    host.pass(200);
    let second = host.callout("collector").unwrap();
    assert_eq!(batch(&second)["sequence"], 2);
    assert_eq!(batch(&second)["sender"], batch(&first)["sender"]);
    assert!(ids(&batch(&second)).iter().all(|id| !ids(&batch(&first)).contains(id)));
}

#[test]
fn a_batch_is_sent_again_until_it_is_taken() {
    let mut host = reporting(json!({}));
    exchange(&mut host);
    host.pass(200);
    let first = host.callout("collector").unwrap();
    host.break_off(&first);
    host.pass(1000);
    let second = host.callout("collector").expect("it is sent again");
    assert_eq!(second.body, first.body);
    host.answer(&second, 503, "");
    host.pass(100);
    assert!(host.callout("collector").is_none(), "not at once");
    host.pass(2000);
    let third = host.callout("collector").expect("and again");
    assert_eq!(ids(&batch(&third)), ids(&batch(&first)));
    host.answer(&third, 202, "{}");
    host.pass(60_000);
    assert!(host.callout("collector").is_none());
}

/// Answers batches as a collector that refuses this one event, until there are none; the ids that it took.
fn answer_all(host: &mut Host, refused: &str) -> Vec<String> {
    let mut taken = Vec::new();
    loop {
        host.pass(200);
        let Some(callout) = host.callout("collector") else { return taken };
        let ids = ids(&batch(&callout));
        if ids.iter().any(|id| id == refused) {
            host.answer(&callout, 400, r#"{"error":{"path":"events[0].summary","message":"is wrong"}}"#);
        } else {
            taken.extend(ids);
            host.answer(&callout, 202, "{}");
        }
    }
}

#[test]
fn of_a_batch_that_the_collector_refuses_only_the_event_at_fault_is_lost() {
    for position in 0..6 {
        let mut host = reporting(json!({}));
        for _ in 0..3 {
            exchange(&mut host);
        }
        host.pass(200);
        let first = host.callout("collector").unwrap();
        let mut sent = ids(&batch(&first));
        let refused = sent.remove(position);
        host.answer(&first, 422, "{}");
        assert_eq!(answer_all(&mut host, &refused), sent, "the others come, in their order");
        assert_eq!(host.metric("weir.events.dropped"), 1);
        let errors: Vec<_> = host.logs().into_iter().filter(|line| line.contains("refuses")).collect();
        assert!(matches!(errors.as_slice(), [error] if error.contains("events[0].summary")), "{errors:?}");
    }
}

#[test]
fn what_a_collector_refuses_does_not_hold_up_what_comes_later_and_is_logged_once() {
    let mut host = reporting(json!({"max_batch": 2}));
    for _ in 0..3 {
        exchange(&mut host);
        host.pass(200);
        while let Some(callout) = host.callout("collector") {
            host.answer(&callout, 413, "too large");
            host.pass(200);
        }
    }
    exchange(&mut host);
    host.pass(200);
    let taken = host.callout("collector").unwrap();
    assert_eq!((batch(&taken)["sequence"].as_u64(), batch(&taken)["dropped"].as_u64()), (Some(6), Some(6)));
    assert_eq!(host.metric("weir.events.dropped"), 6);
    assert_eq!(host.logs().iter().filter(|line| line.contains("refuses")).count(), 1, "{:?}", host.logs());
}

#[test]
fn the_oldest_events_are_dropped_and_counted_where_the_queue_is_full() {
    let mut host = reporting(json!({"queue": 3, "max_batch": 2}));
    for _ in 0..4 {
        exchange(&mut host);
    }
    assert_eq!(host.metric("weir.events.dropped"), 5);
    host.pass(200);
    let first = host.callout("collector").unwrap();
    assert_eq!((batch(&first)["sequence"].as_u64(), batch(&first)["dropped"].as_u64()), (Some(5), Some(5)));
    assert_eq!(ids(&batch(&first)).len(), 2);
}

#[test]
fn exchanges_go_on_without_a_collector() {
    let document = with(reading(), "events", json!({"cluster": "collector"}));
    let mut host = Host::new(&document).unreachable("collector").start();
    for _ in 0..3 {
        exchange(&mut host);
        host.pass(1000);
    }
    let warnings = host.logs().iter().filter(|line| line.contains("collector")).count();
    assert_eq!(warnings, 1, "{:?}", host.logs());
}

#[test]
fn what_is_left_is_sent_before_the_root_goes() {
    let mut host = reporting(json!({"max_batch": 2}));
    exchange(&mut host);
    exchange(&mut host);
    assert!(!host.finish_root(), "it waits for the collector");
    let first = host.callout("collector").unwrap();
    host.answer(&first, 202, "{}");
    assert!(!host.root_is_done());
    let second = host.callout("collector").expect("the rest");
    host.answer(&second, 202, "{}");
    assert!(host.root_is_done());
}

#[test]
fn what_a_collector_that_is_away_has_not_taken_is_handed_to_the_next_configuration() {
    let mut host = reporting(json!({"max_batch": 2}));
    for _ in 0..3 {
        exchange(&mut host);
    }
    host.pass(200);
    let first = host.callout("collector").unwrap();
    let sender = batch(&first)["sender"].clone();
    host.break_off(&first);
    let old = host.root();
    assert!(host.configure(&with(reading(), "events", json!({"cluster": "collector"}))));
    let new = host.root();
    host.select_root(old, false);
    assert!(!host.finish_root());
    let last_try = host.callout("collector").unwrap();
    host.answer(&last_try, 503, "");
    assert!(host.root_is_done(), "it does not wait for ever");
    host.select_root(new, false);
    exchange(&mut host);
    let (mut numbers, mut senders) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        host.pass(500);
        while let Some(callout) = host.callout("collector") {
            let sent = batch(&callout);
            if sent["sender"] == sender {
                numbers.extend((0..ids(&sent).len() as u64).map(|index| sent["sequence"].as_u64().unwrap() + index));
            }
            senders.push(sent["sender"].clone());
            host.answer(&callout, 202, "{}");
        }
    }
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5], "each once, with its sender's numbers");
    assert!(senders.iter().any(|other| *other != sender), "the new root's own come, too");
    assert_eq!(host.metric("weir.events.dropped"), 0);
}

#[test]
fn events_that_went_with_a_vm_are_counted_and_leave_a_gap() {
    let shared = SharedData::default();
    let document = with(reading(), "events", json!({"cluster": "collector"}));
    let mut gone = Host::new(&document).shared_data(&shared).start();
    exchange(&mut gone);
    gone.pass(200);
    let taken = gone.callout("collector").unwrap();
    let sender = batch(&taken)["sender"].clone();
    gone.answer(&taken, 202, "{}");
    exchange(&mut gone);
    exchange(&mut gone);
    drop(gone);
    let mut host = Host::new(&document).shared_data(&shared).start();
    host.pass(20_000);
    assert!(host.callout("collector").is_none(), "it may still live");
    host.pass(20_000);
    let told = batch(&host.callout("collector").expect("the collector is told"));
    assert_eq!((&told["sender"], told["sequence"].as_u64(), ids(&told).len()), (&sender, Some(6), 0));
    assert_eq!(host.metric("weir.events.dropped"), 4);
    host.pass(60_000);
    assert_eq!(host.metric("weir.events.dropped"), 4, "once");
}

#[test]
fn the_ids_of_events_cannot_be_told_from_what_a_client_sees() {
    let mut host = reporting(json!({}));
    exchange(&mut host);
    host.pass(200);
    let callout = host.callout("collector").unwrap();
    for event in batch(&callout)["events"].as_array().unwrap() {
        let (id, call_id) = (event["id"].as_str().unwrap(), event["call_id"].as_str().unwrap());
        assert!(!id.contains(call_id) && id.len() > 32, "{id}");
    }
}
