//! Writes whole bodies of responses.

use super::encode::Encoder;
use super::output::{Call, DecodedEvent, message, own_id};
use super::repeat::{Element, apply, is_reasoning};
use super::sent::{Item, text_at};
use super::{PartKey, Place, Reading};
use crate::block::{BlockKind, Chunk};
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
        let untouched = insertions.is_empty() && actions.iter().all(|action| *action == SlotAction::Keep);
        let Some(source) = core::str::from_utf8(raw).ok().filter(|_| !untouched) else {
            return out.extend_from_slice(raw);
        };
        let members = json::members(source);
        let elements = json::member(&members, "output").map(json::elements).unwrap_or_default();
        let mut items: Vec<String> = Vec::new();
        let mut inserted: usize = 0;
        let mut was_removed = false;
        for (position, element) in elements.iter().enumerate() {
            let first_slot = Reading::of(frame).places.iter().position(|place| place.element == position);
            for insertion in insertions.iter().skip(inserted).take_while(|insertion| Some(insertion.before) <= first_slot) {
                inserted = inserted.saturating_add(1);
                items.extend(own_item(&insertion.chunk, items.len()));
            }
            let kept = edited(position, element, frame, actions);
            // Reasoning must lead to something other than reasoning.
            let ends_in_reasoning = items.last().is_some_and(|last| is_reasoning(last));
            if ends_in_reasoning && was_removed && kept.as_deref().is_some_and(is_reasoning) {
                items.extend(own_message(WITHHELD, items.len()));
            }
            was_removed = kept.is_none();
            items.extend(kept);
        }
        for insertion in insertions.iter().skip(inserted) {
            items.extend(own_item(&insertion.chunk, items.len()));
        }
        if items.is_empty() || (was_removed && items.last().is_some_and(|last| is_reasoning(last))) {
            items.extend(own_message(WITHHELD, items.len()));
        }
        let mut edits = Edits::default();
        let set = [("output", format!("[{}]", items.join(",")))];
        edits.edit_object(source, source, &members, &["output_text"], &set);
        edits.apply(raw, out);
    }
}

/// The item `element` with its actions; `None` if it does not leave.
fn edited(position: usize, element: &str, frame: &Frame, actions: &[SlotAction]) -> Option<String> {
    let mut item = Item::new(Some(0), element);
    let element = Element::new(element);
    for ((slot, place), action) in frame.slots.iter().zip(&Reading::of(frame).places).zip(actions) {
        let Place { element: of, part, .. } = *place;
        if of != position {
            continue;
        }
        if part.is_none() && *action == SlotAction::Remove {
            return None;
        }
        let came = text_at(&item, &element, *place, slot.kind);
        item.come(*place, slot.kind, action, &came);
    }
    item.texts.iter_mut().filter(|sent| sent.is_withheld()).for_each(|sent| sent.text.push_str(WITHHELD));
    let mut edits = Edits::default();
    item.repeat(element.json, &element, &mut edits);
    Some(apply(element.json, edits))
}

fn own_item(chunk: &Chunk, position: usize) -> Option<String> {
    match chunk {
        Chunk::Text { text, .. } => own_message(text, position),
        Chunk::ToolCall { call_id, name, arguments, free_form, .. } => {
            let id = own_id("fc", position);
            let call = Call {
                id: &id,
                r#type: "function_call",
                status: "completed",
                call_id,
                name,
                arguments: Some(arguments),
                input: None,
            };
            Some(json::to_text(&if *free_form {
                Call { r#type: "custom_tool_call", arguments: None, input: Some(arguments), ..call }
            } else {
                call
            }))
        }
    }
}

fn own_message(text: &str, position: usize) -> Option<String> {
    let parts = [DecodedEvent::new(PartKey::Content(0), BlockKind::Text, text)];
    (!text.is_empty()).then(|| message(&own_id("msg", position), "completed", &parts))
}
