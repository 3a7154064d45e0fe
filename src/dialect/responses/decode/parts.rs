//! Reads the parts of items: their texts.

use super::EventReader;
use super::snapshot::NO_PART;
use super::state::State;
use super::table::OpenPart;
use crate::block::BlockKind;
use crate::dialect::decoding::Text;
use crate::dialect::responses::fields::{ItemFields, PartFields};
use crate::dialect::responses::item::ItemKind;
use crate::dialect::responses::{EventKind, List, PartKey, Place, Reading};
use crate::dialect::{DecodeError, Slot};
use crate::wire::json::{Reader, Value};

impl EventReader<'_> {
    /// Parts of a whole item: what is not known of them gets a slot.
    pub(super) fn repeated_parts(&mut self, number: usize, element: usize, fields: &ItemFields) -> Result<(), DecodeError> {
        let item = self.decoder.items.get(number)?;
        let has_parts = match item.kind {
            ItemKind::Message | ItemKind::Reasoning => true,
            // All of its strings are a text of their own.
            ItemKind::Unknown => false,
            ItemKind::Call { .. } | ItemKind::Result | ItemKind::Other => !item.parts.is_empty(),
        };
        if !has_parts {
            return Ok(());
        }
        let source = self.source;
        for (list, parts) in [(List::Summary, fields.summary.get()), (List::Content, fields.content.get())] {
            let Some(parts) = parts else { continue };
            let mut index: u32 = 0;
            Reader::at(source, parts).array(|reader| {
                let part = PartFields::read(reader)?;
                if let Some((key, value)) = self.part_key(&part, list, index)?
                    && !self.is_sealed(number, key)?
                {
                    self.repeated_part(number, element, key, value)?;
                }
                index = index.saturating_add(1);
                Ok::<_, DecodeError>(())
            })?;
        }
        Ok(())
    }

    /// What a part is, and where its text stands; `None` if it has no text.
    fn part_key(&mut self, part: &PartFields, list: List, index: u32) -> Result<Option<(PartKey, Option<Value>)>, DecodeError> {
        let kind = self.decoder.strings.read(self.source, part.r#type.get())?;
        let (text, refusal, transcript) = (part.text.get(), part.refusal.get(), part.transcript.get());
        Ok(match (list, self.decoder.strings.get(self.source, kind)) {
            (List::Summary, "summary_text") => Some((PartKey::Summary(index), text)),
            (List::Summary, _) => text.map(|text| (PartKey::Summary(index), Some(text))),
            (List::Content, "refusal") => Some((PartKey::Refusal(index), refusal)),
            (List::Content, "reasoning_text" | "summary_text") => Some((PartKey::Reasoning(index), text)),
            (List::Content, "output_text") => Some((PartKey::Text(index), text)),
            (List::Content, _) if text.is_some() => Some((PartKey::Text(index), text)),
            (List::Content, _) => transcript.map(|text| (PartKey::Transcript(index), Some(text))),
        })
    }

    /// Whether the part is reasoning that passes as it came, since its item bears the provider's seal.
    fn is_sealed(&self, number: usize, key: PartKey) -> Result<bool, DecodeError> {
        let item = self.decoder.items.get(number)?;
        Ok(item.kind == ItemKind::Other && *item.name == *"reasoning" && key.kind() == BlockKind::Reasoning)
    }

    /// A part that comes whole: ends its block, and has a text if none has come.
    fn repeated_part(&mut self, number: usize, element: usize, key: PartKey, value: Option<Value>) -> Result<(), DecodeError> {
        let text = self.decoder.strings.read(self.source, value)?;
        let (position, starts) = self.part_position(number, key)?;
        match self.part(number, position)?.state {
            State::Empty => {
                self.part_text(number, position, element, text, starts, true)?;
                self.says_more();
            }
            State::Open => self.part_text(number, position, element, Text::EMPTY, starts, true)?,
            State::Said | State::Done => {}
        }
        self.part_snapshot(number, key, element, text)
    }

    fn part(&mut self, number: usize, position: usize) -> Result<&mut OpenPart, DecodeError> {
        self.decoder.items.get_mut(number)?.parts.get_mut(position).ok_or(NO_PART)
    }

    /// The position of a part in its item; whether it begins here. Any item may have texts: there are clients that show
    /// them whatever item they are in.
    fn part_position(&mut self, number: usize, key: PartKey) -> Result<(usize, bool), DecodeError> {
        let decoder = &mut *self.decoder;
        let item = decoder.items.get_mut(number)?;
        if let Some(position) = item.parts.iter().position(|part| part.key == key) {
            return Ok((position, false));
        }
        let block = decoder.blocks.begin()?;
        item.parts.push(OpenPart { key, block, state: State::Empty, repetitions: 0, received: String::new() });
        Ok((item.parts.len().saturating_sub(1), true))
    }

    /// The item of an event about a part; `None` if its parts are not looked into.
    fn part_item(&mut self, event: EventKind, key: PartKey) -> Result<Option<usize>, DecodeError> {
        let number = match self.find_item()? {
            Some((number, _)) => number,
            None if key.kind() == BlockKind::Reasoning => self.begin_unannounced("reasoning", true)?,
            None => self.begin_unannounced("message", true)?,
        };
        if self.is_sealed(number, key)? {
            self.silent(number, EventKind::Status)?;
            return Ok(None);
        }
        self.note(event, number, key);
        Ok(Some(number))
    }

    pub(super) fn part_added(&mut self, list: List, index: u32) -> Result<(), DecodeError> {
        let Some((key, value)) = self.part_of_event(list, index)? else { return self.status() };
        let Some(number) = self.part_item(EventKind::PartAdded, key)? else { return Ok(()) };
        let text = self.decoder.strings.read(self.source, value)?;
        let (position, starts) = self.open_part(number, key, text)?;
        self.part_text(number, position, 0, text, starts, false)
    }

    /// The part that an event brings; `None` if there is none, or it has no text.
    fn part_of_event(&mut self, list: List, index: u32) -> Result<Option<(PartKey, Option<Value>)>, DecodeError> {
        let Some(part) = self.fields.part.get() else { return Ok(None) };
        let fields = PartFields::read(&mut Reader::at(self.source, part))?;
        self.part_key(&fields, list, index)
    }

    /// The position of a part of which `text` comes; whether a block begins here. Of a part that has ended it is a block of
    /// its own.
    fn open_part(&mut self, number: usize, key: PartKey, text: Text) -> Result<(usize, bool), DecodeError> {
        let (position, starts) = self.part_position(number, key)?;
        if self.part(number, position)?.state.takes_text() || text.is_empty() {
            return Ok((position, starts));
        }
        let block = self.decoder.blocks.begin()?;
        let part = self.part(number, position)?;
        (part.block, part.state) = (block, State::Empty);
        Ok((position, true))
    }

    fn part_text(
        &mut self,
        number: usize,
        position: usize,
        element: usize,
        text: Text,
        starts: bool,
        stops: bool,
    ) -> Result<(), DecodeError> {
        let decoder = &mut *self.decoder;
        let part = decoder.items.get_mut(number)?.parts.get_mut(position).ok_or(NO_PART)?;
        part.received.push_str(decoder.strings.get(self.source, text));
        part.state = part.state.after_text(text.is_empty(), stops);
        let slot = Slot { block: part.block, choice: 0, kind: part.key.kind(), starts, stops };
        let place = Place { element, part: Some(part.key), differs: false };
        self.delta(slot, place, text);
        Ok(())
    }

    pub(super) fn part_delta(&mut self, key: PartKey) -> Result<(), DecodeError> {
        let Some(number) = self.part_item(EventKind::Delta, key)? else { return Ok(()) };
        let text = self.decoder.strings.read(self.source, self.fields.delta.get())?;
        let (position, starts) = self.open_part(number, key, text)?;
        self.part_text(number, position, 0, text, starts, false)
    }

    pub(super) fn part_done(&mut self, key: PartKey, value: Option<Value>) -> Result<(), DecodeError> {
        let Some(number) = self.part_item(EventKind::TextDone, key)? else { return Ok(()) };
        self.end_of_part(number, key, value)
    }

    pub(super) fn whole_part_done(&mut self, list: List, index: u32) -> Result<(), DecodeError> {
        let Some((key, value)) = self.part_of_event(list, index)? else { return self.status() };
        let Some(number) = self.part_item(EventKind::PartDone, key)? else { return Ok(()) };
        self.end_of_part(number, key, value)
    }

    /// An event that ends a part.
    fn end_of_part(&mut self, number: usize, key: PartKey, value: Option<Value>) -> Result<(), DecodeError> {
        let parts = &mut self.decoder.items.get_mut(number)?.parts;
        let known = parts.iter_mut().find(|part| part.key == key);
        if known.is_some_and(|part| !Self::may_repeat(&mut part.repetitions)) {
            self.withhold();
            return Ok(());
        }
        self.only_repeats();
        self.repeated_part(number, 0, key, value)?;
        self.at_least_silent(number)
    }

    /// What is only repeated has a slot all the same, to keep its place.
    pub(super) fn at_least_silent(&mut self, number: usize) -> Result<(), DecodeError> {
        if self.findings.is_empty() {
            let (event, part) = (Reading::of(self.frame).event, Reading::of(self.frame).part);
            self.silent(number, event)?;
            Reading::of_mut(self.frame).part = part;
        }
        Ok(())
    }

    /// Something about a text: it shares the lot of that text.
    pub(super) fn remark(&mut self, key: PartKey) -> Result<(), DecodeError> {
        let Some(number) = self.named_item()? else { return Ok(()) };
        self.note(EventKind::Remark, number, key);
        let position = self.decoder.items.get(number)?.parts.iter().position(|part| part.key == key);
        match position {
            Some(position) => self.part_text(number, position, 0, Text::EMPTY, false, false),
            None => self.silent(number, EventKind::Status),
        }
    }
}
