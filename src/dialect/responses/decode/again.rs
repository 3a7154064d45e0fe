//! Reads what comes again: deltas that are like earlier ones, and repetitions of a whole text. One that says something
//! else is a block of its own: there are clients that take what is repeated.

use super::{Decoder, EventReader, Found, Item, Meaning, Progress};
use crate::dialect::decoding::Text;
use crate::dialect::responses::fields::ItemFields;
use crate::dialect::responses::payload::Payload;
use crate::dialect::responses::{EventKind, PartKey, Place, Reading};
use crate::dialect::template::{Alike, Hole};
use crate::dialect::{DecodeError, DecodedEvent, Delta, Frame, MAX_REPEATED_BYTES, Slot};
use crate::wire::json::{Form, Value};

impl Decoder {
    /// Reads a delta that is like an earlier one but for its string and its number; whether it is one.
    pub(super) fn is_delta_again(
        &mut self,
        name: &[u8],
        data: &[u8],
        frame: &mut Frame,
        each: &mut dyn FnMut(DecodedEvent<'_>),
    ) -> Result<bool, DecodeError> {
        let Some(Alike { string, value, number, meaning }) = self.template.find(data) else { return Ok(false) };
        if !name.is_empty() && name != self.template_type.as_bytes() {
            return Ok(false);
        }
        let Meaning { item, part, output_index } = meaning;
        let text = self.strings.read(string, Some(value))?;
        let Self { items, strings, .. } = self;
        let text = strings.get(string, text);
        let Some(item_of_text) = items.get_mut(item) else { return Ok(false) };
        let (block, kind, progress, came) = if part == PartKey::Payload {
            let Item { block, kind, progress, came, .. } = item_of_text;
            (*block, kind.block_kind(), progress, came)
        } else {
            let Some(open) = item_of_text.parts.iter_mut().find(|open| open.key == part) else { return Ok(false) };
            (open.block, open.kind, &mut open.progress, &mut open.came)
        };
        if !text.is_empty() {
            *progress = Progress::Open;
            came.push_str(text);
        }
        self.text_bytes = self.text_bytes.saturating_add(text.len());
        if self.text_bytes > MAX_REPEATED_BYTES {
            return Err(DecodeError::TextTooLong);
        }
        let slot = Slot { block, choice: 0, kind, starts: false, stops: false };
        frame.slots.push(slot);
        let reading = Reading::of_mut(frame);
        reading.event = EventKind::Delta;
        reading.sequence = number;
        reading.output_index = output_index;
        reading.item = item;
        reading.part = part;
        reading.text.push_str(text);
        let part = (part != PartKey::Payload).then_some(part);
        reading.places.push(Place { element: 0, part, differs: false });
        each(DecodedEvent::Delta(Delta { text, ..Delta::of(slot) }));
        Ok(true)
    }
}

impl EventReader<'_> {
    /// Keeps a delta, so that the next ones like it need not be read anew.
    pub(super) fn learn(&mut self, kind: Text) {
        let &Reading { event, item, part, output_index, .. } = Reading::of(self.frame);
        let is_plain = matches!(self.findings.as_slice(), [Found::Delta { slot, .. }] if !slot.starts && !slot.stops);
        let delta = self.fields.delta.get().filter(|value| is_string(*value));
        if event != EventKind::Delta || !is_plain || delta.is_none() {
            return;
        }
        let padding = self.fields.obfuscation.get().filter(|value| is_string(*value));
        let sequence = self.fields.sequence_number.get().map(|sequence| sequence.value);
        let holes = [(Hole::Text, delta), (Hole::Padding, padding), (Hole::Number, sequence)];
        let decoder = &mut *self.decoder;
        decoder.template.learn(self.source, &holes, Meaning { item, part, output_index });
        decoder.template_type.clear();
        decoder.template_type.push_str(decoder.strings.get(self.source, kind));
    }

    /// The event only repeats, as far as has been seen.
    pub(super) fn only_repeats(&mut self) {
        Reading::of_mut(self.frame).only_repeats = true;
    }

