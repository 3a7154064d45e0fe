//! What all stores promise; every test runs in memory, on disk and on a real Redis, with one shard and with several.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may panic"
)]

mod support;

use std::sync::Arc;

use serde_json::Value;
use support::{Redis, batch, memory_store};
use tempfile::TempDir;
use weir_collector::{Appended, Batch, Limits, LocalStore, RedisOptions, RedisStore, Store, StoreError};

/// Runs a test on all stores.
async fn on_all(limits: Limits, test: impl AsyncFn(Store)) {
    test(memory_store(limits)).await;
    let folder = TempDir::new().expect("a folder");
    let disk = LocalStore::on_disk(&folder.path().join("events"), limits).expect("a store");
    test(Store::Local(Arc::new(disk))).await;
    let Some(redis) = Redis::start() else { return };
    test(redis.store(limits)).await;
    // With several shards each has its part of the limits: what tests them asks for one.
    if limits == Limits::default() {
        let options = RedisOptions { prefix: "many".to_owned(), shards: 5, ..redis.options() };
        test(Store::Redis(Arc::new(RedisStore::new(&options, limits).expect("a store")))).await;
    }
}

async fn try_append(store: &Store, batch: &Value, now: u64) -> Result<Appended, StoreError> {
    let text = batch.to_string();
    store.append(&Batch::parse(text.as_bytes()).expect("a good batch"), now).await
}

async fn append(store: &Store, batch: &Value) -> Appended {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_millis();
    try_append(store, batch, now.try_into().expect("a number")).await.expect("the store answers")
}

fn duplicates(duplicates: usize) -> Appended {
    Appended { duplicates, ..Appended::default() }
}

fn missing(missing: u64) -> Appended {
    Appended { missing, ..Appended::default() }
}

/// Sequence numbers of the whole history, newest first.
async fn history(store: &Store) -> Vec<u64> {
    let mut found = Vec::new();
    let mut scan = store.scan(None).await.expect("the store answers");
    while let Some(entry) = scan.next().await.expect("the store answers") {
        let mut numbers: Vec<_> = entry.events().map(|stored| stored.sequence).collect();
        numbers.reverse();
        found.extend(numbers);
    }
    found
}

async fn sender(store: &Store) -> weir_collector::Sender {
    store.senders().await.expect("the store answers").remove(0)
}

#[tokio::test]
async fn what_was_appended_comes_back_as_it_was_newest_first() {
    on_all(Limits::default(), async |store| {
        let sent = batch("vm-1", 0, 3);
        assert_eq!(append(&store, &sent).await, Appended::default());
        let entry = store.scan(None).await.expect("a scan").next().await.expect("the store answers").expect("an entry");
        assert_eq!(entry.sender.as_ref(), "vm-1");
        let events: Vec<_> = entry.events().map(|stored| stored.event.to_owned()).collect();
        assert_eq!(events, sent["events"].as_array().expect("a list").iter().map(Value::to_string).collect::<Vec<_>>());
        assert_eq!(history(&store).await, [2, 1, 0]);
    })
    .await;
}

#[tokio::test]
async fn an_event_is_its_sender_and_its_number() {
    on_all(Limits::default(), async |store| {
        let first = batch("vm-1", 0, 3);
        append(&store, &first).await;
        assert_eq!(append(&store, &first).await, duplicates(3));
        let mut of_another = first.clone();
        of_another["sender"] = "vm-2".into();
        assert_eq!(
            append(&store, &of_another).await,
            Appended::default(),
            "ids are names: the same ones of another sender are new"
        );
        assert_eq!(append(&store, &batch("vm-1", 1, 4)).await, duplicates(2), "a batch that is new in part");
        let mut numbers = history(&store).await;
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 0, 1, 1, 2, 2, 3, 4]);
    })
    .await;
}

#[tokio::test]
async fn fault_1_another_content_under_a_number_is_kept_beside_it_and_counted() {
    on_all(Limits::default(), async |store| {
        append(&store, &batch("vm-1", 0, 2)).await;
        let mut forged = batch("vm-1", 1, 3);
        forged["events"][0]["summary"] = "nothing was blocked".into();
        let once = Appended { conflicts: 1, ..Appended::default() };
        assert_eq!(append(&store, &forged).await, once);
        assert_eq!(append(&store, &forged).await, duplicates(3), "once");
        assert_eq!(history(&store).await.len(), 5, "both, and what was new");
        assert_eq!(sender(&store).await.conflicts, 1);
        let mut conflicts = 0;
        let mut scan = store.scan(None).await.expect("a scan");
        while let Some(entry) = scan.next().await.expect("the store answers") {
            conflicts += entry.events().filter(|_| entry.conflict).count();
        }
        assert_eq!(conflicts, 1);
    })
    .await;
}

#[tokio::test]
async fn fault_9_a_repetition_is_found_however_much_came_since() {
    on_all(Limits { events: 1_000, ..Limits::default() }, async |store| {
        append(&store, &batch("vm-1", 0, 10)).await;
        for first in (10..6_010).step_by(1_000) {
            append(&store, &batch("vm-1", first, 1_000)).await;
        }
        assert_eq!(append(&store, &batch("vm-1", 0, 10)).await, duplicates(10));
        assert_eq!(append(&store, &batch("vm-1", 5_000, 1_010)).await, duplicates(1_010));
    })
    .await;
}

