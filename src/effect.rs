//! What an exchange asks its surroundings to do.

use core::time::Duration;

use crate::decision::Decision;
use crate::event::Event;

/// Identifies a callout within its exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CalloutId(pub u32);

/// A request to a judge.
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
    /// Value of `authorization`, where the judge has a credential.
    pub authorization: Option<String>,
    /// The body.
    pub body: Vec<u8>,
    /// How long to wait for the whole reply.
    pub timeout: Duration,
}

/// A measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Observation {
    /// A judge answered after this time.
    JudgeLatency(Duration),
    /// The first held byte of a span left, or was dropped, this long after it came.
    Held(Duration),
    /// An exchange ended with this decision.
    Decided(Decision),
    /// Something could not be done as configured; the word says what.
    Failed(&'static str),
    /// Something passed unchecked because the configuration says so; the word says what.
    FailedOpen(&'static str),
}

/// Something to be carried out beside the stream.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Effect {
    /// Ask a judge. If it cannot be sent, say so at once with [`CalloutReply::NotSent`](crate::judge::CalloutReply).
    Callout(Callout),
    /// Record an event.
    Event(Event),
    /// Count a measurement.
    Observe(Observation),
}
