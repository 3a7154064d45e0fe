//! Log lines that somebody else causes, at a bounded rate.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often one kind of line is written at most.
const INTERVAL: Duration = Duration::from_secs(10);

/// Lets one line pass each [`INTERVAL`], and counts the others.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<(Option<Instant>, u64)>,
}

impl Gate {
    /// Whether a line may be written now, and how many were left out before it.
    pub(crate) fn pass(&self) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, left_out) = &mut *state;
        if last.is_some_and(|last| last.elapsed() < INTERVAL) {
            *left_out = left_out.saturating_add(1);
            return None;
        }
        *last = Some(Instant::now());
        Some(std::mem::take(left_out))
    }
}

/// Tells when something begins to fail and when it works again: a state that does not last is counted, not told.
#[derive(Debug)]
pub(crate) struct Transitions {
    back: &'static str,
    gone: &'static str,
    gate: Gate,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    /// What the log says.
    failing: bool,
    failures: u64,
}

impl Transitions {
    pub(crate) fn new(back: &'static str, gone: &'static str) -> Self {
        Self { back, gone, gate: Gate::default(), told: Mutex::default() }
    }

    /// Takes notice of a failure. Whether the log says so.
    pub(crate) fn failed(&self, error: &dyn Display) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.failures = told.failures.saturating_add(1);
        if !told.failing && self.gate.pass().is_some() {
            told.failing = true;
            tracing::warn!("{}: {error}", self.gone);
            return true;
        }
        false
    }

    /// Takes notice that it works. Whether the log says so.
    pub(crate) fn worked(&self) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.failing && self.gate.pass().is_some() {
            tracing::info!("{} after {} failures", self.back, told.failures);
            *told = Told::default();
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::{Gate, Transitions};

    #[test]
    fn what_happens_often_is_told_once_and_counted() {
        let gate = Gate::default();
        assert_eq!((gate.pass(), gate.pass(), gate.pass()), (Some(0), None, None));
    }

    #[test]
    fn fault_14_a_store_that_comes_and_goes_fills_no_log() {
        let store = Transitions::new("back", "gone");
        let lines = (0..1_000).map(|_| u32::from(store.failed(&"no route")) + u32::from(store.worked())).sum::<u32>();
        assert_eq!(lines, 1);
    }
}
