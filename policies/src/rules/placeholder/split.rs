//! Finds placeholders in a text that comes in pieces.

use core::mem;

use super::Known;

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::rules) enum Part<'t> {
    Text(&'t str),
    Placeholder(&'t str),
}

/// A text on its way: its end waits where a placeholder begins with it.
#[derive(Debug, Default)]
pub(in crate::rules) struct Split {
    pending: String,
}

impl Split {
    /// Gives how many bytes wait.
    pub(in crate::rules) const fn undecided(&self) -> usize {
        self.pending.len()
    }

    /// Takes a piece of text in.
    pub(in crate::rules) fn feed(&mut self, known: &Known, piece: &str, mut take: impl FnMut(Part<'_>)) {
        let mut rest = piece;
        while !rest.is_empty() {
            if self.pending.is_empty() {
                let (before, from) = rest.split_at_checked(rest.find('[').unwrap_or(rest.len())).unwrap_or((rest, ""));
                if !before.is_empty() {
                    take(Part::Text(before));
                }
                rest = from;
            }
            let mut characters = rest.chars();
            let Some(character) = characters.next() else { return };
            self.pending.push(character);
            if known.has_beginning(&self.pending) {
                rest = characters.as_str();
                if known.has(&self.pending) {
                    take(Part::Placeholder(&mem::take(&mut self.pending)));
                }
                continue;
            }
            self.pending.pop();
            if self.pending.is_empty() {
                take(Part::Text(character.encode_utf8(&mut [0; 4])));
                rest = characters.as_str();
            } else {
                // A bracket begins placeholders and stands nowhere else in them: none begins within what waited.
                take(Part::Text(&mem::take(&mut self.pending)));
            }
        }
    }

    /// The text is over.
    pub(in crate::rules) fn finish(&mut self, mut take: impl FnMut(Part<'_>)) {
        let rest = mem::take(&mut self.pending);
        if !rest.is_empty() {
            take(Part::Text(&rest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_beginning_of_a_placeholder_waits_at_any_cut() {
        let mut known = Known::default();
        for placeholder in ["[A_12]", "[A_13]", "[B_12]"] {
            known.note_written(placeholder);
        }
        let text = "a[[A_12][A_14] [B_1[B_12]ü[A_13";
        for cut in (0..=text.len()).filter(|cut| text.is_char_boundary(*cut)) {
            let (mut split, mut out, mut placeholders) = (Split::default(), String::new(), 0);
            let mut take = |part: Part<'_>| match part {
                Part::Text(text) => out.push_str(text),
                Part::Placeholder(text) => {
                    placeholders += 1;
                    out.push_str(&text.to_lowercase());
                }
            };
            split.feed(&known, &text[..cut], &mut take);
            let waits = split.undecided();
            assert!(known.has_beginning(&text[cut - waits..cut]), "{cut}: {waits}");
            split.feed(&known, &text[cut..], &mut take);
            split.finish(&mut take);
            assert_eq!(out, "a[[a_12][A_14] [B_1[b_12]ü[A_13", "{cut}");
            assert_eq!(placeholders, 2);
        }
        let mut split = Split::default();
        split.feed(&known, "[A_1x", |_| ());
        assert_eq!(split.undecided(), 0);
    }
}
