//! A short fingerprint of a text, to recognise it by without keeping it.

use core::fmt;
use core::fmt::Write as _;

use sha2::{Digest, Sha256};

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

/// Gives 128 bits of SHA-256 of `parts`, each with its length before it, as hexadecimal digits: nobody finds others with the same.
pub fn digest(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        hasher.update(part);
    }
    let hash: [u8; 32] = hasher.finalize().into();
    hash.iter().take(16).fold(String::new(), |mut text, byte| {
        let _cannot_fail = write!(text, "{byte:02x}");
        text
    })
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
