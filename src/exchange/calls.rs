//! The calls that stand in a request (MCP): decided before it leaves.

use std::rc::Rc;

use super::RequestProgress;
use super::pipeline::{Pipeline, Sink};
use super::release_queue::{ReleaseQueue, Shape};
use super::replay::Given;
use super::request::refused;
use super::response::take_part;
use crate::dialect::mcp;
use crate::dialect::reply::Reply;
use crate::dialect::{DecodeError, Decoder, Dialect, Encoder, Frame};
use crate::policy::Shared;

/// A request whose calls are being decided.
pub(super) struct Calls {
    decoder: mcp::Decoder,
    release_queue: ReleaseQueue,
    /// What is to leave of the body.
    out: Vec<u8>,
    /// The body differs from what the client sent, because a policy rewrote it.
    is_rewritten: bool,
    /// What a policy answers in the server's place.
    pub(super) given: Option<Given>,
}

/// Reader and writer of the answer, which know what was asked.
pub(super) struct Wire {
    pub(super) decoder: Decoder,
    pub(super) encoder: Encoder,
}

impl Wire {
    /// Those of a response to which the request has nothing to say.
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { decoder: Decoder::new(dialect), encoder: Encoder::new(dialect) }
    }

    /// Whether nothing that left is to be answered.
    pub(super) fn expects_nothing(&self) -> bool {
        self.decoder.expects_nothing()
    }

    /// Whatever left, this response need not answer it.
    pub(super) const fn expect_nothing(&mut self) {
        if let Decoder::Mcp(decoder) = &mut self.decoder {
            decoder.expect_nothing();
        }
    }

    /// The answer to what did not leave, for a response that has no body to put it into.
    pub(super) fn refusals(&mut self, shared: &Shared) -> Option<Reply> {
        let Encoder::Mcp(encoder) = &mut self.encoder else { return None };
        encoder.refusals().map(|body| reply(shared, body))
    }
}

impl Calls {
    /// Takes the calls of the request's body through the stages.
    pub(super) fn begin(
        shared: &Shared,
        pipeline: &mut Pipeline,
        is_rewritten: bool,
        given: Option<Given>,
    ) -> Result<Self, DecodeError> {
        pipeline.begin(Dialect::McpTool);
        let asked = shared.asked();
        let encoder = Encoder::Mcp(mcp::Encoder::new(Rc::clone(&asked)));
        let mut calls = Self {
            decoder: mcp::Decoder::new(asked),
            release_queue: ReleaseQueue::new(Dialect::McpTool, Shape::Whole, encoder, Rc::clone(&shared.output)),
            out: Vec::new(),
            is_rewritten,
            given,
        };
        let request = shared.request();
        let mut frame = Frame::default();
        calls.release_queue.begin();
        let mut sink = Sink { release_queue: &mut calls.release_queue, out: &mut calls.out };
        calls.decoder.request(&request.body, &mut frame, &mut |part| take_part(&part, pipeline, &mut sink))?;
        calls.release_queue.finish_frame(&request.body, &mut frame, shared, &mut calls.out);
        Ok(calls)
    }

    pub(super) fn kept_bytes(&self) -> usize {
        self.release_queue.held_bytes().max(self.release_queue.allocated())
    }

    /// Goes on with what waits.
    pub(super) fn wake(&mut self, pipeline: &mut Pipeline) {
        pipeline.wake(&mut Sink { release_queue: &mut self.release_queue, out: &mut self.out });
        self.release_queue.release(&mut self.out);
    }

    /// Every call is decided: what becomes of the request, and who reads and writes the answer.
    pub(super) fn settle(mut self, shared: &Shared, pipeline: &Pipeline) -> (RequestProgress, Option<Box<Wire>>) {
        // Nothing can decide any more what is still undecided.
        self.release_queue.remove_undecided(&mut self.out);
        pipeline.report_late(self.release_queue.take_late());
        pipeline.report_lost(self.release_queue.take_lost());
        if let Some(refusal) = self.release_queue.take_refusal() {
            return (RequestProgress::Answer(refused(shared, Some(Dialect::McpTool), refusal)), None);
        }
        let Encoder::Mcp(mut encoder) = self.release_queue.into_encoder() else { return (RequestProgress::Hold, None) };
        pipeline.report_late(encoder.late());
        if shared.output.is_ending() {
            encoder.refuse_all();
            self.out.clear();
        }
        if self.out.is_empty()
            && let Some(body) = encoder.refusals()
        {
            return (RequestProgress::Answer(reply(shared, body)), None);
        }
        self.decoder.refuse(encoder.refused());
        let wire = Wire { decoder: Decoder::Mcp(self.decoder), encoder: Encoder::Mcp(encoder) };
        let is_changed = self.is_rewritten || self.out != shared.request().body;
        let progress = if is_changed { RequestProgress::SendBody(self.out) } else { RequestProgress::Send };
        (progress, Some(Box::new(wire)))
    }
}

fn reply(shared: &Shared, body: Vec<u8>) -> Reply {
    let content_type = if shared.asked().streams_only() { "text/event-stream" } else { "application/json" };
    Reply::new(200, content_type, body)
}
