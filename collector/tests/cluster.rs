//! The collector on a Redis Cluster: three masters with a replica each, that are killed.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may panic"
)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use support::cluster::{Cluster, FAILOVER, cli, wait};
use support::{batch, get, history, post};

/// Sends a batch until it is acknowledged, as a sender does.
async fn deliver(app: &Router, batch: &serde_json::Value) {
    let started = Instant::now();
    while post(app, batch).await.status != StatusCode::ACCEPTED {
        assert!(started.elapsed() < FAILOVER, "the batch is not accepted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_5_every_master_has_its_part_and_what_is_acknowledged_outlives_each_of_them() {
    let Some(mut cluster) = Cluster::start() else { return };
    let apps = [cluster.app(), cluster.app()];
    let senders: Vec<_> = (0..12).map(|number| format!("vm-{number}")).collect();
    for sender in &senders {
        deliver(&apps[0], &batch(sender, 0, 3)).await;
    }
    for master in cluster.masters() {
        let keys = cli(cluster.nodes[master].0, &["dbsize"]).trim().parse::<u64>().expect("a number");
        assert!(keys > 0, "a master has nothing");
    }
    assert_eq!(history(&apps[1]).await.len(), 36, "another collector shows all shards");

    // Masters die in turn while everybody sends; each comes back as a replica before the next one goes.
    let stop = Arc::new(AtomicBool::new(false));
    let sending: Vec<_> = senders
        .iter()
        .cloned()
        .enumerate()
        .map(|(number, sender)| {
            let (stop, app) = (Arc::clone(&stop), apps[number % 2].clone());
            tokio::spawn(async move {
                let mut next = 3;
                while !stop.load(Ordering::Relaxed) {
                    deliver(&app, &batch(&sender, next, 4)).await;
                    next += 4;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                (sender, next)
            })
        })
        .collect();
    let killing = tokio::task::spawn_blocking(move || {
        for round in 0..2 {
            std::thread::sleep(Duration::from_millis(300));
            let victim = cluster.masters()[round];
            cluster.kill(victim);
            wait("another one takes over", || cluster.masters().len() == 3);
            cluster.restart(victim);
            cluster.wait_until_whole();
        }
        cluster
    });
    let cluster = killing.await.expect("the cluster lives");
    stop.store(true, Ordering::Relaxed);
    let mut sent = BTreeMap::new();
    for one in sending {
        let (sender, next) = one.await.expect("it sent");
        sent.insert(sender, next);
    }
    let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for stored in history(&cluster.app()).await {
        let number = stored["sequence"].as_u64().expect("a number");
        found.entry(stored["sender"].as_str().expect("text").to_owned()).or_default().push(number);
    }
    for (sender, next) in sent {
        let mut numbers = found.remove(&sender).unwrap_or_default();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..next).collect::<Vec<_>>(), "what {sender} was told is stored is there once");
    }
    let known = get(&apps[0], "/v1/senders").await.json();
    for sender in known["senders"].as_array().expect("a list") {
        assert_eq!((sender["missing"].as_u64(), sender["conflicts"].as_u64()), (Some(0), Some(0)), "{sender}");
    }
}
