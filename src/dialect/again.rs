//! Writing events that are like those before but for a text, without reading or building them anew: where the end of a text is
//! held back, nearly every event is one of these.

use core::ops::Range;

use super::template::{Hole, Template};
use crate::wire::json::{self, Edits, Form, Value};

/// Most bytes that are worth keeping of an event of Weir's own.
const MAX_BYTES: usize = 4096;

/// How an event was written whose text was replaced.
#[derive(Debug, Default)]
pub(super) struct Replaced {
    template: Template<Besides>,
}

/// What an event says besides its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Besides {
    /// Nothing that is of use to a client: it goes with its text.
    Nothing,
    /// Something that stays where the text is taken out.
    Something,
}

/// The text of an event in which all but the text is as it was in one that was learnt.
#[derive(Debug, Clone)]
pub(super) struct FoundText {
    /// Where its literal stands in the event.
    range: Range<usize>,
    /// What the event says besides.
    pub(super) besides: Besides,
}

impl Replaced {
    /// Finds the text of an event.
    pub(super) fn find(&self, raw: &[u8]) -> Option<FoundText> {
        let alike = self.template.find(raw)?;
        let range = alike.start..alike.start.saturating_add(alike.string.len());
        Some(FoundText { range, besides: alike.meaning })
    }

    /// Learns from an event that was `written` with these edits of its `data`, where it is the event as it came but for one text.
    pub(super) fn learn(&mut self, raw: &[u8], data: &[u8], edits: &Edits, padding: &str, besides: Besides, written: &[u8]) {
        self.template.forget();
        let (Ok(source), Some((text, new))) = (core::str::from_utf8(raw), edits.single()) else { return };
        // Where the data stands in the event, if it is a part of it.
        let offset = (data.as_ptr() as usize).saturating_sub(raw.as_ptr() as usize);
        if raw.get(offset..offset.saturating_add(data.len())) != Some(data) {
            return;
        }
        let value = |start: usize, end: usize| {
            let (start, end) = (start.saturating_add(offset), end.saturating_add(offset));
            let is_string = raw.get(start..end).is_some_and(|literal| literal.first() == Some(&b'"'));
            is_string.then_some(Value { start, end, form: Form::PlainString })
        };
        let Some(literal) = value(text.start, text.end) else { return };
        let expected = [raw.get(..literal.start).unwrap_or_default(), new.as_bytes(), raw.get(literal.end..).unwrap_or_default()];
        if written.strip_prefix(expected[0]).and_then(|rest| rest.strip_prefix(expected[1])) != Some(expected[2]) {
            return;
        }
        let padding_start = (padding.as_ptr() as usize).saturating_sub(data.as_ptr() as usize);
        let padding = value(padding_start, padding_start.saturating_add(padding.len())).filter(|_| !padding.is_empty());
        self.template.learn(source, &[(Hole::Text, Some(literal)), (Hole::Padding, padding)], besides);
    }
}

impl FoundText {
    /// Writes the event with `text` in place of its own.
    pub(super) fn write(&self, raw: &[u8], text: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(raw.get(..self.range.start).unwrap_or_default());
        json::write(text, out);
        out.extend_from_slice(raw.get(self.range.end..).unwrap_or_default());
    }
}

/// An event of Weir's own that says a text, without the text. `K` is what else it depends on.
#[derive(Debug)]
pub(super) struct OwnText<K> {
    /// What the event that is kept depends on.
    key: Option<K>,
    /// What the last event that was built depended on: one is worth keeping once two in a row are alike.
    built: Option<K>,
    before: Vec<u8>,
    after: Vec<u8>,
}

impl<K> Default for OwnText<K> {
    fn default() -> Self {
        Self { key: None, built: None, before: Vec::new(), after: Vec::new() }
    }
}

impl<K: PartialEq> OwnText<K> {
    /// Forgets the event.
    pub(super) fn forget(&mut self) {
        (self.key, self.built) = (None, None);
    }

    /// Writes what `event` writes for `text`.
    pub(super) fn write(&mut self, key: K, text: &str, out: &mut Vec<u8>, event: impl Fn(&str, &mut Vec<u8>)) {
        if self.key.as_ref() != Some(&key) {
            if self.built.as_ref() != Some(&key) {
                self.built = Some(key);
                return event(text, out);
            }
            if !self.learn(key, &event) {
                return event(text, out);
            }
        }
        out.extend_from_slice(&self.before);
        json::write(text, out);
        out.extend_from_slice(&self.after);
    }

    /// Learns an event, if it is not too long to be kept.
    fn learn(&mut self, key: K, event: impl Fn(&str, &mut Vec<u8>)) -> bool {
        self.key = None;
        let (mut empty, mut other) = (Vec::new(), Vec::new());
        event("", &mut empty);
        event(".", &mut other);
        // They are the same up to the text's end, the quote in the one and the dot in the other.
        let same = empty.iter().zip(&other).take_while(|(one, other)| one == other).count();
        let quotes = same.saturating_sub(1)..same.saturating_add(1);
        let (Some(b"\"\""), true) = (empty.get(quotes.clone()), empty.len() <= MAX_BYTES) else { return false };
        self.after.clear();
        self.after.extend_from_slice(empty.get(quotes.end..).unwrap_or_default());
        empty.truncate(quotes.start);
        self.before = empty;
        self.key = Some(key);
        true
    }
}

#[cfg(test)]
mod tests;
