//! Metrics, as Envoy counts them: `wasmcustom.weir.…` in its statistics.

use core::cell::RefCell;
use core::time::Duration;
use std::collections::BTreeMap;

use proxy_wasm::types::MetricType;
use weir::exchange::Observation;

use crate::host;

/// The metrics that were used so far, each defined with the proxy at its first use.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    defined: RefCell<Vec<Defined>>,
    /// Counters whose names carry labels, in order of their names.
    labelled: RefCell<BTreeMap<String, u32>>,
}

/// Counters with labels: the labels are words of documents and policies, but nothing may grow for ever.
const MAX_LABELLED: usize = 512;

#[derive(Clone, Copy, Debug)]
struct Defined {
    group: &'static str,
    word: &'static str,
    id: u32,
}

impl Metrics {
    /// Counts an observation of the engine.
    pub(crate) fn observe(&self, observation: Observation) {
        match observation {
            Observation::JudgeLatency(latency) => self.record("judge_latency_ms", latency),
            Observation::CalloutLatency(latency) => self.record("callout_latency_ms", latency),
            Observation::Held(time) => self.record("held_ms", time),
            Observation::Decided(decision) => self.count("decisions", decision.name(), 1),
            Observation::Failed(word) => self.count("errors", word, 1),
            // Only traced chains tell, and this host traces none.
            Observation::HookRan(_) => {}
            Observation::FailedOpen(word) => self.count("failed_open", word, 1),
        }
    }

    /// Adds to the counter `weir.<group>.<word>`.
    pub(crate) fn count(&self, group: &'static str, word: &'static str, by: u64) {
        if let Some(id) = self.id(MetricType::Counter, group, word) {
            host::increment(id, by);
        }
    }

    /// Counts one under a name with labels; under a common one when there are too many of them.
    pub(crate) fn count_labelled(&self, name: &str) {
        let Ok(mut labelled) = self.labelled.try_borrow_mut() else { return };
        if let Some(id) = labelled.get(name) {
            return host::increment(*id, 1);
        }
        if labelled.len() >= MAX_LABELLED {
            drop(labelled);
            return self.count("errors", "too_many_labels", 1);
        }
        if let Some(id) = host::define_metric(MetricType::Counter, name) {
            labelled.insert(name.to_owned(), id);
            host::increment(id, 1);
        }
    }

    fn record(&self, word: &'static str, time: Duration) {
        if let Some(id) = self.id(MetricType::Histogram, "", word) {
            host::record(id, u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        }
    }

    /// The words are few and fixed: a list is found through faster than a map.
    fn id(&self, kind: MetricType, group: &'static str, word: &'static str) -> Option<u32> {
        let mut defined = self.defined.try_borrow_mut().ok()?;
        if let Some(known) = defined.iter().find(|known| known.group == group && known.word == word) {
            return Some(known.id);
        }
        let name = if group.is_empty() { format!("weir.{word}") } else { format!("weir.{group}.{word}") };
        let id = host::define_metric(kind, &name)?;
        defined.push(Defined { group, word, id });
        Some(id)
    }
}
