//! Chains: the ordered policies of one policy document, with the judges and bounds that they share.

use hashbrown::HashMap;

use crate::dialect::Dialect;
use crate::judge::Judge;
use crate::limits::{Limits, Verdict};
use crate::policy::SharedPolicy;

/// A policy document, made ready. Immutable: an exchange keeps the chain that it began with, whatever is loaded later.
#[derive(Debug)]
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
    /// Which requests are no concern of the chain.
    pub routes: Routes,
}

impl Chain {
    /// A chain of these policies, with defaults for all else.
    pub fn new(policies: Vec<SharedPolicy>) -> Self {
        Self {
            id: String::new(),
            name: String::new(),
            revision: 0,
            targets: vec![Dialect::ChatCompletions, Dialect::Messages],
            policies,
            judges: HashMap::new(),
            limits: Limits::default(),
            routes: Routes::default(),
        }
    }

    /// The configuration of the policy of that class, where it tells it.
    pub(crate) fn describe(&self, class: &str) -> Option<serde_json::Value> {
        let policy = self.policies.iter().find(|policy| policy.name() == class)?;
        Some(policy.describe()).filter(|configuration| !configuration.is_null())
    }

    /// The judge of that name.
    pub fn judge(&self, name: &str) -> Option<&Judge> {
        self.judges.get(name)
    }
}

/// What happens to requests whose path is no endpoint of a governed dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routes {
    /// Paths that pass ungoverned; one that ends in `*` stands for all longer ones that begin so.
    pub allow: Vec<String>,
    /// What happens to all others.
    pub unknown: Verdict,
}

impl Default for Routes {
    fn default() -> Self {
        Self { allow: vec!["/v1/models".to_owned(), "/v1/models/*".to_owned()], unknown: Verdict::Block }
    }
}
