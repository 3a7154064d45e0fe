//! The two sides of a block: what came, and what left. As long as they are the same, one of them is kept.

use core::fmt::Write as _;

use sha2::{Digest, Sha256};

/// How much of a text is kept. What is longer is hashed as it comes.
pub(super) const KEPT_BYTES: usize = 4 * 1024;

/// A text on its way by: its beginning, its length, and the hash of all of it once it is longer than its beginning.
#[derive(Debug, Default)]
pub(super) struct Side {
    text: String,
    bytes: u64,
    hasher: Option<Sha256>,
}

impl Side {
    fn push(&mut self, salt: &[u8], text: &str, room: usize) {
        self.bytes = self.bytes.saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX));
        if let Some(hasher) = &mut self.hasher {
            return hasher.update(text);
        }
        let fits = text.floor_char_boundary(room.saturating_sub(self.text.len()));
        let (kept, rest) = text.split_at_checked(fits).unwrap_or(("", text));
        self.text.push_str(kept);
        if !rest.is_empty() {
            let mut hasher = begin(salt, &self.text);
            hasher.update(rest);
            self.hasher = Some(hasher);
        }
    }

    /// How long the text is.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The beginning of the text, as far as it is kept.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether more came than is kept.
    pub(super) const fn is_cut(&self) -> bool {
        self.hasher.is_some()
    }

    /// The salted hash of all of the text: thirty-two hexadecimal digits.
    pub(super) fn hash(&self, salt: &[u8]) -> String {
        let hasher = self.hasher.clone().unwrap_or_else(|| begin(salt, &self.text));
        let digest: [u8; 32] = hasher.finalize().into();
        let mut hash = String::with_capacity(32);
        for byte in digest.iter().take(16) {
            let _cannot_fail = write!(hash, "{byte:02x}");
        }
        hash
    }

    fn is_same(&self, other: &Self) -> bool {
        self.bytes == other.bytes
            && match (&self.hasher, &other.hasher) {
                (Some(one), Some(other)) => one.clone().finalize() == other.clone().finalize(),
                _ => self.text == other.text,
            }
    }
}

fn begin(salt: &[u8], text: &str) -> Sha256 {
    let mut hasher = Sha256::new();
    hasher.update(u64::try_from(salt.len()).unwrap_or(u64::MAX).to_le_bytes());
    hasher.update(salt);
    hasher.update(text);
    hasher
}

/// How far a text had come.
#[derive(Debug, Default)]
struct Mark {
    kept: usize,
    bytes: u64,
    hasher: Option<Sha256>,
}

/// What came of a block and what left of it.
#[derive(Debug)]
pub(super) struct Passage {
    room: usize,
    before: Side,
    /// What left, once it was not what had just come.
    after: Option<Side>,
    /// How far had come what left, and how many bytes came since.
    left: Mark,
    waiting: usize,
}

impl Passage {
    /// Begins a block; `keeps` says whether there is room for its text.
    pub(super) fn new(keeps: bool) -> Self {
        let room = if keeps { KEPT_BYTES } else { 0 };
        let before = Side { text: String::with_capacity(room), ..Side::default() };
        Self { room, before, after: None, left: Mark::default(), waiting: 0 }
    }

    /// How many bytes it keeps, of both sides.
    pub(super) const fn room(&self) -> usize {
        self.room.saturating_mul(2)
    }

    /// What came.
    pub(super) const fn before(&self) -> &Side {
        &self.before
    }

    /// What left, if it is another than what came.
    pub(super) fn changed(&self) -> Option<Side> {
        match &self.after {
            None if self.waiting == 0 => None,
            None => Some(self.side_at_mark()),
            Some(after) if after.is_same(&self.before) => None,
            Some(after) => Some(Side { text: after.text.clone(), bytes: after.bytes, hasher: after.hasher.clone() }),
        }
    }

    pub(super) fn came(&mut self, salt: &[u8], text: &str) {
        if self.after.is_none() {
            if self.waiting == 0 {
                let Side { text, bytes, hasher } = &self.before;
                self.left = Mark { kept: text.len(), bytes: *bytes, hasher: hasher.clone() };
            }
            self.waiting = self.waiting.saturating_add(text.len());
        }
        self.before.push(salt, text, self.room);
    }

    /// `is_as_it_came` says that no policy has changed this piece.
    pub(super) fn left(&mut self, salt: &[u8], text: &str, is_as_it_came: bool) {
        if self.after.is_none() && is_as_it_came && text.len() == self.waiting {
            self.waiting = 0;
            return;
        }
        let mut after = self.after.take().unwrap_or_else(|| self.side_at_mark());
        after.push(salt, text, self.room);
        self.after = Some(after);
    }

    fn side_at_mark(&self) -> Side {
        let Mark { kept, bytes, hasher } = &self.left;
        let text = self.before.text.get(..*kept).unwrap_or_default().to_owned();
        Side { text, bytes: *bytes, hasher: hasher.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played(steps: &[(&str, Option<(&str, bool)>)]) -> Passage {
        let mut passage = Passage::new(true);
        for (came, left) in steps {
            passage.came(b"salt", came);
            if let Some((text, is_as_it_came)) = left {
                passage.left(b"salt", text, *is_as_it_came);
            }
        }
        passage
    }

    #[test]
    fn what_leaves_as_it_came_is_no_change_however_it_is_cut_or_held() {
        let long = "é".repeat(KEPT_BYTES);
        assert!(played(&[("a", Some(("a", true))), (&long, Some((&long, true))), ("b", Some(("b", true)))]).changed().is_none());
        let mut held = played(&[("a", Some(("a", true))), (&long, None), ("b", None)]);
        assert_eq!(held.changed().unwrap().bytes(), 1);
        held.left(b"salt", &long, true);
        held.left(b"salt", "b", true);
        assert!(held.changed().is_none());
    }

    #[test]
    fn a_change_is_seen_with_what_stood_before_it() {
        let long = "é".repeat(KEPT_BYTES);
        for start in ["", "abc", &long] {
            let passage = played(&[(start, Some((start, true))), ("secret", Some(("******", false)))]);
            let after = passage.changed().unwrap();
            assert_eq!(after.bytes(), passage.before().bytes());
            let mut whole = Side::default();
            whole.push(b"salt", &format!("{start}******"), KEPT_BYTES);
            assert_eq!(after.hash(b"salt"), whole.hash(b"salt"), "{}", start.len());
            assert_ne!(after.hash(b"salt"), passage.before().hash(b"salt"));
            assert_eq!(after.text(), whole.text());
        }
    }

    #[test]
    fn another_salt_gives_another_hash() {
        let mut side = Side::default();
        side.push(b"", "text", KEPT_BYTES);
        assert_ne!(side.hash(b"a"), side.hash(b"b"));
        assert_eq!(side.hash(b"a"), side.hash(b"a"));
    }
}
