//! The way through a request, that notes its texts.

use core::ops::Range;
use std::borrow::Cow;

use super::path::Path;
use super::{MAX_REQUEST_PARTS, RequestPart, RequestScope};
use crate::dialect::DecodeError;
use crate::dialect::decoding::is_variant;
use crate::wire::json::{Field, Form, Reader, StringError, Value, string_leaves, unescape};

/// How deep what holds texts may be nested. Tool results in messages take six levels.
const MAX_DEPTH: usize = 64;

/// What a message or another item says itself.
const OWN: [&str; 6] = ["text", "refusal", "content", "source", "title", "context"];

/// What a tool said.
const OUTPUT: [&str; 6] = ["output", "outputs", "stdout", "stderr", "logs", "results"];

/// What a tool was called with.
const ARGUMENTS: [&str; 8] = ["arguments", "input", "action", "actions", "operation", "code", "queries", "revised_prompt"];

/// The calls of a message.
const CALLS: [&str; 2] = ["tool_calls", "function_call"];

/// What the model thought.
const THOUGHTS: [&str; 4] = ["reasoning_content", "reasoning", "thinking", "summary"];

/// What says of an item what it is, and whether it is sealed.
const OTHER: [&str; 6] = ["type", "role", "data", "tools", "signature", "encrypted_content"];

/// The types of items and of parts of them whose strings are texts by the members above, or none at all.
const KNOWN_TYPES: [&str; 28] = [
    "message",
    "text",
    "input_text",
    "output_text",
    "summary_text",
    "reasoning_text",
    "refusal",
    "document",
    "search_result",
    "image",
    "base64",
    "url",
    "image_url",
    "input_image",
    "computer_screenshot",
    "file",
    "input_file",
    "container_upload",
    "input_audio",
    "audio",
    "item_reference",
    "compaction",
    "mcp_list_tools",
    "mcp_approval_response",
    "additional_tools",
    "redacted_thinking",
    "char_location",
    "content",
];

/// What of an item of unknown type is no text.
const NO_TEXT: [&str; 9] = ["type", "id", "role", "status", "call_id", "tool_use_id", "tool_call_id", "cache_control", "data"];

pub(super) type Outcome = Result<(), DecodeError>;

/// Members by name, each of which may stand once.
struct Members<const N: usize> {
    names: [&'static str; N],
    fields: [Field<Value>; N],
}

impl<const N: usize> Members<N> {
    fn of(names: [&'static str; N]) -> Self {
        Self { names, fields: [Field::default(); N] }
    }

    fn find(&mut self, key: &str) -> Option<&mut Field<Value>> {
        self.names.iter().zip(&mut self.fields).find(|(name, _)| **name == key).map(|(_, field)| field)
    }

    fn get(&self, key: &str) -> Option<Value> {
        self.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// Those that are there.
    fn iter(&self) -> impl Iterator<Item = (&'static str, Value)> {
        self.names.iter().zip(&self.fields).filter_map(|(name, field)| field.get().map(|value| (*name, value)))
    }
}

/// What an item says, by what it is.
struct Item<'d> {
    kind: Cow<'d, str>,
    role: Cow<'d, str>,
    scope: RequestScope,
}

/// A way through a request, that notes the texts.
pub(super) struct Walk<'d, 'p> {
    pub(super) source: &'d str,
    parts: &'p mut Vec<RequestPart<'d>>,
}

impl<'d, 'p> Walk<'d, 'p> {
    pub(super) const fn new(source: &'d str, parts: &'p mut Vec<RequestPart<'d>>) -> Self {
        Self { source, parts }
    }

    pub(super) fn request(&mut self, reader: &mut Reader<'d>, path: &Path<'_>, depth: usize) -> Outcome {
        const MEMBERS: [&str; 11] = [
            "messages",
            "system",
            "instructions",
            "input",
            "prompt",
            "suffix",
            "prediction",
            "documents",
            "tools",
            "functions",
            "requests",
        ];
        let mut seen = [Field::default(); MEMBERS.len()];
        reader.object(|reader, key| {
            let Some(position) = MEMBERS.iter().position(|known| *known == key) else { return skip(reader, key, &MEMBERS) };
            if let Some(seen) = seen.get_mut(position) {
                note(seen, reader)?;
            }
            let path = path.member(key);
            match key {
                "system" | "instructions" => self.texts(reader, RequestScope::System, &path, depth),
                "prediction" => self.texts(reader, RequestScope::Assistant, &path, depth),
                "tools" | "functions" => self.definition(reader, true, &path, depth),
                "requests" => self.batch(reader, &path, depth),
                "documents" => {
                    let value = reader.optional_value()?;
                    self.leaves(RequestScope::User, &path, value)
                }
                // A template of the provider's own, whose variables are filled in.
                "prompt" if reader.peek() == Some(b'{') => self.variables(reader, &path, depth),
                _ => self.texts(reader, RequestScope::User, &path, depth),
            }
        })
    }

