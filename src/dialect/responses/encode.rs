//! Writes the stream of responses.

use super::output::{Call, Event, Failure, Identity, Part, message, own_id, response, status};
use super::repeat::{Item, SentText, apply, ended_response, kind_of, part_of, replace_text};
use super::{EventKind, PartKey, Place, Reading};
use crate::block::{BlockKind, Chunk};
use crate::dialect::framing::{Seam, WITHHELD, with_data};
use crate::dialect::{Ending, Frame, FrameRole, SlotFate, TooLate};
use crate::json::{self, Edits};

/// Longest beginning of a response that is kept for its end, in bytes: it repeats instructions and tools.
const MAX_BEGINNING_BYTES: usize = 256 * 1024;

/// Most bytes of items without texts of their own that are kept for the end of the response.
const MAX_KEPT_ITEM_BYTES: usize = 256 * 1024;

/// An item of Weir's own.
#[derive(Debug)]
struct OwnItem {
    index: u32,
    json: String,
}

/// Writes the documents of one response.
#[derive(Debug, Default)]
pub struct Encoder {
    identity: Identity,
    /// The response as the upstream began it.
    beginning: String,
    begun: bool,
    /// The items of the upstream, in the order in which they began.
    items: Vec<Item>,
    own_items: Vec<OwnItem>,
    /// Chunks of policies that wait for the response to begin.
    waiting: Vec<Chunk>,
    /// The `output_index` of the next item, where ours are counted.
    next_index: u32,
    /// The `sequence_number` of the next event, where ours are counted.
    next_sequence: u32,
    /// Events do not leave as they came any more: the client needs numbers of our own.
    renumbers_events: bool,
    renumbers_items: bool,
    kept_item_bytes: usize,
    /// What the client has ends in reasoning, and what it led to was removed: the next request would be refused.
    owes_message: bool,
    ends_in_reasoning: bool,
    /// The end or an error has left: nothing of our own may follow.
    terminated: bool,
    /// The end was written by us: nothing of the upstream may follow.
    ended: bool,
    seam: Seam,
}

impl Encoder {
    /// An encoder whose own response bears this identity.
    pub(in crate::dialect) fn with_identity(identity: Identity) -> Self {
        Self { identity, ..Self::default() }
    }

    pub(crate) const fn number_by_place(&mut self) {
        self.renumbers_items = true;
    }

    pub(crate) fn event(&mut self, raw: &[u8], frame: &Frame, fates: &[SlotFate], out: &mut Vec<u8>) {
        if self.ended {
            return;
        }
        let reading = Reading::of(frame);
        match (frame.role, reading.event) {
            (FrameRole::Free, _) => self.seam.verbatim(raw, out),
            (FrameRole::Unknown, _) if fates.iter().any(|fate| *fate != SlotFate::Keep) => self.withhold(),
            (FrameRole::Failure, _) => {
                self.leave(raw, reading, None, Edits::default(), out);
                self.terminated = true;
            }
            (_, EventKind::Foreign) => self.leave(raw, reading, None, Edits::default(), out),
            (_, EventKind::Created) => self.created(raw, reading, out),
            (_, EventKind::ItemAdded) => self.item_added(raw, frame, fates, out),
            (_, EventKind::Terminal) => self.terminal(raw, frame, fates, out),
            _ => self.of_item(raw, frame, fates, out),
        }
    }

    /// Lets an event of the upstream leave with these edits, under the numbers that the client expects.
    fn leave(&mut self, raw: &[u8], reading: &Reading, index: Option<u32>, mut edits: Edits, out: &mut Vec<u8>) {
        let sequence = reading.sequence.map(|own| if self.renumbers_events { self.next_sequence } else { own });
        if let Some(sequence) = sequence {
            self.next_sequence = sequence.saturating_add(1);
        }
        let is_renumbered = sequence != reading.sequence;
        let moved = index.filter(|index| *index != reading.output_index);
        if edits.is_empty() && !is_renumbered && moved.is_none() {
            return self.seam.verbatim(raw, out);
        }
        let mut edited = Vec::with_capacity(raw.len());
        with_data(raw, |data| {
            let document = core::str::from_utf8(data).unwrap_or_default();
            let members = json::members(document);
            for (key, number) in [("sequence_number", sequence), ("output_index", moved)] {
                if let (Some(literal), Some(number)) = (json::member(&members, key), number) {
                    edits.replace(json::span(document, literal), number.to_string());
                }
            }
            edits.apply(data, &mut edited);
        });
        self.seam.with_data(raw, &edited, out);
    }

