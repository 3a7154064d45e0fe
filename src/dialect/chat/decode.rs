//! Reads chat.completions.
//!
//! Which fields are slots depends on the document alone, never on what came before it, so that the encoder finds the
//! same slots again: every text that is not empty, every element of `tool_calls`, every `function_call`; in the order
//! reasoning, content, refusal, tool calls, function call within each choice.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use smallvec::SmallVec;

use crate::block::{BlockId, BlockKind};
use crate::dialect::document::{self, Object, Strings, Text};
use crate::dialect::{DecodeError, Frame, FrameRole, MAX_BLOCKS, Part, Piece, Slot};
use crate::json::ObjectScanner;
use crate::sse;

/// A chunk of a stream.
#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    choices: Option<SmallVec<[Object<ChunkChoice<'a>>; 1]>>,
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct ChunkChoice<'a> {
    index: Option<u32>,
    #[serde(borrow)]
    delta: Option<Object<MessageFields<'a>>>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
}

/// A whole body.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    choices: Option<Vec<Object<BodyChoice<'a>>>>,
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct BodyChoice<'a> {
    index: Option<u32>,
    #[serde(borrow)]
    message: Option<Object<MessageFields<'a>>>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct MessageFields<'a> {
    #[serde(borrow)]
    reasoning_content: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_calls: Option<SmallVec<[Object<CallFields<'a>>; 1]>>,
    #[serde(borrow)]
    function_call: Option<Object<FunctionFields<'a>>>,
}

#[derive(Deserialize)]
struct ContentPart<'a> {
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    refusal: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct CallFields<'a> {
    index: Option<u32>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    function: Option<Object<FunctionFields<'a>>>,
    #[serde(borrow)]
    custom: Option<Object<CustomFields<'a>>>,
}

#[derive(Deserialize)]
struct FunctionFields<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct CustomFields<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
}

