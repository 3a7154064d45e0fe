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
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use support::{batch, free_port, get, history, post};
use tempfile::TempDir;
use weir_collector::{Access, Collector, Deployment, Limits, RedisOptions, RedisStore, Store, app};

/// How long a cluster may take to elect a master, on a busy machine.
const FAILOVER: Duration = Duration::from_secs(60);

/// Six nodes; they end with the test.
struct Cluster {
    folder: TempDir,
    nodes: Vec<(u16, Child)>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for (_, node) in &mut self.nodes {
            let _ = node.kill();
            let _ = node.wait();
        }
    }
}

impl Cluster {
    /// `None`, with a line that says so, where `redis-server` is not installed.
    fn start() -> Option<Self> {
        if Command::new("redis-cli").arg("--version").stdout(Stdio::null()).status().is_err() {
            writeln!(std::io::stderr(), "skipped: the tests of Redis Cluster (redis-server is not installed)").expect("stderr");
            return None;
        }
        let folder = TempDir::new().expect("a folder");
        let nodes = (0..6).map(|_| free_port_for_cluster()).map(|port| (port, launch(&folder, port))).collect();
        let cluster = Self { folder, nodes };
        let addresses: Vec<_> = cluster.nodes.iter().map(|(port, _)| format!("127.0.0.1:{port}")).collect();
        for (port, _) in &cluster.nodes {
            wait("a node answers", || cli(*port, &["ping"]).trim() == "PONG");
        }
        let made = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(&addresses)
            .args(["--cluster-replicas", "1", "--cluster-yes"])
            .stdout(Stdio::null())
            .status();
        assert!(made.expect("redis-cli").success());
        cluster.wait_until_whole();
        Some(cluster)
    }

    fn options(&self) -> RedisOptions {
        RedisOptions {
            urls: self.nodes.iter().map(|(port, _)| format!("redis://127.0.0.1:{port}")).collect(),
            deployment: Deployment::Cluster,
            prefix: "test".to_owned(),
            shards: 8,
            replicas: 1,
            ca: None,
        }
    }

    fn app(&self) -> Router {
        let store = RedisStore::new(&self.options(), Limits::default()).expect("a store");
        app(Collector::new(Store::Redis(Arc::new(store)), Access::Open))
    }

    /// The nodes that are masters now and have slots.
    fn masters(&self) -> Vec<usize> {
        let is_master = |port: u16| cli(port, &["info", "replication"]).contains("role:master");
        (0..self.nodes.len()).filter(|index| is_master(self.nodes[*index].0)).collect()
    }

    /// Every slot is served, and every master has a replica that follows it.
    fn wait_until_whole(&self) {
        wait("the cluster is whole", || {
            let well = |port: u16| cli(port, &["cluster", "info"]).contains("cluster_state:ok");
            let masters = self.masters();
            let followed = |index: &usize| cli(self.nodes[*index].0, &["info", "replication"]).contains("state=online");
            self.nodes.iter().all(|(port, _)| well(*port)) && masters.len() == 3 && masters.iter().all(followed)
        });
    }

    fn kill(&mut self, index: usize) {
        let (_, node) = &mut self.nodes[index];
        node.kill().expect("it ran");
        node.wait().expect("it ended");
    }

    fn restart(&mut self, index: usize) {
        let port = self.nodes[index].0;
        self.nodes[index].1 = launch(&self.folder, port);
    }
}

/// The port of the cluster's own talk is 10,000 higher.
fn free_port_for_cluster() -> u16 {
    loop {
        let port = free_port();
        if port < 55_000 && std::net::TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return port;
        }
    }
}

fn launch(folder: &TempDir, port: u16) -> Child {
    let own = folder.path().join(port.to_string());
    std::fs::create_dir_all(&own).expect("a folder");
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--appendonly", "yes", "--save", ""])
        .args(["--cluster-enabled", "yes", "--cluster-node-timeout", "1500", "--repl-diskless-sync-delay", "0"])
        .arg("--dir")
        .arg(own)
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server starts")
}

fn cli(port: u16, words: &[&str]) -> String {
    let answer = Command::new("redis-cli").args(["-p", &port.to_string()]).args(words).stderr(Stdio::null()).output();
    String::from_utf8(answer.expect("redis-cli").stdout).unwrap_or_default()
}

fn wait(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < FAILOVER, "{what}: not within {FAILOVER:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

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
