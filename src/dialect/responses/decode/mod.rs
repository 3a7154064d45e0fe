//! Reads responses.
//!
//! Every event that is about an item has a slot, so that it keeps its place and shares the lot of the item. What
//! repeats a text that has come is no text again; what stands in a repetition alone is. A repetition that says something
//! else than what has come is a block of its own.

mod calls;
mod event;
mod items;
mod parts;
mod snapshot;
mod state;
mod table;

use smallvec::SmallVec;

use self::state::State;
use self::table::Items;
use super::fields::{EventFields, ResponseFields};
use super::{EventKind, PartKey, Place, Reading};
use crate::block::{BlockId, Clarity};
use crate::dialect::decoding::{self, BlockNumbers, NameBytes, Strings, Text};
use crate::dialect::template::Template;
use crate::dialect::{DecodeError, DecodedEvent, Delta, Frame, FrameRole, Slot};

/// Clients of this dialect stop reading here; some servers send it behind the end.
const FOREIGN_TERMINATOR: &[u8] = b"[DONE]";

/// Most events that may end one text, or one call, and leave: a stream has up to four for each. A small one may leave with
/// all that was sent.
const MAX_REPETITIONS: u8 = 8;

/// A part of the frame at hand that is to be reported.
#[derive(Clone, Copy)]
enum Found {
    Delta { slot: Slot, place: Place, call_id: Text, name: Text, text: Text, free_form: bool, clarity: Clarity },
    Stop { block: BlockId, complete: bool },
    Finish { reason: Text },
}

type Findings = SmallVec<[Found; 2]>;

/// Reads the frames of one response.
#[derive(Debug, Default)]
pub struct Decoder {
    blocks: BlockNumbers,
    names: NameBytes,
    /// Bytes of text so far.
    text_bytes: usize,
    items: Items,
    has_begun: bool,
    has_ended: bool,
    strings: Strings,
    template: Template<Meaning>,
    /// The type of the event that is the template.
    template_type: String,
}

/// Whose text the one string of a delta is that is like an earlier one.
#[derive(Debug, Clone, Copy)]
struct Meaning {
    item: usize,
    part: PartKey,
    output_index: Option<u32>,
}

impl Decoder {
    pub(crate) fn event(
        &mut self,
        data: &[u8],
        frame: &mut Frame,
        each: &mut dyn FnMut(DecodedEvent<'_>),
    ) -> Result<(), DecodeError> {
        if data.starts_with(FOREIGN_TERMINATOR) {
            return Ok(());
        }
        self.strings.clear();
        // What else comes may end the block.
        self.template.forget();
        let source = decoding::utf8(data)?;
        let fields = EventFields::read(source)?;
        let kind = self.strings.read(source, fields.r#type.get())?;
        Reading::of_mut(frame).sequence = fields.sequence_number.get().map(|sequence| sequence.number);
        if self.has_ended && self.strings.get(source, kind) != "response.created" {
            // Clients differ in whether they read on.
            Reading::of_mut(frame).event = EventKind::Surplus;
            return Ok(());
        }
        let mut reader =
            EventReader { decoder: self, source, fields: &fields, frame, findings: Findings::new(), is_stream: true };
        let read = reader.event(kind).and_then(|()| reader.count_text()).and_then(|()| reader.learn(kind));
        let findings = core::mem::take(&mut reader.findings);
        if let Err(error) = read {
            // Blocks that were never reported must not be reported as stopped.
            self.items.clear();
            return Err(error);
        }
        self.report(source, &findings, frame, each);
        if frame.role == FrameRole::Terminator {
            each(DecodedEvent::End);
        }
        Ok(())
    }

    pub(crate) fn body(
        &mut self,
        body: &[u8],
        frame: &mut Frame,
        each: &mut dyn FnMut(DecodedEvent<'_>),
    ) -> Result<(), DecodeError> {
        frame.clear();
        self.strings.clear();
        let source = decoding::utf8(body)?;
        let response = ResponseFields::read(source)?;
        if response.error.get().is_some() {
            frame.role = FrameRole::Failure;
        }
        let fields = EventFields::default();
        let mut reader =
            EventReader { decoder: self, source, fields: &fields, frame, findings: Findings::new(), is_stream: false };
        reader.repeated_output(&response)?;
        reader.finish(&response)?;
        let findings = core::mem::take(&mut reader.findings);
        self.report(source, &findings, frame, each);
        each(DecodedEvent::End);
        Ok(())
    }

    pub(crate) fn finish(&mut self, each: &mut dyn FnMut(DecodedEvent<'_>)) {
        for item in self.items.drain() {
            item.open_blocks(|block| each(DecodedEvent::Stop { block, complete: false }));
        }
    }

    fn report(&self, source: &str, findings: &Findings, frame: &mut Frame, each: &mut dyn FnMut(DecodedEvent<'_>)) {
        for found in findings {
            match *found {
                Found::Delta { slot, place, call_id, name, text, free_form, clarity } => {
                    frame.slots.push(slot);
                    Reading::of_mut(frame).places.push(place);
                    let text = self.strings.get(source, text);
                    if findings.len() == 1 || place.differs {
                        Reading::of_mut(frame).text.push_str(text);
                    }
                    each(DecodedEvent::Delta(Delta {
                        call_id: self.strings.get(source, call_id),
                        name: self.strings.get(source, name),
                        text,
                        free_form,
                        clarity,
                        ..Delta::of(slot)
                    }));
                }
                Found::Stop { block, complete } => each(DecodedEvent::Stop { block, complete }),
                Found::Finish { reason } => {
                    frame.finishes.push(0);
                    each(DecodedEvent::Finish { choice: 0, reason: self.strings.get(source, reason) });
                }
            }
        }
    }
}

/// Reads one frame.
struct EventReader<'r> {
    decoder: &'r mut Decoder,
    source: &'r str,
    fields: &'r EventFields,
    frame: &'r mut Frame,
    findings: Findings,
    /// Whether the frame is an event, and not a whole body.
    is_stream: bool,
}

#[cfg(test)]
mod tests;
