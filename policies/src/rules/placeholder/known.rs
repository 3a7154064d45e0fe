//! The placeholders of an exchange, and what they stand for.

/// Most placeholders of an exchange, and most bytes of their values.
const MAX_KNOWN: usize = 1024;
const MAX_VALUE_BYTES: usize = 256 * 1024;

/// Most placeholders that are known only because a request has them in writing.
const MAX_WRITTEN: usize = 256;

#[derive(Debug, Default)]
struct Value {
    text: Option<String>,
    /// It stands in more than texts that the user does not see.
    is_restored: bool,
}

/// The placeholders that stand in the request.
#[derive(Debug, Default)]
pub(in crate::rules) struct Known {
    /// By placeholder, in order.
    values: Vec<(String, Value)>,
    bytes: usize,
    written: usize,
    /// One of them is restored.
    restores: bool,
}

impl Known {
    /// The place of a placeholder; `Err` with where it would be.
    fn find(&self, placeholder: &str) -> Result<usize, usize> {
        self.values.binary_search_by(|(known, _)| known.as_str().cmp(placeholder))
    }

    pub(in crate::rules) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Says whether any of them is restored in the answer.
    pub(in crate::rules) const fn restores(&self) -> bool {
        self.restores
    }

    /// Notes what a placeholder stands for; `false` where there is no room for it, or where it stands for another value.
    pub(super) fn remember(&mut self, placeholder: &str, value: String, is_system: bool) -> bool {
        let bytes = self.bytes.saturating_add(value.len());
        let place = match self.find(placeholder) {
            Ok(place) => place,
            Err(_) if self.values.len() >= MAX_KNOWN || bytes > MAX_VALUE_BYTES => return false,
            Err(place) => {
                self.bytes = bytes;
                self.restores |= !is_system;
                self.values.insert(place, (placeholder.to_owned(), Value { text: Some(value), is_restored: !is_system }));
                return true;
            }
        };
        if let Some((_, known)) = self.values.get_mut(place) {
            match &known.text {
                Some(text) if *text != value => return false,
                Some(_) => {}
                None if bytes > MAX_VALUE_BYTES => return false,
                None => (self.bytes, known.text) = (bytes, Some(value)),
            }
            known.is_restored |= !is_system;
            self.restores |= !is_system;
        }
        true
    }

    /// Says whether there is room for another one that the request has in writing.
    pub(super) fn takes_written(&self) -> bool {
        self.written < MAX_WRITTEN && self.values.len() < MAX_KNOWN
    }

    /// Notes a placeholder that the request has in writing.
    pub(super) fn note_written(&mut self, placeholder: &str) {
        if self.takes_written()
            && let Err(place) = self.find(placeholder)
        {
            self.written = self.written.saturating_add(1);
            self.values.insert(place, (placeholder.to_owned(), Value::default()));
        }
    }

    pub(super) fn has(&self, text: &str) -> bool {
        self.find(text).is_ok()
    }

    /// Says whether a placeholder begins with `text`.
    pub(super) fn has_beginning(&self, text: &str) -> bool {
        let (Ok(place) | Err(place)) = self.find(text);
        self.values.get(place).is_some_and(|(placeholder, _)| placeholder.starts_with(text))
    }

    /// Gives what takes the place of a placeholder in an answer; `None` where it stays.
    pub(in crate::rules) fn restored(&self, placeholder: &str) -> Option<&str> {
        let (_, value) = self.values.get(self.find(placeholder).ok()?)?;
        value.text.as_deref().filter(|_| value.is_restored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_the_bounds_is_not_remembered() {
        let mut known = Known::default();
        for number in 0..MAX_KNOWN {
            assert!(known.remember(&format!("[A_{number}]"), number.to_string(), false));
        }
        assert!(!known.remember("[A_new]", "new".to_owned(), false));
        assert!(known.remember("[A_1]", "1".to_owned(), false));
        let mut known = Known::default();
        for number in 0..512 {
            assert!(known.remember(&format!("[A_{number}]"), "v".repeat(512), false));
        }
        assert!(!known.remember("[A_new]", "v".to_owned(), false));
        let mut known = Known::default();
        for number in 0..=MAX_WRITTEN {
            known.note_written(&format!("[A_{number}]"));
        }
        assert_eq!(known.values.len(), MAX_WRITTEN);
    }

    #[test]
    fn a_placeholder_stands_for_one_value_and_is_restored_where_not_only_the_system_prompt_has_it() {
        let mut known = Known::default();
        known.note_written("[A_1]");
        assert_eq!(known.restored("[A_1]"), None);
        assert!(known.remember("[A_1]", "one".to_owned(), true));
        assert_eq!(known.restored("[A_1]"), None);
        assert!(!known.remember("[A_1]", "two".to_owned(), false));
        assert_eq!(known.restored("[A_1]"), None);
        assert!(known.remember("[A_1]", "one".to_owned(), false));
        assert_eq!(known.restored("[A_1]"), Some("one"));
    }
}
