//! What senders and readers get over HTTP.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may panic"
)]

mod support;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::json;
use support::{Live, TOKEN, batch, event, get, ids, memory_store, open_app, post, post_text, send};
use weir_collector::{Access, Collector, Limits, MAX_BODY_BYTES, app};

#[tokio::test]
async fn a_batch_is_acknowledged_and_then_in_the_history_newest_first() {
    let app = open_app();
    let answer = post(&app, &batch("vm-1", 0, 3)).await;
    assert_eq!((answer.status, answer.json()), (StatusCode::ACCEPTED, json!({"accepted": 3, "duplicates": 0})));

    let page = get(&app, "/v1/events").await.json();
    assert_eq!(ids(&page["events"]), ["vm-1-2", "vm-1-1", "vm-1-0"]);
    assert_eq!(page["next"], json!(null));
    assert_eq!(page["events"][0]["sender"], "vm-1");
    assert_eq!(page["events"][0]["sequence"], 2);
}

#[tokio::test]
async fn a_batch_that_is_sent_again_is_acknowledged_and_not_kept_twice() {
    let app = open_app();
    post(&app, &batch("vm-1", 0, 2)).await;
    let answer = post(&app, &batch("vm-1", 0, 3)).await;
    assert_eq!((answer.status, answer.json()), (StatusCode::ACCEPTED, json!({"accepted": 1, "duplicates": 2})));
    assert_eq!(ids(&get(&app, "/v1/events").await.json()["events"]).len(), 3);
}

