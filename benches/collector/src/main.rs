//! What the collector costs: the program itself, over HTTP, with a Redis of its own. Costs are times of the processor, as
//! the system counts them for each process, so that they hold on a busy machine, too; what is a time by the clock says so.
//!
//! `make collector && cargo run --release --package weir-bench-collector` (`make bench` runs it)
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a bench may panic"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// How many events a batch has: what a busy filter sends at a time.
const BATCH: u64 = 100;

/// A batch as filters send them: some 700 bytes an event.
fn batch(sender: &str, sequence: u64, count: u64) -> String {
    let event = |index: u64| {
        json!({
            "id": format!("{sequence:032x}-{index}"), "kind": "response", "time_ms": now(),
            "call_id": format!("{:032x}", sequence + index), "trace_id": "0af7651916cd43dd8448eb211c80319c",
            "event_type": "enforcement", "severity": "info", "summary": "chat.completions answer: allow",
            "policy_target": "chat.completions",
            "metadata": {"decision": "allow", "effective_decision": "allow", "enforced": true, "model": "gpt-5",
                "policy_user": "ann", "duration_ms": 812, "held_ms": 0, "judge_questions": 1, "judge_latency_ms": 210,
                "request_bytes": 1830, "response_bytes": 24_011, "policy_id": "default", "policy_revision": "17"},
        })
    };
    let events: Vec<Value> = (0..count).map(event).collect();
    json!({"sender": sender, "sequence": sequence, "dropped": 0, "events": events}).to_string()
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
    u64::try_from(since.as_millis()).expect("a time")
}

/// A program of the bench's own; ends with it.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Program {
    /// Time of the processor so far, in seconds.
    fn spent(&self) -> f64 {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).expect("a process");
        let (_, fields) = text.rsplit_once(')').expect("a name");
        let ticks: u64 = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().expect("a number")).sum();
        ticks as f64 / 100.0
    }

    /// Memory that is in use, in MiB.
    fn memory(&self) -> f64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).expect("a process");
        let line = text.lines().find(|line| line.starts_with("VmRSS")).expect("a size");
        line.split_whitespace().nth(1).and_then(|size| size.parse::<f64>().ok()).expect("a number") / 1024.0
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

fn start_redis() -> Option<(Program, TempDir, String)> {
    let (port, folder) = (free_port(), TempDir::new().expect("a folder"));
    let arguments = ["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
    let mut command = Command::new("redis-server");
    let child = command.args(arguments).arg("--dir").arg(folder.path()).stdout(Stdio::null()).spawn().ok()?;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        std::thread::sleep(Duration::from_millis(20));
    }
    Some((Program(child), folder, format!("redis://127.0.0.1:{port}/")))
}

/// A collector, and where it is.
struct Collector {
    program: Program,
    url: String,
    agent: ureq::Agent,
}

impl Collector {
    fn start(options: &[&str]) -> Self {
        let beside = std::env::current_exe().expect("a path").with_file_name("weir");
        let mut command = Command::new(beside);
        command.args(["collect", "--listen", "127.0.0.1:0"]).args(options).stderr(Stdio::piped()).env_remove("REDIS_URL");
        let mut child = command.spawn().expect("weir starts");
        let mut log = BufReader::new(child.stderr.take().expect("a log"));
        let mut line = String::new();
        while !line.contains("http://") {
            line.clear();
            assert!(log.read_line(&mut line).expect("a line") > 0, "the collector did not start");
        }
        let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next()).expect("an address").to_owned();
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(20)));
        Self { program: Program(child), url: format!("http://{address}"), agent: ureq::Agent::new_with_config(config.build()) }
    }

    fn post(&self, body: &str) -> u16 {
        let request = self.agent.post(format!("{}/v1/events", self.url)).header("content-type", "application/json");
        request.send(body).map_or(0, |answer| answer.status().as_u16())
    }

    fn get(&self, path: &str) -> String {
        let mut answer = self.agent.get(format!("{}{path}", self.url)).call().expect("an answer");
        answer.body_mut().with_config().limit(64 * 1024 * 1024).read_to_string().expect("text")
    }

    /// Sends as fast as it takes them, from several senders; what each batch cost by the clock.
    fn flood(&self, name: &str, senders: u64, batches: u64) -> Vec<Duration> {
        let times = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for sender in 0..senders {
                let times = &times;
                scope.spawn(move || {
                    for number in 0..batches {
                        let body = batch(&format!("{name}-{sender}"), number * BATCH, BATCH);
                        let started = Instant::now();
                        assert_eq!(self.post(&body), 202, "a batch is not taken");
                        times.lock().expect("nobody panicked").push(started.elapsed());
                    }
                });
            }
        });
        times.into_inner().expect("nobody panicked")
    }

    /// Sends at a steady rate for a while; what each batch cost by the clock.
    fn trickle(&self, name: &str, events_a_second: u64, count: u64, seconds: u64) -> Vec<Duration> {
        let pause = Duration::from_secs_f64(count as f64 / events_a_second as f64);
        let (started, mut times) = (Instant::now(), Vec::new());
        for number in 0..seconds * events_a_second / count {
            let due = pause * u32::try_from(number).expect("few");
            std::thread::sleep(due.saturating_sub(started.elapsed()));
            let body = batch(name, number * count, count);
            let sent = Instant::now();
            assert_eq!(self.post(&body), 202, "a batch is not taken");
            times.push(sent.elapsed());
        }
        times
    }
}

