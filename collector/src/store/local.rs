//! The store of a single collector: in memory, or on disk so that it outlives the process.
//!
//! What is known of senders is in memory either way. On disk, batches that wait together are committed together, so that
//! waiting for the disk costs each of them a share.

mod disk;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use self::disk::Disk;
use super::numbers::{Class, Digest, Numbers};
use super::position::EntryId;
use super::{Appended, Entry, Fetched, Limits, MAX_SENDERS, Sender, StoreError};
use crate::event::Batch;

/// Keeps events of this collector alone.
#[derive(Debug)]
pub struct LocalStore {
    contents: Arc<Mutex<Contents>>,
    disk: Option<Disk>,
    /// Carries the last id, and wakes whoever waits for what is new.
    last: watch::Sender<EntryId>,
}

/// What is in memory. On disk, `ring` stays empty.
#[derive(Debug, Default)]
struct Contents {
    limits: Limits,
    ring: VecDeque<Arc<Entry>>,
    /// Count and bytes of each entry that is kept, oldest first.
    sizes: VecDeque<(EntryId, u64, u64)>,
    events: u64,
    bytes: u64,
    last: EntryId,
    senders: BTreeMap<Arc<str>, Numbers>,
    /// A commit failed, and what is here may be ahead of the disk: it has to be read again first.
    stale: bool,
}

/// Events of a batch that are the same to the store.
struct Run {
    class: Class,
    first: u64,
    digests: Vec<Digest>,
    body: String,
}

/// What a batch adds, and what goes for it.
#[derive(Debug, Default)]
struct Change {
    added: Vec<Arc<Entry>>,
    /// Everything before this id goes.
    trim: Option<EntryId>,
    appended: Appended,
}

impl LocalStore {
    /// Makes an empty store in memory.
    pub fn in_memory(limits: Limits) -> Self {
        let contents = Contents { limits, ..Contents::default() };
        Self { contents: Arc::new(Mutex::new(contents)), disk: None, last: watch::Sender::default() }
    }

    /// Opens the store in the file at `path`, or makes it.
    pub fn on_disk(path: &Path, limits: Limits) -> Result<Self, StoreError> {
        let mut contents = Contents { limits, ..Contents::default() };
        let disk = Disk::open(path, &mut contents)?;
        let last = watch::Sender::new(contents.last);
        Ok(Self { contents: Arc::new(Mutex::new(contents)), disk: Some(disk), last })
    }

    pub(super) async fn append(&self, batch: &Batch<'_>, now: u64) -> Result<Appended, StoreError> {
        let appended = match &self.disk {
            None => {
                let mut contents = self.contents();
                let runs = contents.runs(batch)?;
                let change = contents.change(batch, runs, now);
                contents.apply(&change);
                change.appended
            }
            Some(disk) => disk.append(&self.contents, batch, now).await?,
        };
        self.last.send_replace(self.contents().last);
        Ok(appended)
    }

    pub(super) fn fetch_before(&self, before: EntryId, limit: usize) -> Result<Fetched, StoreError> {
        if let Some(disk) = &self.disk {
            return disk.fetch_before(before, limit);
        }
        let contents = self.contents();
        let end = contents.ring.partition_point(|entry| entry.id <= before);
        Ok(Fetched::all(contents.ring.range(..end).rev().take(limit).cloned().collect(), limit))
    }

    pub(super) fn fetch_after(&self, after: EntryId, limit: usize) -> Result<Fetched, StoreError> {
        if let Some(disk) = &self.disk {
            return disk.fetch_after(after, limit);
        }
        let contents = self.contents();
        let start = contents.ring.partition_point(|entry| entry.id <= after);
        Ok(Fetched::all(contents.ring.range(start..).take(limit).cloned().collect(), limit))
    }

    pub(super) fn last(&self) -> EntryId {
        self.contents().last
    }

    /// Waits until something stands behind `after`.
    pub(super) async fn arrival(&self, after: EntryId) {
        if self.last.subscribe().wait_for(|last| *last > after).await.is_err() {
            // The sender lives in the store, which this borrows.
            std::future::pending::<()>().await;
        }
    }

    pub(super) fn senders(&self) -> Vec<Sender> {
        let contents = self.contents();
        let sender = |(name, numbers): (&Arc<str>, &Numbers)| Sender {
            sender: name.to_string(),
            next_sequence: numbers.next,
            missing: numbers.missing,
            dropped: numbers.dropped,
            conflicts: numbers.conflicts,
            last_seen_ms: numbers.last_seen_ms,
        };
        contents.senders.iter().map(sender).collect()
    }

