//! What came of an exchange.

use core::time::Duration;

use serde_json::Value;
use weir::decision::Decision;
use weir::event::Event;
use weir::exchange::{Callout, HookRun, Observation, ResponseMode};

/// What came of an exchange that was played.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What became of the request.
    pub request: RequestOutcome,
    /// The status that the client saw; 0 when it saw none.
    pub status: u16,
    /// The `content-type` that the response leaves with, where that is not its own.
    pub content_type: Option<String>,
    /// The body that the client received.
    pub client: Vec<u8>,
    /// What left, and which step made it leave.
    pub releases: Vec<Release>,
    /// What was to be done with the response, once its head came.
    pub mode: Option<ResponseMode>,
    /// The events, in order.
    pub events: Vec<Event>,
    /// The measurements, in order.
    pub observations: Vec<Observation>,
    /// The hooks that ran, in order; empty unless they are traced.
    pub hooks: Vec<HookRun>,
    /// What the exchange came to.
    pub decision: Decision,
    /// What services were asked.
    pub callouts: Vec<Callout>,
    /// The most that the engine said it could still release.
    pub max_release_bytes: usize,
    /// The most bytes of the response, as they came, that waited for a decision at the end of a step.
    pub most_held_bytes: usize,
    /// The time for which a part of the response was held.
    pub held_time: Duration,
    /// Whether something was still undecided when the last step was over and every answer was in.
    pub stuck: bool,
    /// Where the engine broke the contract of its methods: always empty, unless it has a fault.
    pub faults: Vec<String>,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    /// It left as it came.
    Sent,
    /// It left with this body.
    SentBody(Vec<u8>),
    /// It did not leave: the client got an answer.
    Answered,
    /// Nothing was decided by the end.
    Held,
}

/// Bytes that left for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Number of the step.
    pub step: usize,
    /// What made them leave.
    pub cause: Cause,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// What made bytes leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A step.
    Step,
    /// The answer to the callout of this number.
    Answer(u32),
    /// A deadline.
    Deadline,
}

impl Outcome {
    pub(crate) const fn new() -> Self {
        Self {
            request: RequestOutcome::Held,
            status: 0,
            content_type: None,
            client: Vec::new(),
            releases: Vec::new(),
            mode: None,
            events: Vec::new(),
            observations: Vec::new(),
            hooks: Vec::new(),
            decision: Decision::Allow,
            callouts: Vec::new(),
            max_release_bytes: 0,
            most_held_bytes: 0,
            held_time: Duration::ZERO,
            stuck: false,
            faults: Vec::new(),
        }
    }

    /// Gives the events of this type.
    pub fn events_of(&self, event_type: &str) -> Vec<&Event> {
        self.events.iter().filter(|event| event.event_type == event_type).collect()
    }

    /// Gives the metadata of the enforcement event; null where there is not exactly one.
    pub fn enforcement(&self) -> Value {
        match self.events_of("enforcement").as_slice() {
            [event] => Value::Object(event.metadata.clone()),
            _ => Value::Null,
        }
    }

    /// Gives the client's bytes as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.client).into_owned()
    }

    /// Counts how often a hook ran, of all policies together.
    pub fn runs_of(&self, hook: &str) -> usize {
        self.hooks.iter().filter(|run| run.hook == hook).count()
    }
}
