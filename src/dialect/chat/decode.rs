//! Reads chat.completions.
//!
//! Which fields are slots depends on the document alone, never on what came before it, so that the encoder finds the
//! same slots again: every text that is not empty, every element of `tool_calls`, every `function_call`; in the order
//! reasoning, content, refusal, tool calls, function call within each choice.

use smallvec::SmallVec;

use crate::block::{BlockId, BlockKind};
use crate::dialect::document::{self, BlockNumbers, NameBytes, Strings, Text};
use crate::dialect::template::{Alike, Hole, Template};
use crate::dialect::{DecodeError, Frame, FrameRole, MAX_BLOCKS, Part, Piece, Slot};
use crate::json::{Field, Form, Malformed, ObjectScanner, Reader, Value};

/// What the events of another API begin with: OpenAI's client reads no chunk in them, whatever their data says.
const ASSISTANTS_EVENT: &[u8] = b"thread.";

/// One element of `choices`, of a chunk or of a whole body.
#[derive(Default)]
struct ChoiceFields {
    index: Field<u32>,
    message: Field<MessageFields>,
    finish_reason: Field<Value>,
}

impl ChoiceFields {
    /// Reads it; `message_key` is the name that its message goes by.
    fn read(reader: &mut Reader<'_>, message_key: &str) -> Result<Self, Malformed> {
        let mut fields = Self::default();
        reader.object(|reader, key| match key {
            "index" => fields.index.fill(reader, Reader::optional_u32),
            "finish_reason" => fields.finish_reason.fill(reader, Reader::optional_value),
            key if key == message_key => fields.message.fill(reader, MessageFields::read),
            _ => reader.skip(),
        })?;
        Ok(fields)
    }
}

/// A message or the delta of one. What it has more than texts is read from its place once all of the choice was read.
#[derive(Clone, Copy)]
struct MessageFields {
    reasoning_content: Option<Value>,
    reasoning: Option<Value>,
    content: Option<Value>,
    refusal: Option<Value>,
    tool_calls: Option<Value>,
    function_call: Option<Value>,
}

impl MessageFields {
    fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, Malformed> {
        let names = ["content", "tool_calls", "reasoning_content", "reasoning", "refusal", "function_call"];
        let values = reader.optional_members(names)?;
        Ok(values.map(|[content, tool_calls, reasoning_content, reasoning, refusal, function_call]| Self {
            reasoning_content,
            reasoning,
            content,
            refusal,
            tool_calls,
            function_call,
        }))
    }
}

/// One element of `tool_calls`.
#[derive(Default)]
struct CallFields {
    index: Field<u32>,
    id: Field<Value>,
    function: Field<ToolFields>,
    custom: Field<ToolFields>,
}

impl CallFields {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut fields = Self::default();
        reader.object(|reader, key| match key {
            "index" => fields.index.fill(reader, Reader::optional_u32),
            "id" => fields.id.fill(reader, Reader::optional_value),
            "function" => fields.function.fill(reader, |reader| ToolFields::read(reader, "arguments")),
            "custom" => fields.custom.fill(reader, |reader| ToolFields::read(reader, "input")),
            _ => reader.skip(),
        })?;
        Ok(fields)
    }
}

/// The tool that is called, and what with.
#[derive(Clone, Copy)]
struct ToolFields {
    name: Option<Value>,
    arguments: Option<Value>,
}

