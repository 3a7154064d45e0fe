//! Writes the stream of responses.

mod begin;
mod done;
mod end;
mod insert;

use super::client_view::Item;
use super::output::Identity;
use super::rewrite::replace_text;
use super::{Begins, EventKind, Reading};
use crate::block::Chunk;
use crate::dialect::framing::{EventBoundary, with_data};
use crate::dialect::{Ending, Frame, FrameRole, SlotAction};
use crate::wire::json::{self, Edits};

/// An item of Weir's own.
#[derive(Debug)]
struct InsertedItem {
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
    inserted_items: Vec<InsertedItem>,
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
    /// What the end of a whole response is to say, whatever the upstream's.
    forced: Option<Ending>,
}

impl Encoder {
    /// An encoder whose own response bears this identity.
    pub(in crate::dialect) fn with_identity(identity: Identity) -> Self {
        Self { identity, ..Self::default() }
    }

    pub(crate) const fn set_ending(&mut self, ending: Ending) {
        self.forced = Some(ending);
    }

    pub(super) const fn ending(&self) -> Option<Ending> {
        self.forced
    }

    pub(crate) const fn number_by_place(&mut self) {
        self.renumbers_items = true;
    }

    pub(crate) fn event(&mut self, raw: &[u8], frame: &Frame, actions: &[SlotAction], out: &mut Vec<u8>) {
        if self.ended {
            return;
        }
        let reading = Reading::of(frame);
        let is_of_output = !matches!(reading.event, EventKind::Foreign | EventKind::Created | EventKind::Lifecycle);
        if is_of_output && !core::mem::replace(&mut self.begun, true) {
            // Nobody announced the response.
            self.release_waiting(out);
        }
        match (frame.role, reading.event) {
            (FrameRole::Free, _) => self.boundary.verbatim(raw, out),
            (_, EventKind::Surplus) => self.withhold(),
            (FrameRole::Unknown, _) if !is_kept(frame, actions) => self.withhold(),
            (FrameRole::Failure, _) => {
                self.leave(raw, reading, None, Edits::default(), out);
                self.terminated = true;
            }
            (_, EventKind::Foreign) => self.leave(raw, reading, None, Edits::default(), out),
            (_, EventKind::Lifecycle) => self.lifecycle(raw, reading, out),
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
        let moved = index.filter(|_| index != reading.output_index);
        if edits.is_empty() && !is_renumbered && moved.is_none() {
            return self.boundary.verbatim(raw, out);
        }
        let mut edited = Vec::with_capacity(raw.len());
        with_data(raw, |data| {
            let source = core::str::from_utf8(data).unwrap_or_default();
            let members = json::members(source);
            for (key, number) in [("sequence_number", sequence), ("output_index", moved)] {
                let Some(number) = number else { continue };
                let front = source.find('{').map_or(0, |brace| brace.saturating_add(1));
                match members.iter().find(|member| member.key == key) {
                    Some(member) => edits.replace(json::span(source, member.value), number.to_string()),
                    None => edits.insert(front, format!("\"{key}\":{number},")),
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

    fn of_item(&mut self, raw: &[u8], frame: &Frame, actions: &[SlotAction], out: &mut Vec<u8>) {
        let reading = Reading::of(frame);
        if reading.begins != Begins::No {
            self.begin_unannounced(raw, frame, actions, out);
        }
        let Some(index) = self.items.get(reading.item).and_then(|item| item.index) else { return self.withhold() };
        let action = first(actions);
        match reading.event {
            EventKind::Delta => self.delta(raw, reading, action, index, out),
            EventKind::PartAdded | EventKind::CommandAdded => self.text_added(raw, reading, action, index, out),
            EventKind::TextDone | EventKind::CommandDone => self.text_done(raw, frame, actions, index, out),
            EventKind::PartDone => self.part_done(raw, frame, actions, index, out),
            EventKind::ItemDone => self.item_done(raw, frame, actions, index, out),
            EventKind::Remark | EventKind::Status => {
                let is_about_other_text = reading.event == EventKind::Remark
                    && self.items.get(reading.item).is_some_and(|item| item.has_changed(reading.part));
                if !is_kept(frame, actions) || is_about_other_text {
                    return self.withhold();
                }
                self.leave(raw, reading, Some(index), Edits::default(), out);
            }
            EventKind::Foreign
            | EventKind::Created
            | EventKind::Lifecycle
            | EventKind::ItemAdded
            | EventKind::Terminal
            | EventKind::Surplus => self.withhold(),
        }
    }

    fn delta(&mut self, raw: &[u8], reading: &Reading, action: &SlotAction, index: u32, out: &mut Vec<u8>) {
        let Some(sent) = self.items.get_mut(reading.item).and_then(|item| item.text(reading.part)) else {
            return self.withhold();
        };
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
    fn text_added(&mut self, raw: &[u8], reading: &Reading, action: &SlotAction, index: u32, out: &mut Vec<u8>) {
        let Some(item) = self.items.get_mut(reading.item) else { return self.withhold() };
        let is_command = reading.event == EventKind::CommandAdded;
        let separator = if is_command && reading.text.starts_with('\n') { "\n" } else { "" };
        let Some(sent) = item.text(reading.part) else { return self.withhold() };
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
            let told = text.to_owned();
            sent.text.push_str(text);
            edits = edits_of(raw, |source, edits| {
                if is_command {
                    edit_text(source, "command", &told, edits);
                } else if let Some(part) = json::member(&json::members(source), "part") {
                    replace_text(source, part, &json::members(part), reading.part.member(), &told, edits);
                }
            });
        }
        item.command_start = begins_at;
        self.leave(raw, reading, Some(index), edits, out);
    }
}

/// The action of a frame's only slot. What nobody has decided about does not leave.
fn first(actions: &[SlotAction]) -> &SlotAction {
    actions.first().unwrap_or(&SlotAction::Remove)
}

/// The actions of all slots of a frame.
pub(super) fn of_slots<'a>(frame: &Frame, actions: &'a [SlotAction]) -> impl Iterator<Item = &'a SlotAction> {
    actions.iter().chain(core::iter::repeat(&SlotAction::Remove)).take(frame.slots.len())
}

/// Whether all of a frame was decided to leave as it came.
pub(super) fn is_kept(frame: &Frame, actions: &[SlotAction]) -> bool {
    of_slots(frame, actions).all(|action| *action == SlotAction::Keep)
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

#[cfg(test)]
mod tests;
