//! Quotas of requests and tokens.

use core::time::Duration;

use serde_json::json;
use weir::dialect::Dialect;
use weir::id::CallId;
use weir::time::Timestamp;
use weir_driver::{Player, Recording, Split, Step};
use weir_test_support::answer::Said;
use weir_test_support::client;

use crate::exchange::{DIALECTS, TEXT, each, message, play, player, reason, recording, unchanged};

fn number(player: &Player, number: u32) -> Player {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    player.clone().call_id(CallId::from_bytes(id))
}

#[test]
fn rate_limit_refuses_what_is_above_it_until_the_window_ends() {
    each(|dialect, streamed| {
        let chain = json!([{"use": "rate_limit", "with": {"requests": {"limit": 2, "window": "1m"}}}]);
        let player = player(&chain);
        let recording = recording(dialect, streamed, unchanged, &[TEXT]).header("x-policy-user", "ann");
        for _ in 0..2 {
            let outcome = play(&player, &recording);
            assert_eq!((outcome.status, outcome.events_of("rate_check_passed").len()), (200, 1));
        }
        let refused = play(&player, &recording);
        assert_eq!((refused.status, reason(&refused)), (429, "RATE_LIMITED".to_owned()), "{dialect}");
        assert_eq!(refused.events_of("rate_limited").len(), 1);
        let other = recording.clone().header("x-other", "");
        let mut other = other;
        other.request_headers.retain(|(name, _)| name != "x-policy-user");
        assert_eq!(play(&player, &other).status, 200, "another subject has its own");
        let mut later = vec![Step::Elapse(Duration::from_secs(60))];
        later.extend(recording.steps(&Split::Events));
        assert_eq!(player.play(&later).status, 200);
    });
}

#[test]
fn quotas_of_one_chain_that_differ_count_each_on_its_own() {
    let chain = json!([
        {"use": "rate_limit", "with": {"requests": {"limit": 2, "window": "1m"}}},
        {"use": "rate_limit", "with": {"requests": {"limit": 3, "window": "1h"}}},
    ]);
    let player = player(&chain);
    let recording = recording(Dialect::Messages, false, unchanged, &[TEXT]);
    let later = |seconds: u64| player.clone().at(Timestamp::from_unix(Duration::from_secs(1_760_000_000 + seconds)));
    let statuses = [0, 1, 2, 60, 61].map(|seconds| play(&later(seconds), &recording).status);
    // The third is above the quota of a minute, the fifth above that of the hour.
    assert_eq!(statuses, [200, 200, 429, 200, 429]);

    let budget = |tokens: u64, every: &str| json!({"use": "budget", "with": {"tokens": tokens, "every": every, "of": "output"}});
    let player = self::player(&json!([budget(66, "hour"), budget(1_000, "day")]));
    let passed = (0..100).take_while(|_| play(&player, &recording).status == 200).count();
    assert!((1..=66).contains(&passed), "the budget of the hour pays for 66 tokens, not for {passed} answers");
}

/// What an exchange with `TEXT` costs: the estimate of its request, all in the end, and by what that is known.
fn cost(dialect: Dialect, streamed: bool, recording: &Recording) -> (u64, u64, &'static str) {
    let estimate = (recording.request_body.len() as u64).div_ceil(4);
    let text = ("I will do it.".len() as u64).div_ceil(4);
    // The stream of chat.completions says no usage. The others say one token of each, and one of text is taken for the beginning of a count.
    if streamed && dialect == Dialect::ChatCompletions {
        (estimate, estimate + text, "estimate")
    } else {
        (estimate, 1 + text, "usage")
    }
}

#[test]
fn rate_limit_counts_tokens_when_they_are_known() {
    each(|dialect, streamed| {
        let recording = recording(dialect, streamed, unchanged, &[TEXT]);
        let (_, tokens, _) = cost(dialect, streamed, &recording);
        let chain = json!([{"use": "rate_limit", "with": {"tokens": {"limit": 2 * tokens, "window": "1m"}}}]);
        let player = player(&chain);
        assert_eq!([0; 2].map(|_| play(&player, &recording).status), [200, 200], "{dialect} {streamed}");
        let refused = play(&player, &recording);
        assert_eq!(refused.status, 429, "{dialect} {streamed}");
        assert_eq!(refused.events_of("rate_limited")[0].metadata["used"], 2 * tokens, "{dialect} {streamed}");
    });
}

#[test]
fn budget_ends_a_stream_that_nothing_can_pay_for_and_refuses_the_next() {
    const LONG: Said<'static> = Said::Text(&["abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz "; 40]);
    for dialect in DIALECTS {
        let chain = json!([{"use": "budget", "with": {"tokens": 200, "every": "day", "of": "output"}}]);
        let player = player(&chain);
        let recording = recording(dialect, true, unchanged, &[LONG]);
        let outcome = play(&player, &recording);
        let message = message(dialect, true, &outcome);
        let length = message.only().text.len();
        assert!(length > 300 && length <= 800 + 53, "{dialect}: {length} bytes left, of four each");
        assert!(
            ["length", "max_tokens", "max_output_tokens", "incomplete"].contains(&message.only().finish.as_str()),
            "{message:?}"
        );
        assert_eq!(reason(&outcome), "BUDGET_EXHAUSTED");
    }
}

