//! Many answers that stand open half way, so that the memory of the proxy can be looked at.

use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, stdin};
use tokio::sync::watch;
use tokio::time::sleep;

use super::side_by_side;
use crate::client::{finish, open};
use crate::conversation::{ending, text, tool_call};
use crate::report::Tally;
use crate::services::{Services, connect};

/// How long the proxy gets to take in what the client cannot see arriving.
const SETTLING: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Hold {
    #[arg(long, default_value_t = 1000)]
    streams: usize,
    /// Events of text that each client has received before its stream stands still.
    #[arg(long, default_value_t = 20)]
    events: usize,
    /// Leave every stream in the middle of a tool call of so many fragments; 0: in the middle of text.
    #[arg(long, default_value_t = 0)]
    fragments: usize,
    #[arg(long, default_value_t = 300)]
    event_size: usize,
}

impl Hold {
    /// Prints one line when all streams stand open, and ends them when standard input ends.
    pub(crate) async fn run(self, services: &Rc<Services>, port: u16) -> Result<Tally> {
        let (release, released) = watch::channel(false);
        let (arrive, mut arrived) = watch::channel(0_usize);
        let arrive = Rc::new(arrive);
        let wanted = self.streams;
        let conductor = async move {
            arrived.wait_for(|count| *count == wanted).await?;
            sleep(SETTLING).await;
            println!("{{\"held\":{wanted}}}");
            stdin().read_to_end(&mut Vec::new()).await?;
            release.send(true)?;
            anyhow::Ok(())
        };
        let streams = side_by_side(self.streams, |stream| {
            let waiting = Waiting { arrive: Rc::clone(&arrive), released: released.clone() };
            self.clone().stream(Rc::clone(services), port, stream, waiting)
        });
        let (tally, ()) = tokio::try_join!(streams, conductor)?;
        Ok(tally)
    }

    async fn stream(self, services: Rc<Services>, port: u16, stream: usize, mut waiting: Waiting) -> Result<Tally> {
        let frame = text(self.event_size);
        let mut tally = Tally::default();
        let mut client = connect(port).await?;
        let (mut provider, mut answer) = open(&services, &mut client).await?;
        for event in 1..=self.events {
            provider.write(&frame).await?;
            answer.wait_for_events(event).await?;
        }
        let call = if self.fragments > 0 { tool_call(self.fragments, stream as u64) } else { Vec::new() };
        let (before, after) = call.split_at(call.len() / 2);
        for fragment in before {
            provider.write(fragment).await?;
        }
        waiting.arrive.send_modify(|count| *count += 1);
        waiting.released.wait_for(|released| *released).await?;
        for fragment in after {
            provider.write(fragment).await?;
        }
        let reason = if call.is_empty() { "stop" } else { "tool_calls" };
        finish(provider, answer, &ending(reason), &mut tally).await?;
        Ok(tally)
    }
}

/// How a stream says that it stands still, and learns that it may go on.
struct Waiting {
    arrive: Rc<watch::Sender<usize>>,
    released: watch::Receiver<bool>,
}
