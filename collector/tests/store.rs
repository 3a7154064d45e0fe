//! What both stores promise; every test runs on memory and on a real Redis.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may panic"
)]

mod support;

use serde_json::Value;
use support::{Redis, batch, memory_store};
use weir_collector::{Appended, Batch, Limits, Position, Store, Stored};

/// Runs a test on both stores.
async fn on_both(limits: Limits, test: impl AsyncFn(Store)) {
    test(memory_store(limits)).await;
    if let Some(redis) = Redis::start() {
        test(redis.store(limits)).await;
    }
}

async fn append(store: &Store, batch: &Value) -> Appended {
    let text = batch.to_string();
    store.append(&Batch::parse(text.as_bytes()).expect("a good batch"), 1_000).await.expect("the store answers")
}

fn sequences<S: AsRef<Stored>>(events: &[S]) -> Vec<u64> {
    events.iter().map(|stored| stored.as_ref().sequence).collect()
}

async fn history(store: &Store) -> Vec<u64> {
    sequences(&store.history(None, 1_000).await.expect("the store answers"))
}

#[tokio::test]
async fn what_was_appended_comes_back_as_it_was_newest_first() {
    on_both(Limits::default(), async |store| {
        let sent = batch("vm-1", 5, 3);
        assert_eq!(append(&store, &sent).await, Appended::default());
        let events = store.history(None, 10).await.expect("the store answers");
        assert_eq!(sequences(&events), [7, 6, 5]);
        assert_eq!(events[2].event.get(), sent["events"][0].to_string());
        assert_eq!(events[2].sender.as_ref(), "vm-1");
        assert!(events[0].position > events[1].position);
    })
    .await;
}

#[tokio::test]
async fn the_same_id_is_the_same_event_in_any_batch_of_any_sender() {
    on_both(Limits::default(), async |store| {
        let mut first = batch("vm-1", 0, 3);
        append(&store, &first).await;
        assert_eq!(append(&store, &first).await.duplicates, [0, 1, 2]);

        first["sender"] = "vm-2".into();
        assert_eq!(append(&store, &first).await.duplicates, [0, 1, 2]);

        let mut twice = batch("vm-1", 3, 2);
        twice["events"][1]["id"] = twice["events"][0]["id"].clone();
        assert_eq!(append(&store, &twice).await.duplicates, [1]);
        assert_eq!(history(&store).await, [3, 2, 1, 0]);
    })
    .await;
}

#[tokio::test]
async fn duplicates_are_found_within_a_window_that_is_bounded() {
    on_both(Limits { duplicate_window: 10, ..Limits::default() }, async |store| {
        append(&store, &batch("vm-1", 0, 10)).await;
        append(&store, &batch("vm-1", 10, 9)).await;
        let all: Vec<usize> = (0..10).collect();
        assert_eq!(append(&store, &batch("vm-1", 0, 10)).await.duplicates, all, "within twice the window");
        append(&store, &batch("vm-1", 19, 10)).await;
        append(&store, &batch("vm-1", 29, 10)).await;
        assert_eq!(append(&store, &batch("vm-1", 0, 10)).await, Appended::default(), "forgotten by now");
    })
    .await;
}

#[tokio::test]
async fn sequence_numbers_that_were_left_out_are_counted_until_they_come() {
    on_both(Limits::default(), async |store| {
        append(&store, &batch("vm-1", 100, 2)).await;
        assert_eq!(append(&store, &batch("vm-1", 105, 1)).await.missing, 3);
        assert_eq!(append(&store, &batch("vm-1", 106, 1)).await.missing, 0);
        assert_eq!(append(&store, &batch("vm-2", 7, 1)).await.missing, 0, "a sender may begin anywhere");
        let missing = async || store.senders().await.expect("the store answers")[0].missing;
        assert_eq!(missing().await, 3);

        assert_eq!(append(&store, &batch("vm-1", 102, 2)).await, Appended::default(), "late, but not missing");
        assert_eq!(missing().await, 1);
        append(&store, &batch("vm-1", 102, 2)).await;
        assert_eq!(missing().await, 1, "a repetition fills no gap");
        let senders = store.senders().await.expect("the store answers");
        assert_eq!(senders.iter().map(|sender| sender.next_sequence).collect::<Vec<_>>(), [107, 8]);
    })
    .await;
}