    /// The requests of a batch.
    fn batch(&mut self, reader: &mut Reader<'d>, path: &Path<'_>, depth: usize) -> Outcome {
        let depth = deeper(depth, reader)?;
        let mut index = Index::default();
        reader.array(|reader| {
            let path = path.element(index.next());
            let mut seen = Field::default();
            reader.object(|reader, key| match key {
                "params" => {
                    note(&mut seen, reader)?;
                    self.request(reader, &path.member(key), depth)
                }
                _ => Ok(reader.skip()?),
            })
        })
    }

    fn variables(&mut self, reader: &mut Reader<'d>, path: &Path<'_>, depth: usize) -> Outcome {
        let mut seen = Field::default();
        reader.object(|reader, key| {
            if key != "variables" || reader.peek() != Some(b'{') {
                return Ok(reader.skip()?);
            }
            note(&mut seen, reader)?;
            let path = path.member(key);
            reader.object(|reader, name| self.texts(reader, RequestScope::User, &path.member(name), depth))
        })
    }

    /// What has texts: a string, a message or another item, or a list of these.
    fn texts(&mut self, reader: &mut Reader<'d>, scope: RequestScope, path: &Path<'_>, depth: usize) -> Outcome {
        let depth = deeper(depth, reader)?;
        match reader.peek() {
            Some(b'"') => {
                let literal = reader.optional_string()?;
                self.note(scope, path, literal)
            }
            Some(b'{') => self.item(reader, scope, path, depth),
            Some(b'[') => {
                let mut index = Index::default();
                reader.array(|reader| self.texts(reader, scope, &path.element(index.next()), depth))
            }
            Some(b'-' | b'0'..=b'9') => Err(DecodeError::Tokens),
            _ => Ok(reader.skip()?),
        }
    }

    /// A message, a part of one, or another item of a conversation.
    fn item(&mut self, reader: &mut Reader<'d>, scope: RequestScope, path: &Path<'_>, depth: usize) -> Outcome {
        let (mut own, mut output, mut other) = (Members::of(OWN), Members::of(OUTPUT), Members::of(OTHER));
        let (mut arguments, mut calls, mut thoughts) = (Members::of(ARGUMENTS), Members::of(CALLS), Members::of(THOUGHTS));
        let mut strangers: Vec<Value> = Vec::new();
        reader.object(|reader, key| {
            let known = own.find(key).or_else(|| output.find(key)).or_else(|| other.find(key));
            let known = known.or_else(|| arguments.find(key)).or_else(|| calls.find(key)).or_else(|| thoughts.find(key));
            if let Some(field) = known {
                return Ok::<(), DecodeError>(field.fill(reader, Reader::optional_value)?);
            }
            let lists: [&[&str]; 6] = [&OWN, &OUTPUT, &OTHER, &ARGUMENTS, &CALLS, &THOUGHTS];
            if lists.iter().any(|list| is_variant(key, list)) {
                return Err(reader.malformed().into());
            }
            let value = reader.optional_value()?;
            if strangers.len() >= MAX_REQUEST_PARTS {
                return Err(DecodeError::TooManyParts);
            }
            strangers.extend(value.filter(|_| !NO_TEXT.contains(&key)));
            Ok(())
        })?;
        let item = self.identify(&other, scope)?;
        for (key, value) in own.iter() {
            // A source that is no object is an address.
            if key != "source" || self.is_object(value) {
                self.member(item.scope, &path.member(key), Some(value), depth)?;
            }
        }
        for (key, value) in output.iter() {
            self.member(RequestScope::ToolResult, &path.member(key), Some(value), depth)?;
        }
        if let Some(tools) = other.get("tools") {
            self.definition(&mut Reader::at(self.source, tools), true, &path.member("tools"), depth)?;
        }
        self.thoughts(&item, &thoughts, &other, path, depth)?;
        self.calls(&item, &arguments, &calls, path, depth)?;
        // The data of all other types is encoded, or encrypted.
        if item.kind == "text" {
            self.member(item.scope, &path.member("data"), other.get("data"), depth)?;
        }
        if is_unknown(&item) {
            for value in strangers {
                self.leaves(item.scope, path, Some(value))?;
            }
        }
        Ok(())
    }

