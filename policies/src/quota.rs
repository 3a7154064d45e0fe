//! For whom quotas count, and who counts together.

use serde::{Deserialize, Serialize};
use weir::exchange::Request;
use weir::state::Scope;

/// Whose requests are counted together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum Per {
    /// Each subject's (`quota_subject` of events).
    #[default]
    Subject,
    /// Each model's.
    Model,
    /// Everybody's.
    All,
}

impl Per {
    /// Gives the key of a request, within the bound of the store.
    pub(crate) fn key(self, request: &Request, subject: &str) -> String {
        let (kind, name) = match self {
            Self::Subject => ("subject", subject),
            Self::Model => ("model", request.model.as_str()),
            Self::All => ("all", ""),
        };
        let key = format!("{kind}:{name}");
        if key.len() <= MAX_PLAIN_KEY_BYTES { key } else { format!("{kind}#{}", weir::fingerprint::digest(&[name.as_bytes()])) }
    }
}

/// Longer keys stand in the store as a hash.
const MAX_PLAIN_KEY_BYTES: usize = 160;

/// Counts over the workers of a proxy, where a policy document does not say otherwise.
pub(crate) const fn default_scope() -> Scope {
    Scope::Proxy
}