    /// An event of the upstream does not leave.
    const fn withhold(&mut self) {
        self.renumbers_events = true;
    }

    fn created(&mut self, raw: &[u8], reading: &Reading, out: &mut Vec<u8>) {
        with_data(raw, |data| {
            let document = core::str::from_utf8(data).unwrap_or_default();
            let response = json::member(&json::members(document), "response").unwrap_or_default();
            self.beginning.clear();
            if response.len() <= MAX_BEGINNING_BYTES {
                self.beginning.push_str(response);
            }
            let members = json::members(response);
            let string = |key| json::member(&members, key).map(json::string).unwrap_or_default().into_owned();
            let created = json::member(&members, "created_at").and_then(|created| created.parse().ok());
            self.identity = Identity { id: string("id"), created: created.unwrap_or(0), model: string("model") };
        });
        self.items.clear();
        self.own_items.clear();
        self.next_index = 0;
        self.owes_message = false;
        self.ends_in_reasoning = false;
        self.renumbers_events = false;
        self.begun = true;
        self.terminated = false;
        self.leave(raw, reading, None, Edits::default(), out);
        self.release_waiting(out);
    }

    fn item_added(&mut self, raw: &[u8], frame: &Frame, fates: &[SlotFate], out: &mut Vec<u8>) {
        let reading = Reading::of(frame);
        let fate = fates.first().unwrap_or(&SlotFate::Keep);
        let leaves = *fate != SlotFate::Remove;
        let mut item = Item::new(None, "{}");
        let edits = edits_of(raw, |document, edits| {
            let element = json::member(&json::members(document), "item").unwrap_or_default();
            item = Item::new(None, element);
            if let (Some(payload), SlotFate::Replace(text)) = (item.kind.payload(), fate) {
                payload.write(document, element, text, edits);
            }
        });
        let is_reasoning = item.is_reasoning();
        if leaves {
            self.lead_on(is_reasoning, out);
        }
        self.renumbers_items |= self.items.len() != reading.item;
        let index = leaves.then_some(if self.renumbers_items { self.next_index } else { reading.output_index });
        item.index = index;
        if item.kind.payload().is_some()
            && let Some(sent) = item.text(PartKey::Payload, BlockKind::ToolCall)
        {
            sent.take(fate, &reading.text);
        }
        // The decoder counts every item, also those whose beginning never came here.
        while self.items.len() < reading.item {
            self.items.push(Item::new(None, "{}"));
        }
        self.items.push(item);
        let Some(index) = index else {
            self.renumbers_items = true;
            self.owes_message |= self.ends_in_reasoning || self.next_index == 0;
            return self.withhold();
        };
        self.next_index = self.next_index.max(index).saturating_add(1);
        self.leave(raw, reading, Some(index), edits, out);
    }

    /// Before an item: reasoning must lead to something other than reasoning.
    fn lead_on(&mut self, to_reasoning: bool, out: &mut Vec<u8>) {
        if core::mem::take(&mut self.owes_message) && to_reasoning && self.ends_in_reasoning {
            self.write_message(WITHHELD, out);
        }
        self.ends_in_reasoning = to_reasoning;
    }

    fn of_item(&mut self, raw: &[u8], frame: &Frame, fates: &[SlotFate], out: &mut Vec<u8>) {
        let reading = Reading::of(frame);
        let Some(index) = self.items.get(reading.item).and_then(|item| item.index) else { return self.withhold() };
        let fate = fates.first().unwrap_or(&SlotFate::Keep);
        match reading.event {
            EventKind::Delta => self.delta(raw, frame, fate, index, out),
            EventKind::PartAdded | EventKind::CommandAdded => self.text_added(raw, frame, fate, index, out),
            EventKind::TextDone | EventKind::CommandDone | EventKind::PartDone | EventKind::ItemDone => {
                self.done(raw, frame, fates, index, out);
            }
            EventKind::Remark | EventKind::Status => {
                let is_about_other_text = reading.event == EventKind::Remark
                    && self.items.get(reading.item).is_some_and(|item| item.has_changed(reading.part));
                if *fate == SlotFate::Remove || is_about_other_text {
                    return self.withhold();
                }
                self.leave(raw, reading, Some(index), Edits::default(), out);
            }
            EventKind::Foreign | EventKind::Created | EventKind::ItemAdded | EventKind::Terminal => {}
        }
    }

