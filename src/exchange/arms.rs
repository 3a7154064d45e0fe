//! The two ways of an exchange: governed, where what the policies decide is done, and observed, where it is told.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Waker};
use core::time::Duration;
use std::rc::Rc;
use std::sync::Arc;

use super::enforcement::Told;
use super::observed::{Observed, Stand, first_number, owner};
use super::observer::Observer;
use super::{
    CalloutId, CalloutReply, Effect, EndReason, Governing, RequestHead, RequestProgress, ResponseHead, ResponseMode,
    ResponseProgress, Resumed,
};
use crate::after_block::Rest;
use crate::chain::Chain;
use crate::decision::Decision;
use crate::dialect::reply::Reply;
use crate::id::CallId;
use crate::policy::Part;
use crate::rollout::{Key, Rollout, Standing, Tally, tally};
use crate::route::{Endpoint, Route, RouteAction, Routes};
use crate::state::{StateError, StoreRequestId, Stored};
use crate::time::{Now, Timestamp};

/// One request and its response. Feed it through the `handle_*` methods in the order in which things happen, and
/// drain [`Self::poll_effect`] after each.
///
/// The rollout of its chain decides with the request's head whether it is governed, or observed. An observed exchange passes: what
/// this type gives back of it are the bytes that came, and the policies, who read the same bytes, have no way to them.
pub struct Exchange {
    governing: Governing,
    /// Of an observed exchange.
    observer: Option<Box<Observer>>,
    /// Policies that are observed alone.
    observed: Vec<Observed>,
    /// Where those stand that have a rollout of their own and are enforced.
    enforced: Vec<Stand>,
    /// What is counted once it is over.
    closing: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("governing", &self.governing).field("observer", &self.observer).finish_non_exhaustive()
    }
}

impl Exchange {
    /// An exchange at its beginning.
    pub fn new(chain: Arc<Chain>, call_id: CallId, now: Timestamp) -> Self {
        Self {
            governing: Governing::new(chain, Part::default(), call_id, now),
            observer: None,
            observed: Vec::new(),
            enforced: Vec::new(),
            closing: None,
        }
    }

    /// Id of the exchange.
    pub fn call_id(&self) -> CallId {
        self.governing.call_id()
    }

    /// Lowers the bound on held bytes, because the proxy is known to buffer less than the frame assumes.
    pub fn limit_held_bytes(&mut self, bytes: usize) {
        self.governing.limit_held_bytes(bytes);
    }

    /// Whether the exchange is observed only: nothing of it may be touched.
    pub const fn is_observed(&self) -> bool {
        self.observer.is_some()
    }

    /// Whether anybody observes it, beside whoever is enforced: what leaves is to be fed all the same.
    pub const fn has_observers(&self) -> bool {
        self.observer.is_some() || !self.observed.is_empty()
    }

    /// Whether nothing of the stream waits for that callout.
    pub fn is_beside(&self, id: CalloutId) -> bool {
        self.is_observed() || owner(id.0) > 0
    }

    /// Where the exchange stands in the rollout, once the request's head came.
    pub fn standing(&self) -> Standing {
        self.governing.shared.standing.get()
    }

    /// Whether the request's body may leave changed, and so with another length.
    pub fn may_rewrite_request(&self) -> bool {
        !self.is_observed() && self.governing.may_rewrite_request()
    }

    /// Whether the request is on its way and what comes back will be read: it must not be compressed.
    pub fn reads_response(&self) -> bool {
        !self.is_observed() && self.governing.reads_response()
    }

    /// Whether the request's body comes encoded. Where it may be rewritten it leaves decoded, rewritten or not.
    pub fn is_request_encoded(&self) -> bool {
        !self.is_observed() && self.governing.is_request_encoded()
    }

    /// The request head came; `end` if no body follows.
    pub fn handle_request_head(&mut self, head: &RequestHead<'_>, end: bool, now: Timestamp) -> RequestProgress {
        self.part(head, end, now);
        if self.governing.assign(head, now).is_enforced {
            let progress = self.governing.handle_request_head(head, end, now);
            return self.show_request(progress, end);
        }
        let observer = self.observer.insert(Box::new(Observer::new()));
        let progress = self.governing.handle_request_head(head, end, now);
        observer.note_request(&mut self.governing, progress, now);
        if end { RequestProgress::Send } else { RequestProgress::Observe }
    }