fn percentile(times: &mut [Duration], share: f64) -> f64 {
    times.sort_unstable();
    let index = ((times.len() as f64 - 1.0) * share).round();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let index = index as usize;
    times[index].as_secs_f64() * 1000.0
}

fn row(what: &str, figure: &str) {
    println!("{what:<66} {figure}");
}

/// How many events a second one core takes: of the collector, and of its Redis.
fn ingest() -> f64 {
    let memory = Collector::start(&["--memory", "--history", "50000"]);
    memory.flood("warm", 2, 20);
    let (before, started) = (memory.program.spent(), Instant::now());
    memory.flood("f", 4, 250);
    let events = (4 * 250 * BATCH) as f64;
    let rate = events / started.elapsed().as_secs_f64();
    row("events a second of one collector core, memory", &format!("{:.0}", events / (memory.program.spent() - before)));
    row("  as it came out by the clock, 4 senders beside it", &format!("{rate:.0}"));
    drop(memory);
    let Some((redis, _folder, url)) = start_redis() else {
        row("events into Redis", "redis-server is not installed");
        return rate;
    };
    let collector = Collector::start(&["--redis-url", &url, "--history", "50000"]);
    collector.flood("warm", 2, 20);
    let (ours, of_redis) = (collector.program.spent(), redis.spent());
    collector.flood("f", 4, 250);
    row("events a second of one collector core, Redis", &format!("{:.0}", events / (collector.program.spent() - ours)));
    let spent = redis.spent() - of_redis;
    row("events a second into one Redis core", &format!("{:.0}", events / spent));
    let plain = bare_entries(&redis, &url);
    row("  the yardstick: one bare XADD an event, pipelined", &format!("{:.0}", 1.0 / plain));
    row("  cost of an event against the yardstick", &format!("{:.2}", spent / events / plain));
    rate
}

/// What one XADD of the same bytes costs Redis.
fn bare_entries(redis: &Program, url: &str) -> f64 {
    let address = url.trim_start_matches("redis://").trim_end_matches('/');
    let mut connection = TcpStream::connect(address).expect("a connection");
    let body = &batch("plain", 0, 1);
    let words = ["XADD", "plain", "MAXLEN", "~", "50000", "*", "event", body];
    let command: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    let commands = format!("*{}\r\n{command}", words.len()).repeat(usize::try_from(BATCH).expect("few"));
    let mut answers = BufReader::new(connection.try_clone().expect("the same connection"));
    let before = redis.spent();
    for _ in 0..1000 {
        connection.write_all(commands.as_bytes()).expect("sent");
        for _ in 0..BATCH {
            let mut line = String::new();
            answers.read_line(&mut line).expect("a length");
            assert!(line.starts_with('$'), "{line}");
            answers.read_line(&mut line).expect("an id");
        }
    }
    (redis.spent() - before) / (1000 * BATCH) as f64
}