/// A tool call of a choice, streamed so far.
#[derive(Debug)]
struct Call {
    key: CallKey,
    block: BlockId,
    id: String,
    name: String,
    /// Whether it is a custom tool; unknown as long as no delta has said so.
    free_form: Option<bool>,
    arguments: ObjectScanner,
    open: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CallKey {
    /// By `tool_calls[].index`.
    Index(u32),
    /// The one legacy `function_call`.
    Function,
}

#[derive(Debug, Default)]
struct Choice {
    index: u32,
    /// The open text blocks, with what they are.
    texts: SmallVec<[(BlockKind, BlockId); 2]>,
    calls: Vec<Call>,
}

/// A part of the document at hand that is to be reported.
enum Found<'a> {
    Piece { slot: Slot, call_id: Text<'a>, name: Text<'a>, text: Text<'a>, free_form: bool },
    Stop { block: BlockId, complete: bool },
    Finish { choice: u32, reason: Text<'a> },
}

type Findings<'a> = SmallVec<[Found<'a>; 2]>;

/// Reads the documents of one response.
#[derive(Debug, Default)]
pub struct Decoder {
    blocks: u32,
    choices: SmallVec<[Choice; 1]>,
    strings: Strings,
}

impl Decoder {
    pub(crate) fn event(
        &mut self,
        event: &sse::Event<'_>,
        frame: &mut Frame,
        each: &mut dyn FnMut(Part<'_>),
    ) -> Result<(), DecodeError> {
        frame.clear();
        let Some(data) = event.data.filter(|data| !data.is_empty()) else {
            frame.role = FrameRole::Free;
            return Ok(());
        };
        if data.starts_with(super::TERMINATOR) {
            frame.role = FrameRole::Terminator;
            self.stop_all(true, each);
            each(Part::End);
            return Ok(());
        }
        self.document(data, false, frame, each)
    }

    pub(crate) fn body(&mut self, body: &[u8], frame: &mut Frame, each: &mut dyn FnMut(Part<'_>)) -> Result<(), DecodeError> {
        frame.clear();
        self.document(body, true, frame, each)?;
        each(Part::End);
        Ok(())
    }

    pub(crate) fn finish(&mut self, each: &mut dyn FnMut(Part<'_>)) {
        self.stop_all(false, each);
    }

    fn stop_all(&mut self, complete: bool, each: &mut dyn FnMut(Part<'_>)) {
        for choice in &mut self.choices {
            choice.stop(|block| each(Part::Stop { block, complete }));
        }
    }

    fn document(
        &mut self,
        bytes: &[u8],
        whole: bool,
        frame: &mut Frame,
        each: &mut dyn FnMut(Part<'_>),
    ) -> Result<(), DecodeError> {
        let text = document::utf8(bytes)?;
        self.strings.clear();
        let mut findings = Findings::new();
        let found = if whole { self.find_in_body(text, &mut findings) } else { self.find_in_chunk(text, &mut findings) };
        let is_failure = found.inspect_err(|_| {
            // Blocks that were never reported must not be reported as stopped.
            self.choices.clear();
        })?;
        if is_failure {
            frame.role = FrameRole::Failure;
        }
        for found in findings {
            match found {
                Found::Piece { slot, call_id, name, text, free_form } => {
                    frame.slots.push(slot);
                    each(Part::Piece(Piece {
                        block: slot.block,
                        choice: slot.choice,
                        kind: slot.kind,
                        starts: slot.starts,
                        stops: slot.stops,
                        call_id: self.strings.get(call_id),
                        name: self.strings.get(name),
                        text: self.strings.get(text),
                        free_form,
                    }));
                }
                Found::Stop { block, complete } => each(Part::Stop { block, complete }),
                Found::Finish { choice, reason } => {
                    frame.finishes.push(choice);
                    each(Part::Finish { choice, reason: self.strings.get(reason) });
                }
            }
        }
        Ok(())
    }

    /// What a chunk holds; whether it reports an error.
    fn find_in_chunk<'a>(&mut self, text: &'a str, findings: &mut Findings<'a>) -> Result<bool, DecodeError> {
        let chunk: Chunk<'a> = document::read(text)?;
        for choice in chunk.choices.iter().flatten() {
            let mut reader = self.reader(text, false, choice.index, findings)?;
            reader.message(choice.delta.as_deref())?;
            reader.finish_reason(choice.finish_reason)?;
        }
        Ok(chunk.error.is_some())
    }

    /// What a whole body holds; whether it reports an error.
    fn find_in_body<'a>(&mut self, text: &'a str, findings: &mut Findings<'a>) -> Result<bool, DecodeError> {
        let body: Body<'a> = document::read(text)?;
        for choice in body.choices.iter().flatten() {
            let mut reader = self.reader(text, true, choice.index, findings)?;
            reader.message(choice.message.as_deref())?;
            reader.finish_reason(choice.finish_reason)?;
        }
        Ok(body.error.is_some())
    }

    fn reader<'r, 'a>(
        &'r mut self,
        document: &'a str,
        whole: bool,
        index: Option<u32>,
        findings: &'r mut Findings<'a>,
    ) -> Result<ChoiceReader<'r, 'a>, DecodeError> {
        let index = index.unwrap_or(0);
        let known = self.choices.iter().position(|choice| choice.index == index);
        if known.is_none() {
            self.choices.push(Choice { index, ..Choice::default() });
        }
        let position = known.unwrap_or_else(|| self.choices.len().saturating_sub(1));
        let choice = self.choices.get_mut(position).filter(|_| position < MAX_BLOCKS);
        let choice = choice.ok_or(DecodeError::TooManyBlocks)?;
        Ok(ChoiceReader { document, whole, blocks: &mut self.blocks, strings: &mut self.strings, choice, findings })
    }
}

impl Choice {
    /// Closes all blocks that are open.
    fn stop(&mut self, mut each: impl FnMut(BlockId)) {
        for (_, block) in self.texts.drain(..) {
            each(block);
        }
        for call in &mut self.calls {
            if core::mem::take(&mut call.open) {
                each(call.block);
            }
        }
    }
}

/// Reads one choice of one document.
struct ChoiceReader<'r, 'a> {
    document: &'a str,
    whole: bool,
    blocks: &'r mut u32,
    strings: &'r mut Strings,
    choice: &'r mut Choice,
    findings: &'r mut Findings<'a>,
}

impl<'a> ChoiceReader<'_, 'a> {
    fn message(&mut self, message: Option<&MessageFields<'a>>) -> Result<(), DecodeError> {
        let Some(message) = message else {
            return Ok(());
        };
        self.text(BlockKind::Reasoning, message.reasoning_content)?;
        self.text(BlockKind::Reasoning, message.reasoning)?;
        self.content(message.content)?;
        self.text(BlockKind::Refusal, message.refusal)?;
        for call in message.tool_calls.iter().flatten() {
            self.tool_call(call)?;
        }
        if let Some(function) = &message.function_call {
            self.call(Some(CallKey::Function), None, function.name, function.arguments, Some(false))?;
        }
        Ok(())
    }

    fn content(&mut self, content: Option<&'a RawValue>) -> Result<(), DecodeError> {
        let Some(parts) = content.filter(|content| content.get().starts_with('[')) else {
            return self.text(BlockKind::Text, content);
        };
        let parts: SmallVec<[Object<ContentPart<'a>>; 1]> = document::read_part(self.document, parts)?;
        for part in &parts {
            self.text(BlockKind::Text, part.text)?;
            self.text(BlockKind::Refusal, part.refusal)?;
        }
        Ok(())
    }

    fn text(&mut self, kind: BlockKind, literal: Option<&'a RawValue>) -> Result<(), DecodeError> {
        let text = self.strings.read_optional(self.document, literal)?;
        if text.is_empty() {
            return Ok(());
        }
        let open = self.choice.texts.iter().find(|(open, _)| *open == kind).map(|(_, block)| *block);
        let block = match open {
            Some(block) => block,
            None => self.new_block()?,
        };
        if open.is_none() && !self.whole {
            self.choice.texts.push((kind, block));
        }
        let slot = Slot { block, choice: self.choice.index, kind, starts: open.is_none(), stops: self.whole };
        self.findings.push(Found::Piece { slot, call_id: Text::EMPTY, name: Text::EMPTY, text, free_form: false });
        Ok(())
    }

    fn tool_call(&mut self, fields: &CallFields<'a>) -> Result<(), DecodeError> {
        let key = if self.whole { None } else { fields.index.map(CallKey::Index) };
        match (&fields.function, &fields.custom) {
            (Some(_), Some(_)) => Err(DecodeError::OutOfOrder { what: "a tool call that is a function and a custom tool" }),
            (_, Some(custom)) => self.call(key, fields.id, custom.name, custom.input, Some(true)),
            (Some(function), None) => self.call(key, fields.id, function.name, function.arguments, Some(false)),
            (None, None) => self.call(key, fields.id, None, None, None),
        }
    }

    fn call(
        &mut self,
        key: Option<CallKey>,
        id: Option<&'a RawValue>,
        name: Option<&'a RawValue>,
        arguments: Option<&'a RawValue>,
        free_form: Option<bool>,
    ) -> Result<(), DecodeError> {
        let mut id = self.strings.read_optional(self.document, id)?;
        let mut name = self.strings.read_optional(self.document, name)?;
        let text = self.strings.read_optional(self.document, arguments)?;
        let known = if self.whole { None } else { self.known_call(key, id, name) };
        let position = match known {
            Some(position) => position,
            None => self.new_call(key)?,
        };
        let (characters_id, characters_name, arguments) = (self.strings.get(id), self.strings.get(name), self.strings.get(text));
        let Some(call) = self.choice.calls.get_mut(position) else {
            return Ok(());
        };
        // Some clients join what comes twice, others take the last: only a repetition means the same to both.
        if complete_once(&mut call.id, characters_id).map_err(|what| DecodeError::OutOfOrder { what })? {
            id = Text::EMPTY;
        }
        if complete_once(&mut call.name, characters_name).map_err(|what| DecodeError::OutOfOrder { what })? {
            name = Text::EMPTY;
        }
        if free_form.is_some() && call.free_form.is_some() && call.free_form != free_form {
            return Err(DecodeError::OutOfOrder { what: "a tool call that is a function and a custom tool" });
        }
        call.free_form = call.free_form.or(free_form);
        call.arguments.feed(arguments);
        let closes = call.free_form != Some(true) && call.arguments.is_closed() && !call.name.is_empty();
        let stops = call.open && (self.whole || closes);
        if stops {
            call.open = false;
        }
        let slot =
            Slot { block: call.block, choice: self.choice.index, kind: BlockKind::ToolCall, starts: known.is_none(), stops };
        let free_form = call.free_form == Some(true);
        self.findings.push(Found::Piece { slot, call_id: id, name, text, free_form });
        Ok(())
    }

    /// The call that a delta belongs to. Without an index (some servers leave it out) it is the one with the same id,
    /// else a new one if the delta looks like a beginning, else the last one.
    fn known_call(&self, key: Option<CallKey>, id: Text<'_>, name: Text<'_>) -> Option<usize> {
        let calls = &self.choice.calls;
        let id = self.strings.get(id);
        if let Some(key) = key {
            let latest = calls.iter().rposition(|call| call.key == key)?;
            // Some servers give every call the same index; a new id after a complete call begins another one.
            let begins =
                calls.get(latest).is_some_and(|call| !(call.open || id.is_empty() || call.id.is_empty() || call.id == id));
            return (!begins).then_some(latest);
        }
        if let Some(same) = calls.iter().rposition(|call| !id.is_empty() && call.id == id) {
            return Some(same);
        }
        let last = calls.iter().rposition(|call| call.key != CallKey::Function)?;
        let misses_id = calls.get(last).is_some_and(|call| call.open && call.id.is_empty());
        let misses_name = calls.get(last).is_some_and(|call| call.open && call.name.is_empty());
        let belongs = (id.is_empty() || misses_id) && (name.is_empty() || misses_name);
        belongs.then_some(last)
    }

    fn new_call(&mut self, key: Option<CallKey>) -> Result<usize, DecodeError> {
        let block = self.new_block()?;
        let position = self.choice.calls.len();
        let key = key.unwrap_or_else(|| CallKey::Index(self.choice.next_call_index()));
        self.choice.calls.push(Call {
            key,
            block,
            id: String::new(),
            name: String::new(),
            free_form: None,
            arguments: ObjectScanner::default(),
            open: true,
        });
        Ok(position)
    }

    fn new_block(&mut self) -> Result<BlockId, DecodeError> {
        let block = BlockId(*self.blocks);
        if usize::try_from(*self.blocks).is_ok_and(|blocks| blocks >= MAX_BLOCKS) {
            return Err(DecodeError::TooManyBlocks);
        }
        *self.blocks = self.blocks.saturating_add(1);
        Ok(block)
    }

    fn finish_reason(&mut self, literal: Option<&'a RawValue>) -> Result<(), DecodeError> {
        let reason = self.strings.read_optional(self.document, literal)?;
        if reason.is_empty() {
            return Ok(());
        }
        let complete = self.strings.get(reason) != "length";
        let findings = &mut *self.findings;
        self.choice.stop(|block| findings.push(Found::Stop { block, complete }));
        findings.push(Found::Finish { choice: self.choice.index, reason });
        Ok(())
    }
}

impl Choice {
    fn next_call_index(&self) -> u32 {
        let indices = self.calls.iter().filter_map(|call| match call.key {
            CallKey::Index(index) => Some(index.saturating_add(1)),
            CallKey::Function => None,
        });
        indices.max().unwrap_or(0)
    }
}

/// Notes the id or name of a call; true if it was known already and is only repeated.
fn complete_once(known: &mut String, value: &str) -> Result<bool, &'static str> {
    if value.is_empty() {
        return Ok(false);
    }
    if known.is_empty() {
        known.push_str(value);
        return Ok(false);
    }
    if known == value { Ok(true) } else { Err("a tool call changes its id or name") }
}
