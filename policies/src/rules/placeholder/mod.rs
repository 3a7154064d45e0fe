//! Reversible placeholders: what stands in a request in the place of a value, and is given back in the answer.

mod known;
mod split;
mod taken;

use core::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use weir::document::{DocumentError, Environment};

pub(super) use known::Known;
pub(super) use split::{Part, Split};
pub(super) use taken::{Taken, Taking};

use super::config::{InAnswer, Rule};
use crate::joined::Edited;

/// Fewest and most bytes of a key.
const KEY_BYTES: core::ops::RangeInclusive<usize> = 32..=512;

/// Most characters of a label.
const MAX_LABEL: usize = 32;

/// How many hexadecimal digits of the code stand in a placeholder.
const DIGITS: usize = 12;

/// Most bytes of a placeholder: a label and a code, between brackets and with `_` between them.
pub(super) const MAX_BYTES: usize = MAX_LABEL + DIGITS + 3;

/// The secret that placeholders are made with.
pub(super) struct Key {
    secret: String,
    /// The field that gives it.
    field: &'static str,
}

impl Key {
    /// Reads the key that a configuration has, as it stands there or as the name of a variable.
    ///
    /// # Errors
    /// When both are there, or there is no such variable.
    pub(super) fn read(
        key: Option<String>,
        key_env: Option<String>,
        environment: Environment<'_>,
    ) -> Result<Option<Self>, DocumentError> {
        match (key, key_env) {
            (Some(_), Some(_)) => Err(DocumentError::new("key", "give key or key_env, not both")),
            (Some(secret), None) => Ok(Some(Self { secret, field: "key" })),
            (None, Some(variable)) => Ok(Some(Self { secret: environment.variable(&variable, "key_env")?, field: "key_env" })),
            (None, None) => Ok(None),
        }
    }
}

/// Makes placeholders of values.
pub(super) struct Placeholders {
    code: Hmac<Sha256>,
    /// The label of each rule, of those that are reversible.
    labels: Vec<Option<String>>,
    /// Such a rule is for reasoning in answers.
    restores_reasoning: bool,
}

impl fmt::Debug for Placeholders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the key.
        f.debug_struct("Placeholders").field("labels", &self.labels).finish_non_exhaustive()
    }
}

impl Placeholders {
    /// Makes ready what the rules need; `None` where none is reversible.
    ///
    /// # Errors
    /// When the key is not fit for it.
    pub(super) fn new(key: Option<Key>, rules: &[Rule]) -> Result<Option<Self>, DocumentError> {
        let labels: Vec<_> = rules.iter().map(|rule| rule.is_reversible.then(|| label(&rule.id))).collect();
        let is_needed = labels.iter().any(Option::is_some);
        let Some(Key { secret, field }) = key else {
            let message = "is required, or key_env: placeholders of reversible rules are made with it";
            return if is_needed { Err(DocumentError::new("key", message)) } else { Ok(None) };
        };
        if !is_needed {
            return Err(DocumentError::new(field, "is for reversible rules, and there is none"));
        }
        let code = Hmac::new_from_slice(secret.as_bytes()).ok().filter(|_| KEY_BYTES.contains(&secret.len()));
        let code = code.ok_or_else(|| DocumentError::new(field, "must have 32 to 512 bytes"))?;
        let in_reasoning = |rule: &Rule| rule.is_reversible && rule.answer.contains(&InAnswer::Reasoning);
        Ok(Some(Self { code, labels, restores_reasoning: rules.iter().any(in_reasoning) }))
    }

    /// Says whether placeholders are restored in such texts.
    pub(super) fn restores(&self, scope: InAnswer) -> bool {
        scope.is_restored() || (scope == InAnswer::Reasoning && self.restores_reasoning)
    }

    /// Says of each rule whether its values get placeholders.
    pub(super) fn reversible(&self) -> impl Iterator<Item = bool> {
        self.labels.iter().map(Option::is_some)
    }

    /// Gives the placeholder of a value that a rule found.
    fn of(&self, rule: usize, value: &str) -> Option<String> {
        let label = self.labels.get(rule)?.as_deref()?;
        let code = self.code.clone().chain_update(value).finalize().into_bytes();
        let digits = code.iter().flat_map(|byte| [byte >> 4, byte & 15]).take(DIGITS);
        let mut placeholder = format!("[{label}_");
        placeholder.extend(digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)));
        placeholder.push(']');
        Some(placeholder)
    }

    /// Notes what looks like a placeholder in the text of a request: it is not searched.
    pub(super) fn note_written(&self, text: &str, known: &mut Known) {
        for (at, _) in text.match_indices('[') {
            let Some((label, placeholder)) = text.get(at..).and_then(written) else { continue };
            if !known.takes_written() {
                return;
            }
            if !known.has(placeholder) && self.labels.iter().flatten().any(|own| own == label) {
                known.note_written(placeholder);
            }
        }
    }

    /// Puts placeholders in the place of the marks of what was taken out of a text of a request.
    pub(super) fn put(&self, taken: Vec<Taken>, is_system: bool, known: &mut Known, edited: &mut Edited) {
        if edited.exceeded || taken.is_empty() {
            return;
        }
        let text = core::mem::take(&mut edited.text);
        let mut rest = 0;
        for Taken { rule, at, mark, value } in taken {
            let placeholder = value.and_then(|value| {
                let placeholder = self.of(rule, &value)?;
                known.remember(&placeholder, value, is_system).then_some(placeholder)
            });
            let Some(placeholder) = placeholder else { continue };
            edited.text.push_str(text.get(rest..at).unwrap_or_default());
            edited.replace(mark, &placeholder);
            rest = at.saturating_add(mark);
        }
        edited.text.push_str(text.get(rest..).unwrap_or_default());
    }
}

/// What has the form of a placeholder, where `text` begins with it, and its label.
fn written(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().take(MAX_BYTES).position(|byte| byte == b']')?;
    let (label, code) = text.get(..end)?.strip_prefix('[')?.rsplit_once('_')?;
    let is_code = code.len() == DIGITS && code.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    text.get(..=end).filter(|_| is_code).map(|placeholder| (label, placeholder))
}

/// The label of a rule: its id in capitals, with `_` for what is neither letter nor digit of ASCII.
fn label(id: &str) -> String {
    let fit = |character: char| if character.is_ascii_alphanumeric() { character.to_ascii_uppercase() } else { '_' };
    id.chars().take(MAX_LABEL).map(fit).collect()
}
