//! Blocks: the content and the tool calls that deltas build.

use std::borrow::Cow;

use crate::wire::json;

/// Number of a block within its exchange, in the order in which blocks began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockId(pub u32);

/// What a block is, whatever the dialect calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum BlockKind {
    /// Text for the user.
    Text,
    /// The model's own words of refusal (`refusal` in chat.completions).
    Refusal,
    /// Reasoning in clear text (`reasoning_content`). Signed `thinking` blocks are [`BlockKind::Other`]: they may not change.
    Reasoning,
    /// A call that the client is asked to carry out.
    ToolCall,
    /// A call that the provider carries out itself (`server_tool_use`, `mcp_tool_use`).
    ServerToolCall,
    /// The result of a [`BlockKind::ServerToolCall`], tied to it by id.
    ToolResult,
    /// Content of a type that Weir does not know: a whole event, or a content block. Its text is its strings, one a line.
    /// Hooks may let it pass or drop it, but not edit it: [`DeltaAction::Replace`](crate::policy::DeltaAction::Replace) drops it.
    Unknown,
    /// What may neither change nor be left out (signed `thinking`): it passes as it came, and no hook sees it.
    Other,
}

impl BlockKind {
    /// Whether deltas of this kind go to `on_content_delta`.
    pub const fn is_content(self) -> bool {
        matches!(self, Self::Text | Self::Refusal | Self::Reasoning | Self::Unknown)
    }

    /// Whether deltas of this kind go to `on_tool_call_delta`.
    pub const fn is_tool_call(self) -> bool {
        matches!(self, Self::ToolCall | Self::ServerToolCall)
    }
}

/// How clearly the bytes of a block say what it is.
///
/// Clients differ in how they read odd bytes: what a policy decides about has to be what every client makes of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clarity {
    /// Every client reads it alike: what is let go leaves byte for byte.
    #[default]
    Plain,
    /// What it says is clear, but not every client reads it from these bytes in this order: it leaves written anew.
    Canonical,
    /// Clients differ about what it says, for this reason.
    Ambiguous(&'static str),
}

impl Clarity {
    /// Joins the clarity of two parts of one block: the less clear one counts, of two ambiguities the first.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Ambiguous(_), _) | (_, Self::Plain) => self,
            (Self::Plain, _) | (Self::Canonical, Self::Ambiguous(_)) => other,
            (Self::Canonical, Self::Canonical) => self,
        }
    }

    /// Says why clients differ about it, if they do.
    pub const fn ambiguity(self) -> Option<&'static str> {
        match self {
            Self::Ambiguous(why) => Some(why),
            Self::Plain | Self::Canonical => None,
        }
    }
}

/// A block of text, as far as it has come.
#[derive(Clone, Debug)]
pub struct ContentBlock {
    pub(crate) id: BlockId,
    pub(crate) choice: u32,
    pub(crate) kind: BlockKind,
    pub(crate) text: String,
    pub(crate) complete: bool,
    pub(crate) truncated: bool,
    pub(crate) clarity: Clarity,
}

impl ContentBlock {
    /// Number of the block within the exchange.
    pub const fn id(&self) -> BlockId {
        self.id
    }

    /// The choice that the block belongs to; 0 where a dialect has no choices.
    pub const fn choice(&self) -> u32 {
        self.choice
    }

    /// Text, refusal, reasoning, or something unknown.
    pub const fn kind(&self) -> BlockKind {
        self.kind
    }

    /// The text so far, as the policies before this one left it. Empty when the policy's
    /// [`Interests`](crate::policy::Interests) leave the aggregation out.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the block came to its own end; false when the upstream broke off within it.
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether the block is longer than what is aggregated of it (`limits.max_response_bytes`).
    pub const fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Says why clients differ about what the text is, if they do.
    pub const fn ambiguity(&self) -> Option<&'static str> {
        self.clarity.ambiguity()
    }
}

