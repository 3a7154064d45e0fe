//! Which policies of a chain an exchange runs.

use super::SharedPolicy;
use crate::chain::Chain;

/// The part of a chain's policies that one exchange runs. What else stands in the document (judges, bounds, what is taken out of
/// evidence) is the whole chain's.
#[derive(Debug, Default)]
pub(crate) struct Part {
    /// The policies; all of the chain's where absent.
    pub(crate) policies: Option<Vec<SharedPolicy>>,
    /// Of a policy that is observed beside the others: the number of the first of its events, and of what it waits for.
    pub(crate) beside: Option<u32>,
}

impl Part {
    /// Gives its policies in their order.
    pub(crate) fn policies<'p>(&'p self, chain: &'p Chain) -> &'p [SharedPolicy] {
        self.policies.as_deref().unwrap_or(&chain.policies)
    }
}
