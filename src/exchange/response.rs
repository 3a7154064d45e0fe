//! The response's half of an exchange.

use core::time::Duration;

use serde_json::Map;
use std::rc::Rc;

use super::calls::Wire;
use super::head::{Response, ResponseHead};
use super::outbox::{Outbox, Shape};
use super::pipeline::{Pipeline, Sink};
use super::request::{error, local_answer};
use super::{Effect, Observation, ResponseMode, ResponseProgress};
use crate::block::build_text_chunk;
use crate::decision::Decision;
use crate::dialect::framing::RESPONSE_WITHHELD;
use crate::dialect::reply::Reply;
use crate::dialect::{DecodeError, Decoder, Dialect, Ending, Frame, Part};
use crate::encoding::{self, Encoding, EncodingError};
use crate::event::Severity;
use crate::limits::FailureMode;
use crate::policy::{Hook, HookOutput, ResponseAction, Shared, StreamAction};
use crate::sse;
use crate::time::Timestamp;

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
    outbox: Outbox,
    /// Where the body comes encoded.
    encoding: Option<encoding::Decoder>,
    decoder: Decoder,
    /// What the latest document holds; its buffers are used again for the next.
    frame: Frame,
    parser: sse::Parser,
    opening: Gate,
    /// A whole body; or, of a stream, what came while the opening hooks wait.
    backlog: Vec<u8>,
    upstream_ended: bool,
    /// The output was broken off, and nothing that comes is looked at.
    broken: bool,
    /// What comes passes as it is: it could not be checked, and the document says to let it.
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
            outbox: Outbox::new(dialect, shape, wire.encoder),
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
        match self.outbox.shape() {
            Shape::Stream => ResponseMode::Stream,
            Shape::Whole => ResponseMode::Whole,
        }
    }

    pub(super) const fn is_streamed(&self) -> bool {
        matches!(self.outbox.shape(), Shape::Stream)
    }

    pub(super) const fn held_time(&self) -> Duration {
        self.held
    }

    /// Whether anything that came has not left.
    pub(super) const fn is_holding(&self) -> bool {
        self.outbox.is_holding() || self.parser.pending() > 0 || !self.backlog.is_empty()
    }

    pub(super) fn max_release_bytes(&self) -> usize {
        // The beginning of an event is on its way to being held: what completes it brings only the rest of it.
        let begun = self.parser.pending().saturating_add(self.backlog.len());
        self.outbox.max_release_bytes().saturating_add(begun)
    }

    pub(super) fn kept_bytes(&self) -> usize {
        let encoded = self.encoding.as_ref().map_or(0, encoding::Decoder::pending);
        encoded.saturating_add(self.backlog.len()).saturating_add(self.parser.pending()).saturating_add(self.outbox.held_bytes())
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
        let progress = match self.outbox.shape() {
            Shape::Stream => self.feed_stream(shared, pipeline, chunk, out),
            Shape::Whole => self.feed_whole(shared, pipeline, chunk, out),
        };
        self.after(shared, pipeline, progress, out)
    }

    /// A callout was answered, or time ran out: what waits goes on.
    pub(super) fn wake(&mut self, shared: &Shared, pipeline: &mut Pipeline, out: &mut Vec<u8>) -> ResponseProgress {
        let progress = if matches!(self.opening, Gate::Closed { .. }) {
            match self.outbox.shape() {
                Shape::Stream => self.feed_stream(shared, pipeline, &[], out),
                Shape::Whole => self.feed_whole(shared, pipeline, &[], out),
            }
        } else {
            pipeline.wake(&mut Sink { outbox: &mut self.outbox, out });
            self.outbox.release(out);
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
        if self.outbox.shape() == Shape::Stream && self.outbox.held_bytes() > self.max_held_bytes {
            self.exceed_held(shared, pipeline, out);
        }
        pipeline.report_late(self.outbox.take_late());
        self.measure_held(shared);
        if self.let_through {
            ResponseProgress::Flowing
        } else if self.outbox.is_finished() {
            ResponseProgress::Finished
        } else if pipeline.is_waiting() || (matches!(self.opening, Gate::Closed { .. }) && self.outbox.shape() == Shape::Stream) {
            ResponseProgress::Waiting
        } else {
            ResponseProgress::Flowing
        }
    }

    fn measure_held(&mut self, shared: &Shared) {
        match (self.outbox.held_since(), self.held_since) {
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

    /// A stream: events go through the pipeline as they complete.
    fn feed_stream(
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
            if let Err(error) = read_event(&mut self.decoder, &mut self.frame, &mut self.outbox, pipeline, &event, shared, out) {
                let mut rest = raw.to_vec();
                rest.extend_from_slice(input);
                return self.malformed(shared, error, &rest, out);
            }
        }
        if end {
            if let Some(event) = self.parser.finish() {
                let raw = event.raw;
                if let Err(error) =
                    read_event(&mut self.decoder, &mut self.frame, &mut self.outbox, pipeline, &event, shared, out)
                {
                    let rest = raw.to_vec();
                    return self.malformed(shared, error, &rest, out);
                }
            }
            self.end_blocks(pipeline, out);
            self.outbox.close(out);
            self.settle_end(pipeline, out);
        }
        None
    }

    fn end_blocks(&mut self, pipeline: &mut Pipeline, out: &mut Vec<u8>) {
        let mut sink = Sink { outbox: &mut self.outbox, out };
        self.decoder.finish(&mut |part| {
            if let Part::Stop { block, complete } = part {
                pipeline.stop(block, complete, &mut sink);
            }
        });
    }

    /// Once the upstream has ended and no hook waits, nothing can decide what is still undecided: it is dropped.
    fn settle_end(&mut self, pipeline: &Pipeline, out: &mut Vec<u8>) {
        if self.upstream_ended && !pipeline.is_waiting() && matches!(self.opening, Gate::Open) {
            self.outbox.remove_undecided(out);
        }
    }

    /// A whole body: one document, worked on when all of it has come.
    fn feed_whole(
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
        self.outbox.begin();
        let mut sink = Sink { outbox: &mut self.outbox, out };
        let decoded = self.decoder.body(&body, &mut self.frame, &mut |part| take_part(&part, pipeline, &mut sink));
        if let Err(error) = decoded {
            return self.malformed(shared, error, &body, out);
        }
        self.outbox.finish_document(&body, &mut self.frame, shared, out);
        self.settle_end(pipeline, out);
        None
    }

    /// Runs the hooks that come before everything else: `on_stream_start` or `on_response`.
    fn open(&mut self, shared: &Shared, pipeline: &Pipeline, out: &mut Vec<u8>) -> Opened {
        let Gate::Closed { stage, hook } = &mut self.opening else { return Opened::Yes };
        let response = Rc::new(Response {
            status: self.status,
            body: match self.outbox.shape() {
                Shape::Whole if hook.is_none() && !pipeline.stages().is_empty() => self.backlog.clone(),
                _ => Vec::new(),
            },
        });
        while let Some(at) = pipeline.stages().get(*stage) {
            let mut running = hook.take().unwrap_or_else(|| match self.outbox.shape() {
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
                    self.outbox.answer(&build_text_chunk(0, text), out);
                    return Opened::Yes;
                }
                HookOutput::Response(ResponseAction::SendText(text)) => {
                    shared.conclude(Decision::Refuse, None);
                    shared.output_finished.set(true);
                    return Opened::Answer(local_answer(shared, self.dialect, &text, Ending::Stop, false));
                }
                _ if self.outbox.shape() == Shape::Stream => {
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

    /// What comes cannot be decoded. Nor could the client: the head no longer says that it is encoded.
    fn undecodable(&mut self, shared: &Shared, error: EncodingError, out: &mut Vec<u8>) -> Option<ResponseProgress> {
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

    fn malformed(&mut self, shared: &Shared, error: DecodeError, rest: &[u8], out: &mut Vec<u8>) -> Option<ResponseProgress> {
        let summary = format!("the provider's response cannot be read: {error}");
        self.beyond(shared, shared.chain.limits.on_unreadable, "response_malformed", &summary, rest, out)
    }

    fn exceed(
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
    fn beyond(
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
            self.outbox.let_go(out);
            out.extend_from_slice(rest);
            return None;
        }
        shared.conclude(Decision::Refuse, Some(&word.to_ascii_uppercase()));
        shared.fail(word, Severity::Error, summary.to_owned(), Map::new());
        shared.output_finished.set(true);
        self.broken = true;
        if self.outbox.shape() == Shape::Whole {
            return Some(ResponseProgress::Answer(error(shared, Some(self.dialect), 502, word, RESPONSE_WITHHELD)));
        }
        self.outbox.fail(RESPONSE_WITHHELD, out);
        None
    }

    /// More is held than may be.
    fn exceed_held(&mut self, shared: &Shared, pipeline: &mut Pipeline, out: &mut Vec<u8>) {
        let word = "held_too_large";
        let summary = format!("more than {} bytes would have to be held (limits.max_held_bytes)", self.max_held_bytes);
        pipeline.abandon();
        if shared.chain.limits.on_exceeded == FailureMode::Allow {
            shared.fail_open(word, &summary);
            self.let_through = true;
            self.outbox.let_go(out);
            if let Some(incomplete) = self.parser.finish() {
                out.extend_from_slice(incomplete.raw);
            }
            return;
        }
        shared.conclude(Decision::Refuse, Some("HELD_TOO_LARGE"));
        shared.fail(word, Severity::Error, summary, Map::new());
        shared.output_finished.set(true);
        self.broken = true;
        self.outbox.cut(&build_text_chunk(0, "⛔ The answer was cut here: it is too long to be checked by policy."), out);
    }
}

/// Reads one event and takes its parts through the pipeline.
fn read_event(
    decoder: &mut Decoder,
    frame: &mut Frame,
    outbox: &mut Outbox,
    pipeline: &mut Pipeline,
    event: &sse::Event<'_>,
    shared: &Shared,
    out: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    outbox.notice(event.raw);
    outbox.begin();
    let mut sink = Sink { outbox, out };
    decoder.event(event, frame, &mut |part| take_part(&part, pipeline, &mut sink))?;
    sink.outbox.finish_document(event.raw, frame, shared, sink.out);
    Ok(())
}

pub(super) fn take_part(part: &Part<'_>, pipeline: &mut Pipeline, sink: &mut Sink<'_>) {
    match part {
        Part::Piece(piece) => {
            let slot = sink.outbox.open_slot();
            pipeline.piece(piece, slot, sink);
        }
        Part::Tool { name } => {
            let slot = sink.outbox.open_slot();
            pipeline.tool_offered(name, slot, sink);
        }
        Part::Stop { block, complete } => pipeline.stop(*block, *complete, sink),
        Part::Finish { choice, reason } => {
            sink.outbox.open_finish();
            pipeline.finish(*choice, reason, sink);
        }
        Part::End => {}
    }
}

/// How a response comes, by its content type; where it has none, by what was asked for.
///
/// A stream that nobody asked for cannot be read: clients that wait for JSON look for it whatever the content type says,
/// and what is JSON to them is an event without data here. The other way round nothing is hidden: no line of JSON is an
/// event's data.
fn shape_of(content_type: &[u8], asked_for_stream: bool) -> Option<Shape> {
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

fn unreadable_head(shared: &Shared, dialect: Dialect, word: &'static str, summary: &str) -> Opening {
    if shared.chain.limits.on_unreadable == FailureMode::Allow {
        shared.fail_open(word, summary);
        return Opening::Pass;
    }
    shared.conclude(Decision::Refuse, Some(&word.to_ascii_uppercase()));
    shared.fail(word, Severity::Error, summary.to_owned(), Map::new());
    shared.output_finished.set(true);
    Opening::Refused(error(shared, Some(dialect), 502, word, RESPONSE_WITHHELD))
}
