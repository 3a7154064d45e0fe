//! Writes the stream of responses.

mod end;
mod own;

use super::output::Identity;
use super::repeat::{Element, replace_text};
use super::sent::{Item, text_at};
use super::{EventKind, PartKey, Reading};
use crate::block::{BlockKind, Chunk};
use crate::dialect::framing::{EventBoundary, WITHHELD, with_data};
use crate::dialect::{Frame, FrameRole, SlotAction};
use crate::wire::json::{self, Edits};

/// Longest beginning of a response that is kept for its end, in bytes: it repeats instructions and tools.
const MAX_BEGINNING_BYTES: usize = 256 * 1024;

/// An item of Weir's own.
#[derive(Debug)]
struct OwnItem {
    index: u32,
    json: String,
}

/// Writes the frames of one response.
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
    boundary: EventBoundary,
}

impl Encoder {
    /// An encoder whose own response bears this identity.
    pub(in crate::dialect) fn with_identity(identity: Identity) -> Self {
        Self { identity, ..Self::default() }
    }

    pub(crate) const fn number_by_place(&mut self) {
        self.renumbers_items = true;
    }

    pub(crate) fn event(&mut self, raw: &[u8], frame: &Frame, actions: &[SlotAction], out: &mut Vec<u8>) {
        if self.ended {
            return;
        }
        let reading = Reading::of(frame);
        if matches!(reading.event, EventKind::ItemAdded | EventKind::Terminal) && !core::mem::replace(&mut self.begun, true) {
            // Nobody announced the response.
            self.release_waiting(out);
        }
        match (frame.role, reading.event) {
            (FrameRole::Free, _) => self.boundary.verbatim(raw, out),
            (FrameRole::Unknown, _) if actions.iter().any(|action| *action != SlotAction::Keep) => self.withhold(),
            (FrameRole::Failure, _) => {
                self.leave(raw, reading, None, Edits::default(), out);
                self.terminated = true;
            }
            (_, EventKind::Foreign) => self.leave(raw, reading, None, Edits::default(), out),
            (_, EventKind::Created) => self.created(raw, reading, out),
            (_, EventKind::ItemAdded) => self.item_added(raw, frame, actions, out),
            (_, EventKind::Terminal) => self.terminal(raw, frame, actions, out),
            _ => self.of_item(raw, frame, actions, out),
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
            return self.boundary.verbatim(raw, out);
        }
        let mut edited = Vec::with_capacity(raw.len());
        with_data(raw, |data| {
            let source = core::str::from_utf8(data).unwrap_or_default();
            let members = json::members(source);
            for (key, number) in [("sequence_number", sequence), ("output_index", moved)] {
                if let (Some(literal), Some(number)) = (json::member(&members, key), number) {
                    edits.replace(json::span(source, literal), number.to_string());
                }
            }
            edits.apply(data, &mut edited);
        });
        self.boundary.with_data(raw, &edited, out);
    }

    /// An event of the upstream does not leave.
    pub(crate) const fn withhold(&mut self) {
        self.renumbers_events = true;
    }

