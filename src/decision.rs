//! What a chain concluded about an exchange.

use serde::{Deserialize, Serialize};

/// The conclusion; of several the most restrictive wins, and they are ordered by that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Everything passed as it came.
    #[default]
    Allow,
    /// The exchange ended before everything was decided, or before what was let go could be sent: something was held, and did not
    /// leave.
    Undecided,
    /// Something was changed.
    Rewrite,
    /// Something was replaced by a summary.
    Summary,
    /// Somebody is to look at it.
    Escalate,
    /// Something was refused.
    Refuse,
}

impl Decision {
    /// The word that events use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Undecided => "undecided",
            Self::Rewrite => "rewrite",
            Self::Summary => "summary",
            Self::Escalate => "escalate",
            Self::Refuse => "refuse",
        }
    }

    /// The reason code that mirrors the decision where no policy gave one of its own.
    pub const fn reason_code(self) -> &'static str {
        match self {
            Self::Allow => "ALLOW",
            Self::Undecided => "UNDECIDED",
            Self::Rewrite => "REWRITE",
            Self::Summary => "SUMMARY",
            Self::Escalate => "ESCALATE",
            Self::Refuse => "REFUSE",
        }
    }
}
