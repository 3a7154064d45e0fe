//! Reads items: how they begin and end, and how the end of the response repeats them.

use super::state::{Edge, State};
use super::table::Item;
use super::{EventReader, Found};
use crate::block::{BlockKind, Clarity};
use crate::dialect::decoding::{Strings, Text};
use crate::dialect::responses::fields::{ActionFields, ItemFields, ResponseFields};
use crate::dialect::responses::item::{ItemKind, tool_name};
use crate::dialect::responses::payload::Payload;
use crate::dialect::responses::{Begins, EventKind, PartKey, Place, Reading};
use crate::dialect::{DecodeError, FrameRole, Slot};
use crate::wire::json::{Field, Form, Reader, Value};

/// Two calls at one place: some clients join what they are told.
const TAKEN: Clarity = Clarity::Ambiguous("two open tool calls share an output_index");
const NO_PLACE: Clarity = Clarity::Ambiguous("a tool call begins without an output_index");
const NO_NAME: Clarity = Clarity::Ambiguous("no event names the tool of the call");

/// What stands in an item of its call.
#[derive(Clone, Copy)]
struct CallTexts {
    call_id: Text,
    name: Text,
    text: Text,
}

impl EventReader<'_> {
    pub(super) fn item_added(&mut self) -> Result<(), DecodeError> {
        let Some(value) = self.fields.item.get() else { return self.unknown() };
        let output_index = self.fields.output_index.get();
        let fields = ItemFields::at(self.source, value)?;
        let before = self.decoder.items.named(output_index, "");
        let number = self.new_item(output_index, &fields)?;
        self.note(EventKind::ItemAdded, number, PartKey::Payload);
        let clarity = match before {
            _ if output_index.is_none() => NO_PLACE,
            Some(before) => self.share_place(before, number)?,
            None => Clarity::Plain,
        };
        self.decoder.items.get_mut(number)?.note(clarity);
        self.item_slot(number, 0, &fields, Edge::Begins)?;
        let is_list = matches!(self.decoder.items.get(number)?.kind, ItemKind::Message | ItemKind::Reasoning);
        if is_list && (self.has_elements(fields.content.get())? || self.has_elements(fields.summary.get())?) {
            // Some clients show what an item begins with, some do not. It leaves without, and its end says it.
            Reading::of_mut(self.frame).claims_output = true;
        }
        Ok(())
    }

    /// An item begins where `before` has begun: some clients join calls that are told at one place.
    fn share_place(&mut self, before: usize, number: usize) -> Result<Clarity, DecodeError> {
        let is_call = self.decoder.items.get(number)?.kind.payload().is_some();
        let before = self.decoder.items.get_mut(before)?;
        if !is_call || before.kind.payload().is_none() || before.state == State::Done {
            return Ok(Clarity::Canonical);
        }
        before.note(TAKEN);
        Ok(TAKEN)
    }

    /// Whether `list` has anything in it.
    pub(super) fn has_elements(&self, list: Option<Value>) -> Result<bool, DecodeError> {
        let Some(list) = list else { return Ok(false) };
        let mut has_elements = false;
        Reader::at(self.source, list).array(|reader| {
            has_elements = true;
            reader.skip()
        })?;
        Ok(has_elements)
    }

    fn new_item(&mut self, output_index: Option<u32>, fields: &ItemFields) -> Result<usize, DecodeError> {
        let source = self.source;
        let strings = &mut self.decoder.strings;
        let name = strings.read(source, fields.r#type.get())?;
        let id = strings.read(source, fields.id.get())?;
        let execution = strings.read(source, fields.execution.get().filter(is_string))?;
        // Some servers write an empty one with all that they say.
        let seal = strings.read(source, fields.encrypted_content.get().filter(is_string))?;
        let is_local = match strings.get(source, name) {
            "shell_call" => !is_container(source, fields.environment, strings)?,
            _ => strings.get(source, execution) == "client",
        };
        let (name, id) = (strings.get(source, name), strings.get(source, id));
        self.decoder.names.add(name)?;
        self.decoder.names.add(id)?;
        let kind = ItemKind::of(name, is_local, !seal.is_empty());
        let mut item = Item::new(output_index, name, kind, self.decoder.blocks.begin()?);
        item.id = id.into();
        Ok(self.decoder.items.push(item))
    }

    /// Begins an item of this type that no event has announced; `is_placed` tells whether later events find it at the
    /// `output_index` of this one.
    pub(super) fn begin_unannounced(&mut self, r#type: &'static str, is_placed: bool) -> Result<usize, DecodeError> {
        let decoder = &mut *self.decoder;
        let output_index = self.fields.output_index.get().filter(|_| is_placed);
        let mut item = Item::new(output_index, r#type, ItemKind::of(r#type, false, false), decoder.blocks.begin()?);
        if is_placed {
            let id = decoder.strings.read(self.source, self.fields.item_id.get())?;
            item.id = decoder.strings.get(self.source, id).into();
            decoder.names.add(&item.id)?;
        }
        item.note(Clarity::Canonical);
        Reading::of_mut(self.frame).begins = Begins::As(r#type);
        Ok(decoder.items.push(item))
    }

    /// The slot of an item itself, with what a tool call says that it had not said before.
    fn item_slot(&mut self, number: usize, element: usize, fields: &ItemFields, edge: Edge) -> Result<(), DecodeError> {
        match self.decoder.items.get(number)?.kind {
            ItemKind::Call { kind, payload } => self.call_slot(number, element, fields, edge, kind, payload)?,
            ItemKind::Unknown => self.unknown_slot(number, element, fields, edge)?,
            ItemKind::Result => {
                let value = fields.call_id.get().filter(|_| edge.begins());
                let call_id = self.decoder.strings.read(self.source, value)?;
                self.decoder.names.add(self.decoder.strings.get(self.source, call_id))?;
                self.whole_slot(number, element, edge, call_id)?;
            }
            ItemKind::Message | ItemKind::Reasoning | ItemKind::Other => self.whole_slot(number, element, edge, Text::EMPTY)?,
        }
        let item = self.decoder.items.get_mut(number)?;
        item.state = item.state.after(edge);
        Ok(())
    }

    /// The slot of an item that says nothing itself.
    fn whole_slot(&mut self, number: usize, element: usize, edge: Edge, call_id: Text) -> Result<(), DecodeError> {
        let item = self.decoder.items.get(number)?;
        let stops = edge.ends() && item.state != State::Done;
        let slot = Slot { block: item.block, choice: 0, kind: item.kind.block_kind(), starts: edge.begins(), stops };
        let place = Place { element, part: None, differs: false };
        let (name, text, clarity) = (Text::EMPTY, Text::EMPTY, Clarity::Plain);
        self.findings.push(Found::Delta { slot, place, call_id, name, text, free_form: false, clarity });
        Ok(())
    }

    fn call_slot(
        &mut self,
        number: usize,
        element: usize,
        fields: &ItemFields,
        edge: Edge,
        kind: BlockKind,
        payload: Payload,
    ) -> Result<(), DecodeError> {
        let state = self.decoder.items.get(number)?.state;
        // The whole of a call counts where nothing of it has come before, and is compared with that otherwise.
        let is_first = match edge {
            Edge::Begins => payload.begins_with(self.source, fields, kind),
            Edge::Ends | Edge::Whole => state == State::Empty,
        };
        let CallTexts { call_id, name, text } = self.call_texts(number, fields, edge, payload, is_first)?;
        let decoder = &mut *self.decoder;
        let item = decoder.items.get_mut(number)?;
        if !payload.is_well_formed(fields) {
            item.note(Clarity::Canonical);
        }
        if !text.is_empty() {
            item.received.push_str(decoder.strings.get(self.source, text));
            item.commands = u32::from(payload == Payload::Commands);
            if edge == Edge::Ends && Reading::of(self.frame).event == EventKind::Terminal {
                item.note(Clarity::Canonical);
            }
        }
        let stops = edge.ends() && state.takes_text();
        if stops && self.is_stream && item.tool.is_empty() {
            item.note(NO_NAME);
        }
        item.state = item.state.after_text(text.is_empty(), stops);
        let (slot, place) = (
            Slot { block: item.block, choice: 0, kind, starts: edge.begins(), stops },
            Place { element, part: None, differs: false },
        );
        let (free_form, clarity) = (payload.is_free_form(), item.clarity_as_sent());
        self.findings.push(Found::Delta { slot, place, call_id, name, text, free_form, clarity });
        if edge.ends() && is_first {
            self.says_more();
        }
        if edge.ends() { self.item_snapshot(number, element, fields) } else { Ok(()) }
    }

    /// What an item says of its call that had not come before.
    fn call_texts(
        &mut self,
        number: usize,
        fields: &ItemFields,
        edge: Edge,
        payload: Payload,
        is_first: bool,
    ) -> Result<CallTexts, DecodeError> {
        let (source, decoder) = (self.source, &mut *self.decoder);
        let strings = &mut decoder.strings;
        let item = decoder.items.get_mut(number)?;
        let mut found = CallTexts { call_id: Text::EMPTY, name: Text::EMPTY, text: Text::EMPTY };
        if !item.state.takes_text() {
            return Ok(found);
        }
        if item.call_id.is_empty() {
            let own = fields.call_id.get();
            let id = if edge.ends() || !item.is_rewritable() { own.or_else(|| fields.id.get()) } else { own };
            found.call_id = strings.read(source, id)?;
            item.call_id = strings.get(source, found.call_id).into();
            decoder.names.add(&item.call_id)?;
        }
        if item.tool.is_empty() {
            found.name = strings.read(source, fields.name.get())?;
            if found.name.is_empty() && !(payload.has_name() && (item.is_rewritable() || !edge.ends())) {
                let start = strings.begin();
                strings.push(tool_name(&item.name));
                found.name = strings.since(start);
            }
            item.tool = strings.get(source, found.name).into();
            decoder.names.add(&item.tool)?;
            if !item.tool.is_empty() && edge == Edge::Ends {
                item.note(Clarity::Canonical);
            }
        }
        if is_first {
            found.text = payload.read(source, fields, strings)?;
        }
        Ok(found)
    }

    /// The beginning or the end of an item of a type that is not known: a block of its own each time.
    fn unknown_slot(&mut self, number: usize, element: usize, fields: &ItemFields, edge: Edge) -> Result<(), DecodeError> {
        let whole = fields.whole.ok_or(DecodeError::Unreachable("an item that stands nowhere"))?;
        self.says_more();
        let text = self.decoder.strings.leaves(self.source, whole.start..whole.end, fields.r#type.get())?;
        let block = if edge.begins() { self.decoder.items.get(number)?.block } else { self.decoder.blocks.begin()? };
        let slot = Slot { block, choice: 0, kind: BlockKind::Unknown, starts: true, stops: true };
        self.delta(slot, Place { element, part: None, differs: false }, text);
        Ok(())
    }

    pub(super) fn item_done(&mut self) -> Result<(), DecodeError> {
        let Some(value) = self.fields.item.get() else { return self.unknown() };
        let fields = ItemFields::at(self.source, value)?;
        let ended = self.ended_item(&fields)?;
        if let Some(number) = ended {
            let item = self.decoder.items.get_mut(number)?;
            let is_repeated_call = item.state == State::Done && item.kind.payload().is_some();
            if !Self::may_repeat(&mut item.repetitions) || is_repeated_call {
                self.withhold();
                return Ok(());
            }
        }
        let number = match ended {
            Some(number) => number,
            None => self.begin_whole(&fields)?,
        };
        let begins = Reading::of(self.frame).begins;
        self.note(EventKind::ItemDone, number, PartKey::Payload);
        let status = self.decoder.strings.read(self.source, fields.status.get())?;
        Reading::of_mut(self.frame).status.push_str(self.decoder.strings.get(self.source, status));
        if begins == Begins::No {
            self.only_repeats();
        }
        self.item_slot(number, 0, &fields, if begins == Begins::No { Edge::Ends } else { Edge::Whole })?;
        self.repeated_parts(number, 0, &fields)
    }

    /// Begins an item whose end comes alone.
    fn begin_whole(&mut self, fields: &ItemFields) -> Result<usize, DecodeError> {
        let number = self.new_item(self.fields.output_index.get(), fields)?;
        self.decoder.items.get_mut(number)?.note(Clarity::Canonical);
        Reading::of_mut(self.frame).begins = Begins::Whole;
        Ok(number)
    }

    /// The item that has begun before and that the event ends; `None` if it is another. A call that has ended and ends
    /// otherwise is another: there are clients that carry out both.
    fn ended_item(&mut self, fields: &ItemFields) -> Result<Option<usize>, DecodeError> {
        let (source, decoder) = (self.source, &mut *self.decoder);
        let [name, id, tool] =
            [fields.r#type.get(), fields.id.get(), fields.name.get()].map(|value| decoder.strings.read(source, value));
        let (name, id, tool) = (name?, id?, tool?);
        let strings = &decoder.strings;
        let Some(number) = decoder.items.named(self.fields.output_index.get(), strings.get(source, id)) else { return Ok(None) };
        let item = decoder.items.get(number)?;
        if *item.name != *strings.get(source, name) {
            return Ok(None);
        }
        if item.state != State::Done {
            return Ok(Some(number));
        }
        let Some(payload) = item.kind.payload() else {
            let is_same = id.is_empty() || *item.id == *strings.get(source, id);
            return Ok(is_same.then_some(number));
        };
        let is_renamed = !tool.is_empty() && strings.get(source, tool) != &*item.tool;
        let text = payload.read(source, fields, &mut decoder.strings)?;
        let item = decoder.items.get(number)?;
        let is_same = !is_renamed && decoder.strings.get(source, text) == item.received;
        Ok(is_same.then_some(number))
    }

    pub(super) fn terminal(&mut self) -> Result<(), DecodeError> {
        self.decoder.has_ended = true;
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
        let known_before = self.decoder.items.len();
        let (mut next_known, mut element) = (0, 0_usize);
        let mut known = core::mem::take(&mut Reading::of_mut(self.frame).known);
        Reader::at(self.source, output).array(|reader| {
            let value = reader.optional_value()?.ok_or_else(|| reader.malformed())?;
            let fields = ItemFields::at(self.source, value)?;
            let same = self.same_item(next_known..known_before, &fields)?;
            known.push(same);
            match same {
                Some(number) => {
                    next_known = number.saturating_add(1);
                    self.repeated_item(number, element, &fields)?;
                }
                None => self.item_at_the_end(element, &fields)?,
            }
            element = element.saturating_add(1);
            Ok::<_, DecodeError>(())
        })?;
        Reading::of_mut(self.frame).known = known;
        self.check_output_text(response)
    }

    /// An item that had begun before, as the end of the response repeats it.
    fn repeated_item(&mut self, number: usize, element: usize, fields: &ItemFields) -> Result<(), DecodeError> {
        let item = self.decoder.items.get(number)?;
        match item.kind {
            ItemKind::Unknown => self.says_more(),
            ItemKind::Call { .. } if item.state.takes_text() => {
                self.says_more();
                self.item_slot(number, element, fields, Edge::Ends)?;
            }
            ItemKind::Call { .. } => self.item_snapshot(number, element, fields)?,
            ItemKind::Message | ItemKind::Reasoning | ItemKind::Result | ItemKind::Other => {}
        }
        self.repeated_parts(number, element, fields)
    }

    /// An item that the end of the response tells for the first time.
    fn item_at_the_end(&mut self, element: usize, fields: &ItemFields) -> Result<(), DecodeError> {
        self.says_more();
        let number = self.new_item(None, fields)?;
        if self.is_stream {
            self.decoder.items.get_mut(number)?.note(Clarity::Canonical);
        }
        self.item_slot(number, element, fields, Edge::Whole)?;
        self.repeated_parts(number, element, fields)
    }

    /// There are clients that take what a response says as its whole text for just that: what is not what the output says
    /// does not leave.
    pub(super) fn check_output_text(&mut self, response: &ResponseFields) -> Result<(), DecodeError> {
        let decoder = &mut *self.decoder;
        let whole = decoder.strings.read(self.source, response.output_text.get())?;
        if whole.is_empty() {
            return Ok(());
        }
        let parts = decoder.items.iter().flat_map(|item| &item.parts);
        let mut texts = parts.filter(|part| matches!(part.key, PartKey::Text(_)));
        let whole = decoder.strings.get(self.source, whole);
        let rest = texts.try_fold(whole, |rest, part| rest.strip_prefix(part.received.as_str()));
        Reading::of_mut(self.frame).claims_output = rest != Some("");
        Ok(())
    }

    /// The first of the items `range` that is of the same type. Ids do not tell: some providers change them in every event.
    fn same_item(&mut self, mut range: core::ops::Range<usize>, fields: &ItemFields) -> Result<Option<usize>, DecodeError> {
        let name = self.decoder.strings.read(self.source, fields.r#type.get())?;
        let name = self.decoder.strings.get(self.source, name);
        Ok(range.find(|number| self.decoder.items.get(*number).is_ok_and(|item| *item.name == *name)))
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

fn is_string(value: &Value) -> bool {
    matches!(value.form, Form::PlainString | Form::EscapedString)
}

/// Whether a shell runs where the provider keeps it.
fn is_container(source: &str, environment: Field<Value>, strings: &mut Strings) -> Result<bool, DecodeError> {
    let Some(environment) = environment.get() else { return Ok(false) };
    let kind = strings.read(source, ActionFields::at(source, environment)?.r#type.get())?;
    Ok(strings.get(source, kind).starts_with("container"))
}
