//! The response's half of an exchange.

mod failure;
mod frames;
mod opening;

use core::time::Duration;

pub(super) use self::frames::take_part;
use self::opening::{shape_of, unreadable_head};
use super::calls::Wire;
use super::pipeline::{Pipeline, Sink};
use super::release_queue::{ReleaseQueue, Shape};
use super::{Effect, Observation, ResponseMode, ResponseProgress};
use crate::dialect::reply::Reply;
use crate::dialect::{Decoder, Dialect, Frame};
use crate::head::{ResponseHead, is_utf8};
use crate::policy::{Hook, Shared};
use crate::time::Timestamp;
use crate::wire::encoding::{self, Encoding};
use crate::wire::sse;

/// What the head says about a response.
pub(super) enum Opening {
    Pass,
    Refused(Reply),
    Governed(Box<Governed>),
}

/// A response that goes through the pipeline.
pub(super) struct Governed {
    dialect: Dialect,
    status: u16,
    max_held_bytes: usize,
    release_queue: ReleaseQueue,
    /// Where the body comes encoded.
    encoding: Option<encoding::Decoder>,
    decoder: Decoder,
    /// What the latest frame holds; its buffers are used again for the next.
    frame: Frame,
    parser: sse::Parser,
    opening: Gate,
    /// A whole body; or, of a stream, what came while the opening hooks wait.
    backlog: Vec<u8>,
    upstream_ended: bool,
    /// The output was broken off, and nothing that comes is looked at.
    broken: bool,
    /// What comes passes as it is: it could not be checked, and the frame says to let it.
    let_through: bool,
    held_since: Option<Timestamp>,
    held: Duration,
}

/// The hooks that run before the first byte leaves.
enum Gate {
    Closed { stage: usize, hook: Option<Hook> },
    Open,
}

/// How a pass through the opening hooks went.
enum Opened {
    Waiting,
    Yes,
    Answer(Reply),
}

impl Governed {
    pub(super) fn begin(
        shared: &Shared,
        head: &ResponseHead<'_>,
        end: bool,
        max_held_bytes: usize,
        wire: Option<Box<Wire>>,
    ) -> Opening {
        let request = shared.request();
        let Some(dialect) = request.dialect else { return Opening::Pass };
        if (300..400).contains(&head.status) {
            // Clients follow redirects, with the request and its key, to a place that the chain may not govern.
            return unreadable_head(shared, dialect, "response_redirect", "the provider redirects the client to another place");
        }
        let mut wire = wire.map_or_else(|| Wire::new(dialect), |wire| *wire);
        if (200..300).contains(&head.status)
            && end
            && let Some(reply) = wire.refusals(shared)
        {
            return Opening::Refused(reply);
        }
        // An error of the upstream's keeps its status, headers and body: clients act on all three.
        if !(200..300).contains(&head.status) || end {
            return Opening::Pass;
        }
        let Some(shape) = shape_of(head.content_type, request.stream || dialect == Dialect::McpTool) else {
            return unreadable_head(
                shared,
                dialect,
                "response_content_type",
                "the provider's response is neither JSON nor an event stream that was asked for",
            );
        };
        if !is_utf8(head.content_type) {
            let summary = "the provider's response has a charset other than UTF-8";
            return unreadable_head(shared, dialect, "response_charset", summary);
        }
        let decoder = match Encoding::parse(head.content_encoding) {
            Ok(encoding) if shape == Shape::Whole || encoding.is_none_or(Encoding::streams) => {
                encoding.map(encoding::Decoder::new)
            }
            _ => {
                return unreadable_head(
                    shared,
                    dialect,
                    "response_encoding",
                    "the provider's response has a content-encoding that cannot be read",
                );
            }
        };
        Opening::Governed(Box::new(Self {
            dialect,
            status: head.status,
            max_held_bytes,
            encoding: decoder,
            release_queue: ReleaseQueue::new(dialect, shape, wire.encoder),
            decoder: wire.decoder,
            frame: Frame::default(),
            parser: sse::Parser::new(shared.chain.limits.max_event_bytes),
            opening: Gate::Closed { stage: 0, hook: None },
            backlog: Vec::new(),
            upstream_ended: false,
            broken: false,
            let_through: false,
            held_since: None,
            held: Duration::ZERO,
        }))
    }

    pub(super) const fn mode(&self) -> ResponseMode {
        match self.release_queue.shape() {
            Shape::Stream => ResponseMode::Stream,
            Shape::Whole => ResponseMode::Whole,
        }
    }

