//! Writes whole bodies of chat.completions.

use std::collections::BTreeMap;

use super::encode::{Choice, Encoder};
use super::output;
use super::splice::{self, ChoiceChange, SlotChange};
use crate::block::{BlockKind, Chunk};
use crate::dialect::framing::WITHHELD;
use crate::dialect::{Frame, FrameRole, Insertion, SlotAction};

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
            self.ending().is_none() && insertions.is_empty() && actions.iter().all(|action| *action == SlotAction::Keep);
        let Some(source) = core::str::from_utf8(raw).ok().filter(|_| !untouched) else {
            return out.extend_from_slice(raw);
        };
        if frame.role == FrameRole::Unknown {
            return output::failure("api_error", Some("content_withheld"), WITHHELD, out);
        }
        let mut choices: BTreeMap<u32, Choice> = BTreeMap::new();
        let mut changes: BTreeMap<u32, ChoiceChange<'_>> = BTreeMap::new();
        let mut slots = Vec::new();
        for (position, slot) in frame.slots.iter().enumerate() {
            let action = actions.get(position).unwrap_or(&SlotAction::Remove);
            choices.entry(slot.choice).or_default().note(slot, action);
            slots.push(SlotChange { action, call_index: None, continues_call: false, repeats: false });
        }
        for insertion in insertions {
            let (Chunk::Text { choice, .. } | Chunk::ToolCall { choice, .. }) = insertion.chunk;
            choices.entry(choice).or_default().note_added(&insertion.chunk);
            let change = changes.entry(choice).or_default();
            match &insertion.chunk {
                Chunk::Text { text, .. } if goes_before_content(frame, choice, insertion.before) => {
                    change.before.push_str(text);
                }
                Chunk::Text { text, .. } => change.after.push_str(text),
                Chunk::ToolCall { .. } => change.calls.push((insertion.before, &insertion.chunk, &insertion.extras)),
            }
        }
        for (index, choice) in &choices {
            let change = changes.entry(*index).or_default();
            change.choice = *index;
            if choice.was_emptied() {
                change.after.push_str(WITHHELD);
            }
            change.calls_left = choice.calls_before_end(self.ending());
        }
        let changes: Vec<ChoiceChange<'_>> = changes.into_values().collect();
        splice::splice(source, "message", &mut slots.into_iter(), &changes).edits.apply(raw, out);
    }
}

/// Whether an insertion stands before the first text of its choice.
fn goes_before_content(frame: &Frame, choice: u32, before: usize) -> bool {
    let first_text = frame.slots.iter().position(|slot| slot.choice == choice && slot.kind == BlockKind::Text);
    first_text.is_some_and(|first_text| before <= first_text)
}