    /// Bytes of the request body came; the engine keeps them until `end`.
    pub fn handle_request_body(&mut self, chunk: &[u8], end: bool, now: Timestamp) -> RequestProgress {
        self.observed.iter_mut().for_each(|observed| observed.request_body(chunk, end, now));
        let progress = self.governing.handle_request_body(chunk, end, now);
        let Some(observer) = &mut self.observer else { return self.show_request(progress, end) };
        observer.note_request(&mut self.governing, progress, now);
        if end { RequestProgress::Send } else { RequestProgress::Observe }
    }

    /// What passes the enforced policies unread is to be shown to those that are observed.
    fn show_request(&self, progress: RequestProgress, end: bool) -> RequestProgress {
        if progress == RequestProgress::Send && !end && self.has_observers() { RequestProgress::Observe } else { progress }
    }

    /// Parts those that are observed alone from the other policies.
    fn part(&mut self, head: &RequestHead<'_>, end: bool, now: Timestamp) {
        let chain = Arc::clone(&self.governing.shared.chain);
        if !chain.has_policy_rollouts() {
            return;
        }
        let is_read = chain.is_linked && self.governing.is_dialect(head, end);
        let mut enforced = Vec::new();
        for (place, policy) in chain.policies.iter().enumerate() {
            let standing = policy.rollout().map(|rollout| self.governing.stand(rollout, head, false));
            if standing.is_none_or(|standing| standing.is_enforced) {
                enforced.push(policy.clone());
            }
            let Some(standing) = standing.filter(|_| is_read) else { continue };
            let stand = Stand { policy: policy.name(), place, standing };
            if standing.is_enforced {
                self.enforced.push(stand);
            } else {
                let beside = Some(first_number(self.observed.len().saturating_add(1)));
                let part = Part { policies: Some(vec![policy.clone()]), beside };
                let mut observed = Observed::new(stand, self.governing.anew(part, now));
                observed.request_head(head, end, now);
                self.observed.push(observed);
            }
        }
        self.governing = self.governing.anew(Part { policies: Some(enforced), beside: None }, now);
    }

    /// There is no memory for policies that are observed beside enforced ones: they do not look at any more of the exchange.
    pub fn give_up_observed(&mut self) {
        self.observed.iter_mut().for_each(Observed::give_up);
    }

    /// How many policies are observed beside those that are enforced: each reads the exchange for itself.
    pub const fn observed(&self) -> usize {
        self.observed.len()
    }

    /// There is no memory to look at the request's body: of an observed exchange it passes, and nothing more is looked at.
    pub fn handle_request_shortage(&mut self) {
        self.give_up_observed();
        if let Some(observer) = &mut self.observer {
            observer.give_up_request(&mut self.governing);
        }
    }

    /// The response head came; `end` if no body follows.
    pub fn handle_response_head(&mut self, head: &ResponseHead<'_>, end: bool, now: Timestamp) -> ResponseMode {
        let mut is_shown = false;
        for observed in &mut self.observed {
            is_shown |= observed.response_head(head, end, now) == ResponseMode::Observe;
        }
        let mode = match &mut self.observer {
            None => self.governing.handle_response_head(head, end, now),
            Some(observer) => observer.response_head(&mut self.governing, head, end, now),
        };
        if mode == ResponseMode::Pass && is_shown { ResponseMode::Observe } else { mode }
    }

    /// What the `content-type` of the response's head is to be set to, once that head came; `None` where it stays as it is.
    pub fn response_content_type(&self) -> Option<&str> {
        if self.is_observed() { None } else { self.governing.response_content_type() }
    }

    /// Whether the response that is fed is an event stream. Its first bytes tell, whatever [`ResponseMode`] its head had:
    /// what comes out of a stream is to be sent at once, and what comes out of a whole body comes at its end.
    pub fn is_response_streamed(&self) -> bool {
        self.governing.is_response_streamed()
    }

