//! Where events are kept: in Redis Streams, which several collectors share, or in the memory of this one.
//!
//! Both keep the same promises, and `tests/store.rs` holds both to them:
//! - what was appended without an error is in the history until newer events push it out,
//! - an id is appended once within the last [`Limits::duplicate_window`] ids,
//! - positions grow, so that a reader who names the last position it saw misses nothing and sees nothing twice.

mod memory;
mod redis;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::event::Batch;

pub use self::memory::MemoryStore;
pub use self::redis::RedisStore;

/// How many events a reader gets at a time from [`Tail::next`].
const TAIL_CHUNK: usize = 256;

/// How much a store keeps.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many events the history holds; Redis may keep a few more, because it frees whole nodes.
    pub history: usize,
    /// Among how many of the last ids duplicates are found, at least. Up to twice as many ids are held.
    pub duplicate_window: usize,
    /// How many senders are remembered; the one that was silent for longest is forgotten first.
    pub senders: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { history: 100_000, duplicate_window: 200_000, senders: 10_000 }
    }
}

/// The place of an event in the store: the millisecond of its arrival and a number within that millisecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    milliseconds: u64,
    number: u64,
}

impl Position {
    /// Before everything.
    pub const START: Self = Self { milliseconds: 0, number: 0 };

    /// The position of an event that arrives at `now`, after `self`. Positions grow even when the clock steps back.
    fn next(self, now: u64) -> Self {
        if now > self.milliseconds {
            Self { milliseconds: now, number: 0 }
        } else {
            Self { milliseconds: self.milliseconds, number: self.number.saturating_add(1) }
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.milliseconds, self.number)
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = |text: &str| text.parse().map_err(|_| InvalidPosition);
        let (milliseconds, number) = text.split_once('-').ok_or(InvalidPosition)?;
        Ok(Self { milliseconds: parse(milliseconds)?, number: parse(number)? })
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A text is not a [`Position`].
#[derive(Debug, PartialEq, Eq)]
pub struct InvalidPosition;

impl fmt::Display for InvalidPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a position; positions look like 1760000000000-0 and come from the events themselves")
    }
}

impl std::error::Error for InvalidPosition {}

/// An event as the store gives it back.
#[derive(Debug, Serialize)]
pub struct Stored {
    /// Where it stands.
    pub position: Position,
    /// When it arrived, in milliseconds since 1970.
    pub received_ms: u64,
    /// Who sent it.
    pub sender: Arc<str>,
    /// Its number among the events of its sender.
    pub sequence: u64,
    /// The event itself, as it was sent.
    pub event: Box<RawValue>,
}

/// What became of a batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// The indexes of the events that had been appended before.
    pub duplicates: Vec<usize>,
    /// How many sequence numbers this batch leaves out after the last one that was known of its sender.
    pub missing: u64,
    /// How many events its sender dropped since its batch before.
    pub dropped: u64,
}

/// What is known of a sender.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sender {
    /// Its id.
    pub sender: String,
    /// The sequence number that its next event should have.
    pub next_sequence: u64,
    /// How many sequence numbers never came. Batches that overtake each other settle this when the late one arrives.
    pub missing: u64,
    /// How many events it says it dropped.
    pub dropped: u64,
    /// When its last batch arrived, in milliseconds since 1970.
    pub last_seen_ms: u64,
}

/// The store did not do what was asked; asking again may help.
#[derive(Debug)]
pub enum StoreError {
    /// It did not answer in time.
    TimedOut,
    /// Redis refused, or cannot be reached.
    Redis(::redis::RedisError),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("Redis does not answer in time"),
            Self::Redis(error) => write!(f, "Redis: {error}"),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<::redis::RedisError> for StoreError {
    fn from(error: ::redis::RedisError) -> Self {
        if error.is_timeout() { Self::TimedOut } else { Self::Redis(error) }
    }
}

/// A store of either kind. Clones are the same store.
#[derive(Clone, Debug)]
pub enum Store {
    /// In this process, gone with it.
    Memory(Arc<MemoryStore>),
    /// In Redis, shared by every collector that uses the same keys.
    Redis(Arc<RedisStore>),
}

impl Store {
    /// Appends the events of `batch` that are not there yet. After `Ok` all of them are stored.
    pub async fn append(&self, batch: &Batch<'_>, now: u64) -> Result<Appended, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.append(batch, now)),
            Self::Redis(store) => store.append(batch, now).await,
        }
    }

    /// The newest events that stand before `before`, newest first.
    pub async fn history(&self, before: Option<Position>, limit: usize) -> Result<Vec<Arc<Stored>>, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.history(before, limit)),
            Self::Redis(store) => store.history(before, limit).await,
        }
    }

    /// A reader of everything after `after`, oldest first, as it arrives.
    pub fn tail(&self, after: Position) -> Tail {
        match self {
            Self::Memory(store) => Tail::Memory(memory::MemoryTail::new(Arc::clone(store), after)),
            Self::Redis(store) => Tail::Redis(Box::new(redis::RedisTail::new(Arc::clone(store), after))),
        }
    }

    /// The senders that are remembered, in the order of their ids.
    pub async fn senders(&self) -> Result<Vec<Sender>, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.senders()),
            Self::Redis(store) => store.senders().await,
        }
    }

    /// Whether the store can be reached.
    pub async fn ping(&self) -> Result<(), StoreError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Redis(store) => store.ping().await,
        }
    }
}

/// A reader of what arrives.
#[derive(Debug)]
pub enum Tail {
    /// Of a [`MemoryStore`].
    Memory(memory::MemoryTail),
    /// Of a [`RedisStore`].
    Redis(Box<redis::RedisTail>),
}

impl Tail {
    /// The next events as soon as there are some; or none after a while, which says that the store still answers.
    /// After an error the next call goes on where this one stood.
    pub async fn next(&mut self) -> Result<Vec<Arc<Stored>>, StoreError> {
        match self {
            Self::Memory(tail) => Ok(tail.next().await),
            Self::Redis(tail) => tail.next().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Position;

    #[test]
    fn positions_grow_even_when_the_clock_steps_back() {
        let first = Position::START.next(1_000);
        let second = first.next(1_000);
        let third = second.next(400);
        let fourth = third.next(1_001);
        assert_eq!([first, second, third, fourth].map(|position| position.to_string()), ["1000-0", "1000-1", "1000-2", "1001-0"]);
    }
}
