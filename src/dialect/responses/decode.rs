//! Reads responses.
//!
//! Every event that is about an item has a slot, so that it keeps its place and shares the lot of the item. What
//! repeats a text that has come is no text again; what stands in a repetition alone is.

use smallvec::SmallVec;

use super::fields::{ActionFields, EventFields, ItemFields, PartFields, ResponseFields};
use super::item::{ItemKind, tool_name};
use super::payload::Payload;
use super::{EventKind, PartKey, Place, Reading};
use crate::block::{BlockId, BlockKind};
use crate::dialect::document::{self, BlockNumbers, NameBytes, Strings, Text};
use crate::dialect::{DecodeError, Frame, FrameRole, Part, Piece, Slot};
use crate::json::{Field, Reader, Value};

/// Clients of this dialect stop reading here; some servers send it behind the end.
const FOREIGN_TERMINATOR: &[u8] = b"[DONE]";

/// A text of an item.
#[derive(Debug, Clone, Copy)]
struct OpenPart {
    key: PartKey,
    block: BlockId,
    kind: BlockKind,
    progress: Progress,
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
    /// Whether a tool call has said the name of its tool.
    is_named: bool,
    /// Of a shell's call: how many commands have begun.
    commands: u32,
    parts: SmallVec<[OpenPart; 1]>,
    /// `output_item.done` has come.
    is_done: bool,
}

/// A part of the document at hand that is to be reported.
#[derive(Clone, Copy)]
enum Found {
    Piece { slot: Slot, place: Place, call_id: Text, name: Text, text: Text, free_form: bool },
    Stop { block: BlockId, complete: bool },
    Finish { reason: Text },
}

type Findings = SmallVec<[Found; 2]>;

/// Reads the documents of one response.
#[derive(Debug, Default)]
pub struct Decoder {
    blocks: BlockNumbers,
    names: NameBytes,
    items: Vec<Item>,
    strings: Strings,
}

