//! Reads what comes of a response, and takes its parts through the pipeline.

use serde_json::Map;

use super::{Gate, Governed, Opened};
use crate::dialect::plain::{Normalizer, Wants};
use crate::dialect::{Arranged, DecodeError, DecodedEvent, Decoder, Dialect, Frame};
use crate::event::Severity;
use crate::exchange::ResponseProgress;
use crate::exchange::pipeline::{Pipeline, Sink};
use crate::exchange::release_queue::Shape;
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
                Opened::Waiting if self.is_replaced => return Some(ResponseProgress::Waiting),
                Opened::Waiting => return self.keep_for_opening(shared, chunk, out),
                Opened::Answer(reply) => return Some(ResponseProgress::Answer(reply)),
                Opened::Yes => {
                    let backlog = core::mem::take(&mut self.backlog);
                    if self.is_replaced {
                        return self.feed_events(shared, pipeline, &backlog, true, out);
                    }
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
            let mut sink = Sink { release_queue: &mut self.release_queue, out };
            if let Err(unread) = self.reader.read(&event, pipeline, &mut sink, shared) {
                let unread_event = unread.rest.unwrap_or_else(|| raw.to_vec());
                let rest = [&self.reader.take_kept(), unread_event.as_slice(), input].concat();
                return self.malformed(shared, unread.error, &rest, out);
            }
            if self.release_queue.exceeds(self.max_held_bytes) {
                // Not only once all events are read: many small ones in one chunk take many times their length.
                self.exceed_held(shared, pipeline, out);
                if self.let_through {
                    out.extend_from_slice(input);
                }
                return None;
            }
        }
        if end {
            if let Some(event) = self.parser.finish() {
                let raw = event.raw;
                let mut sink = Sink { release_queue: &mut self.release_queue, out };
                if let Err(unread) = self.reader.read(&event, pipeline, &mut sink, shared) {
                    let unread_event = unread.rest.unwrap_or_else(|| raw.to_vec());
                    let rest = [self.reader.take_kept(), unread_event].concat();
                    return self.malformed(shared, unread.error, &rest, out);
                }
            }
            let mut sink = Sink { release_queue: &mut self.release_queue, out };
            if let Err(error) = self.reader.read_end(pipeline, &mut sink, shared) {
                return self.malformed(shared, error, &[], out);
            }
            self.end_blocks(pipeline, out);
            self.release_queue.close(out);
            self.settle_end(pipeline, out);
        }
        None
    }

    fn end_blocks(&mut self, pipeline: &mut Pipeline, out: &mut Vec<u8>) {
        let mut sink = Sink { release_queue: &mut self.release_queue, out };
        self.reader.decoder.finish(&mut |part| {
            if let DecodedEvent::Stop { block, complete } = part {
                pipeline.stop(block, complete, &mut sink);
            }
        });
        pipeline.end_texts(&mut sink);
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
            Opened::Yes if shared.output.is_broken() => return None,
            Opened::Yes => {}
        }
        let came = core::mem::take(&mut self.backlog);
        if self.release_queue.shape() == Shape::Stream {
            // A policy answers with a stream, as the client expects.
            return self.feed_events(shared, pipeline, &came, true, out);
        }
        let mut body = self.reader.normalizer.body(&came).unwrap_or(came);
        let arranged = self.reader.decoder.arrange_body(&body);
        report_withheld(&mut self.reader.decoder, shared);
        match arranged {
            Ok(None) => {}
            Ok(Some(arranged)) => body = arranged,
            Err(error) => return self.malformed(shared, error, &body, out),
        }
        self.release_queue.begin();
        let mut sink = Sink { release_queue: &mut self.release_queue, out };
        let FrameReader { decoder, frame, .. } = &mut self.reader;
        let decoded = decoder.body(&body, frame, &mut |part| take_part(&part, pipeline, &mut sink));
        if let Err(error) = decoded {
            return self.malformed(shared, error, &body, out);
        }
        note_usage(shared, &body, &self.reader.frame, true);
        pipeline.end_texts(&mut Sink { release_queue: &mut self.release_queue, out });
        self.release_queue.finish_frame(&body, &mut self.reader.frame, shared, out);
        self.settle_end(pipeline, out);
        None
    }
}

/// What reads the frames of one response.
pub(super) struct FrameReader {
    normalizer: Normalizer,
    pub(super) decoder: Decoder,
    /// What the latest frame holds; its buffers are used again for the next.
    frame: Frame,
}

/// An event that could not be read.
struct Unread {
    error: DecodeError,
    /// What has not been read, where it is not the event as it came.
    rest: Option<Vec<u8>>,
}

impl FrameReader {
    pub(super) fn new(dialect: Dialect, mut decoder: Decoder, wants: Wants) -> Self {
        if wants.reasoning {
            decoder.read_reasoning();
        }
        Self { normalizer: Normalizer::new(dialect, wants), decoder, frame: Frame::default() }
    }