    pub(super) const fn is_streamed(&self) -> bool {
        matches!(self.release_queue.shape(), Shape::Stream)
    }

    pub(super) const fn held_time(&self) -> Duration {
        self.held
    }

    /// Whether anything that came has not left.
    pub(super) const fn is_holding(&self) -> bool {
        self.release_queue.is_holding() || self.parser.pending() > 0 || !self.backlog.is_empty()
    }

    pub(super) fn max_release_bytes(&self) -> usize {
        // The beginning of an event is on its way to being held: what completes it brings only the rest of it.
        let begun = self.parser.pending().saturating_add(self.backlog.len());
        self.release_queue.max_release_bytes().saturating_add(begun)
    }

    pub(super) fn kept_bytes(&self) -> usize {
        let encoded = self.encoding.as_ref().map_or(0, encoding::Decoder::pending);
        encoded
            .saturating_add(self.backlog.len())
            .saturating_add(self.parser.pending())
            .saturating_add(self.release_queue.held_bytes())
    }

    /// Takes bytes of the body in.
    pub(super) fn feed(
        &mut self,
        shared: &Shared,
        pipeline: &mut Pipeline,
        chunk: &[u8],
        end: bool,
        out: &mut Vec<u8>,
    ) -> ResponseProgress {
        self.upstream_ended |= end;
        if self.broken {
            return ResponseProgress::Finished;
        }
        let mut decoded = Vec::new();
        let mut chunk = chunk;
        if let Some(encoding) = &mut self.encoding {
            let limit = shared.chain.limits.max_response_bytes;
            let result = encoding.feed(chunk, limit, &mut decoded);
            if let Err(error) = result.and_then(|()| if end { encoding.finish(limit, &mut decoded) } else { Ok(()) }) {
                let progress = self.undecodable(shared, error, out);
                return self.after(shared, pipeline, progress, out);
            }
            chunk = &decoded;
        }
        if self.let_through {
            out.extend_from_slice(chunk);
            return ResponseProgress::Flowing;
        }
        let progress = match self.release_queue.shape() {
            Shape::Stream => self.feed_stream(shared, pipeline, chunk, out),
            Shape::Whole => self.feed_whole(shared, pipeline, chunk, out),
        };
        self.after(shared, pipeline, progress, out)
    }

    /// A callout was answered, or time ran out: what waits goes on.
    pub(super) fn wake(&mut self, shared: &Shared, pipeline: &mut Pipeline, out: &mut Vec<u8>) -> ResponseProgress {
        let progress = if matches!(self.opening, Gate::Closed { .. }) {
            match self.release_queue.shape() {
                Shape::Stream => self.feed_stream(shared, pipeline, &[], out),
                Shape::Whole => self.feed_whole(shared, pipeline, &[], out),
            }
        } else {
            pipeline.wake(&mut Sink { release_queue: &mut self.release_queue, out });
            self.release_queue.release(out);
            self.settle_end(pipeline, out);
            None
        };
        self.after(shared, pipeline, progress, out)
    }

    /// What every turn ends with: bounds, times, and how the response stands.
    fn after(
        &mut self,
        shared: &Shared,
        pipeline: &mut Pipeline,
        progress: Option<ResponseProgress>,
        out: &mut Vec<u8>,
    ) -> ResponseProgress {
        if let Some(progress) = progress {
            return progress;
        }
        if self.release_queue.shape() == Shape::Stream && self.release_queue.held_bytes() > self.max_held_bytes {
            self.exceed_held(shared, pipeline, out);
        }
        pipeline.report_late(self.release_queue.take_late());
        self.measure_held(shared);
        if self.let_through {
            ResponseProgress::Flowing
        } else if self.release_queue.is_finished() {
            ResponseProgress::Finished
        } else if pipeline.is_waiting()
            || (matches!(self.opening, Gate::Closed { .. }) && self.release_queue.shape() == Shape::Stream)
        {
            ResponseProgress::Waiting
        } else {
            ResponseProgress::Flowing
        }
    }

    fn measure_held(&mut self, shared: &Shared) {
        match (self.release_queue.held_since(), self.held_since) {
            (Some(since), None) => self.held_since = Some(since),
            (None, Some(since)) => {
                let held = shared.now().since(since);
                self.held = self.held.saturating_add(held);
                self.held_since = None;
                shared.push_effect(Effect::Observe(Observation::Held(held)));
            }
            _ => {}
        }
    }
}
