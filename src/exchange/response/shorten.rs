//! What becomes of an output that is longer than what can still be sent.

use serde_json::Map;

use super::Governed;
use crate::decision::Decision;
use crate::dialect::Dialect;
use crate::dialect::framing::RESPONSE_WITHHELD;
use crate::event::Severity;
use crate::exchange::release_queue::Shape;
use crate::policy::Shared;
use crate::wire::sse;

impl Governed {
    /// Makes of `out`, which ends the response, what takes at most `room` bytes and can be read to its end: of a whole body the
    /// answer `withheld`; of a stream the events that fit, and an error behind them.
    pub(in crate::exchange) fn shorten(&mut self, shared: &Shared, withheld: Vec<u8>, room: usize, out: &mut Vec<u8>) {
        shared.outcome.conclude(Decision::Refuse, Some("BALLAST"));
        let summary =
            format!("more was to be sent at a response's end than the {room} bytes that room was made for; it was shortened");
        shared.fail("ballast", Severity::Error, summary, Map::new());
        let mut ending = Vec::new();
        if self.release_queue.shape() == Shape::Whole {
            out.clear();
            ending = withheld;
        } else if self.dialect == Dialect::McpTool {
            // Its answers are one event each, and the request has one.
            out.clear();
            ending.extend_from_slice(b"data: ");
            ending.extend_from_slice(&withheld);
            ending.extend_from_slice(b"\n\n");
        } else {
            self.release_queue.fail_late(RESPONSE_WITHHELD, &mut ending);
            out.truncate(whole_events_within(out, room.saturating_sub(ending.len())));
        }
        out.extend_from_slice(&ending);
    }
}

/// How many of the first bytes are whole events and at most `room`.
fn whole_events_within(events: &[u8], room: usize) -> usize {
    let mut parser = sse::Parser::new(usize::MAX);
    let (mut input, mut within) = (events, 0_usize);
    while let Ok(Some(event)) = parser.next(&mut input) {
        let end = within.saturating_add(event.raw.len());
        if end > room {
            break;
        }
        within = end;
    }
    within
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_kept_whole() {
        let events = b"data: a\n\ndata: bc\n\ndata: d";
        for (room, kept) in [(0, 0), (8, 0), (9, 9), (18, 9), (19, 19), (100, 19)] {
            assert_eq!(whole_events_within(events, room), kept, "{room}");
        }
    }
}