    fn delta(&mut self, raw: &[u8], frame: &Frame, fate: &SlotFate, index: u32, out: &mut Vec<u8>) {
        let reading = Reading::of(frame);
        let kind = frame.slots.first().map_or(BlockKind::Other, |slot| slot.kind);
        let Some(sent) = self.items.get_mut(reading.item).and_then(|item| item.text(reading.part, kind)) else { return };
        sent.take(fate, &reading.text);
        match fate {
            SlotFate::Keep => self.leave(raw, reading, Some(index), Edits::default(), out),
            SlotFate::Replace(text) if !text.is_empty() => {
                let edits = edits_of(raw, |document, edits| edit_text(document, "delta", text, edits));
                self.leave(raw, reading, Some(index), edits, out);
            }
            SlotFate::Replace(_) | SlotFate::Remove => self.withhold(),
        }
    }

    /// The beginning of a part, or of a command: it stays, so that what follows is counted right.
    fn text_added(&mut self, raw: &[u8], frame: &Frame, fate: &SlotFate, index: u32, out: &mut Vec<u8>) {
        let reading = Reading::of(frame);
        let kind = frame.slots.first().map_or(BlockKind::Other, |slot| slot.kind);
        let Some(item) = self.items.get_mut(reading.item) else { return };
        let is_command = reading.event == EventKind::CommandAdded;
        let separator = if is_command && reading.text.starts_with('\n') { "\n" } else { "" };
        let Some(sent) = item.text(reading.part, kind) else { return };
        let begins_at = sent.text.len().saturating_add(separator.len());
        match fate {
            SlotFate::Keep => sent.take(fate, &reading.text),
            SlotFate::Replace(_) | SlotFate::Remove => {
                sent.changed = true;
                sent.text.push_str(separator);
            }
        }
        let mut edits = Edits::default();
        if *fate != SlotFate::Keep {
            let text = if let SlotFate::Replace(text) = fate { text.as_str() } else { "" };
            let text = text.strip_prefix(separator).unwrap_or(text);
            sent.text.push_str(text);
            edits = edits_of(raw, |document, edits| {
                if is_command {
                    edit_text(document, "command", text, edits);
                } else if let Some(part) = json::member(&json::members(document), "part") {
                    sent.repeat(document, part, edits);
                }
            });
        }
        item.command_start = begins_at;
        self.leave(raw, reading, Some(index), edits, out);
    }

    /// A repetition: of a text, a part or an item.
    fn done(&mut self, raw: &[u8], frame: &Frame, fates: &[SlotFate], index: u32, out: &mut Vec<u8>) {
        let reading = Reading::of(frame);
        let is_item = reading.event == EventKind::ItemDone;
        with_data(raw, |data| {
            let document = core::str::from_utf8(data).unwrap_or_default();
            let element = json::member(&json::members(document), "item").unwrap_or_default();
            if let Some(item) = self.items.get_mut(reading.item) {
                for ((slot, place), fate) in frame.slots.iter().zip(&reading.places).zip(fates) {
                    let came = if is_item { text_at(item, element, *place) } else { reading.text.clone() };
                    item.come(*place, slot.kind, fate, &came);
                }
            }
        });
        self.explain_withheld(reading, is_item, out);
        let Some(item) = self.items.get_mut(reading.item) else { return };
        let edits = edits_of(raw, |document, edits| {
            let members = json::members(document);
            match reading.event {
                EventKind::ItemDone => {
                    if let Some(element) = json::member(&members, "item") {
                        let status = json::member(&json::members(element), "status").map(json::string);
                        item.status = status.unwrap_or_default().into_owned();
                        item.repeat(document, element, edits);
                        self.kept_item_bytes = item.keep_ended(element, self.kept_item_bytes);
                    }
                }
                EventKind::PartDone => {
                    let sent = item.texts.iter().find(|sent| sent.key == reading.part);
                    if let (Some(sent), Some(part)) = (sent, json::member(&members, "part")) {
                        sent.repeat(document, part, edits);
                    }
                }
                _ => item.repeat_text(document, reading, edits),
            }
        });
        if let Some(sent) = item.texts.iter_mut().find(|sent| sent.key == reading.part)
            && reading.event != EventKind::CommandDone
        {
            sent.is_done = true;
        }
        item.is_done |= is_item;
        self.leave(raw, reading, Some(index), edits, out);
    }

