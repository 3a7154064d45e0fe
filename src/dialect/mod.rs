//! Dialects: the wire formats of the language-model APIs.
//!
//! A decoder turns one frame (the data of an SSE event, or a whole JSON body) into [`DecodedEvent`]s that borrow from it,
//! and notes in a [`Frame`] what the frame holds. An encoder writes frames back: an untouched one verbatim, a
//! changed one with the smallest edit that is legal. The encoder alone owns indices, order, finish reasons and the
//! terminator. Both types are closed sets, dispatched statically.

mod again;
mod chat;
mod decoding;
pub(crate) mod framing;
pub(crate) mod mcp;
mod messages;
pub(crate) mod plain;
pub mod reply;
pub mod request;
mod responses;
mod template;

#[cfg(test)]
mod corpus_tests;
#[cfg(test)]
mod robustness_tests;
#[cfg(test)]
mod testing;

use core::fmt;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::block::{BlockId, BlockKind, Chunk, Clarity};
use crate::wire::sse;

/// A wire format. The name of each is also the `policy_target` in events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum Dialect {
    /// OpenAI chat completions, `POST /v1/chat/completions`.
    #[serde(rename = "chat.completions")]
    ChatCompletions,
    /// Anthropic messages, `POST /v1/messages`.
    #[serde(rename = "messages")]
    Messages,
    /// OpenAI responses, `POST /v1/responses`.
    #[serde(rename = "responses")]
    Responses,
    /// MCP over streamable HTTP, `/mcp`: calls of tools and what comes of them.
    #[serde(rename = "mcp_tool")]
    McpTool,
}

impl Dialect {
    /// The name that policy frames and events use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat.completions",
            Self::Messages => "messages",
            Self::Responses => "responses",
            Self::McpTool => "mcp_tool",
        }
    }

    /// Whether another message may begin behind the end of one in the same stream.
    pub(crate) const fn begins_again(self) -> bool {
        !matches!(self, Self::ChatCompletions)
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Something that a decoder found in a frame.
#[derive(Debug)]
pub enum DecodedEvent<'a> {
    /// The next slot of the frame: the n-th delta that a decoder reports is the n-th entry of [`Frame::slots`].
    Delta(Delta<'a>),
    /// The next slot of the frame is a tool that is offered to the client.
    Tool {
        /// Its name.
        name: &'a str,
    },
    /// A block ended without a slot of its own (chat.completions, or a broken-off upstream).
    Stop {
        /// The block.
        block: BlockId,
        /// False when the upstream broke off, or was cut, within the block.
        complete: bool,
    },
    /// The finish reason of a choice. All blocks of the choice have stopped before.
    Finish {
        /// The choice.
        choice: u32,
        /// The reason in the dialect's own words.
        reason: &'a str,
    },
    /// The terminator (`[DONE]`, `message_stop`).
    End,
}

/// A part of a frame that can be kept, replaced or removed on its own.
#[derive(Debug, Clone, Copy)]
pub struct Delta<'a> {
    /// The block it belongs to.
    pub block: BlockId,
    /// The choice of that block.
    pub choice: u32,
    /// What the block is.
    pub kind: BlockKind,
    /// Whether the block begins here.
    pub starts: bool,
    /// Whether the block ends here.
    pub stops: bool,
    /// For tool calls the call's id, for tool results the id of the call; a fragment, empty where it does not stand here.
    pub call_id: &'a str,
    /// For tool calls the tool's name; a fragment, empty where it does not stand here.
    pub name: &'a str,
    /// Unescaped text, or fragment of arguments; may be empty.
    pub text: &'a str,
    /// Whether a tool call takes free text as its argument.
    pub free_form: bool,
    /// How clearly its bytes say what it is.
    pub clarity: Clarity,
    /// Members of a tool call that go along where it is written anew (thought signatures), as JSON; empty where there are none.
    pub extras: &'a str,
}

