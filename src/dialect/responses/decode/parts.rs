//! Reads the parts of messages and of reasoning.

use super::{Decoder, EventReader, OpenPart, Progress, count_repetition};
use crate::block::BlockKind;
use crate::dialect::decoding::Text;
use crate::dialect::responses::fields::{ItemFields, PartFields};
use crate::dialect::responses::item::ItemKind;
use crate::dialect::responses::{EventKind, PartKey, Place, Reading};
use crate::dialect::{DecodeError, Slot};
use crate::wire::json::{Reader, Value};

impl EventReader<'_> {
    /// Parts of a whole item: what is not known of them gets a slot.
    pub(super) fn repeated_parts(&mut self, number: usize, element: usize, fields: &ItemFields) -> Result<(), DecodeError> {
        let kind = self.decoder.items.get(number).map_or(ItemKind::Other, |item| item.kind);
        if !matches!(kind, ItemKind::Message | ItemKind::Reasoning) {
            return Ok(());
        }
        let source = self.source;
        for (list, key) in
            [(fields.summary.get(), PartKey::Summary as fn(u32) -> PartKey), (fields.content.get(), PartKey::Content)]
        {
            let Some(list) = list else { continue };
            let mut index: u32 = 0;
            Reader::at(source, list).array(|reader| {
                let part = PartFields::read(reader)?;
                let (kind, value) = self.part_kind(&part)?;
                if let Some(kind) = kind {
                    self.repeated_part(number, element, key(index), kind, value)?;
                }
                index = index.saturating_add(1);
                Ok::<_, DecodeError>(())
            })?;
        }
        Ok(())
    }

    /// What a part is, and its text; `None` if it has no text.
    fn part_kind(&mut self, part: &PartFields) -> Result<(Option<BlockKind>, Option<Value>), DecodeError> {
        let kind = self.decoder.strings.read(self.source, part.r#type.get())?;
        Ok(match self.decoder.strings.get(self.source, kind) {
            "refusal" => (Some(BlockKind::Refusal), part.refusal.get()),
            "reasoning_text" | "summary_text" => (Some(BlockKind::Reasoning), part.text.get()),
            "output_text" => (Some(BlockKind::Text), part.text.get()),
            _ if part.text.get().is_some() => (Some(BlockKind::Text), part.text.get()),
            _ => (None, None),
        })
    }

    /// A part that comes whole: ends its block, and has a text if none has come.
    fn repeated_part(
        &mut self,
        number: usize,
        element: usize,
        key: PartKey,
        kind: BlockKind,
        value: Option<Value>,
    ) -> Result<(), DecodeError> {
        let text = self.decoder.strings.read(self.source, value)?;
        let (position, starts) = self.part_position(number, key, kind)?;
        let Some(part) = self.decoder.items.get_mut(number).and_then(|item| item.parts.get_mut(position)) else { return Ok(()) };
        if part.kind != kind {
            return Err(DecodeError::OutOfOrder { what: "a part that changes its type" });
        }
        count_repetition(&mut part.repetitions)?;
        let before = part.progress;
        match before {
            Progress::Empty => {
                self.part_text(number, position, element, text, starts, true);
                self.says_more();
            }
            Progress::Open => self.part_text(number, position, element, Text::EMPTY, starts, true),
            Progress::Done => {}
        }
        self.part_again(number, key, element, text)
    }

    /// The position of a part in its item; whether it begins here.
    fn part_position(&mut self, number: usize, key: PartKey, kind: BlockKind) -> Result<(usize, bool), DecodeError> {
        let Some(item) = self.decoder.items.get(number) else { return Ok((0, false)) };
        if let Some(position) = item.parts.iter().position(|part| part.key == key) {
            return Ok((position, false));
        }
        let fits = match item.kind {
            ItemKind::Message => matches!(key, PartKey::Content(_)),
            ItemKind::Reasoning => kind == BlockKind::Reasoning,
            ItemKind::Call { .. } | ItemKind::Result | ItemKind::Unknown | ItemKind::Other => false,
        };
        if !fits {
            return Err(DecodeError::OutOfOrder { what: "a text in an item of another type" });
        }
        let block = self.decoder.blocks.begin()?;
        let Some(item) = self.decoder.items.get_mut(number) else { return Ok((0, false)) };
        item.parts.push(OpenPart { key, block, kind, progress: Progress::Empty, repetitions: 0, came: String::new() });
        Ok((item.parts.len().saturating_sub(1), true))
    }

    /// The item of an event about a part; `None` if its parts are not looked into.
    fn part_item(&mut self, event: EventKind, key: PartKey) -> Result<Option<usize>, DecodeError> {
        let number = self.known_item(event)?;
        let Some(item) = self.decoder.items.get(number) else { return Ok(None) };
        let (kind, is_reasoning) = (item.kind, *item.name == *"reasoning");
        match kind {
            ItemKind::Other if is_reasoning && self.is_about_reasoning()? => {
                self.silent(number, EventKind::Status);
                Ok(None)
            }
            // There are clients that show a text whatever item it is in.
            ItemKind::Unknown | ItemKind::Other => self.unknown().map(|()| None),
            _ => {
                self.note(event, number, key);
                Ok(Some(number))
            }
        }
    }

    /// Whether the part that the event brings is reasoning, or else the text that its type says it is about.
    fn is_about_reasoning(&mut self) -> Result<bool, DecodeError> {
        if self.fields.part.get().is_some() {
            let part = self.part_fields()?;
            return Ok(self.part_kind(&part)?.0 == Some(BlockKind::Reasoning));
        }
        let kind = self.decoder.strings.read(self.source, self.fields.r#type.get())?;
        Ok(self.decoder.strings.get(self.source, kind).starts_with("response.reasoning_"))
    }

    pub(super) fn part_added(&mut self, key: PartKey) -> Result<(), DecodeError> {
        let Some(number) = self.part_item(EventKind::PartAdded, key)? else { return Ok(()) };
        let fields = self.part_fields()?;
        let (Some(kind), value) = self.part_kind(&fields)? else {
            self.silent(number, EventKind::Status);
            return Ok(());
        };
        let text = self.decoder.strings.read(self.source, value)?;
        let (position, starts) = self.part_position(number, key, kind)?;
        if !starts {
            return Err(DecodeError::OutOfOrder { what: "a part that begins again" });
        }
        self.part_text(number, position, 0, text, true, false);
        Ok(())
    }

    fn part_fields(&self) -> Result<PartFields, DecodeError> {
        let Some(part) = self.fields.part.get() else {
            return Err(DecodeError::OutOfOrder { what: "a part that is missing in its event" });
        };
        Ok(PartFields::read(&mut Reader::at(self.source, part))?)
    }

    fn part_text(&mut self, number: usize, position: usize, element: usize, text: Text, starts: bool, stops: bool) {
        let Decoder { items, strings, .. } = &mut *self.decoder;
        let Some(part) = items.get_mut(number).and_then(|item| item.parts.get_mut(position)) else { return };
        part.came.push_str(strings.get(self.source, text));
        if stops {
            part.progress = Progress::Done;
        } else if !text.is_empty() {
            part.progress = Progress::Open;
        }
        let slot = Slot { block: part.block, choice: 0, kind: part.kind, starts, stops };
        let place = Place { element, part: Some(part.key), differs: false };
        self.delta(slot, place, text);
    }

    pub(super) fn part_delta(&mut self, key: PartKey, kind: BlockKind) -> Result<(), DecodeError> {
        let Some(number) = self.part_item(EventKind::Delta, key)? else { return Ok(()) };
        let text = self.decoder.strings.read(self.source, self.fields.delta.get())?;
        let (position, starts) = self.part_position(number, key, kind)?;
        let part = self.decoder.items.get(number).and_then(|item| item.parts.get(position));
        if part.is_some_and(|part| part.kind != kind || part.progress == Progress::Done) {
            return Err(DecodeError::OutOfOrder { what: "a delta of a part that is of another type or has ended" });
        }
        self.part_text(number, position, 0, text, starts, false);
        Ok(())
    }

    pub(super) fn part_done(&mut self, key: PartKey, kind: BlockKind, value: Option<Value>) -> Result<(), DecodeError> {
        let Some(number) = self.part_item(EventKind::TextDone, key)? else { return Ok(()) };
        self.only_repeats();
        self.repeated_part(number, 0, key, kind, value)?;
        self.at_least_silent(number)
    }

    pub(super) fn whole_part_done(&mut self, key: PartKey) -> Result<(), DecodeError> {
        let Some(number) = self.part_item(EventKind::PartDone, key)? else { return Ok(()) };
        self.only_repeats();
        let fields = self.part_fields()?;
        if let (Some(kind), value) = self.part_kind(&fields)? {
            self.repeated_part(number, 0, key, kind, value)?;
        }
        self.at_least_silent(number)
    }

    /// What is only repeated has a slot all the same, to keep its place.
    pub(super) fn at_least_silent(&mut self, number: usize) -> Result<(), DecodeError> {
        if self.findings.is_empty() {
            let (event, part) = (Reading::of(self.frame).event, Reading::of(self.frame).part);
            self.silent(number, event);
            Reading::of_mut(self.frame).part = part;
        }
        Ok(())
    }

    /// Something about a text: it shares the lot of that text.
    pub(super) fn remark(&mut self, key: PartKey) -> Result<(), DecodeError> {
        let Some(number) = self.part_item(EventKind::Remark, key)? else { return Ok(()) };
        let position = self.decoder.items.get(number).and_then(|item| item.parts.iter().position(|part| part.key == key));
        match position {
            Some(position) => self.part_text(number, position, 0, Text::EMPTY, false, false),
            None => self.silent(number, EventKind::Status),
        }
        Ok(())
    }
}
