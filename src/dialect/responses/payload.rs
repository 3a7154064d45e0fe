//! What a tool call asks for: as the text that policies see, and where it stands in the item.

use super::fields::{ActionFields, ItemFields};
use crate::block::BlockKind;
use crate::dialect::DecodeError;
use crate::dialect::decoding::{Strings, Text};
use crate::wire::json::{self, Edits, Form, Reader, Value};

/// The form in which an item says what it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Payload {
    /// A string.
    Text { key: &'static str, free_form: bool },
    /// These members, which come whole. Their text is the JSON object of them.
    Members(&'static [&'static str]),
    /// The strings in `action.commands`. Their text has a line end between two of them.
    Commands,
    /// The `operation` of a patch. Its text has what is done to which file in the first line, and then the difference.
    Operation,
    /// A type of item that is not known: its text is all of it.
    Item,
}

impl Payload {
    /// Whether the text is no JSON.
    pub(super) const fn is_free_form(self) -> bool {
        match self {
            Self::Text { free_form, .. } => free_form,
            Self::Commands | Self::Operation => true,
            Self::Members(_) | Self::Item => false,
        }
    }

    /// The member of the event that ends its text; `None` where it comes whole.
    pub(super) const fn event_key(self) -> Option<&'static str> {
        match self {
            Self::Text { key, .. } => Some(key),
            Self::Commands => Some("command"),
            Self::Operation => Some("diff"),
            Self::Members(_) | Self::Item => None,
        }
    }

    /// Whether items with this payload name their tool.
    pub(super) fn has_name(self) -> bool {
        matches!(self, Self::Text { key: "arguments" | "input", .. })
    }

    /// Whether the text that stands where an item begins is its own; else it comes at the end.
    pub(super) fn begins_with(self, source: &str, item: &ItemFields, kind: BlockKind) -> bool {
        match self {
            Self::Text { .. } | Self::Commands | Self::Operation => true,
            Self::Members(keys) => kind == BlockKind::ToolCall && !is_preliminary(source, item, keys),
            Self::Item => false,
        }
    }

    /// Whether the text stands in the item as what it has to be, if it stands there.
    pub(super) fn is_well_formed(self, item: &ItemFields) -> bool {
        match self {
            Self::Text { key, .. } => item.member(key).is_none_or(is_string),
            Self::Members(_) | Self::Commands | Self::Operation | Self::Item => true,
        }
    }

    /// Reads the text from an item.
    pub(super) fn read(self, source: &str, item: &ItemFields, strings: &mut Strings) -> Result<Text, DecodeError> {
        match self {
            Self::Text { key, .. } => match item.member(key) {
                // Some servers write the object itself.
                Some(value) if !is_string(value) => Ok(Text::verbatim(value)),
                value => strings.read(source, value),
            },
            Self::Members(keys) => Ok(read_members(source, item, keys, strings)),
            Self::Commands => read_commands(source, item, strings),
            Self::Operation => read_operation(source, item, strings),
            Self::Item => Ok(item.whole.map_or(Text::EMPTY, Text::verbatim)),
        }
    }

    /// The text of `item`, a whole frame; empty if it cannot be read.
    pub(super) fn text_in(self, item: &str) -> String {
        let whole = Value { start: 0, end: item.len(), form: Form::Other };
        let mut strings = Strings::default();
        let text =
            ItemFields::at(item, whole).map_err(DecodeError::from).and_then(|fields| self.read(item, &fields, &mut strings));
        text.map_or_else(|_| String::new(), |text| strings.get(item, text).to_owned())
    }

    /// What of the whole text `done` events of this payload repeat.
    pub(super) fn repeated(self, text: &str) -> &str {
        match self {
            Self::Operation => text.split_once('\n').map_or("", |(_, diff)| diff),
            _ => text,
        }
    }

    /// Lets `item`, an object within `frame`, ask for `text`.
    pub(super) fn write(self, source: &str, item: &str, text: &str, edits: &mut Edits) {
        let members = json::members(item);
        let mut set = |object: &str, members: &[json::Member<'_>], values: &[(&str, String)]| {
            edits.edit_object(source, object, members, &[], values);
        };
        match self {
            Self::Text { key, .. } => set(item, &members, &[(key, json::to_text(text))]),
            Self::Members(keys) => {
                let values = json::members(text);
                let value = |key| json::member(&values, key).unwrap_or("null").to_owned();
                let stands = |key: &&str| members.iter().any(|member| member.key == *key);
                let values: Vec<_> = keys.iter().copied().filter(stands).map(|key| (key, value(key))).collect();
                set(item, &members, &values);
            }
            Self::Commands => {
                let commands = if text.is_empty() { "[]".to_owned() } else { json::to_text(&[text]) };
                match json::member(&members, "action") {
                    Some(action) => set(action, &json::members(action), &[("commands", commands)]),
                    None => set(item, &members, &[("action", format!(r#"{{"commands":{commands}}}"#))]),
                }
            }
            Self::Operation => {
                let (first, diff) = text.split_once('\n').unwrap_or((text, ""));
                let (kind, path) = first.split_once(' ').unwrap_or((first, ""));
                let mut values = vec![("type", json::to_text(kind)), ("path", json::to_text(path))];
                let operation = json::member(&members, "operation").unwrap_or("{}");
                let parts = json::members(operation);
                if !diff.is_empty() || json::member(&parts, "diff").is_some() {
                    values.push(("diff", json::to_text(diff)));
                }
                if json::member(&members, "operation").is_some() {
                    set(operation, &parts, &values);
                }
            }
            Self::Item => {
                let whole = if json::is_unambiguous_object(text) { text } else { "{}" };
                edits.replace(json::span(source, item), whole);
            }
        }
    }
}

const fn is_string(value: Value) -> bool {
    matches!(value.form, Form::PlainString | Form::EscapedString)
}

fn read_members(source: &str, item: &ItemFields, keys: &[&str], strings: &mut Strings) -> Text {
    let start = strings.begin();
    for key in keys {
        let Some(value) = item.member(key) else { continue };
        strings.push(if strings.begin() == start { "{\"" } else { ",\"" });
        strings.push(key);
        strings.push("\":");
        strings.push(source.get(value.start..value.end).unwrap_or_default());
    }
    if strings.begin() != start {
        strings.push("}");
    }
    strings.since(start)
}

fn read_commands(source: &str, item: &ItemFields, strings: &mut Strings) -> Result<Text, DecodeError> {
    let Some(action) = item.member("action") else { return Ok(Text::EMPTY) };
    let Some(commands) = ActionFields::at(source, action)?.commands.get() else { return Ok(Text::EMPTY) };
    let start = strings.begin();
    let mut separator = "";
    Reader::at(source, commands).array(|reader| {
        strings.push(core::mem::replace(&mut separator, "\n"));
        strings.push_read(source, reader.optional_value()?)
    })?;
    Ok(strings.since(start))
}

fn read_operation(source: &str, item: &ItemFields, strings: &mut Strings) -> Result<Text, DecodeError> {
    let Some(operation) = item.operation.get() else { return Ok(Text::EMPTY) };
    let fields = ActionFields::at(source, operation)?;
    let start = strings.begin();
    strings.push_read(source, fields.r#type.get())?;
    strings.push(" ");
    strings.push_read(source, fields.path.get())?;
    strings.push("\n");
    strings.push_read(source, fields.diff.get())?;
    Ok(strings.since(start))
}

/// Whether nothing that could be carried out stands in the members yet: a provider may begin an item before it is known.
fn is_preliminary(source: &str, item: &ItemFields, keys: &[&str]) -> bool {
    keys.iter().filter_map(|key| item.member(key)).all(|value| {
        let text = source.get(value.start..value.end).unwrap_or_default();
        json::members(text).iter().all(|member| member.key == "type") && json::elements(text).is_empty()
    })
}
