//! A policy that is observed alone, beside those of its chain that are enforced: it has an exchange of its own, whose output goes
//! nowhere, and reads what came.

use serde_json::{Map, Value};

use super::enforcement::{describe_standing, tell_observed};
use super::observer::Observer;
use super::{CalloutId, Closed, Effect, EndReason, Governing, RequestHead, RequestProgress, ResponseHead, ResponseMode, Resumed};
use crate::rollout::Standing;
use crate::time::{Now, Timestamp};

/// Of the number of an event, or of what is waited for, the bits below those that tell whose it is.
const NUMBER_BITS: u32 = 24;

/// Tells whose the number is: 0 is the enforced policies'.
pub(super) const fn owner(number: u32) -> usize {
    number.wrapping_shr(NUMBER_BITS) as usize
}

/// Gives the first number of an owner.
pub(super) fn first_number(owner: usize) -> u32 {
    u32::try_from(owner).unwrap_or_default().wrapping_shl(NUMBER_BITS)
}

/// Where a policy with a rollout of its own stands in an exchange.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stand {
    pub(super) policy: &'static str,
    /// Its place in the chain.
    pub(super) place: usize,
    pub(super) standing: Standing,
}

impl Stand {
    /// Tells it; `is_enforced` says whether what the document decides is done.
    pub(super) fn describe(self, is_enforced: bool) -> Map<String, Value> {
        let standing = Standing { is_enforced: self.standing.is_enforced && is_enforced, ..self.standing };
        describe_standing(self.policy, self.place, standing)
    }
}

/// A policy with a rollout of its own, in an exchange in which it is observed.
#[derive(Debug)]
pub(super) struct Observed {
    stand: Stand,
    governing: Governing,
    observer: Observer,
}

impl Observed {
    /// Observes the policy that stands so; `governing` is an exchange of its own.
    pub(super) fn new(stand: Stand, governing: Governing) -> Self {
        governing.shared.standing.set(stand.standing);
        Self { stand, governing, observer: Observer::new() }
    }

    pub(super) fn request_head(&mut self, head: &RequestHead<'_>, end: bool, now: Timestamp) {
        let progress = self.governing.handle_request_head(head, end, now);
        self.observer.note_request(&mut self.governing, progress, now);
    }

    pub(super) fn request_body(&mut self, chunk: &[u8], end: bool, now: Timestamp) {
        let progress: RequestProgress = self.governing.handle_request_body(chunk, end, now);
        self.observer.note_request(&mut self.governing, progress, now);
    }

    pub(super) fn response_head(&mut self, head: &ResponseHead<'_>, end: bool, now: Timestamp) -> ResponseMode {
        self.observer.response_head(&mut self.governing, head, end, now)
    }

    pub(super) fn look(&mut self, chunk: &[u8], end: bool, now: Now) {
        self.observer.look(&mut self.governing, chunk, end, now);
    }

    /// There is no memory to look at any more of it.
    pub(super) fn give_up(&mut self) {
        self.observer.give_up_rest(&mut self.governing);
    }

    /// Goes on with what waits.
    pub(super) fn wake(&mut self, now: Timestamp, wake: impl FnOnce(&mut Governing, &mut Vec<u8>) -> Resumed) {
        let resumed = wake(&mut self.governing, &mut Vec::new());
        self.observer.resume(&mut self.governing, resumed, now);
    }

    pub(super) fn note_sent(&self, id: CalloutId, now: Timestamp) {
        self.governing.shared.waits.with(|waits| waits.note_sent(id, now));
    }

    /// The exchange is over, with that status for the client.
    pub(super) fn end(&mut self, reason: EndReason, status: u16, now: Timestamp) {
        if !self.governing.ended {
            self.observer.note_status(status);
            self.observer.end(&mut self.governing, reason, now);
        }
    }

    /// Ends it without the verdicts that it awaits.
    pub(super) fn finish(&mut self) {
        self.observer.finish(&mut self.governing);
    }

    /// Whether the exchange has ended and verdicts are awaited still.
    pub(super) const fn is_finishing(&self) -> bool {
        self.observer.is_finishing()
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.governing.next_deadline()
    }

    pub(super) fn kept_bytes(&self) -> usize {
        self.governing.kept_bytes().saturating_add(self.observer.kept_bytes())
    }

    pub(super) fn poll_effect(&mut self) -> Option<Effect> {
        let mut effect = self.governing.poll_effect()?;
        if let Effect::Event(event) = &mut effect {
            event.metadata.insert("observed_policy".to_owned(), self.stand.policy.into());
        }
        Some(effect)
    }

    /// Tells what it came to, once it is over.
    pub(super) fn tell(&self) -> Value {
        let mut told = self.stand.describe(false);
        if let Some(Closed { facts, .. }) = &self.governing.closed {
            tell_observed(&self.governing.shared, facts, &mut told);
        }
        told.into()
    }

    pub(super) fn model(&self) -> String {
        self.governing.shared.request().model.clone()
    }
}
