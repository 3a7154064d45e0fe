//! The plain form of frames: bytes that every reader takes for the same.
//!
//! Clients differ in how they read odd bytes: one joins what another drops, and so what was judged could be something
//! else than what a client acts on. So between parser and decoder stands the [`Normalizer`]. A frame in plain form goes
//! on as it is. Any other is *written anew* from what was read of it, as one plain frame or several or none; decoder,
//! policies and encoder only ever see those. What the rules are is said in [`schema`], where a dialect describes what
//! its frames are made of, and at [`sse::Lines`]; only what the policies of the chain look at is put right.

mod lines;
mod names;
pub(in crate::dialect) mod schema;
mod text;
mod walk;
mod write;

#[cfg(test)]
mod tests;

use self::schema::EventName;
pub(in crate::dialect) use self::schema::Schema;
pub(crate) use self::schema::Wants;
pub(in crate::dialect) use self::text::is_clear;
use self::text::{has_lone_surrogate, push_clear};
use self::walk::{Entries, Habits, Stop, Walker};
use super::{DecodeError, Dialect, chat, decoding, messages, responses};
use crate::wire::json::{Malformed, Reader};
use crate::wire::sse;

/// Capacity that the buffers keep between events.
const KEPT_CAPACITY: usize = 64 * 1024;

/// A name that event streams give every event that has none.
const DEFAULT_NAME: &[u8] = b"message";

const BYTE_ORDER_MARK: char = '\u{feff}';

/// Brings the frames of one response into plain form; see the module.
#[derive(Debug)]
pub(crate) struct Normalizer {
    schema: Option<&'static Schema>,
    wants: Wants,
    /// The data of events is open: only lines and characters are looked at.
    is_open: bool,
    /// The terminator has come.
    ended: bool,
    /// How the events so far were written.
    habits: Habits,
    /// The events that the latest one was written anew as.
    events: Vec<u8>,
    /// A value that is being written.
    json: String,
}

impl Normalizer {
    /// A normalizer at the start of a response, for a chain that looks at what `wants` says.
    pub(crate) const fn new(dialect: Dialect, wants: Wants) -> Self {
        let schema = match dialect {
            Dialect::ChatCompletions => Some(&chat::SCHEMA),
            Dialect::Messages => Some(&messages::SCHEMA),
            Dialect::Responses => Some(&responses::SCHEMA),
            Dialect::McpTool => None,
        };
        let is_open = matches!(dialect, Dialect::McpTool) && wants.any();
        Self { schema, wants, is_open, ended: false, habits: Habits::UNKNOWN, events: Vec::new(), json: String::new() }
    }