impl ToolFields {
    fn read(reader: &mut Reader<'_>, arguments_key: &str) -> Result<Option<Self>, Malformed> {
        let values = reader.optional_members(["name", arguments_key])?;
        Ok(values.map(|[name, arguments]| Self { name, arguments }))
    }
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
enum Found {
    Piece { slot: Slot, call_id: Text, name: Text, text: Text, free_form: bool },
    Stop { block: BlockId, complete: bool },
    Finish { choice: u32, reason: Text },
}

type Findings = SmallVec<[Found; 2]>;

/// What the one string of a chunk means.
#[derive(Debug, Clone, Copy)]
enum Meaning {
    Text { choice: u32, kind: BlockKind },
    Arguments { choice: u32, key: Option<CallKey>, free_form: Option<bool> },
}

/// Reads the documents of one response.
#[derive(Debug, Default)]
pub struct Decoder {
    blocks: BlockNumbers,
    names: NameBytes,
    choices: SmallVec<[Choice; 1]>,
    strings: Strings,
    template: Template<Meaning>,
}

impl Decoder {
    pub(crate) fn event(
        &mut self,
        name: &[u8],
        data: &[u8],
        frame: &mut Frame,
        each: &mut dyn FnMut(Part<'_>),
    ) -> Result<(), DecodeError> {
        if name.starts_with(ASSISTANTS_EVENT) {
            return Err(DecodeError::OutOfOrder { what: "an event of another API" });
        }
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
        self.strings.clear();
        let known = if whole { None } else { self.template.find(bytes) };
        if let Some(Alike { string, value, meaning: Meaning::Text { choice, kind }, .. }) = known
            && self.is_text_again(string, value, choice, kind, frame, each)
        {
            return Ok(());
        }
        let mut findings = Findings::new();
        let blocks_before = self.blocks;
        let (text, found) = match known {
            Some(Alike { string, value, meaning, .. }) => (string, self.find_again(string, value, meaning, &mut findings)),
            None => {
                let text = document::utf8(bytes)?;
                (text, self.find(text, whole, &mut findings))
            }
        };
        frame.role = found.inspect_err(|_| {
            // Blocks that were never reported must not be reported as stopped.
            self.choices.clear();
            self.blocks = blocks_before;
            self.template.forget();
        })?;
        for found in &findings {
            match *found {
                Found::Piece { slot, call_id, name, text: characters, free_form } => {
                    frame.slots.push(slot);
                    each(Part::Piece(Piece {
                        block: slot.block,
                        choice: slot.choice,
                        kind: slot.kind,
                        starts: slot.starts,
                        stops: slot.stops,
                        call_id: self.strings.get(text, call_id),
                        name: self.strings.get(text, name),
                        text: self.strings.get(text, characters),
                        free_form,
                    }));
                }
                Found::Stop { block, complete } => each(Part::Stop { block, complete }),
                Found::Finish { choice, reason } => {
                    frame.finishes.push(choice);
                    each(Part::Finish { choice, reason: self.strings.get(text, reason) });
                }
            }
        }
        Ok(())
    }

    /// Reads text of a block that is open, in a chunk that is like an earlier one but for `string`: what most chunks are.
    /// Whether it was read.
    fn is_text_again(
        &mut self,
        string: &str,
        value: Value,
        choice: u32,
        kind: BlockKind,
        frame: &mut Frame,
        each: &mut dyn FnMut(Part<'_>),
    ) -> bool {
        let known = self.choices.iter().find(|known| known.index == choice);
        let open = known.and_then(|known| known.texts.iter().find(|(open, _)| *open == kind));
        let Some((_, block)) = open else { return false };
        let Ok(text) = self.strings.read(string, Some(value)) else { return false };
        if !text.is_empty() {
            frame.slots.push(Slot { block: *block, choice, kind, starts: false, stops: false });
            each(Part::Piece(Piece {
                block: *block,
                choice,
                kind,
                starts: false,
                stops: false,
                call_id: "",
                name: "",
                text: self.strings.get(string, text),
                free_form: false,
            }));
        }
        true
    }

    /// What a chunk or a whole body holds, and where it stands in the stream.
    fn find(&mut self, document: &str, whole: bool, findings: &mut Findings) -> Result<FrameRole, DecodeError> {
        let message_key = if whole { "message" } else { "delta" };
        let (mut choices, mut error, mut usage, mut padding) = (Field::default(), Field::default(), Field::default(), None);
        let mut meaning = None;
        let mut reader = Reader::new(document);
        reader.object::<DecodeError>(|reader, key| match key {
            "choices" => choices.fill(reader, |reader| {
                reader.optional_array(|reader| {
                    let fields = ChoiceFields::read(reader, message_key)?;
                    let mut choice = self.choice(document, whole, fields.index.get().unwrap_or(0), findings)?;
                    choice.message(fields.message.get())?;
                    choice.finish_reason(fields.finish_reason.get())?;
                    meaning = choice.meaning.or(meaning);
                    Ok(())
                })
            }),
            "error" => Ok(error.fill(reader, Reader::optional_value)?),
            "usage" => Ok(usage.fill(reader, Reader::optional_value)?),
            // Of another length in every chunk, so that the length of the text cannot be told from outside.
            "obfuscation" => {
                padding = reader.optional_value()?.filter(|value| matches!(value.form, Form::PlainString | Form::EscapedString));
                Ok(())
            }
            _ => Ok(reader.skip()?),
        })?;
        reader.end()?;
        if error.get().is_some() {
            return Ok(FrameRole::Failure);
        }
        if choices.get().is_none() && usage.get().is_none() {
            let slot =
                Slot { block: self.blocks.begin_unknown(), choice: 0, kind: BlockKind::Unknown, starts: true, stops: true };
            let text = self.strings.leaves(document, 0..document.len(), None)?;
            findings.push(Found::Piece { slot, call_id: Text::EMPTY, name: Text::EMPTY, text, free_form: false });
            return Ok(FrameRole::Unknown);
        }
        if let ([Found::Piece { text, .. }], Some(meaning)) = (findings.as_slice(), meaning.filter(|_| !whole))
            && let Some(value) = text.value()
        {
            self.template.learn(document, &[(Hole::Text, Some(value)), (Hole::Padding, padding)], meaning);
        }
        Ok(FrameRole::Content)
    }

    /// What a chunk holds that is like an earlier one but for `string`.
    fn find_again(
        &mut self,
        string: &str,
        value: Value,
        meaning: Meaning,
        findings: &mut Findings,
    ) -> Result<FrameRole, DecodeError> {
        match meaning {
            Meaning::Text { choice, kind } => self.choice(string, false, choice, findings)?.text(kind, Some(value))?,
            Meaning::Arguments { choice, key, free_form } => {
                let tool = ToolFields { name: None, arguments: Some(value) };
                self.choice(string, false, choice, findings)?.call(key, None, Some(tool), free_form)?;
            }
        }
        Ok(FrameRole::Content)
    }

    fn choice<'r>(
        &'r mut self,
        document: &'r str,
        whole: bool,
        index: u32,
        findings: &'r mut Findings,
    ) -> Result<ChoiceReader<'r>, DecodeError> {
        let known = self.choices.iter().position(|choice| choice.index == index);
        if known.is_none() {
            self.choices.push(Choice { index, ..Choice::default() });
        }
        let position = known.unwrap_or_else(|| self.choices.len().saturating_sub(1));
        let choice = self.choices.get_mut(position).filter(|_| position < MAX_BLOCKS);
        let choice = choice.ok_or(DecodeError::TooManyBlocks)?;
        Ok(ChoiceReader {
            document,
            whole,
            blocks: &mut self.blocks,
            names: &mut self.names,
            strings: &mut self.strings,
            choice,
            findings,
            meaning: None,
        })
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
struct ChoiceReader<'r> {
    document: &'r str,
    whole: bool,
    blocks: &'r mut BlockNumbers,
    names: &'r mut NameBytes,
    strings: &'r mut Strings,
    choice: &'r mut Choice,
    findings: &'r mut Findings,
    /// What the string of the latest piece means, where it is all that the piece says.
    meaning: Option<Meaning>,
}

impl ChoiceReader<'_> {
    fn message(&mut self, message: Option<MessageFields>) -> Result<(), DecodeError> {
        let Some(message) = message else { return Ok(()) };
        self.text(BlockKind::Reasoning, message.reasoning_content)?;
        self.text(BlockKind::Reasoning, message.reasoning)?;
        self.content(message.content)?;
        self.text(BlockKind::Refusal, message.refusal)?;
        if let Some(calls) = message.tool_calls {
            Reader::at(self.document, calls).array(|reader| self.tool_call(&CallFields::read(reader)?))?;
        }
        if let Some(function) = message.function_call {
            let function = ToolFields::read(&mut Reader::at(self.document, function), "arguments")?;
            self.call(Some(CallKey::Function), None, function, Some(false))?;
        }
        Ok(())
    }

