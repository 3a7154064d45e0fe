//! What Weir reads of a document is what clients and servers read of it, or the document is refused: held against the JSON
//! readers of Python and of JavaScript, on documents that are written to be misread.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a panic fails the test, as it should"
)]

mod arguments;
mod edits;
mod places;
mod readers;
mod repetitions;
mod requests;
mod seen;
mod strings;
mod torture;

use serde_json::json;
use weir::block::{ContentBlock, ToolCallBlock};
use weir::document::Registry;
use weir::event::Severity;
use weir::policy::{BlockAction, DeltaAction, Policy, SharedPolicy, StreamingContext};
use weir_test_support::native::{self, Outcome};
use weir_test_support::policies;
use weir_test_support::script::{Script, document};

/// Records what hooks read of blocks, and holds calls as whoever decides about them does.
#[derive(Debug)]
struct Read;

impl Policy for Read {
    async fn on_content_complete(&self, block: &ContentBlock, cx: &StreamingContext) -> BlockAction {
        cx.emit("read.text", "", Severity::Debug, json!({"kind": format!("{:?}", block.kind()), "text": block.text()}));
        BlockAction::Forward
    }

    fn on_tool_call_delta<'d>(&self, _: &'d str, _: &ToolCallBlock, _: &StreamingContext) -> DeltaAction<'d> {
        DeltaAction::Hold
    }

    async fn on_tool_call_complete(&self, call: &ToolCallBlock, cx: &StreamingContext) -> BlockAction {
        let canonical = call.has_valid_arguments().then(|| call.canonical_arguments());
        let details = json!({"name": call.name(), "arguments": call.arguments(), "canonical": canonical});
        cx.emit("read.call", "", Severity::Debug, details);
        BlockAction::Forward
    }
}

/// Plays a script, which is made with a document whose only policy reads.
fn play(script: impl FnOnce(serde_json::Value) -> Script) -> Outcome {
    let registry: Registry = policies::registry().with("read", |_| Ok(SharedPolicy::new("Read", Read)));
    native::play(&script(document(json!([{"use": "read"}]))), &registry)
}

/// Whether nobody reads the response: Weir could not.
fn is_refused(outcome: &Outcome) -> bool {
    outcome.events.iter().any(|event| event.event_type == "response_malformed")
}

/// Makes sure that neither came too seldom for the test to show anything.
#[track_caller]
fn assert_both_were_tried(what: &str, read: usize, refused: usize) {
    let enough = (read + refused) / 16;
    assert!(read > enough && refused > enough, "{what}: {read} were read and {refused} refused: both must be tried");
}