    /// What an item is, by its role and its type.
    fn identify(&self, other: &Members<6>, scope: RequestScope) -> Result<Item<'d>, DecodeError> {
        let kind = self.string(other.get("type"))?;
        let role = self.string(other.get("role"))?;
        let scope = match (role.as_ref(), kind.as_ref()) {
            ("system" | "developer", _) => RequestScope::System,
            ("assistant", _) => RequestScope::Assistant,
            ("tool" | "function", _) => RequestScope::ToolResult,
            ("", other) if other.ends_with("tool_result") => RequestScope::ToolResult,
            ("", "reasoning") => RequestScope::Assistant,
            ("", _) => scope,
            _ => RequestScope::User,
        };
        Ok(Item { kind, role, scope })
    }

    /// Reasoning that is not sealed. What is signed or encrypted goes back as it came.
    fn thoughts(&mut self, item: &Item<'d>, thoughts: &Members<4>, other: &Members<6>, path: &Path<'_>, depth: usize) -> Outcome {
        let is_sealed =
            !self.string(other.get("signature"))?.is_empty() || !self.string(other.get("encrypted_content"))?.is_empty();
        if is_sealed && item.role.is_empty() {
            return Ok(());
        }
        for (key, value) in thoughts.iter() {
            self.member(RequestScope::Assistant, &path.member(key), Some(value), depth)?;
        }
        Ok(())
    }

    /// The calls that a message makes, or the one that the item is, with what they were made.
    fn calls(&mut self, item: &Item<'d>, arguments: &Members<8>, calls: &Members<2>, path: &Path<'_>, depth: usize) -> Outcome {
        let is_call =
            item.role.is_empty() && (item.kind.ends_with("_call") || item.kind.ends_with("tool_use") || item.kind == "program");
        // A call of chat.completions names its type `function` or `custom` where it stands.
        let is_part = item.role.is_empty() && matches!(item.kind.as_ref(), "" | "function" | "custom");
        for (key, value) in arguments.iter() {
            if is_call || (is_part && matches!(key, "arguments" | "input")) {
                self.arguments(&path.member(key), value)?;
            }
        }
        for (key, value) in calls.iter() {
            self.call(&mut Reader::at(self.source, value), &path.member(key), depth)?;
        }
        Ok(())
    }

    /// A call of chat.completions, or a list of them: `function` and `custom` hold what it was made with.
    fn call(&mut self, reader: &mut Reader<'d>, path: &Path<'_>, depth: usize) -> Outcome {
        let depth = deeper(depth, reader)?;
        match reader.peek() {
            Some(b'[') => {
                let mut index = Index::default();
                reader.array(|reader| self.call(reader, &path.element(index.next()), depth))
            }
            Some(b'{') => {
                const MEMBERS: [&str; 4] = ["function", "custom", "arguments", "input"];
                let mut seen = [Field::default(); MEMBERS.len()];
                reader.object(|reader, key| {
                    let Some(position) = MEMBERS.iter().position(|known| *known == key) else {
                        return skip(reader, key, &MEMBERS);
                    };
                    if let Some(seen) = seen.get_mut(position) {
                        note(seen, reader)?;
                    }
                    let path = path.member(key);
                    match key {
                        "function" | "custom" => self.call(reader, &path, depth),
                        _ => match reader.optional_value()? {
                            Some(value) => self.arguments(&path, value),
                            None => Ok(()),
                        },
                    }
                })
            }
            _ => Ok(reader.skip()?),
        }
    }

    /// What a tool was called with: the strings in it, also where it is JSON in a string; else the string itself.
    fn arguments(&mut self, path: &Path<'_>, value: Value) -> Outcome {
        if !matches!(value.form, Form::PlainString | Form::EscapedString) {
            return self.leaves(RequestScope::ToolArgument, path, Some(value));
        }
        let text = self.string(Some(value))?;
        if !text.trim_start().starts_with(['{', '[']) || !is_json(&text) {
            return self.note(RequestScope::ToolArgument, path, Some(value));
        }
        let mut strings = Vec::new();
        string_leaves::<DecodeError>(&text, 0..text.len(), |leaf| {
            if self.parts.len().saturating_add(strings.len()) >= MAX_REQUEST_PARTS {
                return Err(DecodeError::TooManyParts);
            }
            let characters = read_string(&text, leaf)?.into_owned();
            strings.push((characters, leaf.start..leaf.end));
            Ok(())
        })?;
        for (characters, nested) in strings {
            self.push(RequestScope::ToolArgument, path, Cow::Owned(characters), value, Some(nested))?;
        }
        Ok(())
    }

