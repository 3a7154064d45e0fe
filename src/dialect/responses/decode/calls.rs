//! Reads what tool calls ask for.

use super::state::State;
use super::table::Item;
use super::{EventReader, Found};
use crate::block::Clarity;
use crate::dialect::decoding::Text;
use crate::dialect::responses::item::ItemKind;
use crate::dialect::responses::payload::Payload;
use crate::dialect::responses::{Begins, EventKind, PartKey, Place, Reading};
use crate::dialect::{DecodeError, Slot};
use crate::wire::json::{Form, Value};

/// Clients differ in which deltas they count.
const OTHER_TYPE: Clarity = Clarity::Ambiguous("arguments come in events of another type of tool");
const NO_CALL: Clarity = Clarity::Ambiguous("arguments come for an item that is no tool call");
const NO_OPERATION: Clarity = Clarity::Ambiguous("a patch changes a file that it does not name");
const OTHER_NAME: Clarity = Clarity::Ambiguous("two events name two tools for one call");
const BEHIND_END: Clarity = Clarity::Ambiguous("arguments come behind the end of the tool call");

/// Where the slot of a call stands in an event of its own.
const OF_CALL: Place = Place { element: 0, part: None, differs: false };

impl EventReader<'_> {
    /// The tool call that an event about its text belongs to, which is one about items of type `r#type`.
    fn call(&mut self, event: EventKind, r#type: &'static str) -> Result<usize, DecodeError> {
        let (number, clarity) = match self.find_item()? {
            Some((number, clarity)) if self.decoder.items.get(number)?.kind.payload().is_some() => (number, clarity),
            Some((number, _)) => (self.call_beside(number, r#type)?, NO_CALL),
            None => (self.begin_unannounced(r#type, true)?, Clarity::Canonical),
        };
        self.note(event, number, PartKey::Payload);
        let item = self.decoder.items.get_mut(number)?;
        item.note(clarity);
        if *item.name != *r#type {
            item.note(OTHER_TYPE);
        } else if item.kind.payload() == Some(Payload::Operation) && item.received.is_empty() {
            item.note(NO_OPERATION);
        }
        Ok(number)
    }

    /// The call that events tell of the item `number`, which is none: there are clients that carry it out.
    fn call_beside(&mut self, number: usize, r#type: &'static str) -> Result<usize, DecodeError> {
        if let Some(beside) = self.decoder.items.get(number)?.beside {
            return Ok(beside);
        }
        let beside = self.begin_unannounced(r#type, false)?;
        self.decoder.items.get_mut(number)?.beside = Some(beside);
        Reading::of_mut(self.frame).begins = Begins::Beside { item: number, r#type };
        Ok(beside)
    }

    /// The slot of a call of which `text` comes, and perhaps its name; `stops` if that is all of it.
    fn call_text(&mut self, number: usize, name: Text, text: Text, stops: bool) -> Result<(), DecodeError> {
        let starts = Reading::of(self.frame).begins != Begins::No;
        let decoder = &mut *self.decoder;
        let words = decoder.strings.get(self.source, text);
        let item = decoder.items.get_mut(number)?;
        let takes_text = item.state.takes_text();
        if takes_text {
            item.received.push_str(words);
            item.state = item.state.after_text(words.is_empty(), stops);
        } else if !words.trim().is_empty() {
            item.note(BEHIND_END);
        }
        let (kind, clarity) = (item.kind.block_kind(), item.clarity_as_sent());
        let slot = Slot { block: item.block, choice: 0, kind, starts, stops: stops && takes_text };
        let free_form = item.kind.payload().is_some_and(Payload::is_free_form) && starts;
        let call_id = Text::EMPTY;
        self.findings.push(Found::Delta { slot, place: OF_CALL, call_id, name, text, free_form, clarity });
        Ok(())
    }

    pub(super) fn call_delta(&mut self, r#type: &'static str) -> Result<(), DecodeError> {
        let number = self.call(EventKind::Delta, r#type)?;
        let text = self.arguments(number, self.fields.delta.get())?;
        self.call_text(number, Text::EMPTY, text, false)
    }

    /// The text of a string; of what is none, as some servers write it, its JSON.
    fn arguments(&mut self, number: usize, value: Option<Value>) -> Result<Text, DecodeError> {
        match value {
            Some(value) if !matches!(value.form, Form::PlainString | Form::EscapedString) => {
                self.decoder.items.get_mut(number)?.note(Clarity::Canonical);
                Ok(Text::verbatim(value))
            }
            value => self.decoder.strings.read(self.source, value),
        }
    }

    /// All that a call says has come, so that it can be judged while the next one is still arriving.
    pub(super) fn call_done(&mut self, r#type: &'static str, value: Option<Value>) -> Result<(), DecodeError> {
        let number = self.call(EventKind::TextDone, r#type)?;
        let item = self.decoder.items.get_mut(number)?;
        if !Self::may_repeat(&mut item.repetitions) || item.state == State::Done {
            self.withhold();
            return Ok(());
        }
        let text = self.arguments(number, value)?;
        let name = self.name_at_the_end(number)?;
        let item = self.decoder.items.get_mut(number)?;
        let is_named = !item.tool.is_empty();
        if item.received.is_empty() && item.state.takes_text() {
            return self.call_text(number, name, text, is_named);
        }
        if item.state.takes_text() {
            self.call_text(number, name, Text::EMPTY, is_named)?;
        }
        // A call that is not named yet is looked at again when its item ends.
        if is_named {
            self.only_repeats();
            self.call_text_snapshot(number, EventKind::TextDone, text)?;
        }
        self.at_least_silent(number)
    }

    /// The name of the tool, where it stands in the event that ends the call and nowhere before.
    fn name_at_the_end(&mut self, number: usize) -> Result<Text, DecodeError> {
        let decoder = &mut *self.decoder;
        let name = decoder.strings.read(self.source, self.fields.name.get())?;
        let words = decoder.strings.get(self.source, name);
        let item = decoder.items.get_mut(number)?;
        if words.is_empty() || *item.tool == *words {
            return Ok(Text::EMPTY);
        }
        if !item.tool.is_empty() || !item.state.takes_text() {
            item.note(OTHER_NAME);
            return Ok(Text::EMPTY);
        }
        item.tool = words.into();
        item.note(Clarity::Canonical);
        decoder.names.add(words)?;
        Ok(name)
    }

    pub(super) fn command_added(&mut self) -> Result<(), DecodeError> {
        let number = self.call(EventKind::CommandAdded, SHELL)?;
        let decoder = &mut *self.decoder;
        let item = decoder.items.get_mut(number)?;
        let separator = if item.commands == 0 { "" } else { "\n" };
        let start = decoder.strings.begin();
        decoder.strings.push(separator);
        decoder.strings.push_read(self.source, self.fields.command.get())?;
        let text = decoder.strings.since(start);
        if item.state.takes_text() {
            item.repetitions = 0;
            item.begin_command(separator);
        }
        self.call_text(number, Text::EMPTY, text, false)
    }

    pub(super) fn command_done(&mut self) -> Result<(), DecodeError> {
        let number = self.call(EventKind::CommandDone, SHELL)?;
        let item = self.decoder.items.get_mut(number)?;
        let is_call = matches!(item.kind, ItemKind::Call { payload: Payload::Commands, .. });
        if !Self::may_repeat(&mut item.repetitions) || item.state == State::Done || !is_call {
            self.withhold();
            return Ok(());
        }
        let text = self.decoder.strings.read(self.source, self.fields.command.get())?;
        self.only_repeats();
        self.call_text_snapshot(number, EventKind::CommandDone, text)?;
        self.at_least_silent(number)
    }
}

/// The type of items whose commands come one by one.
const SHELL: &str = "shell_call";

impl Item {
    /// The next command of a shell's call begins, behind this separator.
    fn begin_command(&mut self, separator: &str) {
        self.commands = self.commands.saturating_add(1);
        self.command_start = self.received.len().saturating_add(separator.len());
    }
}
