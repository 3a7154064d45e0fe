//! The normalised view of a text, in which rules search: what looks the same, or is the same for a model, is the same.
//!
//! Compatibility forms (full width, mathematical letters, circled letters, ligatures) become what they stand for, letters lose their
//! accents, letters of other scripts become the Latin ones that they look like, and what is invisible (zero-width characters, soft
//! hyphens, marks of direction, variation selectors, tags) is left out. The text itself is not changed by it.

mod table;

use table::{RUNS, SEVERAL, SINGLES};

/// What a character is in the normalised view: none, one or a few characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapped {
    characters: [char; 4],
    length: usize,
}

impl Mapped {
    const NONE: Self = Self { characters: ['\0'; 4], length: 0 };

    const fn one(character: char) -> Self {
        Self { characters: [character, '\0', '\0', '\0'], length: 1 }
    }

    pub(crate) fn as_slice(&self) -> &[char] {
        self.characters.get(..self.length).unwrap_or_default()
    }
}

impl core::ops::Deref for Mapped {
    type Target = [char];

    fn deref(&self) -> &[char] {
        self.as_slice()
    }
}

/// Gives what `character` is in the normalised view.
pub(crate) fn map(character: char) -> Mapped {
    if character.is_ascii() {
        return Mapped::one(character);
    }
    if is_left_out(character) {
        return Mapped::NONE;
    }
    let code = u32::from(character);
    if let Ok(short) = u16::try_from(code)
        && let Ok(at) = SINGLES.binary_search_by_key(&short, |(from, _)| *from)
    {
        let to = SINGLES.get(at).and_then(|(_, to)| char::from_u32(u32::from(*to)));
        return Mapped::one(to.unwrap_or(character));
    }
    let run = RUNS.partition_point(|(first, _, _)| *first <= code).checked_sub(1).and_then(|at| RUNS.get(at));
    if let Some((first, length, to)) = run
        && let offset = code.saturating_sub(*first)
        && offset < u32::from(*length)
    {
        return Mapped::one(char::from_u32(to.saturating_add(offset)).unwrap_or(character));
    }
    match SEVERAL.binary_search_by_key(&code, |(from, _)| *from).ok().and_then(|at| SEVERAL.get(at)) {
        Some((_, to)) => Mapped { characters: to.map(char::from), length: to.iter().take_while(|byte| **byte != 0).count() },
        None => Mapped::one(character),
    }
}

/// Says whether a character is left out of the view: it is invisible, or a mark on the character before it.
pub(crate) const fn is_left_out(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{300}'..='\u{36f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{1ab0}'..='\u{1aff}'
            | '\u{1dc0}'..='\u{1dff}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{20d0}'..='\u{20ff}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{fe20}'..='\u{fe2f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Says whether a character is a tag: an invisible double of an ASCII character.
pub(crate) const fn is_tag(character: char) -> bool {
    matches!(character, '\u{e0000}'..='\u{e007f}')
}

/// What a character is compared by where case is ignored: the lower case of its upper case, each where that is a single
/// character. So `ς` is like `σ`, `ſ` like `s`, the Kelvin sign like `k`; `ß` is not like `ss`.
pub(crate) fn fold(character: char) -> char {
    fn single(mut mapped: impl Iterator<Item = char>, otherwise: char) -> char {
        match (mapped.next(), mapped.next()) {
            (Some(only), None) => only,
            _ => otherwise,
        }
    }
    if character.is_ascii() {
        return character.to_ascii_lowercase();
    }
    let upper = single(character.to_uppercase(), character);
    single(upper.to_lowercase(), upper)
}

/// `text` in the normalised view.
pub(crate) fn normalised(text: &str) -> impl Iterator<Item = char> {
    text.chars().flat_map(|character| {
        let mapped = map(character);
        (0..mapped.len()).filter_map(move |at| mapped.get(at).copied())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_the_same_is_the_same() {
        for (text, view) in [
            ("plain ASCII, 7-bit", "plain ASCII, 7-bit"),
            ("ｆｕｌｌ　ｗｉｄｔｈ", "full width"),
            ("𝐦𝒶𝔱𝕙 𝟙𝟚𝟛", "math 123"),
            ("ﬁne Ⅳ ㎏ ①", "fine IV kg 1"),
            ("zero\u{200b}width\u{ad}\u{2060}", "zerowidth"),
            ("\u{202e}left\u{2069}", "left"),
            ("f\u{3164}i\u{ffa0}l\u{1d173}l\u{1d17a}e\u{1bca0}r\u{1bca3}s\u{fff0}\u{fff8}\u{fff9}\u{fffb}", "fillers"),
            ("a\u{e0061}\u{e0062}\u{e007f}b", "ab"),
            ("раураl", "paypal"),
            ("ΑΒΕ", "ABE"),
            ("café cafe\u{301}", "cafe cafe"),
            ("\u{a0}–\u{2019}", " -'"),
            ("日本語 한국어", "日本語 한국어"),
        ] {
            assert_eq!(normalised(text).collect::<String>(), view, "{text}");
        }
    }

    #[test]
    fn the_view_of_the_view_is_the_view() {
        for character in (0..=0x10_ffff).filter_map(char::from_u32) {
            for mapped in map(character).iter() {
                assert_eq!(map(*mapped).as_slice(), [*mapped], "{character:?}");
            }
        }
    }

    #[test]
    fn both_cases_of_a_letter_look_alike() {
        for character in (0x80..=0x10_ffff).filter_map(char::from_u32) {
            let mapped = map(character);
            if let [one] = mapped.as_slice()
                && *one != character
                && one.is_ascii_alphabetic()
            {
                let other = fold(character);
                let folded: Vec<char> = map(other).iter().copied().map(fold).collect();
                assert_eq!(folded, [fold(*one)], "{character:?} {other:?}");
            }
        }
    }

    #[test]
    fn case_folding_keeps_single_characters_single() {
        assert_eq!(fold('\u{212a}'), 'k');
        assert_eq!(fold('ſ'), 's');
        assert_eq!(fold('İ'), 'İ');
        assert_eq!(fold('ς'), 'σ');
    }
}
