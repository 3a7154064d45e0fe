//! The collector on a real Redis: shared, lost, killed and back.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may panic"
)]

mod support;

use std::time::Duration;

use axum::http::{StatusCode, header};
use serde_json::json;
use support::{Live, NEVER, Redis, batch, get, history, ids, post};
use tokio::sync::Notify;

/// Sends a batch until it is acknowledged, as a sender does.
async fn post_until_accepted(app: &axum::Router, batch: &serde_json::Value) -> serde_json::Value {
    let attempts = async {
        loop {
            let answer = post(app, batch).await;
            if answer.status == StatusCode::ACCEPTED {
                return answer.json();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(NEVER, attempts).await.expect("the batch is accepted in the end")
}

#[tokio::test]
async fn collectors_beside_each_other_show_everything_and_accept_an_event_once() {
    let Some(redis) = Redis::start() else { return };
    let (one, other) = (redis.app(), redis.app());
    let mut live = Live::open(&one, "", None).await;
    post(&other, &batch("vm-1", 0, 2)).await;
    assert_eq!(live.next().await.expect("a message").event_id(), "vm-1-0");
    assert_eq!(live.next().await.expect("a message").event_id(), "vm-1-1");
    assert_eq!(post(&one, &batch("vm-1", 0, 3)).await.json(), json!({"accepted": 1, "duplicates": 2}));
    assert_eq!(ids(&get(&other, "/v1/events").await.json()["events"]), ["vm-1-2", "vm-1-1", "vm-1-0"]);
    assert_eq!(post(&other, &batch("vm-1", 5, 1)).await.status, StatusCode::ACCEPTED);
    assert_eq!(get(&one, "/v1/senders").await.json()["senders"][0]["missing"], 2, "a gap across collectors");
}

#[tokio::test]
async fn while_redis_is_away_nothing_is_acknowledged_and_the_collector_finds_it_again() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let app = redis.app();
    assert_eq!(post(&app, &batch("vm-1", 0, 1)).await.status, StatusCode::ACCEPTED);
    redis.kill();

    let refused = post(&app, &batch("vm-1", 1, 1)).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers[header::RETRY_AFTER], "1");
    for path in ["/readyz", "/healthz", "/v1/events", "/v1/senders", "/v1/activity/stream"] {
        assert_eq!(get(&app, path).await.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
    let metrics = get(&app, "/metrics").await.text;
    assert!(metrics.contains(r#"store_errors_total{operation="append"} 1"#), "{metrics}");

    redis.restart();
    post_until_accepted(&app, &batch("vm-1", 1, 1)).await;
    assert_eq!(get(&app, "/healthz").await.status, StatusCode::OK);
    assert_eq!(ids(&get(&app, "/v1/events").await.json()["events"]), ["vm-1-1", "vm-1-0"]);
}

/// The sequence numbers of the whole history, oldest first.
async fn sequences(app: &axum::Router) -> Vec<u64> {
    let events = history(app).await;
    events.iter().rev().map(|stored| stored["sequence"].as_u64().expect("a number")).collect()
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_redis_was_killed_at_any_time() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let app = redis.app();
    let mut next = 0;
    for round in 0..3 {
        let before = next;
        let acknowledged = Notify::new();
        // Batches are under way when Redis dies.
        let sending = async {
            while post(&app, &batch("vm-1", next, 5)).await.status == StatusCode::ACCEPTED {
                next += 5;
                acknowledged.notify_one();
            }
        };
        let killing = async {
            acknowledged.notified().await;
            tokio::time::sleep(Duration::from_millis(7 * round)).await;
            redis.kill();
        };
        tokio::join!(sending, killing);
        assert!(next > before, "something was acknowledged");
        redis.restart();
        // The batch that got no answer may or may not be stored: sent again, it is there once.
        post_until_accepted(&app, &batch("vm-1", next, 5)).await;
        next += 5;
        assert_eq!(sequences(&app).await, (0..next).collect::<Vec<_>>(), "nothing is lost, nothing is there twice");
    }
}

#[tokio::test]
async fn a_batch_whose_answer_is_lost_is_kept_once_when_it_is_sent_again() {
    let Some(redis) = Redis::start() else { return };
    let app = redis.app();
    post(&app, &batch("vm-1", 0, 1)).await;
    redis.hang();
    assert_eq!(post(&app, &batch("vm-1", 1, 3)).await.status, StatusCode::SERVICE_UNAVAILABLE);
    redis.go_on();
    // Redis now does what it was asked before, though nobody waits for it any more.
    post_until_accepted(&app, &batch("vm-1", 1, 3)).await;
    assert_eq!(sequences(&app).await, [0, 1, 2, 3]);
}

#[tokio::test]
async fn a_live_stream_says_that_the_store_is_away_and_goes_on_without_a_gap() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let app = redis.app();
    let mut live = Live::open(&app, "", None).await;
    post(&app, &batch("vm-1", 0, 1)).await;
    assert_eq!(live.next().await.expect("a message").event_id(), "vm-1-0");

    redis.kill();
    let message = live.next().await.expect("a message");
    assert_eq!((message.event.as_str(), message.json()), ("store", json!({"reachable": false})));

    redis.restart();
    let message = live.next().await.expect("a message");
    assert_eq!((message.event.as_str(), message.json()), ("store", json!({"reachable": true})), "also when nothing new arrives");
    post_until_accepted(&app, &batch("vm-1", 1, 2)).await;
    for id in ["vm-1-1", "vm-1-2"] {
        assert_eq!(live.next().await.expect("a message").event_id(), id);
    }
}

#[tokio::test]
async fn fault_16_what_no_collector_wrote_is_skipped_and_ends_no_page() {
    let Some(redis) = Redis::start() else { return };
    let app = redis.app();
    post(&app, &batch("vm-1", 0, 1)).await;
    for _ in 0..50 {
        let _: String = redis.command(&["XADD", "{test:0}:events", "*", "something", "else"]);
        let _: String = redis.command(&["XADD", "{test:0}:events", "*", "s", "x", "q", "0", "n", "1", "t", "1", "b", "not JSON"]);
    }
    post(&app, &batch("vm-1", 1, 1)).await;
    assert_eq!(ids(&get(&app, "/v1/events?limit=2").await.json()["events"]), ["vm-1-1", "vm-1-0"]);
    let first = get(&app, "/v1/events?limit=1").await.json();
    let next = first["next"].as_str().expect("a page follows");
    assert_eq!(ids(&get(&app, &format!("/v1/events?limit=1&before={next}")).await.json()["events"]), ["vm-1-0"]);
    assert_eq!(sequences(&app).await, [0, 1]);
}

#[tokio::test]
async fn fault_4_a_collector_is_not_ready_while_appends_fail_whatever_answers() {
    let Some(redis) = Redis::start() else { return };
    let app = redis.app();
    assert_eq!(post(&app, &batch("vm-1", 0, 1)).await.status, StatusCode::ACCEPTED);
    assert_eq!(get(&app, "/readyz").await.status, StatusCode::OK);
    let set = |name: &str, value: &str| redis.command::<String>(&["CONFIG", "SET", name, value]);
    let mut next = 1;
    for (reason, break_it, mend_it) in [
        ("OOM", ("maxmemory", "1"), ("maxmemory", "0")),
        ("NOREPLICAS", ("min-replicas-to-write", "1"), ("min-replicas-to-write", "0")),
    ] {
        set(break_it.0, break_it.1);
        assert_eq!(post(&app, &batch("vm-1", next, 1)).await.status, StatusCode::SERVICE_UNAVAILABLE, "{reason}");
        let ready = get(&app, "/readyz").await;
        assert_eq!((ready.status, ready.json()["error"]["reason"].as_str()), (StatusCode::SERVICE_UNAVAILABLE, Some(reason)));
        assert_eq!(get(&app, "/livez").await.status, StatusCode::OK, "the process itself is well");
        // Also when nobody has sent anything for a while.
        tokio::time::sleep(Duration::from_millis(2_100)).await;
        assert_eq!(get(&app, "/readyz").await.json()["error"]["reason"], reason);
        set(mend_it.0, mend_it.1);
        assert_eq!(post(&app, &batch("vm-1", next, 1)).await.status, StatusCode::ACCEPTED, "{reason}");
        assert_eq!(get(&app, "/readyz").await.status, StatusCode::OK);
        next += 1;
    }
    // A master that became a replica of something takes no writes.
    let _: String = redis.command(&["REPLICAOF", "127.0.0.1", "1"]);
    assert_eq!(post(&app, &batch("vm-1", next, 1)).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get(&app, "/readyz").await.json()["error"]["reason"], "READONLY");
    let _: String = redis.command(&["REPLICAOF", "NO", "ONE"]);
    post_until_accepted(&app, &batch("vm-1", next, 1)).await;
    assert_eq!(sequences(&app).await, [0, 1, 2, 3]);
}

#[tokio::test]
async fn an_event_is_acknowledged_when_as_many_replicas_have_it_as_were_asked_for() {
    let (Some(master), Some(replica)) = (Redis::start(), Redis::start()) else { return };
    let options = weir_collector::RedisOptions { replicas: 1, ..master.options() };
    let store = weir_collector::RedisStore::new(&options, weir_collector::Limits::default()).expect("a store");
    let store = weir_collector::Store::Redis(std::sync::Arc::new(store));
    let app = weir_collector::app(weir_collector::Collector::new(store, weir_collector::Access::Open));
    assert_eq!(post(&app, &batch("vm-1", 0, 1)).await.status, StatusCode::SERVICE_UNAVAILABLE, "no replica has it");
    let port = master.url().trim_end_matches('/').rsplit(':').next().expect("a port").to_owned();
    let _: String = replica.command(&["REPLICAOF", "127.0.0.1", &port]);
    post_until_accepted(&app, &batch("vm-1", 0, 1)).await;
    let copied: u64 = replica.command(&["XLEN", "{test:0}:events"]);
    assert_eq!(copied, 1);
}

#[tokio::test]
async fn what_is_acknowledged_by_three_collectors_that_are_killed_with_redis_is_there_once() {
    let Some(mut redis) = Redis::start() else { return };
    let mut sent = 0;
    let mut acknowledged = Vec::new();
    for round in 0_u64..6 {
        // Each round has collectors of its own: those before are gone with whatever they were doing.
        let apps = [redis.app(), redis.app(), redis.app()];
        let sending = async {
            loop {
                for app in &apps {
                    let (first, one) = (sent, batch("vm-1", sent, 3));
                    if post(app, &one).await.status != StatusCode::ACCEPTED {
                        return;
                    }
                    // A repetition at another collector changes nothing.
                    if post(&apps[2], &one).await.status != StatusCode::ACCEPTED {
                        return;
                    }
                    acknowledged.extend(first..first + 3);
                    sent += 3;
                }
            }
        };
        let killing = async {
            tokio::time::sleep(Duration::from_millis(40 + 13 * round)).await;
            redis.kill();
        };
        tokio::join!(sending, killing);
        redis.restart();
        post_until_accepted(&redis.app(), &batch("vm-1", sent, 3)).await;
        acknowledged.extend(sent..sent + 3);
        sent += 3;
    }
    let app = redis.app();
    assert_eq!(sequences(&app).await, acknowledged, "acknowledged events are there once");
    let sender = &get(&app, "/v1/senders").await.json()["senders"][0];
    assert_eq!((&sender["missing"], &sender["conflicts"]), (&json!(0), &json!(0)), "gaps are exact");
}
