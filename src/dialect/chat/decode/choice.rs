//! Reads one choice.

use super::{Call, CallKey, Choice, Findings, Found, Meaning};
use crate::block::BlockKind;
use crate::dialect::chat::fields::{CallFields, MessageFields, ToolFields};
use crate::dialect::decoding::{BlockNumbers, NameBytes, Strings, Text};
use crate::dialect::{DecodeError, Slot};
use crate::wire::json::{Form, ObjectScanner, Reader, Value};

/// Reads one choice of one frame.
pub(super) struct ChoiceReader<'r> {
    pub(super) source: &'r str,
    pub(super) whole: bool,
    pub(super) blocks: &'r mut BlockNumbers,
    pub(super) names: &'r mut NameBytes,
    pub(super) strings: &'r mut Strings,
    pub(super) choice: &'r mut Choice,
    pub(super) findings: &'r mut Findings,
    /// What the string of the latest delta means, where it is all that the delta says.
    pub(super) meaning: Option<Meaning>,
}

impl ChoiceReader<'_> {
    pub(super) fn message(&mut self, message: Option<MessageFields>) -> Result<(), DecodeError> {
        let Some(message) = message else { return Ok(()) };
        self.text(BlockKind::Reasoning, message.reasoning_content)?;
        self.text(BlockKind::Reasoning, message.reasoning)?;
        self.content(message.content)?;
        self.text(BlockKind::Refusal, message.refusal)?;
        if let Some(calls) = message.tool_calls {
            Reader::at(self.source, calls).array(|reader| self.tool_call(&CallFields::read(reader)?))?;
        }
        if let Some(function) = message.function_call {
            let function = ToolFields::read(&mut Reader::at(self.source, function), "arguments")?;
            self.call(Some(CallKey::Function), None, function, Some(false))?;
        }
        Ok(())
    }

    fn content(&mut self, content: Option<Value>) -> Result<(), DecodeError> {
        let Some(parts) = content.filter(|content| content.form == Form::Array) else {
            return self.text(BlockKind::Text, content);
        };
        Reader::at(self.source, parts).array(|reader| {
            let [text, refusal] = reader.members(["text", "refusal"])?;
            self.text(BlockKind::Text, text)?;
            self.text(BlockKind::Refusal, refusal)
        })
    }

    pub(super) fn text(&mut self, kind: BlockKind, value: Option<Value>) -> Result<(), DecodeError> {
        let text = self.strings.read(self.source, value)?;
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
        self.findings.push(Found::Delta { slot, call_id: Text::EMPTY, name: Text::EMPTY, text, free_form: false });
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

    pub(super) fn call(
        &mut self,
        key: Option<CallKey>,
        id: Option<Value>,
        tool: Option<ToolFields>,
        free_form: Option<bool>,
    ) -> Result<(), DecodeError> {
        let (name, arguments) = tool.map_or((None, None), |tool| (tool.name, tool.arguments));
        let says_more = id.is_some() || name.is_some() || arguments.is_none();
        self.meaning = (!says_more).then_some(Meaning::Arguments { choice: self.choice.index, key, free_form });
        let mut id = self.strings.read(self.source, id)?;
        let mut name = self.strings.read(self.source, name)?;
        let text = self.strings.read(self.source, arguments)?;
        let known = if self.whole { None } else { self.known_call(key, id, name) };
        let position = match known {
            Some(position) => position,
            None => self.new_call(key)?,
        };
        let characters = |text| self.strings.get(self.source, text);
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
        self.findings.push(Found::Delta { slot, call_id: id, name, text, free_form });
        Ok(())
    }

    /// The call that a delta belongs to. Without an index (some servers leave it out) it is the one with the same id,
    /// else a new one if the delta looks like a beginning, else the last one.
    fn known_call(&self, key: Option<CallKey>, id: Text, name: Text) -> Option<usize> {
        let calls = &self.choice.calls;
        let id = self.strings.get(self.source, id);
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

    pub(super) fn finish_reason(&mut self, reason: Option<Value>) -> Result<(), DecodeError> {
        let reason = self.strings.read(self.source, reason)?;
        if reason.is_empty() {
            return Ok(());
        }
        let complete = self.strings.get(self.source, reason) != "length";
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
