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
    for variable in ["REDIS_URL", "WEIR_COLLECTOR_LISTEN", "WEIR_COLLECTOR_TOKEN", "RUST_LOG"] {
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
    assert!(refusal(&["--listen", &address]).contains(&format!("{address} is taken by another program")));
}

#[test]
fn other_machines_are_not_served_without_a_token_by_accident() {
    let address = format!("0.0.0.0:{}", free_port());
    assert!(refusal(&["--listen", &address]).contains("set --token (or WEIR_COLLECTOR_TOKEN), or say --no-auth"));
}

#[test]
fn a_wrong_redis_address_is_told_without_its_password() {
    let text = refusal(&["--listen", "127.0.0.1:0", "--redis-url", "http://user:hunter2@localhost"]);
    assert!(text.contains("--redis-url"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn it_ends_when_asked_even_while_a_live_stream_is_open() {
    for signal in ["-TERM", "-INT"] {
        let mut running = Running(weir(&["--listen", "127.0.0.1:0"]).spawn().expect("weir starts"));
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
