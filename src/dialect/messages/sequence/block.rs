//! A content block on its way, as far as its order is concerned.

use crate::block::{BlockKind, Clarity};
use crate::dialect::messages::fields::{BlockFields, characters};
use crate::dialect::messages::{block_kind, is_empty_input};
use crate::wire::json::Value;

/// What can become of a block's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockShape {
    Text,
    /// A tool call, also one of the provider's own.
    Call,
    Thinking,
    /// The result of a call of the provider's own.
    Result,
    Compaction,
    /// Of any other type.
    Other,
    /// It has no type: no client reads it, and none of it leaves.
    Void,
}

impl BlockShape {
    fn of_type(kind: &str) -> Self {
        match (kind, block_kind(kind)) {
            ("thinking", _) => Self::Thinking,
            ("compaction", _) => Self::Compaction,
            (_, BlockKind::Text) => Self::Text,
            (_, BlockKind::ToolCall | BlockKind::ServerToolCall) => Self::Call,
            (_, BlockKind::ToolResult) => Self::Result,
            _ => Self::Other,
        }
    }

    /// Whether a block that begins behind it need not wait for its end: what still comes of it is a text of its own.
    pub(super) const fn yields(self) -> bool {
        matches!(self, Self::Text | Self::Void)
    }

    /// Whether a delta of this type belongs to such a block. Some clients read those of other blocks' types all the same.
    pub(super) fn takes(self, delta: &str) -> bool {
        match delta {
            "text_delta" | "citations_delta" => self == Self::Text,
            "input_json_delta" => matches!(self, Self::Call | Self::Result),
            "thinking_delta" | "signature_delta" => self == Self::Thinking,
            "compaction_delta" => self == Self::Compaction,
            _ => self != Self::Void,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Block {
    /// The index that the upstream knows it by.
    index: u32,
    /// The place that it has in the client's list, once it leaves.
    pub(super) place: Option<u32>,
    pub(super) shape: BlockShape,
    /// Its input stands in its beginning.
    pub(super) has_input: bool,
    /// It was begun by a delta alone.
    pub(super) is_unannounced: bool,
    is_signed: bool,
    pub(super) is_stopped: bool,
    pub(super) clarity: Clarity,
    /// Events that wait.
    pub(super) kept: Vec<u8>,
    /// What it takes while it waits.
    pub(super) kept_bytes: usize,
}

impl Block {
    /// A block that begins with these fields.
    pub(super) fn new(index: u32, source: &str, fields: Option<BlockFields>) -> Self {
        let kind = characters(source, fields.and_then(|fields| fields.r#type));
        let shape = if kind.is_empty() { BlockShape::Void } else { BlockShape::of_type(&kind) };
        let input = fields.and_then(|fields| fields.input).and_then(|input| source.get(input.start..input.end));
        let mut block = Self::empty(index, shape);
        block.has_input = shape == BlockShape::Call && input.is_some_and(|input| !is_empty_input(input));
        block.sign(source, fields.and_then(|fields| fields.signature));
        block
    }

    /// A text that a delta begins.
    pub(super) const fn unannounced_text(index: u32) -> Self {
        let mut block = Self::empty(index, BlockShape::Text);
        block.is_unannounced = true;
        block
    }

    const fn empty(index: u32, shape: BlockShape) -> Self {
        Self {
            index,
            place: None,
            shape,
            has_input: false,
            is_unannounced: false,
            is_signed: false,
            is_stopped: false,
            clarity: Clarity::Plain,
            kept: Vec::new(),
            kept_bytes: 0,
        }
    }

    /// Whether it is open, and the upstream knows it by this index.
    pub(super) const fn is_open_as(&self, index: u32) -> bool {
        self.index == index && !self.is_stopped
    }

    /// Whether its deltas leave as they come: what is known of them need not be asked again.
    pub(super) fn is_straight(&self, index: u32) -> bool {
        self.index == index && self.place == Some(index) && !self.has_input
    }

    /// Takes the signature of thinking.
    pub(super) fn sign(&mut self, source: &str, signature: Option<Value>) {
        self.is_signed |= self.shape == BlockShape::Thinking && !characters(source, signature).is_empty();
    }

    /// Whether it is thinking that nobody signed.
    pub(super) fn is_unsigned(&self) -> bool {
        self.shape == BlockShape::Thinking && !self.is_signed
    }

    /// Ends it while it waits.
    pub(super) fn stop(&mut self, clarity: Clarity) {
        self.is_stopped = true;
        self.clarity = self.clarity.and(clarity);
    }
}
