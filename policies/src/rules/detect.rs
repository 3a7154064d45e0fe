//! Detectors: patterns for what has a form of its own, with checks of what the form cannot say.

mod checks;
mod context;
mod national;
mod output;
mod personal;
mod secrets;
#[cfg(test)]
mod tests;

use super::search::Check;

/// A detector.
#[derive(Debug)]
pub(super) struct Detector {
    pub(super) name: &'static str,
    pub(super) pattern: &'static str,
    /// A match must be known whole to be checked.
    pub(super) is_whole: bool,
    pub(super) check: Option<Check>,
    /// The group of the pattern alone is what is replaced.
    pub(super) captures: bool,
}

impl Detector {
    const fn new(name: &'static str, pattern: &'static str) -> Self {
        Self { name, pattern, is_whole: false, check: None, captures: false }
    }

    /// The check is of whole matches.
    const fn checked(name: &'static str, pattern: &'static str, check: Check) -> Self {
        Self { name, pattern, is_whole: true, check: Some(check), captures: false }
    }

    /// The check is of the shortest match: what follows it goes with it.
    const fn checked_early(name: &'static str, pattern: &'static str, check: Check) -> Self {
        Self { name, pattern, is_whole: false, check: Some(check), captures: false }
    }

    /// As [`Self::checked`], of which the group is replaced.
    const fn captured(name: &'static str, pattern: &'static str, check: Check) -> Self {
        Self { captures: true, ..Self::checked(name, pattern, check) }
    }

    /// As [`Self::checked_early`], of which the group is replaced.
    const fn captured_early(name: &'static str, pattern: &'static str, check: Check) -> Self {
        Self { captures: true, ..Self::checked_early(name, pattern, check) }
    }
}

/// The name of the detector of text in invisible tags, which is no pattern.
pub(super) const HIDDEN_TEXT: &str = "hidden_text";

/// Gives the detectors that `name` stands for: one, or a group.
pub(super) fn find(name: &str) -> Vec<&'static Detector> {
    match name {
        "personal" => personal::DETECTORS.iter().collect(),
        "secrets" => secrets::DETECTORS.iter().collect(),
        "context" => context::DETECTORS.iter().collect(),
        "national" => national::DETECTORS.iter().collect(),
        "exfiltration" => output::DETECTORS.iter().filter(|detector| detector.name != output::CALL).collect(),
        name => all().filter(|detector| detector.name == name).collect(),
    }
}

/// All names that documents can use.
pub(super) fn names() -> Vec<&'static str> {
    let mut names = vec!["personal", "secrets", "national", "context", "exfiltration", HIDDEN_TEXT];
    for detector in all() {
        if !names.contains(&detector.name) {
            names.push(detector.name);
        }
    }
    names
}

fn all() -> impl Iterator<Item = &'static Detector> {
    personal::DETECTORS
        .iter()
        .chain(secrets::DETECTORS)
        .chain(national::DETECTORS)
        .chain(context::DETECTORS)
        .chain(output::DETECTORS)
}
