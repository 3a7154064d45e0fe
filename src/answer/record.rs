//! Records what a policy sees of an answer, to be given again later.

use super::{Answer, AnswerBlock, AnswerChoice};
use crate::block::{BlockId, BlockKind, ContentBlock, ToolCallBlock};
use crate::dialect::Ending;
use crate::usage::Usage;

/// Blocks as they completed. What could not be given again as it was spoils the recording.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    is_on: bool,
    is_spoilt: bool,
    bytes: usize,
    blocks: Vec<(BlockId, u32, AnswerBlock)>,
    endings: Vec<(u32, Ending)>,
}

impl Recorder {
    /// Begins to record; `sees_all` if nothing is kept from who records.
    pub(crate) const fn begin(&mut self, sees_all: bool) {
        self.is_on = true;
        self.is_spoilt |= !sees_all;
    }

    pub(crate) const fn is_on(&self) -> bool {
        self.is_on && !self.is_spoilt
    }

    pub(crate) fn content(&mut self, block: &ContentBlock, max_bytes: usize) {
        let text = block.text().to_owned();
        let part = match block.kind() {
            BlockKind::Text => AnswerBlock::Text(text),
            BlockKind::Refusal => AnswerBlock::Refusal(text),
            BlockKind::Reasoning => AnswerBlock::Reasoning(text),
            _ => return self.spoil(),
        };
        if !block.is_complete() || block.is_truncated() || block.ambiguity().is_some() {
            return self.spoil();
        }
        self.push(block.id(), block.choice(), part, block.text().len(), max_bytes);
    }

    pub(crate) fn tool_call(&mut self, block: &ToolCallBlock, max_bytes: usize) {
        let is_clear = block.is_complete() && block.has_valid_arguments() && block.ambiguity().is_none();
        if !is_clear || block.is_server_side() {
            return self.spoil();
        }
        let part = AnswerBlock::ToolCall {
            call_id: block.call_id().to_owned(),
            name: block.name().to_owned(),
            arguments: block.arguments().to_owned(),
            free_form: block.is_free_form(),
        };
        self.push(block.id(), block.choice(), part, block.arguments().len(), max_bytes);
    }

    pub(crate) fn finish(&mut self, choice: u32, reason: &str) {
        let ending = match reason {
            "stop" | "tool_calls" | "function_call" | "end_turn" | "tool_use" | "stop_sequence" | "completed" => Ending::Stop,
            "length" | "max_tokens" | "max_output_tokens" => Ending::Cut,
            "content_filter" | "refusal" => Ending::Refusal,
            _ => return self.spoil(),
        };
        self.endings.push((choice, ending));
    }

    fn push(&mut self, id: BlockId, choice: u32, part: AnswerBlock, bytes: usize, max_bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > max_bytes {
            return self.spoil();
        }
        self.blocks.push((id, choice, part));
    }

    fn spoil(&mut self) {
        *self = Self { is_on: self.is_on, is_spoilt: true, ..Self::default() };
    }

    /// Gives what was recorded, if it is whole: every choice came to an end, and nothing came that has no place in it.
    pub(crate) fn answer(&self, usage: Option<Usage>) -> Option<Answer> {
        if !self.is_on() || self.endings.is_empty() {
            return None;
        }
        let mut endings = self.endings.clone();
        endings.sort_by_key(|(choice, _)| *choice);
        let mut blocks: Vec<_> = self.blocks.iter().collect();
        blocks.sort_by_key(|(id, ..)| *id);
        let has_ended = |choice: u32| endings.iter().filter(|(ended, _)| *ended == choice).count() == 1;
        if !blocks.iter().all(|(_, choice, _)| has_ended(*choice)) || !endings.iter().all(|(choice, _)| has_ended(*choice)) {
            return None;
        }
        let choices = endings.iter().map(|(choice, ending)| {
            let of_choice = blocks.iter().filter(|(_, known, _)| known == choice);
            AnswerChoice { blocks: of_choice.map(|(.., part)| part.clone()).collect(), ending: *ending }
        });
        Some(Answer { choices: choices.collect(), usage, passes_policies: false })
    }
}
