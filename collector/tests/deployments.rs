//! The collector on what else there is of Redis: TLS with an authority of one's own, ACL, and Sentinel with a failover.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may panic"
)]

mod support;

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use support::cluster::{FAILOVER, wait};
use support::{batch, free_port, get, history, post};
use tempfile::TempDir;
use weir_collector::{Access, Collector, Deployment, Limits, RedisOptions, RedisStore, Store, app};

/// Ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn has(program: &str, argument: &str) -> bool {
    let is_there = Command::new(program).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !is_there {
        writeln!(std::io::stderr(), "skipped: a test of Redis ({program} is not installed)").expect("stderr");
    }
    is_there
}

fn run_redis(folder: &Path, arguments: &[&str]) -> Process {
    let mut command = Command::new("redis-server");
    command.args(arguments).arg("--dir").arg(folder).stdout(Stdio::null());
    Process(command.spawn().expect("redis-server starts"))
}

fn options(url: String, deployment: Deployment) -> RedisOptions {
    RedisOptions { urls: vec![url], deployment, prefix: "test".to_owned(), shards: 2, replicas: 0, ca: None }
}

fn app_of(options: &RedisOptions) -> Router {
    let store = RedisStore::new(options, Limits::default()).expect("a store");
    app(Collector::new(Store::Redis(Arc::new(store)), Access::Open))
}

