//! The program `weir` as it is started and stopped.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may panic"
)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use support::{NEVER, free_port};

fn weir(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.arg("collect").args(arguments).stderr(Stdio::piped());
    for variable in [
        "REDIS_URL",
        "WEIR_COLLECTOR_LISTEN",
        "WEIR_COLLECTOR_TOKEN",
        "WEIR_COLLECTOR_TOKENS",
        "WEIR_COLLECTOR_DATA",
        "WEIR_COLLECTOR_URL",
        "RUST_LOG",
    ] {
        command.env_remove(variable);
    }
    command
}

/// Ends the program with the test, whatever the test found.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs what is expected to end by itself with one clear sentence.
fn refusal(arguments: &[&str]) -> String {
    let Output { status, stderr, .. } = weir(arguments).output().expect("weir starts");
    assert_eq!(status.code(), Some(1));
    let text = String::from_utf8(stderr).expect("text");
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[test]
fn a_taken_port_is_told_in_one_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    assert!(refusal(&["--memory", "--listen", &address]).contains(&format!("{address} is taken by another program")));
}

#[test]
fn other_machines_are_not_served_without_a_token_by_accident() {
    let address = format!("0.0.0.0:{}", free_port());
    assert!(refusal(&["--listen", &address]).contains("set --token (or WEIR_COLLECTOR_TOKEN) or --tokens, or say --no-auth"));
}

#[test]
fn a_wrong_redis_address_is_told_without_its_password() {
    let text = refusal(&["--listen", "127.0.0.1:0", "--redis-url", "http://user:hunter2@localhost"]);
    assert!(text.contains("--redis-url"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

/// A collector that runs, and where.
fn start(arguments: &[&str]) -> (Running, String) {
    let mut running = Running(weir(&["--listen", "127.0.0.1:0"]).args(arguments).spawn().expect("weir starts"));
    let mut log = BufReader::new(running.0.stderr.take().expect("a log"));
    let mut line = String::new();
    log.read_line(&mut line).expect("a line");
    let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next()).expect("an address").to_owned();
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    (running, address)
}

fn post(address: &str, batch: &serde_json::Value) -> String {
    let body = batch.to_string();
    let mut stream = TcpStream::connect(address).expect("a connection");
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn export(address: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.env_remove("WEIR_COLLECTOR_TOKEN").args(["export", "--url", &format!("http://{address}")]).args(arguments);
    command.output().expect("weir starts")
}

#[test]
fn events_on_disk_outlive_a_collector_that_is_killed_at_any_time() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("events");
    let file = file.to_str().expect("text");
    let mut acknowledged = 0_u64;
    for round in 0..4 {
        let (mut running, address) = start(&["--data", file]);
        let killer = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(120 + 40 * round));
            running.0.kill().expect("it ran");
            running.0.wait().expect("it ended");
        });
        // The batch that got no answer is sent again to the next one.
        loop {
            let batch = support::batch("vm-1", acknowledged, 4);
            let Ok(answer) = std::panic::catch_unwind(|| post(&address, &batch)) else { break };
            if !answer.starts_with("HTTP/1.1 202") {
                break;
            }
            acknowledged += 4;
        }
        killer.join().expect("killed");
    }
    assert!(acknowledged > 0);
    let (_running, address) = start(&["--data", file]);
    assert!(post(&address, &support::batch("vm-1", acknowledged, 4)).starts_with("HTTP/1.1 202"));
    let lines = String::from_utf8(export(&address, &[]).stdout).expect("text");
    let numbers: Vec<u64> = lines
        .lines()
        .rev()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["sequence"].as_u64().expect("a number"))
        .collect();
    assert_eq!(numbers, (0..acknowledged + 4).collect::<Vec<_>>(), "acknowledged events are there once");
}

#[test]
fn tail_and_export_show_what_a_query_chooses() {
    let (_running, address) = start(&["--memory"]);
    let mut tail = Command::new(env!("CARGO_BIN_EXE_weir"));
    tail.env_remove("WEIR_COLLECTOR_TOKEN").args([
        "tail",
        "--url",
        &format!("http://{address}"),
        "-summary:*-1",
        "kind:policy_action",
    ]);
    let mut tail = Running(tail.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("weir starts"));
    let mut lines = BufReader::new(tail.0.stdout.take().expect("output")).lines();
    let (found, first) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        while let Some(Ok(line)) = lines.next() {
            let _ = found.send(line);
        }
    });
    // What is sent before the tail listens is not new to it: each attempt is a batch of its own.
    let started = Instant::now();
    let mut sent = support::batch("vm-1", 0, 3);
    sent["events"][2]["summary"] = "turned \u{202e}round\u{1b}[2J".into();
    let mut next = 0;
    let line = loop {
        sent["sequence"] = next.into();
        next += 3;
        post(&address, &sent);
        if let Ok(line) = first.recv_timeout(std::time::Duration::from_millis(300)) {
            break line;
        }
        assert!(started.elapsed() < NEVER, "nothing is shown");
    };
    assert!(line.contains("policy_action") && line.ends_with("event vm-1-0"), "{line}");
    let line = first.recv_timeout(NEVER).expect("the one after the next");
    assert!(line.ends_with(r"turned \u{202e}round\u{1b}[2J"), "{line}");

    let table = String::from_utf8(export(&address, &["--format", "csv", "--since", "1h", "summary:*-1"]).stdout).expect("text");
    assert_eq!(table.lines().count() as u64, 1 + next / 3, "{table}");
    let wrong = export(&address, &["toll:rm"]);
    assert!(!wrong.status.success() && String::from_utf8_lossy(&wrong.stderr).contains("there is no field `toll`"));
}

#[test]
fn a_token_is_made_with_the_line_that_knows_it() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let made = Command::new(env!("CARGO_BIN_EXE_weir")).args(["token", "ann", "--roles", "read"]).output().expect("weir starts");
    let said = String::from_utf8(made.stderr).expect("text");
    let token = said.lines().next().and_then(|line| line.rsplit(' ').next()).expect("a token");
    let file = folder.path().join("tokens");
    std::fs::write(&file, made.stdout).expect("written");
    let (_running, address) = start(&["--memory", "--tokens", file.to_str().expect("text")]);
    assert!(!export(&address, &[]).status.success());
    assert!(export(&address, &["--token", token]).status.success());
}

#[test]
fn it_ends_when_asked_even_while_a_live_stream_is_open() {
    for signal in ["-TERM", "-INT"] {
        let mut running = Running(weir(&["--memory", "--listen", "127.0.0.1:0"]).spawn().expect("weir starts"));
        let mut log = BufReader::new(running.0.stderr.take().expect("a log"));
        let mut line = String::new();
        log.read_line(&mut line).expect("a line");
        let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next()).expect("an address");

        let mut stream = TcpStream::connect(address).expect("a connection");
        write!(stream, "GET /v1/activity/stream HTTP/1.1\r\nhost: {address}\r\n\r\n").expect("sent");
        let mut start = [0; 15];
        stream.read_exact(&mut start).expect("an answer");
        assert_eq!(&start, b"HTTP/1.1 200 OK");

        let id = running.0.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().expect("kill").success());
        let asked = Instant::now();
        let status = loop {
            if let Some(status) = running.0.try_wait().expect("a status") {
                break status;
            }
            assert!(asked.elapsed() < NEVER, "it does not end");
            std::thread::sleep(std::time::Duration::from_millis(10));
        };
        assert!(status.success(), "{status}");
    }
}
