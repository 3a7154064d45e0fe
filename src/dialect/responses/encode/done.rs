//! Writes what the stream repeats: texts, parts and items at their ends.

use super::{Encoder, edits_of, is_kept, of_slots};
use crate::dialect::framing::WITHHELD;
use crate::dialect::responses::client_view::{Item, text_at};
use crate::dialect::responses::item::ItemKind;
use crate::dialect::responses::rewrite::Element;
use crate::dialect::responses::{EventKind, Reading};
use crate::dialect::{Frame, SlotAction};
use crate::wire::json::{self, Edits};

impl Encoder {
    /// The end of a text.
    pub(super) fn text_done(&mut self, raw: &[u8], frame: &Frame, actions: &[SlotAction], index: u32, out: &mut Vec<u8>) {
        let reading = Reading::of(frame);
        let mut edits = Edits::default();
        if !self.may_repeat(frame, actions) {
            self.receive_text(frame, actions);
            self.explain_withheld(reading, false, out);
            let Some(item) = self.items.get(reading.item) else { return self.withhold() };
            edits = edits_of(raw, |source, edits| item.repeat_text(source, reading, edits));
        }
        self.end_text(reading);
        self.leave(raw, reading, Some(index), edits, out);
    }

    /// The end of a part.
    pub(super) fn part_done(&mut self, raw: &[u8], frame: &Frame, actions: &[SlotAction], index: u32, out: &mut Vec<u8>) {
        let reading = Reading::of(frame);
        let mut edits = Edits::default();
        if !self.may_repeat(frame, actions) {
            self.receive_text(frame, actions);
            self.explain_withheld(reading, false, out);
            let Some(item) = self.items.get(reading.item) else { return self.withhold() };
            let sent = item.texts.iter().find(|sent| sent.key == reading.part);
            edits = edits_of(raw, |source, edits| {
                if let (Some(sent), Some(part)) = (sent, json::member(&json::members(source), "part")) {
                    sent.repeat(source, part, edits);
                }
            });
        }
        self.end_text(reading);
        self.leave(raw, reading, Some(index), edits, out);
    }

    /// The end of an item.
    pub(super) fn item_done(&mut self, raw: &[u8], frame: &Frame, actions: &[SlotAction], index: u32, out: &mut Vec<u8>) {
        let reading = Reading::of(frame);
        let is_list = self.items.get(reading.item).is_some_and(Item::is_list_of_texts);
        let mut edits = Edits::default();
        // Of an item that is no list of texts it is kept how it ended.
        if !is_list || !self.may_repeat(frame, actions) {
            edits_of(raw, |source, _| self.receive_item(source, frame, actions));
            self.explain_withheld(reading, true, out);
            edits = edits_of(raw, |source, edits| self.edit_item(source, frame, actions, edits));
        }
        let Some(item) = self.items.get_mut(reading.item) else { return self.withhold() };
        item.status.clone_from(&reading.status);
        item.is_done = true;
        self.leave(raw, reading, Some(index), edits, out);
    }

    /// Whether a repetition may leave as it came, since all that it repeats did.
    fn may_repeat(&self, frame: &Frame, actions: &[SlotAction]) -> bool {
        let reading = Reading::of(frame);
        let is_as_it_came = self.items.get(reading.item).is_some_and(Item::is_as_it_came);
        reading.only_repeats && is_kept(frame, actions) && is_as_it_came
    }

    /// Notes what the client gets of an event that repeats one text.
    fn receive_text(&mut self, frame: &Frame, actions: &[SlotAction]) {
        let reading = Reading::of(frame);
        let Some(item) = self.items.get_mut(reading.item) else { return };
        for (place, action) in reading.places.iter().zip(of_slots(frame, actions)) {
            let is_told = place.differs || frame.slots.len() == 1;
            item.receive(*place, action, if is_told { &reading.text } else { "" });
        }
    }

    /// Notes what the client gets of an event that ends an item.
    fn receive_item(&mut self, source: &str, frame: &Frame, actions: &[SlotAction]) {
        let reading = Reading::of(frame);
        let element = Element::new(json::member(&json::members(source), "item").unwrap_or_default());
        let Some(item) = self.items.get_mut(reading.item) else { return };
        for (place, action) in reading.places.iter().zip(of_slots(frame, actions)) {
            let received = text_at(item, &element, *place);
            item.receive(*place, action, &received);
        }
    }

    fn edit_item(&mut self, source: &str, frame: &Frame, actions: &[SlotAction], edits: &mut Edits) {
        let members = json::members(source);
        let Some(element) = json::member(&members, "item").map(Element::new) else { return };
        let Some(item) = self.items.get_mut(Reading::of(frame).item) else { return };
        let is_removed = of_slots(frame, actions).next() == Some(&SlotAction::Remove);
        if item.kind == ItemKind::Unknown && (is_removed || !item.is_as_it_came()) {
            return item.repeat(source, &element, edits);
        }
        if !is_removed {
            self.kept_item_bytes = item.keep_ended(&element, self.kept_item_bytes);
        }
        item.repeat(source, &element, edits);
    }

    /// The text that the event is about has come to its end, if it is no single command.
    fn end_text(&mut self, reading: &Reading) {
        if reading.event == EventKind::CommandDone {
            return;
        }
        let texts = self.items.get_mut(reading.item).into_iter().flat_map(|item| &mut item.texts);
        texts.filter(|sent| sent.key == reading.part).for_each(|sent| sent.is_done = true);
    }

    /// Says in place of a text of which nothing is left that it was withheld.
    fn explain_withheld(&mut self, reading: &Reading, all: bool, out: &mut Vec<u8>) {
        let Some(item) = self.items.get_mut(reading.item) else { return };
        let Some(index) = item.index else { return };
        let mut keys = Vec::new();
        for sent in &mut item.texts {
            if (all || sent.key == reading.part) && !sent.is_done && sent.is_withheld() {
                sent.text.push_str(WITHHELD);
                keys.push(sent.key);
            }
        }
        for key in keys {
            self.write_delta(index, reading.item, key, WITHHELD, out);
        }
    }
}
