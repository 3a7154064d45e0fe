//! What Weir read of an answer.

use serde_json::Value;
use weir::dialect::Dialect;
use weir::event::Event;
use weir_test_support::native::Outcome;

use crate::is_refused;
use crate::places::{Place, SAID_BEFORE, What};

/// See the module.
pub(crate) struct Seen {
    /// Something had a type that is not known, and all strings of it were read.
    pub(crate) is_unknown: bool,
    pub(crate) strings: Vec<String>,
    /// The first of it left by itself.
    left_before: bool,
}

impl Seen {
    /// What was read of the strings that `place` says; `None` if Weir refused to read.
    pub(crate) fn of(outcome: &Outcome, place: &Place) -> Option<Self> {
        if is_refused(outcome) {
            return None;
        }
        let left_before = place.left_before(outcome);
        let texts = outcome.events_of("read.text");
        let of_kind = |kind: &str| {
            let texts = texts.iter().filter(|event| field(event, "kind") == kind);
            texts.map(|event| field(event, "text").to_owned()).collect::<Vec<_>>()
        };
        let unknown = of_kind("Unknown");
        if !unknown.is_empty() {
            return Some(Self { is_unknown: true, strings: unknown, left_before });
        }
        if place.says == What::Text {
            return Some(Self { is_unknown: false, strings: of_kind("Text"), left_before });
        }
        let calls = outcome.events_of("read.call");
        let strings: Vec<_> = calls.iter().map(|call| field(call, "arguments").to_owned()).collect();
        // All of a call of unknown type is its arguments, and no string that is said here begins like an object.
        match strings.iter().position(|arguments| arguments.starts_with('{')) {
            None => Some(Self { is_unknown: false, strings, left_before }),
            Some(unknown) => {
                let item: Value = serde_json::from_str(calls[unknown].metadata["canonical"].as_str()?).unwrap();
                // There are servers that write the object itself: it is repeated as a string.
                Some(Self { is_unknown: true, strings: [strings_in(&item), strings].concat(), left_before })
            }
        }
    }

    /// Whether what a reader finds was read; of something unknown, whether it was seen.
    pub(crate) fn has(&self, dialect: Dialect, found: &str) -> bool {
        let all = self.strings.concat();
        // A call that is written anew says all of it at once.
        let text = if self.left_before { all.strip_prefix(SAID_BEFORE).unwrap_or(&all) } else { &all };
        match serde_json::from_str::<String>(found) {
            // Every string of a message has a block of its own.
            Ok(found) if dialect == Dialect::McpTool => self.strings.contains(&found),
            Ok(found) if self.is_unknown => all.contains(&found),
            Ok(found) => found == text,
            Err(_) if found.starts_with('"') => false,
            // The text of a message is nothing but a string.
            Err(_) if dialect == Dialect::McpTool => true,
            Err(_) => self.is_unknown || (matches!(found, "null" | "[]") && text.is_empty()),
        }
    }
}

fn field<'e>(event: &'e Event, field: &str) -> &'e str {
    event.metadata[field].as_str().unwrap()
}

fn strings_in(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(elements) => elements.iter().flat_map(strings_in).collect(),
        Value::Object(members) => members.values().flat_map(strings_in).collect(),
        _ => Vec::new(),
    }
}
