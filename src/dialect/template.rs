//! Frames that differ from an earlier one in a string alone, as the deltas of one block do.
//!
//! A frame in which one string takes the place of another has the same members everywhere else: who has read the
//! earlier one knows what the later one says, but for the string. So only the string is read, and the rest compared.
//! Besides the string there may be others that mean nothing, and a number that counts the frames.

use smallvec::SmallVec;

use crate::wire::json::{self, Value};

/// Most bytes that are worth keeping of a frame.
const MAX_BYTES: usize = 4096;

/// A value in which frames of one kind differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hole {
    /// The string that is read.
    Text,
    /// A string that means nothing.
    Padding,
    /// A number that counts the frames.
    Number,
}

/// An earlier frame without the values in which it differs from others, and what its string meant.
#[derive(Debug)]
pub(super) struct Template<M> {
    /// What stands around the values.
    kept: String,
    /// The values, in their order, and where in `kept` what stands before each ends.
    holes: SmallVec<[(Hole, usize); 3]>,
    meaning: Option<M>,
}

/// What a frame says that is like the one that was kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Alike<'d, M> {
    /// Its string, as a frame of its own.
    pub(super) string: &'d str,
    /// Where that begins in the frame.
    pub(super) start: usize,
    pub(super) value: Value,
    pub(super) number: Option<u32>,
    pub(super) meaning: M,
}

impl<M> Default for Template<M> {
    fn default() -> Self {
        Self { kept: String::new(), holes: SmallVec::new(), meaning: None }
    }
}

impl<M: Copy> Template<M> {
    /// Forgets the frame.
    pub(super) fn forget(&mut self) {
        self.meaning = None;
    }

    /// Keeps `frame`, which differs from others of its kind in these values alone, and in which the one that is
    /// [`Hole::Text`] means `meaning`.
    pub(super) fn learn(&mut self, source: &str, holes: &[(Hole, Option<Value>)], meaning: M) {
        self.meaning = None;
        if source.len() > MAX_BYTES {
            return;
        }
        let mut in_order: SmallVec<[(Hole, Value); 3]> = SmallVec::new();
        for (hole, value) in holes {
            let Some(value) = *value else { continue };
            let place = in_order.partition_point(|(_, earlier)| earlier.start < value.start);
            in_order.insert(place, (*hole, value));
        }
        self.kept.clear();
        self.holes.clear();
        let mut from = 0;
        for (hole, value) in in_order {
            self.kept.push_str(source.get(from..value.start).unwrap_or_default());
            self.holes.push((hole, self.kept.len()));
            from = value.end;
        }
        self.kept.push_str(source.get(from..).unwrap_or_default());
        self.meaning = Some(meaning);
    }

    /// What `frame` says; `None` if it is not like the one that was kept.
    pub(super) fn find<'d>(&self, source: &'d [u8]) -> Option<Alike<'d, M>> {
        let meaning = self.meaning?;
        let (mut found, mut number) = (None, None);
        let (mut rest, mut from) = (source, 0);
        for (hole, before_end) in &self.holes {
            rest = strip_prefix(rest, self.kept.get(from..*before_end)?)?;
            from = *before_end;
            match hole {
                Hole::Text | Hole::Padding => {
                    let (string, value, behind) = json::take_string(rest)?;
                    if *hole == Hole::Text {
                        found = Some((string, source.len().saturating_sub(rest.len()), value));
                    }
                    rest = behind;
                }
                Hole::Number => {
                    let (taken, behind) = take_number(rest)?;
                    number = Some(taken);
                    rest = behind;
                }
            }
        }
        rest = strip_prefix(rest, self.kept.get(from..)?)?;
        let (string, start, value) = found.filter(|_| rest.is_empty())?;
        Some(Alike { string, start, value, number, meaning })
    }
}

/// The number that `bytes` begin with, and what follows it.
fn take_number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let length = bytes.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(bytes.len());
    let (digits, rest) = bytes.split_at_checked(length)?;
    // JSON knows no number that begins with a zero but zero.
    let is_number = !digits.starts_with(b"0") || length == 1;
    let number = core::str::from_utf8(digits).ok()?.parse().ok()?;
    is_number.then_some((number, rest))
}

/// What follows `prefix` in `bytes`. Compares sixteen bytes at once; what Wasm has to compare slices with goes byte by byte.
fn strip_prefix<'b>(bytes: &'b [u8], prefix: &str) -> Option<&'b [u8]> {
    let (head, rest) = bytes.split_at_checked(prefix.len())?;
    let prefix = prefix.as_bytes();
    let is_same = match (head.last_chunk(), prefix.last_chunk()) {
        // The last sixteen may have been compared in part already.
        (Some(end_of_head), Some(end_of_prefix)) => {
            let mut pairs = head.as_chunks().0.iter().zip(prefix.as_chunks().0);
            pairs.all(|(head, prefix)| sixteen(head) == sixteen(prefix)) && sixteen(end_of_head) == sixteen(end_of_prefix)
        }
        _ => head.iter().eq(prefix),
    };
    is_same.then_some(rest)
}

