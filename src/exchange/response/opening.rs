//! The hooks that run before the first byte of a response leaves, and what is refused by its head alone.

use std::rc::Rc;

use serde_json::Map;

use super::{Gate, Governed, Opened, Opening};
use crate::block::build_text_chunk;
use crate::decision::Decision;
use crate::dialect::framing::RESPONSE_WITHHELD;
use crate::dialect::{Dialect, Ending};
use crate::event::Severity;
use crate::exchange::pipeline::Pipeline;
use crate::exchange::release_queue::Shape;
use crate::exchange::request::{error, local_answer};
use crate::head::Response;
use crate::limits::FailureMode;
use crate::policy::{HookOutput, ResponseAction, Shared, StreamAction};

impl Governed {
    /// Runs the hooks that come before everything else: `on_stream_start` or `on_response`.
    pub(super) fn open(&mut self, shared: &Shared, pipeline: &Pipeline, out: &mut Vec<u8>) -> Opened {
        let Gate::Closed { stage, hook } = &mut self.opening else { return Opened::Yes };
        let response = Rc::new(Response {
            status: self.status,
            body: match self.release_queue.shape() {
                Shape::Whole if hook.is_none() && !pipeline.stages().is_empty() => self.backlog.clone(),
                _ => Vec::new(),
            },
        });
        while let Some(at) = pipeline.stages().get(*stage) {
            let mut running = hook.take().unwrap_or_else(|| match self.release_queue.shape() {
                Shape::Stream => at.instance.on_stream_start(),
                Shape::Whole => at.instance.on_response(Rc::clone(&response)),
            });
            let Some(output) = pipeline.advance(&mut running) else {
                *hook = Some(running);
                return Opened::Waiting;
            };
            *stage = stage.saturating_add(1);
            match output {
                HookOutput::Stream(StreamAction::SendStreamingResponse) | HookOutput::Response(ResponseAction::SendResponse) => {}
                HookOutput::Stream(StreamAction::BlockStream(text)) => {
                    shared.conclude(Decision::Refuse, None);
                    shared.output_finished.set(true);
                    self.opening = Gate::Open;
                    self.release_queue.answer(&build_text_chunk(0, text), out);
                    return Opened::Yes;
                }
                HookOutput::Response(ResponseAction::SendText(text)) => {
                    shared.conclude(Decision::Refuse, None);
                    shared.output_finished.set(true);
                    return Opened::Answer(local_answer(shared, self.dialect, &text, Ending::Stop, false));
                }
                _ if self.release_queue.shape() == Shape::Stream => {
                    self.opening = Gate::Open;
                    let summary = "a policy failed as the stream began";
                    let _ = self.beyond(shared, FailureMode::Block, "policy_failed", summary, &[], out);
                    return Opened::Yes;
                }
                _ => {
                    shared.conclude(Decision::Refuse, Some("POLICY_FAILED"));
                    shared.output_finished.set(true);
                    return Opened::Answer(error(
                        shared,
                        Some(self.dialect),
                        500,
                        "policy_failed",
                        "The response could not be checked by policy.",
                    ));
                }
            }
        }
        self.opening = Gate::Open;
        Opened::Yes
    }
}

/// How a response comes, by its content type; where it has none, by what was asked for.
///
/// A stream that nobody asked for cannot be read: clients that wait for JSON look for it whatever the content type says,
/// and what is JSON to them is an event without data here. The other way round nothing is hidden: no line of JSON is an
/// event's data.
pub(super) fn shape_of(content_type: &[u8], asked_for_stream: bool) -> Option<Shape> {
    let media_type = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if media_type.eq_ignore_ascii_case(b"text/event-stream") {
        asked_for_stream.then_some(Shape::Stream)
    } else if media_type.eq_ignore_ascii_case(b"application/json") {
        Some(Shape::Whole)
    } else if media_type.is_empty() {
        Some(if asked_for_stream { Shape::Stream } else { Shape::Whole })
    } else {
        None
    }
}

pub(super) fn unreadable_head(shared: &Shared, dialect: Dialect, word: &'static str, summary: &str) -> Opening {
    if shared.chain.limits.on_unreadable == FailureMode::Allow {
        shared.fail_open(word, summary);
        return Opening::Pass;
    }
    shared.conclude(Decision::Refuse, Some(&word.to_ascii_uppercase()));
    shared.fail(word, Severity::Error, summary.to_owned(), Map::new());
    shared.output_finished.set(true);
    Opening::Refused(error(shared, Some(dialect), 502, word, RESPONSE_WITHHELD))
}
