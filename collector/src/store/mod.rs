//! Where events are kept: in Redis, which several collectors share, or by this collector alone, on disk or in memory.
//!
//! All keep the same promises, and `tests/store.rs` holds all to them:
//! - what was appended without an error is in the history until [`Limits`] push it out,
//! - an event is who sent it and its number: it is stored once, and what comes under the same number with another
//!   content is kept beside it as a conflict,
//! - ids of entries grow within a shard, so that a reader who names its [`Cursor`] misses nothing and sees nothing twice.

mod entry;
mod local;
mod numbers;
mod position;
mod redis;
mod scan;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::Batch;

pub use self::entry::{Entry, Stored};
pub use self::local::LocalStore;
pub use self::position::{Cursor, EntryId, InvalidPosition, Position};
pub use self::redis::{Deployment, RedisOptions, RedisStore};
pub use self::scan::Scan;

/// How many senders are remembered; the one that was silent for longest is forgotten first.
const MAX_SENDERS: usize = 100_000;

/// Says how much a store keeps. One setting, for all collectors of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// How many events.
    pub events: u64,
    /// How many bytes of events.
    pub bytes: u64,
    /// For how many seconds.
    pub seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { events: 1_000_000, bytes: 1024 * 1024 * 1024, seconds: 30 * 24 * 60 * 60 }
    }
}

impl Limits {
    /// Gives the millisecond before which everything is too old at `now`.
    fn oldest_ms(self, now: u64) -> u64 {
        now.saturating_sub(self.seconds.saturating_mul(1_000))
    }
}

/// Tells what became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// How many of its events had been stored before.
    pub duplicates: usize,
    /// How many of its events have numbers that something else has.
    pub conflicts: usize,
    /// How many sequence numbers this batch leaves out after the last one that was known of its sender.
    pub missing: u64,
    /// How many events its sender dropped since its batch before.
    pub dropped: u64,
}

/// Tells what is known of a sender.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sender {
    /// Its id.
    pub sender: String,
    /// The sequence number that its next event should have.
    pub next_sequence: u64,
    /// How many sequence numbers below that are not there. What was dropped is among them.
    pub missing: u64,
    /// How many events it says it dropped.
    pub dropped: u64,
    /// How many events came under the number of another.
    pub conflicts: u64,
    /// When its last batch arrived, in milliseconds since 1970.
    pub last_seen_ms: u64,
}

impl Sender {
    /// Gives how many events are missing though the sender did not drop them.
    pub fn lost(&self) -> u64 {
        self.missing.saturating_sub(self.dropped)
    }
}

/// Entries that were read of a shard.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    pub(crate) entries: Vec<Arc<Entry>>,
    /// The last id that was read, whatever stands there; `None` when nothing is left behind it.
    pub(crate) last: Option<EntryId>,
}

impl Fetched {
    fn all(entries: Vec<Arc<Entry>>, limit: usize) -> Self {
        let last = if entries.len() < limit { None } else { entries.last().map(|entry| entry.id) };
        Self { entries, last }
    }

    fn decoded(read: Vec<(EntryId, Option<Entry>)>, limit: usize) -> Self {
        let last = if read.len() < limit { None } else { read.last().map(|(id, _)| *id) };
        Self { entries: read.into_iter().filter_map(|(_, entry)| entry.map(Arc::new)).collect(), last }
    }
}

/// The store did not do what was asked; unless it says otherwise, asking again may help.
#[derive(Debug)]
pub enum StoreError {
    /// It did not answer in time.
    TimedOut,
    /// Redis refused, or cannot be reached.
    Redis(::redis::RedisError),
    /// The file cannot be read or written.
    Disk(String),
    /// An event is so old that nobody can tell whether it was stored; it will never be taken.
    TooOld {
        /// Its number.
        number: u64,
    },
    /// What was written is not on enough replicas yet.
    TooFewReplicas {
        /// How many have it.
        have: u32,
        /// How many should.
        needed: u32,
    },
    /// A cursor is of a store with another number of shards.
    OtherShards,
}

impl StoreError {
    fn disk(error: impl fmt::Display) -> Self {
        Self::Disk(error.to_string())
    }

