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

use crate::handover::{self, MAX_REMAINS_BYTES, Note, Progress, Remains};
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

/// How often a sender notes that it is there.
const NOTE_EVERY: Duration = Duration::from_secs(2);
/// How often is looked for what others have left.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Most batches that are taken over at a time.
const MAX_BATCHES_TAKEN_OVER: usize = 16;

/// The events that wait, and the batches that were begun to be sent.
#[derive(Debug)]
pub(crate) struct EventQueue {
    sink: EventSink,
    authorization: Option<String>,
    /// A random id. Only the collector sees it, so that nobody can tell the ids of events in advance.
    sender: String,
    /// Where it stands how far this sender is, from its first event on.
    note: Option<Note>,
    noted: Timestamp,
    /// When this queue last looked for what others have left.
    looked: Timestamp,
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
    /// Another sender that it is of, and how many events that one has dropped.
    of_other: Option<(String, u64)>,
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
        let sender = new_sender();
        Self {
            sink,
            authorization,
            sender,
            note: None,
            noted: Timestamp::default(),
            looked: Timestamp::default(),
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
    pub(crate) fn push(&mut self, mut event: Event, now: Timestamp) -> u64 {
        let before = self.dropped;
        // Clients see the ids of exchanges: an id made of one could be told in advance, and an event forged that stands for it.
        event.id = format!("{}-{}", self.sender, self.next_number());
        // Names, numbers and JSON values: writing them to memory cannot fail.
        let Ok(event) = serde_json::to_vec(&event) else { return 0 };
        self.waiting_bytes = self.waiting_bytes.saturating_add(event.len());
        self.waiting.push_back(event);
        while self.waiting.len() > self.sink.queue || self.waiting_bytes > MAX_QUEUE_BYTES {
            if self.take_first().is_none() {
                break;
            }
            self.dropped = self.dropped.saturating_add(1);
        }
        self.note_progress(now);
        self.dropped.saturating_sub(before)
    }

    /// The number that the next event gets.
    fn next_number(&self) -> u64 {
        self.first.saturating_add(count(self.waiting.len()))
    }

    /// Notes how far this sender is where it outlives the VM.
    fn note_progress(&mut self, now: Timestamp) {
        let own = self.batches.iter().filter(|batch| batch.of_other.is_none()).map(|batch| batch.events.len());
        let progress = Progress {
            sender: self.sender.clone(),
            next: self.next_number(),
            undelivered: count(own.fold(self.waiting.len(), usize::saturating_add)),
            dropped: self.dropped,
        };
        match &self.note {
            Some(note) => note.write(&progress, now),
            None => self.note = Note::take(&progress, now),
        }
        self.noted = now;
    }

    /// Takes over what roots that are gone have left, and tells of what is lost with VMs. How many events are lost.
    fn look_for_others(&mut self, now: Timestamp) -> u64 {
        if self.flushing || now.since(self.looked) < LOOK_EVERY || self.batches.len() > 1 {
            return 0;
        }
        self.looked = now;
        while self.batches.len() < MAX_BATCHES_TAKEN_OVER
            && let Some(remains) = Remains::take()
        {
            let (mut first, of_other) = (remains.first, Some((remains.sender, remains.dropped)));
            for events in chunks(remains.events, self.sink.max_batch) {
                let number = count(events.len());
                self.batches.push_back(Batch { token: None, first, events, of_other: of_other.clone() });
                first = first.saturating_add(number);
            }
        }
        let mut lost = 0_u64;
        for gone in handover::take_lost(now) {
            lost = lost.saturating_add(gone.undelivered);
            // A batch without events, behind the numbers that are missing: the collector sees the gap.
            let of_other = Some((gone.sender, gone.dropped));
            self.batches.push_back(Batch { token: None, first: gone.next, events: Vec::new(), of_other });
        }
        lost
    }

    /// Leaves what is not delivered to the next root. How many events could not be left.
    pub(crate) fn leave(&mut self) -> u64 {
        let mut lost = 0_u64;
        let rest = Batch { token: None, first: self.first, events: self.waiting.drain(..).collect(), of_other: None };
        self.waiting_bytes = 0;
        for mut batch in self.batches.drain(..).chain([rest]) {
            let (sender, mut dropped) = batch.of_other.unwrap_or_else(|| (self.sender.clone(), self.dropped));
            let mut bytes = batch.events.iter().map(Vec::len).fold(0, usize::saturating_add);
            let too_many = batch.events.iter().take_while(|event| {
                let is_beyond = bytes > MAX_REMAINS_BYTES;
                bytes = bytes.saturating_sub(event.len());
                is_beyond
            });
            let too_many = too_many.count();
            let kept = batch.events.split_off(too_many);
            dropped = dropped.saturating_add(count(too_many));
            lost = lost.saturating_add(count(too_many));
            let first = batch.first.saturating_add(count(too_many));
            let number = count(kept.len());
            if number > 0 && !(Remains { sender, first, dropped, events: kept }).leave() {
                lost = lost.saturating_add(number);
            }
        }
        if let Some(note) = self.note.take() {
            note.clear();
        }
        lost
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
        let traceparent = new_traceparent();
        let post = Post {
            cluster: &self.sink.cluster,
            authority: self.sink.authority.as_deref().unwrap_or(&self.sink.cluster),
            path: &self.sink.path,
            authorization: self.authorization.as_deref(),
            traceparent: traceparent.as_deref(),
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
            Some((200..=299, _)) => {
                self.pause = None;
                self.note_progress(now);
            }
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
            self.batches.push_front(Batch { token: None, first, events, of_other: batch.of_other.clone() });
            self.batches.push_front(batch);
            return 0;
        }
        if let Some((_, dropped)) = &mut batch.of_other {
            // It is counted here; that sender says no more.
            *dropped = dropped.saturating_add(1);
        } else {
            self.dropped = self.dropped.saturating_add(1);
        }
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

    /// Sends a batch if it is time for one. How many events were found to be lost.
    pub(crate) fn tick(&mut self, now: Timestamp) -> u64 {
        if self.note.is_some() && now.since(self.noted) >= NOTE_EVERY {
            self.note_progress(now);
        }
        let lost = self.look_for_others(now);
        if now >= self.next {
            self.next = now.after(self.interval());
            self.send(now);
        }
        lost
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
        Batch { token: None, first, events, of_other: None }
    }

    fn body(&self, batch: &Batch) -> Vec<u8> {
        let mut head = String::new();
        let (sender, dropped) =
            batch.of_other.as_ref().map_or((&self.sender, self.dropped), |(sender, dropped)| (sender, *dropped));
        // Writing to a String cannot fail.
        let _ = write!(head, r#"{{"sender":"{sender}","sequence":{},"dropped":{dropped},"events":["#, batch.first);
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

/// An id of its own. Without randomness the time tells senders apart.
fn new_sender() -> String {
    CallId::random().map_or_else(|_| format!("at-{}", host::now().as_unix_micros()), |id| id.to_string())
}

fn count(events: usize) -> u64 {
    u64::try_from(events).unwrap_or(u64::MAX)
}

/// Parts events into batches.
fn chunks(events: Vec<Vec<u8>>, max_batch: usize) -> Vec<Vec<Vec<u8>>> {
    let (mut batches, mut bytes): (Vec<Vec<Vec<u8>>>, usize) = (Vec::new(), 0);
    for event in events {
        bytes = bytes.saturating_add(event.len());
        match batches.last_mut() {
            Some(last) if last.len() < max_batch && bytes <= MAX_BATCH_BYTES => last.push(event),
            _ => {
                bytes = event.len();
                batches.push(vec![event]);
            }
        }
    }
    batches
}

/// A trace of its own for a batch: its events are of many exchanges, each with the ids of its own trace in it.
fn new_traceparent() -> Option<String> {
    let (trace, span) = (CallId::random().ok()?.to_string(), CallId::random().ok()?.to_string());
    Some(format!("00-{trace}-{}-01", span.get(..16)?))
}
