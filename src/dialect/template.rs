//! Documents that differ from an earlier one in a string alone, as the deltas of one block do.
//!
//! A document in which one string takes the place of another has the same members everywhere else: who has read the
//! earlier one knows what the later one says, but for the string. So only the string is read, and the rest compared.

use super::document::Text;
use crate::json::{self, Value};

/// Most bytes that are worth keeping of a document.
const MAX_BYTES: usize = 4096;

/// An earlier document without its string, and what the string meant there.
#[derive(Debug)]
pub(super) struct Template<M> {
    before: String,
    /// What stands between the string and the padding; empty where there is no padding.
    between: String,
    after: String,
    has_padding: bool,
    meaning: Option<M>,
}

impl<M> Default for Template<M> {
    fn default() -> Self {
        Self { before: String::new(), between: String::new(), after: String::new(), has_padding: false, meaning: None }
    }
}

impl<M: Copy> Template<M> {
    /// Forgets the document.
    pub(super) fn forget(&mut self) {
        self.meaning = None;
    }

    /// Keeps `document`, in which `text` means `meaning` and the string `padding`, if there is one, nothing at all.
    pub(super) fn learn(&mut self, document: &str, text: Text, padding: Option<Value>, meaning: M) {
        let Text::Verbatim { start, end } = text else { return };
        let (start, end) = (start.saturating_sub(1), end.saturating_add(1));
        let padding_start = padding.map_or(end, |padding| padding.start);
        let padding_end = padding.map_or(end, |padding| padding.end);
        let parts = (document.get(..start), document.get(end..padding_start), document.get(padding_end..));
        let (Some(before), Some(between), Some(after)) = parts else { return };
        if document.len() > MAX_BYTES {
            return;
        }
        for (kept, part) in [(&mut self.before, before), (&mut self.between, between), (&mut self.after, after)] {
            kept.clear();
            kept.push_str(part);
        }
        self.has_padding = padding.is_some();
        self.meaning = Some(meaning);
    }

    /// The string of `document`, as a document of its own, and what it means; `None` if the document is not like the one
    /// that was kept.
    pub(super) fn find<'d>(&self, document: &'d [u8]) -> Option<(&'d str, Value, M)> {
        let meaning = self.meaning?;
        let rest = strip_prefix(document, &self.before)?;
        let (string, value, mut rest) = json::take_string(rest)?;
        if self.has_padding {
            (_, _, rest) = json::take_string(strip_prefix(rest, &self.between)?)?;
        }
        strip_prefix(rest, &self.after).filter(|rest| rest.is_empty())?;
        Some((string, value, meaning))
    }
}

/// What follows `prefix` in `bytes`. Compares sixteen bytes at once; what Wasm has to compare slices with goes byte by byte.
fn strip_prefix<'b>(bytes: &'b [u8], prefix: &str) -> Option<&'b [u8]> {
    let (head, rest) = bytes.split_at_checked(prefix.len())?;
    let ((head, last_of_head), (prefix, last_of_prefix)) = (head.as_chunks::<16>(), prefix.as_bytes().as_chunks::<16>());
    let mut pairs = head.iter().zip(prefix);
    let is_same = pairs.all(|(head, prefix)| u128::from_ne_bytes(*head) == u128::from_ne_bytes(*prefix));
    (is_same && last_of_head.iter().eq(last_of_prefix)).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_known_again_by_all_but_its_strings() {
        let document = r#"{"a":"old","b":["é"],"c":"xyz"} "#;
        let mut template = Template::default();
        let found = |template: &Template<i32>, document: &str| {
            template.find(document.as_bytes()).map(|(string, value, meaning)| {
                assert_eq!((value.start, value.end), (0, string.len()));
                (string.to_owned(), meaning)
            })
        };
        assert_eq!(found(&template, document), None);
        let text = Text::Verbatim { start: 6, end: 9 };
        let start = document.find(r#""xyz""#).unwrap();
        let padding = Value { start, end: start + 5, form: json::Form::PlainString };
        template.learn(document, text, Some(padding), 7);
        for (string, other) in
            [(r#""old""#, r#""""#), (r#""""#, r#""p""#), (r#""\"\u00e9\\""#, r#""\n""#), (r#""é, quite long""#, r#""""#)]
        {
            let same = document.replace(r#""old""#, string).replace(r#""xyz""#, other);
            assert_eq!(found(&template, &same), Some((string.to_owned(), 7)), "{same}");
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
            assert_eq!(found(&template, &document.replacen(old, new, 1)), None, "{old} to {new}");
        }
        for end in (0..document.len() - 1).filter(|end| document.is_char_boundary(*end)) {
            assert_eq!(found(&template, &document[..end]), None);
        }
        let invalid: Vec<u8> = document.bytes().map(|byte| if byte == b'x' { 0xff } else { byte }).collect();
        assert!(template.find(&invalid).is_none(), "not UTF-8");
        template.learn(document, text, None, 8);
        assert_eq!(found(&template, &document.replace("old", "new")), Some((r#""new""#.to_owned(), 8)));
        assert_eq!(found(&template, &document.replace("xyz", "xy")), None);
        template.forget();
        assert_eq!(found(&template, document), None);
    }
}
