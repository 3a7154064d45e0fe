//! Waits: one table of all that the hooks of an exchange wait for, whatever it is.
//!
//! A hook that asks for something gets a [`Waiting`] at once, and the exchange an [`Effect`](crate::effect::Effect) that
//! its host carries out. What the host brings back, or a deadline, settles the wait; then the exchange polls its hooks.

use core::cell::Cell;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::rc::Rc;

use crate::callout::{self, CalloutError, CalloutResponse};
use crate::effect::{CalloutId, CalloutReply, Observation};
use crate::judge::{self, JudgeError, Verdict};
use crate::state::{self, Counter, StateError, StoreRequestId, Stored};
use crate::time::Timestamp;

/// How many times its timeout a wait may take at the most, however often its deadline was renewed.
pub(crate) const HARD_MAXIMUM: u32 = 4;

type Answer<T> = Rc<Cell<Option<T>>>;

/// Resolves to what a hook asked for, once it is there. Hooks may await nothing else.
#[must_use = "await it, or drop it on purpose where the answer does not matter"]
pub struct Waiting<T>(Answer<T>);

impl<T> Waiting<T> {
    /// Makes one that is settled already.
    pub(crate) fn settled(answer: T) -> Self {
        Self(Rc::new(Cell::new(Some(answer))))
    }
}

impl<T> Future for Waiting<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<T> {
        // No waker: the exchange polls its waiting hooks whenever a wait is settled.
        self.0.take().map_or(Poll::Pending, Poll::Ready)
    }
}

/// What settles a wait: one kind for each thing that can be asked for.
enum Promise {
    Verdict(Answer<Result<Verdict, JudgeError>>),
    Response(Answer<Result<CalloutResponse, CalloutError>>),
    Counter(Answer<Result<Counter, StateError>>),
    Value(Answer<Result<Option<Vec<u8>>, StateError>>),
}

impl Promise {
    /// Settles it with the reply to a callout. Whether it failed; `None` where it does not wait for one.
    fn settle(&self, reply: CalloutReply<'_>) -> Option<bool> {
        match self {
            Self::Verdict(answer) => {
                let verdict = judge::read_reply(reply);
                let has_failed = verdict.is_err();
                answer.set(Some(verdict));
                Some(has_failed)
            }
            Self::Response(answer) => {
                answer.set(Some(callout::read_reply(reply)));
                Some(false)
            }
            Self::Counter(_) | Self::Value(_) => None,
        }
    }

    /// Settles it with the answer of the store; whether it waits for one. An answer of another kind is none.
    fn settle_stored(&self, stored: Result<Stored, StateError>) -> bool {
        match (self, stored) {
            (Self::Verdict(_) | Self::Response(_), _) => return false,
            (Self::Counter(answer), Ok(Stored::Counter(counter))) => answer.set(Some(Ok(counter))),
            (Self::Value(answer), Ok(Stored::Value(value))) => answer.set(Some(Ok(value))),
            (Self::Counter(answer), Err(error)) => answer.set(Some(Err(error))),
            (Self::Value(answer), Err(error)) => answer.set(Some(Err(error))),
            (Self::Counter(answer), Ok(Stored::Value(_))) => answer.set(Some(Err(StateError::Unavailable))),
            (Self::Value(answer), Ok(Stored::Counter(_))) => answer.set(Some(Err(StateError::Unavailable))),
        }
        true
    }

    /// Settles it with the news that nothing came in time.
    fn time_out(&self) {
        match self {
            Self::Verdict(answer) => answer.set(Some(Err(JudgeError::TimedOut))),
            Self::Response(answer) => answer.set(Some(Err(CalloutError::TimedOut))),
            Self::Counter(answer) => answer.set(Some(Err(StateError::TimedOut))),
            Self::Value(answer) => answer.set(Some(Err(StateError::TimedOut))),
        }
    }

    /// Whether anybody still has the other end.
    fn is_awaited(&self) -> bool {
        match self {
            Self::Verdict(answer) => Rc::strong_count(answer) > 1,
            Self::Response(answer) => Rc::strong_count(answer) > 1,
            Self::Counter(answer) => Rc::strong_count(answer) > 1,
            Self::Value(answer) => Rc::strong_count(answer) > 1,
        }
    }

    const fn is_verdict(&self) -> bool {
        matches!(self, Self::Verdict(_))
    }
}

struct Wait {
    /// Of a callout or of a request to the store: they are numbered together.
    number: u32,
    began: Timestamp,
    timeout: Duration,
    deadline: Timestamp,
    promise: Promise,
}

/// The waits of an exchange.
#[derive(Default)]
pub(crate) struct Waits {
    open: Vec<Wait>,
    begun: u32,
    questions: u32,
    callouts: u32,
    store_requests: u32,
    /// Latencies of judges, summed for the enforcement event.
    judged: Duration,
    /// Questions that no judge answered with a verdict.
    failed: u32,
}

