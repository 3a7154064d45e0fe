//! What stands behind the proxy: the provider, the judge and the collector, each on a port of its own.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::net::Ipv4Addr;
use std::rc::Rc;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::spawn_local;

use crate::conversation::{Frame, harmless_verdict};
use crate::http::Connection;

const STREAM_HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n";

/// How many connections may wait to be taken: what finds no room waits for a second and more.
const WAITING_CONNECTIONS: u32 = 4096;

/// The services, as the measurements see them.
#[derive(Debug, Default)]
pub(crate) struct Services {
    expected: RefCell<HashMap<u64, oneshot::Sender<ProviderEnd>>>,
    exchanges: Cell<u64>,
    judged: Cell<u64>,
    event_batches: Cell<u64>,
}

/// Where the services listen.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Ports {
    /// Port on which the proxy expects the provider.
    #[arg(long, global = true, default_value_t = 18400)]
    provider_port: u16,
    /// Port on which the proxy expects the judge.
    #[arg(long, global = true, default_value_t = 18401)]
    judge_port: u16,
    /// Port on which the proxy expects the collector.
    #[arg(long, global = true, default_value_t = 18402)]
    collector_port: u16,
}

impl Services {
    pub(crate) async fn start(ports: Ports) -> Result<Rc<Self>> {
        let services = Rc::new(Self::default());
        let provider = Rc::clone(&services);
        listen("provider", ports.provider_port, move |connection| answer_exchange(Rc::clone(&provider), connection)).await?;
        let judge = Rc::clone(&services);
        listen("judge", ports.judge_port, move |connection| {
            answer_always(connection, response("200 OK", &harmless_verdict()), counter(&judge, |services| &services.judged))
        })
        .await?;
        let collector = Rc::clone(&services);
        listen("collector", ports.collector_port, move |connection| {
            let accepted = response("202 Accepted", br#"{"accepted":0,"duplicates":0}"#);
            answer_always(connection, accepted, counter(&collector, |services| &services.event_batches))
        })
        .await?;
        Ok(services)
    }

    /// A number for a new exchange, and the provider's end of it as soon as the proxy has passed the request on.
    pub(crate) fn expect_exchange(&self) -> (u64, oneshot::Receiver<ProviderEnd>) {
        let number = self.exchanges.get();
        self.exchanges.set(number + 1);
        let (sender, receiver) = oneshot::channel();
        self.expected.borrow_mut().insert(number, sender);
        (number, receiver)
    }

    pub(crate) fn judged(&self) -> u64 {
        self.judged.get()
    }

    pub(crate) fn event_batches(&self) -> u64 {
        self.event_batches.get()
    }
}

/// The provider's end of an exchange whose request has arrived whole.
#[derive(Debug)]
pub(crate) struct ProviderEnd {
    connection: Connection,
    services: Rc<Services>,
    /// The events that were written, without the framing of the chunks.
    written: Vec<u8>,
}

impl ProviderEnd {
    pub(crate) async fn start_stream(&mut self) -> Result<()> {
        self.connection.write(STREAM_HEAD).await
    }

    pub(crate) async fn write(&mut self, frame: &Frame) -> Result<()> {
        self.connection.write(frame).await?;
        self.written.extend_from_slice(event_of(frame));
        Ok(())
    }

    /// Ends the answer, gives all that was written, and leaves the connection to the proxy for its next request.
    pub(crate) async fn finish(mut self, ending: &[Frame]) -> Result<Vec<u8>> {
        for frame in ending {
            self.write(frame).await?;
        }
        self.connection.write(b"0\r\n\r\n").await?;
        spawn_local(answer_exchange(self.services, self.connection));
        Ok(self.written)
    }
}

/// What stands in a chunk.
fn event_of(frame: &Frame) -> &[u8] {
    let start = memchr::memchr(b'\n', frame).map_or(0, |position| position + 1);
    &frame[start..frame.len().saturating_sub(2)]
}

async fn listen<Answer, Answering>(name: &str, port: u16, answer: Answer) -> Result<()>
where
    Answer: Fn(Connection) -> Answering + 'static,
    Answering: Future<Output = ()> + 'static,
{
    let listener = listener_on(port).with_context(|| format!("the {name} cannot listen on port {port}"))?;
    spawn_local(async move {
        while let Ok((socket, _)) = listener.accept().await {
            if let Ok(connection) = Connection::new(socket) {
                spawn_local(answer(connection));
            }
        }
    });
    Ok(())
}

/// Hands the connection to the exchange that waits for it. A connection that the proxy closes is simply gone: an exchange
/// that misses it says so itself.
async fn answer_exchange(services: Rc<Services>, mut connection: Connection) {
    let Ok(Some(request)) = connection.read_request().await else {
        return;
    };
    let Some(waiting) = request.exchange.and_then(|number| services.expected.borrow_mut().remove(&number)) else {
        return;
    };
    let end = ProviderEnd { connection, services, written: Vec::new() };
    // The exchange may have given up waiting; then nobody wants the connection.
    let _ = waiting.send(end);
}

async fn answer_always(mut connection: Connection, response: Vec<u8>, count: impl Fn()) {
    while let Ok(Some(_)) = connection.read_request().await {
        count();
        if connection.write(&response).await.is_err() {
            return;
        }
    }
}

fn counter(services: &Rc<Services>, of: fn(&Services) -> &Cell<u64>) -> impl Fn() + use<> {
    let services = Rc::clone(services);
    move || of(&services).set(of(&services).get() + 1)
}

fn response(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Connects a client to the proxy.
pub(crate) async fn connect(port: u16) -> Result<Connection> {
    let socket = TcpStream::connect(("127.0.0.1", port)).await.with_context(|| format!("no proxy answers on port {port}"))?;
    Connection::new(socket)
}

/// Listens on a loopback port, with room for all the connections that a proxy opens at once.
fn listener_on(port: u16) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
    socket.listen(WAITING_CONNECTIONS)
}
