//! What the tests of the collector share.
#![allow(dead_code, reason = "every test file uses a part of it")]
#![allow(unreachable_pub, reason = "shared between test files")]

pub mod cluster;

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;
use weir_collector::{Access, Collector, Deployment, Limits, LocalStore, RedisOptions, RedisStore, Store, app};

/// How long something may take that would otherwise never happen. Long enough for a busy machine.
pub const NEVER: Duration = Duration::from_secs(20);

pub const TOKEN: &str = "0123456789abcdef";

pub fn memory_store(limits: Limits) -> Store {
    Store::Local(Arc::new(LocalStore::in_memory(limits)))
}

/// A collector that keeps events in memory and lets everyone in.
pub fn open_app() -> Router {
    app(Collector::new(memory_store(Limits::default()), Access::Open))
}

pub fn event(id: &str) -> Value {
    json!({
        "id": id, "kind": "policy_action", "time_ms": 1_760_000_000_000_u64, "call_id": "call-1",
        "event_type": "judge.blocked", "severity": "warning", "summary": format!("event {id}"),
    })
}

/// A batch of `sender` whose events have the ids `first..first + count` and the same sequence numbers.
pub fn batch(sender: &str, first: u64, count: u64) -> Value {
    let events: Vec<_> = (first..first + count).map(|number| event(&format!("{sender}-{number}"))).collect();
    json!({"sender": sender, "sequence": first, "dropped": 0, "events": events})
}

/// The ids of a list of stored events.
pub fn ids(events: &Value) -> Vec<&str> {
    events.as_array().expect("a list").iter().map(|stored| stored["event"]["id"].as_str().expect("an id")).collect()
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {:?}", self.text))
    }
}

pub async fn send(app: &Router, request: Request<Body>) -> Answer {
    let response = app.clone().oneshot(request).await.expect("the app answers");
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.expect("a whole body").to_bytes();
    let text = String::from_utf8(bytes.to_vec()).expect("text");
    Answer { status: parts.status, headers: parts.headers, text }
}

pub async fn get(app: &Router, path: &str) -> Answer {
    send(app, Request::get(path).body(Body::empty()).expect("a request")).await
}

pub async fn post(app: &Router, batch: &Value) -> Answer {
    post_text(app, batch.to_string()).await
}

pub async fn post_text(app: &Router, body: String) -> Answer {
    let request = Request::post("/v1/events").header(header::CONTENT_TYPE, "application/json; charset=utf-8");
    send(app, request.body(Body::from(body)).expect("a request")).await
}

/// The whole history, newest first.
pub async fn history(app: &Router) -> Vec<Value> {
    let mut found = Vec::new();
    let mut path = "/v1/events?limit=1000".to_owned();
    loop {
        let page = get(app, &path).await.json();
        found.extend(page["events"].as_array().unwrap_or_else(|| panic!("a list in {page}")).iter().cloned());
        let Some(next) = page["next"].as_str() else { return found };
        path = format!("/v1/events?limit=1000&before={next}");
    }
}

/// A live stream, read message by message.
pub struct Live {
    body: Body,
    buffer: String,
    last_id: String,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Message {
    pub id: String,
    pub event: String,
    pub data: String,
}

impl Message {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).expect("messages are JSON")
    }

    pub fn event_id(&self) -> String {
        self.json()["event"]["id"].as_str().expect("an id").to_owned()
    }
}

impl Live {
    pub async fn open(app: &Router, query: &str, last_event_id: Option<&str>) -> Self {
        let mut request = Request::get(format!("/v1/activity/stream{query}"));
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = app.clone().oneshot(request.body(Body::empty()).expect("a request")).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        Self { body: response.into_body(), buffer: String::new(), last_id: String::new() }
    }

    /// The next message; `None` when the stream has ended.
    pub async fn next(&mut self) -> Option<Message> {
        tokio::time::timeout(NEVER, self.read()).await.expect("the stream says something")
    }

