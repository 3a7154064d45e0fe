//! The texts of requests, as policy documents name them.

use serde::{Deserialize, Serialize};
use weir::dialect::request::RequestScope;

/// Texts of one kind. Names of tools are none: a client would not know the tool that is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum InRequest {
    System,
    User,
    Assistant,
    ToolDescription,
    ToolArgument,
    ToolResult,
}

impl InRequest {
    pub(crate) const ALL: [Self; 6] =
        [Self::System, Self::User, Self::Assistant, Self::ToolDescription, Self::ToolArgument, Self::ToolResult];

    /// Tells the kind of a text; `None` where it is no text that policies name.
    pub(crate) const fn of(scope: RequestScope) -> Option<Self> {
        match scope {
            RequestScope::System => Some(Self::System),
            RequestScope::User => Some(Self::User),
            RequestScope::Assistant => Some(Self::Assistant),
            RequestScope::ToolDescription => Some(Self::ToolDescription),
            RequestScope::ToolArgument => Some(Self::ToolArgument),
            RequestScope::ToolResult => Some(Self::ToolResult),
            _ => None,
        }
    }

    /// Says whether such texts are the application's own, which its user does not see.
    pub(crate) const fn is_unseen(self) -> bool {
        matches!(self, Self::System | Self::ToolDescription)
    }

    /// Whether a text is of one of `kinds`.
    pub(crate) fn has(kinds: &[Self], scope: RequestScope) -> bool {
        Self::of(scope).is_some_and(|kind| kinds.contains(&kind))
    }
}