    /// Whether events have to be shown to [`Self::event`] at all.
    const fn schema(&self) -> Option<&'static Schema> {
        if self.wants.any() { self.schema } else { None }
    }

    /// `None` if the event is plain; else the plain events that it was written anew as, if any.
    ///
    /// # Errors
    /// When the event cannot be read, and so not be written anew.
    pub(crate) fn event(&mut self, event: &sse::Event<'_>) -> Result<Option<&[u8]>, DecodeError> {
        if self.is_open {
            return self.open_event(event);
        }
        let Some(schema) = self.schema() else { return Ok(None) };
        let data = event.data.filter(|data| !data.is_empty());
        let is_unended = data.is_some_and(|data| schema.unended.iter().any(|unended| unended.as_bytes() == data));
        if (event.is_plain || (is_unended && is_plain_but_for_its_end(event.raw))) && !self.ended {
            let Some(data) = data else { return Ok(None) };
            if schema.terminator.is_some_and(|terminator| data == terminator.as_bytes()) {
                self.ended = true;
                return Ok(None);
            }
            if self.is_plain(schema, event.name, data) {
                return Ok(None);
            }
        }
        self.events.clear();
        self.events.shrink_to(KEPT_CAPACITY);
        match data {
            _ if self.ended => {}
            None => write::without_data(event, &mut self.events),
            Some(data) => match schema.idle.filter(|(name, _)| event.name == name.as_bytes() && !is_object(data)) {
                Some((name, idle)) => {
                    write::Fields::of(event.raw).write(name.as_bytes(), idle.as_bytes(), true, &mut self.events);
                }
                None => self.write(schema, event, decoding::utf8(data)?)?,
            },
        }
        Ok(Some(&self.events))
    }

    fn open_event(&mut self, event: &sse::Event<'_>) -> Result<Option<&[u8]>, DecodeError> {
        if lines::is_plain(event) {
            return Ok(None);
        }
        self.events.clear();
        self.events.shrink_to(KEPT_CAPACITY);
        lines::write(event, &mut self.events)?;
        Ok(Some(&self.events))
    }

    /// `None` if the body is plain, or nothing that could be written anew; else what it was written anew as.
    pub(crate) fn body(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        if self.is_open {
            return lines::body(body);
        }
        let schema = self.schema()?;
        let source = core::str::from_utf8(body).ok()?;
        let mut clear = String::new();
        let mut text = source.strip_prefix(BYTE_ORDER_MARK).unwrap_or(source);
        if has_lone_surrogate(text.as_bytes()) {
            push_clear(text, &mut clear);
            text = &clear;
        }
        let mut reader = Reader::new(text);
        let checked = Walker::new(text, schema, self.wants, true, None).frame(&mut reader);
        match checked {
            Err(Stop::Malformed(_)) => return None,
            Ok(_) if text.len() == source.len() && clear.is_empty() => return None,
            Ok(_) | Err(Stop::NotPlain) => {}
        }
        let mut reader = Reader::new(text);
        let mut written = String::with_capacity(text.len());
        let is_object = Walker::new(text, schema, self.wants, true, Some(&mut written)).frame(&mut reader).ok()?;
        (is_object && reader.end().is_ok()).then(|| written.into_bytes())
    }

    fn is_plain(&mut self, schema: &'static Schema, name: &[u8], data: &[u8]) -> bool {
        let Ok(source) = core::str::from_utf8(data) else { return false };
        if !is_clear(data) {
            return false;
        }
        let mut reader = Reader::new(source);
        let mut walker = Walker::new(source, schema, self.wants, false, None).after(self.habits);
        if walker.frame(&mut reader) != Ok(true) || reader.end().is_err() {
            return false;
        }
        self.habits = walker.habits;
        let is_free = schema.event_name == EventName::Free || name.is_empty();
        is_free
            || match schema.event_name {
                EventName::LikeType => name == walker.name_by_type().as_bytes(),
                EventName::Missing | EventName::Free => name == DEFAULT_NAME || !walker.has_anchor,
            }
    }

    /// Writes all that `data` says as plain events.
    fn write(&mut self, schema: &'static Schema, event: &sse::Event<'_>, data: &str) -> Result<(), DecodeError> {
        let mut clear = String::new();
        push_clear(data, &mut clear);
        let is_blank = |character: char| character.is_whitespace() || character == BYTE_ORDER_MARK;
        let clear = clear.trim_matches(is_blank);
        let mut unread = clear;
        let fields = write::Fields::of(event.raw);
        let mut is_first = true;
        while !unread.is_empty() {
            if let Some(terminator) = schema.terminator.filter(|terminator| unread.starts_with(terminator)) {
                self.ended = true;
                fields.write(b"", terminator.as_bytes(), is_first, &mut self.events);
                break;
            }
            let offset = clear.len().saturating_sub(unread.len());
            let at_place = |malformed: Malformed| DecodeError::Malformed { at: malformed.at.saturating_add(offset) };
            let mut reader = Reader::new(unread);
            reader.skip().map_err(at_place)?;
            let (value, rest) = unread.split_at_checked(reader.position()).unwrap_or((unread, ""));
            unread = rest.trim_start_matches(is_blank);
            self.write_value(schema, event.name, value, &fields, is_first)?;
            is_first = false;
        }
        Ok(())
    }

    /// Writes one value of JSON as plain events.
    fn write_value(
        &mut self,
        schema: &'static Schema,
        name: &[u8],
        value: &str,
        fields: &write::Fields<'_>,
        is_first: bool,
    ) -> Result<(), DecodeError> {
        self.json.clear();
        self.json.shrink_to(KEPT_CAPACITY);
        let Some(mut written) = Written::of(value, schema, self.wants, self.habits, &mut self.json)? else {
            return Ok(());
        };
        self.habits = written.habits;
        if written.has_moved {
            let value = core::mem::take(&mut self.json);
            let Some(again) = Written::of(&value, schema, self.wants, self.habits, &mut self.json)? else {
                return Ok(());
            };
            written.entries = again.entries;
        }
        let Written { has_anchor, was_changed, entries, name_by_type, .. } = written;
        if was_changed && !has_anchor {
            return Ok(());
        }
        let name = match schema.event_name {
            EventName::Missing if has_anchor => b"",
            EventName::LikeType if !name.is_empty() => name_by_type.as_bytes(),
            EventName::Missing | EventName::LikeType | EventName::Free => name,
        };
        entries.frames(&self.json, |data, at| fields.write(name, data.as_bytes(), is_first && at == 0, &mut self.events));
        Ok(())
    }
}

/// Whether an event is plain once it has the blank line at its end.
fn is_plain_but_for_its_end(raw: &[u8]) -> bool {
    let ended = [raw, b"\n\n"].concat();
    let mut parser = sse::Parser::new(usize::MAX);
    parser.next(&mut ended.as_slice()).is_ok_and(|event| event.is_some_and(|event| event.is_plain))
}

/// Whether `data` is an object.
fn is_object(data: &[u8]) -> bool {
    let mut reader = Reader::new(core::str::from_utf8(data).unwrap_or_default());
    reader.object::<Malformed>(|reader, _| reader.skip()).and_then(|()| reader.end()).is_ok()
}

/// What a value was written as.
struct Written {
    entries: Entries,
    has_anchor: bool,
    was_changed: bool,
    has_moved: bool,
    name_by_type: String,
    habits: Habits,
}

impl Written {
    /// Writes `value` to `out`; `None` if it is no frame.
    fn of(
        value: &str,
        schema: &'static Schema,
        wants: Wants,
        habits: Habits,
        out: &mut String,
    ) -> Result<Option<Self>, DecodeError> {
        let mut walker = Walker::new(value, schema, wants, false, Some(out)).after(habits);
        match walker.frame(&mut Reader::new(value)) {
            Ok(true) => {}
            Err(Stop::Malformed(malformed)) => return Err(malformed.into()),
            Ok(false) | Err(Stop::NotPlain) => return Ok(None),
        }
        let name_by_type = walker.name_by_type().to_owned();
        let Walker { entries, has_anchor, was_changed, has_moved, habits, .. } = walker;
        Ok(Some(Self { entries, has_anchor, was_changed, has_moved, name_by_type, habits }))
    }
}