    /// Bytes of the response body came. After [`ResponseMode::Refuse`] the first call, with whatever bytes, gives the answer.
    pub fn handle_response_body(&mut self, chunk: &[u8], end: bool, now: impl Into<Now>, out: &mut Vec<u8>) -> ResponseProgress {
        let now = now.into();
        self.observed.iter_mut().for_each(|observed| observed.look(chunk, end, now));
        let Some(observer) = &mut self.observer else { return self.governing.handle_response_body(chunk, end, now, out) };
        out.extend_from_slice(chunk);
        observer.look(&mut self.governing, chunk, end, now);
        ResponseProgress::Flowing
    }

    /// As [`Self::handle_response_body`], where there is no memory to work on the bytes: the response gets the verdict for what
    /// is beyond a bound (`limits.on_exceeded`).
    pub fn handle_shortage(&mut self, chunk: &[u8], end: bool, now: Timestamp, out: &mut Vec<u8>) -> ResponseProgress {
        self.give_up_observed();
        let Some(observer) = &mut self.observer else { return self.governing.handle_shortage(chunk, end, now, out) };
        out.extend_from_slice(chunk);
        observer.give_up(&mut self.governing, chunk);
        ResponseProgress::Flowing
    }

    /// What stands for an error once the response's head, with a status of success, has left: a body that says so in the
    /// words of a normal answer, because clients do not look for an error there.
    pub fn answer_after_head(&self) -> Vec<u8> {
        self.governing.answer_after_head()
    }

    /// Shortens `out`, with which the response ends, to the `room` bytes that can still be sent: what leaves can be read to its
    /// end, and says that something is missing.
    pub fn shorten_end(&mut self, out: &mut Vec<u8>, room: usize) {
        if !self.is_observed() {
            self.governing.shorten_end(out, room);
        }
    }

    /// What was let go last did not reach the client: it is not recorded as delivered.
    pub fn note_unsent(&self) {
        self.governing.note_unsent();
    }

    /// Refuses the exchange for a reason of the host's: the answer, in the words of the dialect.
    pub fn refuse(&mut self, status: u16, word: &str, message: &str) -> Reply {
        self.governing.refuse(status, word, message)
    }

    /// What became of the rest of the provider's stream, behind the end of the client's ([`ResponseProgress::Finished`]): where
    /// nothing is said it was drained.
    pub fn note_rest(&mut self, rest: Rest) {
        self.governing.rest = Some(rest);
    }

    /// A callout of an observed exchange is sent now, which the host had put off: its time begins.
    pub fn note_sent(&mut self, id: CalloutId, now: Timestamp) {
        match self.find(id.0) {
            Some(observed) => observed.note_sent(id, now),
            None => self.governing.shared.waits.with(|waits| waits.note_sent(id, now)),
        }
    }

    /// A callout was answered. What that sets going in the response is appended to `out`.
    pub fn handle_callout_reply(&mut self, id: CalloutId, reply: CalloutReply<'_>, now: Timestamp, out: &mut Vec<u8>) -> Resumed {
        if let Some(observed) = self.find(id.0) {
            observed.wake(now, |governing, out| governing.handle_callout_reply(id, reply, now, out));
            return self.settle();
        }
        if self.is_over() {
            return Resumed::Nothing;
        }
        self.wake(now, out, |governing, out| governing.handle_callout_reply(id, reply, now, out))
    }

    /// Finds the observed policy that has that number.
    fn find(&mut self, number: u32) -> Option<&mut Observed> {
        self.observed.get_mut(owner(number).checked_sub(1)?)
    }

    /// Whether those that are enforced have ended, and others may not have.
    fn is_over(&self) -> bool {
        self.governing.ended && !self.observed.is_empty() && self.closing.is_none()
    }

