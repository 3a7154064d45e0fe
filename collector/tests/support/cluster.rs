//! A Redis Cluster of a test's own: three masters with a replica each.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use tempfile::TempDir;
use weir_collector::{Access, Collector, Deployment, Limits, RedisOptions, RedisStore, Store, app};

use super::free_port;

/// How long a cluster may take to elect a master, on a busy machine.
pub const FAILOVER: Duration = Duration::from_secs(60);

/// How often it is tried to make one.
const MOST_TRIES: usize = 5;

/// Six nodes; they end with the test.
pub struct Cluster {
    folder: TempDir,
    pub nodes: Vec<(u16, Child)>,
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
    pub fn start() -> Option<Self> {
        if Command::new("redis-cli").arg("--version").stdout(Stdio::null()).status().is_err() {
            writeln!(std::io::stderr(), "skipped: the tests of Redis Cluster (redis-server is not installed)").expect("stderr");
            return None;
        }
        // Between the search for a free port and its use another test may take it.
        let made = (0..MOST_TRIES).find_map(|_| Self::try_start());
        let cluster = made.expect("redis-cli makes a cluster");
        cluster.wait_until_whole();
        Some(cluster)
    }

    fn try_start() -> Option<Self> {
        let folder = TempDir::new().expect("a folder");
        let nodes = (0..6).map(|_| free_port_for_cluster()).map(|port| (port, launch(&folder, port))).collect();
        let mut cluster = Self { folder, nodes };
        let addresses: Vec<_> = cluster.nodes.iter().map(|(port, _)| format!("127.0.0.1:{port}")).collect();
        for (port, _) in &cluster.nodes {
            wait("a node answers", || cli(*port, &["ping"]).trim() == "PONG");
        }
        if cluster.nodes.iter_mut().any(|(_, node)| node.try_wait().expect("a process").is_some()) {
            // Somebody else's server answered.
            return None;
        }
        let made = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(&addresses)
            .args(["--cluster-replicas", "1", "--cluster-yes"])
            .stdout(Stdio::null())
            .status();
        made.expect("redis-cli").success().then_some(cluster)
    }

    pub fn options(&self) -> RedisOptions {
        RedisOptions {
            urls: self.nodes.iter().map(|(port, _)| format!("redis://127.0.0.1:{port}")).collect(),
            deployment: Deployment::Cluster,
            prefix: "test".to_owned(),
            shards: 8,
            replicas: 1,
            ca: None,
        }
    }

    pub fn app(&self) -> Router {
        let store = RedisStore::new(&self.options(), Limits::default()).expect("a store");
        app(Collector::new(Store::Redis(Arc::new(store)), Access::Open))
    }

    /// The nodes that are masters now and have slots.
    pub fn masters(&self) -> Vec<usize> {
        let is_master = |port: u16| cli(port, &["info", "replication"]).contains("role:master");
        (0..self.nodes.len()).filter(|index| is_master(self.nodes[*index].0)).collect()
    }

    /// Every slot is served, and every master has a replica that follows it.
    pub fn wait_until_whole(&self) {
        wait("the cluster is whole", || {
            let well = |port: u16| cli(port, &["cluster", "info"]).contains("cluster_state:ok");
            let masters = self.masters();
            let followed = |index: &usize| cli(self.nodes[*index].0, &["info", "replication"]).contains("state=online");
            self.nodes.iter().all(|(port, _)| well(*port)) && masters.len() == 3 && masters.iter().all(followed)
        });
    }

    pub fn kill(&mut self, index: usize) {
        let (_, node) = &mut self.nodes[index];
        node.kill().expect("it ran");
        node.wait().expect("it ended");
    }

    pub fn restart(&mut self, index: usize) {
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

pub fn cli(port: u16, words: &[&str]) -> String {
    let answer = Command::new("redis-cli").args(["-p", &port.to_string()]).args(words).stderr(Stdio::null()).output();
    String::from_utf8(answer.expect("redis-cli").stdout).unwrap_or_default()
}

pub fn wait(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < FAILOVER, "{what}: not within {FAILOVER:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
