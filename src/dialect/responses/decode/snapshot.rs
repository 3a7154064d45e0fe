//! Reads what comes again: deltas that are like earlier ones, and repetitions of a whole text. One that says something
//! else is a block of its own: there are clients that take what is repeated.

use super::{Decoder, EventReader, Found, MAX_REPETITIONS, Meaning};
use crate::block::Clarity;
use crate::dialect::decoding::Text;
use crate::dialect::plain::is_clear;
use crate::dialect::responses::fields::ItemFields;
use crate::dialect::responses::payload::Payload;
use crate::dialect::responses::{EventKind, PartKey, Place, Reading};
use crate::dialect::template::{Alike, Hole};
use crate::dialect::{DecodeError, DecodedEvent, Delta, Frame, MAX_REPEATED_BYTES, Slot};
use crate::wire::json::{Form, Value};

/// A part that is none's.
pub(super) const NO_PART: DecodeError = DecodeError::Unreachable("a part that had begun is gone");

impl Decoder {
    /// Reads a delta that is like an earlier one but for its string and its number; false if it is not.
    pub(crate) fn event_again(
        &mut self,
        name: &[u8],
        data: &[u8],
        frame: &mut Frame,
        each: &mut dyn FnMut(DecodedEvent<'_>),
    ) -> Result<bool, DecodeError> {
        let Some(Alike { string, value, number, meaning, .. }) = self.template.find(data) else { return Ok(false) };
        if !(name.is_empty() || name == self.template_type.as_bytes()) || !is_clear(string.as_bytes()) {
            return Ok(false);
        }
        self.strings.clear();
        let Meaning { item, part, output_index } = meaning;
        let text = self.strings.read(string, Some(value))?;
        let Self { items, strings, .. } = self;
        let text = strings.get(string, text);
        let item_of_text = items.get_mut(item)?;
        let (block, kind, state, received) = if part == PartKey::Payload {
            (item_of_text.block, item_of_text.kind.block_kind(), &mut item_of_text.state, &mut item_of_text.received)
        } else {
            let open = item_of_text.parts.iter_mut().find(|open| open.key == part).ok_or(NO_PART)?;
            (open.block, part.kind(), &mut open.state, &mut open.received)
        };
        *state = state.after_text(text.is_empty(), false);
        received.push_str(text);
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
    pub(super) fn learn(&mut self, kind: Text) -> Result<(), DecodeError> {
        let &Reading { event, item, part, output_index, .. } = Reading::of(self.frame);
        let delta = self.fields.delta.get().filter(|value| is_string(*value));
        if event != EventKind::Delta || delta.is_none() || !self.is_mere_text() {
            return Ok(());
        }
        if part == PartKey::Payload && !self.decoder.items.get(item)?.state.takes_text() {
            return Ok(());
        }
        let padding = self.fields.obfuscation.get().filter(|value| is_string(*value));
        let sequence = self.fields.sequence_number.get().map(|sequence| sequence.value);
        let holes = [(Hole::Text, delta), (Hole::Padding, padding), (Hole::Number, sequence)];
        let decoder = &mut *self.decoder;
        decoder.template.learn(self.source, &holes, Meaning { item, part, output_index });
        decoder.template_type.clear();
        decoder.template_type.push_str(decoder.strings.get(self.source, kind));
        Ok(())
    }

    /// Whether the frame holds one text alone, in a block that goes on before it and behind it, and nothing peculiar.
    fn is_mere_text(&self) -> bool {
        let [Found::Delta { slot, clarity, name, .. }] = self.findings.as_slice() else { return false };
        !slot.starts && !slot.stops && *clarity == Clarity::Plain && name.is_empty()
    }

    /// Notes that the event only repeats, as far as has been seen.
    pub(super) fn only_repeats(&mut self) {
        Reading::of_mut(self.frame).only_repeats = true;
    }

    /// Notes that something comes here for the first time.
    pub(super) fn says_more(&mut self) {
        Reading::of_mut(self.frame).only_repeats = false;
    }

    /// Counts one more event that repeats a text, whose count so far is `repetitions`; whether it may leave.
    pub(super) fn may_repeat(repetitions: &mut u8) -> bool {
        *repetitions = repetitions.saturating_add(1);
        *repetitions <= MAX_REPETITIONS
    }

    /// Lets the event not leave.
    pub(super) fn withhold(&mut self) {
        self.findings.clear();
        Reading::of_mut(self.frame).event = EventKind::Surplus;
    }

    /// Compares a whole text of a part with what has come of it.
    pub(super) fn part_snapshot(&mut self, number: usize, key: PartKey, element: usize, text: Text) -> Result<(), DecodeError> {
        let decoder = &mut *self.decoder;
        let said = decoder.strings.get(self.source, text);
        let part = decoder.items.get_mut(number)?.parts.iter_mut().find(|part| part.key == key).ok_or(NO_PART)?;
        if part.received == said {
            return Ok(());
        }
        // No text is none that could do harm.
        if !said.is_empty() {
            said.clone_into(&mut part.received);
            let slot = Slot { block: decoder.blocks.begin()?, choice: 0, kind: key.kind(), starts: true, stops: true };
            self.delta(slot, Place { element, part: Some(key), differs: true }, text);
        }
        self.says_more();
        Ok(())
    }

    /// Compares all that a call asks for with what has come of it. There are clients that call without arguments where none
    /// stand.
    pub(super) fn call_snapshot(&mut self, number: usize, element: usize, text: Text) -> Result<(), DecodeError> {
        let decoder = &mut *self.decoder;
        let said = decoder.strings.get(self.source, text);
        let item = decoder.items.get_mut(number)?;
        if item.received == said {
            return Ok(());
        }
        said.clone_into(&mut item.received);
        let kind = item.kind.block_kind();
        let free_form = item.kind.payload().is_some_and(Payload::is_free_form);
        let [call_id, name] = [&item.call_id, &item.tool].map(|text| {
            let start = decoder.strings.begin();
            decoder.strings.push(text);
            decoder.strings.since(start)
        });
        let slot = Slot { block: decoder.blocks.begin()?, choice: 0, kind, starts: true, stops: true };
        let place = Place { element, part: None, differs: true };
        // Both calls are judged, each client gets one of them, and neither is written anew beside the other.
        self.findings.push(Found::Delta { slot, place, call_id, name, text, free_form, clarity: Clarity::Plain });
        self.says_more();
        Ok(())
    }

    /// Compares a whole call with what has come of it, if that was all.
    pub(super) fn item_snapshot(&mut self, number: usize, element: usize, fields: &ItemFields) -> Result<(), DecodeError> {
        let decoder = &mut *self.decoder;
        let item = decoder.items.get(number)?;
        let Some(payload) = item.kind.payload().filter(|_| !item.state.takes_text()) else { return Ok(()) };
        let name = decoder.strings.read(self.source, fields.name.get())?;
        let is_renamed = !name.is_empty() && decoder.strings.get(self.source, name) != &*item.tool;
        let text = payload.read(self.source, fields, &mut decoder.strings)?;
        if is_renamed {
            self.says_more();
        }
        self.call_snapshot(number, element, text)
    }

    /// Compares the end of a text of the call `number` with what has come of it: `said` is its latest command, or the
    /// difference that a patch makes, or all.
    pub(super) fn call_text_snapshot(&mut self, number: usize, event: EventKind, said: Text) -> Result<(), DecodeError> {
        let decoder = &mut *self.decoder;
        let item = decoder.items.get(number)?;
        let before = match item.kind.payload() {
            Some(_) if event == EventKind::CommandDone => item.command_start,
            Some(payload) => item.received.len().saturating_sub(payload.repeated(&item.received).len()),
            None => return Err(DecodeError::Unreachable("a call that asks for nothing")),
        };
        let (head, tail) = item.received.split_at_checked(before).unwrap_or((&item.received, ""));
        let words = decoder.strings.get(self.source, said);
        if words == tail {
            return Ok(());
        }
        if head.is_empty() {
            return self.call_snapshot(number, 0, said);
        }
        let words = words.to_owned();
        let start = decoder.strings.begin();
        decoder.strings.push(head);
        decoder.strings.push(&words);
        let whole = decoder.strings.since(start);
        self.call_snapshot(number, 0, whole)
    }
}

const fn is_string(value: Value) -> bool {
    matches!(value.form, Form::PlainString | Form::EscapedString)
}
