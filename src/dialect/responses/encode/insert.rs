//! Writes what policies add to the stream.

use super::{Encoder, InsertedItem};
use crate::block::{BlockKind, Chunk};
use crate::dialect::TooLate;
use crate::dialect::responses::client_view::Item;
use crate::dialect::responses::output::{DecodedEvent, Event, call, inserted_id, message};
use crate::dialect::responses::{List, PartKey};

impl Encoder {
    /// Writes a delta of our own into a part of an item of the upstream.
    pub(super) fn write_delta(&mut self, index: u32, item: usize, key: PartKey, text: &str, out: &mut Vec<u8>) {
        let id = self.items.get(item).map(Item::id).unwrap_or_default();
        let event = Event { delta: Some(text), ..part_event(delta_type(key), &id, index, key) };
        self.write(event, out);
    }

    pub(super) fn write(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        self.renumbers_events = true;
        let sequence_number = self.next_sequence;
        self.next_sequence = sequence_number.saturating_add(1);
        self.boundary.close(out);
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

    pub(super) fn release_waiting(&mut self, out: &mut Vec<u8>) {
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
            let sent = item.texts.iter_mut().rev().find(|sent| sent.key.kind() == kind && !sent.is_done)?;
            sent.changed = true;
            sent.text.push_str(text);
            Some((number, index, sent.key))
        });
        match open {
            Some((number, index, key)) => self.write_delta(index, number, key, text, out),
            // Reasoning stands in items that only the provider can make.
            None if kind == BlockKind::Reasoning => {}
            None => self.write_message(text, out),
        }
    }

    fn begin_inserted_item(&mut self) -> u32 {
        let index = self.next_index;
        self.next_index = index.saturating_add(1);
        self.renumbers_items = true;
        self.owes_message = false;
        self.ends_in_reasoning = false;
        index
    }

    pub(super) fn write_message(&mut self, text: &str, out: &mut Vec<u8>) {
        let index = self.begin_inserted_item();
        let id = inserted_id("msg", index);
        let key = PartKey::Text(0);
        let of_part = |r#type| part_event(r#type, &id, index, key);
        let part = |text| Some(DecodedEvent::new(key, text));
        let json = message(&id, "completed", &[DecodedEvent::new(key, text)]);
        self.write_item("response.output_item.added", index, &message(&id, "in_progress", &[]), out);
        self.write(Event { part: part(""), ..of_part("response.content_part.added") }, out);
        self.write(Event { delta: Some(text), ..of_part("response.output_text.delta") }, out);
        self.write(Event { text: Some(text), ..of_part("response.output_text.done") }, out);
        self.write(Event { part: part(text), logprobs: None, ..of_part("response.content_part.done") }, out);
        self.write_item("response.output_item.done", index, &json, out);
        self.inserted_items.push(InsertedItem { index, json });
    }

    fn write_call(&mut self, call_id: &str, name: &str, arguments: &str, free_form: bool, out: &mut Vec<u8>) {
        let index = self.begin_inserted_item();
        let id = inserted_id("fc", index);
        let item = |status, text| call(&id, status, call_id, name, text, free_form);
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
        self.inserted_items.push(InsertedItem { index, json });
    }

    pub(super) fn write_item(&mut self, r#type: &'static str, index: u32, json: &str, out: &mut Vec<u8>) {
        let item = serde_json::from_str(json).ok();
        self.write(Event { r#type, output_index: Some(index), item, ..Event::default() }, out);
    }
}

/// An event about a part of an item.
pub(super) fn part_event<'a>(r#type: &'static str, id: &'a str, index: u32, key: PartKey) -> Event<'a> {
    let (content_index, summary_index) = match key.place() {
        Some((List::Content, index)) => (Some(index), None),
        Some((List::Summary, index)) => (None, Some(index)),
        None => (None, None),
    };
    let logprobs = r#type.starts_with("response.output_text").then_some([]);
    Event { r#type, item_id: Some(id), output_index: Some(index), content_index, summary_index, logprobs, ..Event::default() }
}

pub(super) const fn delta_type(key: PartKey) -> &'static str {
    match key {
        PartKey::Refusal(_) => "response.refusal.delta",
        PartKey::Summary(_) => "response.reasoning_summary_text.delta",
        PartKey::Reasoning(_) => "response.reasoning_text.delta",
        PartKey::Transcript(_) => "response.audio.transcript.delta",
        PartKey::Text(_) | PartKey::Payload => "response.output_text.delta",
    }
}