    pub(super) fn limits(&self) -> Limits {
        self.contents().limits
    }

    pub(super) fn set_limits(&self, limits: Limits) {
        self.contents().limits = limits;
    }

    pub(super) fn probe(&self) -> Result<(), StoreError> {
        self.disk.as_ref().map_or(Ok(()), Disk::probe)
    }

    /// Nothing under this lock can leave the contents half changed, so a poisoned lock is taken like any other.
    fn contents(&self) -> MutexGuard<'_, Contents> {
        lock(&self.contents)
    }
}

fn lock(contents: &Mutex<Contents>) -> MutexGuard<'_, Contents> {
    contents.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Contents {
    /// Cuts a batch into runs of events that are the same to the store.
    fn runs(&self, batch: &Batch<'_>) -> Result<Vec<Run>, StoreError> {
        let known = self.senders.get(batch.sender.as_ref());
        let mut runs: Vec<Run> = Vec::new();
        for (number, event) in (batch.sequence..).zip(&batch.events) {
            let digest = event.digest();
            let class = known.map_or(Class::Fresh, |numbers| numbers.class(number, &digest));
            match runs.last_mut() {
                _ if class == Class::TooOld => return Err(StoreError::TooOld { number }),
                Some(run) if run.class == class => {
                    run.digests.push(digest);
                    run.body.push('\n');
                    run.body.push_str(&event.json);
                }
                _ => runs.push(Run { class, first: number, digests: vec![digest], body: event.json.as_ref().to_owned() }),
            }
        }
        Ok(runs)
    }

    /// Says what a batch adds, and takes notice of its numbers.
    fn change(&mut self, batch: &Batch<'_>, runs: Vec<Run>, now: u64) -> Change {
        let sender: Arc<str> = Arc::from(batch.sender.as_ref());
        let mut change = Change::default();
        let numbers = self.senders.entry(Arc::clone(&sender)).or_default();
        change.appended.missing = numbers.reach(batch.sequence);
        change.appended.dropped = numbers.drop_up_to(batch.dropped);
        numbers.last_seen_ms = now;
        for run in runs {
            let count = run.digests.len();
            let keep = match run.class {
                Class::Fresh => {
                    numbers.store(run.first, run.digests);
                    true
                }
                Class::Conflict => {
                    change.appended.conflicts = change.appended.conflicts.saturating_add(count);
                    numbers.conflict(run.first, run.digests)
                }
                Class::Known | Class::TooOld => {
                    change.appended.duplicates = change.appended.duplicates.saturating_add(count);
                    false
                }
            };
            if keep {
                self.last = self.last.next(now);
                change.added.push(Arc::new(Entry {
                    shard: 0,
                    id: self.last,
                    received_ms: now,
                    sender: Arc::clone(&sender),
                    sequence: run.first,
                    conflict: run.class == Class::Conflict,
                    body: run.body,
                }));
            }
        }
        for entry in &change.added {
            self.count(entry);
        }
        change.trim = self.trim(now);
        self.forget_senders();
        change
    }

    fn apply(&mut self, change: &Change) {
        self.ring.extend(change.added.iter().cloned());
        if let Some(trim) = change.trim {
            while self.ring.pop_front_if(|entry| entry.id < trim).is_some() {}
        }
    }

    fn count(&mut self, entry: &Entry) {
        let (count, bytes) = (entry.events().count() as u64, entry.bytes() as u64);
        self.events = self.events.saturating_add(count);
        self.bytes = self.bytes.saturating_add(bytes);
        self.sizes.push_back((entry.id, count, bytes));
        self.last = self.last.max(entry.id);
    }

    /// Forgets what is too much or too old, the newest entry excepted. Before which id.
    fn trim(&mut self, now: u64) -> Option<EntryId> {
        let oldest_ms = self.limits.oldest_ms(now);
        let mut trimmed = false;
        while let Some((id, count, bytes)) = self.sizes.front().copied() {
            let too_much = self.events > self.limits.events || self.bytes > self.limits.bytes;
            if self.sizes.len() == 1 || !(too_much || id.milliseconds < oldest_ms) {
                return trimmed.then_some(id);
            }
            self.events = self.events.saturating_sub(count);
            self.bytes = self.bytes.saturating_sub(bytes);
            self.sizes.pop_front();
            trimmed = true;
        }
        None
    }

    fn forget_senders(&mut self) {
        while self.senders.len() > MAX_SENDERS {
            let silent = self.senders.iter().min_by_key(|(_, numbers)| numbers.last_seen_ms).map(|(name, _)| Arc::clone(name));
            let Some(silent) = silent else { break };
            self.senders.remove(&silent);
        }
    }
}