    fn content(&mut self, content: Option<Value>) -> Result<(), DecodeError> {
        let Some(parts) = content.filter(|content| content.form == Form::Array) else {
            return self.text(BlockKind::Text, content);
        };
        Reader::at(self.document, parts).array(|reader| {
            let [text, refusal] = reader.members(["text", "refusal"])?;
            self.text(BlockKind::Text, text)?;
            self.text(BlockKind::Refusal, refusal)
        })
    }

    fn text(&mut self, kind: BlockKind, value: Option<Value>) -> Result<(), DecodeError> {
        let text = self.strings.read(self.document, value)?;
        if text.is_empty() {
            return Ok(());
        }
        let open = self.choice.texts.iter().find(|(open, _)| *open == kind).map(|(_, block)| *block);
        let block = match open {
            Some(block) => block,
            None => self.blocks.begin()?,
        };
        if open.is_none() && !self.whole {
            self.choice.texts.push((kind, block));
        }
        let slot = Slot { block, choice: self.choice.index, kind, starts: open.is_none(), stops: self.whole };
        self.findings.push(Found::Piece { slot, call_id: Text::EMPTY, name: Text::EMPTY, text, free_form: false });
        self.meaning = Some(Meaning::Text { choice: self.choice.index, kind });
        Ok(())
    }

