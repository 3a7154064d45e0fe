//! Looks for bytes, eight at once. Libraries that do so look at four on Wasm, by the width of its addresses.

const HIGH_BITS: u64 = u64::from_le_bytes([0x80; 8]);

/// Where the first CR or LF stands.
pub(crate) fn find_line_end(bytes: &[u8]) -> Option<usize> {
    let mut unread = bytes;
    loop {
        unread = skip_unmarked(unread, mark_controls);
        match unread {
            [b'\r' | b'\n', ..] => return Some(bytes.len().saturating_sub(unread.len())),
            [_, rest @ ..] => unread = rest,
            [] => return None,
        }
    }
}

/// `bytes` from the first one on that ends a string of JSON or cannot stand in it as it is.
pub(crate) fn skip_plain(bytes: &[u8]) -> &[u8] {
    skip_unmarked(bytes, mark_ends_of_plain)
}

/// `bytes` from the first one on that is a backslash or no ASCII.
pub(crate) fn skip_unescaped_ascii(bytes: &[u8]) -> &[u8] {
    skip_unmarked(bytes, mark_backslashes_and_others)
}

/// `bytes` from the first one on whose high bit `mark` sets.
#[inline]
fn skip_unmarked(mut bytes: &[u8], mark: impl Fn(u64) -> u64) -> &[u8] {
    while let Some((eight, rest)) = bytes.split_first_chunk() {
        let marks = mark(u64::from_le_bytes(*eight));
        if marks != 0 {
            let unmarked = usize::try_from(marks.trailing_zeros() >> 3).unwrap_or_default();
            return bytes.get(unmarked..).unwrap_or_default();
        }
        bytes = rest;
    }
    while let [byte, rest @ ..] = bytes {
        if mark(u64::from_le_bytes([*byte; 8])) != 0 {
            break;
        }
        bytes = rest;
    }
    bytes
}

/// Marks control characters. Here and below subtraction can carry a mark on to the bytes above one that is marked
/// rightly: the lowest mark is right.
#[inline]
const fn mark_controls(bytes: u64) -> u64 {
    const AFTER_CONTROLS: u64 = u64::from_le_bytes([b' '; 8]);
    bytes.wrapping_sub(AFTER_CONTROLS) & !bytes & HIGH_BITS
}

/// Marks quotes, backslashes and control characters.
#[inline]
const fn mark_ends_of_plain(bytes: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    // With this bit turned over, a quote comes right behind the control characters, and nothing else gets there.
    const TURNED: u64 = u64::from_le_bytes([b'"' ^ b' '; 8]);
    const AFTER_QUOTE: u64 = u64::from_le_bytes([b' ' + 1; 8]);
    const BACKSLASHES: u64 = u64::from_le_bytes([b'\\'; 8]);
    let controls_and_quotes = (bytes ^ TURNED).wrapping_sub(AFTER_QUOTE);
    let backslashes = (bytes ^ BACKSLASHES).wrapping_sub(ONES);
    (controls_and_quotes | backslashes) & !bytes & HIGH_BITS
}

/// Marks backslashes, and what is no ASCII.
#[inline]
const fn mark_backslashes_and_others(bytes: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const BACKSLASHES: u64 = u64::from_le_bytes([b'\\'; 8]);
    let backslashes = (bytes ^ BACKSLASHES).wrapping_sub(ONES);
    (backslashes | bytes) & HIGH_BITS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes of which about every third is looked for, or is next to one that is.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            any::<u8>(),
            prop::sample::select(&b"abc\xC3\xBC\x7F"[..]),
            prop::sample::select(&b"\r\n\t\0\x1F !\"#[\\]\x80"[..]),
        ];
        prop::collection::vec(byte, 0..40)
    }

    proptest! {
        #[test]
        fn a_line_ends_at_its_first_cr_or_lf(bytes in bytes()) {
            prop_assert_eq!(find_line_end(&bytes), bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n')));
        }

        #[test]
        fn unescaped_ascii_ends_at_the_first_backslash_or_character_of_more_bytes(bytes in bytes()) {
            let other = bytes.iter().position(|byte| *byte == b'\\' || !byte.is_ascii()).unwrap_or(bytes.len());
            prop_assert_eq!(skip_unescaped_ascii(&bytes), &bytes[other..]);
        }

        #[test]
        fn plain_text_ends_at_the_first_byte_that_cannot_stand_in_a_string(bytes in bytes()) {
            let plain = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(bytes.len());
            prop_assert_eq!(skip_plain(&bytes), &bytes[plain..]);
        }
    }
}
