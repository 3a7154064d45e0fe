//! responses (<https://platform.openai.com/docs/api-reference/responses-streaming>).
//!
//! A response is a list of items, and a stream says each item up to five times: in deltas, in the `done` of what they
//! built, in that of the content part, in that of the item, and in the event that ends the response. Which of these a
//! client takes differs from client to client. So policies decide about what was said first, and once more about a
//! repetition that says something else. The encoder lets every repetition say what was really sent: one that differs
//! leaves as it came only if the policies let it, and nothing of what it repeats was changed.

mod body;
mod decode;
mod encode;
mod fields;
mod item;
pub(super) mod output;
mod payload;
mod repeat;
mod sent;

pub(super) use decode::Decoder;
pub(super) use encode::Encoder;

use super::Frame;

/// What the decoder tells the encoder about an event besides its slots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reading {
    event: EventKind,
    /// `sequence_number`.
    sequence: Option<u32>,
    /// `output_index`.
    output_index: u32,
    /// Number of the item, in the order in which the items of the response began.
    item: usize,
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
    /// Of the end of an item: its status.
    status: String,
}

/// Of an event that the decoder has not read.
static NOTHING: Reading = Reading {
    event: EventKind::Foreign,
    sequence: None,
    output_index: 0,
    item: 0,
    part: PartKey::Payload,
    text: String::new(),
    places: Vec::new(),
    known: Vec::new(),
    only_repeats: false,
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
        self.text.clear();
        self.places.clear();
        self.known.clear();
        self.only_repeats = false;
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
}

/// A part of an item that has a text of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum PartKey {
    /// What a tool call asks for.
    #[default]
    Payload,
    /// `content[index]`.
    Content(u32),
    /// `summary[index]`.
    Summary(u32),
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
