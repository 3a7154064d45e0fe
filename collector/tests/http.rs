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
use weir_collector::{Access, Collector, Limits, MAX_BODY_BYTES, Tokens, app};

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
async fn a_body_that_says_it_is_compressed_is_refused() {
    let request = Request::post("/v1/events").header(header::CONTENT_TYPE, "application/json");
    let request = request.header(header::CONTENT_ENCODING, "gzip").body(Body::from(batch("vm-1", 0, 1).to_string()));
    assert_eq!(send(&open_app(), request.expect("a request")).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
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
        ("/v1/events?q=toll:rm", "q: there is no field `toll`"),
        ("/v1/activity/stream?q=(a", "q: a `(` is not closed"),
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
    assert_eq!(live.next().await.expect("a message").event_id(), "vm-1-3");
}

#[tokio::test]
async fn a_live_stream_goes_on_where_the_history_or_an_earlier_stream_ended() {
    let app = open_app();
    post(&app, &batch("vm-1", 0, 3)).await;
    let cursor = get(&app, "/v1/events").await.json()["cursor"].as_str().expect("a cursor").to_owned();
    post(&app, &batch("vm-1", 3, 2)).await;
    let mut live = Live::open(&app, &format!("?after={cursor}"), None).await;
    assert_eq!(live.next().await.expect("a message").event_id(), "vm-1-3");
    assert_eq!(live.next().await.expect("a message").event_id(), "vm-1-4");
    let seen = live.cursor().await;
    drop(live);

    post(&app, &batch("vm-1", 5, 1)).await;
    // A browser repeats the address of its first connection and adds what it saw last.
    let mut again = Live::open(&app, &format!("?after={cursor}"), Some(&seen)).await;
    assert_eq!(again.next().await.expect("a message").event_id(), "vm-1-5");
}

#[tokio::test]
async fn a_query_chooses_in_the_history_live_and_in_what_is_new() {
    let app = open_app();
    let cursor = get(&app, "/v1/events").await.json()["cursor"].as_str().expect("a cursor").to_owned();
    let mut live = Live::open(&app, "?q=summary:*-3", None).await;
    post(&app, &batch("vm-1", 0, 5)).await;
    assert_eq!(live.next().await.expect("a message").event_id(), "vm-1-3");
    assert_eq!(ids(&get(&app, "/v1/events?q=vm-1-2%20OR%20summary:*-4").await.json()["events"]), ["vm-1-4", "vm-1-2"]);
    let new = get(&app, &format!("/v1/events?after={cursor}&q=-vm-1-0&limit=3")).await.json();
    assert_eq!(ids(&new["events"]), ["vm-1-2", "vm-1-3", "vm-1-4"], "oldest first, and the newest where there are too many");
    assert_eq!(new["skipped"], 1);
    let next = new["cursor"].as_str().expect("a cursor");
    assert_eq!(get(&app, &format!("/v1/events?after={next}")).await.json()["events"], json!([]));
}

#[tokio::test]
async fn a_call_is_found_whole_by_any_of_its_events() {
    let app = open_app();
    let mut sent = batch("vm-1", 0, 4);
    for (index, call) in ["a", "b", "a", "b"].into_iter().enumerate() {
        sent["events"][index]["call_id"] = call.into();
    }
    post(&app, &sent).await;
    let page = get(&app, "/v1/events?q=vm-1-0&whole_calls=true").await.json();
    assert_eq!(ids(&page["events"]), ["vm-1-2", "vm-1-0"]);
    assert_eq!(ids(&get(&app, "/v1/calls/b").await.json()["events"]), ["vm-1-1", "vm-1-3"]);
}

#[tokio::test]
async fn fault_6_the_whole_history_is_searched() {
    let app = open_app();
    for first in (0..20_000).step_by(1_000) {
        post(&app, &batch("vm-1", first, 1_000)).await;
    }
    let page = get(&app, "/v1/events?q=summary:*-17&limit=5").await.json();
    assert_eq!(ids(&page["events"]), ["vm-1-17"]);
    assert_eq!(support::history(&app).await.len(), 20_000);
}

#[tokio::test]
async fn a_range_is_counted_and_exported() {
    let app = open_app();
    let mut sent = batch("vm-1", 0, 3);
    for (index, decision) in ["allow", "refuse", "refuse"].into_iter().enumerate() {
        sent["events"][index]["kind"] = "response".into();
        sent["events"][index]["event_type"] = "enforcement".into();
        sent["events"][index]["summary"] = "=1+1".into();
        sent["events"][index]["metadata"] = json!({"effective_decision": decision, "reason_code": "TOOL_CALL_BLOCKED",
            "judge_questions": 1, "judge_latency_ms": 100 * (index + 1), "policy_user": "ann"});
    }
    post(&app, &sent).await;
    let to = u64::MAX >> 20;
    let counts = get(&app, &format!("/v1/summary?from=0&to={to}")).await.json();
    assert_eq!(counts["events"], 3);
    let sum = |decision: &str| {
        counts["decisions"][decision].as_array().expect("columns").iter().filter_map(serde_json::Value::as_u64).sum::<u64>()
    };
    assert_eq!((sum("allow"), sum("refuse")), (1, 2));
    assert_eq!(counts["refusals_by"]["user"], json!([{"name": "ann", "count": 2}]));
    assert_eq!(counts["judge_ms"]["p50"], 200.0);

    let lines = get(&app, "/v1/export?q=decision:refuse").await;
    assert_eq!(lines.headers[header::CONTENT_TYPE], "application/x-ndjson");
    assert_eq!(lines.text.lines().count(), 2);
    let table = get(&app, "/v1/export?format=csv").await.text;
    assert_eq!(table.lines().count(), 4);
    assert!(table.contains(",'=1+1,"), "no cell is a formula: {table}");
}

#[tokio::test]
async fn fault_18_what_was_sent_comes_back_byte_for_byte() {
    let app = open_app();
    let event = r#"{"id":"e","kind":"error","time_ms":1e0,"event_type":"t","severity":"info","summary":"\u202Eabc\/","metadata":{"n":1.50,"n2":12345678901234567890,"a":1,"a":2}}"#;
    let event = event.replace("1e0", "10");
    post_text(&app, format!(r#"{{"sender":"s","sequence":0,"events":[{event}]}}"#)).await;
    let page = get(&app, "/v1/events?format=ndjson").await.text;
    let first = page.lines().next().expect("a line");
    assert!(first.ends_with(&format!(r#","event":{event}}}"#)), "{first}");
}

#[tokio::test]
async fn fault_2_a_slow_reader_is_told_how_much_it_missed() {
    let app = open_app();
    let mut live = Live::open(&app, "", None).await;
    let mut sent = batch("vm-1", 0, 50);
    for index in 0..50 {
        sent["events"][index]["metadata"] = json!({"pad": "x".repeat(10_000)});
    }
    let mut posted = 0;
    for number in 0..40 {
        sent["sequence"] = (number * 50).into();
        assert_eq!(post(&app, &sent).await.status, StatusCode::ACCEPTED);
        posted += 50;
        // The reader of the store shares this thread.
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let (mut read, mut skipped) = (0, 0);
    while read + skipped < posted {
        let message = live.next().await.expect("a message");
        match message.event.as_str() {
            "skipped" => skipped += message.json()["events"].as_u64().expect("a number"),
            _ => read += 1,
        }
    }
    assert!(skipped > 0, "the hub holds less than what was posted");
    assert_eq!(read + skipped, posted, "every event is read or told");
}

#[tokio::test]
async fn fault_19_every_error_is_json() {
    let app = open_app();
    let wrong_method = send(&app, Request::delete("/v1/events").body(Body::empty()).expect("a request")).await;
    assert_eq!(wrong_method.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(wrong_method.json()["error"]["message"].is_string());

    tokio::time::pause();
    let never = Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, std::convert::Infallible>>());
    let request = Request::post("/v1/events").header(header::CONTENT_TYPE, "application/json");
    let too_slow = send(&app, request.body(never).expect("a request")).await;
    assert_eq!(too_slow.status, StatusCode::REQUEST_TIMEOUT);
    assert!(too_slow.json()["error"]["message"].is_string());
}

#[tokio::test]
async fn the_api_is_described_with_the_schemas_of_the_wire_format() {
    let document = get(&open_app(), "/v1/openapi.json").await.json();
    assert_eq!(document["components"]["schemas"]["Event"]["properties"]["severity"]["enum"][0], "debug");
    for path in document["paths"].as_object().expect("paths").keys() {
        // A stream has no end to wait for.
        if path != "/v1/activity/stream" {
            assert_eq!(get(&open_app(), &path.replace("{call}", "c")).await.status, StatusCode::OK, "{path}");
        }
    }
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
    later["events"][1]["summary"] = "something else".into();
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
        "weir_collector_duplicates_total 4",
        "weir_collector_conflicting_events_total 1",
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

    const READER: &str = "0123456789abcdef-reader";

    fn guarded() -> axum::Router {
        let hash = |token: &str| {
            use sha2::Digest as _;
            sha2::Sha256::digest(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        let file = format!("ann read sha256:{}\nroot admin sha256:{}\n", hash(READER), hash("root-root-root-root"));
        let tokens = Tokens::single(TOKEN).expect("a token").and(&Tokens::parse(&file).expect("a file"));
        app(Collector::new(memory_store(Limits::default()), Access::Tokens(tokens)))
    }

    async fn status(app: &axum::Router, request: axum::http::request::Builder) -> StatusCode {
        send(app, request.body(Body::empty()).expect("a request")).await.status
    }

    async fn post_with(app: &axum::Router, headers: &[(&str, &str)]) -> StatusCode {
        let mut request = Request::post("/v1/events").header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        send(app, request.body(Body::from(batch("vm-1", 0, 1).to_string())).expect("a request")).await.status
    }

    async fn sign_in(app: &axum::Router, token: &str, next: &str) -> support::Answer {
        let request = Request::post("/ui/sign-in")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::HOST, "weir.example")
            .header(header::ORIGIN, "https://weir.example");
        send(app, request.body(Body::from(format!("token={token}&next={next}"))).expect("a request")).await
    }

    fn cookie_of(answer: &support::Answer) -> String {
        let cookie = answer.headers[header::SET_COOKIE].to_str().expect("text");
        cookie.split(';').next().expect("the pair").to_owned()
    }

    #[tokio::test]
    async fn nothing_but_health_and_the_sign_in_page_is_shown_without_a_token() {
        let app = guarded();
        for path in
            ["/v1/events", "/v1/senders", "/v1/activity/stream", "/v1/export", "/metrics", "/v1/events?token=0123456789abcdef"]
        {
            assert_eq!(get(&app, path).await.status, StatusCode::UNAUTHORIZED, "{path}");
        }
        let page = get(&app, "/ui/activity/live?q=a%20b").await;
        assert_eq!(page.headers[header::LOCATION], "/ui/sign-in?next=%2Fui%2Factivity%2Flive%3Fq%3Da%2520b");
        assert_eq!(post(&app, &batch("vm-1", 0, 1)).await.status, StatusCode::UNAUTHORIZED);
        for path in ["/livez", "/readyz", "/healthz", "/ui/sign-in"] {
            assert_eq!(get(&app, path).await.status, StatusCode::OK, "{path}");
        }
    }

    #[tokio::test]
    async fn a_token_allows_what_its_roles_say() {
        let app = guarded();
        let bearer = |token: &str| format!("Bearer {token}");
        let read =
            async |token: &str| status(&app, Request::get("/v1/events").header(header::AUTHORIZATION, bearer(token))).await;
        assert_eq!(read(TOKEN).await, StatusCode::OK);
        assert_eq!(read(READER).await, StatusCode::OK);
        assert_eq!(read("0123456789abcdef0").await, StatusCode::UNAUTHORIZED);
        assert_eq!(post_with(&app, &[("authorization", &bearer(TOKEN))]).await, StatusCode::ACCEPTED);
        assert_eq!(post_with(&app, &[("authorization", &bearer(READER))]).await, StatusCode::FORBIDDEN);
        let settings = async |token: &str| {
            let request = Request::put("/v1/settings")
                .header(header::AUTHORIZATION, bearer(token))
                .header(header::CONTENT_TYPE, "application/json");
            let body = json!({"history": {"events": 10, "bytes": 1_000_000, "seconds": 60}});
            send(&app, request.body(Body::from(body.to_string())).expect("a request")).await.status
        };
        assert_eq!(settings(TOKEN).await, StatusCode::FORBIDDEN);
        assert_eq!(settings("root-root-root-root").await, StatusCode::OK);
    }

    #[tokio::test]
    async fn fault_8_a_session_is_no_token_and_ends() {
        let app = guarded();
        let entered = sign_in(&app, READER, "/ui/activity/live?q=x").await;
        assert_eq!(entered.status, StatusCode::SEE_OTHER);
        assert_eq!(entered.headers[header::LOCATION], "/ui/activity/live?q=x");
        let set = entered.headers[header::SET_COOKIE].to_str().expect("text");
        assert!(set.contains("; HttpOnly") && set.contains("; SameSite=Strict"), "{set}");
        let cookie = cookie_of(&entered);
        assert!(!cookie.contains(READER), "the token does not stand in the cookie");
        assert_ne!(cookie, cookie_of(&sign_in(&app, READER, "").await), "ids are random");

        let shown = format!("theme=dark; {cookie}");
        for path in ["/ui/activity/live", "/v1/events"] {
            assert_eq!(status(&app, Request::get(path).header(header::COOKIE, &shown)).await, StatusCode::OK);
        }
        let writer = cookie_of(&sign_in(&app, TOKEN, "").await);
        assert_eq!(post_with(&app, &[("cookie", &writer)]).await, StatusCode::FORBIDDEN, "a session sends nothing");

        let out = |origin: &'static str| {
            Request::post("/ui/sign-out")
                .header(header::COOKIE, &cookie)
                .header(header::HOST, "weir.example")
                .header(header::ORIGIN, origin)
        };
        assert_eq!(status(&app, out("https://evil.example")).await, StatusCode::FORBIDDEN);
        assert_eq!(status(&app, Request::get("/v1/events").header(header::COOKIE, &cookie)).await, StatusCode::OK);
        assert_eq!(status(&app, out("https://weir.example")).await, StatusCode::SEE_OTHER);
        assert_eq!(status(&app, Request::get("/v1/events").header(header::COOKIE, &cookie)).await, StatusCode::UNAUTHORIZED);
    }

    #[tokio::test]
    async fn a_sign_in_leads_to_pages_of_the_collector_alone() {
        let app = guarded();
        for next in ["https://evil.example", "//evil.example", "/v1/events", "/ui/%5C%5Cevil"] {
            assert_eq!(sign_in(&app, READER, next).await.headers[header::LOCATION], "/ui/activity/live", "{next}");
        }
        let wrong = sign_in(&app, "nothing-of-the-kind", "/ui/%22%3E%3Cscript%3E").await;
        assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
        assert!(!wrong.text.contains("<script"), "{}", wrong.text);
    }

    #[tokio::test]
    async fn fault_13_refused_tokens_are_counted_and_shown() {
        let app = guarded();
        get(&app, "/v1/events").await;
        post_with(&app, &[("authorization", "Bearer wrong-wrong-wrong-wrong")]).await;
        post_with(&app, &[("authorization", &format!("Bearer {READER}"))]).await;
        sign_in(&app, "nothing-of-the-kind", "").await;
        let read = |path: &str| {
            Request::get(path).header(header::AUTHORIZATION, format!("Bearer {READER}")).body(Body::empty()).expect("a request")
        };
        let metrics = send(&app, read("/metrics")).await.text;
        for showed in ["nothing", "wrong", "role", "sign_in"] {
            let line = format!("weir_collector_refused_requests_total{{showed=\"{showed}\"}} 1");
            assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
        }
        assert_eq!(send(&app, read("/v1/status")).await.json()["refused"], 4);
    }

    #[tokio::test]
    async fn fault_7_without_a_token_host_and_origin_are_checked_for_reads_and_writes() {
        let app = app(Collector::new(memory_store(Limits::default()), Access::Loopback));
        let host = |host: &str| Request::get("/v1/events").header(header::HOST, host);
        for name in ["localhost:10004", "127.0.0.1:10004", "[::1]:10004", "localhost"] {
            assert_eq!(status(&app, host(name)).await, StatusCode::OK, "{name}");
        }
        for name in ["example.com", "127.0.0.1.example.com:10004", "localhost.example.com", "collector"] {
            assert_eq!(status(&app, host(name)).await, StatusCode::FORBIDDEN, "{name}");
        }
        let twice = host("localhost:10004").header(header::HOST, "example.com");
        assert_eq!(status(&app, twice).await, StatusCode::FORBIDDEN, "two hosts");
        let absolute = Request::get("http://example.com/v1/events").header(header::HOST, "localhost:10004");
        assert_eq!(status(&app, absolute).await, StatusCode::FORBIDDEN, "the first line counts");
        for origin in ["null", "https://evil.example", "http://localhost:8080"] {
            let request = host("localhost:10004").header(header::ORIGIN, origin);
            assert_eq!(status(&app, request).await, StatusCode::FORBIDDEN, "a page of {origin} reads");
        }
        let fetched = |mode: &str| host("localhost:10004").header("sec-fetch-site", "cross-site").header("sec-fetch-mode", mode);
        assert_eq!(status(&app, fetched("no-cors")).await, StatusCode::FORBIDDEN, "a picture in a page of another site");
        assert_eq!(status(&app, fetched("navigate")).await, StatusCode::OK, "a link from elsewhere leads here");
        assert_eq!(post_with(&app, &[("host", "collector")]).await, StatusCode::ACCEPTED, "senders name a cluster");
        assert_eq!(post_with(&app, &[("host", "localhost:10004")]).await, StatusCode::ACCEPTED);
        let page = ("origin", "http://localhost:10004");
        assert_eq!(post_with(&app, &[("host", "localhost:10004"), page]).await, StatusCode::ACCEPTED);
        for (name, headers) in [
            ("a name that leads here", &[("host", "evil.example:10004")][..]),
            ("with its origin", &[("host", "evil.example:10004"), ("origin", "http://evil.example:10004")]),
            ("a page elsewhere", &[("host", "localhost:10004"), ("origin", "https://evil.example")]),
            ("a page of another port", &[("host", "localhost:10004"), ("origin", "http://localhost:8080")]),
            ("a page that says nothing", &[("host", "localhost:10004"), ("origin", "null")]),
            ("a browser that tells the site", &[("host", "localhost:10004"), ("sec-fetch-site", "cross-site")]),
            ("a name without dots in a browser", &[("host", "evil"), ("origin", "http://evil")]),
        ] {
            assert_eq!(post_with(&app, headers).await, StatusCode::FORBIDDEN, "{name}");
        }
    }
}

#[tokio::test]
async fn a_filter_of_the_last_version_is_understood() {
    // As version 0.1.0 of the filter wrote it, before numbers identified events: ids of its own, no field that came later.
    let app = open_app();
    let body = r#"{"sender":"0b7f0c7e5a1d4c0f9a2e6c3b8d4f5a61","sequence":0,"dropped":0,"events":[{"id":"9d2c4a5be1f04d7c8a6b3e2f1c0d9b8a-0","kind":"request","time_ms":1764345600123,"call_id":"9d2c4a5be1f04d7c8a6b3e2f1c0d9b8a","trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"b7ad6b7169203331","policy_target":"chat.completions","event_type":"request.received","severity":"info","summary":"chat.completions request for gpt-5"},{"id":"9d2c4a5be1f04d7c8a6b3e2f1c0d9b8a-1","kind":"policy_action","time_ms":1764345600420,"call_id":"9d2c4a5be1f04d7c8a6b3e2f1c0d9b8a","policy_target":"chat.completions","policy_class":"ToolCallJudge","event_type":"judge.blocked","severity":"warning","summary":"tool call rm blocked: probability 0.97","policy_config":{"judge":"main","threshold":0.6},"metadata":{"tool":"rm","probability":0.97}}]}"#;
    let answer = post_text(&app, body.to_owned()).await;
    assert_eq!((answer.status, answer.json()), (StatusCode::ACCEPTED, json!({"accepted": 2, "duplicates": 0})));
    assert_eq!(post_text(&app, body.to_owned()).await.json(), json!({"accepted": 0, "duplicates": 2}));
    assert_eq!(get(&app, "/v1/events?q=tool:rm").await.json()["events"].as_array().map(Vec::len), Some(1));
}
