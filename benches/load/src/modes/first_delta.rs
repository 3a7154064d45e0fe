//! One short exchange after the other on an idle proxy: what a request and the start of its answer cost.

use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::time::sleep;

use crate::client::{finish, open};
use crate::conversation::{ending, text};
use crate::report::Tally;
use crate::services::{Services, connect};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct FirstDelta {
    #[arg(long, default_value_t = 500)]
    exchanges: usize,
    /// Pause after each exchange.
    #[arg(long, default_value_t = 3)]
    interval_ms: u64,
    #[arg(long, default_value_t = 300)]
    event_size: usize,
}

impl FirstDelta {
    pub(crate) async fn run(self, services: &Rc<Services>, port: u16) -> Result<Tally> {
        let frame = text(self.event_size);
        let mut tally = Tally::default();
        let mut client = connect(port).await?;
        for _ in 0..self.exchanges {
            let asked = Instant::now();
            let (mut provider, mut answer) = open(services, &mut client).await?;
            provider.write(&frame).await?;
            answer.wait_for_events(1).await?;
            tally.first_delta.push(asked.elapsed());
            finish(provider, answer, &ending("stop"), &mut tally).await?;
            sleep(Duration::from_millis(self.interval_ms)).await;
        }
        Ok(tally)
    }
}