    /// Every string in `value` but for keys.
    pub(super) fn leaves(&mut self, scope: RequestScope, path: &Path<'_>, value: Option<Value>) -> Outcome {
        let Some(value) = value else { return Ok(()) };
        string_leaves(self.source, value.start..value.end, |leaf| self.note(scope, path, Some(leaf)))
    }

    fn member(&mut self, scope: RequestScope, path: &Path<'_>, value: Option<Value>, depth: usize) -> Outcome {
        match value {
            Some(value) if value.form == Form::Array || self.is_object(value) => {
                self.texts(&mut Reader::at(self.source, value), scope, path, depth)
            }
            Some(Value { form: Form::PlainString | Form::EscapedString, .. }) => self.note(scope, path, value),
            _ => Ok(()),
        }
    }

    pub(super) fn note(&mut self, scope: RequestScope, path: &Path<'_>, literal: Option<Value>) -> Outcome {
        let Some(literal) = literal else { return Ok(()) };
        let text = self.string(Some(literal))?;
        self.push(scope, path, text, literal, None)
    }

    fn push(
        &mut self,
        scope: RequestScope,
        path: &Path<'_>,
        text: Cow<'d, str>,
        literal: Value,
        nested: Option<Range<usize>>,
    ) -> Outcome {
        if self.parts.len() >= MAX_REQUEST_PARTS {
            return Err(DecodeError::TooManyParts);
        }
        self.parts.push(RequestPart { scope, path: path.to_string(), text, literal: literal.start..literal.end, nested });
        Ok(())
    }

    /// The characters of `value`; none if it is no string.
    fn string(&self, value: Option<Value>) -> Result<Cow<'d, str>, DecodeError> {
        value.map_or(Ok(Cow::Borrowed("")), |value| read_string(self.source, value))
    }

    fn is_object(&self, value: Value) -> bool {
        self.source.as_bytes().get(value.start) == Some(&b'{')
    }
}

/// Whether an item is of a type that says nothing here: policies see all its strings then.
fn is_unknown(item: &Item<'_>) -> bool {
    let kind = item.kind.as_ref();
    let is_call =
        kind.ends_with("_call") || kind.ends_with("tool_use") || kind.ends_with("_output") || kind.ends_with("tool_result");
    item.role.is_empty()
        && !kind.is_empty()
        && !is_call
        && !matches!(kind, "thinking" | "reasoning" | "function" | "custom")
        && !KNOWN_TYPES.contains(&kind)
}

/// The characters of the string `value` of `source`; none if it is no string.
fn read_string(source: &str, value: Value) -> Result<Cow<'_, str>, DecodeError> {
    let literal = source.get(value.start..value.end).unwrap_or_default();
    let mut unescaped = String::new();
    match unescape(literal, &mut unescaped) {
        Ok(Some(borrowed)) => Ok(Cow::Borrowed(borrowed)),
        Ok(None) => Ok(Cow::Owned(unescaped)),
        Err(StringError::NotAString) => Ok(Cow::Borrowed("")),
        Err(StringError::LoneSurrogate) => Err(DecodeError::LoneSurrogate),
    }
}

fn is_json(text: &str) -> bool {
    let mut reader = Reader::new(text);
    reader.skip().and_then(|()| reader.end()).is_ok()
}

/// Skips the value of `key`, which is none of `known`.
fn skip(reader: &mut Reader<'_>, key: &str, known: &[&str]) -> Outcome {
    if is_variant(key, known) { Err(reader.malformed().into()) } else { Ok(reader.skip()?) }
}

/// Notes that a member stands here, once.
pub(super) fn note(field: &mut Field<()>, reader: &mut Reader<'_>) -> Outcome {
    field.fill(reader, |_| Ok(Some(())))
}

pub(super) fn deeper(depth: usize, reader: &Reader<'_>) -> Result<usize, DecodeError> {
    if depth < MAX_DEPTH { Ok(depth.saturating_add(1)) } else { Err(reader.malformed().into()) }
}

/// Counts elements.
#[derive(Default)]
pub(super) struct Index(usize);

impl Index {
    pub(super) fn next(&mut self) -> usize {
        let index = self.0;
        self.0 = index.saturating_add(1);
        index
    }
}
