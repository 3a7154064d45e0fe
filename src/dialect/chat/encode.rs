//! Writes the stream of chat.completions.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::fields::{CallFields, CallIndex};
use super::output::{self, Delta, Function, Identity, ToolCall};
use super::splice::{self, Calls, ChoiceChange, SlotChange};
use crate::block::{BlockId, BlockKind, Chunk};
use crate::dialect::again::{Besides, OwnText, Replaced};
use crate::dialect::framing::{EventBoundary, WITHHELD, with_data};
use crate::dialect::{Ending, Frame, FrameRole, Slot, SlotAction, TooLate};
use crate::wire::json::{self, Malformed, Reader, Value};

/// What is read of a chunk that passes, to write chunks like it and to know the indices of its tool calls.
#[derive(Default)]
struct Passing {
    id: Option<Value>,
    created: Option<Value>,
    model: Option<Value>,
    system_fingerprint: Option<Value>,
    choices: SmallVec<[u32; 1]>,
    /// The upstream's indices of the tool calls, in the order of their slots.
    call_indices: CallIndices,
}

type CallIndices = SmallVec<[Option<u32>; 2]>;

impl Passing {
    fn read(source: &str) -> Result<Self, Malformed> {
        let mut passing = Self::default();
        Reader::new(source).object(|reader, key| {
            let field = match key {
                "choices" => return reader.optional_array(|reader| passing.read_choice(reader)).map(|_| ()),
                "id" => &mut passing.id,
                "created" => &mut passing.created,
                "model" => &mut passing.model,
                "system_fingerprint" => &mut passing.system_fingerprint,
                _ => return reader.skip(),
            };
            *field = reader.optional_value()?;
            Ok(())
        })?;
        Ok(passing)
    }

    fn read_choice(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        let mut index = None;
        reader.object(|reader, key| match key {
            "index" => {
                index = reader.optional_u32()?;
                Ok(())
            }
            "delta" => self.read_delta(reader),
            _ => reader.skip(),
        })?;
        self.choices.push(index.unwrap_or(0));
        Ok(())
    }

    fn read_delta(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        let mut function_call = None;
        reader.optional_object(|reader, key| match key {
            "tool_calls" => reader.optional_array(|reader| self.read_call(reader)).map(|_| ()),
            "function_call" => {
                function_call = reader.optional_value()?;
                Ok(())
            }
            _ => reader.skip(),
        })?;
        // Its slot is the last one, and it has no index.
        self.call_indices.extend(function_call.map(|_| None));
        Ok(())
    }

    fn read_call(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        let index = CallFields::read(reader)?.index.get();
        self.call_indices.push(match index {
            Some(CallIndex::Number(index)) => Some(index),
            Some(CallIndex::Odd(_)) | None => None,
        });
        Ok(())
    }

    /// What all chunks of the response have in common with this one; nothing without an id.
    fn identity(&self, source: &str) -> Option<Identity> {
        let text = |value: Value| source.get(value.start..value.end).unwrap_or_default();
        let id = json::string(text(self.id?)).into_owned();
        (!id.is_empty()).then(|| Identity {
            id,
            created: self.created.and_then(|created| text(created).parse().ok()).unwrap_or(0),
            model: self.model.map(|model| json::string(text(model)).into_owned()).unwrap_or_default(),
            system_fingerprint: self.system_fingerprint.map(|fingerprint| json::string(text(fingerprint)).into_owned()),
        })
    }
}

/// A choice as the client sees it.
#[derive(Debug, Default)]
pub(super) struct Choice {
    finished: bool,
    has_text: bool,
    /// Something of it was removed.
    lost: bool,
    calls_sent: u32,
    calls_removed: u32,
    /// Tool calls that a policy added.
    calls_added: u32,
    next_call_index: u32,
    /// A tool call of it was removed, or one of our own was added: those that come later need indices of our own.
    renumbers: bool,
}