#[tokio::test]
async fn what_a_sender_dropped_is_kept_and_told_once() {
    on_both(Limits::default(), async |store| {
        let mut sent = batch("vm-1", 0, 0);
        for (told, new) in [(4, 4), (4, 0), (9, 5), (4, 0)] {
            sent["dropped"] = told.into();
            assert_eq!(append(&store, &sent).await.dropped, new);
        }
        assert_eq!(store.senders().await.expect("the store answers")[0].dropped, 9);
    })
    .await;
}

#[tokio::test]
async fn senders_are_remembered_up_to_a_limit() {
    on_both(Limits { senders: 3, ..Limits::default() }, async |store| {
        for number in 0..5 {
            let text = batch(&format!("vm-{number}"), 0, 1).to_string();
            let batch = Batch::parse(text.as_bytes()).expect("a good batch");
            store.append(&batch, 1_000 + number).await.expect("the store answers");
        }
        let senders = store.senders().await.expect("the store answers");
        assert_eq!(senders.iter().map(|sender| sender.sender.as_str()).collect::<Vec<_>>(), ["vm-2", "vm-3", "vm-4"]);
    })
    .await;
}

#[tokio::test]
async fn pages_of_the_history_join_without_gap_or_overlap() {
    on_both(Limits::default(), async |store| {
        append(&store, &batch("vm-1", 0, 25)).await;
        let mut seen = Vec::new();
        let mut before = None;
        loop {
            let page = store.history(before, 10).await.expect("the store answers");
            let Some(oldest) = page.last() else { break };
            before = Some(oldest.position);
            seen.extend(sequences(&page));
        }
        assert_eq!(seen, (0..25).rev().collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test]
async fn the_history_is_bounded_and_keeps_the_newest() {
    // Redis frees whole nodes of about a hundred entries.
    on_both(Limits { history: 1_000, ..Limits::default() }, async |store| {
        for first in (0..4_000).step_by(500) {
            append(&store, &batch("vm-1", first, 500)).await;
        }
        let kept = sequences(&store.history(None, 5_000).await.expect("the store answers"));
        assert!((1_000..=1_200).contains(&kept.len()), "{} events kept", kept.len());
        assert_eq!((kept[0], kept[999]), (3_999, 3_000));
    })
    .await;
}

#[tokio::test]
async fn a_tail_gives_everything_after_its_position_and_then_waits_for_more() {
    on_both(Limits::default(), async |store| {
        append(&store, &batch("vm-1", 0, 600)).await;
        let tenth = store.history(None, 590).await.expect("the store answers")[589].position;
        let mut tail = store.tail(tenth);
        let mut seen = Vec::new();
        while seen.len() < 589 {
            seen.extend(sequences(&tail.next().await.expect("the store answers")));
        }
        assert_eq!(seen, (11..600).collect::<Vec<_>>());

        let more = batch("vm-2", 0, 1);
        let (next, _) = tokio::join!(tail.next(), append(&store, &more));
        assert_eq!(next.expect("the store answers")[0].sender.as_ref(), "vm-2");
    })
    .await;
}

#[test]
fn positions_are_read_as_they_are_written() {
    let position: Position = "1760000000000-12".parse().expect("a position");
    assert_eq!(position.to_string(), "1760000000000-12");
    assert!(position > "1760000000000-9".parse().expect("a position"), "numbers, not text, are compared");
    for text in ["", "1", "-", "1-", "1-2-3", "a-1", "1-18446744073709551616"] {
        assert!(text.parse::<Position>().is_err(), "{text:?}");
    }
}
