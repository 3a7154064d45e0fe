//! What becomes of a response that cannot be checked to its end.

use serde_json::Map;

use super::Governed;
use crate::block::build_text_chunk;
use crate::decision::Decision;
use crate::dialect::DecodeError;
use crate::dialect::framing::RESPONSE_WITHHELD;
use crate::event::Severity;
use crate::exchange::ResponseProgress;
use crate::exchange::pipeline::Pipeline;
use crate::exchange::release_queue::Shape;
use crate::exchange::request::error;
use crate::limits::FailureMode;
use crate::policy::Shared;
use crate::wire::encoding::EncodingError;

impl Governed {
    /// What comes cannot be decoded. Nor could the client: the head no longer says that it is encoded.
    pub(super) fn undecodable(&mut self, shared: &Shared, error: EncodingError, out: &mut Vec<u8>) -> Option<ResponseProgress> {
        let (word, summary) = match error {
            EncodingError::Corrupt => {
                ("response_malformed", "the provider's response is not what its content-encoding says, or is not whole")
            }
            EncodingError::TooLong => {
                ("response_too_large", "a part of the provider's response decodes to more than limits.max_response_bytes")
            }
        };
        self.let_through = false;
        self.beyond(shared, FailureMode::Block, word, summary, &[], out)
    }

    pub(super) fn malformed(
        &mut self,
        shared: &Shared,
        error: DecodeError,
        rest: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<ResponseProgress> {
        let summary = format!("the provider's response cannot be read: {error}");
        // What the engine itself got wrong is no peculiarity of the provider's that an operator could have allowed.
        let verdict = match error {
            DecodeError::Unreachable(_) => FailureMode::Block,
            _ => shared.chain.limits.on_unreadable,
        };
        self.beyond(shared, verdict, "response_malformed", &summary, rest, out)
    }

    pub(super) fn exceed(
        &mut self,
        shared: &Shared,
        word: &'static str,
        summary: &str,
        rest: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<ResponseProgress> {
        self.beyond(shared, shared.chain.limits.on_exceeded, word, summary, rest, out)
    }

    /// The response cannot be checked from here on.
    pub(super) fn beyond(
        &mut self,
        shared: &Shared,
        verdict: FailureMode,
        word: &'static str,
        summary: &str,
        rest: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<ResponseProgress> {
        if verdict == FailureMode::Allow {
            shared.fail_open(word, summary);
            self.let_through = true;
            self.release_queue.let_go(out);
            out.extend_from_slice(rest);
            return None;
        }
        shared.outcome.conclude(Decision::Refuse, Some(&word.to_ascii_uppercase()));
        shared.fail(word, Severity::Error, summary.to_owned(), Map::new());
        if self.release_queue.shape() == Shape::Whole && !self.speaks_stream {
            shared.output.break_off();
            return Some(ResponseProgress::Answer(error(shared, Some(self.dialect), 502, word, RESPONSE_WITHHELD)));
        }
        self.release_queue.fail(RESPONSE_WITHHELD, out);
        shared.output.break_off();
        None
    }

    /// More is held than may be.
    pub(super) fn exceed_held(&mut self, shared: &Shared, pipeline: &mut Pipeline, out: &mut Vec<u8>) {
        let word = "held_too_large";
        let summary = format!(
            "more than {} bytes, or the memory for them, would have to be held (limits.max_held_bytes)",
            self.max_held_bytes
        );
        pipeline.abandon();
        if shared.chain.limits.on_exceeded == FailureMode::Allow {
            shared.fail_open(word, &summary);
            self.let_through = true;
            self.release_queue.let_go(out);
            if let Some(incomplete) = self.parser.finish() {
                out.extend_from_slice(incomplete.raw);
            }
            return;
        }
        shared.outcome.conclude(Decision::Refuse, Some("HELD_TOO_LARGE"));
        shared.fail(word, Severity::Error, summary, Map::new());
        self.release_queue.cut(&build_text_chunk(0, "⛔ The answer was cut here: it is too long to be checked by policy."), out);
        shared.output.break_off();
    }
}
