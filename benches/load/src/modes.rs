//! The measurements.

pub(crate) mod first_delta;
pub(crate) mod hold;
pub(crate) mod lock_step;
pub(crate) mod paced;
pub(crate) mod tool_calls;

use std::future::Future;

use anyhow::Result;
use tokio::task::JoinSet;

use crate::report::Tally;

/// Runs so many streams side by side and adds up what they have seen.
async fn side_by_side<Running>(streams: usize, run: impl Fn(usize) -> Running) -> Result<Tally>
where
    Running: Future<Output = Result<Tally>> + 'static,
{
    let mut running = JoinSet::new();
    for stream in 0..streams {
        running.spawn_local(run(stream));
    }
    let mut tally = Tally::default();
    while let Some(seen) = running.join_next().await {
        tally.add(seen??);
    }
    Ok(tally)
}