    fn tool_call(&mut self, fields: &CallFields) -> Result<(), DecodeError> {
        let key = if self.whole { None } else { fields.index.get().map(CallKey::Index) };
        let (tool, free_form) = match (fields.function.get(), fields.custom.get()) {
            (Some(_), Some(_)) => {
                return Err(DecodeError::OutOfOrder { what: "a tool call that is a function and a custom tool" });
            }
            (_, Some(custom)) => (Some(custom), Some(true)),
            (Some(function), None) => (Some(function), Some(false)),
            (None, None) => (None, None),
        };
        self.call(key, fields.id.get(), tool, free_form)
    }

    fn call(
        &mut self,
        key: Option<CallKey>,
        id: Option<Value>,
        tool: Option<ToolFields>,
        free_form: Option<bool>,
    ) -> Result<(), DecodeError> {
        let (name, arguments) = tool.map_or((None, None), |tool| (tool.name, tool.arguments));
        let says_more = id.is_some() || name.is_some() || arguments.is_none();
        self.meaning = (!says_more).then_some(Meaning::Arguments { choice: self.choice.index, key, free_form });
        let mut id = self.strings.read(self.document, id)?;
        let mut name = self.strings.read(self.document, name)?;
        let text = self.strings.read(self.document, arguments)?;
        let known = if self.whole { None } else { self.known_call(key, id, name) };
        let position = match known {
            Some(position) => position,
            None => self.new_call(key)?,
        };
        let characters = |text| self.strings.get(self.document, text);
        let (characters_id, characters_name, arguments) = (characters(id), characters(name), characters(text));
        let Some(call) = self.choice.calls.get_mut(position) else {
            return Ok(());
        };
        // Some clients join what comes twice, others take the last: only a repetition means the same to both.
        if complete_once(&mut call.id, characters_id).map_err(|what| DecodeError::OutOfOrder { what })? {
            id = Text::EMPTY;
        } else {
            self.names.add(characters_id)?;
        }
        if complete_once(&mut call.name, characters_name).map_err(|what| DecodeError::OutOfOrder { what })? {
            name = Text::EMPTY;
        } else {
            self.names.add(characters_name)?;
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
    fn known_call(&self, key: Option<CallKey>, id: Text, name: Text) -> Option<usize> {
        let calls = &self.choice.calls;
        let id = self.strings.get(self.document, id);
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
        let block = self.blocks.begin()?;
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

    fn finish_reason(&mut self, reason: Option<Value>) -> Result<(), DecodeError> {
        let reason = self.strings.read(self.document, reason)?;
        if reason.is_empty() {
            return Ok(());
        }
        let complete = self.strings.get(self.document, reason) != "length";
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
