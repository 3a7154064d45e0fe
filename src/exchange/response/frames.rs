//! Reads what comes of a response, and takes its parts through the pipeline.

use super::{Gate, Governed, Opened};
use crate::dialect::{DecodeError, DecodedEvent, Decoder, Frame};
use crate::exchange::ResponseProgress;
use crate::exchange::pipeline::{Pipeline, Sink};
use crate::exchange::release_queue::ReleaseQueue;
use crate::policy::Shared;
use crate::wire::sse;

impl Governed {
    /// A stream: events go through the pipeline as they complete.
    pub(super) fn feed_stream(
        &mut self,
        shared: &Shared,
        pipeline: &mut Pipeline,
        chunk: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<ResponseProgress> {
        if matches!(self.opening, Gate::Closed { .. }) {
            match self.open(shared, pipeline, out) {
                Opened::Waiting => return self.keep_for_opening(shared, chunk, out),
                Opened::Answer(reply) => return Some(ResponseProgress::Answer(reply)),
                Opened::Yes => {
                    let backlog = core::mem::take(&mut self.backlog);
                    if let Some(progress) = self.feed_events(shared, pipeline, &backlog, false, out) {
                        return Some(progress);
                    }
                }
            }
        }
        self.feed_events(shared, pipeline, chunk, self.upstream_ended, out)
    }

    /// Keeps what came while the opening hooks wait.
    fn keep_for_opening(&mut self, shared: &Shared, chunk: &[u8], out: &mut Vec<u8>) -> Option<ResponseProgress> {
        self.backlog.extend_from_slice(chunk);
        if self.backlog.len() <= self.max_held_bytes {
            return Some(ResponseProgress::Waiting);
        }
        self.opening = Gate::Open;
        let came = core::mem::take(&mut self.backlog);
        let summary = "more came than may be held while the opening hooks wait (limits.max_held_bytes)";
        self.exceed(shared, "held_too_large", summary, &came, out)
    }

    fn feed_events(
        &mut self,
        shared: &Shared,
        pipeline: &mut Pipeline,
        chunk: &[u8],
        end: bool,
        out: &mut Vec<u8>,
    ) -> Option<ResponseProgress> {
        let mut input = chunk;
        loop {
            let event = match self.parser.next(&mut input) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(too_large) => {
                    let summary = format!(
                        "an event of the provider's stream is longer than {} bytes (limits.max_event_bytes)",
                        too_large.limit
                    );
                    let mut rest = self.parser.finish().map(|event| event.raw.to_vec()).unwrap_or_default();
                    rest.extend_from_slice(input);
                    return self.exceed(shared, "event_too_large", &summary, &rest, out);
                }
            };
            let raw = event.raw;
            if let Err(error) =
                read_event(&mut self.decoder, &mut self.frame, &mut self.release_queue, pipeline, &event, shared, out)
            {
                let mut rest = raw.to_vec();
                rest.extend_from_slice(input);
                return self.malformed(shared, error, &rest, out);
            }
        }
        if end {
            if let Some(event) = self.parser.finish() {
                let raw = event.raw;
                if let Err(error) =
                    read_event(&mut self.decoder, &mut self.frame, &mut self.release_queue, pipeline, &event, shared, out)
                {
                    let rest = raw.to_vec();
                    return self.malformed(shared, error, &rest, out);
                }
            }
            self.end_blocks(pipeline, out);
            self.release_queue.close(out);
            self.settle_end(pipeline, out);
        }
        None
    }

    fn end_blocks(&mut self, pipeline: &mut Pipeline, out: &mut Vec<u8>) {
        let mut sink = Sink { release_queue: &mut self.release_queue, out };
        self.decoder.finish(&mut |part| {
            if let DecodedEvent::Stop { block, complete } = part {
                pipeline.stop(block, complete, &mut sink);
            }
        });
    }

    /// Once the upstream has ended and no hook waits, nothing can decide what is still undecided: it is dropped.
    pub(super) fn settle_end(&mut self, pipeline: &Pipeline, out: &mut Vec<u8>) {
        if self.upstream_ended && !pipeline.is_waiting() && matches!(self.opening, Gate::Open) {
            self.release_queue.remove_undecided(out);
        }
    }

    /// A whole body: one frame, worked on when all of it has come.
    pub(super) fn feed_whole(
        &mut self,
        shared: &Shared,
        pipeline: &mut Pipeline,
        chunk: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<ResponseProgress> {
        if self.backlog.len().saturating_add(chunk.len()) > shared.chain.limits.max_response_bytes {
            let summary = "the provider's response is longer than limits.max_response_bytes";
            let mut rest = core::mem::take(&mut self.backlog);
            rest.extend_from_slice(chunk);
            return self.exceed(shared, "response_too_large", summary, &rest, out);
        }
        self.backlog.extend_from_slice(chunk);
        if !self.upstream_ended {
            return None;
        }
        match self.open(shared, pipeline, out) {
            Opened::Waiting => return Some(ResponseProgress::Waiting),
            Opened::Answer(reply) => return Some(ResponseProgress::Answer(reply)),
            Opened::Yes => {}
        }
        let body = core::mem::take(&mut self.backlog);
        self.release_queue.begin();
        let mut sink = Sink { release_queue: &mut self.release_queue, out };
        let decoded = self.decoder.body(&body, &mut self.frame, &mut |part| take_part(&part, pipeline, &mut sink));
        if let Err(error) = decoded {
            return self.malformed(shared, error, &body, out);
        }
        self.release_queue.finish_frame(&body, &mut self.frame, shared, out);
        self.settle_end(pipeline, out);
        None
    }
}

/// Reads one event and takes its parts through the pipeline.
fn read_event(
    decoder: &mut Decoder,
    frame: &mut Frame,
    release_queue: &mut ReleaseQueue,
    pipeline: &mut Pipeline,
    event: &sse::Event<'_>,
    shared: &Shared,
    out: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    release_queue.notice(event.raw);
    release_queue.begin();
    let mut sink = Sink { release_queue, out };
    decoder.event(event, frame, &mut |part| take_part(&part, pipeline, &mut sink))?;
    sink.release_queue.finish_frame(event.raw, frame, shared, sink.out);
    Ok(())
}

pub(in crate::exchange) fn take_part(part: &DecodedEvent<'_>, pipeline: &mut Pipeline, sink: &mut Sink<'_>) {
    match part {
        DecodedEvent::Delta(delta) => {
            let slot = sink.release_queue.open_slot();
            pipeline.delta(delta, slot, sink);
        }
        DecodedEvent::Tool { name } => {
            let slot = sink.release_queue.open_slot();
            pipeline.tool_offered(name, slot, sink);
        }
        DecodedEvent::Stop { block, complete } => pipeline.stop(*block, *complete, sink),
        DecodedEvent::Finish { choice, reason } => {
            sink.release_queue.open_finish();
            pipeline.finish(*choice, reason, sink);
        }
        DecodedEvent::End => {}
    }
}
