//! Edits the arguments of a tool call in place: some values are replaced, and every other byte stays as it came.
//!
//! ```
//! use weir::arguments::Arguments;
//!
//! let mut arguments = Arguments::read(r#"{ "to": "a@b.c", "n": 1.50, "cc": ["a@b.c"] }"#).unwrap();
//! assert!(arguments.set("/n", "2"));
//! arguments.edit_strings(|_, text| (text == "a@b.c").then(|| "[removed]".to_owned()));
//! assert_eq!(arguments.into_text().unwrap(), r#"{ "to": "[removed]", "n": 2, "cc": ["[removed]"] }"#);
//! ```

use crate::wire::json::{self, Edits};

/// The arguments of a tool call, with changes that are to be made to them.
#[derive(Debug)]
pub struct Arguments<'a> {
    text: &'a str,
    edits: Edits,
}

impl<'a> Arguments<'a> {
    /// Reads arguments; `None` where they are no JSON object, or one that clients could read differently.
    pub fn read(text: &'a str) -> Option<Self> {
        json::is_unambiguous_object(text).then(|| Self { text, edits: Edits::default() })
    }

    /// Gives the value at a JSON pointer (RFC 6901), as it stands there.
    pub fn get(&self, pointer: &str) -> Option<&'a str> {
        let mut value = self.text.trim();
        for step in pointer.strip_prefix('/')?.split('/') {
            let key = step.replace("~1", "/").replace("~0", "~");
            value = match value.as_bytes().first() {
                Some(b'{') => json::members(value).into_iter().find(|member| member.key == key)?.value,
                Some(b'[') => json::elements(value).get(position(&key)?).copied()?,
                _ => return None,
            };
        }
        Some(value)
    }

    /// Puts a JSON value in the place of the one at a pointer. Says whether there is one, and `json` is a value.
    pub fn set(&mut self, pointer: &str, json: &str) -> bool {
        let Some(old) = self.get(pointer).filter(|_| serde_json::from_str::<serde::de::IgnoredAny>(json).is_ok()) else {
            return false;
        };
        self.edits.replace(json::span(self.text, old), json);
        true
    }

    /// Puts other strings in the place of those for which `edit`, given their pointer and their text, has one. Keys stay.
    pub fn edit_strings(&mut self, mut edit: impl FnMut(&str, &str) -> Option<String>) {
        // No deeper than what was read: 128 levels.
        let mut open = vec![(String::new(), self.text.trim())];
        while let Some((pointer, value)) = open.pop() {
            match value.as_bytes().first() {
                Some(b'{') => open.extend(json::members(value).into_iter().map(|member| {
                    let key = member.key.replace('~', "~0").replace('/', "~1");
                    (format!("{pointer}/{key}"), member.value)
                })),
                Some(b'[') => {
                    let elements = json::elements(value).into_iter().enumerate();
                    open.extend(elements.map(|(position, element)| (format!("{pointer}/{position}"), element)));
                }
                Some(b'"') => {
                    if let Some(text) = edit(&pointer, &json::string(value)) {
                        self.edits.replace(json::span(self.text, value), json::to_text(text.as_str()));
                    }
                }
                _ => {}
            }
        }
    }

    /// Gives the arguments with all changes; `None` where there are none.
    pub fn into_text(self) -> Option<String> {
        if self.edits.is_empty() {
            return None;
        }
        let mut edited = Vec::with_capacity(self.text.len());
        self.edits.apply(self.text.as_bytes(), &mut edited);
        String::from_utf8(edited).ok()
    }
}

/// The position that a step of a pointer names: digits, without leading zeros.
fn position(step: &str) -> Option<usize> {
    let is_canonical = step == "0" || !step.starts_with(['0', '+']);
    step.parse().ok().filter(|_| is_canonical)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_byte_stays() {
        let text = "{\"a\" : [1, {\"b/c\":\"x\\u0079\"}],\t\"d\":1e2}";
        let mut arguments = Arguments::read(text).unwrap();
        assert_eq!(arguments.get("/a/1/b~1c"), Some("\"x\\u0079\""));
        let mut seen = Vec::new();
        arguments.edit_strings(|pointer, text| {
            seen.push((pointer.to_owned(), text.to_owned()));
            Some("z".to_owned())
        });
        assert_eq!(seen, [("/a/1/b~1c".to_owned(), "xy".to_owned())]);
        assert_eq!(arguments.into_text().unwrap(), "{\"a\" : [1, {\"b/c\":\"z\"}],\t\"d\":1e2}");
        assert_eq!(Arguments::read(text).unwrap().into_text(), None);
    }

    #[test]
    fn what_clients_could_read_differently_is_not_edited() {
        for text in ["", "[1]", "{\"a\":1,\"a\":2}", "{\"a\":", "{} {}"] {
            assert!(Arguments::read(text).is_none(), "{text}");
        }
        let mut arguments = Arguments::read("{\"a\":{}}").unwrap();
        assert!(
            !arguments.set("/b", "1") && !arguments.set("/a", "{") && !arguments.set("/a/0", "1") && arguments.set("/a", "[1]")
        );
        assert_eq!(arguments.into_text().unwrap(), "{\"a\":[1]}");
    }
}