impl Delta<'_> {
    /// Says nothing yet, at the place `slot`.
    pub const fn of(slot: Slot) -> Self {
        Self {
            block: slot.block,
            choice: slot.choice,
            kind: slot.kind,
            starts: slot.starts,
            stops: slot.stops,
            call_id: "",
            name: "",
            text: "",
            free_form: false,
            clarity: Clarity::Plain,
            extras: "",
        }
    }
}

/// What the engine keeps of a [`Delta`] once it was decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// The block it belongs to.
    pub block: BlockId,
    /// The choice of that block.
    pub choice: u32,
    /// What the block is.
    pub kind: BlockKind,
    /// Whether the block begins here.
    pub starts: bool,
    /// Whether the block ends here.
    pub stops: bool,
}

/// Where a frame stands in the stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FrameRole {
    /// It has slots or a finish reason, or is something of the stream that must keep its place (usage, `message_start`).
    #[default]
    Content,
    /// The beginning of a message (`message_start`) that brings blocks with it: they are its slots.
    Opening,
    /// Something of a type that Weir does not know, with one slot: it leaves as it came or not at all.
    Unknown,
    /// It may leave at any time and overtake what is held: comments, `ping`.
    Free,
    /// All blocks of the message have come (`message_delta`): nothing that is held will be joined by more tool calls.
    Closing,
    /// The terminator.
    Terminator,
    /// The upstream reports an error in mid-stream.
    Failure,
}

/// What a frame holds, in the order of its parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    /// Its slots.
    pub slots: SmallVec<[Slot; 2]>,
    /// The choices whose finish reason stands here; of MCP the requests that are answered here.
    pub finishes: SmallVec<[u32; 1]>,
    /// The positions of slots that say again whose call they go on with: some clients join names and ids.
    pub(crate) repeats: SmallVec<[usize; 1]>,
    /// Where it stands in the stream.
    pub role: FrameRole,
    /// What only `responses` has to know of it.
    responses: Option<Box<responses::Reading>>,
}

impl Frame {
    /// Gives what is allocated for it beside itself.
    pub(crate) fn allocated(&self) -> usize {
        let reading = if self.responses.is_some() { crate::heap::block(size_of::<responses::Reading>()) } else { 0 };
        let lists = crate::heap::spilled(&self.slots).saturating_add(crate::heap::spilled(&self.finishes));
        lists.saturating_add(crate::heap::spilled(&self.repeats)).saturating_add(reading)
    }

    pub(crate) fn clear(&mut self) {
        self.slots.clear();
        self.finishes.clear();
        self.repeats.clear();
        self.role = FrameRole::Content;
        if let Some(reading) = &mut self.responses {
            reading.clear();
        }
    }
}

/// What becomes of a slot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SlotAction {
    /// It leaves as it came.
    Keep,
    /// It leaves with this text (or these arguments) in place of its own.
    Replace(String),
    /// It does not leave.
    #[default]
    Remove,
}

/// A chunk to be put into a whole JSON body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Insertion {
    /// Index of the slot that it goes before; the number of slots to append it.
    pub before: usize,
    /// What to put there.
    pub chunk: Chunk,
    /// Members of the provider's that go along with a call.
    pub extras: String,
}

/// What becomes of the bytes of an event before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arranged {
    /// They may leave as they came.
    AsItCame,
    /// Other events take its place, or none.
    Anew,
}