impl Choice {
    /// Notes what becomes of a slot.
    pub(super) fn note(&mut self, slot: &Slot, action: &SlotAction) {
        if self.finished {
            // The choice goes on after its finish reason: another answer in the same stream.
            // The client still has its tool calls, by their indices.
            *self = Self { next_call_index: self.next_call_index, ..Self::default() };
        }
        let removed = *action == SlotAction::Remove;
        self.lost |= removed;
        if slot.kind == BlockKind::ToolCall {
            if slot.starts {
                let count = if removed { &mut self.calls_removed } else { &mut self.calls_sent };
                *count = count.saturating_add(1);
            }
        } else if matches!(slot.kind, BlockKind::Text | BlockKind::Refusal) {
            self.has_text |= match action {
                SlotAction::Keep => true,
                SlotAction::Replace(text) => !text.is_empty(),
                SlotAction::Remove => false,
            };
        }
    }

    /// Notes that a text or a tool call was added.
    pub(super) fn note_added(&mut self, chunk: &Chunk) {
        match chunk {
            Chunk::Text { text, .. } => self.has_text |= !text.is_empty(),
            Chunk::ToolCall { .. } => {
                self.calls_sent = self.calls_sent.saturating_add(1);
                self.calls_added = self.calls_added.saturating_add(1);
            }
        }
    }

    /// Whether nothing is in the message.
    pub(super) const fn is_empty(&self) -> bool {
        !self.has_text && self.calls_sent == 0
    }

    /// Whether nothing is in the message because of what was removed.
    pub(super) const fn was_emptied(&self) -> bool {
        self.lost && self.is_empty()
    }

    /// Gives the finish reason of an answer that ends here.
    const fn reason(&self, ending: Ending) -> &'static str {
        match ending {
            Ending::Stop if self.calls_sent > 0 => "tool_calls",
            Ending::Stop => "stop",
            Ending::Cut => "length",
            Ending::Refusal => "content_filter",
        }
    }

    /// Tells which of the upstream's finish reasons are no longer true, where the output ends with `ending` if with any.
    pub(super) const fn calls_before_end(&self, ending: Option<Ending>) -> Calls {
        match ending {
            Some(ending) => Calls::Ended(self.reason(ending)),
            None => self.calls(),
        }
    }

    const fn calls(&self) -> Calls {
        if self.calls_removed > 0 && self.calls_sent == 0 {
            Calls::NoneLeft
        } else if self.calls_added > 0 {
            Calls::Added
        } else {
            Calls::AsTheyCame
        }
    }
}

/// Writes the frames of one response.
#[derive(Debug, Default)]
pub struct Encoder {
    identity: Identity,
    identity_is_known: bool,
    choices: BTreeMap<u32, Choice>,
    /// The tool calls that the client sees, with the index that it knows one by where that is another than the upstream's.
    calls: BTreeMap<BlockId, Option<u32>>,
    /// Every index is to be that of the place, see `number_by_place` of the dialects' encoder.
    numbers_by_place: bool,
    /// The terminator or an error has left: nothing of our own may follow.
    terminated: bool,
    /// The end was written by us: nothing of the upstream may follow.
    ended: bool,
    boundary: EventBoundary,
    /// The reason that a finish reason is to give, whatever the upstream's.
    forced: Option<Ending>,
    /// Members of the upstream's that go along with the call that is written.
    extras: String,
    replaced: Replaced,
    /// By its choice.
    own_text: OwnText<u32>,
}

/// Whether a frame is a delta of a text that has begun, and nothing else.
fn is_text_alone(frame: &Frame) -> bool {
    let is_text = |slot: &Slot| matches!(slot.kind, BlockKind::Text | BlockKind::Refusal | BlockKind::Reasoning);
    frame.role == FrameRole::Content && frame.finishes.is_empty() && matches!(frame.slots.as_slice(), [slot] if is_text(slot))
}

impl Encoder {
    /// An encoder whose own chunks bear this identity until the upstream shows another.
    pub(in crate::dialect) fn with_identity(identity: Identity) -> Self {
        Self { identity, ..Self::default() }
    }

    /// Writes the chunk that a choice begins with.
    pub(in crate::dialect) fn begin_choice(&mut self, index: u32, out: &mut Vec<u8>) {
        let role = self.role(index);
        self.choices.entry(index).or_default();
        self.write(index, &Delta { role, content: Some(""), ..Delta::default() }, None, out);
    }

    pub(crate) const fn set_ending(&mut self, ending: Ending) {
        self.forced = Some(ending);
    }

    pub(super) const fn ending(&self) -> Option<Ending> {
        self.forced
    }

    pub(crate) fn call(&mut self, chunk: &Chunk, extras: &str, out: &mut Vec<u8>) -> Result<(), TooLate> {
        extras.clone_into(&mut self.extras);
        let written = self.chunk(chunk, out);
        self.extras.clear();
        written
    }