async fn deliver(app: &Router, batch: &serde_json::Value) {
    let started = Instant::now();
    loop {
        let answer = post(app, batch).await;
        if answer.status == StatusCode::ACCEPTED {
            return;
        }
        assert!(started.elapsed() < FAILOVER, "the batch is not accepted: {}", answer.text);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Makes an authority, and a certificate of its own for 127.0.0.1.
fn make_certificates(folder: &Path) {
    let openssl = |words: &str| {
        let done = Command::new("openssl").args(words.split(' ')).current_dir(folder).stderr(Stdio::null()).status();
        assert!(done.expect("openssl").success(), "openssl {words}");
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {key} -keyout ca.key -out ca.crt -days 2 -subj /CN=test-authority"));
    openssl(&format!("req {key} -keyout redis.key -out redis.csr -subj /CN=redis"));
    std::fs::write(folder.join("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n").expect("a file");
    openssl("x509 -req -in redis.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out redis.crt -days 2 -extfile names");
}

#[tokio::test]
async fn redis_with_tls_and_users_is_taken_with_its_authority_and_the_right_password_alone() {
    if !has("redis-server", "--version") || !has("openssl", "version") {
        return;
    }
    let folder = TempDir::new().expect("a folder");
    make_certificates(folder.path());
    let port = free_port();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (certificate, key, ca) = (file("redis.crt"), file("redis.key"), file("ca.crt"));
    let text = port.to_string();
    // What the collector needs, and no more.
    let user = "user weir on >a-password ~{test*}:* resetchannels -@all +@read +@write +@scripting +@connection +wait +info";
    std::fs::write(folder.path().join("users.acl"), format!("{user}\nuser default off\n")).expect("a file");
    let _redis = run_redis(
        folder.path(),
        &[
            &["--port", "0", "--tls-port", &text, "--bind", "127.0.0.1", "--appendonly", "yes", "--tls-auth-clients", "no"][..],
            &["--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-ca-cert-file", &ca],
            &["--aclfile", &file("users.acl")],
        ]
        .concat(),
    );
    let url = |password: &str| format!("rediss://weir:{password}@127.0.0.1:{port}/");
    let trusted = Some(std::fs::read(folder.path().join("ca.crt")).expect("a certificate"));
    let with = RedisOptions { ca: trusted.clone(), ..options(url("a-password"), Deployment::Single) };
    let app = app_of(&with);
    deliver(&app, &batch("vm-1", 0, 3)).await;
    deliver(&app, &batch("vm-2", 0, 3)).await;
    assert_eq!(history(&app).await.len(), 6);
    assert_eq!(get(&app, "/v1/senders").await.json()["senders"].as_array().map(Vec::len), Some(2));
    assert_eq!(get(&app, "/readyz").await.status, StatusCode::OK);

    let without_authority = options(url("a-password"), Deployment::Single);
    let wrong_password = RedisOptions { ca: trusted, ..options(url("another"), Deployment::Single) };
    for wrong in [without_authority, wrong_password] {
        let answer = post(&app_of(&wrong), &batch("vm-3", 0, 1)).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text);
        assert!(!answer.text.contains("a-password") && !answer.text.contains("another"), "{}", answer.text);
    }
    assert_eq!(history(&app).await.len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_say_who_is_master_and_what_is_acknowledged_outlives_it() {
    if !has("redis-server", "--version") {
        return;
    }
    let folder = TempDir::new().expect("a folder");
    let (master, replica) = (free_port(), free_port());
    let start = |port: u16, more: &[&str]| {
        let own = folder.path().join(port.to_string());
        std::fs::create_dir_all(&own).expect("a folder");
        let text = port.to_string();
        let common = ["--port", &text, "--bind", "127.0.0.1", "--appendonly", "yes", "--save", ""];
        run_redis(&own, &[&common[..], &["--repl-diskless-sync-delay", "0"], more].concat())
    };
    let first = start(master, &[]);
    let _second = start(replica, &["--replicaof", &format!("127.0.0.1 {master}")]);
    let ask = |port: u16, words: &[&str]| {
        let answer = Command::new("redis-cli").args(["-p", &port.to_string()]).args(words).stderr(Stdio::null()).output();
        String::from_utf8(answer.expect("redis-cli").stdout).expect("text")
    };
    wait("the replica follows", || ask(master, &["info", "replication"]).contains("state=online"));
    let sentinels: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let _processes: Vec<_> = sentinels
        .iter()
        .map(|port| {
            let own = folder.path().join(format!("sentinel-{port}"));
            std::fs::create_dir_all(&own).expect("a folder");
            let file = own.join("sentinel.conf");
            let settings = format!(
                "port {port}\nbind 127.0.0.1\nsentinel monitor events 127.0.0.1 {master} 2\n\
                 sentinel down-after-milliseconds events 1500\nsentinel failover-timeout events 5000\n"
            );
            std::fs::write(&file, settings).expect("a file");
            run_redis(&own, &[&file.display().to_string(), "--sentinel"])
        })
        .collect();
    let knows = |port: u16, what: &str| ask(port, &["sentinel", "master", "events"]).contains(what);
    wait("the sentinels know each other", || {
        let answer = |port: u16| ask(port, &["sentinel", "master", "events"]).replace('\n', " ");
        sentinels.iter().all(|port| answer(*port).contains("num-other-sentinels 2") && answer(*port).contains("num-slaves 1"))
    });
    let urls = sentinels.iter().map(|port| format!("redis://127.0.0.1:{port}")).collect();
    let deployment = Deployment::Sentinel { service: "events".to_owned() };
    let app = app_of(&RedisOptions { urls, replicas: 1, ..options(String::new(), deployment) });
    let mut next = 0;
    while next < 12 {
        deliver(&app, &batch("vm-1", next, 3)).await;
        next += 3;
    }

    // The master dies: nothing is acknowledged before another has its place, and then without a replica neither.
    drop(first);
    assert_eq!(post(&app, &batch("vm-1", next, 3)).await.status, StatusCode::SERVICE_UNAVAILABLE);
    wait("another one takes over", || knows(sentinels[0], &format!("\n{replica}\n")));
    let _first = start(master, &["--replicaof", &format!("127.0.0.1 {replica}")]);
    deliver(&app, &batch("vm-1", next, 3)).await;
    next += 3;
    let mut found: Vec<u64> = history(&app).await.iter().map(|stored| stored["sequence"].as_u64().expect("a number")).collect();
    found.sort_unstable();
    assert_eq!(found, (0..next).collect::<Vec<_>>());
    assert_eq!(get(&app, "/v1/senders").await.json()["senders"][0]["missing"], 0);
}