const fn sixteen(bytes: &[u8; 16]) -> u128 {
    u128::from_ne_bytes(*bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The frame that a template learnt, with holes for the strings `text` and `padding` and the number `number`.
    fn learnt(source: &str, text: &str, padding: Option<&str>, number: Option<&str>) -> Template<i32> {
        let value = |literal: &str| {
            let start = source.find(literal).unwrap();
            Value { start, end: start + literal.len(), form: json::Form::PlainString }
        };
        let mut template = Template::default();
        let holes = [(Hole::Number, number.map(value)), (Hole::Text, Some(value(text))), (Hole::Padding, padding.map(value))];
        template.learn(source, &holes, 7);
        template
    }

    fn found(template: &Template<i32>, source: &str) -> Option<(String, Option<u32>)> {
        template.find(source.as_bytes()).map(|alike| {
            assert_eq!((alike.value.start, alike.value.end), (0, alike.string.len()));
            assert_eq!(alike.meaning, 7);
            (alike.string.to_owned(), alike.number)
        })
    }

    #[test]
    fn a_document_is_known_again_by_all_but_its_strings() {
        let source = r#"{"a":"old","b":["é"],"c":"xyz"} "#;
        assert_eq!(found(&Template::default(), source), None);
        let mut template = learnt(source, r#""old""#, Some(r#""xyz""#), None);
        for (string, other) in
            [(r#""old""#, r#""""#), (r#""""#, r#""p""#), (r#""\"\u00e9\\""#, r#""\n""#), (r#""é, quite long""#, r#""""#)]
        {
            let same = source.replace(r#""old""#, string).replace(r#""xyz""#, other);
            assert_eq!(found(&template, &same), Some((string.to_owned(), None)), "{same}");
        }
        for (old, new) in [
            ("old", "o\nd"),
            ("old", r"\x"),
            (r#""old""#, "3"),
            ("xyz", "\0"),
            ("é", "e"),
            ("]", "}"),
            ("} ", "} x"),
            ("} ", "}"),
            ("{", " {"),
        ] {
            assert_eq!(found(&template, &source.replacen(old, new, 1)), None, "{old} to {new}");
        }
        for end in (0..source.len() - 1).filter(|end| source.is_char_boundary(*end)) {
            assert_eq!(found(&template, &source[..end]), None);
        }
        let invalid: Vec<u8> = source.bytes().map(|byte| if byte == b'x' { 0xff } else { byte }).collect();
        assert!(template.find(&invalid).is_none(), "not UTF-8");
        let without_padding = learnt(source, r#""old""#, None, None);
        assert_eq!(found(&without_padding, &source.replace("old", "new")), Some((r#""new""#.to_owned(), None)));
        assert_eq!(found(&without_padding, &source.replace("xyz", "xy")), None);
        template.forget();
        assert_eq!(found(&template, source), None);
    }

    #[test]
    fn whichever_byte_outside_of_the_string_changes_the_document_is_another() {
        let long = format!(r#"{{"before":"{}","text":"old","after":"{}"}}"#, "b".repeat(40), "a".repeat(53));
        let start = long.find(r#""old""#).unwrap();
        let template = learnt(&long, r#""old""#, None, None);
        assert_eq!(found(&template, &long.replace("old", "")), Some((r#""""#.to_owned(), None)));
        for position in (0..long.len()).filter(|position| !(start..start + 5).contains(position)) {
            let mut other = long.clone().into_bytes();
            other[position] ^= 1;
            assert!(template.find(&other).is_none(), "byte {position}");
        }
    }

    #[test]
    fn the_number_that_counts_documents_may_stand_before_or_after_the_string() {
        for source in [r#"{"n":17,"t":"old","p":"x"}"#, r#"{"p":"x","t":"old","n":17}"#, r#"{"t":"old","n":17,"p":"x"}"#] {
            let template = learnt(source, r#""old""#, Some(r#""x""#), Some("17"));
            for (digits, number) in [("17", 17), ("0", 0), ("4294967295", u32::MAX)] {
                let same = source.replace("17", digits).replace("old", "new");
                assert_eq!(found(&template, &same), Some((r#""new""#.to_owned(), Some(number))), "{same}");
            }
            for other in ["", "01", "00", "-1", "1.0", "1e3", "4294967296", r#""17""#, "null", " 17", "17 "] {
                assert_eq!(found(&template, &source.replace("17", other)), None, "{other} in {source}");
            }
        }
    }
}
