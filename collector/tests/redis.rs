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
use support::{Live, NEVER, Redis, batch, get, ids, post};
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
    for path in ["/healthz", "/v1/events", "/v1/senders", "/v1/activity/stream"] {
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
    let mut found = Vec::new();
    let mut path = "/v1/events?limit=1000".to_owned();
    loop {
        let page = get(app, &path).await.json();
        let events = page["events"].as_array().expect("a list");
        found.extend(events.iter().map(|stored| stored["sequence"].as_u64().expect("a number")));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/v1/events?limit=1000&before={next}");
    }
    found.reverse();
    found
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
async fn an_entry_that_no_collector_wrote_is_skipped() {
    let Some(redis) = Redis::start() else { return };
    let app = redis.app();
    post(&app, &batch("vm-1", 0, 1)).await;
    let mut connection = redis::Client::open(redis.url()).and_then(|client| client.get_connection()).expect("a connection");
    for fields in [&["something", "else"][..], &["sender", "x", "sequence", "0", "event", "not JSON"]] {
        let _: String = redis::cmd("XADD").arg("{test}:events").arg("*").arg(fields).query(&mut connection).expect("an id");
    }
    post(&app, &batch("vm-1", 1, 1)).await;
    assert_eq!(ids(&get(&app, "/v1/events").await.json()["events"]), ["vm-1-1", "vm-1-0"]);
    let mut live = Live::open(&app, "?after=0-0", None).await;
    assert_eq!(live.next().await.expect("a message").event_id(), "vm-1-0");
    assert_eq!(live.next().await.expect("a message").event_id(), "vm-1-1");
}
