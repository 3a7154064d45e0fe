//! What a proxy is told to make room for, when it pauses, suffices for all that leaves later.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic fails the test, as it should"
)]

use std::sync::Arc;

use serde_json::json;
use weir::chain::Chain;
use weir::dialect::Dialect;
use weir::exchange::{CalloutId, CalloutReply, Effect, Exchange, RequestHead, ResponseHead, ResponseProgress};
use weir::id::CallId;
use weir::time::Timestamp;
use weir_test_support::script::{document, path, request_body};
use weir_test_support::{corpus, fixtures, native, policies};

/// Bytes that a proxy keeps beside what it was told: replacements of what comes next.
const SPARE: usize = 4096;

fn exchange(chain: &Arc<Chain>, dialect: Dialect) -> Exchange {
    let now = Timestamp::default();
    let mut exchange = Exchange::new(Arc::clone(chain), CallId::from_bytes([1; 16]), now);
    let head = RequestHead { method: b"POST", path: path(dialect).as_bytes(), ..RequestHead::default() };
    let _ = exchange.handle_request_head(&head, false, now);
    let _ = exchange.handle_request_body(request_body(dialect, true).to_string().as_bytes(), true, now);
    let head = ResponseHead { status: 200, content_type: b"text/event-stream", ..ResponseHead::default() };
    let _ = exchange.handle_response_head(&head, false, now);
    exchange
}

fn questions(exchange: &mut Exchange) -> Vec<CalloutId> {
    core::iter::from_fn(|| exchange.poll_effect())
        .filter_map(|effect| match effect {
            Effect::Callout(callout) => Some(callout.id),
            _ => None,
        })
        .collect()
}

#[test]
fn what_leaves_after_a_pause_has_room() {
    let chain = Arc::new(native::load(&document(json!([{"use": "ask_judge"}])), &policies::registry()).unwrap());
    let verdict = json!({"choices": [{"message": {"content": r#"{"probability":0,"explanation":""}"#}}]}).to_string();
    for dialect in [Dialect::ChatCompletions, Dialect::Messages, Dialect::Responses] {
        let own = fixtures::streams(dialect).iter().map(|own| (own.name.to_owned(), own.body.to_vec()));
        let recorded = corpus::streams(dialect).into_iter().map(|recorded| (recorded.name, recorded.body));
        for (name, body) in own.chain(recorded) {
            for size in [50, 700, 5_000, 30_000] {
                let mut exchange = exchange(&chain, dialect);
                let mut open = Vec::new();
                // Room that was made since the pause began; `None` while the response flows.
                let mut room = None;
                let chunks: Vec<&[u8]> = body.chunks(size).collect();
                for (number, chunk) in chunks.iter().enumerate() {
                    let mut out = Vec::new();
                    let end = number + 1 == chunks.len();
                    let progress = exchange.handle_response_body(chunk, end, Timestamp::default(), &mut out);
                    open.extend(questions(&mut exchange));
                    let needed = exchange.max_release_bytes() + out.len() + SPARE;
                    let pauses = progress == ResponseProgress::Waiting && (out.is_empty() || end);
                    // A paused proxy has the room that it had and what came since, and gives back what is not needed.
                    room = pauses.then(|| room.map_or(needed, |room: usize| needed.min(room + chunk.len())));
                }
                // All verdicts come last: the most that can be held is released at once.
                let mut released = Vec::new();
                for id in open {
                    let reply = CalloutReply::Response { status: 200, body: verdict.as_bytes() };
                    let _ = exchange.handle_callout_reply(id, reply, Timestamp::default(), &mut released);
                }
                if let Some(room) = room {
                    assert!(released.len() <= room, "{name} in chunks of {size}: {} bytes, room for {room}", released.len());
                }
            }
        }
    }
}