    /// Says in place of a text of which nothing is left that it was withheld.
    fn explain_withheld(&mut self, reading: &Reading, all: bool, out: &mut Vec<u8>) {
        let Some(item) = self.items.get_mut(reading.item) else { return };
        let Some(index) = item.index else { return };
        let mut keys = Vec::new();
        for sent in &mut item.texts {
            if (all || sent.key == reading.part) && !sent.is_done && sent.is_withheld() {
                sent.text.push_str(WITHHELD);
                keys.push((sent.key, sent.kind));
            }
        }
        for (key, kind) in keys {
            self.write_delta(index, reading.item, key, kind, WITHHELD, out);
        }
    }

    /// Writes a delta of our own into a part of an item of the upstream.
    fn write_delta(&mut self, index: u32, item: usize, key: PartKey, kind: BlockKind, text: &str, out: &mut Vec<u8>) {
        let id = self.items.get(item).map(Item::id).unwrap_or_default();
        let event = Event { delta: Some(text), ..part_event(delta_type(kind, key), &id, index, key) };
        self.write(event, out);
    }

    fn write(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        self.renumbers_events = true;
        let sequence_number = self.next_sequence;
        self.next_sequence = sequence_number.saturating_add(1);
        self.seam.close(out);
        Event { sequence_number, ..event }.write(out);
    }

    pub(crate) fn chunk(&mut self, chunk: &Chunk, out: &mut Vec<u8>) -> Result<(), TooLate> {
        if self.terminated {
            return Err(TooLate);
        }
        if matches!(chunk, Chunk::Text { text, .. } if text.is_empty()) {
            return Ok(());
        }
        self.waiting.push(chunk.clone());
        if self.begun {
            self.release_waiting(out);
        }
        Ok(())
    }

    fn release_waiting(&mut self, out: &mut Vec<u8>) {
        for chunk in core::mem::take(&mut self.waiting) {
            match chunk {
                Chunk::Text { kind, text, .. } => self.write_text(kind, &text, out),
                Chunk::ToolCall { call_id, name, arguments, free_form, .. } => {
                    self.write_call(&call_id, &name, &arguments, free_form, out);
                }
            }
        }
    }

    /// Writes a text: into a part that is open and of that kind, else as a message of its own.
    fn write_text(&mut self, kind: BlockKind, text: &str, out: &mut Vec<u8>) {
        let open = self.items.iter_mut().enumerate().rev().find_map(|(number, item)| {
            let index = item.index.filter(|_| !item.is_done)?;
            let sent = item.texts.iter_mut().rev().find(|sent| sent.kind == kind && !sent.is_done)?;
            sent.changed = true;
            sent.text.push_str(text);
            Some((number, index, sent.key))
        });
        match open {
            Some((number, index, key)) => self.write_delta(index, number, key, kind, text, out),
            // Reasoning stands in items that only the provider can make.
            None if kind == BlockKind::Reasoning => {}
            None => self.write_message(text, out),
        }
    }

    fn begin_own_item(&mut self) -> u32 {
        let index = self.next_index;
        self.next_index = index.saturating_add(1);
        self.renumbers_items = true;
        self.owes_message = false;
        self.ends_in_reasoning = false;
        index
    }

    fn write_message(&mut self, text: &str, out: &mut Vec<u8>) {
        let index = self.begin_own_item();
        let id = own_id("msg", index);
        let key = PartKey::Content(0);
        let of_part = |r#type| part_event(r#type, &id, index, key);
        let part = |text| Some(Part::new(key, BlockKind::Text, text));
        let json = message(&id, "completed", &[Part::new(key, BlockKind::Text, text)]);
        self.write_item("response.output_item.added", index, &message(&id, "in_progress", &[]), out);
        self.write(Event { part: part(""), ..of_part("response.content_part.added") }, out);
        self.write(Event { delta: Some(text), ..of_part("response.output_text.delta") }, out);
        self.write(Event { text: Some(text), ..of_part("response.output_text.done") }, out);
        self.write(Event { part: part(text), logprobs: None, ..of_part("response.content_part.done") }, out);
        self.write_item("response.output_item.done", index, &json, out);
        self.own_items.push(OwnItem { index, json });
    }

