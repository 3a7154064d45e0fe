//! Server-sent events, on bytes (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
//!
//! [`Parser`] cuts a body into events without losing a byte: the raw ranges of all events, one after the other, are
//! the body. Incomplete is not invalid: what has not ended yet waits, within a bound.

use crate::wire::scan::find_line_end;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Capacity that the parser's buffers keep between events; one large event must not hold its memory for good.
const KEPT_CAPACITY: usize = 64 * 1024;

/// One event with the bytes that it came as.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// All bytes of the event: its lines, comments and the blank line that ends it.
    pub raw: &'a [u8],
    /// The `event` field; empty when there is none.
    pub name: &'a [u8],
    /// The `data` fields, joined by LF; `None` when there is none (a comment, a lone blank line).
    pub data: Option<&'a [u8]>,
    /// Whether every reader takes these lines for the same event, see `Lines`. What the data says is not looked at.
    pub is_plain: bool,
}

/// An event grew beyond the parser's bound before it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTooLarge {
    /// The bound in bytes.
    pub limit: usize,
}

impl core::fmt::Display for EventTooLarge {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "an event of the stream is larger than {} bytes", self.limit)
    }
}

impl core::error::Error for EventTooLarge {}

/// Cuts a body into events; see the module.
#[derive(Debug)]
pub struct Parser {
    limit: usize,
    /// The event that has not ended yet, as far as it has come.
    tail: Vec<u8>,
    /// The event in `tail` was handed out: the next call discards it.
    tail_is_done: bool,
    /// The data of an event with several `data` lines.
    joined: Vec<u8>,
    /// The current line has no bytes so far.
    line_is_empty: bool,
    /// The byte before was CR: a LF that follows belongs to the same line end.
    after_cr: bool,
    /// The line before ended in CRLF.
    after_crlf: bool,
    /// The event has ended in CR, and a LF that follows belongs to it.
    awaits_lf: bool,
    /// The first event, where alone a byte order mark may stand, is done.
    first_is_done: bool,
}

impl Parser {
    /// A parser at the start of a body that lets no event grow beyond `limit` bytes.
    pub const fn new(limit: usize) -> Self {
        Self {
            limit,
            tail: Vec::new(),
            tail_is_done: false,
            joined: Vec::new(),
            line_is_empty: true,
            after_cr: false,
            after_crlf: false,
            awaits_lf: false,
            first_is_done: false,
        }
    }

    /// The next event that is complete, taking its bytes from the front of `input`; `None` when `input` is used up
    /// (what remained of it waits in the parser).
    ///
    /// # Errors
    /// [`EventTooLarge`]; the parser has no more events then. Of the bytes of the event, those that wait are what
    /// [`Self::finish`] gives, and the others are still in `input`.
    pub fn next<'e, 'c: 'e>(&'e mut self, input: &mut &'c [u8]) -> Result<Option<Event<'e>>, EventTooLarge> {
        self.discard_done();
        if let Some(event) = self.take_plain(input) {
            return Ok(Some(event));
        }
        let available: &'c [u8] = input;
        let end = self.find_end(available);
        let (taken, rest) = available.split_at_checked(end.unwrap_or(available.len())).unwrap_or((available, &[]));
        if self.tail.len().saturating_add(taken.len()) > self.limit {
            return Err(EventTooLarge { limit: self.limit });
        }
        *input = rest;
        if end.is_none() {
            self.tail.extend_from_slice(taken);
            return Ok(None);
        }
        if self.tail.is_empty() {
            return Ok(Some(self.read_fields(Some(taken))));
        }
        self.tail.extend_from_slice(taken);
        Ok(Some(self.read_fields(None)))
    }