    pub(crate) const fn number_by_place(&mut self) {
        self.numbers_by_place = true;
    }

    pub(crate) fn event(&mut self, raw: &[u8], frame: &Frame, actions: &[SlotAction], out: &mut Vec<u8>) {
        if self.ended {
            return;
        }
        match frame.role {
            FrameRole::Unknown if actions.iter().any(|action| *action != SlotAction::Keep) => return,
            FrameRole::Free | FrameRole::Unknown => return self.boundary.verbatim(raw, out),
            FrameRole::Terminator => {
                self.fill_emptied(out);
                self.terminated = true;
                return self.boundary.verbatim(raw, out);
            }
            FrameRole::Failure => self.terminated = true,
            FrameRole::Content | FrameRole::Opening | FrameRole::Closing => {}
        }
        if self.passes_as_it_is(frame, actions) {
            for slot in &frame.slots {
                self.choices.entry(slot.choice).or_default().note(slot, &SlotAction::Keep);
            }
            return self.boundary.verbatim(raw, out);
        }
        if self.replaces_again(raw, frame, actions, out) {
            return;
        }
        let begins_call = frame.slots.iter().any(|slot| slot.starts && slot.kind == BlockKind::ToolCall);
        let is_bare = frame.slots.is_empty() && frame.finishes.is_empty();
        let call_indices = if begins_call || is_bare || !self.identity_is_known { self.observe(raw) } else { CallIndices::new() };
        let changes = self.note_slots(frame, actions, call_indices);
        for choice in &frame.finishes {
            if self.choices.entry(*choice).or_default().was_emptied() {
                self.write_text(*choice, WITHHELD, out);
            }
            self.choices.entry(*choice).or_default().finished = true;
        }
        let corrects_reason = frame.finishes.iter().any(|choice| {
            self.choices.get(choice).is_some_and(|choice| choice.calls_before_end(self.forced) != Calls::AsTheyCame)
        });
        let changes_slots = changes.iter().any(|change| *change.action != SlotAction::Keep || change.call_index.is_some());
        if changes_slots || corrects_reason {
            self.write_changed(raw, frame, changes, out);
        } else {
            self.boundary.verbatim(raw, out);
        }
    }

    /// Writes a frame that is like an earlier one but for its text, which is replaced or taken out. Whether it was one.
    fn replaces_again(&mut self, raw: &[u8], frame: &Frame, actions: &[SlotAction], out: &mut Vec<u8>) -> bool {
        let ([slot], [action]) = (frame.slots.as_slice(), actions) else { return false };
        if !self.identity_is_known || !is_text_alone(frame) {
            return false;
        }
        let Some(found) = self.replaced.find(raw) else { return false };
        match action {
            SlotAction::Replace(text) => {
                self.boundary.replaced(raw, &found, text, out);
            }
            SlotAction::Remove if found.besides == Besides::Nothing => {}
            SlotAction::Keep | SlotAction::Remove => return false,
        }
        self.choices.entry(slot.choice).or_default().note(slot, action);
        true
    }

    /// Reads what our own chunks need of a chunk that passes; the upstream's indices of its tool calls.
    fn observe(&mut self, raw: &[u8]) -> CallIndices {
        let mut call_indices = CallIndices::new();
        with_data(raw, |data| {
            let Ok(source) = core::str::from_utf8(data) else { return };
            let Ok(passing) = Passing::read(source) else { return };
            if !self.identity_is_known {
                // Some servers send something before the answer that does not bear its id; some have no ids at all.
                self.identity_is_known = !passing.choices.is_empty();
                if let Some(identity) = passing.identity(source) {
                    self.identity = identity;
                    self.own_text.forget();
                    self.identity_is_known = true;
                }
            }
            for choice in &passing.choices {
                self.choices.entry(*choice).or_default();
            }
            call_indices = passing.call_indices;
        });
        call_indices
    }

