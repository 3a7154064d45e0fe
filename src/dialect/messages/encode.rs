//! Writes the stream of messages.

mod blocks;
mod own;

use std::borrow::Cow;

use serde::Deserialize;
use smallvec::SmallVec;

use super::body::edit_message;
use super::output::{Event, Identity};
use crate::block::{BlockId, BlockKind, Chunk};
use crate::dialect::again::{OwnText, Replaced};
use crate::dialect::framing::{EventBoundary, with_data};
use crate::dialect::messages::sequence::FOREIGN_TERMINATOR;
use crate::dialect::{Ending, Frame, FrameRole, Slot, SlotAction};
use crate::wire::json::{self, Edits};
use crate::wire::sse;

/// What is read of an event that passes, where the encoder has to know more than the frame tells.
#[derive(Deserialize)]
struct Passing<'a> {
    #[serde(borrow)]
    r#type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    message: Option<PassingMessage<'a>>,
    usage: Option<PassingUsage>,
}

#[derive(Deserialize)]
struct PassingMessage<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    usage: Option<PassingUsage>,
}

#[derive(Deserialize)]
struct PassingUsage {
    output_tokens: Option<u64>,
}

/// A content block that is open at the client.
#[derive(Debug, Clone, Copy)]
struct OpenBlock {
    block: BlockId,
    kind: BlockKind,
    /// The index that the client knows it by.
    index: u32,
    upstream_index: u32,
    /// Whether that is another than the upstream's.
    renumbered: bool,
    has_text: bool,
    /// Some of it was removed.
    lost: bool,
}

/// The message as the client sees it.
#[derive(Debug, Default)]
struct Progress {
    open: SmallVec<[OpenBlock; 2]>,
    /// The place that its next block has in the client's list.
    next_index: u32,
    /// Its blocks do not leave as they came any more: the client needs indices of our own.
    renumbers: bool,
    /// It has text, a tool call or a tool result.
    has_content: bool,
    /// Something of it was removed.
    lost: bool,
    calls_sent: u32,
    calls_removed: u32,
    /// Tool calls that a policy added.
    calls_added: u32,
    /// Its stop reason has left.
    finished: bool,
}

/// The beginning of a text block that has not left: whether the client is to have the block shows with its first text.
#[derive(Debug)]
struct Unopened {
    raw: Vec<u8>,
    slot: Slot,
    /// What came after it, in its order.
    following: Vec<Following>,
    /// Bytes in `following`.
    following_bytes: usize,
    /// Some of the block was removed.
    lost: bool,
}

/// An event behind the beginning of a text block that has not left.
#[derive(Debug)]
enum Following {
    /// It does not depend on the block (`ping`).
    Independent(Vec<u8>),
    /// A delta that carries no text (a citation): it leaves if the block does.
    Textless(Vec<u8>),
}

impl Unopened {
    const fn new(raw: Vec<u8>, slot: Slot) -> Self {
        Self { raw, slot, following: Vec::new(), following_bytes: 0, lost: false }
    }

    /// Keeps an event back, if there is room for it.
    fn keep(&mut self, raw: &[u8], of: fn(Vec<u8>) -> Following) -> bool {
        let following_bytes = self.following_bytes.saturating_add(raw.len());
        let has_room = following_bytes <= MAX_UNOPENED_BYTES;
        if has_room {
            self.following_bytes = following_bytes;
            self.following.push(of(raw.to_vec()));
        }
        has_room
    }
}

/// What may wait behind the beginning of a text block, in bytes: with more, the block is opened.
const MAX_UNOPENED_BYTES: usize = 64 * 1024;

/// Writes the frames of one response.
#[derive(Debug, Default)]
pub struct Encoder {
    unopened: Option<Unopened>,
    identity: Identity,
    message: Option<Progress>,
    /// Chunks of policies that wait for the message to begin, or for a block to end.
    waiting: Vec<Chunk>,
    /// Blocks whose beginning was seen.
    begun: u32,
    output_tokens: u64,
    /// Every index is to be that of the place, see `number_by_place` of the dialects' encoder.
    numbers_by_place: bool,
    /// The terminator or an error has left: nothing of our own may follow.
    terminated: bool,
    /// The end was written by us: nothing of the upstream may follow.
    ended: bool,
    /// Whether the events of the upstream have names; ours have, too, until it is known.
    named: Option<bool>,
    boundary: EventBoundary,
    /// The reason that a stop reason is to give, whatever the upstream's.
    forced: Option<Ending>,
    replaced: Replaced,
    /// By the index and the kind of its block, and whether events have names.
    own_text: OwnText<(u32, BlockKind, bool)>,
}

