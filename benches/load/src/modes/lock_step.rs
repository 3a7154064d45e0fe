//! As fast as the proxy can: the next event is written when the client has received the one before, so that every event
//! is one read and one write of the proxy.

use std::rc::Rc;
use std::time::Instant;

use anyhow::Result;

use super::side_by_side;
use crate::client::{finish, open_in};
use crate::conversation::{Dialect, TextAnswer, WORDS};
use crate::report::Tally;
use crate::services::{Services, connect};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LockStep {
    #[arg(long, default_value_t = 16)]
    streams: usize,
    /// Events of text in each answer.
    #[arg(long, default_value_t = 2000)]
    events: usize,
    /// Exchanges that each stream has one after the other.
    #[arg(long, default_value_t = 4)]
    rounds: usize,
    #[arg(long, default_value_t = 300)]
    event_size: usize,
    #[arg(long, value_enum, default_value_t)]
    dialect: Dialect,
    /// What the answers say, again and again.
    #[arg(long, default_value = WORDS)]
    words: String,
}

impl LockStep {
    pub(crate) async fn run(self, services: &Rc<Services>, port: u16) -> Result<Tally> {
        let script = Rc::new(self.dialect.text_answer(self.events, self.event_size, &self.words));
        side_by_side(self.streams, |_| self.clone().stream(Rc::clone(services), port, Rc::clone(&script))).await
    }

    async fn stream(self, services: Rc<Services>, port: u16, script: Rc<TextAnswer>) -> Result<Tally> {
        let mut tally = Tally::default();
        let mut client = connect(port).await?;
        for _ in 0..self.rounds {
            let (mut provider, mut answer) = open_in(self.dialect, &services, &mut client).await?;
            for event in &script.opening {
                provider.write(event).await?;
            }
            answer.wait_for_events(script.opening.len()).await?;
            for frame in &script.text {
                // A policy that holds the end of a text back makes two events of one.
                let before = answer.events();
                let written = Instant::now();
                provider.write(frame).await?;
                answer.wait_for_events(before + 1).await?;
                tally.transit.push(written.elapsed());
            }
            finish(provider, answer, &script.ending, &mut tally).await?;
        }
        Ok(tally)
    }
}
