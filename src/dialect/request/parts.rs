//! The texts of a request: where each stands, what it is, and the request with others in their place.
//!
//! The names of the members differ from API to API and never contradict each other: one reader finds the texts of all
//! of them. What it does not know it skips; a member that it knows must not stand twice, nor in another case: some
//! readers take it for the same.

use core::fmt;
use core::ops::Range;
use std::borrow::Cow;

use crate::dialect::DecodeError;
use crate::dialect::decoding::{is_variant, utf8};
use crate::wire::json::{Edits, Field, Form, Reader, StringError, Value, to_text, unescape};

/// Most texts that one request may have.
pub const MAX_REQUEST_PARTS: usize = 65_536;

/// How deep what holds texts may be nested. Tool results in messages take six levels.
const MAX_DEPTH: usize = 64;

/// What a text of a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestScope {
    /// What the operator says: `system`, `instructions`, messages of the roles system and developer.
    System,
    /// What the user says; also what is to be embedded or completed.
    User,
    /// What the model said before.
    Assistant,
    /// Name of a tool that the model may call.
    ToolName,
    /// What a tool, or one of its parameters, is said to do.
    ToolDescription,
    /// What came of a tool call.
    ToolResult,
}

/// A text of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestPart<'a> {
    /// What it is.
    pub scope: RequestScope,
    /// Where it stands, such as `messages[2].content[0].text`.
    pub path: String,
    /// Its characters.
    pub text: Cow<'a, str>,
    /// The string in the body, with its quotes.
    literal: Range<usize>,
}

/// A request with other texts: every other byte stays.
#[derive(Debug)]
pub struct RequestRewrite<'a> {
    body: &'a [u8],
    edits: Edits,
}

impl<'a> RequestRewrite<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self { body, edits: Edits::default() }
    }

    /// Puts `text` in place of the text of `part`, which must be a part of this body.
    pub fn replace(&mut self, part: &RequestPart<'_>, text: &str) {
        self.edits.replace(part.literal.clone(), to_text(text));
    }

    /// The body; `None` if nothing was replaced.
    pub fn into_body(self) -> Option<Vec<u8>> {
        if self.edits.is_empty() {
            return None;
        }
        let mut body = Vec::with_capacity(self.body.len());
        self.edits.apply(self.body, &mut body);
        Some(body)
    }
}

/// The texts of `body`, in its order.
pub(crate) fn read(body: &[u8]) -> Result<Vec<RequestPart<'_>>, DecodeError> {
    if body.is_empty() {
        return Ok(Vec::new());
    }
    let source = utf8(body)?;
    let mut parts = Vec::new();
    let mut reader = Reader::new(source);
    Walk { source, parts: &mut parts }.request(&mut reader, &Path::ROOT, 0)?;
    reader.end()?;
    parts.sort_unstable_by_key(|part| part.literal.start);
    Ok(parts)
}

/// Where a value stands in the frame.
#[derive(Clone, Copy)]
struct Path<'p> {
    parent: Option<&'p Self>,
    step: Step<'p>,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Root,
    Member(&'p str),
    Element(usize),
}

impl<'p> Path<'p> {
    const ROOT: Self = Self { parent: None, step: Step::Root };

    const fn member(&'p self, key: &'p str) -> Self {
        Self { parent: Some(self), step: Step::Member(key) }
    }

    const fn element(&'p self, index: usize) -> Self {
        Self { parent: Some(self), step: Step::Element(index) }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(parent) = self.parent else { return Ok(()) };
        parent.fmt(f)?;
        match self.step {
            Step::Root => Ok(()),
            Step::Member(key) if matches!(parent.step, Step::Root) => f.write_str(key),
            Step::Member(key) => write!(f, ".{key}"),
            Step::Element(index) => write!(f, "[{index}]"),
        }
    }
}

/// A way through the frame, that notes the texts.
struct Walk<'d, 'p> {
    source: &'d str,
    parts: &'p mut Vec<RequestPart<'d>>,
}

type Outcome = Result<(), DecodeError>;

