//! What policies put in place of a string or a call is what readers find in what leaves.

use serde_json::{Value, json};
use weir::block::{BlockKind, Chunk, ContentBlock, ToolCallBlock};
use weir::policy::{BlockAction, DeltaAction, Policy, SharedPolicy, StreamingContext};
use weir_test_support::native::{self, Outcome, RequestOutcome};
use weir_test_support::policies;
use weir_test_support::script::{Script, document};

use crate::places::{self, Place};
use crate::readers::readers;
use crate::torture::tortured;
use crate::{assert_both_were_tried, is_refused, requests};

const TEXT: &str = "?";
const TOOL: &str = "noop";
const ARGUMENTS: &str = r#"{"why":"edited"}"#;

/// Replaces all that it sees, and drops what it cannot replace.
#[derive(Debug)]
struct Edit;

impl Policy for Edit {
    fn on_content_delta<'d>(&self, _: &'d str, block: &ContentBlock, _: &StreamingContext) -> DeltaAction<'d> {
        if block.kind() == BlockKind::Unknown { DeltaAction::Drop } else { DeltaAction::Replace(TEXT.into()) }
    }

    fn on_tool_call_delta<'d>(&self, _: &'d str, _: &ToolCallBlock, _: &StreamingContext) -> DeltaAction<'d> {
        DeltaAction::Hold
    }

    async fn on_tool_call_complete(&self, call: &ToolCallBlock, _: &StreamingContext) -> BlockAction {
        BlockAction::Replace(Chunk::ToolCall {
            choice: call.choice(),
            call_id: call.call_id().to_owned(),
            name: TOOL.to_owned(),
            arguments: ARGUMENTS.to_owned(),
            free_form: false,
        })
    }
}

fn edit(script: impl FnOnce(Value) -> Script) -> Outcome {
    let registry = policies::registry().with("edit", |_| Ok(SharedPolicy::new("Edit", Edit)));
    native::play(&script(document(json!([{"use": "edit"}]))), &registry)
}

/// Whether `found` is nothing that came: no string, or one that the policy or Weir itself put there.
fn is_own(found: &str) -> bool {
    let own = ["", TEXT, ARGUMENTS, "This content was withheld by policy."];
    !found.starts_with('"') || serde_json::from_str::<String>(found).is_ok_and(|found| own.contains(&found.as_str()))
}

#[track_caller]
fn assert_edited(places: &[Place]) {
    for place in places {
        let (mut left, mut came) = (Vec::new(), Vec::new());
        let documents = place.tortured();
        for document in &documents {
            let outcome = edit(|policies| place.script(policies, document));
            if !is_refused(&outcome) {
                left.extend(place.left(&outcome).into_iter().map(|left| (came.len(), left)));
                came.push(document);
            }
        }
        let (numbers, left): (Vec<usize>, Vec<_>) = left.into_iter().unzip();
        for reader in readers(&left, place.path) {
            let is_edited =
                |found: &&String| serde_json::from_str(found).is_ok_and(|found: String| found == TEXT || found == ARGUMENTS);
            let edited = reader.read.iter().flatten().filter(is_edited).count();
            assert!(edited > came.len() / 8, "{edited} of {} were edited: {}", came.len(), place.document);
            for ((number, left), found) in numbers.iter().zip(&left).zip(&reader.read) {
                let shown = String::from_utf8_lossy(left);
                assert!(
                    found.as_deref().is_none_or(is_own),
                    "{} reads {found:?} in {shown}, which came as {}",
                    reader.language,
                    String::from_utf8_lossy(came[*number])
                );
            }
        }
        assert_both_were_tried(place.document, came.len(), documents.len() - came.len());
    }
}

#[test]
fn edited_strings_of_chat_completions_are_what_clients_read() {
    assert_edited(&places::chat_completions());
}

#[test]
fn edited_strings_of_messages_are_what_clients_read() {
    assert_edited(&places::messages());
}

#[test]
fn edited_strings_of_responses_are_what_clients_read() {
    assert_edited(&places::responses());
    assert_edited(&places::ends_of_responses());
    assert_edited(&places::repetitions_of_responses());
}

#[test]
fn edited_strings_of_mcp_results_are_what_clients_read() {
    assert_edited(&places::mcp_results());
}

#[test]
fn an_edited_call_is_what_servers_of_mcp_read() {
    let documents = tortured(requests::CALL, &requests::holes(), 2000);
    let mut left = Vec::new();
    for document in &documents {
        match edit(|policies| Script::request_to("/mcp", policies, vec![document.clone()])).request {
            RequestOutcome::SentBody(body) => left.push(body),
            RequestOutcome::Sent => left.push(document.clone()),
            RequestOutcome::Answered => {}
            RequestOutcome::Held => panic!("held: {}", String::from_utf8_lossy(document)),
        }
    }
    let fields = readers(&left, &["method"])
        .into_iter()
        .zip(readers(&left, &["params", "name"]))
        .zip(readers(&left, &["params", "arguments"]));
    for ((methods, names), arguments) in fields {
        for (number, body) in left.iter().enumerate() {
            if methods.read[number].as_deref() == Some(r#""tools/call""#) {
                let shown = String::from_utf8_lossy(body);
                assert_eq!(names.read[number].as_deref(), Some(r#""noop""#), "as read in {}: {shown}", names.language);
                assert_eq!(arguments.read[number].as_deref(), Some(ARGUMENTS), "as read in {}: {shown}", names.language);
            }
        }
    }
    assert_both_were_tried(requests::CALL, left.len(), documents.len() - left.len());
}