/// Why a frame cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not JSON, or not of the dialect's shape (duplicate keys and numbers in strings included), near this byte of the frame.
    Malformed {
        /// Offset in bytes from the start of the frame.
        at: usize,
    },
    /// Not UTF-8.
    Utf8 {
        /// Offset in bytes from the start of the frame.
        at: usize,
    },
    /// A string with a lone surrogate: readers differ in what they make of it.
    LoneSurrogate,
    /// An event or field that does not fit what came before it.
    OutOfOrder {
        /// What was wrong.
        what: &'static str,
    },
    /// More blocks than [`MAX_BLOCKS`].
    TooManyBlocks,
    /// More choices than [`MAX_CHOICES`].
    TooManyChoices,
    /// An event with more pieces than [`MAX_PIECES`].
    TooManyPieces,
    /// More than [`MAX_NAME_BYTES`] of ids and names.
    NamesTooLong,
    /// More than [`MAX_REPEATED_BYTES`] of text that the end of the response is to repeat.
    TextTooLong,
    /// More than [`MAX_WAITING_BYTES`] of events that wait for what has to leave before them.
    TooMuchWaiting,
    /// A request with more texts than [`request::MAX_REQUEST_PARTS`].
    TooManyParts,
    /// A request whose text is given as numbers of tokens.
    Tokens,
    /// Something that cannot be: what the engine knows of the response contradicts itself. Nothing may pass on it.
    Unreachable(&'static str),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { at } => write!(f, "not a source of this API, near byte {at}"),
            Self::Utf8 { at } => write!(f, "not UTF-8 at byte {at}"),
            Self::LoneSurrogate => f.write_str("a string with a lone surrogate"),
            Self::OutOfOrder { what } => write!(f, "out of order: {what}"),
            Self::TooManyBlocks => write!(f, "more than {MAX_BLOCKS} blocks"),
            Self::TooManyChoices => write!(f, "more than {MAX_CHOICES} choices"),
            Self::TooManyPieces => write!(f, "more than {MAX_PIECES} pieces in one event"),
            Self::TooManyParts => write!(f, "more than {} texts", request::MAX_REQUEST_PARTS),
            Self::Tokens => f.write_str("text is given as tokens, which cannot be read"),
            Self::Unreachable(what) => write!(f, "unreachable: {what}"),
            Self::TextTooLong => write!(f, "more than {MAX_REPEATED_BYTES} bytes of text that have to be repeated"),
            Self::TooMuchWaiting => write!(f, "more than {MAX_WAITING_BYTES} bytes of events that wait for one before them"),
            Self::NamesTooLong => write!(f, "more than {MAX_NAME_BYTES} bytes of tool calls' ids and names"),
        }
    }
}

impl core::error::Error for DecodeError {}

/// Most blocks that one response may have. Real answers have fewer than 200.
pub const MAX_BLOCKS: usize = 4096;

/// Most choices that one response may have. Providers give 128 at most; what waits of each is gone through for each of the others.
pub const MAX_CHOICES: usize = 256;

/// Most pieces (texts, and what is said of calls) that one event may have.
pub const MAX_PIECES: usize = 65_536;

/// Most bytes of all ids and names of the tool calls of one response: they are kept until its end.
pub const MAX_NAME_BYTES: usize = 1024 * 1024;

/// Most bytes of text of one response of `responses`: they are kept until its end, which repeats them in one event.
pub const MAX_REPEATED_BYTES: usize = 8 * 1024 * 1024;

/// Most bytes of the events of one stream that wait until another block of it has ended, or until it is known whether
/// they are signed.
pub const MAX_WAITING_BYTES: usize = 8 * 1024 * 1024;

/// Reads the frames of one response.
#[derive(Debug)]
pub enum Decoder {
    /// chat.completions
    Chat(chat::Decoder),
    /// messages
    Messages(messages::Decoder),
    /// responses
    Responses(responses::Decoder),
    /// mcp_tool
    Mcp(mcp::Decoder),
}

impl Decoder {
    /// A decoder at the start of a response.
    pub fn new(dialect: Dialect) -> Self {
        match dialect {
            Dialect::ChatCompletions => Self::Chat(chat::Decoder::default()),
            Dialect::Messages => Self::Messages(messages::Decoder::default()),
            Dialect::Responses => Self::Responses(responses::Decoder::default()),
            Dialect::McpTool => Self::Mcp(mcp::Decoder::default()),
        }
    }

    /// Reasoning that might be signed, and is not, is text that policies want to see.
    pub(crate) const fn read_reasoning(&mut self) {
        match self {
            Self::Messages(decoder) => decoder.read_thinking(),
            // Their reasoning says at its beginning whether it is sealed.
            Self::Chat(_) | Self::Responses(_) | Self::Mcp(_) => {}
        }
    }

