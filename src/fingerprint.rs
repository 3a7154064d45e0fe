//! A short fingerprint of a text, to recognise it by without keeping it.

use core::fmt;

/// The 64-bit FNV-1a hash of a text, which is the same however the text is cut. It is no cryptographic hash: it tells
/// texts apart that nobody built to collide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// The fingerprint of an empty text.
    pub const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// The fingerprint of `text`.
    pub fn of(text: &str) -> Self {
        let mut fingerprint = Self::new();
        fingerprint.add(text);
        fingerprint
    }

    /// Goes on with the next piece of the text.
    pub fn add(&mut self, text: &str) {
        self.0 = text.bytes().fold(self.0, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    }
}

impl Default for Fingerprint {
    fn default() -> Self {
        Self::new()
    }
}

/// Sixteen hexadecimal digits.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_test_values_come_out_however_the_text_is_cut() {
        for (text, expected) in [("", "cbf29ce484222325"), ("a", "af63dc4c8601ec8c"), ("foobar", "85944171f73967e8")] {
            let mut cut = Fingerprint::new();
            text.split_inclusive('o').for_each(|piece| cut.add(piece));
            assert_eq!([Fingerprint::of(text).to_string(), cut.to_string()], [expected, expected]);
        }
    }
}
