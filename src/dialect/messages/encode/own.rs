//! Writes what policies add to the stream, and its end.

use serde_json::value::RawValue;

use super::{Encoder, Progress, end_reason};
use crate::block::{BlockKind, Chunk};
use crate::dialect::framing::WITHHELD;
use crate::dialect::messages::output::{ContentBlock, Delta, Event, Failure, FinalUsage, Message, MessageDelta};
use crate::dialect::{Ending, TooLate};

impl Encoder {
    pub(crate) fn chunk(&mut self, chunk: &Chunk, out: &mut Vec<u8>) -> Result<(), TooLate> {
        if !matches!(chunk, Chunk::Text { text, .. } if text.is_empty()) {
            self.open_deferred(out);
        }
        let message = self.message.as_ref();
        if self.terminated || message.is_some_and(|message| message.finished) {
            return Err(TooLate);
        }
        let Chunk::Text { kind, text, .. } = chunk else {
            self.waiting.push(chunk.clone());
            self.release_waiting(out);
            return Ok(());
        };
        // Text after a tool call makes the next request fail at the provider.
        let calls_wait = self.waiting.iter().any(|waiting| matches!(waiting, Chunk::ToolCall { .. }));
        if calls_wait || message.is_some_and(|message| message.calls_sent > 0) {
            return Err(TooLate);
        }
        if text.is_empty() {
            return Ok(());
        }
        let kind = if *kind == BlockKind::Reasoning { *kind } else { BlockKind::Text };
        let open_text = message.and_then(|message| message.open.iter().rposition(|open| open.kind == kind));
        match open_text {
            Some(position) => self.write_delta(position, text, out),
            None => {
                self.waiting.push(chunk.clone());
                self.release_waiting(out);
            }
        }
        Ok(())
    }

    pub(crate) fn end(&mut self, ending: Ending, out: &mut Vec<u8>) {
        if self.terminated {
            return;
        }
        self.give_up_unopened(out);
        self.terminated = true;
        self.ended = true;
        if self.message.is_none() {
            let event = Event::MessageStart { message: Message::begin(&self.identity) };
            self.boundary.close(out);
            event.write(self.named != Some(false), out);
            self.message = Some(Progress::default());
        }
        self.close_open(true, out);
        self.release_waiting(out);
        let Some(message) = &self.message else { return };
        let stop_reason = end_reason(ending, message.calls_sent > 0);
        if !message.finished {
            if !message.has_content {
                self.write_text_block(WITHHELD, out);
            }
            let delta = MessageDelta { stop_reason, stop_sequence: None };
            let usage = FinalUsage { output_tokens: self.output_tokens };
            self.write(&Event::MessageDelta { delta, usage }, out);
        }
        self.write(&Event::MessageStop, out);
    }

    pub(crate) const fn reopen(&mut self) {
        self.terminated = false;
        self.ended = false;
    }

    pub(crate) fn failure(&mut self, message: &str, out: &mut Vec<u8>) {
        if !self.terminated {
            self.give_up_unopened(out);
            self.terminated = true;
            self.ended = true;
            self.write(&Event::Error { error: Failure { r#type: "api_error", message } }, out);
        }
    }

    /// Before the message ends: what waits leaves, and no message may be empty because of us.
    pub(super) fn complete(&mut self, out: &mut Vec<u8>) {
        let Some(message) = &self.message else { return };
        if message.finished {
            return;
        }
        if !self.waiting.is_empty() {
            self.close_open(false, out);
            self.release_waiting(out);
        }
        if self.message.as_ref().is_some_and(|message| message.lost && !message.has_content) {
            self.write_text_block(WITHHELD, out);
        }
    }

    /// Ends the blocks that are open at the client; none of them is empty because of us.
    pub(super) fn close_open(&mut self, is_cut: bool, out: &mut Vec<u8>) {
        while let Some(open) = self.message.as_ref().and_then(|message| message.open.last()).copied() {
            if open.kind == BlockKind::Text && !open.has_text && (is_cut || open.lost) {
                let position = self.message.as_ref().map_or(0, |message| message.open.len().saturating_sub(1));
                self.write_delta(position, WITHHELD, out);
            }
            self.write(&Event::ContentBlockStop { index: open.index }, out);
            if let Some(message) = &mut self.message {
                message.open.pop();
            }
        }
    }

    /// Writes what waits, once a message has begun and none of its blocks is open.
    pub(super) fn release_waiting(&mut self, out: &mut Vec<u8>) {
        if self.message.as_ref().is_none_or(|message| !message.open.is_empty()) {
            return;
        }
        for chunk in core::mem::take(&mut self.waiting) {
            match chunk {
                Chunk::Text { kind: BlockKind::Reasoning, text, .. } => {
                    let block = ContentBlock::Thinking { thinking: "", signature: "" };
                    self.write_block(block, Delta::Thinking { thinking: &text }, out);
                }
                Chunk::Text { text, .. } => self.write_text_block(&text, out),
                Chunk::ToolCall { call_id, name, arguments, .. } => self.write_call_block(&call_id, &name, &arguments, out),
            }
        }
    }

    pub(super) fn write_text_block(&mut self, text: &str, out: &mut Vec<u8>) {
        self.write_block(ContentBlock::Text { text: "" }, Delta::Text { text }, out);
    }

    pub(super) fn write_call_block(&mut self, id: &str, name: &str, arguments: &str, out: &mut Vec<u8>) {
        let Ok(input) = serde_json::from_str::<&RawValue>("{}") else {
            return;
        };
        let delta = Delta::InputJson { partial_json: arguments };
        self.write_block(ContentBlock::ToolUse { id, name, input }, delta, out);
        if let Some(message) = &mut self.message {
            message.calls_sent = message.calls_sent.saturating_add(1);
            message.calls_added = message.calls_added.saturating_add(1);
        }
    }

    pub(super) fn write_block(&mut self, content_block: ContentBlock<'_>, delta: Delta<'_>, out: &mut Vec<u8>) {
        let message = self.message.get_or_insert_default();
        let index = message.next_index;
        message.next_index = index.saturating_add(1);
        message.renumbers = true;
        message.has_content = true;
        self.write(&Event::ContentBlockStart { index, content_block }, out);
        self.write(&Event::ContentBlockDelta { index, delta }, out);
        self.write(&Event::ContentBlockStop { index }, out);
    }

    /// Writes a delta of our own into a block that is open.
    pub(super) fn write_delta(&mut self, position: usize, text: &str, out: &mut Vec<u8>) {
        let Some(message) = &mut self.message else {
            return;
        };
        let Some(open) = message.open.get_mut(position).filter(|_| !text.is_empty()) else {
            return;
        };
        let index = open.index;
        let kind = open.kind;
        if !matches!(kind, BlockKind::Text | BlockKind::Reasoning) && !kind.is_tool_call() {
            return;
        }
        open.has_text = true;
        message.has_content = true;
        self.boundary.close(out);
        let is_named = self.named != Some(false);
        self.own_text.write((index, kind, is_named), text, out, |text, out| {
            let delta = match kind {
                BlockKind::Text => Delta::Text { text },
                BlockKind::Reasoning => Delta::Thinking { thinking: text },
                _ => Delta::InputJson { partial_json: text },
            };
            Event::ContentBlockDelta { index, delta }.write(is_named, out);
        });
    }
}
