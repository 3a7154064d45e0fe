//! Values whose form alone says too little: they count behind a word that says what they are, and are replaced without it.

use super::Detector;
use super::checks::is_given_ssn;

pub(super) const DETECTORS: &[Detector] = &[
    Detector::captured(
        "passport",
        r"(?i)\b(?:passport|passeport|pasaporte|passaporto|reisepass|pass-?nummer)(?:[ _\-]?(?:no|nr|num|number|nummer|id))?[\x22'.:=# \t]{1,6}(?:is[ \t]{1,2})?[\x22']?([A-Z0-9]{7,9})(?![A-Za-z0-9_\-])",
        is_document_number,
    ),
    Detector::captured(
        "driving_licence",
        r"(?i)\b(?:driv(?:er|ing)'?s?[ _\-]?licen[cs]e|führerschein|permis de conduire|dl)(?:[ _\-]?(?:no|nr|num|number|nummer|id))?[\x22'.:=# \t]{1,6}(?:is[ \t]{1,2})?[\x22']?([A-Z0-9]{1,4}(?:-?[A-Z0-9]{2,6}){1,4})(?![A-Za-z0-9_\-])",
        is_document_number,
    ),
    Detector::captured(
        "us_ssn_bare",
        r"(?i)\b(?:ssn|social security|soc\.? sec\.?)(?:[ _\-]?(?:no|num|number))?[\x22'.:=# \t]{1,6}(?:is[ \t]{1,2})?[\x22']?(\d{9})(?![A-Za-z0-9_\-])",
        is_bare_ssn,
    ),
    // Decided at the twelfth character of the value; what continues it goes with it.
    Detector::captured_early(
        "secret_assignment",
        r"(?i)(?:secret|token|passw(?:or)?d|passphrase|pwd|credentials?|api[_\-]?key|access[_\-]?key|private[_\-]?key|auth[_\-]?key)[A-Za-z0-9_\-]{0,12}[\x22'\]]{0,2}[ \t]{0,4}(?:=>|:=|[:=])[ \t]{0,4}[\x22'`]?([A-Za-z0-9+/_~!@#%^&*\-]{12,})",
        is_random,
    ),
];

/// The last word of a match, of these characters.
fn value(text: &[char], belongs: impl Fn(char) -> bool) -> &[char] {
    let start = text.iter().rposition(|character| !belongs(*character)).map_or(0, |at| at.saturating_add(1));
    text.get(start..).unwrap_or_default()
}

fn count(text: &[char], is_one: impl Fn(&char) -> bool) -> usize {
    text.iter().filter(|character| is_one(character)).count()
}

/// A number of a document has at least five digits, two of them different, where words have none; one with hyphens begins with a letter,
/// where dates do not.
fn is_document_number(text: &[char]) -> bool {
    let value = value(text, |character| character.is_ascii_alphanumeric() || character == '-');
    let mut digits = value.iter().filter(|character| character.is_ascii_digit());
    let first = digits.next();
    let is_date = value.contains(&'-') && value.first().is_some_and(char::is_ascii_digit);
    count(value, char::is_ascii_digit) >= 5 && digits.any(|digit| Some(digit) != first) && !is_date
}

fn is_bare_ssn(text: &[char]) -> bool {
    let value = value(text, |character| character.is_ascii_digit());
    let part = |from: usize, to: usize| value.get(from..to).unwrap_or_default().iter().collect::<String>();
    is_given_ssn(&part(0, 3), &part(3, 5), &part(5, 9)) && value != ['1', '2', '3', '4', '5', '6', '7', '8', '9']
}

/// Says whether the beginning of a value was drawn by chance: of letters and digits, with no run of letters as words have them, and few
/// characters twice.
fn is_random(text: &[char]) -> bool {
    let value = text.get(text.len().saturating_sub(12)..).unwrap_or_default();
    let (mut run, mut longest) = (0_usize, 0_usize);
    for character in value {
        run = if character.is_ascii_lowercase() || character.is_ascii_uppercase() { run.saturating_add(1) } else { 0 };
        longest = longest.max(run);
    }
    let different = (0..value.len()).filter(|at| {
        let character = value.get(*at);
        !value.iter().take(*at).any(|earlier| Some(earlier) == character)
    });
    let mixes = value.iter().zip(value.iter().skip(1)).any(|(one, next)| one.is_ascii_lowercase() && next.is_ascii_uppercase());
    // A run of one case is that of a word; random letters change theirs.
    let has_word = longest > 4 && !mixes;
    count(value, char::is_ascii_digit) >= 2 && count(value, char::is_ascii_alphabetic) >= 2 && different.count() >= 8 && !has_word
}
