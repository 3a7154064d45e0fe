//! Collects the values that reversible rules take out of a text.

/// Most bytes of a value that can be restored.
const MAX_VALUE: usize = 512;

/// Most matches of a text that are restored.
const MAX_TAKEN: usize = 4096;

/// A match that was taken out.
#[derive(Debug)]
pub(in crate::rules) struct Taken {
    pub(super) rule: usize,
    /// Where its mark stands in the edited text, and how many bytes the mark has.
    pub(super) at: usize,
    pub(super) mark: usize,
    /// What it was; `None` where it is too long, or another rule was against a part of it.
    pub(super) value: Option<String>,
}

/// What is taken out of a text.
#[derive(Debug, Default)]
pub(in crate::rules) struct Taking {
    /// Which rules are reversible.
    rules: Vec<bool>,
    taken: Vec<Taken>,
    /// What is taken out next belongs to the last match.
    is_open: bool,
}

impl Taking {
    pub(in crate::rules) fn of(rules: impl Iterator<Item = bool>) -> Self {
        Self { rules: rules.collect(), ..Self::default() }
    }

    /// A match is about to be taken out, or what goes on from one; `at` is where the edited text ends, `mark` the length of its mark.
    pub(in crate::rules) fn begin(&mut self, rule: usize, goes_on: bool, at: usize, mark: usize) {
        if !goes_on {
            let is_reversible = self.rules.get(rule).copied().unwrap_or_default();
            self.is_open = is_reversible && self.taken.len() < MAX_TAKEN;
            if self.is_open {
                self.taken.push(Taken { rule, at, mark, value: Some(String::new()) });
            }
            return;
        }
        let Some(last) = self.taken.last_mut().filter(|_| self.is_open) else { return };
        if last.rule != rule || last.at.saturating_add(last.mark) != at {
            (last.value, self.is_open) = (None, false);
        }
    }

    /// This was taken out.
    pub(in crate::rules) fn add(&mut self, text: &str) {
        let Some(last) = self.taken.last_mut().filter(|_| self.is_open) else { return };
        match &mut last.value {
            Some(value) if value.len().saturating_add(text.len()) <= MAX_VALUE => value.push_str(text),
            value => *value = None,
        }
    }

    pub(in crate::rules) fn into_taken(self) -> Vec<Taken> {
        self.taken
    }
}
