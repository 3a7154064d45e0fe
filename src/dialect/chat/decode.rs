//! Reads chat.completions.
//!
//! Which fields are slots depends on the frame alone, never on what came before it, so that the encoder finds the
//! same slots again: every text that is not empty, every element of `tool_calls`, every `function_call`; in the order
//! reasoning, content, refusal, transcript, tool calls, function call within each choice.

mod calls;
mod choice;

use smallvec::SmallVec;

use self::calls::Calls;
use self::choice::{CallDelta, ChoiceReader};
use super::fields::{ChoiceFields, ToolFields};
use crate::block::{BlockId, BlockKind, Clarity};
use crate::dialect::decoding::{self, BlockNumbers, NameBytes, Strings, Text};
use crate::dialect::plain::is_clear;
use crate::dialect::template::{Alike, Hole, Template};
use crate::dialect::{DecodeError, DecodedEvent, Delta, Frame, FrameRole, MAX_CHOICES, Slot};
use crate::wire::json::{Field, Form, ObjectScanner, Reader, Value};

/// A tool call of a choice, streamed so far.
#[derive(Debug)]
struct Call {
    key: CallKey,
    block: BlockId,
    id: String,
    name: String,
    /// Whether it is a custom tool; unknown as long as no delta has said so.
    free_form: Option<bool>,
    arguments: ObjectScanner,
    open: bool,
    /// The frame that has said something of it last.
    latest_frame: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum CallKey {
    /// By `tool_calls[].index`.
    Index(u32),
    /// By such an index that is no number from 0 on.
    Odd(u64),
    /// The one legacy `function_call`.
    Function,
}

#[derive(Debug, Default)]
struct Choice {
    index: u32,
    /// The open text blocks, with what they are.
    texts: SmallVec<[(BlockKind, BlockId); 2]>,
    calls: Calls,
    /// The position of the call that the latest delta began, or went on with.
    latest: Option<usize>,
}

/// A part of the frame at hand that is to be reported.
enum Found {
    Delta { slot: Slot, call_id: Text, name: Text, text: Text, extras: Text, free_form: bool, repeats: bool, clarity: Clarity },
    Stop { block: BlockId, complete: bool },
    Finish { choice: u32, reason: Text },
}

impl Found {
    /// A part that says nothing but a text.
    const fn text(slot: Slot, text: Text) -> Self {
        let (call_id, name, extras) = (Text::EMPTY, Text::EMPTY, Text::EMPTY);
        Self::Delta { slot, call_id, name, text, extras, free_form: false, repeats: false, clarity: Clarity::Plain }
    }
}

type Findings = SmallVec<[Found; 2]>;

/// What the one string of a chunk means.
#[derive(Debug, Clone, Copy)]
enum Meaning {
    Text { choice: u32, kind: BlockKind },
    Arguments { choice: u32, key: Option<CallKey>, free_form: Option<bool> },
}

/// Reads the frames of one response.
#[derive(Debug, Default)]
pub struct Decoder {
    blocks: BlockNumbers,
    names: NameBytes,
    choices: SmallVec<[Choice; 1]>,
    /// The number of the frame at hand.
    frame: u64,
    strings: Strings,
    template: Template<Meaning>,
}

impl Decoder {
    pub(crate) fn event(
        &mut self,
        data: &[u8],
        frame: &mut Frame,
        each: &mut dyn FnMut(DecodedEvent<'_>),
    ) -> Result<(), DecodeError> {
        if data.starts_with(super::TERMINATOR) {
            frame.role = FrameRole::Terminator;
            self.template.forget();
            self.stop_all(true, each);
            each(DecodedEvent::End);
            return Ok(());
        }
        self.frame(data, false, frame, each)
    }

    pub(crate) fn body(
        &mut self,
        body: &[u8],
        frame: &mut Frame,
        each: &mut dyn FnMut(DecodedEvent<'_>),
    ) -> Result<(), DecodeError> {
        frame.clear();
        self.frame(body, true, frame, each)?;
        each(DecodedEvent::End);
        Ok(())
    }

    pub(crate) fn finish(&mut self, each: &mut dyn FnMut(DecodedEvent<'_>)) {
        self.stop_all(false, each);
    }

    fn stop_all(&mut self, complete: bool, each: &mut dyn FnMut(DecodedEvent<'_>)) {
        for choice in &mut self.choices {
            choice.stop(|block| each(DecodedEvent::Stop { block, complete }));
        }
    }

    /// Reads a chunk that is like an earlier one but for a string; false if it is not.
    pub(crate) fn event_again(
        &mut self,
        data: &[u8],
        frame: &mut Frame,
        each: &mut dyn FnMut(DecodedEvent<'_>),
    ) -> Result<bool, DecodeError> {
        let Some(Alike { string, value, meaning, .. }) = self.template.find(data) else { return Ok(false) };
        if !is_clear(string.as_bytes()) {
            return Ok(false);
        }
        self.strings.clear();
        self.frame = self.frame.saturating_add(1);
        if let Meaning::Text { choice, kind } = meaning
            && self.is_text_again(string, value, choice, kind, frame, each)
        {
            return Ok(true);
        }
        let (mut findings, blocks_before) = (Findings::new(), self.blocks);
        let found = self.find_again(string, value, meaning, &mut findings);
        self.report(string, found, &findings, blocks_before, frame, each)?;
        Ok(true)
    }

    fn frame(
        &mut self,
        bytes: &[u8],
        whole: bool,
        frame: &mut Frame,
        each: &mut dyn FnMut(DecodedEvent<'_>),
    ) -> Result<(), DecodeError> {
        self.strings.clear();
        self.frame = self.frame.saturating_add(1);
        let (mut findings, blocks_before) = (Findings::new(), self.blocks);
        let text = decoding::utf8(bytes)?;
        let found = self.find(text, whole, &mut findings);
        self.report(text, found, &findings, blocks_before, frame, each)
    }

    /// Reports what was found in `text`; on an error nothing.
    fn report(
        &mut self,
        text: &str,
        found: Result<FrameRole, DecodeError>,
        findings: &Findings,
        blocks_before: BlockNumbers,
        frame: &mut Frame,
        each: &mut dyn FnMut(DecodedEvent<'_>),
    ) -> Result<(), DecodeError> {
        frame.role = found.inspect_err(|_| {
            // Blocks that were never reported must not be reported as stopped.
            self.choices.clear();
            self.blocks = blocks_before;
            self.template.forget();
        })?;
        for found in findings {
            match *found {
                Found::Delta { slot, call_id, name, text: characters, extras, free_form, repeats, clarity } => {
                    if repeats {
                        frame.repeats.push(frame.slots.len());
                    }
                    frame.slots.push(slot);
                    each(DecodedEvent::Delta(Delta {
                        call_id: self.strings.get(text, call_id),
                        name: self.strings.get(text, name),
                        text: self.strings.get(text, characters),
                        extras: self.strings.get(text, extras),
                        free_form,
                        clarity,
                        ..Delta::of(slot)
                    }));
                }
                Found::Stop { block, complete } => each(DecodedEvent::Stop { block, complete }),
                Found::Finish { choice, reason } => {
                    frame.finishes.push(choice);
                    each(DecodedEvent::Finish { choice, reason: self.strings.get(text, reason) });
                }
            }
        }
        Ok(())
    }

    /// Reads text of a block that is open, in a chunk that is like an earlier one but for `string`: what most chunks are.
    /// Whether it was read.
    fn is_text_again(
        &mut self,
        string: &str,
        value: Value,
        choice: u32,
        kind: BlockKind,
        frame: &mut Frame,
        each: &mut dyn FnMut(DecodedEvent<'_>),
    ) -> bool {
        let known = self.choices.iter().find(|known| known.index == choice);
        let open = known.and_then(|known| known.texts.iter().find(|(open, _)| *open == kind));
        let Some((_, block)) = open else { return false };
        let Ok(text) = self.strings.read(string, Some(value)) else { return false };
        if !text.is_empty() {
            let slot = Slot { block: *block, choice, kind, starts: false, stops: false };
            frame.slots.push(slot);
            each(DecodedEvent::Delta(Delta { text: self.strings.get(string, text), ..Delta::of(slot) }));
        }
        true
    }

    /// What a chunk or a whole body holds, and where it stands in the stream.
    fn find(&mut self, source: &str, whole: bool, findings: &mut Findings) -> Result<FrameRole, DecodeError> {
        let message_key = if whole { "message" } else { "delta" };
        let (mut choices, mut error, mut usage, mut padding) = (Field::default(), Field::default(), Field::default(), None);
        let mut meaning = None;
        let mut reader = Reader::new(source);
        reader.object::<DecodeError>(|reader, key| match key {
            "choices" => choices.fill(reader, |reader| {
                reader.optional_array(|reader| {
                    let fields = ChoiceFields::read(reader, message_key)?;
                    let mut choice = self.choice(source, whole, fields.index.get().unwrap_or(0), findings)?;
                    choice.message(fields.message.get())?;
                    choice.finish_reason(fields.finish_reason.get())?;
                    meaning = choice.meaning.or(meaning);
                    Ok(())
                })
            }),
            "error" => Ok(error.fill(reader, Reader::optional_value)?),
            "usage" => Ok(usage.fill(reader, Reader::optional_value)?),
            // Of another length in every chunk, so that the length of the text cannot be told from outside.
            "obfuscation" => {
                padding = reader.optional_value()?.filter(|value| matches!(value.form, Form::PlainString | Form::EscapedString));
                Ok(())
            }
            _ => Ok(reader.skip()?),
        })?;
        reader.end()?;
        if error.get().is_some() {
            return Ok(FrameRole::Failure);
        }
        if choices.get().is_none() && usage.get().is_none() {
            let slot =
                Slot { block: self.blocks.begin_unknown(), choice: 0, kind: BlockKind::Unknown, starts: true, stops: true };
            let text = self.strings.leaves(source, 0..source.len(), None)?;
            findings.push(Found::text(slot, text));
            return Ok(FrameRole::Unknown);
        }
        if let ([Found::Delta { text, .. }], Some(meaning)) = (findings.as_slice(), meaning.filter(|_| !whole))
            && let Some(value) = text.value()
        {
            self.template.learn(source, &[(Hole::Text, Some(value)), (Hole::Padding, padding)], meaning);
        } else {
            // What is plain may depend on what this frame says.
            self.template.forget();
        }
        Ok(FrameRole::Content)
    }

    /// What a chunk holds that is like an earlier one but for `string`.
    fn find_again(
        &mut self,
        string: &str,
        value: Value,
        meaning: Meaning,
        findings: &mut Findings,
    ) -> Result<FrameRole, DecodeError> {
        match meaning {
            Meaning::Text { choice, kind } => self.choice(string, false, choice, findings)?.text(kind, Some(value))?,
            Meaning::Arguments { choice, key, free_form } => {
                let tool = ToolFields { name: None, arguments: Some(value) };
                let (id, extras, clarity) = (None, Text::EMPTY, Clarity::Plain);
                let delta = CallDelta { key, id, tool: Some(tool), extras, free_form, clarity };
                self.choice(string, false, choice, findings)?.call(&delta)?;
            }
        }
        Ok(FrameRole::Content)
    }

    fn choice<'r>(
        &'r mut self,
        source: &'r str,
        whole: bool,
        index: u32,
        findings: &'r mut Findings,
    ) -> Result<ChoiceReader<'r>, DecodeError> {
        let known = self.choices.iter().position(|choice| choice.index == index);
        if known.is_none() {
            self.choices.push(Choice { index, ..Choice::default() });
        }
        let position = known.unwrap_or_else(|| self.choices.len().saturating_sub(1));
        let choice = self.choices.get_mut(position).filter(|_| position < MAX_CHOICES);
        let choice = choice.ok_or(DecodeError::TooManyChoices)?;
        Ok(ChoiceReader {
            source,
            whole,
            frame: self.frame,
            blocks: &mut self.blocks,
            names: &mut self.names,
            strings: &mut self.strings,
            choice,
            findings,
            meaning: None,
        })
    }
}

impl Choice {
    /// Closes all blocks that are open.
    fn stop(&mut self, mut each: impl FnMut(BlockId)) {
        for (_, block) in self.texts.drain(..) {
            each(block);
        }
        for call in self.calls.iter_mut() {
            if core::mem::take(&mut call.open) {
                each(call.block);
            }
        }
    }
}
