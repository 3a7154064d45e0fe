//! As models write: every stream has an event at a steady pace, whether the one before has arrived or not.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::side_by_side;
use crate::client::{finish, open};
use crate::conversation::{Frame, ending, text};
use crate::report::Tally;
use crate::services::{Services, connect};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Paced {
    #[arg(long, default_value_t = 16)]
    streams: usize,
    /// Events of text in each answer.
    #[arg(long, default_value_t = 300)]
    events: usize,
    #[arg(long, default_value_t = 10)]
    interval_ms: u64,
    #[arg(long, default_value_t = 300)]
    event_size: usize,
}

impl Paced {
    pub(crate) async fn run(self, services: &Rc<Services>, port: u16) -> Result<Tally> {
        let frame = Rc::new(text(self.event_size));
        side_by_side(self.streams, |stream| self.clone().stream(Rc::clone(services), port, Rc::clone(&frame), stream)).await
    }

    async fn stream(self, services: Rc<Services>, port: u16, frame: Rc<Frame>, stream: usize) -> Result<Tally> {
        let pace = Duration::from_millis(self.interval_ms);
        // The streams take turns within an interval instead of all writing at once.
        sleep(pace * stream as u32 / self.streams as u32).await;

        let mut tally = Tally::default();
        let mut client = connect(port).await?;
        let (mut provider, mut answer) = open(&services, &mut client).await?;
        let written = RefCell::new(Vec::with_capacity(self.events));
        let write = async {
            let mut ticks = interval(pace);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for _ in 0..self.events {
                ticks.tick().await;
                written.borrow_mut().push(Instant::now());
                provider.write(&frame).await?;
            }
            anyhow::Ok(())
        };
        let read = async {
            while tally.transit.len() < self.events {
                answer.wait_for_events(tally.transit.len() + 1).await?;
                let written = written.borrow();
                let arrived = written.iter().take(answer.events()).skip(tally.transit.len());
                tally.transit.extend(arrived.map(Instant::elapsed));
            }
            anyhow::Ok(())
        };
        tokio::try_join!(write, read)?;
        finish(provider, answer, &ending("stop"), &mut tally).await?;
        Ok(tally)
    }
}