#[test]
fn budget_charges_by_usage_and_refuses_with_the_end_of_the_span() {
    each(|dialect, streamed| {
        let chain = json!([{"use": "budget", "with": {"tokens": 130, "every": "month"}}]);
        let player = player(&chain);
        let recording = recording(dialect, streamed, unchanged, &[TEXT]);
        let (estimate, tokens, by) = cost(dialect, streamed, &recording);
        // One passes as long as its request and a token of its answer can be reserved.
        for number in 0..=(130 - estimate - 1) / tokens {
            let outcome = play(&player, &recording);
            assert_eq!(outcome.status, 200, "{dialect} {streamed} {number}");
            let charged = &outcome.events_of("budget.charged")[0].metadata;
            assert_eq!((&charged["tokens"], &charged["by"]), (&json!(tokens), &json!(by)), "{dialect} {streamed}");
        }
        let refused = play(&player, &recording);
        assert_eq!((refused.status, reason(&refused)), (429, "BUDGET_EXHAUSTED".to_owned()));
        assert_eq!(play(&player.clone().at(Timestamp::from_unix(Duration::from_secs(1_762_000_000))), &recording).status, 200);
    });
}

#[test]
fn a_budget_without_a_store_in_mid_stream_says_so_and_does_what_on_error_says() {
    const LONG: Said<'static> = Said::Text(&["abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz "; 40]);
    for dialect in DIALECTS {
        for (on_error, expected) in [("block", "BUDGET_UNCHECKED"), ("allow", "ALLOW")] {
            let chain =
                json!([{"use": "budget", "with": {"tokens": 9_000, "every": "day", "of": "output", "on_error": on_error}}]);
            let outcome = play(&player(&chain).store_fails_from(1), &recording(dialect, true, unchanged, &[LONG]));
            assert_eq!(reason(&outcome), expected, "{dialect}");
            assert_eq!(outcome.events_of("budget.failed").len(), 1, "{dialect} {on_error}");
            let length = message(dialect, true, &outcome).only().text.len();
            assert_eq!(length == 53 * 40, on_error == "allow", "{dialect} {on_error}: {length}");
        }
    }
}

#[test]
fn what_was_reserved_in_a_span_that_is_over_is_not_given_back_in_the_next() {
    const LONG: Said<'static> = Said::Text(&["abcdefghijklmnopqrstuvwxyz01"; 10]);
    let chain = json!([{"use": "budget", "with": {"tokens": 100, "every": "hour", "of": "output"}}]);
    let player = player(&chain);
    // The hour ends at 1_760_000_400.
    let at = |seconds: u64| player.clone().at(Timestamp::from_unix(Duration::from_secs(1_760_000_000 + seconds)));
    let before = at(399);
    let mut steps = recording(Dialect::ChatCompletions, false, unchanged, &[TEXT]).steps(&Split::Events).into_iter();
    let mut lasting = before.begin();
    steps.by_ref().take(2).for_each(|step| lasting.take(&step));
    lasting.take(&Step::Elapse(Duration::from_secs(10)));
    let long = recording(Dialect::ChatCompletions, false, |body| body["x"] = json!(1), &[LONG]);
    assert_eq!(play(&at(405), &long).status, 200);
    steps.for_each(|step| lasting.take(&step));
    assert_eq!(lasting.finish().status, 200);
    // Each costs 70 tokens, or what is left.
    let statuses: Vec<u16> = (0..3).map(|_| play(&at(420), &long).status).collect();
    assert_eq!(statuses, [200, 429, 429]);
}

#[test]
fn a_budget_holds_for_many_streams_at_once() {
    const LONG: Said<'static> = Said::Text(&["abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz "; 100]);
    const TOKENS: usize = 20_000;
    let chain = json!([{"use": "budget", "with": {"tokens": TOKENS, "every": "day", "of": "output"}}]);
    let player = player(&chain);
    let steps = recording(Dialect::ChatCompletions, true, unchanged, &[LONG]).steps(&Split::Events);
    let players: Vec<Player> = (0..64).map(|stream| number(&player, stream)).collect();
    let mut plays: Vec<_> = players.iter().map(Player::begin).collect();
    // Event by event of all of them in turn.
    for step in &steps {
        plays.iter_mut().for_each(|play| play.take(step));
    }
    let texts = plays.into_iter().map(weir_driver::Play::finish).filter(|outcome| outcome.status == 200);
    let left: usize =
        texts.map(|outcome| client::streamed(Dialect::ChatCompletions, &outcome.client).only().text.len().div_ceil(4)).sum();
    // Each stream may have let go one delta that it could not pay for.
    assert!(left <= TOKENS + 64 * 14, "{left} tokens of {TOKENS}");
    assert!(left > TOKENS * 3 / 4, "{left} tokens of {TOKENS}");
}

#[test]
fn a_budget_is_charged_when_the_client_leaves() {
    let chain = json!([{"use": "budget", "with": {"tokens": 1_000, "every": "day"}}]);
    let player = player(&chain);
    let mut steps = recording(Dialect::Messages, true, unchanged, &[TEXT]).steps(&Split::Events);
    steps.truncate(6);
    steps.push(Step::ClientGone);
    let outcome = player.play(&steps);
    let charged = outcome.events_of("budget.charged");
    // A token of the request, as the provider said before, and the seven bytes of the answer that had come.
    assert_eq!(charged[0].metadata["tokens"], 1 + 2, "{charged:?}");
}