fn latencies(rate: f64) {
    let collector = Collector::start(&["--memory"]);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
    let half = (rate / 2.0) as u64;
    let mut times = collector.trickle("half", half.max(1000), BATCH, 5);
    row(&format!("POST of {BATCH} events at {half} events/s (half load), p50 and p99"), &{
        let median = percentile(&mut times, 0.5);
        format!("{median:.1} and {:.1} ms", percentile(&mut times, 0.99))
    });

    // A page asks twice a second for what is new.
    let cursor: Value = serde_json::from_str(collector.get("/v1/events?limit=1").trim()).expect("JSON");
    let mut cursor = cursor["cursor"].as_str().expect("a cursor").to_owned();
    let (mut delays, done) = (Vec::new(), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            collector.trickle("page", 1000, 20, 6);
            done.store(1, Ordering::Relaxed);
        });
        while done.load(Ordering::Relaxed) == 0 {
            std::thread::sleep(Duration::from_millis(500));
            let page: Value =
                serde_json::from_str(&collector.get(&format!("/v1/events?after={cursor}&limit=1000"))).expect("JSON");
            cursor = page["cursor"].as_str().expect("a cursor").to_owned();
            let seen = now();
            let times =
                page["events"].as_array().expect("a list").iter().map(|one| one["event"]["time_ms"].as_u64().expect("a time"));
            delays.extend(times.map(|time| Duration::from_millis(seen.saturating_sub(time))));
        }
    });
    let p50 = percentile(&mut delays, 0.5);
    row("from event to page at 1,000/s, p50 and longest", &format!("{p50:.0} and {:.0} ms", percentile(&mut delays, 1.0)));
}

/// What 20 open pages cost beside none, at 3,000 events a second.
fn pages() {
    let cost = |pages: u64| {
        let collector = Collector::start(&["--memory", "--history", "100000"]);
        collector.flood("old", 2, 100);
        let done = AtomicU64::new(0);
        let before = collector.program.spent();
        std::thread::scope(|scope| {
            for _ in 0..pages {
                scope.spawn(|| {
                    let first: Value = serde_json::from_str(collector.get("/v1/events?limit=1").trim()).expect("JSON");
                    let mut cursor = first["cursor"].as_str().expect("a cursor").to_owned();
                    while done.load(Ordering::Relaxed) == 0 {
                        std::thread::sleep(Duration::from_millis(500));
                        let text = collector.get(&format!("/v1/events?after={cursor}&limit=1000&format=ndjson"));
                        let last: Value = serde_json::from_str(text.trim_end().lines().last().expect("a line")).expect("JSON");
                        cursor = last["cursor"].as_str().expect("a cursor").to_owned();
                    }
                });
            }
            collector.trickle("steady", 3000, BATCH, 8);
            done.store(1, Ordering::Relaxed);
        });
        collector.program.spent() - before
    };
    let (none, twenty) = (cost(0), cost(20));
    let figure = format!("{none:.2} and {twenty:.2} s in 8 s, {:.2} ×", twenty / none);
    row("processor at 3,000 events/s with no page and with 20 open", &figure);
}

fn memory() {
    let Some((mut redis, _folder, url)) = start_redis() else { return };
    let collector = Collector::start(&["--redis-url", &url, "--history", "100000"]);
    collector.flood("warm", 4, 100);
    let mut figures = vec![format!("{:.0}", collector.program.memory())];
    // Readers who open a live stream and never read.
    let _stuck: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = TcpStream::connect(collector.url.trim_start_matches("http://")).expect("a connection");
            let head =
                format!("GET /v1/activity/stream HTTP/1.1\r\nhost: {}\r\n\r\n", collector.url.trim_start_matches("http://"));
            stream.write_all(head.as_bytes()).expect("sent");
            let mut first = [0; 16];
            stream.read_exact(&mut first).expect("it begins");
            stream
        })
        .collect();
    for round in 0..4 {
        collector.flood(&format!("many{round}"), 4, 1250);
        figures.push(format!("{:.0}", collector.program.memory()));
    }
    redis.0.kill().expect("it ran");
    let body = batch("dead", 0, BATCH);
    let refused = (0..200).filter(|_| collector.post(&body) == 503).count();
    figures.push(format!("{:.0}", collector.program.memory()));
    row("MiB: warm, after each 500,000 events with 20 stuck readers, dead Redis", &figures.join(", "));
    row("  batches refused while Redis is dead", &format!("{refused} of 200"));
}

fn main() {
    println!("The collector (batches of {BATCH} events of {} bytes each)", batch("b", 0, BATCH).len() / 100);
    let rate = ingest();
    latencies(rate);
    pages();
    memory();
}
