//! Runs the collector on a listener until it is told to stop.

use std::io;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::app::{Collector, app};

/// How long requests that are being answered may take when the collector stops.
const STOP_TIMEOUT: Duration = Duration::from_millis(700);

/// Serves `collector` on `listener` until `stop` is ready, then answers what has begun, ends every live stream and
/// returns within a second.
pub async fn serve(
    listener: TcpListener,
    collector: Collector,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let stopping = collector.stopping();
    let graceful = {
        let collector = collector.clone();
        async move {
            stop.await;
            collector.stop();
        }
    };
    let too_late = async move {
        stopping.await;
        tokio::time::sleep(STOP_TIMEOUT).await;
    };
    tokio::select! {
        served = axum::serve(listener, app(collector)).with_graceful_shutdown(graceful) => served,
        () = too_late => Ok(()),
    }
}
