//! The response's half of an exchange.

mod failure;
mod frames;
mod opening;
mod shape;
mod shorten;

use core::time::Duration;
use std::rc::Rc;

use self::frames::FrameReader;
pub(super) use self::frames::take_part;
use self::opening::unreadable_head;
use self::shape::{Announced, BYTE_ORDER_MARK, Beginning};
use super::calls::Wire;
use super::pipeline::{Pipeline, Sink};
use super::release_queue::{ReleaseQueue, Shape};
use super::request::refused;
use super::{Effect, Observation, ResponseMode, ResponseProgress};
use crate::dialect::Dialect;
use crate::dialect::plain::Wants;
use crate::dialect::reply::Reply;
use crate::head::{Charset, ResponseHead, media_type};
use crate::limits::FailureMode;
use crate::policy::{Hook, Shared};
use crate::time::Timestamp;
use crate::wire::encoding::{self, Encoding};
use crate::wire::sse;

/// For that many blocks of a whole body that is not read yet room is asked for at most.
const MAX_UNREAD_REPLACEMENTS: usize = 32;

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
    reader: FrameReader,
    parser: sse::Parser,
    opening: Gate,
    announced: Announced,
    /// The client takes what Weir says itself for a stream once the head has left, whatever the body is.
    speaks_stream: bool,
    /// The first bytes have told whether the body is a stream.
    is_recognised: bool,
    /// The `content-type` that the head is to leave with, where it must not leave as it came.
    content_type: Option<String>,
    /// A whole body; or, of a stream, what came while the opening hooks wait; or the first bytes, as long as they tell nothing.
    backlog: Vec<u8>,
    upstream_ended: bool,
    /// A policy's answer stands in its place, and what the provider says is not looked at.
    is_replaced: bool,
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
        if !shared.interests().reads_response() {
            return Opening::Pass;
        }
        if (300..400).contains(&head.status) {
            // Clients follow redirects, with the request and its key, to a place that the chain may not govern.
            return unreadable_head(shared, dialect, "response_redirect", "the provider redirects the client to another place");
        }
        let mut wire = wire.map_or_else(|| Wire::new(dialect), |wire| *wire);
        let announced = Announced::read(head.content_type);
        // Some clients take for an error what is from 400 to 599 alone.
        let is_error = (400..600).contains(&head.status);
        // Clients do not look for a message behind these.
        let says_nothing = matches!(head.status, 202 | 204 | 205);
        let is_empty = end || says_nothing || (announced != Announced::Stream && wire.expects_nothing());
        if !is_error
            && is_empty
            && let Some(reply) = wire.refusals(shared)
        {
            return Opening::Refused(reply);
        }
        // An error of the upstream's keeps its status, headers and body: clients act on all three.
        if is_error || end {
            return Opening::Pass;
        }
        if says_nothing {
            wire.expect_nothing();
        }
        let shape = announced.shape(request.stream || dialect == Dialect::McpTool, request.stream);
        let content_type = match Charset::read(head.content_type) {
            Charset::Utf8 => None,
            Charset::Ascii => media_type(head.content_type),
            Charset::Other => {
                let summary = "the provider's response has a charset that is read as another text than UTF-8";
                return unreadable_head(shared, dialect, "response_charset", summary);
            }
        };
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
            release_queue: ReleaseQueue::new(dialect, shape, wire.encoder, Rc::clone(&shared.output)),
            reader: FrameReader::new(dialect, wire.decoder, Wants::of(shared.policies())),
            parser: sse::Parser::new(shared.chain.limits.max_event_bytes),
            opening: Gate::Closed { stage: 0, hook: None },
            announced,
            speaks_stream: shape == Shape::Stream,
            is_recognised: false,
            content_type,
            backlog: Vec::new(),
            upstream_ended: false,
            is_replaced: false,
            let_through: false,
            held_since: None,
            held: Duration::ZERO,
        }))
    }

    pub(super) const fn mode(&self) -> ResponseMode {
        if self.is_streamed() { ResponseMode::Stream } else { ResponseMode::Whole }
    }

    /// Whether the body is a stream, as far as can be told.
    pub(super) const fn is_streamed(&self) -> bool {
        matches!(self.release_queue.shape(), Shape::Stream)
    }

    pub(super) fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    pub(super) const fn held_time(&self) -> Duration {
        self.held
    }

    /// Whether anything that came whole has not left.
    pub(super) const fn is_holding(&self) -> bool {
        self.release_queue.is_holding() || !self.backlog.is_empty()
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.release_queue.held_bytes().saturating_add(self.backlog.len())
    }

    pub(super) fn max_release_bytes(&self) -> usize {
        // The beginning of an event is on its way to being held: what completes it brings only the rest of it.
        let begun = self.parser.pending().saturating_add(self.backlog.len());
        self.release_queue.max_release_bytes().saturating_add(begun)
    }

    /// What replacements may take of blocks in a whole body that is not read yet: each block is an object of it.
    pub(super) fn max_unread_replacements(&self) -> usize {
        if self.is_streamed() {
            return 0;
        }
        let objects = memchr::memchr_iter(b'{', &self.backlog).take(MAX_UNREAD_REPLACEMENTS).count();
        objects.saturating_mul(self.release_queue.replacement_bytes())
    }

    /// Whether the provider's end came.
    pub(super) const fn has_ended(&self) -> bool {
        self.upstream_ended
    }

    pub(super) fn kept_bytes(&self) -> usize {
        let encoded = self.encoding.as_ref().map_or(0, encoding::Decoder::pending);
        encoded
            .saturating_add(self.backlog.len())
            .saturating_add(self.parser.pending())
            .saturating_add(self.release_queue.held_bytes().max(self.release_queue.allocated()))
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
        if shared.output.is_broken() {
            return ResponseProgress::Finished;
        }
        if self.is_replaced {
            let waits = matches!(self.opening, Gate::Closed { .. });
            return self.after(shared, pipeline, waits.then_some(ResponseProgress::Waiting), out);
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
        let progress = if self.is_recognised {
            self.feed_recognised(shared, pipeline, chunk, out)
        } else {
            self.recognise(shared, pipeline, chunk, out)
        };
        self.after(shared, pipeline, progress, out)
    }

    /// There is no memory to work on what came.
    pub(super) fn run_short(
        &mut self,
        shared: &Shared,
        pipeline: &mut Pipeline,
        chunk: &[u8],
        end: bool,
        out: &mut Vec<u8>,
    ) -> ResponseProgress {
        if self.let_through || self.is_replaced || shared.output.is_broken() || self.release_queue.is_finished() {
            return self.feed(shared, pipeline, chunk, end, out);
        }
        self.upstream_ended |= end;
        pipeline.abandon();
        let mut rest = core::mem::take(&mut self.backlog);
        rest.extend(self.parser.finish().map(|event| event.raw.to_vec()).unwrap_or_default());
        rest.extend_from_slice(chunk);
        // What is encoded cannot pass as it came: the head no longer says that it is.
        let verdict = if self.encoding.is_some() { FailureMode::Block } else { shared.chain.limits.on_exceeded };
        let summary = "the worker's memory is used up: what is undecided of the response cannot be kept";
        let progress = self.beyond(shared, verdict, "worker_memory", summary, &rest, out);
        self.after(shared, pipeline, progress, out)
    }

    /// Keeps the first bytes until they tell what the body is.
    fn recognise(
        &mut self,
        shared: &Shared,
        pipeline: &mut Pipeline,
        chunk: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<ResponseProgress> {
        let mut came = core::mem::take(&mut self.backlog);
        came.extend_from_slice(chunk);
        let beginning = Beginning::of(&came);
        // Where nothing was asked, nothing but an answer is expected.
        let may_be_neither = self.announced != Announced::Other || self.reader.decoder.expects_nothing();
        match beginning {
            Beginning::Open if !self.upstream_ended => {
                self.backlog = came;
                if self.backlog.len() > self.max_held_bytes {
                    self.is_recognised = true;
                    let came = core::mem::take(&mut self.backlog);
                    let summary = "more blanks came before the response's first byte than may be held (limits.max_held_bytes)";
                    return self.exceed(shared, "held_too_large", summary, &came, out);
                }
                return Some(ResponseProgress::Flowing);
            }
            Beginning::Event => self.release_queue.take_shape(Shape::Stream),
            Beginning::Json => self.release_queue.take_shape(Shape::Whole),
            Beginning::Open | Beginning::Neither => {}
        }
        self.is_recognised = true;
        if beginning == Beginning::Neither && !may_be_neither {
            let summary = "the provider's response is neither JSON nor an event stream";
            return self.beyond(shared, shared.chain.limits.on_unreadable, "response_content_type", summary, &came, out);
        }
        let body = match self.release_queue.shape() {
            Shape::Whole => came.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&came),
            Shape::Stream => &came,
        };
        self.feed_recognised(shared, pipeline, body, out)
    }

    fn feed_recognised(
        &mut self,
        shared: &Shared,
        pipeline: &mut Pipeline,
        chunk: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<ResponseProgress> {
        match self.release_queue.shape() {
            Shape::Stream => self.feed_stream(shared, pipeline, chunk, out),
            Shape::Whole => self.feed_whole(shared, pipeline, chunk, out),
        }
    }

    /// A callout was answered, or time ran out: what waits goes on.
    pub(super) fn wake(&mut self, shared: &Shared, pipeline: &mut Pipeline, out: &mut Vec<u8>) -> ResponseProgress {
        let progress = if !self.is_recognised {
            Some(ResponseProgress::Flowing)
        } else if matches!(self.opening, Gate::Closed { .. }) {
            self.feed_recognised(shared, pipeline, &[], out)
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
        if let Some(refusal) = self.release_queue.take_refusal() {
            shared.output.break_off();
            return ResponseProgress::Answer(refused(shared, Some(self.dialect), refusal));
        }
        if self.release_queue.shape() == Shape::Stream && self.release_queue.exceeds(self.max_held_bytes) {
            self.exceed_held(shared, pipeline, out);
        }
        pipeline.report_late(self.release_queue.take_late());
        pipeline.report_lost(self.release_queue.take_lost());
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
                // Of what is observed nothing was held.
                if shared.standing.get().is_enforced {
                    shared.push_effect(Effect::Observe(Observation::Held(held)));
                }
            }
            _ => {}
        }
    }
}