    /// Gives one word for what is wrong, such as `OOM`, `READONLY` or `NOREPLICAS`.
    pub fn word(&self) -> String {
        match self {
            Self::TimedOut => "TIMEOUT".to_owned(),
            Self::Redis(error) => error.code().unwrap_or("UNREACHABLE").to_owned(),
            Self::Disk(_) => "DISK".to_owned(),
            Self::TooFewReplicas { .. } => "NOREPLICAS".to_owned(),
            Self::TooOld { .. } => "TOO_OLD".to_owned(),
            Self::OtherShards => "OTHER_SHARDS".to_owned(),
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("the store does not answer in time"),
            Self::Redis(error) => write!(f, "Redis: {error}"),
            Self::Disk(message) => write!(f, "disk: {message}"),
            Self::TooFewReplicas { have, needed } => write!(f, "{have} replicas have what was written, and {needed} should"),
            Self::TooOld { number } => write!(f, "number {number} is too old to tell whether it is stored"),
            Self::OtherShards => f.write_str("the cursor is of another store"),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<::redis::RedisError> for StoreError {
    fn from(error: ::redis::RedisError) -> Self {
        if error.is_timeout() { Self::TimedOut } else { Self::Redis(error) }
    }
}

/// A store of any kind. Clones are the same store.
#[derive(Clone, Debug)]
pub enum Store {
    /// Of this collector alone.
    Local(Arc<LocalStore>),
    /// In Redis, shared by every collector that uses the same keys.
    Redis(Arc<RedisStore>),
}

impl Store {
    /// Appends the events of `batch` that are not there yet. After `Ok` all of them are stored.
    pub async fn append(&self, batch: &Batch<'_>, now: u64) -> Result<Appended, StoreError> {
        match self {
            Self::Local(store) => store.append(batch, now).await,
            Self::Redis(store) => store.append(batch, now).await,
        }
    }

    /// Reads the history, newest first, from the entry of the last event before `before`.
    pub async fn scan(&self, before: Option<Position>) -> Result<Scan, StoreError> {
        // Asking for the end makes sure that the number of shards is known.
        if let (Self::Redis(_), None) = (self, before) {
            self.end().await?;
        }
        Ok(Scan::new(self.clone(), before))
    }

    pub(crate) async fn fetch_before(&self, shard: u16, before: EntryId, limit: usize) -> Result<Fetched, StoreError> {
        match self {
            Self::Local(store) => store.fetch_before(before, limit),
            Self::Redis(store) => store.fetch_before(shard, before, limit).await,
        }
    }

    /// Reads what came to a shard after an entry, oldest first.
    pub(crate) async fn fetch_after(&self, shard: u16, after: EntryId, limit: usize) -> Result<Fetched, StoreError> {
        match self {
            Self::Local(store) => store.fetch_after(after, limit),
            Self::Redis(store) => store.fetch_after(shard, after, limit).await,
        }
    }

    /// Gives how far every shard has come.
    pub async fn end(&self) -> Result<Cursor, StoreError> {
        match self {
            Self::Local(store) => Ok(Cursor(vec![store.last()])),
            Self::Redis(store) => store.end().await,
        }
    }

    /// Waits until something may stand behind `cursor`: at once for a store that cannot tell.
    pub(crate) async fn arrival(&self, cursor: &Cursor, poll: Duration) {
        match self {
            Self::Local(store) => store.arrival(cursor.of(0)).await,
            Self::Redis(store) => store.arrival(poll).await,
        }
    }

    /// Gives the number of shards.
    pub fn shards(&self) -> usize {
        match self {
            Self::Local(_) => 1,
            Self::Redis(store) => store.shards(),
        }
    }

    /// Gives the senders that are remembered, in the order of their ids.
    pub async fn senders(&self) -> Result<Vec<Sender>, StoreError> {
        match self {
            Self::Local(store) => Ok(store.senders()),
            Self::Redis(store) => store.senders().await,
        }
    }

    /// Finds out whether every shard takes writes.
    pub async fn probe(&self) -> Result<(), StoreError> {
        match self {
            Self::Local(store) => store.probe(),
            Self::Redis(store) => store.probe().await,
        }
    }

    /// Gives how much is kept.
    pub fn limits(&self) -> Limits {
        match self {
            Self::Local(store) => store.limits(),
            Self::Redis(store) => store.limits(),
        }
    }

    /// Sets how much is kept, for every collector of this store.
    pub async fn set_limits(&self, limits: Limits) -> Result<(), StoreError> {
        match self {
            Self::Local(store) => {
                store.set_limits(limits);
                Ok(())
            }
            Self::Redis(store) => store.set_limits(limits).await,
        }
    }
}