    /// Reads one event, in plain form, and takes its parts through the pipeline.
    fn read(
        &mut self,
        event: &sse::Event<'_>,
        pipeline: &mut Pipeline,
        sink: &mut Sink<'_>,
        shared: &Shared,
    ) -> Result<(), Unread> {
        let Self { normalizer, decoder, frame } = self;
        sink.release_queue.begin();
        if decoder.event_again(event, frame, &mut |part| take_part(&part, pipeline, sink)).map_err(Unread::whole)? {
            sink.release_queue.notice(event.raw);
            sink.release_queue.finish_frame(event.raw, frame, shared, sink.out);
            return Ok(());
        }
        let mut take = |event: &sse::Event<'_>| read_event(decoder, frame, event, pipeline, sink, shared);
        let Some(mut written) = normalizer.event(event).map_err(Unread::whole)? else {
            return take(event).map_err(Unread::whole);
        };
        let mut parser = sse::Parser::new(usize::MAX);
        let mut unread = written;
        while let Ok(Some(event)) = parser.next(&mut unread) {
            take(&event).map_err(|error| Unread { error, rest: Some(written.to_vec()) })?;
            written = unread;
        }
        Ok(())
    }

    /// The events that were kept back, to go with what cannot be read.
    fn take_kept(&mut self) -> Vec<u8> {
        let mut kept = Vec::new();
        // What cannot be let go of is not there: nothing is lost of what was there to be read.
        let _unreachable = self.decoder.arrange_end(&mut kept);
        kept
    }

    /// Reads the events that were kept back until the upstream ended.
    fn read_end(&mut self, pipeline: &mut Pipeline, sink: &mut Sink<'_>, shared: &Shared) -> Result<(), DecodeError> {
        let mut arranged = Vec::new();
        self.decoder.arrange_end(&mut arranged)?;
        read_all_arranged(&mut self.decoder, &mut self.frame, &arranged, pipeline, sink, shared)
    }
}

impl Unread {
    const fn whole(error: DecodeError) -> Self {
        Self { error, rest: None }
    }
}

/// Reads one event that is plain, or what it is arranged as.
fn read_event(
    decoder: &mut Decoder,
    frame: &mut Frame,
    event: &sse::Event<'_>,
    pipeline: &mut Pipeline,
    sink: &mut Sink<'_>,
    shared: &Shared,
) -> Result<(), DecodeError> {
    let mut arranged = Vec::new();
    if decoder.arrange(event, &mut arranged)? == Arranged::AsItCame {
        return read_arranged(decoder, frame, event, pipeline, sink, shared);
    }
    report_withheld(decoder, shared);
    read_all_arranged(decoder, frame, &arranged, pipeline, sink, shared)
}

/// Reads the events in `arranged`.
fn read_all_arranged(
    decoder: &mut Decoder,
    frame: &mut Frame,
    arranged: &[u8],
    pipeline: &mut Pipeline,
    sink: &mut Sink<'_>,
    shared: &Shared,
) -> Result<(), DecodeError> {
    let mut parser = sse::Parser::new(usize::MAX);
    let mut unread = arranged;
    while let Ok(Some(event)) = parser.next(&mut unread) {
        read_arranged(decoder, frame, &event, pipeline, sink, shared)?;
    }
    Ok(())
}

fn read_arranged(
    decoder: &mut Decoder,
    frame: &mut Frame,
    event: &sse::Event<'_>,
    pipeline: &mut Pipeline,
    sink: &mut Sink<'_>,
    shared: &Shared,
) -> Result<(), DecodeError> {
    sink.release_queue.notice(event.raw);
    sink.release_queue.begin();
    decoder.event(event, frame, &mut |part| take_part(&part, pipeline, sink))?;
    note_usage(shared, event.data.unwrap_or_default(), frame, false);
    sink.release_queue.finish_frame(event.raw, frame, shared, sink.out);
    Ok(())
}

fn report_withheld(decoder: &mut Decoder, shared: &Shared) {
    let messages = decoder.take_withheld();
    if messages > 0 {
        let summary =
            format!("{messages} messages of the server do not leave: they answer nothing, or clients differ about them");
        shared.fail("message_withheld", Severity::Warning, summary, Map::new());
    }
}

/// Notes what a frame says about the tokens of the exchange.
fn note_usage(shared: &Shared, json: &[u8], frame: &Frame, is_whole: bool) {
    let mut usage = shared.usage.get();
    usage.read(json, frame, is_whole);
    shared.usage.set(usage);
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
        DecodedEvent::End if sink.release_queue.ends_with_message() => pipeline.end_texts(sink),
        // Clients join the texts of messages in one stream: they end with it.
        DecodedEvent::End => {}
    }
}
