//! Connections that want too much: the collector as it runs, with its limits made small enough to see them.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may panic"
)]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use support::{NEVER, batch, memory_store};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;
use weir_collector::{Access, Collector, ConnectionLimits, Limits, serve};

/// A collector that listens; it ends with the test.
struct Running {
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

async fn start(limits: ConnectionLimits) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel::<()>();
    let collector = Collector::new(memory_store(Limits::default()), Access::Open);
    tokio::spawn(serve(listener, None, collector, limits, async {
        let _ = stopped.await;
    }));
    Running { address, _stop: stop }
}

fn short() -> ConnectionLimits {
    ConnectionLimits { head: Duration::from_millis(300), idle: Duration::from_millis(900), ..ConnectionLimits::default() }
}

/// What comes until the other side closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset ends the connection as well.
    let _ = timeout(NEVER, stream.read_to_end(&mut bytes)).await.expect("the connection ends");
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn ask(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(text.as_bytes()).await.expect("sent");
    rest(&mut stream).await
}

fn post(body: &str) -> String {
    format!(
        "POST /v1/events HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_11_heads_that_do_not_end_and_connections_that_say_nothing_are_closed() {
    let running = start(short()).await;
    for text in ["", "GET /livez HTTP/1.1\r\nhost: x\r\nx-slow: "] {
        let mut stream = TcpStream::connect(running.address).await.expect("a connection");
        stream.write_all(text.as_bytes()).await.expect("sent");
        rest(&mut stream).await;
    }
    // One that has asked something and then keeps still, too.
    let mut stream = TcpStream::connect(running.address).await.expect("a connection");
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_11_connections_beyond_the_limit_wait_for_a_place() {
    let running = start(ConnectionLimits { connections: 3, ..short() }).await;
    let mut idle = Vec::new();
    for _ in 0..3 {
        idle.push(TcpStream::connect(running.address).await.expect("a connection"));
    }
    let started = std::time::Instant::now();
    let answer = ask(running.address, "GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(started.elapsed() >= Duration::from_millis(200), "it came when one of the idle ones was closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_11_bodies_that_do_not_end_take_a_bounded_room() {
    let running = start(ConnectionLimits::default()).await;
    let pad = "x".repeat(3 * 1024 * 1024);
    let head =
        format!("POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 4194304\r\n\r\n{pad}");
    let mut unfinished = Vec::new();
    for _ in 0..60 {
        let mut stream = TcpStream::connect(running.address).await.expect("a connection");
        let head = head.clone();
        unfinished.push(tokio::spawn(async move {
            // Whoever finds no room is told so and closed while still sending.
            let _ = stream.write_all(head.as_bytes()).await;
            let mut start = [0; 12];
            let told = timeout(Duration::from_secs(3), stream.read_exact(&mut start)).await;
            (matches!(told, Ok(Ok(_))) && start == *b"HTTP/1.1 503", stream)
        }));
    }
    let mut refused = 0;
    let mut open = Vec::new();
    for one in unfinished {
        let (was_refused, stream) = one.await.expect("it ended");
        refused += u32::from(was_refused);
        open.push(stream);
    }
    assert!((30..60).contains(&refused), "{refused} of 60 bodies of 3 MiB found no room in 64 MiB");
    drop(open);
    // There is room again once they are gone.
    let sent = post(&batch("vm-1", 0, 1).to_string());
    let taken = async {
        while !ask(running.address, &sent).await.starts_with("HTTP/1.1 202") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(NEVER, taken).await.expect("a batch is taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_3_a_reader_that_is_stuck_is_let_go_and_others_read_on() {
    let running = start(short()).await;
    let stuck = TcpSocket::new_v4().expect("a socket");
    stuck.set_recv_buffer_size(4096).expect("a small buffer");
    let mut stuck = stuck.connect(running.address).await.expect("a connection");
    stuck.write_all(b"GET /v1/activity/stream HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
    let mut start = [0; 15];
    stuck.read_exact(&mut start).await.expect("it began");

    let mut sent = batch("vm-1", 0, 50);
    for index in 0..50 {
        sent["events"][index]["metadata"] = json!({"pad": "x".repeat(20_000)});
    }
    // The system takes some MiB before a reader that does not read is felt.
    for number in 0..30 {
        sent["sequence"] = (number * 50).into();
        assert!(ask(running.address, &post(&sent.to_string())).await.starts_with("HTTP/1.1 202"));
    }
    let subscribers = async || {
        let metrics = ask(running.address, "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        metrics.contains("weir_collector_stream_subscribers 0\n")
    };
    let let_go = async {
        while !subscribers().await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(NEVER, let_go).await.expect("the stuck reader is let go");
}