impl Waits {
    /// Makes it without any, to be numbered from `first` on.
    pub(crate) fn numbered_from(first: u32) -> Self {
        Self { begun: first, ..Self::default() }
    }

    /// Begins to wait for a judge's verdict. `None` when the exchange has asked as often as it may.
    pub(crate) fn question(
        &mut self,
        now: Timestamp,
        timeout: Duration,
    ) -> Option<(CalloutId, Waiting<Result<Verdict, JudgeError>>)> {
        self.questions = count(self.questions, judge::MAX_QUESTIONS)?;
        let answer = Answer::default();
        let number = self.begin(Promise::Verdict(Rc::clone(&answer)), now, timeout);
        Some((CalloutId(number), Waiting(answer)))
    }

    /// Begins to wait for the response to a policy's own callout. `None` when the exchange has made as many as it may.
    pub(crate) fn callout(
        &mut self,
        now: Timestamp,
        timeout: Duration,
    ) -> Option<(CalloutId, Waiting<Result<CalloutResponse, CalloutError>>)> {
        self.callouts = count(self.callouts, callout::MAX_CALLOUTS)?;
        let answer = Answer::default();
        let number = self.begin(Promise::Response(Rc::clone(&answer)), now, timeout);
        Some((CalloutId(number), Waiting(answer)))
    }

    /// Begins to wait for a counter of the store. `None` when the exchange has made as many requests as it may.
    pub(crate) fn counter(&mut self, now: Timestamp) -> Option<(StoreRequestId, Waiting<Result<Counter, StateError>>)> {
        self.store_requests = count(self.store_requests, state::MAX_STORE_REQUESTS)?;
        let answer = Answer::default();
        let number = self.begin(Promise::Counter(Rc::clone(&answer)), now, state::STORE_TIMEOUT);
        Some((StoreRequestId(number), Waiting(answer)))
    }

    /// Begins to wait for a value of the store. `None` when the exchange has made as many requests as it may.
    #[allow(clippy::type_complexity, reason = "it is an id and what is awaited, as above")]
    pub(crate) fn value(&mut self, now: Timestamp) -> Option<(StoreRequestId, Waiting<Result<Option<Vec<u8>>, StateError>>)> {
        self.store_requests = count(self.store_requests, state::MAX_STORE_REQUESTS)?;
        let answer = Answer::default();
        let number = self.begin(Promise::Value(Rc::clone(&answer)), now, state::STORE_TIMEOUT);
        Some((StoreRequestId(number), Waiting(answer)))
    }

    fn begin(&mut self, promise: Promise, now: Timestamp, timeout: Duration) -> u32 {
        let number = self.begun;
        self.begun = self.begun.saturating_add(1);
        self.open.push(Wait { number, began: now, timeout, deadline: now.after(timeout), promise });
        number
    }

    /// Takes the reply to a callout in. Gives its latency as a measurement, or `None` when nobody waits for it (any more).
    pub(crate) fn settle(&mut self, id: CalloutId, reply: CalloutReply<'_>, now: Timestamp) -> Option<Observation> {
        let position = self.open.iter().position(|wait| wait.number == id.0)?;
        let has_failed = self.open.get(position)?.promise.settle(reply)?;
        let wait = self.open.swap_remove(position);
        self.failed = self.failed.saturating_add(u32::from(has_failed));
        let latency = now.since(wait.began);
        if wait.promise.is_verdict() {
            self.judged = self.judged.saturating_add(latency);
            Some(Observation::JudgeLatency(latency))
        } else {
            Some(Observation::CalloutLatency(latency))
        }
    }

    /// Takes an answer of the store in; whether anybody waits for it (still).
    pub(crate) fn settle_stored(&mut self, id: StoreRequestId, stored: Result<Stored, StateError>) -> bool {
        let Some(position) = self.open.iter().position(|wait| wait.number == id.0) else { return false };
        let is_awaited = self.open.get(position).is_some_and(|wait| wait.promise.is_awaited());
        if !self.open.get(position).is_some_and(|wait| wait.promise.settle_stored(stored)) {
            return false;
        }
        self.open.swap_remove(position);
        is_awaited
    }

    /// Settles the waits whose deadline has passed; whether there were any.
    pub(crate) fn expire(&mut self, now: Timestamp) -> bool {
        let before = self.open.len();
        let (judged, failed) = (&mut self.judged, &mut self.failed);
        self.open.retain(|wait| {
            let expired = wait.deadline <= now;
            if expired {
                wait.promise.time_out();
                if wait.promise.is_verdict() {
                    *failed = failed.saturating_add(1);
                    *judged = judged.saturating_add(now.since(wait.began));
                }
            }
            !expired
        });
        self.open.len() != before
    }

