//! Writes whole bodies of messages.

use serde_json::value::RawValue;

use super::encode::{Encoder, action_of, corrected_reason, end_reason, keeps_all, start_value, text_member};
use super::output::{self, ContentBlock};
use crate::block::{BlockKind, Chunk};
use crate::dialect::framing::WITHHELD;
use crate::dialect::{Ending, Frame, FrameRole, Insertion, Slot, SlotAction};
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
        let untouched = self.ending().is_none() && insertions.is_empty() && keeps_all(frame, actions);
        let Some(source) = core::str::from_utf8(raw).ok().filter(|_| !untouched) else {
            return out.extend_from_slice(raw);
        };
        if frame.role == FrameRole::Unknown {
            return output::failure("api_error", WITHHELD, out);
        }
        let mut edits = Edits::default();
        edit_message(source, source, frame, actions, (insertions, self.ending()), &mut edits);
        edits.apply(raw, out);
    }
}

/// Edits the content and the stop reason of `message`, an object within `frame`.
pub(super) fn edit_message(
    source: &str,
    message: &str,
    frame: &Frame,
    actions: &[SlotAction],
    (insertions, ending): (&[Insertion], Option<Ending>),
    edits: &mut Edits,
) {
    let fields = json::members(message);
    let Some(content) = json::member(&fields, "content") else { return };
    let mut writer = ContentWriter::default();
    let elements = json::elements(content);
    for (position, (element, slot)) in elements.iter().zip(&frame.slots).enumerate() {
        writer.insert(insertions.iter().filter(|insertion| insertion.before == position));
        writer.element(element, slot, action_of(actions, position));
    }
    writer.insert(insertions.iter().filter(|insertion| insertion.before >= elements.len()));
    if writer.lost && !writer.has_content && frame.role != FrameRole::Opening {
        writer.text(WITHHELD);
    }
    edits.replace(json::span(source, content), format!("[{}]", writer.elements.join(",")));
    let is_detail_kept = frame.slots.len() <= elements.len() || *action_of(actions, elements.len()) == SlotAction::Keep;
    if let Some(details) = json::member(&fields, "stop_details").filter(|_| !is_detail_kept) {
        edits.replace(json::span(source, details), "null");
    }
    let emptied = writer.calls_removed && writer.first_call.is_none();
    if let Some(reason) = json::member(&fields, "stop_reason")
        && let Some(corrected) = ending
            .map(|ending| end_reason(ending, writer.first_call.is_some()))
            .or_else(|| corrected_reason(&json::string(reason), emptied, writer.calls_added))
    {
        edits.replace(json::span(source, reason), json::to_text(corrected));
    }
}

/// Puts the elements of `content` together anew.
#[derive(Default)]
struct ContentWriter {
    elements: Vec<String>,
    /// Where the first tool call of the client stands: no text may follow it.
    first_call: Option<usize>,
    calls_removed: bool,
    calls_added: bool,
    has_content: bool,
    lost: bool,
}

impl ContentWriter {
    fn element(&mut self, element: &str, slot: &Slot, action: &SlotAction) {
        let (key, is_text) = (text_member(slot.kind), matches!(slot.kind, BlockKind::Text | BlockKind::Reasoning));
        let fields = json::members(element);
        let own = json::member(&fields, key);
        let replacement = match action {
            SlotAction::Keep => None,
            // A text block may not be empty.
            SlotAction::Replace(text) if !(is_text && text.is_empty()) => Some(text),
            SlotAction::Replace(_) | SlotAction::Remove => {
                self.lost = true;
                self.calls_removed |= slot.kind == BlockKind::ToolCall;
                return;
            }
        };
        self.has_content |= match slot.kind {
            BlockKind::Text => replacement.is_some() || own.is_some_and(|text| !json::string(text).is_empty()),
            BlockKind::ToolCall | BlockKind::ServerToolCall | BlockKind::ToolResult => true,
            BlockKind::Refusal | BlockKind::Reasoning | BlockKind::Unknown | BlockKind::Other => false,
        };
        if slot.kind == BlockKind::ToolCall {
            self.first_call.get_or_insert(self.elements.len());
        }
        let mut edited = element.to_owned();
        if let Some(text) = replacement.filter(|_| is_text || slot.kind.is_tool_call()) {
            let mut edits = Edits::default();
            edits.edit_object(element, element, &fields, &[], &[(key, start_value(slot.kind, text))]);
            let mut bytes = Vec::with_capacity(element.len());
            edits.apply(element.as_bytes(), &mut bytes);
            edited = String::from_utf8(bytes).unwrap_or(edited);
        }
        match &mut self.first_call {
            // A call that a policy has sent before it: no text may follow it.
            Some(position) if slot.kind == BlockKind::Text && self.calls_added => {
                self.elements.insert((*position).min(self.elements.len()), edited);
                *position = position.saturating_add(1);
            }
            _ => self.elements.push(edited),
        }
    }

    fn insert<'i>(&mut self, insertions: impl Iterator<Item = &'i Insertion>) {
        for insertion in insertions {
            match &insertion.chunk {
                Chunk::Text { text, .. } => self.text(text),
                Chunk::ToolCall { call_id, name, arguments, .. } => self.call(call_id, name, arguments),
            }
        }
    }

    fn text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        self.has_content = true;
        let element = json::to_text(&ContentBlock::Text { text });
        match &mut self.first_call {
            Some(position) => {
                self.elements.insert((*position).min(self.elements.len()), element);
                *position = position.saturating_add(1);
            }
            None => self.elements.push(element),
        }
    }

    fn call(&mut self, id: &str, name: &str, arguments: &str) {
        let input = start_value(BlockKind::ToolCall, arguments);
        let Ok(input) = serde_json::from_str::<&RawValue>(&input) else {
            return;
        };
        (self.has_content, self.calls_added) = (true, true);
        self.first_call.get_or_insert(self.elements.len());
        self.elements.push(json::to_text(&ContentBlock::ToolUse { id, name, input }));
    }
}
