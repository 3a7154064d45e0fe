//! Reads one choice.

use super::calls::Calls;
use super::{CallKey, Choice, Findings, Found, Meaning};
use crate::block::{BlockKind, Clarity};
use crate::dialect::chat::fields::{CallFields, CallIndex, MessageFields, ToolFields};
use crate::dialect::decoding::{BlockNumbers, NameBytes, Strings, Text};
use crate::dialect::{DecodeError, MAX_PIECES, Slot};
use crate::wire::json::{Form, ObjectScanner, Reader, Value};

/// Reads one choice of one frame.
pub(super) struct ChoiceReader<'r> {
    pub(super) source: &'r str,
    pub(super) whole: bool,
    /// The number of the frame.
    pub(super) frame: u64,
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
        if let Some(audio) = message.audio {
            let [transcript] = Reader::at(self.source, audio).members(["transcript"])?;
            self.text(BlockKind::Text, transcript)?;
        }
        if let Some(calls) = message.tool_calls {
            Reader::at(self.source, calls).array(|reader| self.tool_call(&CallFields::read(reader)?))?;
        }
        if let Some(function) = message.function_call {
            let tool = ToolFields::read(&mut Reader::at(self.source, function), "arguments")?;
            let (id, extras, clarity) = (None, Text::EMPTY, Clarity::Plain);
            self.call(&CallDelta { key: Some(CallKey::Function), id, tool, extras, free_form: Some(false), clarity })?;
        }
        Ok(())
    }

    fn content(&mut self, content: Option<Value>) -> Result<(), DecodeError> {
        let Some(parts) = content.filter(|content| content.form == Form::Array) else {
            return self.text(BlockKind::Text, content);
        };
        Reader::at(self.source, parts).array(|reader| {
            let [text, refusal, thinking] = reader.members(["text", "refusal", "thinking"])?;
            self.text(BlockKind::Text, text)?;
            self.text(BlockKind::Refusal, refusal)?;
            self.thinking(thinking)
        })
    }

    /// Mistral's reasoning: a part of the content, with parts of its own.
    fn thinking(&mut self, thinking: Option<Value>) -> Result<(), DecodeError> {
        let Some(parts) = thinking.filter(|thinking| thinking.form == Form::Array) else {
            return self.text(BlockKind::Reasoning, thinking);
        };
        Reader::at(self.source, parts).array(|reader| {
            let [text] = reader.members(["text"])?;
            self.text(BlockKind::Reasoning, text)
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
        self.found(Found::text(slot, text))?;
        self.meaning = Some(Meaning::Text { choice: self.choice.index, kind });
        Ok(())
    }

    fn tool_call(&mut self, fields: &CallFields) -> Result<(), DecodeError> {
        let mut clarity = Clarity::Plain;
        let key = match fields.index.get().filter(|_| !self.whole) {
            Some(CallIndex::Number(index)) => Some(CallKey::Index(index)),
            Some(CallIndex::Odd(index)) => Some(CallKey::Odd(index)),
            None => None,
        };
        let (tool, free_form) = match (fields.function.get(), fields.custom.get()) {
            (Some(function), Some(_)) => {
                clarity = Clarity::Ambiguous("it is a function and a custom tool");
                (Some(function), Some(false))
            }
            (_, Some(custom)) => (Some(custom), Some(true)),
            (Some(function), None) => (Some(function), Some(false)),
            (None, None) => (None, None),
        };
        let kind = self.strings.read(self.source, fields.kind.get())?;
        let is_of_kind = match self.strings.get(self.source, kind) {
            "function" => free_form != Some(true),
            "custom" => free_form != Some(false),
            _ => true,
        };
        if !is_of_kind {
            clarity = clarity.and(Clarity::Canonical);
        }
        let extras = self.extras(fields);
        self.call(&CallDelta { key, id: fields.id.get(), tool, extras, free_form, clarity })
    }

    /// The members of a call that go along where it is written anew, as JSON.
    fn extras(&mut self, fields: &CallFields) -> Text {
        if fields.extras.is_empty() {
            return Text::EMPTY;
        }
        let start = self.strings.begin();
        for (position, (key, value)) in fields.extras.iter().enumerate() {
            let json = self.source.get(value.start..value.end).unwrap_or("null");
            for part in [if position == 0 { "\"" } else { ",\"" }, key, "\":", json] {
                self.strings.push(part);
            }
        }
        self.strings.since(start)
    }

    pub(super) fn call(&mut self, delta: &CallDelta) -> Result<(), DecodeError> {
        let CallDelta { key, tool, free_form, mut clarity, .. } = *delta;
        let (name, arguments) = tool.map_or((None, None), |tool| (tool.name, tool.arguments));
        let says_more = delta.id.is_some() || name.is_some() || arguments.is_none() || clarity != Clarity::Plain;
        self.meaning = (!says_more).then_some(Meaning::Arguments { choice: self.choice.index, key, free_form });
        let mut id = self.strings.read(self.source, delta.id)?;
        let mut name = self.strings.read(self.source, name)?;
        let text = match arguments {
            Some(value) if tool.is_some_and(ToolFields::has_bare_arguments) => {
                clarity = clarity.and(Clarity::Canonical);
                Text::verbatim(value)
            }
            arguments => self.strings.read(self.source, arguments)?,
        };
        let known = if self.whole { None } else { self.known_call(key, id, name, text) };
        let before = Before::of(&self.choice.calls, key);
        let position = match known {
            Some(position) => position,
            None => self.choice.calls.push(key, self.blocks.begin()?),
        };
        let characters = |text| self.strings.get(self.source, text);
        let (id_part, name_part, arguments) = (characters(id), characters(name), characters(text));
        let begins = match known {
            _ if self.whole => Clarity::Plain,
            None => before.begins_clearly(key, id_part, name_part, arguments),
            Some(_) if matches!(key, Some(CallKey::Odd(_)) | None) => Clarity::Canonical,
            Some(_) => Clarity::Plain,
        };
        let gone = DecodeError::Unreachable("a call that was found is not there");
        let said_id = self.choice.calls.get(position).map(|call| Repeated::of(&call.id, id_part)).ok_or(gone)?;
        if matches!(said_id, Repeated::New) {
            self.names.add(id_part)?;
            self.choice.calls.identify(position, id_part);
        }
        let call = self.choice.calls.get_mut(position).ok_or(gone)?;
        let again = call.latest_frame == self.frame;
        call.latest_frame = self.frame;
        clarity = clarity.and(begins);
        if key.is_some_and(|key| key != call.key) {
            clarity = clarity.and(Clarity::Canonical);
        }
        if !self.whole && (known.is_none() || !arguments.trim_ascii().is_empty()) {
            // Where another call has begun, some clients take those before it for complete.
            let resumes = self.choice.latest.replace(position).is_some_and(|latest| latest != position);
            if resumes && known.is_some() {
                clarity = clarity.and(Clarity::Canonical);
            }
        }
        if again {
            // There are readers that join what comes in chunks, but not what comes in one.
            clarity = clarity.and(Clarity::Canonical);
        }
        let mut repeats = false;
        match said_id {
            Repeated::New | Repeated::Nothing => {}
            Repeated::Same => (id, repeats, clarity) = (Text::EMPTY, true, clarity.and(Clarity::Canonical)),
            Repeated::Other => (id, repeats, clarity) = (Text::EMPTY, true, clarity.and(Clarity::Ambiguous("its id changes"))),
        }
        match Repeated::of(&call.name, name_part) {
            Repeated::New => {
                self.names.add(name_part)?;
                call.name.push_str(name_part);
            }
            Repeated::Nothing => {}
            Repeated::Same => (name, repeats, clarity) = (Text::EMPTY, true, clarity.and(Clarity::Canonical)),
            Repeated::Other => {
                repeats = true;
                self.names.add(name_part)?;
                call.name.push_str(name_part);
                clarity = clarity.and(Clarity::Ambiguous("its name comes in pieces, or changes"));
            }
        }
        if free_form.is_some() && call.free_form.is_some() && call.free_form != free_form {
            clarity = clarity.and(Clarity::Ambiguous("it is a function and a custom tool"));
        }
        call.free_form = call.free_form.or(free_form);
        if !call.open && !arguments.trim_ascii().is_empty() {
            clarity = clarity.and(Clarity::Ambiguous("it goes on after it was complete"));
        }
        call.arguments.feed(arguments);
        let closes = call.free_form != Some(true) && call.arguments.is_closed() && !call.name.is_empty();
        let stops = call.open && (self.whole || closes);
        if stops {
            call.open = false;
        }
        let slot =
            Slot { block: call.block, choice: self.choice.index, kind: BlockKind::ToolCall, starts: known.is_none(), stops };
        let free_form = call.free_form == Some(true);
        let extras = delta.extras;
        self.found(Found::Delta { slot, call_id: id, name, text, extras, free_form, repeats, clarity })
    }

    /// Notes a piece of the frame: work and memory for each are many times its bytes.
    fn found(&mut self, piece: Found) -> Result<(), DecodeError> {
        if self.findings.len() >= MAX_PIECES {
            return Err(DecodeError::TooManyPieces);
        }
        self.findings.push(piece);
        Ok(())
    }

    /// The call that a delta belongs to. Without an index (some servers leave it out) it is the one with the same id,
    /// else a new one if the delta looks like a beginning, else the last one.
    fn known_call(&mut self, key: Option<CallKey>, id: Text, name: Text, arguments: Text) -> Option<usize> {
        let calls = &mut self.choice.calls;
        let (id, name) = (self.strings.get(self.source, id), self.strings.get(self.source, name));
        if let Some(key) = key {
            let Some(latest) = calls.of_key(key) else {
                // What goes on with a call that began with an odd index may say the right one.
                let last = calls.latest_open_odd()?;
                return (id.is_empty() && name.is_empty()).then_some(last);
            };
            // Some servers give every call the same index: what says who it is after a complete call begins another one.
            let begins = calls.get(latest).is_some_and(|call| {
                let is_another = |known: &str, said: &str| !said.is_empty() && !known.is_empty() && known != said;
                let says_more = !self.strings.get(self.source, arguments).trim_ascii().is_empty();
                let is_named = id.is_empty() && !name.is_empty() && (name != call.name || says_more);
                !call.open && (is_another(&call.id, id) || is_named)
            });
            return (!begins).then_some(latest);
        }
        if let Some(same) = calls.of_id(id).filter(|_| !id.is_empty()) {
            return Some(same);
        }
        let last = calls.latest_listed()?;
        let misses_id = calls.get(last).is_some_and(|call| call.open && call.id.is_empty());
        let misses_name = calls.get(last).is_some_and(|call| call.open && call.name.is_empty());
        let belongs = (id.is_empty() || misses_id) && (name.is_empty() || misses_name);
        belongs.then_some(last)
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

/// What had begun of a choice before one of its calls.
struct Before {
    /// The place of the call in the list of calls.
    place: u32,
    is_first: bool,
    /// A call of the same key had begun.
    is_taken: bool,
}

impl Before {
    fn of(calls: &Calls, key: Option<CallKey>) -> Self {
        let is_taken = key.is_some_and(|key| calls.of_key(key).is_some());
        Self { place: calls.listed(), is_first: calls.is_empty(), is_taken }
    }

    /// Whether every client takes the beginning of the call for what it is: its index is its place, for clients keep calls in
    /// a list, and it says who it is, for some give up on a call that does not. The first call needs no index where it comes
    /// whole (Mistral): whoever reads it has nothing to join it with.
    fn begins_clearly(&self, key: Option<CallKey>, id: &str, name: &str, arguments: &str) -> Clarity {
        let is_clear = match key {
            Some(CallKey::Function) => !name.is_empty() && !self.is_taken,
            Some(CallKey::Index(index)) => self.place == index && !id.is_empty() && !name.is_empty(),
            Some(CallKey::Odd(_)) => false,
            None => self.is_first && !id.is_empty() && !name.is_empty() && is_complete(arguments),
        };
        if is_clear {
            Clarity::Plain
        } else if id.is_empty() && self.is_taken {
            Clarity::Ambiguous("it has the index of an earlier call")
        } else {
            Clarity::Canonical
        }
    }
}

/// Whether `arguments` are one whole object.
fn is_complete(arguments: &str) -> bool {
    let mut scanner = ObjectScanner::default();
    scanner.feed(arguments);
    scanner.is_closed()
}

/// What an element of `tool_calls`, or a `function_call`, says of a call.
pub(super) struct CallDelta {
    pub(super) key: Option<CallKey>,
    pub(super) id: Option<Value>,
    pub(super) tool: Option<ToolFields>,
    pub(super) extras: Text,
    pub(super) free_form: Option<bool>,
    pub(super) clarity: Clarity,
}

/// How an id or a name that is said relates to the one that is known.
enum Repeated {
    /// Nothing is said.
    Nothing,
    /// None was known.
    New,
    /// There are clients that join what comes twice, and others that take it once.
    Same,
    /// Clients differ: they join, or take the first, or the last.
    Other,
}

impl Repeated {
    fn of(known: &str, said: &str) -> Self {
        match (known.is_empty(), said.is_empty()) {
            (_, true) => Self::Nothing,
            (true, false) => Self::New,
            (false, false) if known == said => Self::Same,
            (false, false) => Self::Other,
        }
    }
}
