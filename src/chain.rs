//! Chains: the ordered policies of one policy document, with the judges and bounds that they share.

use hashbrown::HashMap;

use crate::dialect::Dialect;
use crate::judge::Judge;
use crate::limits::Limits;
use crate::policy::SharedPolicy;
use crate::route::Routes;

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
    /// What is done with requests of other endpoints, and where endpoints are.
    pub routes: Routes,
}

impl Chain {
    /// A chain of these policies, with defaults for all else.
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
        }
    }

    /// The judge of that name.
    pub fn judge(&self, name: &str) -> Option<&Judge> {
        self.judges.get(name)
    }
}