/// What becomes of the slot at `position`: what nobody decided about does not leave.
pub(super) fn action_of(actions: &[SlotAction], position: usize) -> &SlotAction {
    actions.get(position).unwrap_or(&SlotAction::Remove)
}

/// Whether every slot of `frame` leaves as it came.
pub(super) fn keeps_all(frame: &Frame, actions: &[SlotAction]) -> bool {
    (0..frame.slots.len()).all(|position| *action_of(actions, position) == SlotAction::Keep)
}

/// Whether an event that passes is a delta with text: a citation is none.
pub(super) fn says_text(raw: &[u8]) -> bool {
    let mut says_text = false;
    with_data(raw, |data| {
        let fields = json::members(core::str::from_utf8(data).unwrap_or_default());
        let delta = json::member(&fields, "delta").map(json::members).unwrap_or_default();
        says_text = json::member(&delta, "text").is_some_and(|text| !json::string(text).is_empty());
    });
    says_text
}

/// The member in which the text of a block of this kind stands.
pub(super) const fn text_member(kind: BlockKind) -> &'static str {
    match kind {
        BlockKind::Text => "text",
        BlockKind::Reasoning => "thinking",
        _ => "input",
    }
}

impl Encoder {
    /// An encoder whose own message bears this identity.
    pub(in crate::dialect) fn with_identity(identity: Identity) -> Self {
        Self { output_tokens: identity.usage.output_tokens, identity, ..Self::default() }
    }

    pub(crate) const fn set_ending(&mut self, ending: Ending) {
        self.forced = Some(ending);
    }

    pub(super) const fn ending(&self) -> Option<Ending> {
        self.forced
    }

    pub(crate) const fn number_by_place(&mut self) {
        self.numbers_by_place = true;
    }

    pub(crate) fn event(&mut self, raw: &[u8], frame: &Frame, actions: &[SlotAction], out: &mut Vec<u8>) {
        if self.ended {
            return;
        }
        self.learn_naming(raw, frame);
        if self.defer(raw, frame, actions, out) {
            return;
        }
        match frame.role {
            FrameRole::Free => self.boundary.verbatim(raw, out),
            FrameRole::Failure => {
                self.terminated = true;
                self.boundary.verbatim(raw, out);
            }
            FrameRole::Closing => self.message_delta(raw, frame, actions, out),
            FrameRole::Terminator => {
                self.close_open(false, out);
                self.complete(out);
                self.boundary.verbatim(raw, out);
                self.terminated = true;
            }
            FrameRole::Opening => self.opening(raw, frame, actions, out),
            FrameRole::Unknown => self.unknown(raw, frame, actions, out),
            FrameRole::Content => match frame.slots.first() {
                None => self.bare_event(raw, out),
                Some(slot) => self.slot(raw, slot, action_of(actions, 0), out),
            },
        }
    }

    /// Learns from the first event that builds the message whether events have names: there are clients that pass over
    /// those without, and others that do not look at names.
    fn learn_naming(&mut self, raw: &[u8], frame: &Frame) {
        if self.named.is_none() && !matches!(frame.role, FrameRole::Free | FrameRole::Unknown | FrameRole::Failure) {
            let mut parser = sse::Parser::new(usize::MAX);
            self.named = parser
                .next(&mut { raw })
                .ok()
                .flatten()
                .filter(|event| event.data.is_some_and(|data| data != FOREIGN_TERMINATOR))
                .map(|event| !event.name.is_empty());
        }
    }

    /// Keeps the beginning of a text block back until something of the block leaves, so that no text block is empty
    /// because its text was removed. Whether the event is dealt with by that.
    fn defer(&mut self, raw: &[u8], frame: &Frame, actions: &[SlotAction], out: &mut Vec<u8>) -> bool {
        let slot = frame.slots.first().filter(|_| frame.role == FrameRole::Content);
        let action = action_of(actions, 0);
        if let Some(unopened) = &mut self.unopened {
            if frame.role == FrameRole::Free && unopened.keep(raw, Following::Independent) {
                return true;
            }
            let says_nothing = *action == SlotAction::Remove || *action == SlotAction::Replace(String::new());
            match slot.filter(|slot| slot.block == unopened.slot.block) {
                Some(slot) if slot.stops && unopened.lost && !matches!(action, SlotAction::Replace(_)) => {
                    self.give_up_unopened(out);
                    return true;
                }
                Some(slot) if !slot.stops && says_nothing => {
                    unopened.lost = true;
                    return true;
                }
                Some(slot)
                    if slot.kind == BlockKind::Text
                        && !slot.stops
                        && *action == SlotAction::Keep
                        && !says_text(raw)
                        && unopened.keep(raw, Following::Textless) =>
                {
                    return true;
                }
                _ => self.open_deferred(out),
            }
        }
        let is_text = |slot: &&Slot| slot.starts && matches!(slot.kind, BlockKind::Text | BlockKind::Reasoning);
        let Some(slot) = slot.filter(|slot| is_text(slot) && *action == SlotAction::Keep) else { return false };
        let mut is_empty = true;
        with_data(raw, |data| {
            let fields = json::members(core::str::from_utf8(data).unwrap_or_default());
            let block = json::member(&fields, "content_block").map(json::members).unwrap_or_default();
            is_empty = json::member(&block, text_member(slot.kind)).is_none_or(|text| json::string(text).is_empty());
        });
        if is_empty {
            self.unopened = Some(Unopened::new(raw.to_vec(), *slot));
        }
        is_empty
    }