    /// The body ended: what waits, as an event of its own; it lacks the blank line at its end.
    pub fn finish(&mut self) -> Option<Event<'_>> {
        self.discard_done();
        if self.tail.is_empty() { None } else { Some(self.read_fields(None)) }
    }

    /// Bytes that wait for the rest of their event.
    pub const fn pending(&self) -> usize {
        if self.tail_is_done { 0 } else { self.tail.len() }
    }

    fn discard_done(&mut self) {
        if !self.joined.is_empty() {
            self.joined.clear();
            self.joined.shrink_to(KEPT_CAPACITY);
        }
        if core::mem::take(&mut self.tail_is_done) {
            self.tail.clear();
            self.tail.shrink_to(KEPT_CAPACITY);
        }
    }

    /// The event at the front of `input`, if it is all there and as most are: lines that end in LF, one of them data at
    /// most. Of any other nothing is taken, and it is read the long way.
    fn take_plain<'c>(&self, input: &mut &'c [u8]) -> Option<Event<'c>> {
        if !self.tail.is_empty() || !self.line_is_empty || self.after_cr || !self.first_is_done {
            return None;
        }
        let available: &'c [u8] = input;
        let mut unread = available;
        let mut lines = Lines::default();
        loop {
            if let [b'\n', rest @ ..] = unread {
                unread = rest;
                break;
            }
            let (line, rest) = unread.split_at_checked(find_line_end(unread)?)?;
            unread = rest.strip_prefix(b"\n")?;
            let data = lines.data;
            if lines.add(line).is_some() && data.is_some() {
                return None;
            }
        }
        let raw = available.get(..available.len().saturating_sub(unread.len())).filter(|raw| raw.len() <= self.limit)?;
        *input = unread;
        Some(Event { raw, name: lines.name, data: lines.data, is_plain: lines.are_plain })
    }

    /// Where in `input` the current event ends. Each byte is looked at once, whatever the chunking: what was seen of the
    /// line so far is in `line_is_empty` and `after_cr`.
    fn find_end(&mut self, input: &[u8]) -> Option<usize> {
        if self.awaits_lf && !input.is_empty() {
            self.awaits_lf = false;
            return Some(usize::from(input.first() == Some(&b'\n')));
        }
        let mut position: usize = 0;
        while let Some(rest) = input.get(position..).filter(|rest| !rest.is_empty()) {
            if core::mem::take(&mut self.after_cr) {
                self.after_crlf = rest.first() == Some(&b'\n');
                if self.after_crlf {
                    position = position.saturating_add(1);
                    continue;
                }
            }
            let Some(length) = find_line_end(rest) else {
                self.line_is_empty = false;
                return None;
            };
            let blank = self.line_is_empty && length == 0;
            let in_crlf_stream = self.after_crlf;
            self.line_is_empty = true;
            position = position.saturating_add(length).saturating_add(1);
            self.after_cr = rest.get(length) == Some(&b'\r');
            self.after_crlf = false;
            if !blank {
                continue;
            }
            if core::mem::take(&mut self.after_cr) {
                match input.get(position) {
                    Some(b'\n') => position = position.saturating_add(1),
                    Some(_) => {}
                    // The LF of a CRLF is all but there. Where lines end in CR alone the event is not kept waiting for it.
                    None if in_crlf_stream => {
                        self.awaits_lf = true;
                        return None;
                    }
                    None => self.after_cr = true,
                }
            }
            return Some(position);
        }
        None
    }

    /// Reads the fields of the event `raw`, or of the one in `tail`.
    fn read_fields<'e>(&'e mut self, raw: Option<&'e [u8]>) -> Event<'e> {
        self.tail_is_done = raw.is_none();
        let raw = raw.unwrap_or(&self.tail);
        let mut unread = raw;
        let mut lines = Lines::default();
        if !core::mem::replace(&mut self.first_is_done, true)
            && let Some(rest) = raw.strip_prefix(BYTE_ORDER_MARK)
        {
            // Many readers do not know it, and lose the line.
            lines.are_plain = false;
            unread = rest;
        }
        let mut is_joined = false;
        let mut ends = false;
        while !unread.is_empty() {
            let (line, line_end) = take_line(&mut unread);
            lines.are_plain &= line_end.ends_with(b"\n");
            ends = line.is_empty();
            let first = lines.data;
            let (Some(value), Some(first)) = (lines.add(line), first) else { continue };
            if !core::mem::replace(&mut is_joined, true) {
                self.joined.extend_from_slice(first);
            }
            self.joined.push(b'\n');
            self.joined.extend_from_slice(value);
        }
        let data = if is_joined { Some(self.joined.as_slice()) } else { lines.data };
        Event { raw, name: lines.name, data, is_plain: lines.are_plain && ends && !is_joined }
    }
}

