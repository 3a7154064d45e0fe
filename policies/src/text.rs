//! Text that others wrote, made fit to be shown.

/// `text` as one line of at most `max_chars` characters (a cut is marked with `…`), without control characters and
/// without the invisible ones that reorder or hide what stands beside them.
pub(crate) fn one_line(text: &str, max_chars: usize) -> String {
    let mut visible = text
        .trim()
        .chars()
        .filter(|character| !is_invisible_format(*character))
        .map(|character| if character.is_control() || is_line_break(character) { ' ' } else { character });
    let mut line: String = visible.by_ref().take(max_chars).collect();
    if visible.next().is_some() {
        line.pop();
        line.push('…');
    }
    line
}

/// Zero-width characters, directional marks, embeddings, overrides and isolates, and the byte order mark.
const fn is_invisible_format(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

const fn is_line_break(character: char) -> bool {
    matches!(character, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_one_visible_line() {
        assert_eq!(one_line("  deletes\r\nall\u{2028}files\u{1b}[31m ", 100), "deletes  all files [31m");
        assert_eq!(one_line("safe\u{202e}txt.exe\u{200b}", 100), "safetxt.exe");
    }

    #[test]
    fn a_cut_is_marked_and_falls_between_characters() {
        assert_eq!(one_line("äöüß", 4), "äöüß");
        assert_eq!(one_line("äöüßx", 4), "äöü…");
        assert_eq!(one_line("äöüß", 0), "…");
    }
}
