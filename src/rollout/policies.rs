//! Rollouts of single policies: what a policy decides is done where the document's rollout and its own say so.
//!
//! A policy that is observed alone reads the exchange as it came. That is what would come to it at its place in the chain only
//! where nobody before it is enforced: so those come first that may be observed, and any other order is refused.

use super::{Mode, Rollout};
use crate::document::DocumentError;
use crate::policy::SharedPolicy;

/// Most policies of a chain with a rollout of their own: each that is observed reads the exchange for itself.
const MAX_POLICY_ROLLOUTS: usize = 8;

/// Checks the rollouts of a chain's policies.
pub(crate) fn check_policies(policies: &[SharedPolicy]) -> Result<(), DocumentError> {
    if policies.iter().filter(|policy| policy.rollout().is_some()).count() > MAX_POLICY_ROLLOUTS {
        let message = format!("at most {MAX_POLICY_ROLLOUTS} policies may have a rollout of their own");
        return Err(DocumentError::new("chain", message));
    }
    let mut enforced = None;
    for (index, policy) in policies.iter().enumerate() {
        let path = format!("chain[{index}]");
        if let Some(rollout) = policy.rollout() {
            rollout.check_of_policy().map_err(|error| error.below(&path))?;
            if let Some(before) = enforced {
                let message = format!(
                    "a policy with a rollout of its own must stand before all that can be enforced, for it reads what came: \
                     chain[{before}] can be enforced"
                );
                return Err(DocumentError::new(format!("{path}.rollout"), message));
            }
        }
        if policy.rollout().is_none_or(Rollout::can_enforce) {
            enforced.get_or_insert(index);
        }
    }
    Ok(())
}

impl Rollout {
    fn modes(&self) -> impl Iterator<Item = Mode> {
        core::iter::once(self.mode).chain(self.targets.values().copied())
    }

    /// Whether what is decided can be done in any exchange.
    fn can_enforce(&self) -> bool {
        self.modes().any(|mode| matches!(mode, Mode::Enforced | Mode::Canary))
    }

    fn check_of_policy(&self) -> Result<(), DocumentError> {
        let error = |field: &str, message: &str| Err(DocumentError::new(format!("rollout.{field}"), message));
        if self.rollback.is_some() {
            return error("rollback", "a policy cannot roll itself back: give the document a rollback");
        }
        if self.session_header.is_some() {
            return error("session_header", "the header that names the session is the document's: rollout.session_header");
        }
        if self.modes().all(|mode| mode == Mode::Enforced) {
            let message = "is what a policy has without a rollout of its own, which can only take back what the document's does";
            return error("mode", message);
        }
        self.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Document, Registry};
    use crate::policy::Policy;

    #[derive(Debug)]
    struct Plain;

    impl Policy for Plain {}

    /// Loads a document whose policies have these rollouts; none where one is empty.
    fn load(rollouts: &[&str]) -> Result<Document, DocumentError> {
        let entries: Vec<String> = rollouts
            .iter()
            .map(|rollout| match *rollout {
                "" => r#"{"use":"plain"}"#.to_owned(),
                rollout => format!(r#"{{"use":"plain","rollout":{rollout}}}"#),
            })
            .collect();
        let document = format!(r#"{{"policy":{{"id":"p"}},"chain":[{}]}}"#, entries.join(","));
        let registry = Registry::default().with("plain", |_| Ok(SharedPolicy::new("Plain", Plain)));
        Document::parse(&document, &registry, &|_| None)
    }

    const SHADOW: &str = r#"{"mode":"shadow"}"#;
    const CANARY: &str = r#"{"mode":"canary","percentage":5,"seed":"s"}"#;

    #[test]
    fn policies_in_shadow_stand_first_a_canary_behind_them_and_the_enforced_last() {
        let of_a_target = r#"{"mode":"enforced","targets":{"messages":"shadow"}}"#;
        let by_session =
            r#"{"mode":"canary","percentage":5,"seed":"s","sticky":"session","steps":[{"percentage":5,"hold":"1h"}]}"#;
        for right in [&[SHADOW][..], &[SHADOW, SHADOW, CANARY, "", ""], &[SHADOW, of_a_target, ""], &[by_session], &["", ""]] {
            let document = load(right).unwrap_or_else(|error| panic!("{right:?}: {error}"));
            let own = document.chain.policies.iter().map(|policy| policy.rollout().is_some());
            assert!(own.eq(right.iter().map(|rollout| !rollout.is_empty())), "{right:?}");
        }
        assert!(load(&[SHADOW; MAX_POLICY_ROLLOUTS]).is_ok());
    }

    #[test]
    fn what_is_wrong_with_a_rollout_of_a_policy_is_said_with_its_place() {
        let enforced = r#"{"mode":"enforced"}"#;
        let of_a_target = r#"{"mode":"shadow","targets":{"messages":"enforced"}}"#;
        let nine = [SHADOW; MAX_POLICY_ROLLOUTS + 1];
        for (wrong, at, says) in [
            (&["", SHADOW][..], "chain[1].rollout", "chain[0] can be enforced"),
            (&[SHADOW, CANARY, SHADOW], "chain[2].rollout", "chain[1] can be enforced"),
            (&[CANARY, CANARY], "chain[1].rollout", "chain[0] can be enforced"),
            (&[of_a_target, SHADOW], "chain[1].rollout", "chain[0] can be enforced"),
            (&[enforced], "chain[0].rollout.mode", "is what a policy has without a rollout of its own"),
            (&[r"{}"], "chain[0].rollout.mode", "is what a policy has without a rollout of its own"),
            (&[r#"{"mode":"shadow","rollback":{}}"#], "chain[0].rollout.rollback", "cannot roll itself back"),
            (&[r#"{"mode":"shadow","session_header":"x-s"}"#], "chain[0].rollout.session_header", "is the document's"),
            (&[r#"{"mode":"canary","seed":"s"}"#], "chain[0].rollout.percentage", "needs its share"),
            (&[r#"{"mode":"canary","percentage":5}"#], "chain[0].rollout.seed", "needs a seed"),
            (&[r#"{"mode":"shade"}"#], "", "unknown variant `shade`"),
            (&[r#"{"mode":"shadow","share":1}"#], "", "unknown field `share`"),
            (&nine, "chain", "at most 8 policies"),
        ] {
            let error = load(wrong).err().unwrap_or_else(|| panic!("{wrong:?} was loaded")).to_string();
            assert!(error.contains(at) && error.contains(says), "{wrong:?}: {error}");
        }
    }
}
