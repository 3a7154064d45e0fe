//! A document that goes wild rolls itself back, for the whole proxy and for a while.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a panic fails the test, as it should"
)]

use core::time::Duration;
use std::sync::Arc;

use serde_json::{Value, json};
use weir::document::Document;
use weir::id::CallId;
use weir::time::Timestamp;
use weir_driver::{Outcome, Player, Recording, Split, Step};
use weir_test_support::policies;

/// A multiple of all windows here: October 2025.
const BEGIN: Duration = Duration::from_secs(1_759_968_000);

fn player(rollout: &Value) -> Player {
    let document = json!({
        "policy": {"id": "wild", "revision": 3},
        "chain": [{"use": "deny_tool", "with": {"name": "rm"}}],
        "rollout": rollout,
    });
    let chain = Document::parse(&document.to_string(), &policies::registry(), &|_| None).unwrap().chain;
    Player::new(Arc::new(chain))
}

/// Plays the `number`th exchange, so many seconds later; its answer calls `tool`.
fn play(player: &Player, number: u32, seconds: u64, tool: &str) -> Outcome {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    let answer = json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0,
        "message": {"role": "assistant", "content": null, "refusal": null, "tool_calls": [
            {"id": "call", "type": "function", "function": {"name": tool, "arguments": "{}"}}]},
        "finish_reason": "tool_calls"}]});
    let recording = Recording::post("/v1/chat/completions", r#"{"model":"m","messages":[{"role":"user","content":"Hi"}]}"#)
        .whole(answer.to_string());
    let at = Timestamp::from_unix(BEGIN + Duration::from_secs(seconds));
    player.clone().call_id(CallId::from_bytes(id)).at(at).play(&recording.steps(&Split::Whole))
}

fn is_enforced(outcome: &Outcome) -> bool {
    outcome.enforcement()["enforced"] == true
}

#[test]
fn too_many_refusals_roll_back_and_the_cool_down_ends_it() {
    let player = player(&json!({"mode": "enforced", "rollback": {}}));
    for number in 0..19 {
        let tool = if number < 5 { "rm" } else { "ls" };
        assert!(is_enforced(&play(&player, number, 1, tool)), "{number}: fewer than 20 say nothing");
    }
    let last = play(&player, 19, 2, "rm");
    assert!(is_enforced(&last), "six of twenty are above a quarter: from the next on it is told only");
    let told = last.events_of("rollout.rolled_back");
    assert_eq!(told.len(), 1);
    assert_eq!((&told[0].metadata["wrong"], &told[0].metadata["exchanges"]), (&json!(6), &json!(20)));

    let shadow = play(&player, 20, 3, "rm");
    assert!(!is_enforced(&shadow) && shadow.text().contains("\"rm\""));
    assert_eq!(shadow.enforcement()["rollout_mode"], "rollback");
    assert!(!is_enforced(&play(&player, 21, 1_800, "rm")), "thirty minutes are not over");
    assert!(is_enforced(&play(&player, 22, 1_803, "rm")), "they are");
}

#[test]
fn what_anybody_can_bring_about_does_not_roll_back() {
    let player = player(&json!({"mode": "enforced", "rollback": {"min_exchanges": 4}}));
    for number in 0..40_u32 {
        let path = if number % 2 == 0 { "/no/such/endpoint" } else { "/v1/messages" };
        let mut id = [3; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let at = Timestamp::from_unix(BEGIN);
        let outcome =
            player.clone().call_id(CallId::from_bytes(id)).at(at).play(&Recording::post(path, "no JSON").steps(&Split::Whole));
        assert_eq!(outcome.enforcement()["decision"], "refuse", "{path}");
        assert!(outcome.events_of("rollout.rolled_back").is_empty(), "{number}");
    }
    assert!(is_enforced(&play(&player, 99, 1, "rm")));
}

#[test]
fn what_stays_below_the_share_goes_on() {
    let player = player(&json!({"mode": "enforced", "rollback": {}}));
    for number in 0..100 {
        assert!(is_enforced(&play(&player, number, 1, if number % 4 == 3 { "rm" } else { "ls" })), "{number}");
    }
}

#[test]
fn a_window_forgets_the_one_before() {
    let player = player(&json!({"mode": "enforced", "rollback": {"window": "1m", "min_exchanges": 4}}));
    for number in 0..30 {
        // Three of each minute.
        assert!(is_enforced(&play(&player, number, u64::from(number / 3) * 60, "rm")), "{number}");
    }
}

#[test]
fn other_workers_learn_it_with_their_next_exchange() {
    let rollout = json!({"mode": "enforced", "rollback": {"min_exchanges": 1}});
    let one = player(&rollout);
    assert!(is_enforced(&play(&one, 0, 1, "rm")));
    assert!(!is_enforced(&play(&one, 1, 1, "rm")));
    // Another chain of the same document over the same store, as another worker has it.
    let other = one.clone().chain(player(&rollout));
    assert!(is_enforced(&play(&other, 2, 2, "ls")));
    let second = play(&other, 3, 2, "rm");
    assert!(!is_enforced(&second) && second.events_of("rollout.rolled_back").is_empty());
}

#[test]
fn clients_that_leave_and_judges_that_fail_can_be_guards_too() {
    let player = player(&json!({"mode": "enforced", "rollback": {"min_exchanges": 2, "client_gone": 0.5}}));
    let leave = |number: u32| {
        let mut id = [1; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let recording = Recording::post("/v1/chat/completions", r#"{"model":"m","messages":[{"role":"user","content":"Hi"}]}"#);
        let mut steps = recording.steps(&Split::Whole);
        steps.push(Step::ClientGone);
        player.clone().call_id(CallId::from_bytes(id)).play(&steps)
    };
    assert!(leave(0).events_of("rollout.rolled_back").is_empty());
    assert_eq!(leave(1).events_of("rollout.rolled_back")[0].metadata["guard"], "client_gone");
}

#[test]
fn the_sequential_comparison_rolls_a_canary_back_that_breaks_exchanges() {
    let rollout = json!({"mode": "canary", "percentage": 50, "seed": "s", "sticky": "none",
        "rollback": {"share": 1, "test": "sequential"}});
    let player = player(&rollout);
    let mut rolled_back = None;
    for number in 0..400_u32 {
        let mut id = [2; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let begun = player.clone().call_id(CallId::from_bytes(id));
        let recording = Recording::post("/v1/chat/completions", r#"{"model":"m","messages":[{"role":"user","content":"Hi"}]}"#)
            .whole(r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[]}"#);
        let mut steps = recording.steps(&Split::Whole);
        let is_canary = weir::rollout::bucket("s", &id) < 500_000;
        // Every third client of the canary leaves, and every thirtieth of the control.
        if number % if is_canary { 3 } else { 30 } == 0 {
            steps.truncate(2);
            steps.push(Step::ClientGone);
        }
        if let Some(event) = begun.play(&steps).events_of("rollout.rolled_back").first() {
            assert_eq!(event.metadata["guard"], "sequential");
            rolled_back = Some(number);
            break;
        }
    }
    assert!(rolled_back.is_some_and(|number| number > 10), "{rolled_back:?}");
}