/// A tool call, as far as it has come.
#[derive(Clone, Debug)]
pub struct ToolCallBlock {
    pub(crate) id: BlockId,
    pub(crate) choice: u32,
    pub(crate) kind: BlockKind,
    pub(crate) call_id: String,
    pub(crate) name: String,
    pub(crate) arguments: String,
    pub(crate) free_form: bool,
    pub(crate) complete: bool,
    pub(crate) truncated: bool,
    pub(crate) clarity: Clarity,
}

impl ToolCallBlock {
    /// Number of the block within the exchange.
    pub const fn id(&self) -> BlockId {
        self.id
    }

    /// The choice that the block belongs to; 0 where a dialect has no choices.
    pub const fn choice(&self) -> u32 {
        self.choice
    }

    /// Whether the provider carries this call out itself.
    pub fn is_server_side(&self) -> bool {
        self.kind == BlockKind::ServerToolCall
    }

    /// The provider's id of the call (`tool_calls[].id`, `tool_use.id`); may be empty.
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// Name of the tool; may be empty as long as the block is incomplete.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The arguments so far: JSON text, unless [`Self::is_free_form`].
    pub fn arguments(&self) -> &str {
        &self.arguments
    }

    /// The arguments as a client reads them: escapes resolved, keys sorted, no white space, numbers as they are written.
    /// None at all are `{}`. As they came where they are no JSON object, or one that clients could read differently.
    pub fn canonical_arguments(&self) -> Cow<'_, str> {
        if !self.free_form && self.arguments.trim().is_empty() {
            return Cow::Borrowed("{}");
        }
        let canonical = if self.free_form { None } else { json::canonical(&self.arguments) };
        canonical.map_or(Cow::Borrowed(&self.arguments), Cow::Owned)
    }

    /// Whether the tool takes free text in place of JSON (custom tools).
    pub const fn is_free_form(&self) -> bool {
        self.free_form
    }

    /// Whether the block came to its own end; false when the upstream broke off within it.
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether the block is longer than what is aggregated of it (`limits.max_response_bytes`).
    pub const fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Says why clients differ about what the call is, if they do: nobody can know what a client would carry out.
    pub const fn ambiguity(&self) -> Option<&'static str> {
        self.clarity.ambiguity()
    }

    /// Whether the arguments are what a client can read: one JSON object without duplicate keys or lone
    /// surrogates, or free text where the tool takes that. No arguments at all count as `{}`.
    pub fn has_valid_arguments(&self) -> bool {
        let readable = self.free_form || self.arguments.trim().is_empty() || json::is_unambiguous_object(&self.arguments);
        readable && !self.truncated
    }
}

/// A piece of output that a policy makes itself; see [`build_text_chunk`] and [`build_block_chunk`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Chunk {
    /// Text for the user.
    Text {
        /// The choice that it goes to.
        choice: u32,
        /// Text; refusal or reasoning where it takes the place of such.
        kind: BlockKind,
        /// The text.
        text: String,
    },
    /// A whole tool call.
    ToolCall {
        /// The choice that it goes to.
        choice: u32,
        /// The provider's id of the call.
        call_id: String,
        /// Name of the tool.
        name: String,
        /// The arguments, as the dialect carries them.
        arguments: String,
        /// Whether the arguments are free text (a custom tool).
        free_form: bool,
    },
}

/// A chunk of text for `choice`.
pub fn build_text_chunk(choice: u32, text: impl Into<String>) -> Chunk {
    Chunk::Text { choice, kind: BlockKind::Text, text: text.into() }
}

/// The whole tool call of `block` as one chunk.
pub fn build_block_chunk(block: &ToolCallBlock) -> Chunk {
    Chunk::ToolCall {
        choice: block.choice,
        call_id: block.call_id.clone(),
        name: block.name.clone(),
        arguments: block.arguments.clone(),
        free_form: block.free_form,
    }
}