    /// Records the enforcement event, once all is over.
    fn settle(&mut self) -> Resumed {
        if self.governing.closed.is_some() && !self.observed.iter().any(Observed::is_finishing) {
            let model = self.observed.first().map(Observed::model);
            let is_enforced = self.standing().is_enforced;
            let enforced = self.enforced.iter().map(|stand| stand.describe(is_enforced).into());
            let policies = self.observed.iter().map(Observed::tell).chain(enforced).collect();
            self.governing.record(Told { policies, model });
        }
        self.begin_closing();
        Resumed::Nothing
    }

    /// The store answered. What that sets going in the response is appended to `out`.
    pub fn handle_store_reply(
        &mut self,
        id: StoreRequestId,
        stored: Result<Stored, StateError>,
        now: Timestamp,
        out: &mut Vec<u8>,
    ) -> Resumed {
        if let Some(observed) = self.find(id.0) {
            observed.wake(now, |governing, out| governing.handle_store_reply(id, stored, now, out));
            return self.settle();
        }
        let is_over = self.is_over();
        let resumed = self.wake(now, out, |governing, out| governing.handle_store_reply(id, stored, now, out));
        self.close();
        if is_over { Resumed::Nothing } else { resumed }
    }

    /// Time passed: ends the waits whose deadline is over.
    pub fn handle_tick(&mut self, now: Timestamp, out: &mut Vec<u8>) -> Resumed {
        for observed in &mut self.observed {
            observed.wake(now, |governing, out| governing.handle_tick(now, out));
        }
        if self.is_over() {
            return self.settle();
        }
        let resumed = self.wake(now, out, |governing, out| governing.handle_tick(now, out));
        let _nothing_to_resume = self.settle();
        self.close();
        resumed
    }

    /// Goes on with what waits. Of an observed exchange nothing comes of it but events.
    fn wake(&mut self, now: Timestamp, out: &mut Vec<u8>, wake: impl FnOnce(&mut Governing, &mut Vec<u8>) -> Resumed) -> Resumed {
        let Some(observer) = &mut self.observer else { return wake(&mut self.governing, out) };
        let resumed = wake(&mut self.governing, &mut Vec::new());
        observer.resume(&mut self.governing, resumed, now);
        self.settle()
    }

    /// The exchange is over. Runs `on_stream_complete` of every policy and records the enforcement event, once. Of an observed
    /// exchange verdicts may be awaited still ([`Self::is_finishing`]).
    pub fn handle_end(&mut self, reason: EndReason, now: Timestamp) {
        match &mut self.observer {
            None => self.governing.handle_end(reason, now),
            Some(_) if self.governing.ended => {}
            Some(observer) => observer.end(&mut self.governing, reason, now),
        }
        let status = self.governing.status;
        self.observed.iter_mut().for_each(|observed| observed.end(reason, status, now));
        let _nothing_to_resume = self.settle();
    }

    /// Whether the exchange is over for everybody but its policies, who wait for verdicts: whoever keeps it until this is false,
    /// and brings answers and ticks as before, gets its enforcement event with them.
    pub fn is_finishing(&self) -> bool {
        let is_finishing = self.observer.as_ref().is_some_and(|observer| observer.is_finishing());
        is_finishing || self.observed.iter().any(Observed::is_finishing)
    }

    /// Nobody can keep it any longer: records the enforcement event without the verdicts that it waits for.
    pub fn handle_abandon(&mut self) {
        if let Some(observer) = &mut self.observer {
            observer.finish(&mut self.governing);
        }
        self.observed.iter_mut().for_each(Observed::finish);
        let _nothing_to_resume = self.settle();
    }

    /// Counts the exchange for the rollout, once it is over.
    fn begin_closing(&mut self) {
        let rollout = &self.governing.shared.chain.rollout;
        if rollout.rollback.is_none() || self.closing.is_some() {
            return;
        }
        if let Some(facts) = self.governing.take_tally() {
            self.closing = Some(Box::pin(tally(Rc::clone(&self.governing.shared), facts)));
            self.close();
        }
    }

