//! Writes whole bodies of responses.

use super::client_view::{Item, text_at};
use super::encode::{Encoder, is_kept, of_slots};
use super::output::{DecodedEvent, call, inserted_id, message, status};
use super::rewrite::{Element, apply, is_reasoning};
use super::{PartKey, Place, Reading};
use crate::block::Chunk;
use crate::dialect::framing::WITHHELD;
use crate::dialect::{Frame, Insertion, SlotAction};
use crate::wire::json::{self, Edits};

impl Encoder {
    pub(crate) fn body(
        &mut self,
        raw: &[u8],
        frame: &Frame,
        actions: &[SlotAction],
        insertions: &[Insertion],
        out: &mut Vec<u8>,
    ) {
        let untouched =
            self.ending().is_none() && insertions.is_empty() && !Reading::of(frame).claims_output && is_kept(frame, actions);
        let Some(source) = core::str::from_utf8(raw).ok().filter(|_| !untouched) else {
            return out.extend_from_slice(raw);
        };
        let (actions, insertions) = said_in_place(frame, actions, insertions);
        let (actions, insertions) = (actions.as_slice(), insertions.as_slice());
        let members = json::members(source);
        let elements = json::member(&members, "output").map(json::elements).unwrap_or_default();
        let mut items: Vec<String> = Vec::new();
        let mut inserted: usize = 0;
        let mut was_removed = false;
        for (position, element) in elements.iter().enumerate() {
            let first_slot = Reading::of(frame).places.iter().position(|place| place.element == position);
            for insertion in insertions.iter().skip(inserted).take_while(|insertion| Some(insertion.before) <= first_slot) {
                inserted = inserted.saturating_add(1);
                items.extend(inserted_item(&insertion.chunk, items.len()));
            }
            let kept = edited(position, element, frame, actions);
            // Reasoning must lead to something other than reasoning.
            let ends_in_reasoning = items.last().is_some_and(|last| is_reasoning(last));
            if ends_in_reasoning && was_removed && kept.as_deref().is_some_and(is_reasoning) {
                items.extend(inserted_message(WITHHELD, items.len()));
            }
            was_removed = kept.is_none();
            items.extend(kept);
        }
        for insertion in insertions.iter().skip(inserted) {
            items.extend(inserted_item(&insertion.chunk, items.len()));
        }
        if items.is_empty() || (was_removed && items.last().is_some_and(|last| is_reasoning(last))) {
            items.extend(inserted_message(WITHHELD, items.len()));
        }
        let mut edits = Edits::default();
        let mut set = vec![("output", format!("[{}]", items.join(",")))];
        if let Some(ending) = self.ending() {
            let (status, details) = status(ending);
            set.push(("status", json::to_text(status)));
            set.push(("incomplete_details", json::to_text(&details)));
        }
        edits.edit_object(source, source, &members, &["output_text"], &set);
        edits.apply(raw, out);
    }
}

/// Lets a text that goes before one of its kind that was removed take its place, as it does in a stream, where it is
/// written into the part that is open.
fn said_in_place(frame: &Frame, actions: &[SlotAction], insertions: &[Insertion]) -> (Vec<SlotAction>, Vec<Insertion>) {
    let mut edited = actions.to_vec();
    let mut rest = Vec::new();
    for insertion in insertions {
        let place = frame.slots.get(insertion.before).zip(edited.get_mut(insertion.before));
        match (&insertion.chunk, place) {
            (Chunk::Text { kind, text, .. }, Some((slot, action))) if slot.kind == *kind && !text.is_empty() => match action {
                SlotAction::Remove => *action = SlotAction::Replace(text.clone()),
                SlotAction::Replace(said) if actions.get(insertion.before) == Some(&SlotAction::Remove) => said.push_str(text),
                _ => rest.push(insertion.clone()),
            },
            _ => rest.push(insertion.clone()),
        }
    }
    (edited, rest)
}

/// The item `element` with its actions; `None` if it does not leave.
fn edited(position: usize, element: &str, frame: &Frame, actions: &[SlotAction]) -> Option<String> {
    let mut item = Item::new(Some(0), element);
    let element = Element::new(element);
    for (place, action) in Reading::of(frame).places.iter().zip(of_slots(frame, actions)) {
        let Place { element: of, part, .. } = *place;
        if of != position {
            continue;
        }
        if part.is_none() && *action == SlotAction::Remove {
            return None;
        }
        let received = text_at(&item, &element, *place);
        item.receive(*place, action, &received);
    }
    item.texts.iter_mut().filter(|sent| sent.is_withheld()).for_each(|sent| sent.text.push_str(WITHHELD));
    let mut edits = Edits::default();
    item.repeat(element.json, &element, &mut edits);
    Some(apply(element.json, edits))
}

fn inserted_item(chunk: &Chunk, position: usize) -> Option<String> {
    match chunk {
        Chunk::Text { text, .. } => inserted_message(text, position),
        Chunk::ToolCall { call_id, name, arguments, free_form, .. } => {
            Some(call(&inserted_id("fc", position), "completed", call_id, name, arguments, *free_form))
        }
    }
}

fn inserted_message(text: &str, position: usize) -> Option<String> {
    let parts = [DecodedEvent::new(PartKey::Text(0), text)];
    (!text.is_empty()).then(|| message(&inserted_id("msg", position), "completed", &parts))
}
