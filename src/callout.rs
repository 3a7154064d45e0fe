//! Callouts of policies: requests to a service of their own, through the proxy.

use core::fmt;
use core::time::Duration;

use crate::effect::{Callout, CalloutReply, Effect};
use crate::policy::Shared;
use crate::wait::{HARD_MAXIMUM, Waiting};

/// Longest body of a reply that is read, in bytes.
pub const MAX_REPLY_BYTES: usize = 64 * 1024;

/// Most callouts that the policies of one exchange make, questions to judges not counted.
pub const MAX_CALLOUTS: u32 = 256;

/// Longest time that a callout may take: well below the idle timers of proxies and clients.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(60);

/// A request to a service: `POST`, with a JSON body.
#[derive(Clone, Copy, Debug)]
pub struct CalloutRequest<'a> {
    /// The proxy's cluster to send it through.
    pub cluster: &'a str,
    /// Value of `:authority`; the cluster's name where empty.
    pub authority: &'a str,
    /// Value of `:path`.
    pub path: &'a str,
    /// Value of `authorization`, where the service wants one. The client's own is never sent.
    pub authorization: Option<&'a str>,
    /// The body: JSON.
    pub body: &'a [u8],
    /// How long the whole reply may take, at most [`MAX_TIMEOUT`].
    pub timeout: Duration,
}

/// What a service answered, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalloutResponse {
    /// HTTP status. A proxy answers 503 or 504 itself where the service is down or slow.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CalloutError {
    /// The exchange has made [`MAX_CALLOUTS`] before.
    TooMany,
    /// It could not be sent (unknown cluster, no host, circuit breaker open).
    NotSent,
    /// Nothing came in time.
    TimedOut,
    /// The service could not be reached, or its response broke off.
    Unreachable,
    /// The response is longer than [`MAX_REPLY_BYTES`].
    TooLarge,
}

impl CalloutError {
    /// Gives a word for events and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooMany => "too_many_callouts",
            Self::NotSent => "not_sent",
            Self::TimedOut => "timed_out",
            Self::Unreachable => "unreachable",
            Self::TooLarge => "answer_too_large",
        }
    }
}

impl fmt::Display for CalloutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => write!(f, "the exchange has made {MAX_CALLOUTS} callouts before"),
            Self::NotSent => f.write_str("the callout could not be sent"),
            Self::TimedOut => f.write_str("no response in time"),
            Self::Unreachable => f.write_str("the service could not be reached"),
            Self::TooLarge => write!(f, "the response is longer than {MAX_REPLY_BYTES} bytes"),
        }
    }
}

impl core::error::Error for CalloutError {}

/// Sends `request`, for a hook that waits for the response.
pub(crate) fn send(shared: &Shared, request: &CalloutRequest<'_>) -> Waiting<Result<CalloutResponse, CalloutError>> {
    let timeout = request.timeout.min(MAX_TIMEOUT);
    let now = shared.now();
    let Some((id, waiting)) = shared.waits.with(|waits| waits.callout(now, timeout)) else {
        return Waiting::settled(Err(CalloutError::TooMany));
    };
    let authority = if request.authority.is_empty() { request.cluster } else { request.authority };
    shared.push_effect(Effect::Callout(Callout {
        id,
        cluster: request.cluster.to_owned(),
        authority: authority.to_owned(),
        path: request.path.to_owned(),
        authorization: request.authorization.map(str::to_owned),
        body: request.body.to_vec(),
        timeout: proxy_timeout(shared, timeout),
    }));
    waiting
}

/// Gives the time that the proxy is to wait for something which may take `timeout`, and longer where a hook keeps it alive.
pub(crate) fn proxy_timeout(shared: &Shared, timeout: Duration) -> Duration {
    timeout.saturating_mul(if shared.keeps_alive.get() { HARD_MAXIMUM } else { 1 })
}

/// Reads what came back.
pub(crate) fn read_reply(reply: CalloutReply<'_>) -> Result<CalloutResponse, CalloutError> {
    match reply {
        CalloutReply::Response { body, .. } if body.len() > MAX_REPLY_BYTES => Err(CalloutError::TooLarge),
        CalloutReply::Response { status, body } => Ok(CalloutResponse { status, body: body.to_vec() }),
        CalloutReply::Broken => Err(CalloutError::Unreachable),
        CalloutReply::NotSent => Err(CalloutError::NotSent),
    }
}
