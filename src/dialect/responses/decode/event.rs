//! Reads one event: what it is about, and what is said of the response as a whole.

use super::{EventReader, Found, State};
use crate::block::{BlockKind, Clarity};
use crate::dialect::decoding::Text;
use crate::dialect::responses::fields::ResponseFields;
use crate::dialect::responses::{EventKind, List, PartKey, Place, Reading};
use crate::dialect::{DecodeError, FrameRole, MAX_REPEATED_BYTES, Slot};

impl EventReader<'_> {
    pub(super) fn event(&mut self, kind: Text) -> Result<(), DecodeError> {
        use PartKey::{Reasoning, Refusal, Summary, Text, Transcript};
        let (fields, source) = (self.fields, self.source);
        let content = fields.content_index.get().unwrap_or(0);
        let summary = fields.summary_index.get().unwrap_or(0);
        match self.decoder.strings.get(source, kind) {
            "response.output_text.delta" => self.part_delta(Text(content)),
            "response.refusal.delta" => self.part_delta(Refusal(content)),
            "response.reasoning_text.delta" => self.part_delta(Reasoning(content)),
            "response.reasoning_summary_text.delta" => self.part_delta(Summary(summary)),
            "response.audio.transcript.delta" | "response.output_audio_transcript.delta" => self.part_delta(Transcript(content)),
            "response.output_text.done" => self.part_done(Text(content), fields.text.get()),
            "response.refusal.done" => self.part_done(Refusal(content), fields.refusal.get()),
            "response.reasoning_text.done" => self.part_done(Reasoning(content), fields.text.get()),
            "response.reasoning_summary_text.done" => self.part_done(Summary(summary), fields.text.get()),
            "response.audio.transcript.done" | "response.output_audio_transcript.done" => {
                self.part_done(Transcript(content), fields.transcript.get())
            }
            "response.function_call_arguments.delta" => self.call_delta("function_call"),
            "response.mcp_call_arguments.delta" => self.call_delta("mcp_call"),
            "response.custom_tool_call_input.delta" => self.call_delta("custom_tool_call"),
            "response.code_interpreter_call_code.delta" => self.call_delta("code_interpreter_call"),
            "response.shell_call_command.delta" => self.call_delta("shell_call"),
            "response.apply_patch_call_operation_diff.delta" => self.call_delta("apply_patch_call"),
            "response.function_call_arguments.done" => self.call_done("function_call", fields.arguments.get()),
            "response.mcp_call_arguments.done" => self.call_done("mcp_call", fields.arguments.get()),
            "response.custom_tool_call_input.done" => self.call_done("custom_tool_call", fields.input.get()),
            "response.code_interpreter_call_code.done" => self.call_done("code_interpreter_call", fields.code.get()),
            "response.apply_patch_call_operation_diff.done" => self.call_done("apply_patch_call", fields.diff.get()),
            "response.shell_call_command.added" => self.command_added(),
            "response.shell_call_command.done" => self.command_done(),
            "response.output_item.added" => self.item_added(),
            "response.output_item.done" => self.item_done(),
            "response.content_part.added" => self.part_added(List::Content, content),
            "response.reasoning_summary_part.added" => self.part_added(List::Summary, summary),
            "response.content_part.done" => self.whole_part_done(List::Content, content),
            "response.reasoning_summary_part.done" => self.whole_part_done(List::Summary, summary),
            "response.output_text.annotation.added" => self.remark(Text(content)),
            "response.created" | "response.queued" | "response.in_progress" => self.lifecycle(kind),
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

    /// The item that the event names; `None` if it names none, or one that has not begun.
    pub(super) fn named_item(&mut self) -> Result<Option<usize>, DecodeError> {
        let decoder = &mut *self.decoder;
        let id = decoder.strings.read(self.source, self.fields.item_id.get())?;
        Ok(decoder.items.named(self.fields.output_index.get(), decoder.strings.get(self.source, id)))
    }

    /// The item that the event about a text or a call belongs to, and whether clients find the same one.
    pub(super) fn find_item(&mut self) -> Result<Option<(usize, Clarity)>, DecodeError> {
        let decoder = &mut *self.decoder;
        let id = decoder.strings.read(self.source, self.fields.item_id.get())?;
        decoder.items.find(self.fields.output_index.get(), decoder.strings.get(self.source, id))
    }

    pub(super) fn note(&mut self, event: EventKind, item: usize, part: PartKey) {
        let reading = Reading::of_mut(self.frame);
        reading.event = event;
        reading.output_index = self.fields.output_index.get();
        reading.item = item;
        reading.part = part;
    }

    pub(super) fn delta(&mut self, slot: Slot, place: Place, text: Text) {
        let (call_id, name, clarity) = (Text::EMPTY, Text::EMPTY, Clarity::Plain);
        self.findings.push(Found::Delta { slot, place, call_id, name, text, free_form: false, clarity });
    }

    /// A slot of the item itself that says nothing.
    pub(super) fn silent(&mut self, number: usize, event: EventKind) -> Result<(), DecodeError> {
        self.note(event, number, PartKey::Payload);
        let item = self.decoder.items.get(number)?;
        let slot = Slot { block: item.block, choice: 0, kind: item.kind.block_kind(), starts: false, stops: false };
        self.delta(slot, Place { element: 0, part: None, differs: false }, Text::EMPTY);
        Ok(())
    }

    /// An event of a type that is not known: policies see its strings, and it leaves as it came or not at all.
    pub(super) fn unknown(&mut self) -> Result<(), DecodeError> {
        let whole = 0..self.source.len();
        let text = self.decoder.strings.leaves(self.source, whole, self.fields.r#type.get())?;
        if let Some(number) = self.named_item()? {
            self.note(EventKind::Status, number, PartKey::Payload);
        }
        self.frame.role = FrameRole::Unknown;
        let block = self.decoder.blocks.begin_unknown();
        let slot = Slot { block, choice: 0, kind: BlockKind::Unknown, starts: true, stops: true };
        self.delta(slot, Place { element: 0, part: None, differs: false }, text);
        Ok(())
    }

    /// An event that says how an item is getting on, or brings what is no text.
    pub(super) fn status(&mut self) -> Result<(), DecodeError> {
        match self.named_item()? {
            Some(number) => self.silent(number, EventKind::Status),
            None => Ok(()),
        }
    }

    /// The response begins, or says again that it has. It brings no output then: no event would announce its items.
    fn lifecycle(&mut self, kind: Text) -> Result<(), DecodeError> {
        let is_first = !core::mem::replace(&mut self.decoder.has_begun, true) || self.decoder.has_ended;
        if core::mem::take(&mut self.decoder.has_ended) {
            // Another response in the same stream.
            self.decoder.items.clear();
        }
        let response = self.fields.response.get().map(|response| ResponseFields::at(self.source, response)).transpose()?;
        let response = response.unwrap_or_default();
        let has_output = self.has_elements(response.output.get())?;
        let strings = &mut self.decoder.strings;
        let output_text = strings.read(self.source, response.output_text.get())?;
        let is_created = strings.get(self.source, kind) == "response.created";
        let reading = Reading::of_mut(self.frame);
        reading.claims_output = has_output || !output_text.is_empty();
        reading.event = if is_created && is_first { EventKind::Created } else { EventKind::Lifecycle };
        Ok(())
    }

    pub(super) fn stop_all(&mut self, complete: bool) {
        for item in self.decoder.items.iter_mut() {
            // What a call that never ended asks for may not have come.
            item.open_blocks(|block| self.findings.push(Found::Stop { block, complete: complete && block != item.block }));
            item.state = State::Done;
            item.parts.iter_mut().for_each(|part| part.state = State::Said);
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