impl<'d> Walk<'d, '_> {
    fn request(&mut self, reader: &mut Reader<'d>, path: &Path<'_>, depth: usize) -> Outcome {
        const MEMBERS: [&str; 9] =
            ["messages", "system", "instructions", "input", "prompt", "suffix", "tools", "functions", "requests"];
        let mut seen = [Field::default(); MEMBERS.len()];
        reader.object(|reader, key| {
            let Some(position) = MEMBERS.iter().position(|known| *known == key) else { return skip(reader, key, &MEMBERS) };
            if let Some(seen) = seen.get_mut(position) {
                note(seen, reader)?;
            }
            let path = path.member(key);
            match key {
                "system" | "instructions" => self.texts(reader, RequestScope::System, &path, depth),
                "tools" | "functions" => self.definition(reader, true, &path, depth),
                "requests" => self.batch(reader, &path, depth),
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
        // What the item itself says, and what a tool said.
        const OWN: [&str; 6] = ["text", "refusal", "content", "source", "title", "context"];
        const OUTPUT: [&str; 5] = ["output", "outputs", "stdout", "stderr", "logs"];
        const OTHER: [&str; 4] = ["type", "role", "data", "tools"];
        let [mut item_type, mut role, mut data, mut tools] = [Field::default(); OTHER.len()];
        let (mut own, mut output) = ([Field::default(); OWN.len()], [Field::default(); OUTPUT.len()]);
        reader.object(|reader, key| {
            let field = match key {
                "type" => &mut item_type,
                "role" => &mut role,
                "data" => &mut data,
                "tools" => &mut tools,
                key => {
                    let own = OWN.iter().zip(&mut own);
                    match own.chain(OUTPUT.iter().zip(&mut output)).find(|(known, _)| **known == key) {
                        Some((_, field)) => field,
                        None if is_variant(key, &OTHER) => return Err(reader.malformed().into()),
                        None if is_variant(key, &OWN) => return Err(reader.malformed().into()),
                        None => return skip(reader, key, &OUTPUT),
                    }
                }
            };
            Ok(field.fill(reader, Reader::optional_value)?)
        })?;
        let item_type = self.string(item_type.get())?;
        let scope = match (self.string(role.get())?.as_ref(), item_type.as_ref()) {
            // Signed, or encrypted: it goes back as it came.
            ("", "thinking" | "redacted_thinking" | "reasoning") => return Ok(()),
            ("system" | "developer", _) => RequestScope::System,
            ("assistant", _) => RequestScope::Assistant,
            ("tool" | "function", _) => RequestScope::ToolResult,
            ("", other) if other.ends_with("tool_result") => RequestScope::ToolResult,
            ("", _) => scope,
            _ => RequestScope::User,
        };
        for (key, value) in OWN.iter().zip(own) {
            // A source that is no object is an address.
            let is_text = match *key {
                "source" => value.get().is_some_and(|value| self.is_object(value)),
                _ => true,
            };
            if is_text {
                self.member(scope, &path.member(key), value.get(), depth)?;
            }
        }
        for (key, value) in OUTPUT.iter().zip(output) {
            self.member(RequestScope::ToolResult, &path.member(key), value.get(), depth)?;
        }
        if let Some(tools) = tools.get() {
            self.definition(&mut Reader::at(self.source, tools), true, &path.member("tools"), depth)?;
        }
        // The data of all other types is encoded, or encrypted.
        if item_type == "text" { self.member(scope, &path.member("data"), data.get(), depth) } else { Ok(()) }
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

    /// A tool's definition, or a part of one; `is_tool` while it can be the tool itself.
    fn definition(&mut self, reader: &mut Reader<'d>, is_tool: bool, path: &Path<'_>, depth: usize) -> Outcome {
        const DEFINED: [&str; 6] = ["name", "description", "server_description", "function", "custom", "tools"];
        let depth = deeper(depth, reader)?;
        match reader.peek() {
            Some(b'{') => {
                let [mut name, mut description, mut server_description] = [Field::default(); 3];
                reader.object(|reader, key| {
                    let (field, scope) = match key {
                        "name" if is_tool => (&mut name, RequestScope::ToolName),
                        "description" => (&mut description, RequestScope::ToolDescription),
                        "server_description" => (&mut server_description, RequestScope::ToolDescription),
                        key if is_tool && is_variant(key, &DEFINED) => return Err(reader.malformed().into()),
                        key => {
                            let is_tool = is_tool && matches!(key, "function" | "custom" | "tools");
                            return self.definition(reader, is_tool, &path.member(key), depth);
                        }
                    };
                    note(field, reader)?;
                    if reader.peek() != Some(b'"') {
                        // A parameter that is called so.
                        return self.definition(reader, false, &path.member(key), depth);
                    }
                    let literal = reader.optional_string()?;
                    self.note(scope, &path.member(key), literal)
                })
            }
            Some(b'[') => {
                let mut index = Index::default();
                reader.array(|reader| self.definition(reader, is_tool, &path.element(index.next()), depth))
            }
            _ => Ok(reader.skip()?),
        }
    }

    fn note(&mut self, scope: RequestScope, path: &Path<'_>, literal: Option<Value>) -> Outcome {
        let Some(literal) = literal else { return Ok(()) };
        if self.parts.len() >= MAX_REQUEST_PARTS {
            return Err(DecodeError::TooManyParts);
        }
        let text = self.string(Some(literal))?;
        self.parts.push(RequestPart { scope, path: path.to_string(), text, literal: literal.start..literal.end });
        Ok(())
    }

    /// The characters of `value`; none if it is no string.
    fn string(&self, value: Option<Value>) -> Result<Cow<'d, str>, DecodeError> {
        let Some(value) = value else { return Ok(Cow::Borrowed("")) };
        let literal = self.source.get(value.start..value.end).unwrap_or_default();
        let mut unescaped = String::new();
        match unescape(literal, &mut unescaped) {
            Ok(Some(borrowed)) => Ok(Cow::Borrowed(borrowed)),
            Ok(None) => Ok(Cow::Owned(unescaped)),
            Err(StringError::NotAString) => Ok(Cow::Borrowed("")),
            Err(StringError::LoneSurrogate) => Err(DecodeError::LoneSurrogate),
        }
    }

    fn is_object(&self, value: Value) -> bool {
        self.source.as_bytes().get(value.start) == Some(&b'{')
    }
}

/// Skips the value of `key`, which is none of `known`.
fn skip(reader: &mut Reader<'_>, key: &str, known: &[&str]) -> Outcome {
    if is_variant(key, known) { Err(reader.malformed().into()) } else { Ok(reader.skip()?) }
}

/// Notes that a member stands here, once.
fn note(field: &mut Field<()>, reader: &mut Reader<'_>) -> Outcome {
    field.fill(reader, |_| Ok(Some(())))
}

fn deeper(depth: usize, reader: &Reader<'_>) -> Result<usize, DecodeError> {
    if depth < MAX_DEPTH { Ok(depth.saturating_add(1)) } else { Err(reader.malformed().into()) }
}

/// Counts elements.
#[derive(Default)]
struct Index(usize);

impl Index {
    fn next(&mut self) -> usize {
        let index = self.0;
        self.0 = index.saturating_add(1);
        index
    }
}

#[cfg(test)]
mod tests;