/// The lines of one event.
///
/// They are *plain* where readers of events cannot differ about them, however loosely they read: no field stands twice,
/// no line is anything but a field or a comment, lines end in LF or CRLF, there is no white space but the one blank
/// behind the colon, and nothing in names, ids and comments could be taken for the end of a line or for data.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) id: Option<&'a [u8]>,
    pub(crate) retry: Option<&'a [u8]>,
    /// The latest `data` field.
    data: Option<&'a [u8]>,
    are_plain: bool,
    has_name: bool,
}

impl Default for Lines<'_> {
    fn default() -> Self {
        Self { name: &[], id: None, retry: None, data: None, are_plain: true, has_name: false }
    }
}

impl<'a> Lines<'a> {
    /// Takes in the next line; its value, if it is one of `data`.
    #[inline]
    pub(crate) fn add(&mut self, line: &'a [u8]) -> Option<&'a [u8]> {
        if let Some(value) = field_value(line, b"data") {
            self.data = Some(value);
            self.are_plain &= is_bare(line, value, b"data".len());
            return Some(value);
        }
        self.add_other(line);
        None
    }

    fn add_other(&mut self, line: &'a [u8]) {
        let is_clear = |value: &[u8], name: &[u8]| is_bare(line, value, name.len()) && value.iter().all(u8::is_ascii_graphic);
        if let Some(value) = field_value(line, b"event") {
            self.name = value;
            self.are_plain &= !core::mem::replace(&mut self.has_name, true) && is_clear(value, b"event");
        } else if let Some(value) = field_value(line, b"id") {
            self.are_plain &= self.id.replace(value).is_none() && is_clear(value, b"id");
        } else if let Some(value) = field_value(line, b"retry") {
            self.are_plain &= self.retry.replace(value).is_none() && value.iter().all(u8::is_ascii_digit);
        } else {
            self.are_plain &= line.is_empty() || is_plain_comment(line);
        }
    }
}

/// Whether `value` is what every reader takes for the value of its line: there is a colon, and no white space around it
/// but the one blank.
fn is_bare(line: &[u8], value: &[u8], name_length: usize) -> bool {
    let is_blank = |byte: Option<&u8>| byte.is_some_and(|byte| *byte <= b' ');
    line.len() > name_length && !is_blank(value.first()) && !is_blank(value.last())
}

/// Whether `line` is a comment that nobody could take for data.
pub(crate) fn is_plain_comment(line: &[u8]) -> bool {
    let Some(comment) = line.strip_prefix(b":") else { return false };
    let is_harmless = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'{' | b'[' | b'"');
    let says_data = comment.windows(b"data".len()).any(|word| word.eq_ignore_ascii_case(b"data"));
    comment.iter().all(is_harmless) && !says_data
}

/// Takes the next line off the front of `unread`: the line, and what ends it.
pub(crate) fn take_line<'a>(unread: &mut &'a [u8]) -> (&'a [u8], &'a [u8]) {
    let length = find_line_end(unread).unwrap_or(unread.len());
    let (line, rest) = unread.split_at_checked(length).unwrap_or((unread, &[]));
    let line_end_length = if rest.starts_with(b"\r\n") { 2 } else { rest.len().min(1) };
    let (line_end, rest) = rest.split_at_checked(line_end_length).unwrap_or((rest, &[]));
    *unread = rest;
    (line, line_end)
}

/// The value of `line` if it is a line of this field.
fn field_value<'a>(line: &'a [u8], field: &[u8]) -> Option<&'a [u8]> {
    match line.strip_prefix(field)? {
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        [] => Some(&[]),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
