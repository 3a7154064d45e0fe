//! Writes events in plain form.

use crate::wire::sse::{self, Lines, is_plain_comment, take_line};

/// The fields of an event besides its name and its data.
pub(super) struct Fields<'a> {
    id: Option<&'a [u8]>,
    retry: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    /// Those of the event `raw` that are what they should be; of one that stands twice the last.
    pub(super) fn of(raw: &'a [u8]) -> Self {
        let lines = lines_of(raw);
        let retry = lines.retry.filter(|retry| !retry.is_empty() && retry.iter().all(u8::is_ascii_digit));
        Self { id: lines.id.filter(|id| id.iter().all(u8::is_ascii_graphic)), retry }
    }

    /// Writes an event with them, or, if it is not the first one that takes the place of another, with the id alone.
    pub(super) fn write(&self, name: &[u8], data: &[u8], is_first: bool, out: &mut Vec<u8>) {
        self.write_fields(name, is_first, out);
        push_field(b"data", Some(data), out);
        out.push(b'\n');
    }

    fn write_fields(&self, name: &[u8], is_first: bool, out: &mut Vec<u8>) {
        push_field(b"event", Some(name).filter(|name| !name.is_empty() && name.iter().all(u8::is_ascii_graphic)), out);
        push_field(b"id", self.id, out);
        push_field(b"retry", self.retry.filter(|_| is_first), out);
    }
}

/// Writes an event that has no data, or none that says anything: nothing where it has neither fields nor comments.
pub(super) fn without_data(event: &sse::Event<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    let mut unread = event.raw;
    while !unread.is_empty() {
        let (line, _) = take_line(&mut unread);
        if line.starts_with(b":") {
            // It may be what keeps the connection alive.
            out.extend_from_slice(if is_plain_comment(line) { line } else { b":" });
            out.push(b'\n');
        }
    }
    Fields::of(event.raw).write_fields(event.name, true, out);
    if out.len() > start {
        out.push(b'\n');
    }
}

fn lines_of(raw: &[u8]) -> Lines<'_> {
    let mut lines = Lines::default();
    let mut unread = raw;
    while !unread.is_empty() {
        let (line, _) = take_line(&mut unread);
        lines.add(line);
    }
    lines
}

fn push_field(name: &[u8], value: Option<&[u8]>, out: &mut Vec<u8>) {
    let Some(value) = value else { return };
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.push(b'\n');
}