    /// How far the reader has come, as soon as that is told.
    pub async fn cursor(&mut self) -> String {
        loop {
            while let Some((text, rest)) = self.buffer.split_once("\n\n") {
                self.last_id = text.lines().find_map(|line| line.strip_prefix("id: ")).unwrap_or_default().to_owned();
                self.buffer = rest.to_owned();
            }
            if !self.last_id.is_empty() {
                return self.last_id.clone();
            }
            let frame = self.body.frame().await.expect("it goes on").expect("a frame");
            self.buffer.push_str(std::str::from_utf8(frame.data_ref().expect("data")).expect("text"));
        }
    }

    async fn read(&mut self) -> Option<Message> {
        loop {
            while let Some((text, rest)) = self.buffer.split_once("\n\n") {
                let (text, rest) = (text.to_owned(), rest.to_owned());
                self.buffer = rest;
                let mut message = Message::default();
                for line in text.lines() {
                    match line.split_once(": ") {
                        Some(("id", id)) => {
                            message.id = id.to_owned();
                            self.last_id = id.to_owned();
                        }
                        Some(("event", event)) => message.event = event.to_owned(),
                        Some(("data", data)) => message.data.push_str(data),
                        _ => {}
                    }
                }
                if !message.data.is_empty() {
                    return Some(message);
                }
            }
            let frame = self.body.frame().await?.expect("a frame");
            self.buffer.push_str(std::str::from_utf8(frame.data_ref().expect("data")).expect("text"));
        }
    }
}

/// A Redis of a test's own, with its data on disk; ends with the test.
pub struct Redis {
    port: u16,
    folder: TempDir,
    process: Child,
}

impl Redis {
    /// `None`, with a line that says so, where `redis-server` is not installed.
    pub fn start() -> Option<Self> {
        if Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_err() {
            // Not with a macro: those are captured, and this line is to be seen.
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            writeln!(std::io::stderr(), "skipped: {test} (redis-server is not installed)").expect("stderr");
            return None;
        }
        let port = free_port();
        let folder = TempDir::new().expect("a folder");
        let process = Self::launch(port, &folder);
        Some(Self { port, folder, process })
    }

    fn launch(port: u16, folder: &TempDir) -> Child {
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--appendonly", "yes", "--save", ""])
            // With `everysec` Redis answers before it has written while a slow disk syncs: collector/README.md.
            .args(["--appendfsync", "always"])
            .arg("--dir")
            .arg(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server starts");
        let ping = || {
            redis::Client::open(Self::url_of(port))?
                .get_connection()?
                .send_packed_command(&redis::cmd("PING").get_packed_command())
        };
        let started = std::time::Instant::now();
        while ping().is_err() {
            assert!(started.elapsed() < NEVER, "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        process
    }

    fn url_of(port: u16) -> String {
        format!("redis://127.0.0.1:{port}/")
    }

    pub fn url(&self) -> String {
        Self::url_of(self.port)
    }

    pub fn options(&self) -> RedisOptions {
        RedisOptions {
            urls: vec![self.url()],
            deployment: Deployment::Single,
            prefix: "test".to_owned(),
            shards: 1,
            replicas: 0,
            ca: None,
        }
    }

    /// Sends a command to it.
    pub fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut connection = redis::Client::open(self.url()).and_then(|client| client.get_connection()).expect("a connection");
        let mut words = words.iter();
        let mut command = redis::cmd(words.next().expect("a command"));
        for word in words {
            command.arg(*word);
        }
        command.query(&mut connection).expect("an answer")
    }

    pub fn store(&self, limits: Limits) -> Store {
        Store::Redis(Arc::new(RedisStore::new(&self.options(), limits).expect("a valid address")))
    }

    pub fn app(&self) -> Router {
        app(Collector::new(self.store(Limits::default()), Access::Open))
    }

    /// Ends Redis the hard way: what it had not written by now is lost.
    pub fn kill(&mut self) {
        self.process.kill().expect("redis-server is running");
        self.process.wait().expect("redis-server has ended");
    }

    /// Makes Redis take no notice of anything, with its connections open.
    pub fn hang(&self) {
        self.signal("-STOP");
    }

    /// Ends [`Self::hang`].
    pub fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().expect("kill").success());
    }

    /// Starts it again with the data on disk.
    pub fn restart(&mut self) {
        self.process = Self::launch(self.port, &self.folder);
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have been killed by the test.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}