#[tokio::test]
async fn a_malformed_batch_is_refused_whole_with_the_path_of_the_wrong_field() {
    let app = open_app();
    let mut wrong = batch("vm-1", 0, 3);
    wrong["events"][2]["severity"] = "fatal".into();
    let answer = post(&app, &wrong).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        answer.json()["error"],
        json!({"path": "events[2].severity",
               "message": "unknown variant `fatal`, expected one of `debug`, `info`, `warning`, `error`"})
    );
    assert_eq!(get(&app, "/v1/events").await.json()["events"], json!([]));
    assert_eq!(post_text(&app, "{".to_owned()).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn only_json_is_taken_because_another_sites_page_can_post_anything_else_unasked() {
    let request = Request::post("/v1/events").header(header::CONTENT_TYPE, "text/plain");
    let answer = send(&open_app(), request.body(Body::from(batch("vm-1", 0, 1).to_string())).expect("a request")).await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let app = open_app();
    let answer = post_text(&app, " ".repeat(MAX_BODY_BYTES + 1)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(answer.json()["error"]["message"].as_str().expect("a message").contains("4194304 bytes"));
}

#[tokio::test]
async fn the_history_is_read_page_by_page() {
    let app = open_app();
    post(&app, &batch("vm-1", 0, 5)).await;
    let first = get(&app, "/v1/events?limit=3").await.json();
    assert_eq!(ids(&first["events"]), ["vm-1-4", "vm-1-3", "vm-1-2"]);
    post(&app, &batch("vm-1", 5, 1)).await;
    let next = first["next"].as_str().expect("there is more");
    let second = get(&app, &format!("/v1/events?limit=3&before={next}")).await.json();
    assert_eq!(ids(&second["events"]), ["vm-1-1", "vm-1-0"], "new events do not shift the pages");
    assert_eq!(second["next"], json!(null));
}

#[tokio::test]
async fn wrong_queries_are_named() {
    let app = open_app();
    for (path, message) in [
        ("/v1/events?before=yesterday", "before: not a position"),
        ("/v1/events?limit=0", "limit: 0 is not between 1 and 1000"),
        ("/v1/events?limit=ten", "limit: invalid digit"),
        ("/v1/activity/stream?after=x", "after: not a position"),
    ] {
        let answer = get(&app, path).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        let found = answer.json()["error"]["message"].as_str().expect("a message").to_owned();
        assert!(found.contains(message), "{found:?} should say {message:?}");
    }
}

#[tokio::test]
async fn a_live_stream_brings_what_arrives_after_it_was_opened() {
    let app = open_app();
    post(&app, &batch("vm-1", 0, 2)).await;
    let mut live = Live::open(&app, "", None).await;
    post(&app, &batch("vm-1", 2, 2)).await;
    let message = live.next().await.expect("a message");
    assert_eq!(message.event_id(), "vm-1-2");
    assert_eq!(message.id, message.json()["position"]);
    assert_eq!(live.next().await.expect("a message").event_id(), "vm-1-3");
}

#[tokio::test]
async fn a_live_stream_goes_on_where_the_history_or_an_earlier_stream_ended() {
    let app = open_app();
    post(&app, &batch("vm-1", 0, 3)).await;
    let oldest_two = get(&app, "/v1/events").await.json()["events"][1]["position"].as_str().expect("a position").to_owned();
    let mut live = Live::open(&app, &format!("?after={oldest_two}"), None).await;
    let message = live.next().await.expect("a message");
    assert_eq!(message.event_id(), "vm-1-2");
    drop(live);

    post(&app, &batch("vm-1", 3, 1)).await;
    // A browser repeats the address of its first connection and adds what it saw last.
    let mut again = Live::open(&app, &format!("?after={oldest_two}"), Some(&message.id)).await;
    assert_eq!(again.next().await.expect("a message").event_id(), "vm-1-3");
}

#[tokio::test]
async fn every_reader_sees_every_event_and_is_counted_while_it_reads() {
    let app = open_app();
    let mut readers = [Live::open(&app, "", None).await, Live::open(&app, "", None).await];
    assert!(get(&app, "/metrics").await.text.contains("weir_collector_stream_subscribers 2\n"));
    post(&app, &batch("vm-1", 0, 1)).await;
    for reader in &mut readers {
        assert_eq!(reader.next().await.expect("a message").event_id(), "vm-1-0");
    }
    drop(readers);
    assert!(get(&app, "/metrics").await.text.contains("weir_collector_stream_subscribers 0\n"));
}

#[tokio::test]
async fn live_streams_end_when_the_collector_stops() {
    let collector = Collector::new(memory_store(Limits::default()), Access::Open);
    let app = app(collector.clone());
    let mut live = Live::open(&app, "", None).await;
    collector.stop();
    assert_eq!(live.next().await, None);
}

#[tokio::test]
async fn an_event_with_line_breaks_stays_one_message_with_the_same_content() {
    let app = open_app();
    let mut live = Live::open(&app, "", None).await;
    let mut sent = batch("vm-1", 0, 1);
    sent["events"][0]["summary"] = "one\r\ntwo\n\ndata: three\u{2028}".into();
    post_text(&app, serde_json::to_string_pretty(&sent).expect("JSON").replace('\n', "\r\n")).await;
    assert_eq!(live.next().await.expect("a message").json()["event"], sent["events"][0]);
}

#[tokio::test]
async fn gaps_drops_duplicates_and_rejections_are_counted() {
    let app = open_app();
    post(&app, &batch("vm-1", 0, 2)).await;
    let mut later = batch("vm-1", 1, 4);
    later["events"][1] = event("other");
    later["events"][1]["kind"] = "error".into();
    post(&app, &later).await;
    let mut gap = batch("vm-1", 9, 1);
    gap["dropped"] = 6.into();
    post(&app, &gap).await;
    post_text(&app, "{".to_owned()).await;

    let metrics = get(&app, "/metrics").await;
    assert_eq!(metrics.headers[header::CONTENT_TYPE], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    for line in [
        r#"weir_collector_events_total{kind="policy_action"} 5"#,
        r#"weir_collector_events_total{kind="error"} 1"#,
        "weir_collector_duplicates_total 1",
        "weir_collector_sequence_gaps_total 1",
        "weir_collector_missing_events_total 4",
        "weir_collector_sender_dropped_events_total 6",
        r#"weir_collector_rejected_batches_total{reason="malformed"} 1"#,
    ] {
        assert!(metrics.text.lines().any(|found| found == line), "{line} is not in\n{}", metrics.text);
    }
    let sender = &get(&app, "/v1/senders").await.json()["senders"][0];
    assert_eq!((&sender["missing"], &sender["dropped"], &sender["next_sequence"]), (&json!(4), &json!(6), &json!(10)));
}

#[tokio::test]
async fn unknown_paths_and_health_are_answered() {
    let app = open_app();
    assert_eq!(get(&app, "/healthz").await.json(), json!({"status": "ok"}));
    assert_eq!(get(&app, "/nothing").await.status, StatusCode::NOT_FOUND);
    assert_eq!(get(&app, "/").await.headers[header::LOCATION], "/ui/activity/live");
}

mod access {
    use super::*;

    fn guarded() -> axum::Router {
        let access = Access::Token(TOKEN.parse().expect("a token"));
        app(Collector::new(memory_store(Limits::default()), access))
    }

    async fn status(app: &axum::Router, request: axum::http::request::Builder) -> StatusCode {
        send(app, request.body(Body::empty()).expect("a request")).await.status
    }

    #[tokio::test]
    async fn nothing_but_health_is_shown_without_the_token() {
        let app = guarded();
        for path in [
            "/v1/events",
            "/v1/senders",
            "/v1/activity/stream",
            "/metrics",
            "/ui/activity/live",
            "/ui/activity/live?token=0123456789abcdeF",
        ] {
            assert_eq!(get(&app, path).await.status, StatusCode::UNAUTHORIZED, "{path}");
        }
        assert_eq!(post(&app, &batch("vm-1", 0, 1)).await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(get(&app, "/healthz").await.status, StatusCode::OK);
    }

    #[tokio::test]
    async fn the_token_opens_the_api() {
        let app = guarded();
        let bearer = |token: &str| Request::get("/v1/events").header(header::AUTHORIZATION, format!("Bearer {token}"));
        assert_eq!(status(&app, bearer(TOKEN)).await, StatusCode::OK);
        assert_eq!(status(&app, bearer("0123456789abcdef0")).await, StatusCode::UNAUTHORIZED);
    }

    #[tokio::test]
    async fn the_token_in_the_address_becomes_a_cookie_that_scripts_cannot_read() {
        let app = guarded();
        let entered = get(&app, &format!("/ui/activity/live?token={TOKEN}")).await;
        assert_eq!(entered.status, StatusCode::SEE_OTHER);
        assert_eq!(entered.headers[header::LOCATION], "/ui/activity/live");
        let cookie = entered.headers[header::SET_COOKIE].to_str().expect("text");
        assert!(cookie.contains("; HttpOnly") && cookie.contains("; SameSite=Lax"), "{cookie}");

        let shown = format!("theme=dark; {}", cookie.split(';').next().expect("the pair"));
        for path in ["/ui/activity/live", "/v1/events"] {
            assert_eq!(status(&app, Request::get(path).header(header::COOKIE, &shown)).await, StatusCode::OK);
        }
    }

    #[tokio::test]
    async fn the_cookie_reads_but_does_not_send() {
        let request = Request::post("/v1/events").header(header::COOKIE, format!("weir_token={TOKEN}"));
        assert_eq!(status(&guarded(), request).await, StatusCode::UNAUTHORIZED);
    }

    #[tokio::test]
    async fn the_token_in_the_address_does_not_open_the_api() {
        assert_eq!(get(&guarded(), &format!("/v1/events?token={TOKEN}")).await.status, StatusCode::UNAUTHORIZED);
    }

    #[tokio::test]
    async fn without_a_token_readers_must_ask_by_a_loopback_name() {
        let app = app(Collector::new(memory_store(Limits::default()), Access::Loopback));
        let host = |host: &str| Request::get("/v1/events").header(header::HOST, host);
        for name in ["localhost:10004", "127.0.0.1:10004", "[::1]:10004", "localhost"] {
            assert_eq!(status(&app, host(name)).await, StatusCode::OK, "{name}");
        }
        for name in ["example.com", "127.0.0.1.example.com:10004", "localhost.example.com"] {
            assert_eq!(status(&app, host(name)).await, StatusCode::FORBIDDEN, "{name}");
        }
        assert_eq!(post(&app, &batch("vm-1", 0, 1)).await.status, StatusCode::ACCEPTED, "senders name a cluster");
    }
}