    /// The client is to have the block after all.
    fn open_deferred(&mut self, out: &mut Vec<u8>) {
        let Some(unopened) = self.unopened.take() else { return };
        self.start(&unopened.raw, &unopened.slot, &SlotAction::Keep, out);
        let message = self.message.get_or_insert_default();
        message.lost |= unopened.lost;
        let position = message.open.len().saturating_sub(1);
        if let Some(open) = message.open.last_mut() {
            open.lost = unopened.lost;
        }
        for following in &unopened.following {
            match following {
                Following::Independent(raw) => self.boundary.verbatim(raw, out),
                Following::Textless(raw) => self.write_renumbered(raw, position, Edits::default(), out),
            }
        }
    }

    /// All of the block was removed: its beginning and its end go with it.
    fn give_up_unopened(&mut self, out: &mut Vec<u8>) {
        let Some(unopened) = self.unopened.take() else { return };
        self.start(&unopened.raw, &unopened.slot, &SlotAction::Remove, out);
        for following in &unopened.following {
            if let Following::Independent(raw) = following {
                self.boundary.verbatim(raw, out);
            }
        }
    }

    /// The upstream has ended: what was kept back leaves.
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) {
        if !self.ended {
            self.open_deferred(out);
        }
    }

    /// Something unknown: an event, or a delta of a block.
    fn unknown(&mut self, raw: &[u8], frame: &Frame, actions: &[SlotAction], out: &mut Vec<u8>) {
        self.begun = self.begun.saturating_add(1);
        if !keeps_all(frame, actions) {
            return;
        }
        let mut block = None;
        with_data(raw, |data| {
            let fields = json::members(core::str::from_utf8(data).unwrap_or_default());
            if json::member(&fields, "type").is_some_and(|kind| json::string(kind) == "content_block_delta") {
                block = json::member(&fields, "index").and_then(|index| index.parse::<u32>().ok());
            }
        });
        let Some(block) = block else { return self.boundary.verbatim(raw, out) };
        // What belongs to a block that the client does not have cannot leave.
        let open = self.message.as_ref().and_then(|message| message.open.iter().position(|open| open.upstream_index == block));
        if let Some(position) = open {
            self.write_renumbered(raw, position, Edits::default(), out);
        }
    }

    /// An event without slots: the beginning of a message, or nothing that counts.
    fn bare_event(&mut self, raw: &[u8], out: &mut Vec<u8>) {
        self.boundary.verbatim(raw, out);
        if self.begin_message(raw) {
            self.release_waiting(out);
        }
    }

    /// The beginning of a message that brings blocks with it.
    fn opening(&mut self, raw: &[u8], frame: &Frame, actions: &[SlotAction], out: &mut Vec<u8>) {
        let mut edits = Edits::default();
        if !keeps_all(frame, actions) {
            with_data(raw, |data| {
                let source = core::str::from_utf8(data).unwrap_or_default();
                if let Some(message) = json::member(&json::members(source), "message") {
                    edit_message(source, message, frame, actions, (&[], None), &mut edits);
                }
            });
        }
        self.write_edited(raw, edits, out);
        self.begin_message(raw);
        let message = self.message.get_or_insert_default();
        for (position, slot) in frame.slots.iter().enumerate() {
            self.begun = self.begun.saturating_add(1);
            let calls = if *action_of(actions, position) == SlotAction::Remove {
                message.lost = true;
                message.renumbers = true;
                &mut message.calls_removed
            } else {
                message.next_index = message.next_index.saturating_add(1);
                message.has_content |= slot.kind != BlockKind::Other;
                &mut message.calls_sent
            };
            *calls = calls.saturating_add(u32::from(slot.kind == BlockKind::ToolCall));
        }
        self.release_waiting(out);
    }

    /// Whether the event begins a message; if so, its identity is taken.
    fn begin_message(&mut self, raw: &[u8]) -> bool {
        let mut begins = false;
        with_data(raw, |data| {
            let Ok(passing) = serde_json::from_slice::<Passing<'_>>(data) else {
                return;
            };
            begins = passing.r#type.as_deref() == Some("message_start");
            let Some(message) = passing.message.filter(|_| begins) else {
                return;
            };
            self.identity = Identity {
                id: message.id.unwrap_or_default().into_owned(),
                model: message.model.unwrap_or_default().into_owned(),
                ..Identity::default()
            };
            self.output_tokens = message.usage.and_then(|usage| usage.output_tokens).unwrap_or(0);
        });
        if begins {
            // Clients pass over a second beginning, and go on counting blocks where the first message left off.
            let next_index = self.message.as_ref().map_or(0, |message| message.next_index);
            self.message = Some(Progress { next_index, ..Progress::default() });
            self.terminated = false;
        }
        begins
    }

    fn message_delta(&mut self, raw: &[u8], frame: &Frame, actions: &[SlotAction], out: &mut Vec<u8>) {
        let finishes = !frame.finishes.is_empty();
        if finishes {
            self.close_open(false, out);
        }
        self.complete(out);
        let is_detail_kept = keeps_all(frame, actions);
        self.begun = self.begun.saturating_add(u32::try_from(frame.slots.len()).unwrap_or(u32::MAX));
        let message = self.message.get_or_insert_default();
        message.finished |= finishes;
        let (emptied, added) = (message.calls_removed > 0 && message.calls_sent == 0, message.calls_added > 0);
        let forced = self.forced.map(|ending| end_reason(ending, message.calls_sent > 0));
        let mut edits = Edits::default();
        with_data(raw, |data| {
            let Ok(source) = core::str::from_utf8(data) else {
                return;
            };
            let fields = json::members(source);
            let delta = json::member(&fields, "delta").map(json::members).unwrap_or_default();
            if let Some(reason) = json::member(&delta, "stop_reason").filter(|_| finishes)
                && let Some(corrected) = forced.or_else(|| corrected_reason(&json::string(reason), emptied, added))
            {
                edits.replace(json::span(source, reason), json::to_text(corrected));
            }
            if let Some(details) = json::member(&delta, "stop_details").filter(|_| !is_detail_kept) {
                edits.replace(json::span(source, details), "null");
            }
            let usage = serde_json::from_str::<Passing<'_>>(source).ok().and_then(|passing| passing.usage);
            if let Some(output_tokens) = usage.and_then(|usage| usage.output_tokens) {
                self.output_tokens = output_tokens;
            }
        });
        self.write_edited(raw, edits, out);
    }

    /// Writes an upstream's event of an open block, with the index that the client knows.
    fn write_renumbered(&mut self, raw: &[u8], position: usize, mut edits: Edits, out: &mut Vec<u8>) {
        let open = self.message.as_ref().and_then(|message| message.open.get(position));
        if let Some(open) = open.filter(|open| open.renumbered) {
            with_data(raw, |data| {
                let Ok(source) = core::str::from_utf8(data) else {
                    return;
                };
                if let Some(index) = json::member(&json::members(source), "index") {
                    edits.replace(json::span(source, index), open.index.to_string());
                }
            });
        }
        self.write_edited(raw, edits, out);
    }

    fn write_edited(&mut self, raw: &[u8], edits: Edits, out: &mut Vec<u8>) {
        if edits.is_empty() {
            return self.boundary.verbatim(raw, out);
        }
        let mut edited = Vec::with_capacity(raw.len());
        with_data(raw, |data| edits.apply(data, &mut edited));
        self.boundary.with_data(raw, &edited, out);
    }

    fn write(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        self.boundary.close(out);
        event.write(self.named != Some(false), out);
    }
}

/// Gives the stop reason of an answer that ends here.
pub(super) const fn end_reason(ending: Ending, has_calls: bool) -> &'static str {
    match ending {
        Ending::Stop if has_calls => "tool_use",
        Ending::Stop => "end_turn",
        Ending::Cut => "max_tokens",
        Ending::Refusal => "refusal",
    }
}

/// Gives the stop reason that is true where `reason` is not: no call is left, or a policy has added some.
pub(super) fn corrected_reason(reason: &str, emptied: bool, added: bool) -> Option<&'static str> {
    match reason {
        "tool_use" if emptied => Some("end_turn"),
        "end_turn" if added => Some("tool_use"),
        _ => None,
    }
}

/// What stands in a `content_block_start` in place of its own text or input.
pub(super) fn start_value(kind: BlockKind, text: &str) -> String {
    if matches!(kind, BlockKind::Text | BlockKind::Reasoning) {
        return json::to_text(text);
    }
    if json::is_unambiguous_object(text) { text.to_owned() } else { "{}".to_owned() }
}