#[tokio::test]
async fn fault_15_numbers_that_never_came_are_missing_from_the_first_on() {
    on_all(Limits::default(), async |store| {
        assert_eq!(append(&store, &batch("vm-1", 100, 2)).await, missing(100), "a first batch above 0 is a gap");
        assert_eq!(append(&store, &batch("vm-1", 105, 1)).await, missing(3));
        assert_eq!(append(&store, &batch("vm-1", 106, 1)).await, missing(0));
        assert_eq!(sender(&store).await.missing, 103);
        assert_eq!(append(&store, &batch("vm-1", 102, 2)).await, Appended::default(), "late, but not missing");
        assert_eq!(sender(&store).await.missing, 101);
        assert_eq!(append(&store, &batch("vm-1", 102, 2)).await, duplicates(2));
        assert_eq!(sender(&store).await.missing, 101, "a repetition fills no gap");
        let mut renamed = batch("vm-1", 106, 1);
        renamed["events"][0]["id"] = "new".into();
        append(&store, &renamed).await;
        assert_eq!(sender(&store).await.missing, 101, "nor does a new id under an old number");
        assert_eq!(sender(&store).await.next_sequence, 107);
    })
    .await;
}

#[tokio::test]
async fn fault_15_what_a_sender_dropped_is_not_lost_a_second_time() {
    on_all(Limits::default(), async |store| {
        append(&store, &batch("vm-1", 0, 2)).await;
        let mut sent = batch("vm-1", 6, 1);
        for (told, new) in [(4, 4), (4, 0), (3, 0)] {
            sent["dropped"] = told.into();
            assert_eq!(append(&store, &sent).await.dropped, new);
        }
        let known = sender(&store).await;
        assert_eq!((known.missing, known.dropped, known.lost()), (4, 4, 0));
        append(&store, &batch("vm-1", 9, 1)).await;
        assert_eq!(sender(&store).await.lost(), 2);
        let mut empty = batch("vm-1", 12, 0);
        empty["dropped"] = 6.into();
        append(&store, &empty).await;
        let known = sender(&store).await;
        assert_eq!((known.missing, known.dropped, known.lost()), (8, 6, 2), "an empty batch tells how far numbers were used");
    })
    .await;
}

#[tokio::test]
async fn a_number_that_nobody_can_tell_about_is_refused_and_not_acknowledged() {
    on_all(Limits::default(), async |store| {
        for number in 0..100 {
            append(&store, &batch("vm-1", number * 2 + 1, 1)).await;
        }
        let late = try_append(&store, &batch("vm-1", 0, 1), 1_000).await;
        assert!(matches!(late, Err(StoreError::TooOld { number: 0 })), "{late:?}");
        assert_eq!(append(&store, &batch("vm-1", 1, 1)).await, duplicates(1), "what is remembered can be told");
        assert_eq!(append(&store, &batch("vm-1", 198, 1)).await, Appended::default(), "so can the last gaps");
    })
    .await;
}

#[tokio::test]
async fn the_history_is_bounded_by_events_bytes_and_age_and_keeps_the_newest() {
    let keeps = async |limits: Limits, wait: bool| {
        on_all(limits, async |store| {
            for first in (0..4_000).step_by(100) {
                append(&store, &batch("vm-1", first, 100)).await;
            }
            if wait {
                tokio::time::sleep(std::time::Duration::from_millis(2_100)).await;
                append(&store, &batch("vm-1", 4_000, 100)).await;
            }
            let kept = history(&store).await;
            assert!((100..=1_000).contains(&kept.len()), "{} events kept by {limits:?}", kept.len());
            let newest = if wait { 4_099 } else { 3_999 };
            assert_eq!(kept, (0..=newest).rev().take(kept.len()).collect::<Vec<_>>());
        })
        .await;
    };
    keeps(Limits { events: 1_000, ..Limits::default() }, false).await;
    keeps(Limits { bytes: 150_000, ..Limits::default() }, false).await;
    keeps(Limits { seconds: 2, ..Limits::default() }, true).await;
}

#[tokio::test]
async fn what_is_on_disk_outlives_the_store_with_what_is_known_of_senders() {
    let folder = TempDir::new().expect("a folder");
    let open = || {
        let store = LocalStore::on_disk(&folder.path().join("events"), Limits::default()).expect("a store");
        Store::Local(Arc::new(store))
    };
    let store = open();
    append(&store, &batch("vm-1", 2, 3)).await;
    drop(store);
    let store = open();
    assert_eq!(history(&store).await, [4, 3, 2]);
    assert_eq!(append(&store, &batch("vm-1", 2, 4)).await, duplicates(3));
    let mut forged = batch("vm-1", 2, 1);
    forged["events"][0]["summary"] = "other".into();
    assert_eq!(append(&store, &forged).await.conflicts, 1, "contents are known again");
    assert_eq!(sender(&store).await.missing, 2);
}

#[tokio::test]
async fn fault_10_a_setting_holds_for_all_collectors_of_a_store() {
    let Some(redis) = Redis::start() else { return };
    let (first, second) = (redis.store(Limits::default()), redis.store(Limits { events: 10, ..Limits::default() }));
    for number in 0..10 {
        append(&first, &batch("vm-1", number * 10, 10)).await;
        append(&second, &batch("vm-2", number * 10, 10)).await;
    }
    assert_eq!(history(&first).await.len(), 200, "the smallest option trims nobody's events");
    assert_eq!(second.limits(), Limits::default());
    second.set_limits(Limits { events: 50, ..Limits::default() }).await.expect("set");
    append(&second, &batch("vm-2", 100, 10)).await;
    assert_eq!(history(&first).await.len(), 50, "what is set holds");
}
