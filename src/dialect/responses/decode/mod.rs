//! Reads responses.
//!
//! Every event that is about an item has a slot, so that it keeps its place and shares the lot of the item. What
//! repeats a text that has come is no text again; what stands in a repetition alone is. A repetition that says something
//! else than what has come is a block of its own.

mod again;
mod calls;
mod event;
mod items;
mod parts;

use smallvec::SmallVec;

use super::fields::{EventFields, ResponseFields};
use super::item::ItemKind;
use super::{PartKey, Place, Reading};
use crate::block::{BlockId, BlockKind};
use crate::dialect::decoding::{self, BlockNumbers, NameBytes, Strings, Text};
use crate::dialect::template::Template;
use crate::dialect::{DecodeError, DecodedEvent, Delta, Frame, FrameRole, Slot};

/// Clients of this dialect stop reading here; some servers send it behind the end.
const FOREIGN_TERMINATOR: &[u8] = b"[DONE]";

/// Most events that may end one text, or one call: a stream has up to four for each.
const MAX_REPETITIONS: u8 = 8;

/// Counts one more event that repeats a text: a small one may leave with all that was sent.
fn count_repetition(repetitions: &mut u8) -> Result<(), DecodeError> {
    *repetitions = repetitions.saturating_add(1);
    if *repetitions <= MAX_REPETITIONS {
        Ok(())
    } else {
        Err(DecodeError::OutOfOrder { what: "a text that is repeated too often" })
    }
}

/// A text of an item.
#[derive(Debug)]
struct OpenPart {
    key: PartKey,
    block: BlockId,
    kind: BlockKind,
    progress: Progress,
    repetitions: u8,
    /// What has come of it.
    came: String,
}

/// How far a block has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Nothing of its text has come.
    Empty,
    /// Some of its text has come.
    Open,
    Done,
}

#[derive(Debug)]
struct Item {
    /// `output_index`
    output_index: u32,
    /// `type`
    name: Box<str>,
    kind: ItemKind,
    /// The block of its own slots.
    block: BlockId,
    /// Of a tool call.
    progress: Progress,
    /// Of a tool call: its id.
    call_id: Box<str>,
    /// Of a tool call: the name of its tool, if it has said it.
    tool: Box<str>,
    /// Of a tool call: what has come of what it asks for.
    came: String,
    repetitions: u8,
    /// Of a shell's call: how many commands have begun.
    commands: u32,
    /// Where the latest of them begins in what has come.
    command_start: usize,
    parts: SmallVec<[OpenPart; 1]>,
    /// `output_item.done` has come.
    is_done: bool,
}

/// A part of the frame at hand that is to be reported.
#[derive(Clone, Copy)]
enum Found {
    Delta { slot: Slot, place: Place, call_id: Text, name: Text, text: Text, free_form: bool },
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
    items: Vec<Item>,
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
    output_index: u32,
}

impl Decoder {
    pub(crate) fn event(
        &mut self,
        name: &[u8],
        data: &[u8],
        frame: &mut Frame,
        each: &mut dyn FnMut(DecodedEvent<'_>),
    ) -> Result<(), DecodeError> {
        if data.starts_with(FOREIGN_TERMINATOR) {
            return Ok(());
        }
        self.strings.clear();
        if self.is_delta_again(name, data, frame, each)? {
            return Ok(());
        }
        // What else comes may end the block.
        self.template.forget();
        let source = decoding::utf8(data)?;
        let fields = EventFields::read(source)?;
        let kind = self.strings.read(source, fields.r#type.get())?;
        if !name.is_empty() && name != self.strings.get(source, kind).as_bytes() {
            return Err(DecodeError::OutOfOrder { what: "an event whose name is not the type of its data" });
        }
        Reading::of_mut(frame).sequence = fields.sequence_number.get().map(|sequence| sequence.number);
        let mut reader = EventReader { decoder: self, source, fields: &fields, frame, findings: Findings::new() };
        let read = reader.event(kind).and_then(|()| reader.count_text());
        reader.learn(kind);
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
        let mut reader = EventReader { decoder: self, source, fields: &fields, frame, findings: Findings::new() };
        reader.repeated_output(&response)?;
        reader.finish(&response)?;
        let findings = core::mem::take(&mut reader.findings);
        self.report(source, &findings, frame, each);
        each(DecodedEvent::End);
        Ok(())
    }

    pub(crate) fn finish(&mut self, each: &mut dyn FnMut(DecodedEvent<'_>)) {
        for item in self.items.drain(..) {
            item.open_blocks(|block| each(DecodedEvent::Stop { block, complete: false }));
        }
    }

    fn report(&self, source: &str, findings: &Findings, frame: &mut Frame, each: &mut dyn FnMut(DecodedEvent<'_>)) {
        for found in findings {
            match *found {
                Found::Delta { slot, place, call_id, name, text, free_form } => {
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

impl Item {
    fn open_blocks(&self, mut each: impl FnMut(BlockId)) {
        for part in self.parts.iter().filter(|part| part.progress != Progress::Done) {
            each(part.block);
        }
        if self.kind.payload().is_some() && self.progress != Progress::Done {
            each(self.block);
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
}
