//! The way of events to the collector: a bounded queue, sent in batches, kept until they are taken.
//!
//! Events never delay an exchange. What does not fit is dropped, oldest first, and counted; numbers make gaps visible.

use core::fmt::Write as _;
use core::time::Duration;
use std::collections::VecDeque;

use weir::document::EventSink;
use weir::event::Event;
use weir::id::CallId;
use weir::time::Timestamp;

use crate::host::{self, Post};

/// Most bytes that wait in the queue, whatever their number.
const MAX_QUEUE_BYTES: usize = 16 * 1024 * 1024;
/// Most bytes of a batch, a single event excepted.
const MAX_BATCH_BYTES: usize = 1024 * 1024;
/// How long the collector has to take a batch.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The first pause after a failure; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause after a failure.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How much is logged of what a collector says about an event that it refuses.
const MAX_REASON_BYTES: usize = 500;

/// The events that wait, and the batches that were begun to be sent.
#[derive(Debug)]
pub(crate) struct EventQueue {
    sink: EventSink,
    authorization: Option<String>,
    sender: String,
    waiting: VecDeque<Vec<u8>>,
    waiting_bytes: usize,
    /// Number of the first event that waits.
    first: u64,
    dropped: u64,
    /// The batch that is under way or to be sent again, and what is to be sent after it of one that was refused.
    batches: VecDeque<Batch>,
    /// A refusal was logged: it is enough to say so once.
    logged_refusal: bool,
    pause: Option<Pause>,
    /// When the next batch is due.
    next: Timestamp,
    /// The root context is going: nothing is worth waiting for.
    flushing: bool,
}

/// Events that are sent together.
#[derive(Debug)]
struct Batch {
    /// The proxy's token, while it is under way.
    token: Option<u32>,
    first: u64,
    events: Vec<Vec<u8>>,
}

/// After a failure nothing is sent for a while.
#[derive(Clone, Copy, Debug)]
struct Pause {
    length: Duration,
    until: Timestamp,
}

impl EventQueue {
    /// An empty queue with a sender id of its own.
    pub(crate) fn new(sink: EventSink, authorization: Option<String>) -> Self {
        let sender = CallId::random().map_or_else(|_| String::from("unknown"), |id| id.to_string());
        Self {
            sink,
            authorization,
            sender,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            first: 0,
            dropped: 0,
            batches: VecDeque::new(),
            logged_refusal: false,
            pause: None,
            next: Timestamp::default(),
            flushing: false,
        }
    }

    /// Takes an event in. How many were dropped for it.
    pub(crate) fn push(&mut self, event: &Event) -> u64 {
        let before = self.dropped;
        // Names, numbers and JSON values: writing them to memory cannot fail.
        let Ok(event) = serde_json::to_vec(event) else { return 0 };
        self.waiting_bytes = self.waiting_bytes.saturating_add(event.len());
        self.waiting.push_back(event);
        while self.waiting.len() > self.sink.queue || self.waiting_bytes > MAX_QUEUE_BYTES {
            if self.take_first().is_none() {
                break;
            }
            self.dropped = self.dropped.saturating_add(1);
        }
        self.dropped.saturating_sub(before)
    }

    /// Sends a batch if there is one, none is under way, and the last did not just fail.
    fn send(&mut self, now: Timestamp) {
        let is_pausing = self.pause.is_some_and(|pause| now < pause.until);
        if self.is_under_way() || is_pausing {
            return;
        }
        let mut batch = match self.batches.pop_front() {
            Some(batch) => batch,
            None if self.waiting.is_empty() => return,
            None => self.next_batch(),
        };
        let body = self.body(&batch);
        let post = Post {
            cluster: &self.sink.cluster,
            authority: self.sink.authority.as_deref().unwrap_or(&self.sink.cluster),
            path: &self.sink.path,
            authorization: self.authorization.as_deref(),
            traceparent: None,
            body: &body,
            timeout: TIMEOUT,
        };
        match host::post(&post) {
            Ok(token) => batch.token = Some(token),
            Err(status) => self.fail(now, &format_args!("cannot be sent ({status:?})")),
        }
        self.batches.push_front(batch);
    }

