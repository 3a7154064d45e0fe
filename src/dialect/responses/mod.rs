//! responses (<https://platform.openai.com/docs/api-reference/responses-streaming>).
//!
//! A response is a list of items, and a stream says each item up to five times: in deltas, in the `done` of what they
//! built, in that of the content part, in that of the item, and in the event that ends the response. Which of these a
//! client takes differs from client to client. So policies decide about what was said first, and once more about a
//! repetition that says something else. The encoder lets every repetition say what was really sent: one that differs
//! leaves as it came only if the policies let it, and nothing of what it repeats was changed.

mod body;
mod client_view;
mod decode;
mod encode;
mod fields;
mod item;
pub(super) mod output;
mod payload;
mod plain;
mod rewrite;

pub(super) use decode::Decoder;
pub(super) use encode::Encoder;
pub(super) use plain::SCHEMA;

use super::Frame;
use crate::block::BlockKind;

/// What the decoder tells the encoder about an event besides its slots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reading {
    event: EventKind,
    /// `sequence_number`.
    sequence: Option<u32>,
    /// `output_index`; `None` where it is missing or no index.
    output_index: Option<u32>,
    /// Number of the item, in the order in which the items of the response began.
    item: usize,
    /// Whether the item begins here, although no event announces it.
    begins: Begins,
    /// The part of the item that the event is about.
    part: PartKey,
    /// The text of the slot, where there is one slot, or of the one that differs from what it repeats.
    text: String,
    /// Of each slot of an event that repeats items, or of a whole body: where it stands.
    places: Vec<Place>,
    /// Of the items in the event that ends the response: the number by which each is known.
    known: Vec<Option<usize>>,
    /// All that it says has come before, and in the same words.
    only_repeats: bool,
    /// It tells output of the response that is not what its items say, and leaves without.
    claims_output: bool,
    /// Of the end of an item: its status.
    status: String,
}

/// Of an event that the decoder has not read.
static NOTHING: Reading = Reading {
    event: EventKind::Foreign,
    sequence: None,
    output_index: None,
    item: 0,
    begins: Begins::No,
    part: PartKey::Payload,
    text: String::new(),
    places: Vec::new(),
    known: Vec::new(),
    only_repeats: false,
    claims_output: false,
    status: String::new(),
};

impl Reading {
    fn of(frame: &Frame) -> &Self {
        frame.responses.as_deref().unwrap_or(&NOTHING)
    }

    fn of_mut(frame: &mut Frame) -> &mut Self {
        frame.responses.get_or_insert_default()
    }

    pub(super) fn clear(&mut self) {
        self.event = EventKind::Foreign;
        self.sequence = None;
        self.output_index = None;
        self.begins = Begins::No;
        self.text.clear();
        self.places.clear();
        self.known.clear();
        self.only_repeats = false;
        self.claims_output = false;
        self.status.clear();
    }
}

/// What an event does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum EventKind {
    /// It is about no item, or not known.
    #[default]
    Foreign,
    Created,
    /// The response is said once more to have begun, or to wait.
    Lifecycle,
    ItemAdded,
    PartAdded,
    CommandAdded,
    Delta,
    /// Something of a part that is not its text: an annotation.
    Remark,
    /// All of a text has come (`output_text.done`, `function_call_arguments.done`).
    TextDone,
    CommandDone,
    PartDone,
    ItemDone,
    /// It is about an item, and says nothing that is decided about.
    Status,
    /// The response ends, and is repeated.
    Terminal,
    /// It leaves never: it comes behind the end of the response, or repeats a text without end.
    Surplus,
}

/// How an item begins that no event has announced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Begins {
    /// It has begun before, or is announced.
    #[default]
    No,
    /// An event tells something of an item of this type.
    As(&'static str),
    /// An event tells what a tool is asked, and the item that it names is no tool call.
    Beside {
        /// The number of that item.
        item: usize,
        /// The type of the call.
        r#type: &'static str,
    },
    /// Its end comes alone.
    Whole,
}

/// A part of an item that has a text of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum PartKey {
    /// What a tool call asks for.
    #[default]
    Payload,
    /// A text in `content[index]`.
    Text(u32),
    /// A refusal in `content[index]`.
    Refusal(u32),
    /// Reasoning in `content[index]`.
    Reasoning(u32),
    /// Reasoning in `summary[index]`.
    Summary(u32),
    /// What a voice says that comes as sound, in `content[index]`.
    Transcript(u32),
}

impl PartKey {
    /// What the block of the part is.
    const fn kind(self) -> BlockKind {
        match self {
            Self::Payload => BlockKind::ToolCall,
            Self::Text(_) | Self::Transcript(_) => BlockKind::Text,
            Self::Refusal(_) => BlockKind::Refusal,
            Self::Reasoning(_) | Self::Summary(_) => BlockKind::Reasoning,
        }
    }

    /// The list of the item that the part stands in, and its index there.
    const fn place(self) -> Option<(List, u32)> {
        match self {
            Self::Payload => None,
            Self::Text(index) | Self::Refusal(index) | Self::Reasoning(index) | Self::Transcript(index) => {
                Some((List::Content, index))
            }
            Self::Summary(index) => Some((List::Summary, index)),
        }
    }

    /// The member of the part, or of an event, that the text stands in.
    const fn member(self) -> &'static str {
        match self {
            Self::Refusal(_) => "refusal",
            Self::Transcript(_) => "transcript",
            Self::Payload | Self::Text(_) | Self::Reasoning(_) | Self::Summary(_) => "text",
        }
    }
}

/// A list of parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    Content,
    Summary,
}

/// Where a slot stands among items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// Position of the item in the list.
    element: usize,
    /// The part; `None` for the slot of the item itself.
    part: Option<PartKey>,
    /// It repeats what had come, and says something else.
    differs: bool,
}

#[cfg(test)]
mod tests;