    fn created(&mut self, raw: &[u8], reading: &Reading, out: &mut Vec<u8>) {
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

    fn item_added(&mut self, raw: &[u8], frame: &Frame, actions: &[SlotAction], out: &mut Vec<u8>) {
        let reading = Reading::of(frame);
        let action = actions.first().unwrap_or(&SlotAction::Keep);
        let leaves = *action != SlotAction::Remove;
        let mut item = Item::new(None, "{}");
        let edits = edits_of(raw, |source, edits| {
            let element = json::member(&json::members(source), "item").unwrap_or_default();
            item = Item::new(None, element);
            if let (Some(payload), SlotAction::Replace(text)) = (item.kind.payload(), action) {
                payload.write(source, element, text, edits);
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
            sent.take(action, &reading.text);
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

    fn of_item(&mut self, raw: &[u8], frame: &Frame, actions: &[SlotAction], out: &mut Vec<u8>) {
        let reading = Reading::of(frame);
        let Some(index) = self.items.get(reading.item).and_then(|item| item.index) else { return self.withhold() };
        let action = actions.first().unwrap_or(&SlotAction::Keep);
        match reading.event {
            EventKind::Delta => self.delta(raw, frame, action, index, out),
            EventKind::PartAdded | EventKind::CommandAdded => self.text_added(raw, frame, action, index, out),
            EventKind::TextDone | EventKind::CommandDone | EventKind::PartDone | EventKind::ItemDone => {
                self.done(raw, frame, actions, index, out);
            }
            EventKind::Remark | EventKind::Status => {
                let is_about_other_text = reading.event == EventKind::Remark
                    && self.items.get(reading.item).is_some_and(|item| item.has_changed(reading.part));
                if *action != SlotAction::Keep || is_about_other_text {
                    return self.withhold();
                }
                self.leave(raw, reading, Some(index), Edits::default(), out);
            }
            EventKind::Foreign | EventKind::Created | EventKind::ItemAdded | EventKind::Terminal => {}
        }
    }

    fn delta(&mut self, raw: &[u8], frame: &Frame, action: &SlotAction, index: u32, out: &mut Vec<u8>) {
        let reading = Reading::of(frame);
        let kind = frame.slots.first().map_or(BlockKind::Other, |slot| slot.kind);
        let Some(sent) = self.items.get_mut(reading.item).and_then(|item| item.text(reading.part, kind)) else { return };
        sent.take(action, &reading.text);
        match action {
            SlotAction::Keep => self.leave(raw, reading, Some(index), Edits::default(), out),
            SlotAction::Replace(text) if !text.is_empty() => {
                let edits = edits_of(raw, |source, edits| edit_text(source, "delta", text, edits));
                self.leave(raw, reading, Some(index), edits, out);
            }
            SlotAction::Replace(_) | SlotAction::Remove => self.withhold(),
        }
    }

    /// The beginning of a part, or of a command: it stays, so that what follows is counted right.
    fn text_added(&mut self, raw: &[u8], frame: &Frame, action: &SlotAction, index: u32, out: &mut Vec<u8>) {
        let reading = Reading::of(frame);
        let kind = frame.slots.first().map_or(BlockKind::Other, |slot| slot.kind);
        let Some(item) = self.items.get_mut(reading.item) else { return };
        let is_command = reading.event == EventKind::CommandAdded;
        let separator = if is_command && reading.text.starts_with('\n') { "\n" } else { "" };
        let Some(sent) = item.text(reading.part, kind) else { return };
        let begins_at = sent.text.len().saturating_add(separator.len());
        match action {
            SlotAction::Keep => sent.take(action, &reading.text),
            SlotAction::Replace(_) | SlotAction::Remove => {
                sent.changed = true;
                sent.text.push_str(separator);
            }
        }
        let mut edits = Edits::default();
        if *action != SlotAction::Keep {
            let text = if let SlotAction::Replace(text) = action { text.as_str() } else { "" };
            let text = text.strip_prefix(separator).unwrap_or(text);
            sent.text.push_str(text);
            edits = edits_of(raw, |source, edits| {
                if is_command {
                    edit_text(source, "command", text, edits);
                } else if let Some(part) = json::member(&json::members(source), "part") {
                    sent.repeat(source, part, edits);
                }
            });
        }
        item.command_start = begins_at;
        self.leave(raw, reading, Some(index), edits, out);
    }

    /// A repetition: of a text, a part or an item.
    fn done(&mut self, raw: &[u8], frame: &Frame, actions: &[SlotAction], index: u32, out: &mut Vec<u8>) {
        let reading = Reading::of(frame);
        let is_item = reading.event == EventKind::ItemDone;
        if self.may_repeat(reading, actions) {
            return self.leave(raw, reading, Some(index), Edits::default(), out);
        }
        with_data(raw, |data| {
            let source = core::str::from_utf8(data).unwrap_or_default();
            let element = Element::new(json::member(&json::members(source), "item").unwrap_or_default());
            if let Some(item) = self.items.get_mut(reading.item) {
                for ((slot, place), action) in frame.slots.iter().zip(&reading.places).zip(actions) {
                    let came = match (is_item, place.differs || frame.slots.len() == 1) {
                        (true, _) => text_at(item, &element, *place, slot.kind),
                        (false, true) => reading.text.clone(),
                        (false, false) => String::new(),
                    };
                    item.come(*place, slot.kind, action, &came);
                }
            }
        });
        self.explain_withheld(reading, is_item, out);
        let Some(item) = self.items.get_mut(reading.item) else { return };
        let edits = edits_of(raw, |source, edits| {
            let members = json::members(source);
            match reading.event {
                EventKind::ItemDone => {
                    item.status.clone_from(&reading.status);
                    if let Some(element) = json::member(&members, "item").map(Element::new) {
                        if actions.first() != Some(&SlotAction::Remove) {
                            self.kept_item_bytes = item.keep_ended(&element, self.kept_item_bytes);
                        }
                        item.repeat(source, &element, edits);
                    }
                }
                EventKind::PartDone => {
                    let sent = item.texts.iter().find(|sent| sent.key == reading.part);
                    if let (Some(sent), Some(part)) = (sent, json::member(&members, "part")) {
                        sent.repeat(source, part, edits);
                    }
                }
                _ => item.repeat_text(source, reading, edits),
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

    /// Whether a repetition may leave as it came, since all that it repeats did; it is noted then.
    fn may_repeat(&mut self, reading: &Reading, actions: &[SlotAction]) -> bool {
        let Some(item) = self.items.get_mut(reading.item) else { return false };
        let is_kept = reading.only_repeats && actions.iter().all(|action| *action == SlotAction::Keep) && item.is_as_it_came();
        match reading.event {
            _ if !is_kept => return false,
            // Of other items it is kept how they ended.
            EventKind::ItemDone if !item.is_list_of_texts() => return false,
            EventKind::ItemDone => {
                item.is_done = true;
                item.status.clone_from(&reading.status);
            }
            EventKind::CommandDone => {}
            _ => {
                let sent = item.texts.iter_mut().find(|sent| sent.key == reading.part);
                sent.into_iter().for_each(|sent| sent.is_done = true);
            }
        }
        true
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
}

/// The edits of an event.
fn edits_of(raw: &[u8], edit: impl FnOnce(&str, &mut Edits)) -> Edits {
    let mut edits = Edits::default();
    with_data(raw, |data| edit(core::str::from_utf8(data).unwrap_or_default(), &mut edits));
    edits
}

fn edit_text(source: &str, key: &str, text: &str, edits: &mut Edits) {
    replace_text(source, source, &json::members(source), key, text, edits);
}