    /// Something comes here for the first time.
    pub(super) fn says_more(&mut self) {
        Reading::of_mut(self.frame).only_repeats = false;
    }

    /// A whole text of a part that has come before.
    pub(super) fn part_again(&mut self, number: usize, key: PartKey, element: usize, text: Text) -> Result<(), DecodeError> {
        let decoder = &mut *self.decoder;
        let said = decoder.strings.get(self.source, text);
        let Some(item) = decoder.items.get_mut(number) else { return Ok(()) };
        let Some(part) = item.parts.iter_mut().find(|part| part.key == key) else { return Ok(()) };
        if part.came == said {
            return Ok(());
        }
        // No text is none that could do harm.
        if !said.is_empty() {
            said.clone_into(&mut part.came);
            let slot = Slot { block: decoder.blocks.begin()?, choice: 0, kind: part.kind, starts: true, stops: true };
            self.delta(slot, Place { element, part: Some(key), differs: true }, text);
        }
        self.says_more();
        Ok(())
    }

    /// All that a call asks for, which has come before. There are clients that call without arguments where none stand.
    pub(super) fn call_again(&mut self, number: usize, element: usize, text: Text) -> Result<(), DecodeError> {
        let decoder = &mut *self.decoder;
        let said = decoder.strings.get(self.source, text);
        let Some(item) = decoder.items.get_mut(number) else { return Ok(()) };
        if item.came == said {
            return Ok(());
        }
        said.clone_into(&mut item.came);
        let kind = item.kind.block_kind();
        let free_form = item.kind.payload().is_some_and(Payload::is_free_form);
        let [call_id, name] = [&item.call_id, &item.tool].map(|text| {
            let start = decoder.strings.begin();
            decoder.strings.push(text);
            decoder.strings.since(start)
        });
        let slot = Slot { block: decoder.blocks.begin()?, choice: 0, kind, starts: true, stops: true };
        let place = Place { element, part: None, differs: true };
        self.findings.push(Found::Delta { slot, place, call_id, name, text, free_form });
        self.says_more();
        Ok(())
    }

    /// A whole call whose end has come before.
    pub(super) fn whole_call_again(&mut self, number: usize, element: usize, fields: &ItemFields) -> Result<(), DecodeError> {
        let Decoder { items, strings, .. } = &mut *self.decoder;
        let Some(item) = items.get(number).filter(|item| item.progress == Progress::Done) else { return Ok(()) };
        let Some(payload) = item.kind.payload() else { return Ok(()) };
        let name = strings.read(self.source, fields.name.get())?;
        let is_renamed = !name.is_empty() && strings.get(self.source, name) != &*item.tool;
        let text = payload.read(self.source, fields, strings)?;
        if is_renamed {
            self.says_more();
        }
        self.call_again(number, element, text)
    }

    /// The end of a text of the call `number`, which has come before: `said` is its latest command, or the difference
    /// that a patch makes, or all.
    pub(super) fn call_text_again(&mut self, number: usize, event: EventKind, said: Text) -> Result<(), DecodeError> {
        let Decoder { items, strings, .. } = &mut *self.decoder;
        let Some(item) = items.get(number) else { return Ok(()) };
        let before = match item.kind.payload() {
            Some(_) if event == EventKind::CommandDone => item.command_start,
            Some(payload) => item.came.len().saturating_sub(payload.repeated(&item.came).len()),
            None => 0,
        };
        let (head, tail) = item.came.split_at_checked(before).unwrap_or((&item.came, ""));
        let words = strings.get(self.source, said);
        if words == tail {
            return Ok(());
        }
        if head.is_empty() {
            return self.call_again(number, 0, said);
        }
        let words = words.to_owned();
        let start = strings.begin();
        strings.push(head);
        strings.push(&words);
        let whole = strings.since(start);
        self.call_again(number, 0, whole)
    }
}

const fn is_string(value: Value) -> bool {
    matches!(value.form, Form::PlainString | Form::EscapedString)
}
