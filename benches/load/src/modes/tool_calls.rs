//! Answers that end in a tool call: text in lock-step, then the fragments of the call at a steady pace. The pace is the same
//! whether the proxy forwards the fragments or holds them, so that all proxies have the same work.

use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::time::sleep;

use super::side_by_side;
use crate::client::{finish, open};
use crate::conversation::{Frame, ending, text, tool_call};
use crate::report::Tally;
use crate::services::{Services, connect};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ToolCalls {
    #[arg(long, default_value_t = 16)]
    streams: usize,
    /// Exchanges that each stream has one after the other.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Events of text before the tool call.
    #[arg(long, default_value_t = 30)]
    events: usize,
    /// Events that the tool call is written in.
    #[arg(long, default_value_t = 10)]
    fragments: usize,
    #[arg(long, default_value_t = 1)]
    interval_ms: u64,
    #[arg(long, default_value_t = 300)]
    event_size: usize,
}

impl ToolCalls {
    pub(crate) async fn run(self, services: &Rc<Services>, port: u16) -> Result<Tally> {
        let frame = Rc::new(text(self.event_size));
        side_by_side(self.streams, |stream| self.clone().stream(Rc::clone(services), port, Rc::clone(&frame), stream)).await
    }

    async fn stream(self, services: Rc<Services>, port: u16, frame: Rc<Frame>, stream: usize) -> Result<Tally> {
        let mut tally = Tally::default();
        let mut client = connect(port).await?;
        for round in 0..self.rounds {
            let (mut provider, mut answer) = open(&services, &mut client).await?;
            for event in 1..=self.events {
                provider.write(&frame).await?;
                answer.wait_for_events(event).await?;
            }
            let fragments = tool_call(self.fragments, unique(stream, round));
            let (last, before) = fragments.split_last().context("a tool call has at least one fragment")?;
            for fragment in before {
                provider.write(fragment).await?;
                sleep(Duration::from_millis(self.interval_ms)).await;
            }
            let written = Instant::now();
            provider.write(last).await?;
            let mut rest = ending("tool_calls");
            // Only the finish reason tells a reader of the stream that the call is complete.
            provider.write(&rest.remove(0)).await?;
            answer.wait_for_tool_call().await?;
            tally.tool_call.push(written.elapsed());
            finish(provider, answer, &rest, &mut tally).await?;
        }
        Ok(tally)
    }
}

/// Distinct for every exchange of this process and, by the clock, of the ones before it.
fn unique(stream: usize, round: usize) -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    now.as_nanos() as u64 ^ ((stream as u64) << 48) ^ ((round as u64) << 32)
}
