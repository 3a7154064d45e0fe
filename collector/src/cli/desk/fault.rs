//! What is wrong with a file, where, and what may have been meant.

use std::fmt;
use std::path::{Path, PathBuf};

use super::place::Place;

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) file: PathBuf,
    /// Where it stands, unless the file cannot be read at all.
    pub(crate) place: Option<Place>,
    /// The path of the field; empty for the file as a whole.
    pub(crate) path: String,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Fault {
    /// Describes a file that is not there, or is no text.
    pub(crate) fn unreadable(file: &Path, error: &dyn fmt::Display) -> Self {
        Self { file: file.to_owned(), place: None, path: String::new(), message: error.to_string(), hint: None }
    }

    /// Describes what is wrong with a field.
    pub(crate) fn of(file: &Path, place: Place, path: &str, message: &str) -> Self {
        let message = without_position(message);
        let hint = hint_of(message);
        let path = path.trim_start_matches('.').to_owned();
        Self { file: file.to_owned(), place: Some(place), path, message: message.to_owned(), hint }
    }
}

impl Fault {
    /// Says where it is: the file, and its line and column.
    pub(crate) fn at(&self) -> String {
        match self.place {
            Some(Place { line, column }) => format!("{}:{line}:{column}", self.file.display()),
            None => self.file.display().to_string(),
        }
    }

    /// Says what it is, without the place.
    pub(crate) fn what(&self) -> String {
        let path = if self.path.is_empty() { String::new() } else { format!("{}: ", self.path) };
        let hint = self.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{path}{}{hint}", self.message)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at(), self.what())
    }
}

/// Takes away the position that a reader of JSON adds: it counts in what was made of the file.
fn without_position(message: &str) -> &str {
    let is_position = |text: &str| text.split_once(" column ").is_some_and(|(line, column)| is_number(line) && is_number(column));
    match message.rsplit_once(" at line ") {
        Some((before, position)) if is_position(position) => before,
        _ => message,
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Finds the word that was probably meant, where a message names one that is not known and those that are.
fn hint_of(message: &str) -> Option<String> {
    let mut words = quoted(message, '`');
    if !message.starts_with("unknown ") || words.len() < 2 {
        words = quoted(message, '"');
        words.truncate(1);
        let (_, known) = message.split_once("there are: ").filter(|_| message.starts_with("there is no "))?;
        words.extend(known.split(", "));
    }
    let (given, known) = words.split_first()?;
    let likeness = |word: &&str| strsim::normalized_damerau_levenshtein(given, word);
    let meant = known.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(&meant) >= LIKE).then(|| format!("did you mean {meant}?"))
}

/// From which likeness on a word may have been meant.
const LIKE: f64 = 0.6;

/// What stands in quotes of a kind.
fn quoted(message: &str, mark: char) -> Vec<&str> {
    message.split(mark).skip(1).step_by(2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_told_as_compilers_tell_theirs() {
        let message = "unknown field `block_mesage`, expected one of `judge`, `block_message` at line 1 column 90";
        let fault = Fault::of(Path::new("p.yaml"), Place { line: 4, column: 7 }, "chain[0].with.block_mesage", message);
        assert_eq!(
            fault.to_string(),
            "p.yaml:4:7: chain[0].with.block_mesage: unknown field `block_mesage`, expected one of `judge`, `block_message` \
             (did you mean block_message?)"
        );
        assert_eq!(Fault::unreadable(Path::new("p.yaml"), &"gone").to_string(), "p.yaml: gone");
    }

    #[test]
    fn a_hint_names_what_is_alike_and_nothing_else() {
        for (message, hint) in [
            ("unknown variant `refus`, expected one of `redact`, `refuse`", Some("refuse")),
            ("unknown field `case`, expected `document` or `cases`", Some("cases")),
            ("unknown field `zebra`, expected `document` or `cases`", None),
            ("there is no policy \"rulez\"; there are: no_op, rules, budget", Some("rules")),
            ("there is no detector \"e-mail\"; there are: email, iban", Some("email")),
            ("missing field `cases`", None),
            ("is not at line 3 of the list", None),
        ] {
            assert_eq!(hint_of(message), hint.map(|hint| format!("did you mean {hint}?")), "{message}");
        }
        assert_eq!(without_position("is not at line 3 of the list"), "is not at line 3 of the list");
    }
}
