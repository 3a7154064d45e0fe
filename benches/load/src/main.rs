//! Drives one proxy with exchanges and prints what they saw as one line of JSON. The process is the client in front of the
//! proxy and everything behind it: provider, judge and collector.

mod client;
mod conversation;
mod http;
mod modes;
mod report;
mod services;

use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use tokio::runtime::Builder;
use tokio::task::LocalSet;

use crate::modes::first_delta::FirstDelta;
use crate::modes::hold::Hold;
use crate::modes::lock_step::LockStep;
use crate::modes::paced::Paced;
use crate::modes::tool_calls::ToolCalls;
use crate::report::Report;
use crate::services::{Ports, Services};

#[derive(Debug, Parser)]
#[command(about)]
struct Arguments {
    /// Port on which the proxy listens.
    #[arg(long)]
    proxy_port: u16,
    #[command(flatten)]
    ports: Ports,
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// As fast as the proxy can, one event of a stream at a time.
    LockStep(LockStep),
    /// Streams with an event at a steady pace.
    Paced(Paced),
    /// Short exchanges one after the other.
    FirstDelta(FirstDelta),
    /// Streams that stand open half way until standard input ends.
    Hold(Hold),
    /// Answers that end in a tool call.
    ToolCalls(ToolCalls),
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // One thread: the load has one core, and a second thread would only move its events between caches.
    let runtime = Builder::new_current_thread().enable_all().build().context("no runtime for the sockets")?;
    let report = LocalSet::new().block_on(&runtime, measure(arguments))?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

async fn measure(arguments: Arguments) -> Result<Report> {
    let services = Services::start(arguments.ports).await?;
    let port = arguments.proxy_port;
    let started = Instant::now();
    let tally = match arguments.mode {
        Mode::LockStep(mode) => mode.run(&services, port).await,
        Mode::Paced(mode) => mode.run(&services, port).await,
        Mode::FirstDelta(mode) => mode.run(&services, port).await,
        Mode::Hold(mode) => mode.run(&services, port).await,
        Mode::ToolCalls(mode) => mode.run(&services, port).await,
    }?;
    Ok(Report::new(tally, started.elapsed(), &services))
}
