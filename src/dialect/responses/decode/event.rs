//! Reads one event: what it is about, and what is said of the response as a whole.

use super::{EventReader, Found, Progress, count_repetition};
use crate::block::BlockKind;
use crate::dialect::decoding::Text;
use crate::dialect::responses::fields::ResponseFields;
use crate::dialect::responses::{EventKind, PartKey, Place, Reading};
use crate::dialect::{DecodeError, FrameRole, MAX_REPEATED_BYTES, Slot};
use crate::wire::json::Reader;

impl EventReader<'_> {
    pub(super) fn event(&mut self, kind: Text) -> Result<(), DecodeError> {
        use BlockKind::{Reasoning, Refusal, Text};
        let (fields, source) = (self.fields, self.source);
        let content = || PartKey::Content(fields.content_index.get().unwrap_or(0));
        let summary = || PartKey::Summary(fields.summary_index.get().unwrap_or(0));
        match self.decoder.strings.get(source, kind) {
            "response.output_text.delta" => self.part_delta(content(), Text),
            "response.refusal.delta" => self.part_delta(content(), Refusal),
            "response.reasoning_text.delta" => self.part_delta(content(), Reasoning),
            "response.reasoning_summary_text.delta" => self.part_delta(summary(), Reasoning),
            "response.function_call_arguments.delta" | "response.mcp_call_arguments.delta" => self.call_delta("arguments"),
            "response.custom_tool_call_input.delta" => self.call_delta("input"),
            "response.code_interpreter_call_code.delta" => self.call_delta("code"),
            "response.shell_call_command.delta" => self.call_delta("command"),
            "response.apply_patch_call_operation_diff.delta" => self.call_delta("diff"),
            "response.output_text.done" => self.part_done(content(), Text, fields.text.get()),
            "response.refusal.done" => self.part_done(content(), Refusal, fields.refusal.get()),
            "response.reasoning_text.done" => self.part_done(content(), Reasoning, fields.text.get()),
            "response.reasoning_summary_text.done" => self.part_done(summary(), Reasoning, fields.text.get()),
            "response.function_call_arguments.done" | "response.mcp_call_arguments.done" => {
                self.call_done("arguments", fields.arguments.get())
            }
            "response.custom_tool_call_input.done" => self.call_done("input", fields.input.get()),
            "response.code_interpreter_call_code.done" => self.call_done("code", fields.code.get()),
            "response.apply_patch_call_operation_diff.done" => self.call_done("diff", fields.diff.get()),
            "response.shell_call_command.added" => self.command_added(),
            "response.shell_call_command.done" => self.command_done(),
            "response.output_item.added" => self.item_added(),
            "response.output_item.done" => self.item_done(),
            "response.content_part.added" => self.part_added(content()),
            "response.reasoning_summary_part.added" => self.part_added(summary()),
            "response.content_part.done" => self.whole_part_done(content()),
            "response.reasoning_summary_part.done" => self.whole_part_done(summary()),
            "response.output_text.annotation.added" => self.remark(content()),
            "response.created" => self.lifecycle(EventKind::Created),
            "response.queued" | "response.in_progress" => self.lifecycle(EventKind::Foreign),
            "response.completed" | "response.incomplete" | "response.failed" => self.terminal(),
            "error" => {
                self.frame.role = FrameRole::Failure;
                Ok(())
            }
            kind if is_progress(kind) => self.status(),
            _ => self.unknown(),
        }
    }

    /// Counts what the encoder keeps of the frame.
    pub(super) fn count_text(&mut self) -> Result<(), DecodeError> {
        for found in &self.findings {
            let Found::Delta { slot, text, .. } = found else { continue };
            if slot.kind != BlockKind::Unknown {
                let bytes = self.decoder.strings.get(self.source, *text).len();
                self.decoder.text_bytes = self.decoder.text_bytes.saturating_add(bytes);
            }
        }
        if self.decoder.text_bytes <= MAX_REPEATED_BYTES { Ok(()) } else { Err(DecodeError::TextTooLong) }
    }

    /// The number of the item that the event is about.
    fn item(&self) -> Option<usize> {
        let output_index = self.fields.output_index.get()?;
        self.decoder.items.iter().rposition(|item| item.output_index == output_index)
    }

    pub(super) fn known_item(&mut self, event: EventKind) -> Result<usize, DecodeError> {
        let number = self.item().ok_or(DecodeError::OutOfOrder { what: "an event of an item that has not begun" })?;
        self.note(event, number, PartKey::Payload);
        Ok(number)
    }

    /// The item whose end, or that of what it asks for, the event tells.
    pub(super) fn ended_item(&mut self, event: EventKind) -> Result<usize, DecodeError> {
        let number = self.known_item(event)?;
        if let Some(item) = self.decoder.items.get_mut(number) {
            count_repetition(&mut item.repetitions)?;
        }
        Ok(number)
    }

    pub(super) fn note(&mut self, event: EventKind, item: usize, part: PartKey) {
        let reading = Reading::of_mut(self.frame);
        reading.event = event;
        reading.output_index = self.fields.output_index.get().unwrap_or(0);
        reading.item = item;
        reading.part = part;
    }

    pub(super) fn delta(&mut self, slot: Slot, place: Place, text: Text) {
        self.findings.push(Found::Delta { slot, place, call_id: Text::EMPTY, name: Text::EMPTY, text, free_form: false });
    }

    /// A slot of the item itself that says nothing.
    pub(super) fn silent(&mut self, number: usize, event: EventKind) {
        self.note(event, number, PartKey::Payload);
        let Some(item) = self.decoder.items.get(number) else { return };
        let slot = Slot { block: item.block, choice: 0, kind: item.kind.block_kind(), starts: false, stops: false };
        self.delta(slot, Place { element: 0, part: None, differs: false }, Text::EMPTY);
    }

    /// An event of a type that is not known: policies see its strings, and it leaves as it came or not at all.
    pub(super) fn unknown(&mut self) -> Result<(), DecodeError> {
        let whole = 0..self.source.len();
        let text = self.decoder.strings.leaves(self.source, whole, self.fields.r#type.get())?;
        let item = self.item();
        if let Some(number) = item {
            self.note(EventKind::Status, number, PartKey::Payload);
        }
        self.frame.role = FrameRole::Unknown;
        let block = self.decoder.blocks.begin_unknown();
        let slot = Slot { block, choice: 0, kind: BlockKind::Unknown, starts: true, stops: true };
        self.delta(slot, Place { element: 0, part: None, differs: false }, text);
        Ok(())
    }

    /// An event that says how an item is getting on, or brings what is no text.
    fn status(&mut self) -> Result<(), DecodeError> {
        if let Some(number) = self.item() {
            self.silent(number, EventKind::Status);
        }
        Ok(())
    }

    fn lifecycle(&mut self, event: EventKind) -> Result<(), DecodeError> {
        let source = self.source;
        let response = self.fields.response.get().map(|response| ResponseFields::at(source, response)).transpose()?;
        let mut is_empty = true;
        if let Some(output) = response.and_then(|response| response.output.get()) {
            Reader::at(source, output).array(|reader| {
                is_empty = false;
                reader.skip()
            })?;
        }
        let output_text = self.decoder.strings.read(source, response.and_then(|response| response.output_text.get()))?;
        if !is_empty || !output_text.is_empty() {
            return Err(DecodeError::OutOfOrder { what: "a response that begins with output" });
        }
        if event == EventKind::Created {
            // Another response in the same stream: what was open of the first stays cut off.
            self.stop_all(false);
            self.decoder.items.clear();
            self.decoder.has_ended = false;
        }
        Reading::of_mut(self.frame).event = event;
        Ok(())
    }

    pub(super) fn stop_all(&mut self, complete: bool) {
        for item in &mut self.decoder.items {
            // What a call that never ended asks for may not have come.
            item.open_blocks(|block| self.findings.push(Found::Stop { block, complete: complete && block != item.block }));
            item.progress = Progress::Done;
            item.parts.iter_mut().for_each(|part| part.progress = Progress::Done);
        }
    }
}

/// What becomes of calls, as the last word of the types of events.
const STATES: [&str; 7] = ["in_progress", "searching", "interpreting", "generating", "partial_image", "completed", "failed"];

/// Whether an event of this type only tells how a call is getting on, or brings a picture, a sound or a result.
fn is_progress(kind: &str) -> bool {
    kind.rsplit_once("_call.").is_some_and(|(_, state)| STATES.contains(&state))
        || kind.starts_with("response.mcp_list_tools.")
        || kind.starts_with("response.shell_call_output_content.")
        || matches!(kind, "response.audio.delta" | "response.audio.done" | "response.compaction.compacting")
}
