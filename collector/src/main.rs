//! The program `weir`.

mod cli;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use weir_collector::{Collector, MemoryStore, RedisStore, Store, serve};

use crate::cli::{Cli, Collect, Command};

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { command: Command::Collect(options) } = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .init();
    match collect(&options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("weir collect: {message}");
            ExitCode::FAILURE
        }
    }
}

async fn collect(options: &Collect) -> Result<(), String> {
    let access = options.access()?;
    let (store, place) = match &options.redis_url {
        Some(url) => {
            let store =
                RedisStore::new(url, &options.redis_prefix, options.limits()).map_err(|error| format!("--redis-url: {error}"))?;
            (Store::Redis(Arc::new(store)), "Redis")
        }
        None => (Store::Memory(Arc::new(MemoryStore::new(options.limits()))), "memory"),
    };
    let listener = TcpListener::bind(options.listen).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("{} is taken by another program: stop it, or choose another port with --listen", options.listen)
        }
        _ => format!("cannot listen on {}: {error}", options.listen),
    })?;
    let address = listener.local_addr().unwrap_or(options.listen);
    let stop = stop_signal().map_err(|error| format!("cannot wait for signals: {error}"))?;
    if let Err(error) = store.ping().await {
        tracing::warn!("events are refused until the store answers: {error}");
    }
    tracing::info!("activity page: http://{address}/ui/activity/live (events are kept in {place})");
    serve(listener, Collector::new(store, access), stop).await.map_err(|error| error.to_string())
}

/// Ready when the process is asked to end.
fn stop_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
