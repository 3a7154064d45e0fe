//! What a measurement has counted, as JSON.

use std::time::Duration;

use serde::Serialize;

use crate::client::Answer;
use crate::services::Services;

/// What the streams of one measurement have seen.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    exchanges: usize,
    events: usize,
    bytes: usize,
    altered: usize,
    /// From the provider's write of an event to the client's read of it.
    pub(crate) transit: Vec<Duration>,
    /// From the client's request to the first event of its answer.
    pub(crate) first_delta: Vec<Duration>,
    /// From the provider's write of the last fragment to the whole tool call at the client.
    pub(crate) tool_call: Vec<Duration>,
}

impl Tally {
    pub(crate) fn count_exchange(&mut self, written: &[u8], answer: &Answer<'_>) {
        self.exchanges += 1;
        self.events += answer.events();
        self.bytes += answer.received().len();
        self.altered += usize::from(written != answer.received());
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.exchanges += other.exchanges;
        self.events += other.events;
        self.bytes += other.bytes;
        self.altered += other.altered;
        self.transit.extend(other.transit);
        self.first_delta.extend(other.first_delta);
        self.tool_call.extend(other.tool_call);
    }
}

/// The report of one measurement, printed as one line.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    exchanges: usize,
    events: usize,
    bytes: usize,
    /// Exchanges whose answer was not byte for byte the same at the client as at the provider.
    altered: usize,
    seconds: f64,
    events_per_second: f64,
    transit_us: Option<Quantiles>,
    first_delta_us: Option<Quantiles>,
    tool_call_us: Option<Quantiles>,
    judged: u64,
    event_batches: u64,
}

#[derive(Debug, Serialize)]
struct Quantiles {
    samples: usize,
    p50: f64,
    p99: f64,
    max: f64,
}

impl Report {
    pub(crate) fn new(tally: Tally, elapsed: Duration, services: &Services) -> Self {
        let seconds = elapsed.as_secs_f64();
        Self {
            exchanges: tally.exchanges,
            events: tally.events,
            bytes: tally.bytes,
            altered: tally.altered,
            seconds,
            events_per_second: tally.events as f64 / seconds,
            transit_us: Quantiles::of(tally.transit),
            first_delta_us: Quantiles::of(tally.first_delta),
            tool_call_us: Quantiles::of(tally.tool_call),
            judged: services.judged(),
            event_batches: services.event_batches(),
        }
    }
}

impl Quantiles {
    fn of(mut samples: Vec<Duration>) -> Option<Self> {
        samples.sort_unstable();
        let at = |percent: usize| samples.get((samples.len().saturating_sub(1)) * percent / 100).map(microseconds);
        Some(Self { samples: samples.len(), p50: at(50)?, p99: at(99)?, max: at(100)? })
    }
}

fn microseconds(duration: &Duration) -> f64 {
    duration.as_nanos() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::{Duration, Quantiles};

    #[test]
    fn quantiles_do_not_depend_on_the_order_of_the_samples() {
        let quantiles = Quantiles::of((0..=200).rev().map(Duration::from_micros).collect()).unwrap();
        assert_eq!((quantiles.p50, quantiles.p99, quantiles.max), (100.0, 198.0, 200.0));
    }

    #[test]
    fn no_samples_have_no_quantiles() {
        assert!(Quantiles::of(Vec::new()).is_none());
    }
}
