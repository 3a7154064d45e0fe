//! The driver in the hands of a server: many threads, one player each or all together.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic fails the test, as it should"
)]

use core::time::Duration;
use std::sync::Arc;

use weir::chain::Chain;
use weir::exchange::{Request, Response};
use weir::policy::{Policy, PolicyContext, Refusal, RequestAction, ResponseAction, SharedPolicy};
use weir::state::Scope;
use weir_driver::{Outcome, Player, Recording, RequestOutcome, Split, Step};

/// Lets so many requests of an hour pass, and looks at whole answers.
#[derive(Debug)]
struct Limit(u64);

impl Policy for Limit {
    async fn on_request(&self, _: &Request, cx: &PolicyContext) -> RequestAction {
        match cx.state(Scope::Proxy).add_within("requests", 1, self.0, Duration::from_secs(3600)).await {
            Ok(counter) if counter.is_added => RequestAction::SendRequest,
            _ => RequestAction::Refuse(Refusal::new(429, "Too many requests.")),
        }
    }

    async fn on_response(&self, _: &Response, _: &PolicyContext) -> ResponseAction {
        ResponseAction::SendResponse
    }
}

fn player(limit: u64) -> Player {
    Player::new(Arc::new(Chain::new(vec![SharedPolicy::new("Limit", Limit(limit))]))).traced()
}

fn recording() -> Recording {
    let answer = r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,
        "message":{"role":"assistant","content":"Hi.","refusal":null},"finish_reason":"stop"}]}"#;
    Recording::post("/v1/chat/completions", r#"{"model":"m","messages":[{"role":"user","content":"Hi"}]}"#).whole(answer)
}

#[test]
fn a_player_serves_threads_that_share_what_policies_keep() {
    fn is_shareable<T: Send + Sync>(_: &T) {}
    let player = player(10);
    is_shareable(&player);
    let steps = recording().steps(&Split::Every(20));
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| (0..5).map(|_| player.play(&steps)).collect::<Vec<_>>())).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let sent = outcomes.iter().filter(|outcome| outcome.request == RequestOutcome::Sent).count();
    assert_eq!((outcomes.len(), sent), (20, 10));
    assert!(outcomes.iter().all(|outcome| outcome.faults.is_empty() && !outcome.stuck));
}

#[test]
fn the_store_forgets_by_the_virtual_clock() {
    let player = player(1);
    let steps = recording().steps(&Split::Whole);
    assert_eq!(player.play(&steps).request, RequestOutcome::Sent);
    assert_eq!(player.play(&steps).status, 429);
    let mut later = vec![Step::Elapse(Duration::from_secs(3600))];
    later.extend(steps);
    assert_eq!(player.play(&later).request, RequestOutcome::Sent);
}

#[test]
fn hooks_are_told_in_their_order() {
    let outcome = player(1).play(&recording().steps(&Split::Whole));
    let hooks: Vec<_> = outcome.hooks.iter().map(|run| (run.policy, run.hook)).collect();
    let expected =
        ["on_request", "on_response", "on_content_delta", "on_content_complete", "on_finish_reason", "on_stream_complete"];
    assert_eq!(hooks, expected.map(|hook| ("Limit", hook)));
}

#[test]
fn an_exchange_can_be_played_step_by_step() {
    let player = player(1);
    let mut play = player.begin();
    let steps = recording().steps(&Split::Whole);
    play.take(&steps[0]);
    assert_eq!(play.outcome().request, RequestOutcome::Held);
    play.take(&steps[1]);
    assert_eq!(play.outcome().request, RequestOutcome::Sent);
    play.take(&Step::ClientGone);
    assert_eq!(play.finish().enforcement()["ended"], "client_gone");
}
