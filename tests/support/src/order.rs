//! What may overtake what on its way through the engine: written from the rules that clients and providers keep, apart
//! from the engine's own bookkeeping.
//!
//! In `messages` everything keeps its order, but comments and `ping`. In `chat.completions` content and tool calls of a
//! choice are separate fields of the message and may pass one another, and so may choices; a finish reason stays behind
//! all of its choice, and everything else (the role, usage, an error, the terminator) where it is.

use std::collections::BTreeSet;

use serde_json::Value;
use weir::dialect::Dialect;

use crate::json::{array, text};
use crate::{chunking, json, sse};

/// Asserts that `left` has the events of `came`, each unchanged, and that none overtook another that it may not overtake.
///
/// # Panics
/// When an event is lost, changed, added or out of its order.
#[track_caller]
pub fn assert_kept(name: &str, dialect: Dialect, came: &[u8], left: &[u8]) {
    let (came, left) = (chunking::events(came), chunking::events(left));
    let sorted = |events: &[Vec<u8>]| {
        let mut events = events.to_vec();
        events.sort();
        events
    };
    let missing = |of: &[Vec<u8>], from: &[Vec<u8>]| {
        let mut rest = from.to_vec();
        let is_missing = |event: &&Vec<u8>| match rest.iter().position(|known| known == *event) {
            Some(position) => {
                rest.swap_remove(position);
                false
            }
            None => true,
        };
        shown(&of.iter().filter(is_missing).cloned().collect::<Vec<_>>())
    };
    if sorted(&left) != sorted(&came) {
        panic!("{name}: lost {:#?}, left besides {:#?}", missing(&came, &left), missing(&left, &came));
    }
    let lanes = came.iter().flat_map(|event| place(dialect, event).lanes()).collect::<BTreeSet<_>>();
    for lane in lanes {
        let of_lane = |events: &[Vec<u8>]| {
            let in_lane = |event: &&Vec<u8>| place(dialect, event).is_in(lane);
            shown(&events.iter().filter(in_lane).cloned().collect::<Vec<_>>())
        };
        assert_eq!(of_lane(&left), of_lane(&came), "{name}: the order in {lane:?}");
    }
}

/// A sequence that keeps its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    /// What stands still.
    Whole,
    Content(u64),
    ToolCalls(u64),
}

/// Where an event belongs.
enum Place {
    /// Anywhere.
    Free,
    /// In these lanes alone.
    Lanes(Vec<Lane>),
    /// In every lane.
    Fixed,
}

impl Place {
    fn lanes(&self) -> Vec<Lane> {
        match self {
            Self::Free => Vec::new(),
            Self::Lanes(lanes) => lanes.clone(),
            Self::Fixed => vec![Lane::Whole],
        }
    }

    fn is_in(&self, lane: Lane) -> bool {
        match self {
            Self::Free => false,
            Self::Lanes(lanes) => lanes.contains(&lane),
            Self::Fixed => true,
        }
    }
}

fn place(dialect: Dialect, event: &[u8]) -> Place {
    let event = sse::read(event);
    let Some(event) = event.first() else { return Place::Free };
    match (dialect, json::read(&event.data)) {
        (Dialect::Messages, Ok(document)) if document["type"] == "ping" => Place::Free,
        (Dialect::ChatCompletions, Ok(document)) => place_of_chunk(&document),
        _ => Place::Fixed,
    }
}

fn place_of_chunk(chunk: &Value) -> Place {
    let lanes = array(chunk, "/choices").iter().flat_map(lanes_of_choice).collect::<Vec<_>>();
    if lanes.is_empty() || chunk.get("error").is_some_and(|error| !error.is_null()) {
        return Place::Fixed;
    }
    Place::Lanes(lanes)
}

fn lanes_of_choice(choice: &Value) -> Vec<Lane> {
    let index = choice["index"].as_u64().unwrap_or_default();
    let (content, calls) = (Lane::Content(index), Lane::ToolCalls(index));
    if !text(choice, "/finish_reason").is_empty() {
        return vec![content, calls];
    }
    let delta = &choice["delta"];
    let says = |field: &str| match &delta[field] {
        Value::String(text) => !text.is_empty(),
        Value::Array(parts) => !parts.is_empty(),
        _ => false,
    };
    let has_content = ["content", "refusal", "reasoning", "reasoning_content"].into_iter().any(says);
    let has_calls = says("tool_calls") || delta["function_call"].is_object();
    [(content, has_content), (calls, has_calls)].into_iter().filter_map(|(lane, is_in)| is_in.then_some(lane)).collect()
}

/// Events as text: a difference is to be read.
fn shown(events: &[Vec<u8>]) -> Vec<String> {
    events.iter().map(|event| String::from_utf8_lossy(event).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"data: {"choices":[{"index":0,"delta":{"content":"a"}}]}"#;
    const CALL: &str = r#"data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0}]}}]}"#;
    const FINISH: &str = r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    const OTHER: &str = r#"data: {"choices":[{"index":1,"delta":{"content":"b"}}]}"#;
    const USAGE: &str = r#"data: {"choices":[],"usage":{}}"#;
    const PING: &str = r#"data: {"type":"ping"}"#;
    const START: &str = r#"data: {"type":"message_start"}"#;
    const STOP: &str = r#"data: {"type":"message_stop"}"#;

    fn is_kept(dialect: Dialect, came: &[&str], left: &[&str]) -> bool {
        let body = |events: &[&str]| events.iter().map(|event| format!("{event}\n\n")).collect::<String>().into_bytes();
        std::panic::catch_unwind(|| assert_kept("", dialect, &body(came), &body(left))).is_ok()
    }

    #[test]
    fn what_may_overtake_does_and_what_may_not_is_found() {
        let chat = Dialect::ChatCompletions;
        for (came, left, kept) in [
            ([CALL, TEXT, FINISH], [TEXT, CALL, FINISH], true),
            ([CALL, OTHER, FINISH], [OTHER, CALL, FINISH], true),
            ([CALL, TEXT, FINISH], [CALL, FINISH, TEXT], false),
            ([CALL, FINISH, USAGE], [CALL, USAGE, FINISH], false),
            ([TEXT, OTHER, USAGE], [TEXT, USAGE, OTHER], false),
            ([TEXT, CALL, FINISH], [TEXT, TEXT, FINISH], false),
        ] {
            assert_eq!(is_kept(chat, &came, &left), kept, "{came:#?} {left:#?}");
        }
        assert!(is_kept(Dialect::Messages, &[START, PING, STOP], &[PING, START, STOP]));
        assert!(!is_kept(Dialect::Messages, &[START, PING, STOP], &[STOP, PING, START]));
    }
}