    fn write_call(&mut self, call_id: &str, name: &str, arguments: &str, free_form: bool, out: &mut Vec<u8>) {
        let index = self.begin_own_item();
        let id = own_id("fc", index);
        let item = |status, text| {
            let bare = Call { id: &id, r#type: "function_call", status, call_id, name, arguments: Some(text), input: None };
            if !free_form {
                return json::to_text(&bare);
            }
            json::to_text(&Call { r#type: "custom_tool_call", arguments: None, input: Some(text), ..bare })
        };
        let of_call = |r#type| Event { r#type, item_id: Some(&id), output_index: Some(index), ..Event::default() };
        self.write_item("response.output_item.added", index, &item("in_progress", ""), out);
        if free_form {
            self.write(Event { delta: Some(arguments), ..of_call("response.custom_tool_call_input.delta") }, out);
            self.write(Event { input: Some(arguments), ..of_call("response.custom_tool_call_input.done") }, out);
        } else {
            self.write(Event { delta: Some(arguments), ..of_call("response.function_call_arguments.delta") }, out);
            self.write(Event { arguments: Some(arguments), ..of_call("response.function_call_arguments.done") }, out);
        }
        let json = item("completed", arguments);
        self.write_item("response.output_item.done", index, &json, out);
        self.own_items.push(OwnItem { index, json });
    }

    fn write_item(&mut self, r#type: &'static str, index: u32, json: &str, out: &mut Vec<u8>) {
        let item = serde_json::from_str(json).ok();
        self.write(Event { r#type, output_index: Some(index), item, ..Event::default() }, out);
    }

    /// The end of the response, which repeats all of it.
    fn terminal(&mut self, raw: &[u8], frame: &Frame, fates: &[SlotFate], out: &mut Vec<u8>) {
        let reading = Reading::of(frame);
        if core::mem::take(&mut self.owes_message) {
            self.write_message(WITHHELD, out);
        }
        self.terminated = true;
        let edits = edits_of(raw, |document, edits| {
            let response = json::member(&json::members(document), "response").unwrap_or_default();
            self.edit_output(document, response, frame, fates, edits);
        });
        self.leave(raw, reading, None, edits, out);
    }

    /// Lets the output of `response` be what was sent.
    fn edit_output(&mut self, document: &str, response: &str, frame: &Frame, fates: &[SlotFate], edits: &mut Edits) {
        let members = json::members(response);
        let Some(output) = json::member(&members, "output") else { return };
        let elements = json::elements(output);
        if elements.is_empty() && !self.items.is_empty() {
            // The upstream does not repeat its items.
            return;
        }
        let mut items: Vec<(u32, String)> = Vec::new();
        let mut is_changed = !self.own_items.is_empty();
        for (position, element) in elements.iter().enumerate() {
            let known = Reading::of(frame).known.get(position).copied().flatten();
            let mut fresh = Item::new(Some(u32::MAX), element);
            let item = match known {
                Some(number) => self.items.get_mut(number).unwrap_or(&mut fresh),
                None => &mut fresh,
            };
            for ((slot, place), fate) in frame.slots.iter().zip(&Reading::of(frame).places).zip(fates) {
                if place.element != position {
                    continue;
                }
                if place.part.is_none() && *fate == SlotFate::Remove && known.is_none() {
                    item.index = None;
                }
                let came = text_at(item, element, *place);
                item.come(*place, slot.kind, fate, &came);
            }
            item.texts.iter_mut().filter(|sent| sent.is_withheld()).for_each(|sent| sent.text.push_str(WITHHELD));
            let Some(index) = item.index else {
                is_changed = true;
                continue;
            };
            let mut of_item = Edits::default();
            item.repeat(element, element, &mut of_item);
            is_changed |= !of_item.is_empty();
            items.push((index, apply(element, of_item)));
        }
        if is_changed {
            let set = [("output", self.output(items))];
            edits.edit_object(document, response, &members, &["output_text"], &set);
        }
    }

    /// The upstream's items with our own between them, as a JSON array.
    fn output(&self, mut items: Vec<(u32, String)>) -> String {
        for own in &self.own_items {
            let place = items.partition_point(|(index, _)| *index < own.index);
            items.insert(place, (own.index, own.json.clone()));
        }
        let mut output = String::from("[");
        for (_, json) in items {
            output.push_str(if output.len() > 1 { "," } else { "" });
            output.push_str(&json);
        }
        output.push(']');
        output
    }

    pub(crate) fn end(&mut self, ending: Ending, out: &mut Vec<u8>) {
        if self.terminated {
            return;
        }
        self.terminated = true;
        self.ended = true;
        if !self.begun {
            let begun = response(&self.identity, "in_progress", None, "[]");
            for r#type in ["response.created", "response.in_progress"] {
                self.write(Event { r#type, response: serde_json::from_str(&begun).ok(), ..Event::default() }, out);
            }
        }
        self.release_waiting(out);
        for number in 0..self.items.len() {
            self.close(number, ending, out);
        }
        if self.next_index == 0 || self.owes_message {
            self.write_message(WITHHELD, out);
        }
        let output = self.output(self.items.iter().filter_map(|item| Some((item.index?, item.to_json()))).collect());
        let (status, details) = status(ending);
        let r#type = if ending == Ending::Stop { "response.completed" } else { "response.incomplete" };
        let whole = if self.beginning.is_empty() {
            response(&self.identity, status, details, &output)
        } else {
            ended_response(&self.beginning, status, details, &output)
        };
        self.write(Event { r#type, response: serde_json::from_str(&whole).ok(), ..Event::default() }, out);
    }

    /// Ends an item that is open at the client.
    fn close(&mut self, number: usize, ending: Ending, out: &mut Vec<u8>) {
        let Some(item) = self.items.get_mut(number).filter(|item| !item.is_done) else { return };
        let Some(index) = item.index else { return };
        let id = item.id();
        let texts = core::mem::take(&mut item.texts);
        // Of a call that has left in part nothing is known but that it is not whole.
        let is_whole = ending == Ending::Stop && item.kind.payload().is_none();
        item.status = if is_whole { "completed" } else { "incomplete" }.to_owned();
        for sent in texts {
            let SentText { key, kind, mut text, is_done, changed } = sent;
            if key != PartKey::Payload && !is_done {
                if text.is_empty() && kind != BlockKind::Reasoning {
                    text.push_str(WITHHELD);
                    let event = part_event(delta_type(kind, key), &id, index, key);
                    self.write(Event { delta: Some(&text), ..event }, out);
                }
                let (whole, logprobs) = (Some(text.as_str()), (kind == BlockKind::Text).then_some([]));
                let event = part_event(done_type(kind, key), &id, index, key);
                self.write(
                    match kind {
                        BlockKind::Refusal => Event { refusal: whole, ..event },
                        _ => Event { text: whole, logprobs, ..event },
                    },
                    out,
                );
                let part = Some(Part::new(key, kind, &text));
                self.write(Event { part, logprobs: None, ..part_event(part_done_type(key), &id, index, key) }, out);
            }
            if let Some(item) = self.items.get_mut(number) {
                item.texts.push(SentText { key, kind, text, changed, is_done });
            }
        }
        let Some(item) = self.items.get_mut(number) else { return };
        let json = item.to_json();
        self.write_item("response.output_item.done", index, &json, out);
    }

    pub(crate) fn failure(&mut self, message: &str, out: &mut Vec<u8>) {
        if self.terminated {
            return;
        }
        self.terminated = true;
        self.ended = true;
        let error = Some(Failure { r#type: "server_error", code: "server_error", message, param: None });
        self.write(Event { r#type: "error", error, ..Event::default() }, out);
    }
}

impl SentText {
    /// What came leaves with this fate.
    fn take(&mut self, fate: &SlotFate, came: &str) {
        match fate {
            SlotFate::Keep => self.text.push_str(came),
            SlotFate::Replace(text) => {
                self.text.push_str(text);
                self.changed |= text != came;
            }
            SlotFate::Remove => self.changed |= !came.is_empty(),
        }
    }

    /// Whether nothing is left of a text that may not be empty.
    pub(super) fn is_withheld(&self) -> bool {
        self.changed && self.text.is_empty() && matches!(self.kind, BlockKind::Text | BlockKind::Refusal)
    }
}

impl Item {
    /// The id by which the client knows it.
    fn id(&self) -> String {
        json::member(&json::members(&self.json), "id").map(json::string).unwrap_or_default().into_owned()
    }

    fn has_changed(&self, key: PartKey) -> bool {
        self.texts.iter().any(|sent| sent.key == key && sent.changed)
    }

    /// A slot of a repetition comes: `came` is what stands there.
    pub(super) fn come(&mut self, place: Place, kind: BlockKind, fate: &SlotFate, came: &str) {
        let key = match place.part {
            Some(key) => key,
            None if self.kind.payload().is_some() => PartKey::Payload,
            None => return,
        };
        let Some(sent) = self.text(key, kind) else { return };
        match fate {
            // What has come before is only repeated.
            SlotFate::Keep if sent.changed || !sent.text.is_empty() => {}
            _ => sent.take(fate, came),
        }
    }

    /// Lets an event that repeats one text say what was sent.
    fn repeat_text(&self, document: &str, reading: &Reading, edits: &mut Edits) {
        let Some(sent) = self.texts.iter().find(|sent| sent.key == reading.part) else { return };
        let members = json::members(document);
        let keys = ["text", "refusal", "arguments", "input", "code", "diff", "command"];
        let Some((key, literal)) = keys.iter().find_map(|key| Some((*key, json::member(&members, key)?))) else { return };
        let text = match self.kind.payload() {
            Some(_) if reading.event == EventKind::CommandDone => sent.text.get(self.command_start..).unwrap_or_default(),
            Some(payload) => payload.repeated(&sent.text),
            None => &sent.text,
        };
        if json::string(literal) != text {
            replace_text(document, document, &members, key, text, edits);
        }
    }

    /// Keeps `element`, the end of an item without texts, as long as there is room; what is kept by now.
    fn keep_ended(&mut self, element: &str, kept: usize) -> usize {
        let all = kept.saturating_add(element.len());
        if !self.texts.is_empty() || all > MAX_KEPT_ITEM_BYTES {
            return kept;
        }
        self.json.clear();
        self.json.push_str(element);
        all
    }
}

/// The text of `element` at `place`.
pub(super) fn text_at(item: &Item, element: &str, place: Place) -> String {
    match place.part {
        None => {
            kind_of(element).payload().or_else(|| item.kind.payload()).map(|payload| payload.text_in(element)).unwrap_or_default()
        }
        Some(key) => {
            let part = part_of(&json::members(element), key).map(json::members).unwrap_or_default();
            let literal = json::member(&part, "refusal").or_else(|| json::member(&part, "text"));
            literal.map(json::string).unwrap_or_default().into_owned()
        }
    }
}

/// The edits of an event.
fn edits_of(raw: &[u8], edit: impl FnOnce(&str, &mut Edits)) -> Edits {
    let mut edits = Edits::default();
    with_data(raw, |data| edit(core::str::from_utf8(data).unwrap_or_default(), &mut edits));
    edits
}

fn edit_text(document: &str, key: &str, text: &str, edits: &mut Edits) {
    replace_text(document, document, &json::members(document), key, text, edits);
}

/// An event about a part of an item.
fn part_event<'a>(r#type: &'static str, id: &'a str, index: u32, key: PartKey) -> Event<'a> {
    let (content_index, summary_index) = match key {
        PartKey::Content(index) => (Some(index), None),
        PartKey::Summary(index) => (None, Some(index)),
        PartKey::Payload => (None, None),
    };
    let logprobs = r#type.starts_with("response.output_text").then_some([]);
    Event { r#type, item_id: Some(id), output_index: Some(index), content_index, summary_index, logprobs, ..Event::default() }
}

const fn delta_type(kind: BlockKind, key: PartKey) -> &'static str {
    match (kind, key) {
        (BlockKind::Refusal, _) => "response.refusal.delta",
        (BlockKind::Reasoning, PartKey::Summary(_)) => "response.reasoning_summary_text.delta",
        (BlockKind::Reasoning, _) => "response.reasoning_text.delta",
        _ => "response.output_text.delta",
    }
}

const fn done_type(kind: BlockKind, key: PartKey) -> &'static str {
    match (kind, key) {
        (BlockKind::Refusal, _) => "response.refusal.done",
        (BlockKind::Reasoning, PartKey::Summary(_)) => "response.reasoning_summary_text.done",
        (BlockKind::Reasoning, _) => "response.reasoning_text.done",
        _ => "response.output_text.done",
    }
}

const fn part_done_type(key: PartKey) -> &'static str {
    match key {
        PartKey::Summary(_) => "response.reasoning_summary_part.done",
        PartKey::Content(_) | PartKey::Payload => "response.content_part.done",
    }
}
