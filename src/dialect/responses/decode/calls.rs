//! Reads what tool calls ask for.

use super::{Decoder, EventReader, Progress};
use crate::dialect::decoding::Text;
use crate::dialect::responses::payload::Payload;
use crate::dialect::responses::{EventKind, Place};
use crate::dialect::{DecodeError, Slot};
use crate::wire::json::Value;

impl EventReader<'_> {
    /// The tool call that an event about its text belongs to.
    fn call(&mut self, event: EventKind, key: &str) -> Result<usize, DecodeError> {
        let is_end = matches!(event, EventKind::TextDone | EventKind::CommandDone);
        let number = if is_end { self.ended_item(event)? } else { self.known_item(event)? };
        let Some(item) = self.decoder.items.get(number) else { return Ok(number) };
        if item.kind.payload().and_then(Payload::event_key) != Some(key) {
            return Err(DecodeError::OutOfOrder { what: "a delta of a tool call of another type" });
        }
        if item.is_done {
            return Err(DecodeError::OutOfOrder { what: "an event of a tool call that has ended" });
        }
        if item.kind.payload() == Some(Payload::Operation) && item.came.is_empty() {
            return Err(DecodeError::OutOfOrder { what: "a difference without the operation that makes it" });
        }
        Ok(number)
    }

    fn call_text(&mut self, number: usize, text: Text, stops: bool) -> Result<(), DecodeError> {
        let Decoder { items, strings, .. } = &mut *self.decoder;
        let Some(item) = items.get_mut(number) else { return Ok(()) };
        if item.progress == Progress::Done {
            return Err(DecodeError::OutOfOrder { what: "a delta of a tool call that has ended" });
        }
        item.came.push_str(strings.get(self.source, text));
        if stops {
            item.progress = Progress::Done;
        } else if !text.is_empty() {
            item.progress = Progress::Open;
        }
        let slot = Slot { block: item.block, choice: 0, kind: item.kind.block_kind(), starts: false, stops };
        self.delta(slot, OF_CALL, text);
        Ok(())
    }

    pub(super) fn call_delta(&mut self, key: &str) -> Result<(), DecodeError> {
        let number = self.call(EventKind::Delta, key)?;
        let text = self.decoder.strings.read(self.source, self.fields.delta.get())?;
        self.call_text(number, text, false)
    }

    /// All that a call says has come, so that it can be judged while the next one is still arriving.
    pub(super) fn call_done(&mut self, key: &str, value: Option<Value>) -> Result<(), DecodeError> {
        let number = self.call(EventKind::TextDone, key)?;
        let text = self.decoder.strings.read(self.source, value)?;
        let Some(item) = self.decoder.items.get(number) else { return Ok(()) };
        let is_named = !item.tool.is_empty();
        match item.progress {
            Progress::Empty => return self.call_text(number, text, is_named),
            Progress::Open => self.call_text(number, Text::EMPTY, is_named)?,
            Progress::Done => {}
        }
        // A call that is not named yet is looked at again when its item ends.
        if is_named {
            self.only_repeats();
            self.call_text_again(number, EventKind::TextDone, text)?;
        }
        self.at_least_silent(number)
    }

    pub(super) fn command_added(&mut self) -> Result<(), DecodeError> {
        let number = self.call(EventKind::CommandAdded, "command")?;
        let Decoder { items, strings, .. } = &mut *self.decoder;
        let Some(item) = items.get_mut(number) else { return Ok(()) };
        let separator = if item.commands == 0 { "" } else { "\n" };
        let start = strings.begin();
        strings.push(separator);
        strings.push_read(self.source, self.fields.command.get())?;
        let text = strings.since(start);
        item.repetitions = 0;
        item.commands = item.commands.saturating_add(1);
        item.command_start = item.came.len().saturating_add(separator.len());
        self.call_text(number, text, false)
    }

    pub(super) fn command_done(&mut self) -> Result<(), DecodeError> {
        let number = self.call(EventKind::CommandDone, "command")?;
        let text = self.decoder.strings.read(self.source, self.fields.command.get())?;
        self.only_repeats();
        self.call_text_again(number, EventKind::CommandDone, text)?;
        self.at_least_silent(number)
    }
}

/// Where the slot of a call stands in an event of its own.
const OF_CALL: Place = Place { element: 0, part: None, differs: false };
