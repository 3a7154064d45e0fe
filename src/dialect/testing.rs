//! What the tests of all dialects share.

use std::fmt::Write;

use super::plain::{Normalizer, Wants};
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
/// `[id,name]` where it says either, `@1` in choice 1, `~` where it is to be written anew, `?` where it is ambiguous; `0:stop` and `0:cut` are complete and broken-off ends.
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
            match delta.clarity {
                Clarity::Plain => {}
                Clarity::Canonical => text.push('~'),
                Clarity::Ambiguous(why) => write!(text, "?({why})").unwrap(),
            }
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
    let mut normalizer = Normalizer::new(dialect, Wants { text: true, calls: true, reasoning: false });
    let mut pass = |event: Option<sse::Event<'_>>, transcript: &mut Transcript| {
        let mut actions = Vec::new();
        let mut read = |decoder: &mut Decoder, event: &sse::Event<'_>, again: bool, transcript: &mut Transcript| -> bool {
            actions.clear();
            let each = &mut |part: DecodedEvent<'_>| {
                if let DecodedEvent::Delta(delta) = &part {
                    actions.push(action(delta));
                }
                transcript.parts.push(notation(&part));
            };
            let result = if again {
                decoder.event_again(event, &mut frame, each)
            } else {
                decoder.event(event, &mut frame, each).map(|()| true)
            };
            match result {
                Ok(true) => {
                    assert_eq!(frame.slots.len(), actions.len(), "each delta has a slot");
                    encoder.event(event.raw, &frame, &actions, &mut transcript.output);
                    true
                }
                Ok(false) => false,
                Err(error) => {
                    assert!(actions.is_empty(), "nothing is reported on an error");
                    transcript.error.get_or_insert(error);
                    true
                }
            }
        };
        let mut arranged = Vec::new();
        let Some(event) = event else {
            decoder.arrange_end(&mut arranged).unwrap();
            let (mut parser, mut unread) = (sse::Parser::new(usize::MAX), arranged.as_slice());
            while let Some(event) = parser.next(&mut unread).unwrap() {
                read(&mut decoder, &event, false, transcript);
            }
            return;
        };
        if read(&mut decoder, &event, true, transcript) {
            return;
        }
        let mut arrange = |event: &sse::Event<'_>, transcript: &mut Transcript| {
            arranged.clear();
            match decoder.arrange(event, &mut arranged) {
                Ok(Arranged::AsItCame) => {
                    read(&mut decoder, event, false, transcript);
                }
                Ok(Arranged::Anew) => {
                    let (mut parser, mut unread) = (sse::Parser::new(usize::MAX), arranged.as_slice());
                    while let Some(event) = parser.next(&mut unread).unwrap() {
                        read(&mut decoder, &event, false, transcript);
                    }
                }
                Err(error) => {
                    transcript.error.get_or_insert(error);
                }
            }
        };
        match normalizer.event(&event) {
            Ok(None) => arrange(&event, transcript),
            Ok(Some(mut written)) => {
                let mut parser = sse::Parser::new(usize::MAX);
                while let Some(event) = parser.next(&mut written).unwrap() {
                    arrange(&event, transcript);
                }
            }
            Err(error) => {
                transcript.error.get_or_insert(error);
            }
        }
    };
    for chunk in chunks {
        let mut input = chunk;
        while let Some(event) = parser.next(&mut input).unwrap() {
            pass(Some(event), &mut transcript);
        }
    }
    if let Some(event) = parser.finish() {
        pass(Some(event), &mut transcript);
    }
    pass(None, &mut transcript);
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