    /// The upstream has ended: the events that were kept back are in `out`.
    ///
    /// # Errors
    /// As those of [`Self::arrange`].
    pub fn arrange_end(&mut self, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        match self {
            Self::Messages(decoder) => decoder.arrange_end(out),
            Self::Chat(_) | Self::Responses(_) | Self::Mcp(_) => Ok(()),
        }
    }

    /// Reads an event that is like an earlier one but for a string, and so is plain; false if it is not, and then nothing
    /// was read.
    ///
    /// # Errors
    /// When the event cannot be read.
    pub(crate) fn event_again(
        &mut self,
        event: &sse::Event<'_>,
        frame: &mut Frame,
        each: &mut dyn FnMut(DecodedEvent<'_>),
    ) -> Result<bool, DecodeError> {
        let Some(data) = event.data.filter(|_| event.is_plain) else { return Ok(false) };
        match self {
            Self::Chat(decoder) if event.name.is_empty() => {
                frame.clear();
                decoder.event_again(data, frame, each)
            }
            Self::Responses(decoder) => {
                frame.clear();
                decoder.event_again(event.name, data, frame, each)
            }
            Self::Messages(decoder) => {
                frame.clear();
                decoder.event_again(event.name, data, frame, each)
            }
            Self::Chat(_) | Self::Mcp(_) => Ok(false),
        }
    }

    /// Arranges an event of a stream before it is read: what leaves in its place are the events in `out`, each of which is
    /// to be read then, unless it may leave as it came.
    ///
    /// # Errors
    /// When the event cannot be read as the client would read it.
    pub fn arrange(&mut self, event: &sse::Event<'_>, out: &mut Vec<u8>) -> Result<Arranged, DecodeError> {
        match self {
            Self::Messages(decoder) => decoder.arrange(event, out),
            Self::Mcp(decoder) => decoder.arrange(event, out),
            Self::Chat(_) | Self::Responses(_) => Ok(Arranged::AsItCame),
        }
    }

    /// Arranges a whole body before it is read: what leaves in its place, unless it may leave as it came.
    ///
    /// # Errors
    /// As those of [`Self::arrange`].
    pub fn arrange_body(&mut self, body: &[u8]) -> Result<Option<Vec<u8>>, DecodeError> {
        match self {
            Self::Mcp(decoder) => decoder.arrange_body(body),
            Self::Chat(_) | Self::Messages(_) | Self::Responses(_) => Ok(None),
        }
    }

    /// Whether what is read may say nothing at all.
    pub(crate) fn expects_nothing(&self) -> bool {
        match self {
            Self::Mcp(decoder) => decoder.expects_nothing(),
            Self::Chat(_) | Self::Messages(_) | Self::Responses(_) => false,
        }
    }

    /// How many messages were left out by [`Self::arrange`] and [`Self::arrange_body`] since the last call, because some
    /// clients would have taken them for an answer to what they asked.
    pub(crate) fn take_withheld(&mut self) -> u32 {
        match self {
            Self::Mcp(decoder) => decoder.take_withheld(),
            Self::Chat(_) | Self::Messages(_) | Self::Responses(_) => 0,
        }
    }

    /// Reads one event of a stream, one that is plain: fills `frame` and reports the parts in order. Nothing is reported
    /// on an error.
    ///
    /// # Errors
    /// When the event cannot be read as the client would read it.
    pub fn event(
        &mut self,
        event: &sse::Event<'_>,
        frame: &mut Frame,
        each: &mut dyn FnMut(DecodedEvent<'_>),
    ) -> Result<(), DecodeError> {
        frame.clear();
        let Some(data) = event.data.filter(|data| !data.is_empty()) else {
            frame.role = FrameRole::Free;
            return Ok(());
        };
        match self {
            Self::Chat(decoder) => decoder.event(data, frame, each),
            Self::Messages(decoder) => decoder.event(event.name, data, frame, each),
            Self::Responses(decoder) => decoder.event(data, frame, each),
            Self::Mcp(decoder) => decoder.event(event.name, data, frame, each),
        }
    }

    /// Reads a whole JSON body: each block is one slot that starts and stops in it.
    ///
    /// # Errors
    /// When the body cannot be read as the client would read it.
    pub fn body(&mut self, body: &[u8], frame: &mut Frame, each: &mut dyn FnMut(DecodedEvent<'_>)) -> Result<(), DecodeError> {
        match self {
            Self::Chat(decoder) => decoder.body(body, frame, each),
            Self::Messages(decoder) => decoder.body(body, frame, each),
            Self::Responses(decoder) => decoder.body(body, frame, each),
            Self::Mcp(decoder) => decoder.body(body, frame, each),
        }
    }

    /// The upstream ended: reports a [`DecodedEvent::Stop`] for every block that is still open.
    pub fn finish(&mut self, each: &mut dyn FnMut(DecodedEvent<'_>)) {
        match self {
            Self::Chat(decoder) => decoder.finish(each),
            Self::Messages(decoder) => decoder.finish(each),
            Self::Responses(decoder) => decoder.finish(each),
            // No block goes beyond its frame.
            Self::Mcp(_) => {}
        }
    }
}

/// How an answer ends before the upstream has ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The answer is complete as it stands (`stop`, `end_turn`).
    Stop,
    /// It breaks off within a tool call that has left in part (`length`, `max_tokens`): clients do not carry such a call out.
    Cut,
    /// Content was withheld (`content_filter`, `refusal`).
    Refusal,
}

/// Text could not be put where it was asked for, because the wire format does not allow it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLate;

/// Writes the frames of one response. Sees every frame that leaves, in the order in which it leaves.
#[derive(Debug)]
pub enum Encoder {
    /// chat.completions
    Chat(chat::Encoder),
    /// messages
    Messages(messages::Encoder),
    /// responses
    Responses(responses::Encoder),
    /// mcp_tool
    Mcp(mcp::Encoder),
}

impl Encoder {
    /// An encoder at the start of a response.
    pub fn new(dialect: Dialect) -> Self {
        match dialect {
            Dialect::ChatCompletions => Self::Chat(chat::Encoder::default()),
            Dialect::Messages => Self::Messages(messages::Encoder::default()),
            Dialect::Responses => Self::Responses(responses::Encoder::default()),
            Dialect::McpTool => Self::Mcp(mcp::Encoder::default()),
        }
    }

    /// Gives every block and tool call the index of its place, whatever the upstream's. Official clients find them by
    /// their place: with other indices, or one that is taken, deltas would join another block than the one that a policy
    /// decided about.
    pub const fn number_by_place(&mut self) {
        match self {
            Self::Chat(encoder) => encoder.number_by_place(),
            Self::Messages(encoder) => encoder.number_by_place(),
            Self::Responses(encoder) => encoder.number_by_place(),
            Self::Mcp(_) => {}
        }
    }

    /// Writes one event of the stream, which spans the bytes `raw` and was decoded to `frame`: verbatim if nothing about
    /// it changes, else with the edits that `actions` (one a slot) and the indices and finish reasons as sent demand.
    pub fn event(&mut self, raw: &[u8], frame: &Frame, actions: &[SlotAction], out: &mut Vec<u8>) {
        match self {
            Self::Chat(encoder) => encoder.event(raw, frame, actions, out),
            Self::Messages(encoder) => encoder.event(raw, frame, actions, out),
            Self::Responses(encoder) => encoder.event(raw, frame, actions, out),
            Self::Mcp(encoder) => encoder.event(raw, frame, actions, out),
        }
    }

    /// An event of the stream came, and leaves later if at all: chunks of our own that leave before it are to look like it.
    pub fn notice(&mut self, raw: &[u8]) {
        match self {
            Self::Chat(encoder) => encoder.notice(raw),
            // `message_start` and `response.created` bear the identity, and are never held; of MCP no message is like another.
            Self::Messages(_) | Self::Responses(_) | Self::Mcp(_) => {}
        }
    }

    /// An event of the upstream does not leave.
    pub const fn withhold(&mut self) {
        match self {
            Self::Responses(encoder) => encoder.withhold(),
            // Nothing there counts the events.
            Self::Chat(_) | Self::Messages(_) | Self::Mcp(_) => {}
        }
    }

    /// Writes a chunk of a policy's own into the stream.
    ///
    /// # Errors
    /// [`TooLate`] when the dialect allows no such chunk at this place any more; nothing is written then.
    pub fn chunk(&mut self, chunk: &Chunk, out: &mut Vec<u8>) -> Result<(), TooLate> {
        match self {
            Self::Chat(encoder) => encoder.chunk(chunk, out),
            Self::Messages(encoder) => encoder.chunk(chunk, out),
            Self::Responses(encoder) => encoder.chunk(chunk, out),
            Self::Mcp(encoder) => encoder.chunk(chunk),
        }
    }

    /// Writes a tool call in the place of that which came, with those members of the provider's that go along.
    ///
    /// # Errors
    /// As [`Self::chunk`] has them.
    pub fn call(&mut self, chunk: &Chunk, extras: &str, out: &mut Vec<u8>) -> Result<(), TooLate> {
        match self {
            Self::Chat(encoder) => encoder.call(chunk, extras, out),
            Self::Messages(_) | Self::Responses(_) | Self::Mcp(_) => self.chunk(chunk, out),
        }
    }

    /// The next frame or body is the last that leaves: a finish reason in it is to say this.
    pub const fn set_ending(&mut self, ending: Ending) {
        match self {
            Self::Chat(encoder) => encoder.set_ending(ending),
            Self::Messages(encoder) => encoder.set_ending(ending),
            Self::Responses(encoder) => encoder.set_ending(ending),
            // Its messages have no finish reason.
            Self::Mcp(_) => {}
        }
    }

    /// The upstream has ended: writes what was kept back until more came.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::Chat(_) | Self::Responses(_) => {}
            Self::Messages(encoder) => encoder.flush(out),
            Self::Mcp(encoder) => encoder.flush(out),
        }
    }

    /// Ends the stream properly here: closes what is open, finish reason, terminator.
    pub fn end(&mut self, ending: Ending, out: &mut Vec<u8>) {
        match self {
            Self::Chat(encoder) => encoder.end(ending, out),
            Self::Messages(encoder) => encoder.end(ending, out),
            Self::Responses(encoder) => encoder.end(ending, out),
            Self::Mcp(encoder) => encoder.end(ending, out),
        }
    }

    /// What was written as the stream's end does not leave.
    pub const fn reopen(&mut self) {
        match self {
            Self::Chat(encoder) => encoder.reopen(),
            Self::Messages(encoder) => encoder.reopen(),
            Self::Responses(encoder) => encoder.reopen(),
            // Nothing ends there but the single message.
            Self::Mcp(_) => {}
        }
    }

    /// Ends the stream here with the dialect's error event.
    pub fn failure(&mut self, message: &str, out: &mut Vec<u8>) {
        match self {
            Self::Chat(encoder) => encoder.failure(message, out),
            Self::Messages(encoder) => encoder.failure(message, out),
            Self::Responses(encoder) => encoder.failure(message, out),
            Self::Mcp(encoder) => encoder.failure(message, out),
        }
    }

    /// Writes a whole JSON body that was decoded to `frame`.
    pub fn body(&mut self, raw: &[u8], frame: &Frame, actions: &[SlotAction], insertions: &[Insertion], out: &mut Vec<u8>) {
        match self {
            Self::Chat(encoder) => encoder.body(raw, frame, actions, insertions, out),
            Self::Messages(encoder) => encoder.body(raw, frame, actions, insertions, out),
            Self::Responses(encoder) => encoder.body(raw, frame, actions, insertions, out),
            Self::Mcp(encoder) => encoder.body(raw, frame, actions, insertions, out),
        }
    }

    /// Whether frames stand for themselves: a block is in one of them alone, and what takes its place is put there.
    pub const fn edits_in_place(&self) -> bool {
        matches!(self, Self::Mcp(_))
    }

    /// Whether tool calls of this dialect leave only when all of them are decided, because text may not follow them.
    pub const fn gathers_tool_calls(&self) -> bool {
        matches!(self, Self::Messages(_))
    }
}