    /// Notes what becomes of the slots of a frame. `call_indices` are the upstream's indices of its tool calls.
    fn note_slots<'f>(
        &mut self,
        frame: &Frame,
        actions: &'f [SlotAction],
        call_indices: CallIndices,
    ) -> SmallVec<[SlotChange<'f>; 2]> {
        let mut changes = SmallVec::new();
        let mut call_indices = call_indices.into_iter();
        for (position, slot) in frame.slots.iter().enumerate() {
            let action = actions.get(position).unwrap_or(&SlotAction::Remove);
            let choice = self.choices.entry(slot.choice).or_default();
            choice.note(slot, action);
            let own_index = if slot.kind == BlockKind::ToolCall { call_indices.next().flatten() } else { None };
            if slot.kind == BlockKind::ToolCall && slot.starts {
                choice.renumbers |= self.numbers_by_place || *action == SlotAction::Remove;
                if *action != SlotAction::Remove {
                    let own_index = own_index.unwrap_or(choice.next_call_index);
                    let index = if choice.renumbers { choice.next_call_index } else { own_index };
                    choice.next_call_index = choice.next_call_index.max(index.saturating_add(1));
                    self.calls.insert(slot.block, (index != own_index).then_some(index));
                }
            }
            let sent = self.calls.get(&slot.block);
            changes.push(SlotChange {
                action,
                call_index: sent.copied().flatten(),
                continues_call: sent.is_some() && !slot.starts,
                repeats: sent.is_some() && !slot.starts && frame.repeats.binary_search(&position).is_ok(),
            });
        }
        changes
    }

    /// Whether the frame is what most are: deltas of what has begun, all of which leave as they came.
    fn passes_as_it_is(&self, frame: &Frame, actions: &[SlotAction]) -> bool {
        let passes = |slot: &Slot| slot.kind != BlockKind::ToolCall || !(slot.starts || self.is_renumbered(slot.block));
        let has_slots_alone = frame.role == FrameRole::Content && !frame.slots.is_empty() && frame.finishes.is_empty();
        has_slots_alone
            && self.identity_is_known
            && actions.iter().all(|action| *action == SlotAction::Keep)
            && frame.slots.iter().all(passes)
    }

    /// Whether the client knows the tool call by another index than the upstream's.
    fn is_renumbered(&self, block: BlockId) -> bool {
        self.calls.get(&block).is_some_and(Option::is_some)
    }

    fn write_changed(&mut self, raw: &[u8], frame: &Frame, changes: SmallVec<[SlotChange<'_>; 2]>, out: &mut Vec<u8>) {
        let mut choices = Vec::new();
        with_data(raw, |data| {
            let Ok(source) = core::str::from_utf8(data) else {
                return;
            };
            for index in &frame.finishes {
                let calls = self.choices.get(index).map(|choice| choice.calls_before_end(self.forced)).unwrap_or_default();
                if calls != Calls::AsTheyCame {
                    choices.push(ChoiceChange { choice: *index, calls_left: calls, ..ChoiceChange::default() });
                }
            }
            let spliced = splice::splice(source, "delta", &mut changes.into_iter(), &choices);
            if spliced.edits.is_empty() {
                return self.boundary.verbatim(raw, out);
            }
            if !spliced.keeps_text && !spliced.is_useful {
                return;
            }
            let mut edited = Vec::with_capacity(source.len());
            spliced.edits.apply(source.as_bytes(), &mut edited);
            self.boundary.close(out);
            let written_before = out.len();
            self.boundary.with_data(raw, &edited, out);
            if is_text_alone(frame) {
                let besides = if spliced.is_useful { Besides::Something } else { Besides::Nothing };
                let written = out.get(written_before..).unwrap_or_default();
                self.replaced.learn(raw, data, &spliced.edits, spliced.padding, besides, written);
            }
        });
    }

    pub(crate) fn notice(&mut self, raw: &[u8]) {
        if !self.identity_is_known {
            self.observe(raw);
        }
    }

    pub(crate) fn chunk(&mut self, chunk: &Chunk, out: &mut Vec<u8>) -> Result<(), TooLate> {
        let (Chunk::Text { choice: index, .. } | Chunk::ToolCall { choice: index, .. }) = chunk;
        if self.terminated || self.choices.get(index).is_some_and(|choice| choice.finished) {
            return Err(TooLate);
        }
        match chunk {
            Chunk::Text { choice, kind: BlockKind::Refusal, text } => {
                let role = self.role(*choice);
                self.choices.entry(*choice).or_default().note_added(chunk);
                self.write(*choice, &Delta { role, refusal: Some(text), ..Delta::default() }, None, out);
            }
            Chunk::Text { choice, kind: BlockKind::Reasoning, text } => {
                let role = self.role(*choice);
                self.choices.entry(*choice).or_default();
                self.write(*choice, &Delta { role, reasoning_content: Some(text), ..Delta::default() }, None, out);
            }
            Chunk::Text { choice, text, .. } => self.write_text(*choice, text, out),
            // A call that takes the place of a legacy function call has no id either.
            Chunk::ToolCall { choice, call_id, name, arguments, free_form: false } if call_id.is_empty() => {
                let role = self.role(*choice);
                self.choices.entry(*choice).or_default().note_added(chunk);
                let function_call = Some(Function { name, arguments });
                self.write(*choice, &Delta { role, function_call, ..Delta::default() }, None, out);
            }
            Chunk::ToolCall { choice: index, call_id, name, arguments, free_form } => {
                let role = self.role(*index);
                let choice = self.choices.entry(*index).or_default();
                choice.note_added(chunk);
                choice.renumbers = true;
                let call_index = choice.next_call_index;
                choice.next_call_index = call_index.saturating_add(1);
                let call = ToolCall::new(Some(call_index), call_id, name, arguments, *free_form).with_extras(&self.extras);
                self.write(*index, &Delta { role, tool_calls: Some([call]), ..Delta::default() }, None, out);
            }
        }
        Ok(())
    }

    pub(crate) fn end(&mut self, ending: Ending, out: &mut Vec<u8>) {
        if self.terminated {
            return;
        }
        if self.choices.is_empty() {
            self.begin_choice(0, out);
        }
        let unfinished: Vec<u32> = self.choices.iter().filter(|(_, choice)| !choice.finished).map(|(index, _)| *index).collect();
        for index in unfinished {
            self.finish_choice(index, ending, out);
        }
        self.boundary.close(out);
        output::terminator(out);
        self.terminated = true;
        self.ended = true;
    }

    /// Ends one choice.
    pub(in crate::dialect) fn finish_choice(&mut self, index: u32, ending: Ending, out: &mut Vec<u8>) {
        let choice = self.choices.entry(index).or_default();
        choice.finished = true;
        let reason = match ending {
            Ending::Stop if choice.calls_sent > 0 => "tool_calls",
            Ending::Stop => "stop",
            Ending::Cut => "length",
            Ending::Refusal => "content_filter",
        };
        if choice.is_empty() {
            self.write_text(index, WITHHELD, out);
        }
        self.write(index, &Delta::default(), Some(reason), out);
    }

    pub(crate) const fn reopen(&mut self) {
        self.terminated = false;
        self.ended = false;
    }

    pub(crate) fn failure(&mut self, message: &str, out: &mut Vec<u8>) {
        if self.terminated {
            return;
        }
        self.boundary.close(out);
        out.extend_from_slice(b"data: ");
        output::failure("api_error", None, message, out);
        out.extend_from_slice(b"\n\n");
        self.terminated = true;
        self.ended = true;
    }

    /// At a terminator that no finish reason went before: no message may be empty because of us.
    fn fill_emptied(&mut self, out: &mut Vec<u8>) {
        let emptied: Vec<u32> =
            self.choices.iter().filter(|(_, choice)| !choice.finished && choice.was_emptied()).map(|(index, _)| *index).collect();
        for index in emptied {
            self.write_text(index, WITHHELD, out);
        }
    }

    /// The role, if the choice has not begun yet.
    fn role(&self, choice: u32) -> Option<&'static str> {
        (!self.choices.contains_key(&choice)).then_some("assistant")
    }

    fn write_text(&mut self, index: u32, text: &str, out: &mut Vec<u8>) {
        let role = self.role(index);
        self.choices.entry(index).or_default().has_text |= !text.is_empty();
        if role.is_some() {
            return self.write(index, &Delta { role, content: Some(text), ..Delta::default() }, None, out);
        }
        self.boundary.close(out);
        let identity = &self.identity;
        self.own_text.write(index, text, out, |text, out| {
            output::chunk(identity, index, &Delta { content: Some(text), ..Delta::default() }, None, out);
        });
    }

    fn write(&mut self, choice: u32, delta: &Delta<'_>, finish_reason: Option<&str>, out: &mut Vec<u8>) {
        self.boundary.close(out);
        output::chunk(&self.identity, choice, delta, finish_reason, out);
    }
}