    /// Handles the reply to a batch, its status and body; `None` if the token is not its. How many events were dropped
    /// for it.
    pub(crate) fn handle_reply(&mut self, token: u32, reply: Option<(u16, &[u8])>, now: Timestamp) -> Option<u64> {
        let mut batch = self.batches.pop_front_if(|batch| batch.token == Some(token))?;
        batch.token = None;
        let mut dropped = 0;
        match reply {
            Some((200..=299, _)) => self.pause = None,
            // It is the batch that is refused: to send it again as it is would hold up all others for ever.
            Some((status @ (400 | 413 | 415 | 422), reason)) => {
                self.pause = None;
                dropped = self.part_with_refused(batch, status, reason);
            }
            failure => {
                self.batches.push_front(batch);
                match failure {
                    Some((status, _)) => self.fail(now, &format_args!("status {status}")),
                    None => self.fail(now, &"no answer"),
                }
            }
        }
        if self.flushing || self.waiting.len() >= self.sink.max_batch {
            self.send(now);
        }
        Some(dropped)
    }

    /// Halves a refused batch, so that in the end the event that the collector refuses is dropped alone. How many were.
    fn part_with_refused(&mut self, mut batch: Batch, status: u16, reason: &[u8]) -> u64 {
        let half = batch.events.len() / 2;
        if half > 0 {
            let events = batch.events.split_off(half);
            let first = batch.first.saturating_add(u64::try_from(half).unwrap_or(u64::MAX));
            self.batches.push_front(Batch { token: None, first, events });
            self.batches.push_front(batch);
            return 0;
        }
        self.dropped = self.dropped.saturating_add(1);
        if !core::mem::replace(&mut self.logged_refusal, true) {
            let reason = String::from_utf8_lossy(reason.get(..MAX_REASON_BYTES).unwrap_or(reason));
            log::error!(
                "the collector refuses an event with status {status}, and it is dropped: {reason:?}; what is refused later is \
                 only counted"
            );
        }
        1
    }

    /// Sends what there is, because the root context is going. Whether a reply is worth waiting for.
    pub(crate) fn flush(&mut self, now: Timestamp) -> bool {
        self.flushing = true;
        self.pause = None;
        self.send(now);
        self.is_under_way()
    }

    /// Whether the root context was going and nothing is awaited any more.
    pub(crate) fn is_done(&self) -> bool {
        self.flushing && !self.is_under_way()
    }

    /// How often events are to be sent.
    pub(crate) const fn interval(&self) -> Duration {
        self.sink.interval.0
    }

    /// Sends a batch if it is time for one.
    pub(crate) fn tick(&mut self, now: Timestamp) {
        if now >= self.next {
            self.next = now.after(self.interval());
            self.send(now);
        }
    }

    fn is_under_way(&self) -> bool {
        self.batches.front().is_some_and(|batch| batch.token.is_some())
    }

    fn take_first(&mut self) -> Option<Vec<u8>> {
        let event = self.waiting.pop_front()?;
        self.waiting_bytes = self.waiting_bytes.saturating_sub(event.len());
        self.first = self.first.saturating_add(1);
        Some(event)
    }

    fn next_batch(&mut self) -> Batch {
        let first = self.first;
        let mut events = Vec::new();
        let mut bytes: usize = 0;
        while events.len() < self.sink.max_batch {
            let fits = self.waiting.front().is_some_and(|event| bytes.saturating_add(event.len()) <= MAX_BATCH_BYTES);
            if !fits && !events.is_empty() {
                break;
            }
            let Some(event) = self.take_first() else { break };
            bytes = bytes.saturating_add(event.len());
            events.push(event);
        }
        Batch { token: None, first, events }
    }

    fn body(&self, batch: &Batch) -> Vec<u8> {
        let mut head = String::new();
        // Writing to a String cannot fail.
        let _ = write!(head, r#"{{"sender":"{}","sequence":{},"dropped":{},"events":["#, self.sender, batch.first, self.dropped);
        let mut body = head.into_bytes();
        for (index, event) in batch.events.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            body.extend_from_slice(event);
        }
        body.extend_from_slice(b"]}");
        body
    }

    fn fail(&mut self, now: Timestamp, reason: &dyn core::fmt::Display) {
        let length = match self.pause {
            None => {
                log::warn!("events cannot be delivered to cluster {:?}: {reason}; they wait", self.sink.cluster);
                FIRST_PAUSE
            }
            Some(pause) => pause.length.saturating_mul(2).min(LONGEST_PAUSE),
        };
        self.pause = Some(Pause { length, until: now.after(length) });
    }
}
