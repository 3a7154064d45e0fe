//! The store for a single collector: a bounded ring.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::value::RawValue;
use tokio::sync::watch;

use super::{Appended, Limits, Position, Sender, Stored, TAIL_CHUNK};
use crate::event::{Batch, Event};

/// The most bytes of events in memory, whatever the history would allow in events.
const MAX_HISTORY_BYTES: usize = 256 * 1024 * 1024;

/// Keeps events in the memory of this process.
#[derive(Debug)]
pub struct MemoryStore {
    limits: Limits,
    contents: Mutex<Contents>,
    /// Carries the last position, and wakes every [`MemoryTail`].
    last: watch::Sender<Position>,
}

#[derive(Debug, Default)]
struct Contents {
    ring: VecDeque<Arc<Stored>>,
    ring_bytes: usize,
    last: Position,
    seen: SeenIds,
    senders: BTreeMap<Arc<str>, Sender>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(limits: Limits) -> Self {
        Self { limits, contents: Mutex::default(), last: watch::Sender::default() }
    }

    pub(super) fn append(&self, batch: &Batch<'_>, now: u64) -> Appended {
        let mut contents = self.contents();
        let sender: Arc<str> = Arc::from(batch.sender.as_ref());
        let expected = contents.senders.get(&sender).map_or(batch.sequence, |known| known.next_sequence);
        let mut duplicates = Vec::new();
        let mut late = 0_u64;
        let mut sequence = batch.sequence;
        for (index, event) in batch.events.iter().enumerate() {
            if contents.seen.insert(&event.id, self.limits.duplicate_window) {
                contents.push(event, &sender, sequence, now);
                late = late.saturating_add(u64::from(sequence < expected));
            } else {
                duplicates.push(index);
            }
            sequence = sequence.saturating_add(1);
        }
        contents.trim(self.limits.history);

        let missing = batch.sequence.saturating_sub(expected);
        let known = contents.senders.entry(Arc::clone(&sender)).or_default();
        let dropped = batch.dropped.saturating_sub(known.dropped);
        known.sender = sender.as_ref().to_owned();
        known.next_sequence = expected.max(sequence);
        known.missing = known.missing.saturating_add(missing).saturating_sub(late);
        known.dropped = known.dropped.max(batch.dropped);
        known.last_seen_ms = now;
        contents.forget_senders(self.limits.senders);

        self.last.send_replace(contents.last);
        Appended { duplicates, missing, dropped }
    }

    pub(super) fn history(&self, before: Option<Position>, limit: usize) -> Vec<Arc<Stored>> {
        let contents = self.contents();
        let end = match before {
            Some(before) => contents.ring.partition_point(|stored| stored.position < before),
            None => contents.ring.len(),
        };
        contents.ring.range(..end).rev().take(limit).cloned().collect()
    }

    pub(super) fn senders(&self) -> Vec<Sender> {
        self.contents().senders.values().cloned().collect()
    }

    fn after(&self, after: Position, limit: usize) -> Vec<Arc<Stored>> {
        let contents = self.contents();
        let start = contents.ring.partition_point(|stored| stored.position <= after);
        contents.ring.range(start..).take(limit).cloned().collect()
    }

    /// Nothing under this lock can leave the contents half changed, so a poisoned lock is taken like any other.
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn push(&mut self, event: &Event<'_>, sender: &Arc<str>, sequence: u64, now: u64) {
        // Parsing the batch has checked that this is JSON.
        let Ok(json) = RawValue::from_string(event.json.as_ref().to_owned()) else {
            return;
        };
        self.last = self.last.next(now);
        self.ring_bytes = self.ring_bytes.saturating_add(json.get().len());
        self.ring.push_back(Arc::new(Stored {
            position: self.last,
            received_ms: now,
            sender: Arc::clone(sender),
            sequence,
            event: json,
        }));
    }

    fn trim(&mut self, history: usize) {
        while self.ring.len() > history || self.ring_bytes > MAX_HISTORY_BYTES {
            let Some(oldest) = self.ring.pop_front() else {
                break;
            };
            self.ring_bytes = self.ring_bytes.saturating_sub(oldest.event.get().len());
        }
    }

    fn forget_senders(&mut self, limit: usize) {
        while self.senders.len() > limit {
            let silent = self.senders.iter().min_by_key(|(_, sender)| sender.last_seen_ms).map(|(id, _)| Arc::clone(id));
            let Some(silent) = silent else { break };
            self.senders.remove(&silent);
        }
    }
}

/// The ids of the last events, in two generations: when the current one is full, the one before is forgotten. That
/// bounds the ids by a count, at the cost of one lookup more, and without a clock.
#[derive(Debug, Default)]
struct SeenIds {
    current: HashSet<Box<str>>,
    before: HashSet<Box<str>>,
}

impl SeenIds {
    /// Whether `id` is new.
    fn insert(&mut self, id: &str, window: usize) -> bool {
        if self.before.contains(id) || !self.current.insert(Box::from(id)) {
            return false;
        }
        if self.current.len() >= window {
            self.before = std::mem::take(&mut self.current);
        }
        true
    }
}

/// Reads what arrives in a [`MemoryStore`].
#[derive(Debug)]
pub struct MemoryTail {
    store: Arc<MemoryStore>,
    after: Position,
    last: watch::Receiver<Position>,
}

impl MemoryTail {
    pub(super) fn new(store: Arc<MemoryStore>, after: Position) -> Self {
        let last = store.last.subscribe();
        Self { store, after, last }
    }

    pub(super) async fn next(&mut self) -> Vec<Arc<Stored>> {
        loop {
            let events = self.store.after(self.after, TAIL_CHUNK);
            if let Some(last) = events.last() {
                self.after = last.position;
                return events;
            }
            let after = self.after;
            if self.last.wait_for(|last| *last > after).await.is_err() {
                // The sender lives in the store, and the store in this tail.
                std::future::pending::<()>().await;
            }
        }
    }
}
