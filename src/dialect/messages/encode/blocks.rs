//! Writes what becomes of content blocks.

use super::{Encoder, OpenBlock, says_text, start_value, text_member};
use crate::block::BlockKind;
use crate::dialect::again::Besides;
use crate::dialect::framing::{WITHHELD, with_data};
use crate::dialect::messages::is_empty_input;
use crate::dialect::{Slot, SlotAction};
use crate::wire::json::{self, Edits};

impl Encoder {
    pub(super) fn slot(&mut self, raw: &[u8], slot: &Slot, action: &SlotAction, out: &mut Vec<u8>) {
        if slot.starts {
            return self.start(raw, slot, action, out);
        }
        let message = self.message.get_or_insert_default();
        message.lost |= *action == SlotAction::Remove;
        // What belongs to a block that the client does not have cannot leave.
        let Some(position) = message.open.iter().position(|open| open.block == slot.block) else {
            return;
        };
        if slot.stops { self.stop(raw, position, action, out) } else { self.delta(raw, position, action, out) }
    }

    pub(super) fn start(&mut self, raw: &[u8], slot: &Slot, action: &SlotAction, out: &mut Vec<u8>) {
        let in_order = slot.block.0 == self.begun;
        self.begun = self.begun.saturating_add(1);
        let message = self.message.get_or_insert_default();
        message.renumbers |= self.numbers_by_place || !in_order || *action == SlotAction::Remove;
        if *action == SlotAction::Remove {
            message.lost = true;
            if slot.kind == BlockKind::ToolCall {
                message.calls_removed = message.calls_removed.saturating_add(1);
            }
            return;
        }
        if slot.kind == BlockKind::ToolCall {
            message.calls_sent = message.calls_sent.saturating_add(1);
        }
        message.has_content |= slot.kind.is_tool_call() || slot.kind == BlockKind::ToolResult;
        let mut edits = Edits::default();
        let mut own_index = message.next_index;
        let mut own_text_is_empty = true;
        with_data(raw, |data| {
            let Ok(source) = core::str::from_utf8(data) else {
                return;
            };
            let fields = json::members(source);
            let index_text = json::member(&fields, "index");
            own_index = index_text.and_then(|index| index.parse().ok()).unwrap_or(own_index);
            if let Some(index_text) = index_text.filter(|_| message.renumbers && own_index != message.next_index) {
                edits.replace(json::span(source, index_text), message.next_index.to_string());
            }
            let block = json::member(&fields, "content_block").map(json::members).unwrap_or_default();
            let own_text = match slot.kind {
                BlockKind::Text | BlockKind::Reasoning => {
                    json::member(&block, text_member(slot.kind)).filter(|text| !json::string(text).is_empty())
                }
                kind if kind.is_tool_call() => json::member(&block, "input").filter(|input| !is_empty_input(input)),
                _ => None,
            };
            own_text_is_empty = own_text.is_none();
            if let (Some(own_text), SlotAction::Replace(text)) = (own_text, action) {
                edits.replace(json::span(source, own_text), start_value(slot.kind, text));
            }
        });
        let index = if message.renumbers { message.next_index } else { own_index };
        message.next_index = message.next_index.saturating_add(1);
        let has_text = slot.kind == BlockKind::Text && !own_text_is_empty && action != &SlotAction::Replace(String::new());
        message.has_content |= has_text;
        message.open.push(OpenBlock {
            block: slot.block,
            kind: slot.kind,
            index,
            upstream_index: own_index,
            renumbered: index != own_index,
            has_text,
            lost: false,
        });
        let position = message.open.len().saturating_sub(1);
        self.write_edited(raw, edits, out);
        if let (SlotAction::Replace(text), true) = (action, own_text_is_empty) {
            self.write_delta(position, text, out);
        }
    }

    fn delta(&mut self, raw: &[u8], position: usize, action: &SlotAction, out: &mut Vec<u8>) {
        let Some(message) = &mut self.message else {
            return;
        };
        let Some(open) = message.open.get_mut(position) else {
            return;
        };
        if *action == SlotAction::Keep {
            if open.kind == BlockKind::Text && !open.has_text {
                open.has_text = says_text(raw);
                message.has_content |= open.has_text;
            }
            if !open.renumbered {
                return self.boundary.verbatim(raw, out);
            }
        }
        let mut edits = Edits::default();
        match action {
            // What is not known is not edited.
            SlotAction::Replace(_) if open.kind == BlockKind::Unknown => return,
            SlotAction::Remove => {
                open.lost = true;
                return;
            }
            SlotAction::Keep => {}
            SlotAction::Replace(text) => {
                let again = if open.renumbered { None } else { self.replaced.find(raw) };
                if let Some(own) = again.filter(|_| !text.is_empty()) {
                    open.has_text = true;
                    message.has_content = true;
                    return self.boundary.replaced(raw, &own, text, out);
                }
                let mut replaced = false;
                with_data(raw, |data| {
                    let Ok(source) = core::str::from_utf8(data) else {
                        return;
                    };
                    let fields = json::members(source);
                    let delta = json::member(&fields, "delta").map(json::members).unwrap_or_default();
                    let own_text = match json::member(&delta, "type").map(json::string).as_deref() {
                        Some("text_delta") => json::member(&delta, "text"),
                        Some("thinking_delta") => json::member(&delta, "thinking"),
                        Some("input_json_delta") => json::member(&delta, "partial_json"),
                        _ => None,
                    };
                    if let Some(own_text) = own_text {
                        edits.replace(json::span(source, own_text), json::to_text(text));
                        replaced = true;
                    }
                });
                if replaced && text.is_empty() {
                    open.lost = true;
                    return;
                }
                if replaced {
                    open.has_text = true;
                    message.has_content = true;
                    if !open.renumbered {
                        return self.write_replaced(raw, &edits, out);
                    }
                } else {
                    self.write_delta(position, text, out);
                }
            }
        }
        self.write_renumbered(raw, position, edits, out);
    }

    /// Writes an upstream's delta with another text, and learns how.
    fn write_replaced(&mut self, raw: &[u8], edits: &Edits, out: &mut Vec<u8>) {
        self.boundary.close(out);
        let written_before = out.len();
        with_data(raw, |data| {
            let mut edited = Vec::with_capacity(data.len());
            edits.apply(data, &mut edited);
            self.boundary.with_data(raw, &edited, out);
            self.replaced.learn(raw, data, edits, "", Besides::Nothing, out.get(written_before..).unwrap_or_default());
        });
    }

    fn stop(&mut self, raw: &[u8], position: usize, action: &SlotAction, out: &mut Vec<u8>) {
        if let SlotAction::Replace(text) = action {
            self.write_delta(position, text, out);
        }
        let open = self.message.as_ref().and_then(|message| message.open.get(position)).copied();
        if open.is_some_and(|open| open.kind == BlockKind::Text && open.lost && !open.has_text) {
            self.write_delta(position, WITHHELD, out);
        }
        self.write_renumbered(raw, position, Edits::default(), out);
        if let Some(message) = &mut self.message {
            message.open.retain(|candidate| Some(candidate.block) != open.map(|open| open.block));
        }
        self.release_waiting(out);
    }
}
