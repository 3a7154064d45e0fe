//! How far an item has come, and its parts.

/// How far an item has come, or a part of one.
///
/// ```text
///           some text               all of it              output_item.done
///   Empty ────────────► Open ────────────────────► Said ────────────────────► Done
///     │                  ▲ └─────────── more of a part ┘ │                      ▲
///     └── all of it ─────┼───────────────────────────────┘                      │
///     └──────────────────┴────────────── output_item.done ──────────────────────┘
/// ```
///
/// What comes of a call that has been said is not of the call any more. A part begins anew with what comes of it then: there
/// are clients that show it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing of its text has come.
    #[default]
    Empty,
    /// Some of its text has come.
    Open,
    /// All of its text has come.
    Said,
    /// The item has ended.
    Done,
}

impl State {
    /// Whether more of its text can come.
    pub(super) const fn takes_text(self) -> bool {
        matches!(self, Self::Empty | Self::Open)
    }

    /// The state once a text has come, the last of it if `is_last`.
    pub(super) const fn after_text(self, is_empty: bool, is_last: bool) -> Self {
        match self {
            Self::Empty | Self::Open if is_last => Self::Said,
            Self::Empty if !is_empty => Self::Open,
            state => state,
        }
    }

    /// The state once an event has told the item as a whole.
    pub(super) const fn after(self, edge: Edge) -> Self {
        match edge {
            Edge::Begins => self,
            Edge::Ends | Edge::Whole => Self::Done,
        }
    }
}

/// What an event that tells an item as a whole does to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edge {
    /// The item begins.
    Begins,
    /// The item ends that has begun before.
    Ends,
    /// The item stands here alone.
    Whole,
}

impl Edge {
    pub(super) const fn begins(self) -> bool {
        matches!(self, Self::Begins | Self::Whole)
    }

    pub(super) const fn ends(self) -> bool {
        matches!(self, Self::Ends | Self::Whole)
    }
}
