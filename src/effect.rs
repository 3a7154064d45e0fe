//! What an exchange asks its surroundings to do.

use core::time::Duration;

use crate::decision::Decision;
use crate::event::Event;
use crate::state::StoreRequest;

/// Identifies a callout within its exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CalloutId(pub u32);

/// A request that the proxy is to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callout {
    /// Comes back with the reply.
    pub id: CalloutId,
    /// The cluster to send it through.
    pub cluster: String,
    /// Value of `:authority`.
    pub authority: String,
    /// Value of `:path`; the method is POST, the content JSON.
    pub path: String,
    /// Value of `authorization`, where there is to be one.
    pub authorization: Option<String>,
    /// The body.
    pub body: Vec<u8>,
    /// How long to wait for the whole reply.
    pub timeout: Duration,
}

/// What came back from a callout. A closed set: a host says which of these it was.
#[derive(Clone, Copy, Debug)]
pub enum CalloutReply<'a> {
    /// An HTTP response.
    Response {
        /// Its status.
        status: u16,
        /// Its body.
        body: &'a [u8],
    },
    /// The connection failed, or the response broke off.
    Broken,
    /// It could not be sent at all.
    NotSent,
}

/// A measurement. A closed set: a host that forgets one does not compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// A judge answered after this time.
    JudgeLatency(Duration),
    /// Another service that a policy asked answered after this time.
    CalloutLatency(Duration),
    /// The first held byte of a span left, or was dropped, this long after it came.
    Held(Duration),
    /// An exchange ended with this decision.
    Decided(Decision),
    /// Something could not be done as configured; the word says what.
    Failed(&'static str),
    /// Something passed unchecked because the configuration says so; the word says what.
    FailedOpen(&'static str),
    /// A hook of a policy is about to run; only of chains that are [traced](crate::chain::Chain::traced).
    HookRan(HookRun),
}

/// A hook that ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HookRun {
    /// The class of the policy.
    pub policy: &'static str,
    /// The hook, as [`Policy`](crate::policy::Policy) calls it.
    pub hook: &'static str,
}

/// Something to be carried out beside the stream. A closed set: a host that forgets a kind of effect does not compile.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Send a request. If it cannot be sent, say so at once with [`CalloutReply::NotSent`].
    Callout(Callout),
    /// Ask the store, and bring its answer with [`Exchange::handle_store_reply`](crate::exchange::Exchange::handle_store_reply).
    Store(StoreRequest),
    /// Record an event.
    Event(Event),
    /// Count a measurement.
    Observe(Observation),
}