    fn close(&mut self) {
        let Some(closing) = &mut self.closing else { return };
        if closing.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            self.closing = Some(Box::pin(core::future::pending()));
        }
    }

    /// The next thing to be carried out beside the stream.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.governing.poll_effect().or_else(|| self.observed.iter_mut().find_map(Observed::poll_effect))
    }

    /// When [`Self::handle_tick`] must be called at the latest.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let own = if self.is_over() { None } else { self.governing.next_deadline() };
        self.observed.iter().filter_map(Observed::next_deadline).chain(own).min()
    }

    /// Whether anything of the response came and has not left; the beginning of an event is nothing that could leave.
    pub fn is_holding_response(&self) -> bool {
        !self.is_observed() && self.governing.is_holding_response()
    }

    /// An upper bound, in bytes, of what can still leave of that which is held: the held bytes and the replacements for
    /// them. A proxy that pauses must have room for it.
    pub fn max_release_bytes(&self) -> usize {
        if self.is_observed() { 0 } else { self.governing.max_release_bytes() }
    }

    /// Bytes that replacements may take beyond [`Self::max_release_bytes`] once a whole body that has begun is read: as many as a
    /// proxy that pauses before its end should have room for, where it can.
    pub fn max_unread_replacements(&self) -> usize {
        if self.is_observed() { 0 } else { self.governing.max_unread_replacements() }
    }

    /// Bytes of the response, as they came, that wait for a decision; the beginning of an event is nothing that could leave.
    pub fn held_bytes(&self) -> usize {
        if self.is_observed() { 0 } else { self.governing.held_bytes() }
    }

    /// Bytes of bodies that the exchange keeps: what was read and has neither left nor been decided.
    pub fn kept_bytes(&self) -> usize {
        let early = self.observer.as_ref().map_or(0, |observer| observer.kept_bytes());
        let observed = self.observed.iter().fold(0_usize, |sum, observed| sum.saturating_add(observed.kept_bytes()));
        self.governing.kept_bytes().saturating_add(early).saturating_add(observed)
    }

    /// What the chain concluded so far.
    pub fn decision(&self) -> Decision {
        self.governing.decision()
    }

    /// What was done so far.
    pub fn effective_decision(&self) -> Decision {
        if self.standing().is_enforced { self.governing.decision() } else { Decision::Allow }
    }

    /// The time for which a part of the response was held so far.
    pub fn held_time(&self) -> Duration {
        if self.is_observed() { Duration::ZERO } else { self.governing.held_time() }
    }
}

impl Governing {
    /// Assigns the exchange to its arm.
    fn assign(&self, head: &RequestHead<'_>, now: Timestamp) -> Standing {
        let chain = &self.shared.chain;
        let rollout = &chain.rollout;
        if rollout.is_plain() {
            return Standing::default();
        }
        let standing = self.stand(rollout, head, rollout.state.is_rolled_back(now));
        self.shared.standing.set(standing);
        standing
    }

    /// Whether the request is of a dialect that the chain governs.
    fn is_dialect(&self, head: &RequestHead<'_>, end: bool) -> bool {
        let chain = &self.shared.chain;
        let find = if end { Routes::find_bodiless } else { Routes::find };
        let route = find(&chain.routes, &chain.targets, head.method, head.path);
        matches!(route, Route { endpoint: Endpoint::Dialect(_), action: RouteAction::Govern })
    }

    /// Tells where the exchange stands in that rollout.
    fn stand(&self, rollout: &Rollout, head: &RequestHead<'_>, is_rolled_back: bool) -> Standing {
        let chain = &self.shared.chain;
        let peer = head.caller.and_then(|caller| caller.peer.as_deref()).map(str::as_bytes);
        let key = Key {
            user: Some(head.policy_user).filter(|name| !name.is_empty()).or(peer),
            session: Some(head.session),
            exchange: &self.shared.call_id.bytes(),
        };
        let route = chain.routes.find(&chain.targets, head.method, head.path);
        let dialect = if let Endpoint::Dialect(dialect) = route.endpoint { Some(dialect) } else { None };
        rollout.assign(&key, dialect, is_rolled_back)
    }

    /// What the exchange came to, for the rollout; once.
    fn take_tally(&mut self) -> Option<Tally> {
        self.tally.take()
    }
}
