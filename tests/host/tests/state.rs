//! State across exchanges, as the workers of a process share it.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a panic fails the test, as it should"
)]

use serde_json::json;
use weir_host_tests::{Host, Plugin, SharedData};
use weir_test_support::script::document;

fn worker(scope: &str, most: u64, shared: &SharedData) -> Host {
    let document = document(json!([{"use": "count_requests", "with": {"scope": scope, "most": most}}]));
    Host::new(&document.to_string()).plugin(Plugin::Test).knob(true).shared_data(shared).start()
}

/// What a worker does with a request of that user: 0 where it lets it pass.
fn status(worker: &mut Host, user: &str) -> u16 {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).to_string();
    let id = worker.request_head(
        &[
            (":method", b"POST"),
            (":path", b"/v1/chat/completions"),
            ("content-type", b"application/json"),
            ("x-policy-user", user.as_bytes()),
        ],
        false,
    );
    worker.request_body(id, body.as_bytes(), true);
    worker.client(id).status
}

#[test]
fn the_workers_of_a_process_count_together_and_each_user_on_its_own() {
    let shared = SharedData::default();
    let (mut one, mut other) = (worker("proxy", 3, &shared), worker("proxy", 3, &shared));
    assert_eq!([status(&mut one, "mia"), status(&mut other, "mia"), status(&mut one, "mia")], [0, 0, 0]);
    assert_eq!([status(&mut one, "mia"), status(&mut other, "mia")], [429, 429]);
    assert_eq!(status(&mut other, "leo"), 0);
    one.pass(60_000);
    other.pass(60_000);
    assert_eq!(status(&mut other, "mia"), 0, "a minute later the count begins anew");
}

#[test]
fn a_worker_counts_on_its_own_where_the_scope_says_so() {
    let shared = SharedData::default();
    let (mut one, mut other) = (worker("worker", 1, &shared), worker("worker", 1, &shared));
    assert_eq!([status(&mut one, "mia"), status(&mut one, "mia"), status(&mut other, "mia")], [0, 429, 0]);
}

#[test]
fn no_count_is_lost_when_another_worker_writes_in_between() {
    let shared = SharedData::default();
    let (mut one, mut other) = (worker("proxy", 4, &shared), worker("proxy", 4, &shared));
    for turn in 0..4 {
        shared.conflict(3);
        assert_eq!(status(if turn % 2 == 0 { &mut one } else { &mut other }, "mia"), 0);
    }
    assert!(shared.refused() >= 12, "{} writes were refused", shared.refused());
    assert_eq!([status(&mut one, "mia"), status(&mut other, "mia")], [429, 429]);
}

#[test]
fn a_store_that_is_never_free_is_an_error_by_name() {
    let shared = SharedData::default();
    let mut worker = worker("proxy", 4, &shared);
    shared.conflict(u32::MAX);
    assert_eq!(status(&mut worker, "mia"), 503);
    shared.conflict(0);
    assert_eq!(status(&mut worker, "mia"), 0);
}

#[test]
fn shared_data_grows_neither_in_keys_nor_beyond_its_bytes() {
    let shared = SharedData::default();
    let mut worker = worker("proxy", 1, &shared);
    let keys = shared.keys();
    let long = "u".repeat(180);
    for user in 0..300 {
        assert_eq!(status(&mut worker, &format!("{user}{long}")), 0);
    }
    assert_eq!(shared.keys(), keys, "keys of the store are no keys of the shared data");
    let grown = shared.bytes();
    worker.pass(3_600_000);
    for user in 0..300 {
        assert_eq!(status(&mut worker, &format!("{user}{long}")), 0);
    }
    assert!(shared.bytes() <= grown, "what has expired is written no more: {} > {grown}", shared.bytes());
}
