//! Compares keys as the loosest of readers do: by Unicode case folding, and whether words are joined by underscores,
//! by hyphens or by capitals.

/// Whether `key` is the same as `name`, which is in lower case, folded.
pub(super) fn is_folded_same(key: &str, name: &str) -> bool {
    // Most keys are told apart by their length: folding a letter makes two bytes or three into one.
    if key.len() > name.len().saturating_mul(3) || key.len() < name.len() / 2 {
        return false;
    }
    fold(key).eq(name.chars().filter(|letter| *letter != '_'))
}

/// As [`is_folded_same`], but not the name itself.
pub(super) fn is_same_but_folded(key: &str, name: &str) -> bool {
    key != name && is_folded_same(key, name)
}

/// The only letters outside of ASCII that fold to letters of ASCII are the long s and the sign for kelvin.
fn fold(key: &str) -> impl Iterator<Item = char> {
    key.chars().filter(|letter| !matches!(letter, '_' | '-')).map(|letter| match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        letter => letter.to_ascii_lowercase(),
    })
}
