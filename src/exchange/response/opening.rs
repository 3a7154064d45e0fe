//! The hooks that run before the first byte of a response leaves, and what is refused by its head alone.

use std::rc::Rc;

use serde_json::Map;

use super::{Gate, Governed, Opened, Opening};
use crate::answer::Answer;
use crate::decision::Decision;
use crate::dialect::Dialect;
use crate::dialect::framing::RESPONSE_WITHHELD;
use crate::event::Severity;
use crate::exchange::pipeline::Pipeline;
use crate::exchange::release_queue::Shape;
use crate::exchange::request::{error, local_answer};
use crate::head::Response;
use crate::limits::FailureMode;
use crate::policy::{HookOutput, Place, ResponseAction, Shared, StreamAction};

impl Governed {
    /// Runs the hooks that come before everything else: `on_stream_start` or `on_response`.
    pub(super) fn open(&mut self, shared: &Shared, pipeline: &mut Pipeline, out: &mut Vec<u8>) -> Opened {
        let mut response = None;
        while let Gate::Closed { stage, hook } = &mut self.opening {
            let Some(at) = pipeline.stages().get(*stage) else {
                self.opening = Gate::Open;
                break;
            };
            if !at.interests().response {
                *stage = stage.saturating_add(1);
                continue;
            }
            let mut running = hook.take().unwrap_or_else(|| match self.release_queue.shape() {
                Shape::Stream => at.instance.on_stream_start(),
                Shape::Whole => {
                    let body = || Rc::new(Response { status: self.status, body: self.backlog.clone() });
                    at.instance.on_response(Rc::clone(response.get_or_insert_with(body)))
                }
            });
            shared.output.set_turn(true);
            let Some(output) = pipeline.advance(&mut running, Place::START) else {
                *hook = Some(running);
                return Opened::Waiting;
            };
            *stage = stage.saturating_add(1);
            let behind = *stage;
            let opened = match output {
                HookOutput::Stream(StreamAction::SendStreamingResponse) | HookOutput::Response(ResponseAction::SendResponse) => {
                    None
                }
                HookOutput::Stream(StreamAction::BlockStream(answer))
                | HookOutput::Response(ResponseAction::SendAnswer(answer)) => {
                    response = None;
                    self.take_over(shared, pipeline, &answer, behind, out)
                }
                _ => Some(self.fail_opening(shared, out)),
            };
            if let Some(opened) = opened {
                return opened;
            }
        }
        Opened::Yes
    }

    /// A policy answers in the provider's place. `None` where the hooks of those behind it are next.
    fn take_over(
        &mut self,
        shared: &Shared,
        pipeline: &mut Pipeline,
        answer: &Answer,
        behind: usize,
        out: &mut Vec<u8>,
    ) -> Option<Opened> {
        let streamed = self.speaks_stream || self.release_queue.shape() == Shape::Stream;
        let Ok(reply) = local_answer(shared, self.dialect, answer, streamed) else {
            return Some(self.fail_opening(shared, out));
        };
        if answer.passes_policies {
            pipeline.skip_to(behind);
            self.opening = Gate::Closed { stage: 0, hook: None };
            self.release_queue.take_shape(if streamed { Shape::Stream } else { Shape::Whole });
            self.backlog = reply.body;
            self.is_replaced = true;
            self.upstream_ended = true;
            return None;
        }
        shared.outcome.infer(Decision::Rewrite);
        self.opening = Gate::Open;
        if !streamed {
            shared.output.end();
            return Some(Opened::Answer(reply));
        }
        out.extend_from_slice(&reply.body);
        self.release_queue.finish();
        if self.release_queue.shape() == Shape::Whole {
            // A stream goes on being read, for observation; this is not.
            shared.output.break_off();
        }
        Some(Opened::Yes)
    }

    fn fail_opening(&mut self, shared: &Shared, out: &mut Vec<u8>) -> Opened {
        self.opening = Gate::Open;
        if self.release_queue.shape() == Shape::Stream || self.speaks_stream {
            let summary = "a policy failed as the stream began";
            let _ = self.beyond(shared, FailureMode::Block, "policy_failed", summary, &[], out);
            return Opened::Yes;
        }
        shared.outcome.conclude(Decision::Refuse, Some("POLICY_FAILED"));
        shared.output.end();
        let message = "The response could not be checked by policy.";
        Opened::Answer(error(shared, Some(self.dialect), 500, "policy_failed", message))
    }
}

pub(super) fn unreadable_head(shared: &Shared, dialect: Dialect, word: &'static str, summary: &str) -> Opening {
    if shared.chain.limits.on_unreadable == FailureMode::Allow {
        shared.fail_open(word, summary);
        return Opening::Pass;
    }
    shared.outcome.conclude(Decision::Refuse, Some(&word.to_ascii_uppercase()));
    shared.fail(word, Severity::Error, summary.to_owned(), Map::new());
    shared.output.end();
    Opening::Refused(error(shared, Some(dialect), 502, word, RESPONSE_WITHHELD))
}
