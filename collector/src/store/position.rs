//! Where an event stands, and how far a reader has come.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Names an entry of one shard: the millisecond of its arrival and a number within it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// The millisecond of the arrival, since 1970.
    pub milliseconds: u64,
    /// Counts within the millisecond.
    pub number: u64,
}

impl EntryId {
    /// Stands before everything.
    pub const START: Self = Self { milliseconds: 0, number: 0 };
    /// Stands behind everything.
    pub const END: Self = Self { milliseconds: u64::MAX, number: u64::MAX };

    /// Gives the id of an entry that arrives at `now`, after `self`. Ids grow even when the clock steps back.
    pub(super) fn next(self, now: u64) -> Self {
        if now > self.milliseconds {
            Self { milliseconds: now, number: 0 }
        } else {
            Self { milliseconds: self.milliseconds, number: self.number.saturating_add(1) }
        }
    }

    /// Gives the last id before `self`.
    pub(super) fn before(self) -> Self {
        match self.number.checked_sub(1) {
            Some(number) => Self { number, ..self },
            None => Self { milliseconds: self.milliseconds.saturating_sub(1), number: u64::MAX },
        }
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.milliseconds, self.number)
    }
}

impl FromStr for EntryId {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (milliseconds, number) = text.split_once('-').ok_or(InvalidPosition)?;
        Ok(Self { milliseconds: digits(milliseconds)?, number: digits(number)? })
    }
}

fn digits<T: FromStr>(text: &str) -> Result<T, InvalidPosition> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().map_err(|_| InvalidPosition) } else { Err(InvalidPosition) }
}

/// The place of an event in the store; events of all shards stand in one order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The entry that it came with.
    pub entry: EntryId,
    /// The shard of the entry.
    pub shard: u16,
    /// Its place in the entry.
    pub index: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.entry, self.shard, self.index)
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('-');
        let mut next = || parts.next().ok_or(InvalidPosition);
        let position = Self {
            entry: EntryId { milliseconds: digits(next()?)?, number: digits(next()?)? },
            shard: digits(next()?)?,
            index: digits(next()?)?,
        };
        if parts.next().is_some() { Err(InvalidPosition) } else { Ok(position) }
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Tells how far a reader has come in each shard.
///
/// The clocks of the masters of a cluster differ, so that one moment could not say it for all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor(pub(crate) Vec<EntryId>);

impl Cursor {
    /// Stands before everything in `shards` shards.
    pub fn start(shards: usize) -> Self {
        Self(vec![EntryId::START; shards])
    }

    /// The last entry that was read of a shard.
    pub fn of(&self, shard: u16) -> EntryId {
        self.0.get(usize::from(shard)).copied().unwrap_or_default()
    }

    /// Goes on to `id` in `shard`.
    pub fn advance(&mut self, shard: u16, id: EntryId) {
        if let Some(at) = self.0.get_mut(usize::from(shard)) {
            *at = id.max(*at);
        }
    }

    /// Whether everything that `other` has read has been read.
    pub fn covers(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(|(own, other)| own >= other)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shard, id) in self.0.iter().enumerate() {
            if shard > 0 {
                f.write_str("_")?;
            }
            write!(f, "{id}")?;
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split('_').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A text is neither a [`Position`] nor a [`Cursor`].
#[derive(Debug, PartialEq, Eq)]
pub struct InvalidPosition;

impl fmt::Display for InvalidPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a position; positions and cursors come from the answers of the collector")
    }
}

impl std::error::Error for InvalidPosition {}

#[cfg(test)]
mod tests {
    use super::{Cursor, EntryId, Position};

    #[test]
    fn ids_grow_even_when_the_clock_steps_back() {
        let first = EntryId::START.next(1_000);
        let second = first.next(1_000);
        let third = second.next(400);
        let fourth = third.next(1_001);
        assert_eq!([first, second, third, fourth].map(|id| id.to_string()), ["1000-0", "1000-1", "1000-2", "1001-0"]);
        assert_eq!([fourth.before(), second.before()].map(|id| id.to_string()), [format!("1000-{}", u64::MAX), "1000-0".into()]);
    }

    #[test]
    fn positions_are_read_as_they_are_written_and_ordered_by_numbers() {
        let position: Position = "1760000000000-12-3-4".parse().expect("a position");
        assert_eq!(position.to_string(), "1760000000000-12-3-4");
        assert!(position > "1760000000000-9-7-0".parse().expect("a position"), "numbers, not text, are compared");
        for text in ["", "1", "-", "1-2", "1-2-3", "1-2-3-4-5", "a-1-0-0", "1-18446744073709551616-0-0", "+1-0-0-0"] {
            assert!(text.parse::<Position>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_cursor_knows_what_it_has_passed_in_every_shard() {
        let mut cursor: Cursor = "5-0_0-0".parse().expect("a cursor");
        cursor.advance(1, "7-1".parse().expect("an id"));
        cursor.advance(0, "4-0".parse().expect("an id"));
        assert_eq!(cursor.to_string(), "5-0_7-1");
        assert!(cursor.covers(&Cursor::start(2)) && !Cursor::start(2).covers(&cursor));
        assert!("5-0_".parse::<Cursor>().is_err());
    }
}
