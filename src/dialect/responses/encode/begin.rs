//! Writes how a response and its items begin.

use super::{Encoder, edits_of, first};
use crate::dialect::framing::{WITHHELD, with_data};
use crate::dialect::responses::client_view::Item;
use crate::dialect::responses::encode::insert::part_event;
use crate::dialect::responses::output::{DecodedEvent, Event, Identity, inserted_id, message, unannounced};
use crate::dialect::responses::rewrite::apply;
use crate::dialect::responses::{Begins, EventKind, PartKey, Reading};
use crate::dialect::{Frame, SlotAction};
use crate::wire::json::{self, Edits};

/// Longest beginning of a response that is kept for its end, in bytes: it repeats instructions and tools.
const MAX_BEGINNING_BYTES: usize = 256 * 1024;

impl Encoder {
    pub(super) fn created(&mut self, raw: &[u8], reading: &Reading, out: &mut Vec<u8>) {
        with_data(raw, |data| {
            let source = core::str::from_utf8(data).unwrap_or_default();
            let response = json::member(&json::members(source), "response").unwrap_or_default();
            self.beginning.clear();
            if response.len() <= MAX_BEGINNING_BYTES {
                self.beginning.push_str(response);
            }
            let members = json::members(response);
            let string = |key| json::member(&members, key).map(json::string).unwrap_or_default().into_owned();
            let created = json::member(&members, "created_at").and_then(|created| created.parse().ok());
            self.identity =
                Identity { id: string("id"), created: created.unwrap_or(0), model: string("model"), ..Identity::default() };
        });
        if core::mem::take(&mut self.terminated) {
            self.begin_another();
        }
        self.begun = true;
        self.lifecycle(raw, reading, out);
        self.release_waiting(out);
    }

    /// Another response begins in the same stream: its items and its events are counted from the beginning.
    fn begin_another(&mut self) {
        self.items.clear();
        self.inserted_items.clear();
        self.next_index = 0;
        self.owes_message = false;
        self.ends_in_reasoning = false;
        self.renumbers_events = false;
    }

    /// The response is said to have begun. Output that stands there leaves with the events that say it.
    pub(super) fn lifecycle(&mut self, raw: &[u8], reading: &Reading, out: &mut Vec<u8>) {
        let mut edits = Edits::default();
        if reading.claims_output {
            edits = edits_of(raw, |source, edits| {
                let response = json::member(&json::members(source), "response").unwrap_or_default();
                let set = [("output", "[]".to_owned())];
                edits.edit_object(source, response, &json::members(response), &["output_text"], &set);
            });
        }
        self.leave(raw, reading, None, edits, out);
    }

    pub(super) fn item_added(&mut self, raw: &[u8], frame: &Frame, actions: &[SlotAction], out: &mut Vec<u8>) {
        let reading = Reading::of(frame);
        let action = first(actions);
        let mut item = Item::new(None, "{}");
        let edits = edits_of(raw, |source, edits| {
            let element = json::member(&json::members(source), "item").unwrap_or_default();
            item = Item::new(None, element);
            if let (Some(payload), SlotAction::Replace(text)) = (item.kind.payload(), action) {
                payload.write(source, element, text, edits);
            }
            if reading.claims_output {
                clear_parts(source, element, edits);
                let mut of_item = Edits::default();
                clear_parts(element, element, &mut of_item);
                item.json = apply(element, of_item);
            }
        });
        if item.kind.payload().is_some()
            && let Some(sent) = item.text(PartKey::Payload)
        {
            sent.take(action, &reading.text);
        }
        match self.begin_item(reading, item, *action != SlotAction::Remove, out) {
            Some(index) => self.leave(raw, reading, Some(index), edits, out),
            None => self.withhold(),
        }
    }

    /// Takes in an item that begins, and leaves if `leaves`: its `output_index` then.
    fn begin_item(&mut self, reading: &Reading, mut item: Item, leaves: bool, out: &mut Vec<u8>) -> Option<u32> {
        if leaves {
            self.lead_on(item.is_reasoning(), out);
        } else {
            self.owes_message |= self.ends_in_reasoning || self.next_index == 0;
        }
        self.renumbers_items |= self.items.len() != reading.item || !leaves;
        item.index = leaves.then(|| self.next_place(reading.output_index));
        self.take_in(reading.item, item)
    }

