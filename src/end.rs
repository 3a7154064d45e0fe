//! How an exchange ended.

use core::time::Duration;

use crate::decision::Decision;
use crate::usage::Usage;

/// Why an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Request and response went through, or were answered.
    Completed,
    /// The client went away.
    ClientGone,
    /// The upstream broke off.
    UpstreamBroke,
    /// The proxy's buffer was too small for what was held.
    ProxyBufferExceeded,
    /// It was broken off here: what was left of it could not be sent.
    BrokenOff,
}

impl EndReason {
    /// Gives the word that events use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::ClientGone => "client_gone",
            Self::UpstreamBroke => "upstream_broke",
            Self::ProxyBufferExceeded => "proxy_buffer_exceeded",
            Self::BrokenOff => "broken_off",
        }
    }
}

/// How an exchange ended, for [`Policy::on_stream_complete`](crate::policy::Policy::on_stream_complete).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct End {
    /// Why.
    pub reason: EndReason,
    /// The status that the client saw; 0 when it saw none.
    pub status: u16,
    /// Whether the response was a stream.
    pub is_streamed: bool,
    /// What the chain concluded. What the hooks conclude at the end is not in it yet.
    pub decision: Decision,
    /// What the answer cost, as the provider says it in each dialect; `None` where it does not, or nobody read it.
    pub usage: Option<Usage>,
    /// How long the exchange took.
    pub duration: Duration,
}
