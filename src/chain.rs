//! Chains: the ordered policies of one policy document, with the judges and bounds that they share.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use crate::after_block::AfterBlock;
use crate::caller::Identity;
use crate::dialect::Dialect;
use crate::evidence::Evidence;
use crate::judge::Judge;
use crate::limits::Limits;
use crate::policy::{Interests, SharedPolicy};
use crate::rollout::Rollout;
use crate::route::Routes;

/// A policy document, made ready. Immutable: an exchange keeps the chain that it began with, whatever is loaded later.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Id of the document.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// Its revision.
    pub revision: u64,
    /// The dialects that it governs; others pass.
    pub targets: Vec<Dialect>,
    /// The policies in their order.
    pub policies: Vec<SharedPolicy>,
    /// The judges by name.
    pub judges: HashMap<String, Judge>,
    /// The bounds.
    pub limits: Limits,
    /// What is done with requests of other endpoints, and where endpoints are.
    pub routes: Routes,
    /// Whether what it decides is done.
    pub rollout: Rollout,
    /// How callers are told.
    pub identity: Identity,
    /// Reason codes of the operator's own, by those that they stand for.
    pub reason_codes: BTreeMap<String, String>,
    /// Whether it is a policy document's; the chain that stands for a project without one refuses everything.
    pub is_linked: bool,
    /// What events show of texts that were changed.
    pub evidence: Evidence,
    /// What becomes of a provider's stream once the client's was ended.
    pub after_block: AfterBlock,
}

impl Chain {
    /// Makes a chain of these policies, with defaults for all else.
    pub fn new(policies: Vec<SharedPolicy>) -> Self {
        Self {
            id: String::new(),
            name: String::new(),
            revision: 0,
            targets: vec![Dialect::ChatCompletions, Dialect::Messages, Dialect::Responses, Dialect::McpTool],
            policies,
            judges: HashMap::new(),
            limits: Limits::default(),
            routes: Routes::default(),
            rollout: Rollout::default(),
            identity: Identity::default(),
            reason_codes: BTreeMap::new(),
            is_linked: true,
            evidence: Evidence::default(),
            after_block: AfterBlock::default(),
        }
    }

    /// Makes the chain that stands for a project without a policy document: it refuses every request.
    pub fn unlinked() -> Self {
        Self { is_linked: false, ..Self::new(Vec::new()) }
    }

    /// Joins what the policies want to see: what none of them wants is not read.
    pub fn interests(&self) -> Interests {
        Interests::of(&self.policies)
    }

    /// Whether any of its policies has a rollout of its own.
    pub fn has_policy_rollouts(&self) -> bool {
        self.policies.iter().any(|policy| policy.rollout().is_some())
    }

    /// Makes the same chain, of which every run of a hook is told
    /// ([`Observation::HookRan`](crate::exchange::Observation::HookRan)).
    #[must_use]
    pub fn traced(&self) -> Self {
        Self { policies: self.policies.iter().map(SharedPolicy::traced).collect(), ..self.clone() }
    }

    /// Finds the judge of that name.
    pub fn judge(&self, name: &str) -> Option<&Judge> {
        self.judges.get(name)
    }
}