    /// The `output_index` of an item that the upstream puts at `asked`: clients would take one that is taken for the other.
    fn next_place(&mut self, asked: Option<u32>) -> u32 {
        let asked = asked.filter(|index| *index >= self.next_index && !self.renumbers_items);
        self.renumbers_items |= asked.is_none();
        let index = asked.unwrap_or(self.next_index);
        self.next_index = index.saturating_add(1);
        index
    }

    /// Keeps the item `number`; its `output_index`.
    fn take_in(&mut self, number: usize, item: Item) -> Option<u32> {
        // The decoder counts every item, also those whose beginning never came here.
        while self.items.len() < number {
            self.items.push(Item::new(None, "{}"));
        }
        let index = item.index.filter(|_| self.items.len() == number);
        self.items.push(Item { index, ..item });
        index
    }

    /// Before an item: reasoning must lead to something other than reasoning.
    fn lead_on(&mut self, to_reasoning: bool, out: &mut Vec<u8>) {
        if core::mem::take(&mut self.owes_message) && to_reasoning && self.ends_in_reasoning {
            self.write_message(WITHHELD, out);
        }
        self.ends_in_reasoning = to_reasoning;
    }

    /// An item begins that no event has announced.
    pub(super) fn begin_unannounced(&mut self, raw: &[u8], frame: &Frame, actions: &[SlotAction], out: &mut Vec<u8>) {
        let reading = Reading::of(frame);
        let leaves = *first(actions) != SlotAction::Remove;
        let mut item = Item::new(None, "{}");
        let mut id = String::new();
        with_data(raw, |data| {
            let source = core::str::from_utf8(data).unwrap_or_default();
            let members = json::members(source);
            id = json::member(&members, "item_id").map(json::string).unwrap_or_default().into_owned();
            item = Item::new(None, json::member(&members, "item").unwrap_or("{}"));
        });
        match reading.begins {
            Begins::Whole => {
                self.begin_item(reading, item, leaves, out);
            }
            Begins::As(r#type) if matches!(reading.part, PartKey::Payload | PartKey::Transcript(_)) => {
                item = Item::new(None, &unannounced(&id, r#type));
                item.is_announced = false;
                self.begin_item(reading, item, leaves, out);
            }
            Begins::As(r#type) => self.announce(reading, r#type, id, out),
            Begins::Beside { item: beside, r#type } => {
                let index = self.items.get(beside).and_then(|item| item.index).filter(|_| leaves);
                item = Item::new(index, &unannounced(&id, r#type));
                item.is_announced = false;
                self.take_in(reading.item, item);
            }
            Begins::No => {}
        }
    }

    /// Announces an item of which a text comes, and the text: the official clients break off where they know neither.
    fn announce(&mut self, reading: &Reading, r#type: &str, id: String, out: &mut Vec<u8>) {
        let is_reasoning = r#type == "reasoning";
        let place = self.next_index.max(reading.output_index.unwrap_or(0));
        let prefix = if is_reasoning { "rs" } else { "msg" };
        let id = if id.is_empty() { inserted_id(prefix, place) } else { id };
        let json = if is_reasoning { unannounced(&id, r#type) } else { message(&id, "in_progress", &[]) };
        let Some(index) = self.begin_item(reading, Item::new(None, &json), true, out) else { return };
        self.write_item("response.output_item.added", index, &json, out);
        if reading.event != EventKind::PartAdded {
            let part = Some(DecodedEvent::new(reading.part, ""));
            let added = part_event(part_added_type(reading.part), &id, index, reading.part);
            self.write(Event { part, logprobs: None, ..added }, out);
        }
    }
}

const fn part_added_type(key: PartKey) -> &'static str {
    match key {
        PartKey::Summary(_) => "response.reasoning_summary_part.added",
        _ => "response.content_part.added",
    }
}

/// Takes the parts out of `item`, an object within `frame`.
fn clear_parts(source: &str, item: &str, edits: &mut Edits) {
    let members = json::members(item);
    let lists = ["content", "summary"].into_iter().filter(|list| json::member(&members, list).is_some());
    let set: Vec<_> = lists.map(|list| (list, "[]".to_owned())).collect();
    edits.edit_object(source, item, &members, &[], &set);
}