impl Decoder {
    pub(crate) fn event(
        &mut self,
        name: &[u8],
        data: &[u8],
        frame: &mut Frame,
        each: &mut dyn FnMut(Part<'_>),
    ) -> Result<(), DecodeError> {
        if data.starts_with(FOREIGN_TERMINATOR) {
            return Ok(());
        }
        self.strings.clear();
        let document = document::utf8(data)?;
        let fields = EventFields::read(document)?;
        let kind = self.strings.read(document, fields.r#type.get())?;
        if !name.is_empty() && name != self.strings.get(document, kind).as_bytes() {
            return Err(DecodeError::OutOfOrder { what: "an event whose name is not the type of its data" });
        }
        Reading::of_mut(frame).sequence = fields.sequence_number.get();
        let mut reader = EventReader { decoder: self, document, fields: &fields, frame, findings: Findings::new() };
        let read = reader.event(kind);
        let findings = core::mem::take(&mut reader.findings);
        if let Err(error) = read {
            // Blocks that were never reported must not be reported as stopped.
            self.items.clear();
            return Err(error);
        }
        self.report(document, &findings, frame, each);
        if frame.role == FrameRole::Terminator {
            each(Part::End);
        }
        Ok(())
    }

    pub(crate) fn body(&mut self, body: &[u8], frame: &mut Frame, each: &mut dyn FnMut(Part<'_>)) -> Result<(), DecodeError> {
        frame.clear();
        self.strings.clear();
        let document = document::utf8(body)?;
        let response = ResponseFields::read(document)?;
        if response.error.get().is_some() {
            frame.role = FrameRole::Failure;
        }
        let fields = EventFields::default();
        let mut reader = EventReader { decoder: self, document, fields: &fields, frame, findings: Findings::new() };
        reader.repeated_output(&response)?;
        reader.finish(&response)?;
        let findings = core::mem::take(&mut reader.findings);
        self.report(document, &findings, frame, each);
        each(Part::End);
        Ok(())
    }

    pub(crate) fn finish(&mut self, each: &mut dyn FnMut(Part<'_>)) {
        for item in self.items.drain(..) {
            item.open_blocks(|block| each(Part::Stop { block, complete: false }));
        }
    }

    fn report(&self, document: &str, findings: &Findings, frame: &mut Frame, each: &mut dyn FnMut(Part<'_>)) {
        for found in findings {
            match *found {
                Found::Piece { slot, place, call_id, name, text, free_form } => {
                    frame.slots.push(slot);
                    Reading::of_mut(frame).places.push(place);
                    let text = self.strings.get(document, text);
                    Reading::of_mut(frame).text.push_str(if findings.len() == 1 { text } else { "" });
                    each(Part::Piece(Piece {
                        block: slot.block,
                        choice: slot.choice,
                        kind: slot.kind,
                        starts: slot.starts,
                        stops: slot.stops,
                        call_id: self.strings.get(document, call_id),
                        name: self.strings.get(document, name),
                        text,
                        free_form,
                    }));
                }
                Found::Stop { block, complete } => each(Part::Stop { block, complete }),
                Found::Finish { reason } => {
                    frame.finishes.push(0);
                    each(Part::Finish { choice: 0, reason: self.strings.get(document, reason) });
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

/// Reads one document.
struct EventReader<'r> {
    decoder: &'r mut Decoder,
    document: &'r str,
    fields: &'r EventFields,
    frame: &'r mut Frame,
    findings: Findings,
}

impl EventReader<'_> {
    fn event(&mut self, kind: Text) -> Result<(), DecodeError> {
        use BlockKind::{Reasoning, Refusal, Text};
        let (fields, document) = (self.fields, self.document);
        let content = || PartKey::Content(fields.content_index.get().unwrap_or(0));
        let summary = || PartKey::Summary(fields.summary_index.get().unwrap_or(0));
        match self.decoder.strings.get(document, kind) {
            "response.output_text.delta" => self.part_delta(content(), Text),
            "response.refusal.delta" => self.part_delta(content(), Refusal),
            "response.reasoning_text.delta" => self.part_delta(content(), Reasoning),
            "response.reasoning_summary_text.delta" => self.part_delta(summary(), Reasoning),
            "response.function_call_arguments.delta" | "response.mcp_call_arguments.delta" => self.call_delta("arguments"),
            "response.custom_tool_call_input.delta" => self.call_delta("input"),
            "response.code_interpreter_call_code.delta" => self.call_delta("code"),
            "response.shell_call_command.delta" => self.call_delta("command"),
            "response.apply_patch_call_operation_diff.delta" => self.call_delta("diff"),
            "response.output_text.done" => self.part_done(content(), Text, fields.text.get()),
            "response.refusal.done" => self.part_done(content(), Refusal, fields.refusal.get()),
            "response.reasoning_text.done" => self.part_done(content(), Reasoning, fields.text.get()),
            "response.reasoning_summary_text.done" => self.part_done(summary(), Reasoning, fields.text.get()),
            "response.function_call_arguments.done" | "response.mcp_call_arguments.done" => {
                self.call_done("arguments", fields.arguments.get())
            }
            "response.custom_tool_call_input.done" => self.call_done("input", fields.input.get()),
            "response.code_interpreter_call_code.done" => self.call_done("code", fields.code.get()),
            "response.apply_patch_call_operation_diff.done" => self.call_done("diff", fields.diff.get()),
            "response.shell_call_command.added" => self.command_added(),
            "response.shell_call_command.done" => self.command_done(),
            "response.output_item.added" => self.item_added(),
            "response.output_item.done" => self.item_done(),
            "response.content_part.added" => self.part_added(content()),
            "response.reasoning_summary_part.added" => self.part_added(summary()),
            "response.content_part.done" => self.whole_part_done(content()),
            "response.reasoning_summary_part.done" => self.whole_part_done(summary()),
            "response.output_text.annotation.added" => self.remark(content()),
            "response.created" => self.lifecycle(EventKind::Created),
            "response.queued" | "response.in_progress" => self.lifecycle(EventKind::Foreign),
            "response.completed" | "response.incomplete" | "response.failed" => self.terminal(),
            "error" => {
                self.frame.role = FrameRole::Failure;
                Ok(())
            }
            kind if is_progress(kind) => self.status(),
            _ => self.unknown(),
        }
    }

    /// The number of the item that the event is about.
    fn item(&self) -> Option<usize> {
        let output_index = self.fields.output_index.get()?;
        self.decoder.items.iter().rposition(|item| item.output_index == output_index)
    }

    fn known_item(&mut self, event: EventKind) -> Result<usize, DecodeError> {
        let number = self.item().ok_or(DecodeError::OutOfOrder { what: "an event of an item that has not begun" })?;
        self.note(event, number, PartKey::Payload);
        Ok(number)
    }

    fn note(&mut self, event: EventKind, item: usize, part: PartKey) {
        let reading = Reading::of_mut(self.frame);
        reading.event = event;
        reading.output_index = self.fields.output_index.get().unwrap_or(0);
        reading.item = item;
        reading.part = part;
    }

    fn piece(&mut self, slot: Slot, place: Place, text: Text) {
        self.findings.push(Found::Piece { slot, place, call_id: Text::EMPTY, name: Text::EMPTY, text, free_form: false });
    }

    /// A slot of the item itself that says nothing.
    fn silent(&mut self, number: usize, event: EventKind) {
        self.note(event, number, PartKey::Payload);
        let Some(item) = self.decoder.items.get(number) else { return };
        let slot = Slot { block: item.block, choice: 0, kind: item.kind.block_kind(), starts: false, stops: false };
        self.piece(slot, Place { element: 0, part: None }, Text::EMPTY);
    }

    /// An event that is not known; it goes with its item, where it names one.
    fn unknown(&mut self) -> Result<(), DecodeError> {
        if let Some(number) = self.item() {
            self.note(EventKind::Status, number, PartKey::Payload);
        }
        self.frame.role = FrameRole::Unknown;
        let text = self.decoder.strings.leaves(self.document, 0..self.document.len(), self.fields.r#type.get())?;
        let block = self.decoder.blocks.begin_unknown();
        let slot = Slot { block, choice: 0, kind: BlockKind::Unknown, starts: true, stops: true };
        self.piece(slot, Place { element: 0, part: None }, text);
        Ok(())
    }

    /// An event that says how an item is getting on.
    fn status(&mut self) -> Result<(), DecodeError> {
        if let Some(number) = self.item() {
            self.silent(number, EventKind::Status);
        }
        Ok(())
    }

    fn lifecycle(&mut self, event: EventKind) -> Result<(), DecodeError> {
        let document = self.document;
        let response = self.fields.response.get().map(|response| ResponseFields::at(document, response)).transpose()?;
        let mut is_empty = true;
        if let Some(output) = response.and_then(|response| response.output.get()) {
            Reader::at(document, output).array(|reader| {
                is_empty = false;
                reader.skip()
            })?;
        }
        if !is_empty {
            return Err(DecodeError::OutOfOrder { what: "a response that begins with output" });
        }
        if event == EventKind::Created {
            // Another response in the same stream: what was open of the first stays cut off.
            self.stop_all(false);
            self.decoder.items.clear();
        }
        Reading::of_mut(self.frame).event = event;
        Ok(())
    }

    fn stop_all(&mut self, complete: bool) {
        for item in &mut self.decoder.items {
            item.open_blocks(|block| self.findings.push(Found::Stop { block, complete }));
            item.progress = Progress::Done;
            item.parts.iter_mut().for_each(|part| part.progress = Progress::Done);
        }
    }

    fn item_added(&mut self) -> Result<(), DecodeError> {
        let (Some(output_index), Some(value)) = (self.fields.output_index.get(), self.fields.item.get()) else {
            return Err(DecodeError::OutOfOrder { what: "an output_item.added without output_index or item" });
        };
        if self.decoder.items.iter().any(|item| item.output_index == output_index) {
            return Err(DecodeError::OutOfOrder { what: "an item whose output_index is taken" });
        }
        let fields = ItemFields::at(self.document, value)?;
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
        Reader::at(self.document, parts).array(|_| Err(DecodeError::OutOfOrder { what: "an item that begins with content" }))
    }

    fn new_item(&mut self, output_index: u32, fields: &ItemFields) -> Result<usize, DecodeError> {
        let document = self.document;
        let strings = &mut self.decoder.strings;
        let name = strings.read(document, fields.r#type.get())?;
        let execution = strings.read(document, fields.execution.get())?;
        let name: Box<str> = strings.get(document, name).into();
        let is_local = match &*name {
            "shell_call" => !is_container(document, fields.environment, strings)?,
            _ => strings.get(document, execution) == "client",
        };
        self.decoder.names.add(&name)?;
        let kind = ItemKind::of(&name, is_local, fields.encrypted_content.get().is_some());
        let block = self.decoder.blocks.begin()?;
        self.decoder.items.push(Item {
            output_index,
            name,
            kind,
            block,
            progress: Progress::Empty,
            is_named: false,
            commands: 0,
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
        let document = self.document;
        let Decoder { items, strings, names, .. } = &mut *self.decoder;
        let Some(item) = items.get_mut(number) else { return Ok(()) };
        let (mut call_id, mut name, mut text) = (Text::EMPTY, Text::EMPTY, Text::EMPTY);
        let stops;
        let mut free_form = false;
        match item.kind {
            ItemKind::Call { kind, payload } => {
                free_form = payload.is_free_form();
                if starts {
                    call_id = strings.read(document, fields.call_id.get().or_else(|| fields.id.get()))?;
                }
                if !item.is_named && item.progress != Progress::Done {
                    name = strings.read(document, fields.name.get())?;
                    if name.is_empty() && (ends || !payload.has_name()) {
                        let start = strings.begin();
                        strings.push(tool_name(&item.name));
                        name = strings.since(start);
                    }
                    item.is_named = !name.is_empty();
                }
                let is_worth_reading = match item.progress {
                    Progress::Empty => ends || payload.begins_with(document, fields, kind),
                    Progress::Open | Progress::Done => false,
                };
                if is_worth_reading {
                    text = payload.read(document, fields, strings)?;
                }
                if !text.is_empty() {
                    item.progress = Progress::Open;
                    item.commands = u32::from(payload == Payload::Commands);
                }
                stops = ends && item.progress != Progress::Done;
            }
            ItemKind::Result => {
                call_id = if starts { strings.read(document, fields.call_id.get())? } else { Text::EMPTY };
                stops = ends && !item.is_done;
            }
            ItemKind::Message | ItemKind::Reasoning | ItemKind::Other => stops = ends && !item.is_done,
        }
        if stops {
            item.progress = Progress::Done;
        }
        names.add(strings.get(document, call_id))?;
        names.add(strings.get(document, name))?;
        let slot = Slot { block: item.block, choice: 0, kind: item.kind.block_kind(), starts, stops };
        let place = Place { element, part: None };
        self.findings.push(Found::Piece { slot, place, call_id, name, text, free_form });
        Ok(())
    }

    fn item_done(&mut self) -> Result<(), DecodeError> {
        let number = self.known_item(EventKind::ItemDone)?;
        let Some(value) = self.fields.item.get() else {
            return Err(DecodeError::OutOfOrder { what: "an output_item.done without item" });
        };
        let fields = ItemFields::at(self.document, value)?;
        self.check_type(number, &fields)?;
        self.item_slot(number, 0, &fields, false, true)?;
        self.repeated_parts(number, 0, &fields)?;
        if let Some(item) = self.decoder.items.get_mut(number) {
            item.is_done = true;
        }
        Ok(())
    }

    /// An item that became another would not have been read as what it is.
    fn check_type(&mut self, number: usize, fields: &ItemFields) -> Result<(), DecodeError> {
        let name = self.decoder.strings.read(self.document, fields.r#type.get())?;
        let name = self.decoder.strings.get(self.document, name);
        if self.decoder.items.get(number).is_some_and(|item| *item.name == *name) {
            return Ok(());
        }
        Err(DecodeError::OutOfOrder { what: "an item that changes its type" })
    }

    /// Parts of a whole item: what is not known of them gets a slot.
    fn repeated_parts(&mut self, number: usize, element: usize, fields: &ItemFields) -> Result<(), DecodeError> {
        let kind = self.decoder.items.get(number).map_or(ItemKind::Other, |item| item.kind);
        if !matches!(kind, ItemKind::Message | ItemKind::Reasoning) {
            return Ok(());
        }
        let document = self.document;
        for (list, key) in
            [(fields.summary.get(), PartKey::Summary as fn(u32) -> PartKey), (fields.content.get(), PartKey::Content)]
        {
            let Some(list) = list else { continue };
            let mut index: u32 = 0;
            Reader::at(document, list).array(|reader| {
                let part = PartFields::read(reader)?;
                let (kind, value) = self.part_kind(&part)?;
                if let Some(kind) = kind {
                    self.repeated_part(number, Place { element, part: Some(key(index)) }, key(index), kind, value)?;
                }
                index = index.saturating_add(1);
                Ok::<_, DecodeError>(())
            })?;
        }
        Ok(())
    }

    /// What a part is, and its text; `None` if it has no text.
    fn part_kind(&mut self, part: &PartFields) -> Result<(Option<BlockKind>, Option<Value>), DecodeError> {
        let kind = self.decoder.strings.read(self.document, part.r#type.get())?;
        Ok(match self.decoder.strings.get(self.document, kind) {
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
        place: Place,
        key: PartKey,
        kind: BlockKind,
        value: Option<Value>,
    ) -> Result<(), DecodeError> {
        let text = self.decoder.strings.read(self.document, value)?;
        let (position, starts) = self.part_position(number, key, kind)?;
        let Some(part) = self.decoder.items.get_mut(number).and_then(|item| item.parts.get_mut(position)) else { return Ok(()) };
        if part.kind != kind {
            return Err(DecodeError::OutOfOrder { what: "a part that changes its type" });
        }
        let before = core::mem::replace(&mut part.progress, Progress::Done);
        if before == Progress::Done {
            return Ok(());
        }
        let slot = Slot { block: part.block, choice: 0, kind, starts, stops: true };
        self.piece(slot, place, if before == Progress::Empty { text } else { Text::EMPTY });
        Ok(())
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
            ItemKind::Call { .. } | ItemKind::Result | ItemKind::Other => false,
        };
        if !fits {
            return Err(DecodeError::OutOfOrder { what: "a text in an item of another type" });
        }
        let block = self.decoder.blocks.begin()?;
        let Some(item) = self.decoder.items.get_mut(number) else { return Ok((0, false)) };
        item.parts.push(OpenPart { key, block, kind, progress: Progress::Empty });
        Ok((item.parts.len().saturating_sub(1), true))
    }

    /// The item of an event about a part; `None` if its parts are not looked into.
    fn part_item(&mut self, event: EventKind, key: PartKey) -> Result<Option<usize>, DecodeError> {
        let number = self.known_item(event)?;
        if self.decoder.items.get(number).is_some_and(|item| item.kind == ItemKind::Other) {
            self.silent(number, EventKind::Status);
            return Ok(None);
        }
        self.note(event, number, key);
        Ok(Some(number))
    }

    fn part_added(&mut self, key: PartKey) -> Result<(), DecodeError> {
        let Some(number) = self.part_item(EventKind::PartAdded, key)? else { return Ok(()) };
        let fields = self.part_fields()?;
        let (Some(kind), value) = self.part_kind(&fields)? else {
            self.silent(number, EventKind::Status);
            return Ok(());
        };
        let text = self.decoder.strings.read(self.document, value)?;
        let (position, starts) = self.part_position(number, key, kind)?;
        if !starts {
            return Err(DecodeError::OutOfOrder { what: "a part that begins again" });
        }
        self.part_text(number, position, text, true, false);
        Ok(())
    }

    fn part_fields(&self) -> Result<PartFields, DecodeError> {
        let Some(part) = self.fields.part.get() else {
            return Err(DecodeError::OutOfOrder { what: "a part that is missing in its event" });
        };
        Ok(PartFields::read(&mut Reader::at(self.document, part))?)
    }

    fn part_text(&mut self, number: usize, position: usize, text: Text, starts: bool, stops: bool) {
        let Some(part) = self.decoder.items.get_mut(number).and_then(|item| item.parts.get_mut(position)) else { return };
        if stops {
            part.progress = Progress::Done;
        } else if !text.is_empty() {
            part.progress = Progress::Open;
        }
        let slot = Slot { block: part.block, choice: 0, kind: part.kind, starts, stops };
        let place = Place { element: 0, part: Some(part.key) };
        self.piece(slot, place, text);
    }

    fn part_delta(&mut self, key: PartKey, kind: BlockKind) -> Result<(), DecodeError> {
        let Some(number) = self.part_item(EventKind::Delta, key)? else { return Ok(()) };
        let text = self.decoder.strings.read(self.document, self.fields.delta.get())?;
        let (position, starts) = self.part_position(number, key, kind)?;
        let part = self.decoder.items.get(number).and_then(|item| item.parts.get(position));
        if part.is_some_and(|part| part.kind != kind || part.progress == Progress::Done) {
            return Err(DecodeError::OutOfOrder { what: "a delta of a part that is of another type or has ended" });
        }
        self.part_text(number, position, text, starts, false);
        Ok(())
    }

    fn part_done(&mut self, key: PartKey, kind: BlockKind, value: Option<Value>) -> Result<(), DecodeError> {
        let Some(number) = self.part_item(EventKind::TextDone, key)? else { return Ok(()) };
        self.repeated_part(number, Place { element: 0, part: Some(key) }, key, kind, value)?;
        self.at_least_silent(number)
    }

    fn whole_part_done(&mut self, key: PartKey) -> Result<(), DecodeError> {
        let Some(number) = self.part_item(EventKind::PartDone, key)? else { return Ok(()) };
        let fields = self.part_fields()?;
        if let (Some(kind), value) = self.part_kind(&fields)? {
            self.repeated_part(number, Place { element: 0, part: Some(key) }, key, kind, value)?;
        }
        self.at_least_silent(number)
    }

    /// What is only repeated has a slot all the same, to keep its place.
    fn at_least_silent(&mut self, number: usize) -> Result<(), DecodeError> {
        if self.findings.is_empty() {
            let (event, part) = (Reading::of(self.frame).event, Reading::of(self.frame).part);
            self.silent(number, event);
            Reading::of_mut(self.frame).part = part;
        }
        Ok(())
    }

    /// Something about a text: it shares the lot of that text.
    fn remark(&mut self, key: PartKey) -> Result<(), DecodeError> {
        let Some(number) = self.part_item(EventKind::Remark, key)? else { return Ok(()) };
        let position = self.decoder.items.get(number).and_then(|item| item.parts.iter().position(|part| part.key == key));
        match position {
            Some(position) => self.part_text(number, position, Text::EMPTY, false, false),
            None => self.silent(number, EventKind::Status),
        }
        Ok(())
    }

    /// The tool call that an event about its text belongs to.
    fn call(&mut self, event: EventKind, key: &str) -> Result<usize, DecodeError> {
        let number = self.known_item(event)?;
        let payload = self.decoder.items.get(number).and_then(|item| item.kind.payload());
        let fits = match payload {
            Some(Payload::Text { key: own, .. }) => key == own,
            Some(Payload::Commands) => key == "command",
            Some(Payload::Operation) => key == "diff",
            Some(Payload::Members(_) | Payload::Item) | None => false,
        };
        if fits { Ok(number) } else { Err(DecodeError::OutOfOrder { what: "a delta of a tool call of another type" }) }
    }

    fn call_text(&mut self, number: usize, text: Text, stops: bool) -> Result<(), DecodeError> {
        let Some(item) = self.decoder.items.get_mut(number) else { return Ok(()) };
        if item.progress == Progress::Done {
            return Err(DecodeError::OutOfOrder { what: "a delta of a tool call that has ended" });
        }
        if stops {
            item.progress = Progress::Done;
        } else if !text.is_empty() {
            item.progress = Progress::Open;
        }
        let slot = Slot { block: item.block, choice: 0, kind: item.kind.block_kind(), starts: false, stops };
        self.piece(slot, Place { element: 0, part: None }, text);
        Ok(())
    }

    fn call_delta(&mut self, key: &str) -> Result<(), DecodeError> {
        let number = self.call(EventKind::Delta, key)?;
        let text = self.decoder.strings.read(self.document, self.fields.delta.get())?;
        self.call_text(number, text, false)
    }

    /// All that a call says has come, so that it can be judged while the next one is still arriving.
    fn call_done(&mut self, key: &str, value: Option<Value>) -> Result<(), DecodeError> {
        let number = self.call(EventKind::TextDone, key)?;
        let text = self.decoder.strings.read(self.document, value)?;
        let Some(item) = self.decoder.items.get(number) else { return Ok(()) };
        match item.progress {
            Progress::Done => {
                self.silent(number, EventKind::TextDone);
                Ok(())
            }
            Progress::Empty => self.call_text(number, text, item.is_named),
            Progress::Open => self.call_text(number, Text::EMPTY, item.is_named),
        }
    }

    fn command_added(&mut self) -> Result<(), DecodeError> {
        let number = self.call(EventKind::CommandAdded, "command")?;
        let Decoder { items, strings, .. } = &mut *self.decoder;
        let Some(item) = items.get_mut(number) else { return Ok(()) };
        let start = strings.begin();
        strings.push(if item.commands == 0 { "" } else { "\n" });
        strings.push_read(self.document, self.fields.command.get())?;
        let text = strings.since(start);
        item.commands = item.commands.saturating_add(1);
        self.call_text(number, text, false)
    }

    fn command_done(&mut self) -> Result<(), DecodeError> {
        let number = self.call(EventKind::CommandDone, "command")?;
        self.silent(number, EventKind::CommandDone);
        Ok(())
    }

    fn terminal(&mut self) -> Result<(), DecodeError> {
        self.frame.role = FrameRole::Terminator;
        Reading::of_mut(self.frame).event = EventKind::Terminal;
        let response = self.fields.response.get().map(|response| ResponseFields::at(self.document, response)).transpose()?;
        let response = response.unwrap_or_default();
        self.repeated_output(&response)?;
        self.finish(&response)
    }

    /// The items of a whole response: those that are not known yet are new.
    fn repeated_output(&mut self, response: &ResponseFields) -> Result<(), DecodeError> {
        let Some(output) = response.output.get() else { return Ok(()) };
        let document = self.document;
        let known_before = self.decoder.items.len();
        let (mut next_known, mut element) = (0, 0_usize);
        let mut known = core::mem::take(&mut Reading::of_mut(self.frame).known);
        Reader::at(document, output).array(|reader| {
            let value = reader.optional_value()?.ok_or_else(|| reader.malformed())?;
            let fields = ItemFields::at(document, value)?;
            let same = self.same_item(next_known..known_before, &fields)?;
            known.push(same);
            match same {
                Some(number) => {
                    next_known = number.saturating_add(1);
                    let is_open = self.decoder.items.get(number).is_some_and(|item| item.progress != Progress::Done);
                    if is_open && self.decoder.items.get(number).is_some_and(|item| item.kind.payload().is_some()) {
                        self.item_slot(number, element, &fields, false, true)?;
                    }
                    self.repeated_parts(number, element, &fields)?;
                }
                None => {
                    let number = self.new_item(u32::MAX, &fields)?;
                    self.item_slot(number, element, &fields, true, true)?;
                    self.repeated_parts(number, element, &fields)?;
                }
            }
            element = element.saturating_add(1);
            Ok::<_, DecodeError>(())
        })?;
        Reading::of_mut(self.frame).known = known;
        Ok(())
    }

    /// The first of the items `range` that is of the same type. Ids do not tell: some providers change them in every event.
    fn same_item(&mut self, mut range: core::ops::Range<usize>, fields: &ItemFields) -> Result<Option<usize>, DecodeError> {
        let name = self.decoder.strings.read(self.document, fields.r#type.get())?;
        let name = self.decoder.strings.get(self.document, name);
        Ok(range.find(|number| self.decoder.items.get(*number).is_some_and(|item| *item.name == *name)))
    }

    /// Why the response ended.
    fn finish(&mut self, response: &ResponseFields) -> Result<(), DecodeError> {
        let strings = &mut self.decoder.strings;
        let mut reason = strings.read(self.document, response.status.get())?;
        let is_complete = strings.get(self.document, reason) == "completed";
        if let Some(details) = response.incomplete_details.get() {
            let detail = strings.read(self.document, details.reason.get())?;
            reason = if detail.is_empty() { reason } else { detail };
        }
        self.stop_all(is_complete);
        if !reason.is_empty() {
            self.findings.push(Found::Finish { reason });
        }
        Ok(())
    }
}

/// Whether an event says how a call of the provider's own is getting on, or what a hosted shell put out.
fn is_progress(kind: &str) -> bool {
    let of_call = kind.starts_with("response.mcp_list_tools.") || kind.starts_with("response.") && kind.contains("_call.");
    of_call || kind.starts_with("response.shell_call_output_content.")
}

/// Whether a shell runs where the provider keeps it.
fn is_container(document: &str, environment: Field<Value>, strings: &mut Strings) -> Result<bool, DecodeError> {
    let Some(environment) = environment.get() else { return Ok(false) };
    let kind = strings.read(document, ActionFields::at(document, environment)?.r#type.get())?;
    Ok(strings.get(document, kind).starts_with("container"))
}
