//! Reads items: how they begin and end, and how the end of the response repeats them.

use smallvec::SmallVec;

use super::{Decoder, EventReader, Found, Item, Progress};
use crate::block::BlockKind;
use crate::dialect::decoding::{Strings, Text};
use crate::dialect::responses::fields::{ActionFields, ItemFields, ResponseFields};
use crate::dialect::responses::item::{ItemKind, tool_name};
use crate::dialect::responses::payload::Payload;
use crate::dialect::responses::{EventKind, PartKey, Place, Reading};
use crate::dialect::{DecodeError, FrameRole, Slot};
use crate::wire::json::{Field, Reader, Value};

impl EventReader<'_> {
    pub(super) fn item_added(&mut self) -> Result<(), DecodeError> {
        let (Some(output_index), Some(value)) = (self.fields.output_index.get(), self.fields.item.get()) else {
            return Err(DecodeError::OutOfOrder { what: "an output_item.added without output_index or item" });
        };
        if self.decoder.items.iter().any(|item| item.output_index == output_index) {
            return Err(DecodeError::OutOfOrder { what: "an item whose output_index is taken" });
        }
        let fields = ItemFields::at(self.source, value)?;
        let number = self.new_item(output_index, &fields)?;
        self.note(EventKind::ItemAdded, number, PartKey::Payload);
        self.item_slot(number, 0, &fields, true, false)?;
        let Some(item) = self.decoder.items.get(number) else { return Ok(()) };
        if matches!(item.kind, ItemKind::Message | ItemKind::Reasoning) {
            self.refuse_parts(fields.content.get())?;
            self.refuse_parts(fields.summary.get())?;
        }
        Ok(())
    }

    /// What an item begins with is not said again in deltas.
    fn refuse_parts(&self, parts: Option<Value>) -> Result<(), DecodeError> {
        let Some(parts) = parts else { return Ok(()) };
        Reader::at(self.source, parts).array(|_| Err(DecodeError::OutOfOrder { what: "an item that begins with content" }))
    }

    fn new_item(&mut self, output_index: u32, fields: &ItemFields) -> Result<usize, DecodeError> {
        let source = self.source;
        let strings = &mut self.decoder.strings;
        let name = strings.read(source, fields.r#type.get())?;
        let execution = strings.read(source, fields.execution.get())?;
        let name: Box<str> = strings.get(source, name).into();
        let is_local = match &*name {
            "shell_call" => !is_container(source, fields.environment, strings)?,
            _ => strings.get(source, execution) == "client",
        };
        self.decoder.names.add(&name)?;
        // Some servers write an empty one with all that they say.
        let seal = strings.read(source, fields.encrypted_content.get())?;
        let kind = ItemKind::of(&name, is_local, !seal.is_empty());
        let block = self.decoder.blocks.begin()?;
        self.decoder.items.push(Item {
            output_index,
            name,
            kind,
            block,
            progress: Progress::Empty,
            call_id: "".into(),
            tool: "".into(),
            came: String::new(),
            repetitions: 0,
            commands: 0,
            command_start: 0,
            parts: SmallVec::new(),
            is_done: false,
        });
        Ok(self.decoder.items.len().saturating_sub(1))
    }

    /// The slot of an item itself, with what a tool call says that it had not said before.
    fn item_slot(
        &mut self,
        number: usize,
        element: usize,
        fields: &ItemFields,
        starts: bool,
        ends: bool,
    ) -> Result<(), DecodeError> {
        let source = self.source;
        let Decoder { items, strings, names, .. } = &mut *self.decoder;
        let Some(item) = items.get_mut(number) else { return Ok(()) };
        let (mut call_id, mut name, mut text) = (Text::EMPTY, Text::EMPTY, Text::EMPTY);
        let stops;
        let (mut free_form, mut says_more) = (false, false);
        match item.kind {
            ItemKind::Call { kind, payload } => {
                free_form = payload.is_free_form();
                if starts {
                    call_id = strings.read(source, fields.call_id.get().or_else(|| fields.id.get()))?;
                    item.call_id = strings.get(source, call_id).into();
                }
                if item.tool.is_empty() && item.progress != Progress::Done {
                    name = strings.read(source, fields.name.get())?;
                    if name.is_empty() && (ends || !payload.has_name()) {
                        let start = strings.begin();
                        strings.push(tool_name(&item.name));
                        name = strings.since(start);
                    }
                    item.tool = strings.get(source, name).into();
                }
                let is_worth_reading = match item.progress {
                    Progress::Empty => ends || payload.begins_with(source, fields, kind),
                    Progress::Open | Progress::Done => false,
                };
                if is_worth_reading {
                    text = payload.read(source, fields, strings)?;
                }
                if !text.is_empty() {
                    item.progress = Progress::Open;
                    item.came.push_str(strings.get(source, text));
                    item.commands = u32::from(payload == Payload::Commands);
                }
                stops = ends && item.progress != Progress::Done;
                says_more = ends && is_worth_reading;
            }
            ItemKind::Result => {
                call_id = if starts { strings.read(source, fields.call_id.get())? } else { Text::EMPTY };
                stops = ends && !item.is_done;
            }
            ItemKind::Unknown => return self.unknown_item(number, element, fields, starts),
            ItemKind::Message | ItemKind::Reasoning | ItemKind::Other => stops = ends && !item.is_done,
        }
        if stops {
            item.progress = Progress::Done;
        }
        names.add(strings.get(source, call_id))?;
        names.add(strings.get(source, name))?;
        let slot = Slot { block: item.block, choice: 0, kind: item.kind.block_kind(), starts, stops };
        let place = Place { element, part: None, differs: false };
        self.findings.push(Found::Delta { slot, place, call_id, name, text, free_form });
        if says_more {
            self.says_more();
        }
        if ends { self.whole_call_again(number, element, fields) } else { Ok(()) }
    }

    /// The beginning or the end of an item of a type that is not known: a block of its own each time.
    fn unknown_item(&mut self, number: usize, element: usize, fields: &ItemFields, starts: bool) -> Result<(), DecodeError> {
        let Some(whole) = fields.whole else { return Ok(()) };
        self.says_more();
        let text = self.decoder.strings.leaves(self.source, whole.start..whole.end, fields.r#type.get())?;
        let block = match self.decoder.items.get(number).filter(|_| starts) {
            Some(item) => item.block,
            None => self.decoder.blocks.begin()?,
        };
        let slot = Slot { block, choice: 0, kind: BlockKind::Unknown, starts: true, stops: true };
        self.delta(slot, Place { element, part: None, differs: false }, text);
        Ok(())
    }

    pub(super) fn item_done(&mut self) -> Result<(), DecodeError> {
        let number = self.ended_item(EventKind::ItemDone)?;
        let Some(value) = self.fields.item.get() else {
            return Err(DecodeError::OutOfOrder { what: "an output_item.done without item" });
        };
        let fields = ItemFields::at(self.source, value)?;
        self.check_type(number, &fields)?;
        let status = self.decoder.strings.read(self.source, fields.status.get())?;
        Reading::of_mut(self.frame).status.push_str(self.decoder.strings.get(self.source, status));
        self.only_repeats();
        self.item_slot(number, 0, &fields, false, true)?;
        self.repeated_parts(number, 0, &fields)?;
        if let Some(item) = self.decoder.items.get_mut(number) {
            item.is_done = true;
        }
        Ok(())
    }

    /// An item that became another would not have been read as what it is.
    fn check_type(&mut self, number: usize, fields: &ItemFields) -> Result<(), DecodeError> {
        let name = self.decoder.strings.read(self.source, fields.r#type.get())?;
        let name = self.decoder.strings.get(self.source, name);
        if self.decoder.items.get(number).is_some_and(|item| *item.name == *name) {
            return Ok(());
        }
        Err(DecodeError::OutOfOrder { what: "an item that changes its type" })
    }

    pub(super) fn terminal(&mut self) -> Result<(), DecodeError> {
        if core::mem::replace(&mut self.decoder.has_ended, true) {
            return Err(DecodeError::OutOfOrder { what: "a response that ends again" });
        }
        self.frame.role = FrameRole::Terminator;
        Reading::of_mut(self.frame).event = EventKind::Terminal;
        self.only_repeats();
        let response = self.fields.response.get().map(|response| ResponseFields::at(self.source, response)).transpose()?;
        let response = response.unwrap_or_default();
        self.repeated_output(&response)?;
        self.finish(&response)
    }

    /// The items of a whole response: those that are not known yet are new.
    pub(super) fn repeated_output(&mut self, response: &ResponseFields) -> Result<(), DecodeError> {
        let Some(output) = response.output.get() else { return self.check_output_text(response) };
        let source = self.source;
        let known_before = self.decoder.items.len();
        let (mut next_known, mut element) = (0, 0_usize);
        let mut known = core::mem::take(&mut Reading::of_mut(self.frame).known);
        Reader::at(source, output).array(|reader| {
            let value = reader.optional_value()?.ok_or_else(|| reader.malformed())?;
            let fields = ItemFields::at(source, value)?;
            let same = self.same_item(next_known..known_before, &fields)?;
            known.push(same);
            match same {
                Some(number) => {
                    next_known = number.saturating_add(1);
                    if self.decoder.items.get(number).is_some_and(|item| item.kind == ItemKind::Unknown) {
                        self.says_more();
                    }
                    let call = self.decoder.items.get(number).filter(|item| item.kind.payload().is_some());
                    match call.map(|item| item.progress) {
                        Some(Progress::Empty | Progress::Open) => {
                            self.says_more();
                            self.item_slot(number, element, &fields, false, true)?;
                        }
                        Some(Progress::Done) => self.whole_call_again(number, element, &fields)?,
                        None => {}
                    }
                    self.repeated_parts(number, element, &fields)?;
                }
                None => {
                    self.says_more();
                    let number = self.new_item(u32::MAX, &fields)?;
                    self.item_slot(number, element, &fields, true, true)?;
                    self.repeated_parts(number, element, &fields)?;
                }
            }
            element = element.saturating_add(1);
            Ok::<_, DecodeError>(())
        })?;
        Reading::of_mut(self.frame).known = known;
        self.check_output_text(response)
    }

    /// There are clients that take what a response says as its whole text for just that.
    pub(super) fn check_output_text(&mut self, response: &ResponseFields) -> Result<(), DecodeError> {
        let Decoder { items, strings, .. } = &mut *self.decoder;
        let whole = strings.read(self.source, response.output_text.get())?;
        if whole.is_empty() {
            return Ok(());
        }
        let mut texts = items.iter().flat_map(|item| &item.parts).filter(|part| part.kind == BlockKind::Text);
        let rest = texts.try_fold(strings.get(self.source, whole), |rest, part| rest.strip_prefix(part.came.as_str()));
        match rest {
            Some("") => Ok(()),
            _ => Err(DecodeError::OutOfOrder { what: "an output_text that is not what the output says" }),
        }
    }

    /// The first of the items `range` that is of the same type. Ids do not tell: some providers change them in every event.
    fn same_item(&mut self, mut range: core::ops::Range<usize>, fields: &ItemFields) -> Result<Option<usize>, DecodeError> {
        let name = self.decoder.strings.read(self.source, fields.r#type.get())?;
        let name = self.decoder.strings.get(self.source, name);
        Ok(range.find(|number| self.decoder.items.get(*number).is_some_and(|item| *item.name == *name)))
    }

    /// Why the response ended.
    pub(super) fn finish(&mut self, response: &ResponseFields) -> Result<(), DecodeError> {
        let strings = &mut self.decoder.strings;
        let mut reason = strings.read(self.source, response.status.get())?;
        let is_complete = strings.get(self.source, reason) == "completed";
        if let Some(details) = response.incomplete_details.get() {
            let detail = strings.read(self.source, details.reason.get())?;
            reason = if detail.is_empty() { reason } else { detail };
        }
        self.stop_all(is_complete);
        if !reason.is_empty() {
            self.findings.push(Found::Finish { reason });
        }
        Ok(())
    }
}

/// Whether a shell runs where the provider keeps it.
fn is_container(source: &str, environment: Field<Value>, strings: &mut Strings) -> Result<bool, DecodeError> {
    let Some(environment) = environment.get() else { return Ok(false) };
    let kind = strings.read(source, ActionFields::at(source, environment)?.r#type.get())?;
    Ok(strings.get(source, kind).starts_with("container"))
}