    /// A callout that had been put off is sent now: its time begins.
    pub(crate) fn note_sent(&mut self, id: CalloutId, now: Timestamp) {
        if let Some(wait) = self.open.iter_mut().find(|wait| wait.number == id.0) {
            (wait.began, wait.deadline) = (now, now.after(wait.timeout));
        }
    }

    /// Lets each wait take its timeout anew, within the hard maximum.
    pub(crate) fn renew(&mut self, now: Timestamp) {
        for wait in &mut self.open {
            let latest = wait.began.after(wait.timeout.saturating_mul(HARD_MAXIMUM));
            wait.deadline = now.after(wait.timeout).min(latest);
        }
    }

    /// The first deadline of a wait that somebody still awaits.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.open.iter().filter(|wait| wait.promise.is_awaited()).map(|wait| wait.deadline).min()
    }

    /// Whether anything is awaited that can still come.
    pub(crate) fn are_open(&self) -> bool {
        self.open.iter().any(|wait| wait.promise.is_awaited())
    }

    /// How many questions were put to judges.
    pub(crate) const fn questions(&self) -> u32 {
        self.questions
    }

    /// How many questions no judge answered with a verdict.
    pub(crate) const fn failed(&self) -> u32 {
        self.failed
    }

    /// How long judges took, all questions together.
    pub(crate) const fn judged(&self) -> Duration {
        self.judged
    }
}

/// One more, if `most` are not exceeded by it.
fn count(known: u32, most: u32) -> Option<u32> {
    if known < most { known.checked_add(1) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix(Duration::from_secs(seconds))
    }

    fn poll<T>(waiting: &mut Waiting<T>) -> Poll<T> {
        Pin::new(waiting).poll(&mut Context::from_waker(core::task::Waker::noop()))
    }

    #[test]
    fn a_reply_settles_the_wait_that_it_is_for_and_no_other() {
        let mut waits = Waits::default();
        let (_, mut verdict) = waits.question(at(0), TIMEOUT).unwrap();
        let (id, mut response) = waits.callout(at(0), TIMEOUT).unwrap();
        let reply = CalloutReply::Response { status: 404, body: b"no" };
        assert_eq!(waits.settle(id, reply, at(1)), Some(Observation::CalloutLatency(TIMEOUT)));
        assert_eq!(waits.settle(id, reply, at(1)), None, "it is settled already");
        assert!(poll(&mut verdict).is_pending());
        assert_eq!(poll(&mut response), Poll::Ready(Ok(CalloutResponse { status: 404, body: b"no".to_vec() })));
        assert!(waits.are_open());
    }

    #[test]
    fn every_kind_of_wait_runs_out_of_time() {
        let mut waits = Waits::default();
        let (_, mut verdict) = waits.question(at(0), TIMEOUT).unwrap();
        let (_, mut response) = waits.callout(at(0), TIMEOUT).unwrap();
        assert!(!waits.expire(at(0)));
        assert_eq!(waits.next_deadline(), Some(at(1)));
        assert!(waits.expire(at(1)));
        assert_eq!(poll(&mut verdict), Poll::Ready(Err(JudgeError::TimedOut)));
        assert_eq!(poll(&mut response), Poll::Ready(Err(CalloutError::TimedOut)));
        assert!(!waits.are_open());
    }

    #[test]
    fn what_nobody_awaits_keeps_nobody_waiting() {
        let mut waits = Waits::default();
        let (_, response) = waits.callout(at(0), TIMEOUT).unwrap();
        assert!(waits.are_open());
        drop(response);
        assert!(!waits.are_open());
        assert_eq!(waits.next_deadline(), None);
    }

    #[test]
    fn an_answer_of_another_kind_is_none() {
        let mut waits = Waits::default();
        let (id, mut counter) = waits.counter(at(0)).unwrap();
        assert!(waits.settle(CalloutId(id.0), CalloutReply::Broken, at(0)).is_none(), "a callout is no store");
        assert!(waits.settle_stored(id, Ok(Stored::Value(None))));
        assert_eq!(poll(&mut counter), Poll::Ready(Err(StateError::Unavailable)));
        let (id, mut verdict) = waits.question(at(0), TIMEOUT).unwrap();
        assert!(!waits.settle_stored(StoreRequestId(id.0), Ok(Stored::Value(None))), "a judge is no store");
        assert!(poll(&mut verdict).is_pending());
    }

    #[test]
    fn the_number_of_waits_of_an_exchange_has_a_bound() {
        let mut waits = Waits::default();
        for _ in 0..callout::MAX_CALLOUTS {
            assert!(waits.callout(at(0), TIMEOUT).is_some());
        }
        assert!(waits.callout(at(0), TIMEOUT).is_none());
        assert!(waits.question(at(0), TIMEOUT).is_some(), "questions are counted on their own");
    }
}
