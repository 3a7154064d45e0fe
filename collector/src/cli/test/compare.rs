//! Compares what came of an exchange with what was expected.

use serde_json::Value;
use weir_driver::{Outcome, Recording};

use super::cases::Expectation;

impl Expectation {
    /// Lists what is not as expected.
    pub(super) fn compare(&self, outcome: &Outcome, recording: &Recording) -> Vec<String> {
        let event = outcome.enforcement();
        let mut faults = outcome.faults.clone();
        let words = [
            ("decision", &self.decision),
            ("effective_decision", &self.effective_decision),
            ("reason_code", &self.reason_code),
            ("decided_by", &self.decided_by),
        ];
        for (field, expected) in words {
            let found = event.get(field).and_then(Value::as_str).unwrap_or_default();
            if let Some(expected) = expected.as_deref().filter(|expected| *expected != found) {
                faults.push(format!("{field} is {found:?}, expected {expected:?}"));
            }
        }
        if let Some(status) = self.status.filter(|status| *status != outcome.status) {
            faults.push(format!("status is {}, expected {status}", outcome.status));
        }
        let hits = |field: &str| event.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
        let hits: Vec<Value> = hits("allowlist_hits").into_iter().chain(hits("denylist_hits")).collect();
        let has_event = |name: &String| outcome.events.iter().any(|event| event.event_type == **name);
        let has_hit = |name: &String| hits.iter().any(|hit| hit == name);
        let missing = |what: &str, name: &String| format!("{what} {name:?} is missing");
        let unexpected = |what: &str, name: &String| format!("{what} {name:?} is there");
        faults.extend(self.events.iter().filter(|name| !has_event(name)).map(|name| missing("event", name)));
        faults.extend(self.no_events.iter().filter(|name| has_event(name)).map(|name| unexpected("event", name)));
        faults.extend(self.hits.iter().filter(|name| !has_hit(name)).map(|name| missing("hit", name)));
        faults.extend(self.no_hits.iter().filter(|name| has_hit(name)).map(|name| unexpected("hit", name)));
        let output = outcome.text();
        faults.extend(self.output_contains.iter().filter(|text| !output.contains(*text)).map(|text| missing("output", text)));
        faults.extend(self.output_lacks.iter().filter(|text| output.contains(*text)).map(|text| unexpected("output", text)));
        if self.output.as_ref().is_some_and(|expected| *expected != output) {
            faults.push("the output is another".to_owned());
        }
        let sent = recording.response.as_ref().map(|response| response.body.as_slice()).unwrap_or_default();
        if let Some(expected) = self.unchanged
            && expected != (outcome.client == sent)
        {
            faults.push(format!("the output is {}", if expected { "changed" } else { "what the provider sent" }));
        }
        if let Some(most) = self.holds_at_most.filter(|most| outcome.most_held_bytes > *most) {
            faults.push(format!("{} bytes waited, expected at most {most}", outcome.most_held_bytes));
        }
        faults
    }
}
