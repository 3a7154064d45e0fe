//! What the policies of an exchange concluded, apart from what was done to its bytes.

use core::cell::Cell;

use crate::cell::TakeCell;
use crate::decision::Decision;
use crate::event::shortened;

/// Most hits of a list, and most categories, that an enforcement event names.
const MAX_NOTES: usize = 32;

/// Longest hit or category in characters.
const MAX_NOTE_CHARS: usize = 128;

/// What a policy concludes about an exchange, whatever it does to the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conclusion {
    decision: Decision,
    reason_code: Option<String>,
    categories: Vec<String>,
}

impl Conclusion {
    /// Concludes `decision`, without a reason of its own.
    pub const fn new(decision: Decision) -> Self {
        Self { decision, reason_code: None, categories: Vec::new() }
    }

    /// Gives a machine-readable reason.
    #[must_use]
    pub fn because(mut self, reason_code: impl Into<String>) -> Self {
        self.reason_code = Some(reason_code.into());
        self
    }

    /// Names a category of what was found, such as `pii`.
    #[must_use]
    pub fn in_category(mut self, category: impl Into<String>) -> Self {
        self.categories.push(category.into());
        self
    }
}

/// Keeps what was concluded so far.
#[derive(Default)]
pub(crate) struct Outcome {
    decision: Cell<Decision>,
    reason_code: TakeCell<Option<String>>,
    categories: TakeCell<Vec<String>>,
    allowlist_hits: TakeCell<Vec<String>>,
    denylist_hits: TakeCell<Vec<String>>,
    /// The hook that runs has concluded something itself.
    has_spoken: Cell<bool>,
    /// The policy whose hook runs.
    policy: Cell<Option<&'static str>>,
    /// The policy that the decision is of.
    decided_by: Cell<Option<&'static str>>,
}

impl Outcome {
    pub(crate) const fn decision(&self) -> Decision {
        self.decision.get()
    }

    /// Gives the reason code, or the one that mirrors the decision where nobody gave one.
    pub(crate) fn reason_code(&self) -> String {
        let own = self.reason_code.with(|code| code.clone());
        own.unwrap_or_else(|| self.decision().reason_code().to_owned())
    }

    pub(crate) fn take_categories(&self) -> Vec<String> {
        self.categories.take()
    }

    pub(crate) fn take_allowlist_hits(&self) -> Vec<String> {
        self.allowlist_hits.take()
    }

    pub(crate) fn take_denylist_hits(&self) -> Vec<String> {
        self.denylist_hits.take()
    }

    /// Gives the policy that the decision is of; `None` where it is the engine's own.
    pub(crate) const fn decided_by(&self) -> Option<&'static str> {
        self.decided_by.get()
    }

    /// Takes a conclusion of the engine's own. Of equal ones the first that gives a reason code counts.
    pub(crate) fn conclude(&self, decision: Decision, reason_code: Option<&str>) {
        self.conclude_for(None, decision, reason_code);
    }

    fn conclude_for(&self, policy: Option<&'static str>, decision: Decision, reason_code: Option<&str>) {
        let known = self.decision.get();
        if decision > known || (decision == known && self.decided_by.get().is_none()) {
            self.decided_by.set(policy);
        }
        self.decision.set(known.max(decision));
        self.reason_code.with(|code| {
            if decision > known || (decision == known && code.is_none()) {
                *code = reason_code.map(str::to_owned);
            }
        });
    }

    /// Takes the conclusion of the hook that runs: of what the hook does nothing is inferred then.
    pub(crate) fn take(&self, conclusion: &Conclusion, policy: &'static str) {
        self.has_spoken.set(true);
        self.conclude_for(Some(policy), conclusion.decision, conclusion.reason_code.as_deref());
        self.categories.with(|known| conclusion.categories.iter().for_each(|category| note(known, category)));
    }

    /// A hook begins to run, or goes on: `has_spoken` says whether it has concluded something before.
    pub(crate) fn enter_hook(&self, has_spoken: bool) {
        self.has_spoken.set(has_spoken);
    }

    /// A hook of this policy runs.
    pub(crate) fn set_policy(&self, policy: &'static str) {
        self.policy.set(Some(policy));
    }

    /// Says whether the hook that ran last has concluded something itself.
    pub(crate) const fn has_spoken(&self) -> bool {
        self.has_spoken.get()
    }

    /// Concludes from what a hook did to the bytes, where it has not said itself what it concludes.
    pub(crate) fn infer(&self, decision: Decision) {
        if !self.has_spoken.get() {
            self.conclude_for(self.policy.get(), decision, None);
        }
    }

    pub(crate) fn note_allowlist_hit(&self, hit: &str) {
        self.allowlist_hits.with(|hits| note(hits, hit));
    }

    pub(crate) fn note_denylist_hit(&self, hit: &str) {
        self.denylist_hits.with(|hits| note(hits, hit));
    }
}

fn note(known: &mut Vec<String>, text: &str) {
    let text = shortened(text, MAX_NOTE_CHARS);
    if known.len() < MAX_NOTES && !known.iter().any(|known| known == text) {
        known.push(text.to_owned());
    }
}
