//! Runs the collector on a listener until it is told to stop. No connection may stay for ever, and only so many may be.

mod timed;

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use self::timed::Timed;
use crate::app::{Collector, app};

/// How long requests that are being answered may take when the collector stops.
const STOP_TIMEOUT: Duration = Duration::from_millis(700);
/// The most connections at the same time; who comes then waits for a place.
const MAX_CONNECTIONS: usize = 1_024;
/// How long the head of a request, or the handshake of TLS, may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The most bytes of a head, and of what is written ahead of a slow reader.
const MAX_BUFFER: usize = 64 * 1024;

/// Says how connections are treated; [`ConnectionLimits::default`] is what the program uses.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// The most connections at the same time.
    pub connections: usize,
    /// How long a head may take.
    pub head: Duration,
    /// How long a connection may stand still: neither read from nor written to.
    pub idle: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { connections: MAX_CONNECTIONS, head: HEAD_TIMEOUT, idle: Duration::from_secs(60) }
    }
}

/// Serves `collector` on `listener`, with TLS where `tls` is given, until `stop` is ready; then answers what has begun,
/// ends every live stream and returns within a second.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    collector: Collector,
    limits: ConnectionLimits,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(limits.connections));
    let service = TowerToHyperService::new(app(collector.clone()));
    let acceptor = tls.map(TlsAcceptor::from);
    let running = TaskTracker::new();
    let mut stop = pin!(stop);
    loop {
        let place = tokio::select! {
            () = &mut stop => break,
            place = Arc::clone(&places).acquire_owned() => place.map_err(io::Error::other)?,
        };
        let stream = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Of the connection alone, or files have run out: others may be closed by then.
                    tracing::debug!("a connection was not accepted: {error}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            },
        };
        // Latency of small messages matters more than the number of packets.
        let _ = stream.set_nodelay(true);
        let (service, acceptor, collector) = (service.clone(), acceptor.clone(), collector.clone());
        running.spawn(async move {
            let _place = place;
            let stream = Timed::new(stream, limits.idle);
            match acceptor {
                None => talk(stream, service, &collector, limits).await,
                Some(acceptor) => match tokio::time::timeout(limits.head, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => talk(stream, service, &collector, limits).await,
                    _ => tracing::debug!("a TLS handshake failed"),
                },
            }
        });
    }
    collector.stop();
    running.close();
    let _ = tokio::time::timeout(STOP_TIMEOUT, running.wait()).await;
    Ok(())
}

async fn talk<S: AsyncRead + AsyncWrite + Unpin + Send>(
    stream: S,
    service: TowerToHyperService<axum::Router>,
    collector: &Collector,
    limits: ConnectionLimits,
) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(MAX_BUFFER);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let outcome = tokio::select! {
        outcome = &mut connection => outcome,
        () = collector.stopping() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!("a connection ended: {error}");
    }
}
