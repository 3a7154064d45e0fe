//! Plays scripts against the engine alone: the driver, with what scripts say.

use std::sync::Arc;

use serde_json::Value;
use weir::chain::Chain;
use weir::dialect::Dialect;
use weir::document::{Document, DocumentError, Registry};
use weir::exchange::ResponseMode;
use weir::id::CallId;
pub use weir_driver::{Cause, Outcome, Release, RequestOutcome};
use weir_driver::{Player, Recording, Step};

use crate::script::{self, Script};

/// Plays `script`; `registry` knows the policies that its document names.
///
/// # Panics
/// When the document is wrong, or the engine breaks the contract of its methods.
#[track_caller]
pub fn play(script: &Script, registry: &Registry) -> Outcome {
    play_as(CallId::from_bytes(*b"a test's call id"), script, registry)
}

/// [`play`] with the exchange's id, which stands in what the engine writes itself.
///
/// # Panics
/// As [`play`] does.
#[track_caller]
pub fn play_as(call_id: CallId, script: &Script, registry: &Registry) -> Outcome {
    let chain = load(&script.document, registry).unwrap_or_else(|error| panic!("the script's document is wrong: {error}"));
    let rules = script.clone();
    let player = Player::new(Arc::new(chain))
        .call_id(call_id)
        .answering(move |question| rules.rule_for(&question.body).to_service_reply());
    let outcome = player.play(&script.steps);
    assert!(outcome.faults.is_empty(), "{:?}", outcome.faults);
    outcome
}

/// Reads a policy document.
///
/// # Errors
/// When it is wrong.
pub fn load(document: &Value, registry: &Registry) -> Result<Chain, DocumentError> {
    Document::parse(&document.to_string(), registry, &|_| None).map(|document| document.chain)
}

/// Streams `chunks` through an exchange with `chain` and gives back what left: [`play`] without the bookkeeping, for
/// tests that stream many thousand times. No judge answers.
pub fn stream_through<'c>(chain: &Arc<Chain>, dialect: Dialect, chunks: impl IntoIterator<Item = &'c [u8]>) -> Vec<u8> {
    let player = Player::new(Arc::clone(chain)).call_id(CallId::from_bytes([7; 16]));
    let mut play = player.begin();
    let request = script::request_body(dialect, true).to_string();
    for step in Recording::post(script::path(dialect), request).steps(&weir_driver::Split::Whole) {
        play.take(&step);
    }
    assert_eq!(play.outcome().request, RequestOutcome::Sent, "no policy touched the request");
    let headers = vec![("content-type".to_owned(), b"text/event-stream".to_vec())];
    play.take(&Step::ResponseHead { status: 200, headers, end: false });
    assert_eq!(play.outcome().mode, Some(ResponseMode::Stream), "a stream is read as one");
    let mut out = Vec::new();
    for chunk in chunks {
        play.stream(chunk, false, &mut out);
    }
    play.stream(b"", true, &mut out);
    let outcome = play.finish();
    assert!(outcome.faults.is_empty(), "{:?}", outcome.faults);
    out
}
