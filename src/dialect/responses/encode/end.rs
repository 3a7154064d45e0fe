//! Writes the end of the stream, which repeats what was sent.

use super::insert::{delta_type, part_event};
use super::{Encoder, edits_of, is_kept, of_slots};
use crate::block::BlockKind;
use crate::dialect::framing::WITHHELD;
use crate::dialect::responses::client_view::{ClientText, Item, text_at};
use crate::dialect::responses::output::{DecodedEvent, Event, Failure, response, status};
use crate::dialect::responses::rewrite::{Element, apply, ended_response};
use crate::dialect::responses::{PartKey, Reading};
use crate::dialect::{Ending, Frame, SlotAction};
use crate::wire::json::{self, Edits};

impl Encoder {
    /// The end of the response, which repeats all of it.
    pub(super) fn terminal(&mut self, raw: &[u8], frame: &Frame, actions: &[SlotAction], out: &mut Vec<u8>) {
        let reading = Reading::of(frame);
        if core::mem::take(&mut self.owes_message) {
            self.write_message(WITHHELD, out);
        }
        self.terminated = true;
        let is_kept = reading.only_repeats && !reading.claims_output && is_kept(frame, actions);
        if is_kept && self.inserted_items.is_empty() && self.items.iter().all(Item::is_as_it_came) {
            return self.leave(raw, reading, None, Edits::default(), out);
        }
        let edits = edits_of(raw, |source, edits| {
            let response = json::member(&json::members(source), "response").unwrap_or_default();
            self.edit_output(source, response, frame, actions, edits);
        });
        self.leave(raw, reading, None, edits, out);
    }

    /// Lets the output of `response` be what was sent.
    fn edit_output(&mut self, source: &str, response: &str, frame: &Frame, actions: &[SlotAction], edits: &mut Edits) {
        let members = json::members(response);
        let output = json::member(&members, "output").map(json::elements);
        let Some(elements) = output.filter(|elements| !elements.is_empty() || self.items.is_empty()) else {
            // The upstream does not repeat its items.
            return edits.edit_object(source, response, &members, &["output_text"], &[]);
        };
        let mut items: Vec<(u32, String)> = Vec::new();
        let mut is_changed = !self.inserted_items.is_empty();
        for (position, element) in elements.iter().enumerate() {
            let known = Reading::of(frame).known.get(position).copied().flatten();
            let mut fresh = Item::new(Some(u32::MAX), element);
            let element = Element::new(element);
            let item = match known {
                Some(number) => self.items.get_mut(number).unwrap_or(&mut fresh),
                None => &mut fresh,
            };
            for (place, action) in Reading::of(frame).places.iter().zip(of_slots(frame, actions)) {
                if place.element != position {
                    continue;
                }
                if place.part.is_none() && *action == SlotAction::Remove && known.is_none() {
                    item.index = None;
                }
                let received = text_at(item, &element, *place);
                item.receive(*place, action, &received);
            }
            item.texts.iter_mut().filter(|sent| sent.is_withheld()).for_each(|sent| sent.text.push_str(WITHHELD));
            let Some(index) = item.index else {
                is_changed = true;
                continue;
            };
            let mut of_item = Edits::default();
            item.repeat(element.json, &element, &mut of_item);
            is_changed |= !of_item.is_empty();
            items.push((index, apply(element.json, of_item)));
        }
        if is_changed {
            let set = [("output", self.output(items))];
            edits.edit_object(source, response, &members, &["output_text"], &set);
        } else if Reading::of(frame).claims_output {
            edits.edit_object(source, response, &members, &["output_text"], &[]);
        }
    }

    /// The upstream's items with our own between them, as a JSON array.
    fn output(&self, mut items: Vec<(u32, String)>) -> String {
        for own in &self.inserted_items {
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
        let output = self.output(
            self.items.iter().filter(|item| item.is_announced).filter_map(|item| Some((item.index?, item.to_json()))).collect(),
        );
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
    pub(super) fn close(&mut self, number: usize, ending: Ending, out: &mut Vec<u8>) {
        let Some(item) = self.items.get_mut(number).filter(|item| item.is_announced && !item.is_done) else { return };
        let Some(index) = item.index else { return };
        let id = item.id();
        let texts = core::mem::take(&mut item.texts);
        // Of a call that has left in part nothing is known but that it is not whole.
        let is_whole = ending == Ending::Stop && item.kind.payload().is_none();
        item.status = if is_whole { "completed" } else { "incomplete" }.to_owned();
        for sent in texts {
            let ClientText { key, mut text, is_done, changed } = sent;
            if key != PartKey::Payload && !is_done {
                if text.is_empty() && key.kind() != BlockKind::Reasoning {
                    text.push_str(WITHHELD);
                    let event = part_event(delta_type(key), &id, index, key);
                    self.write(Event { delta: Some(&text), ..event }, out);
                }
                let (whole, logprobs) = (Some(text.as_str()), (key.kind() == BlockKind::Text).then_some([]));
                let event = part_event(done_type(key), &id, index, key);
                self.write(
                    match key {
                        PartKey::Refusal(_) => Event { refusal: whole, ..event },
                        _ => Event { text: whole, logprobs, ..event },
                    },
                    out,
                );
                let part = Some(DecodedEvent::new(key, &text));
                self.write(Event { part, logprobs: None, ..part_event(part_done_type(key), &id, index, key) }, out);
            }
            if let Some(item) = self.items.get_mut(number) {
                item.texts.push(ClientText { key, text, changed, is_done });
            }
        }
        let Some(item) = self.items.get_mut(number) else { return };
        let json = item.to_json();
        self.write_item("response.output_item.done", index, &json, out);
    }

    pub(crate) const fn reopen(&mut self) {
        self.terminated = false;
        self.ended = false;
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

const fn done_type(key: PartKey) -> &'static str {
    match key {
        PartKey::Refusal(_) => "response.refusal.done",
        PartKey::Summary(_) => "response.reasoning_summary_text.done",
        PartKey::Reasoning(_) => "response.reasoning_text.done",
        PartKey::Text(_) | PartKey::Transcript(_) | PartKey::Payload => "response.output_text.done",
    }
}

const fn part_done_type(key: PartKey) -> &'static str {
    match key {
        PartKey::Summary(_) => "response.reasoning_summary_part.done",
        _ => "response.content_part.done",
    }
}
