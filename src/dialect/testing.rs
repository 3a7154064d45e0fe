//! What the tests of all dialects share.

use std::fmt::Write;

use super::*;

/// What came of a stream: the parts in short notation, and what left.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    pub(super) parts: Vec<String>,
    pub(super) output: Vec<u8>,
    pub(super) error: Option<DecodeError>,
}

impl Transcript {
    pub(super) fn output(&self) -> &str {
        core::str::from_utf8(&self.output).unwrap()
    }
}

/// A part in short notation: `0:Text^"Hi"` is a delta of block 0, `^` where the block begins and `$` where it ends,
/// `[id,name]` where it says either, `@1` in choice 1; `0:stop` and `0:cut` are complete and broken-off ends.
pub(super) fn notation(part: &DecodedEvent<'_>) -> String {
    let mut text = String::new();
    match part {
        DecodedEvent::Delta(delta) => {
            write!(text, "{}:{:?}", delta.block.0, delta.kind).unwrap();
            if delta.choice > 0 {
                write!(text, "@{}", delta.choice).unwrap();
            }
            text.push_str(if delta.starts { "^" } else { "" });
            text.push_str(if delta.stops { "$" } else { "" });
            if !(delta.call_id.is_empty() && delta.name.is_empty()) {
                write!(text, "[{},{}]", delta.call_id, delta.name).unwrap();
            }
            if !delta.text.is_empty() {
                write!(text, "{:?}", delta.text).unwrap();
            }
            text.push_str(if delta.free_form { " free" } else { "" });
        }
        DecodedEvent::Tool { name } => write!(text, "tool {name}").unwrap(),
        DecodedEvent::Stop { block, complete } => {
            write!(text, "{}:{}", block.0, if *complete { "stop" } else { "cut" }).unwrap();
        }
        DecodedEvent::Finish { choice, reason } => write!(text, "finish {choice} {reason}").unwrap(),
        DecodedEvent::End => text.push_str("end"),
    }
    text
}

/// Sends `chunks` through parser, decoder and encoder; `action` decides about each slot.
pub(super) fn run<'c>(
    dialect: Dialect,
    chunks: impl IntoIterator<Item = &'c [u8]>,
    mut action: impl FnMut(&Delta<'_>) -> SlotAction,
) -> Transcript {
    let mut parser = sse::Parser::new(1 << 24);
    let (mut decoder, mut encoder) = (Decoder::new(dialect), Encoder::new(dialect));
    let (mut frame, mut transcript) = (Frame::default(), Transcript::default());
    let mut pass = |event: sse::Event<'_>, transcript: &mut Transcript| {
        let mut actions = Vec::new();
        let result = decoder.event(&event, &mut frame, &mut |part| {
            if let DecodedEvent::Delta(delta) = &part {
                actions.push(action(delta));
            }
            transcript.parts.push(notation(&part));
        });
        match result {
            Ok(()) => {
                assert_eq!(frame.slots.len(), actions.len(), "each delta has a slot");
                encoder.event(event.raw, &frame, &actions, &mut transcript.output);
            }
            Err(error) => {
                assert!(actions.is_empty(), "nothing is reported on an error");
                transcript.error.get_or_insert(error);
            }
        }
    };
    for chunk in chunks {
        let mut input = chunk;
        while let Some(event) = parser.next(&mut input).unwrap() {
            pass(event, &mut transcript);
        }
    }
    if let Some(event) = parser.finish() {
        pass(event, &mut transcript);
    }
    decoder.finish(&mut |part| transcript.parts.push(notation(&part)));
    transcript
}

/// Sends a stream through untouched.
pub(super) fn keep(dialect: Dialect, stream: &str) -> Transcript {
    run(dialect, [stream.as_bytes()], |_| SlotAction::Keep)
}

/// The data of events, as a stream.
pub(super) fn stream(data: &[&str]) -> String {
    data.iter().map(|data| format!("data: {data}\n\n")).collect()
}

/// Reads a whole body; the parts, and what leaves after `action` and `insertions`.
pub(super) fn run_body(
    dialect: Dialect,
    body: &str,
    mut action: impl FnMut(&Delta<'_>) -> SlotAction,
    insertions: &[Insertion],
) -> Result<(Vec<String>, String), DecodeError> {
    let (mut frame, mut actions, mut parts, mut out) = (Frame::default(), Vec::new(), Vec::new(), Vec::new());
    Decoder::new(dialect).body(body.as_bytes(), &mut frame, &mut |part| {
        if let DecodedEvent::Delta(delta) = &part {
            actions.push(action(delta));
        }
        parts.push(notation(&part));
    })?;
    Encoder::new(dialect).body(body.as_bytes(), &frame, &actions, insertions, &mut out);
    Ok((parts, String::from_utf8(out).unwrap()))
}

/// The data of all events of a stream, as JSON.
pub(super) fn data_of(stream: &[u8]) -> Vec<serde_json::Value> {
    let mut parser = sse::Parser::new(1 << 24);
    let (mut input, mut data) = (stream, Vec::new());
    while let Some(event) = parser.next(&mut input).unwrap() {
        if let Some(json) = event.data.filter(|data| *data != b"[DONE]") {
            data.push(serde_json::from_slice(json).unwrap_or_else(|error| panic!("{error}: {json:?}")));
        }
    }
    assert_eq!(parser.pending(), 0, "every event ends");
    data
}
