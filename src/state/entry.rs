//! One entry of a store, and what the operations make of it.

use core::time::Duration;

use super::{Counter, Operation, StateError, Stored};
use crate::time::Timestamp;

/// What stands under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Counter { value: u64, expires: Timestamp },
    Value { bytes: Vec<u8>, expires: Timestamp },
}

impl Entry {
    /// When it is as if it were not there.
    pub(super) const fn expires(&self) -> Timestamp {
        match self {
            Self::Counter { expires, .. } | Self::Value { expires, .. } => *expires,
        }
    }

    /// The bytes that it takes besides its key.
    pub(super) const fn bytes(&self) -> usize {
        match self {
            Self::Counter { .. } => size_of::<u64>(),
            Self::Value { bytes, .. } => bytes.len(),
        }
    }
}

/// What becomes of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It stays as it is.
    Keep,
    /// It is this from now on.
    Set(Entry),
    /// It is no more.
    Remove,
}

/// Carries out an operation on what stands under its key, `None` where nothing (any more) does.
pub(super) fn apply(entry: Option<&Entry>, operation: &Operation, now: Timestamp) -> Result<(Change, Stored), StateError> {
    if let Operation::Add { by, limit, window } = operation {
        return add(entry, *by, *limit, *window, now);
    }
    let known = match entry {
        None => None,
        Some(Entry::Value { bytes, .. }) => Some(bytes),
        Some(Entry::Counter { .. }) => return Err(StateError::OtherKind),
    };
    let change = match operation {
        Operation::Put { only_if_absent: true, .. } if known.is_some() => Change::Keep,
        Operation::Put { value, time_to_live, .. } => {
            Change::Set(Entry::Value { bytes: value.clone(), expires: now.after(*time_to_live) })
        }
        Operation::Remove if known.is_some() => Change::Remove,
        Operation::Remove | Operation::Get | Operation::Add { .. } => Change::Keep,
    };
    Ok((change, Stored::Value(known.cloned())))
}

fn add(
    entry: Option<&Entry>,
    by: i64,
    limit: Option<u64>,
    window: Duration,
    now: Timestamp,
) -> Result<(Change, Stored), StateError> {
    let resets_at = now.next_multiple_of(window);
    let value = match entry {
        // A counter of windows of another length ends elsewhere: it begins anew.
        Some(Entry::Counter { value, expires }) if *expires == resets_at => *value,
        None | Some(Entry::Counter { .. }) => 0,
        Some(Entry::Value { .. }) => return Err(StateError::OtherKind),
    };
    let sum = value.saturating_add_signed(by);
    if by > 0 && limit.is_some_and(|limit| sum > limit) {
        return Ok((Change::Keep, Stored::Counter(Counter { value, is_added: false, resets_at })));
    }
    let change = if by == 0 { Change::Keep } else { Change::Set(Entry::Counter { value: sum, expires: resets_at }) };
    Ok((change, Stored::Counter(Counter { value: sum, is_added: true, resets_at })))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix(Duration::from_secs(seconds))
    }

    fn counted(entry: Option<&Entry>, by: i64, limit: Option<u64>, now: Timestamp) -> (Change, Counter) {
        match apply(entry, &Operation::Add { by, limit, window: MINUTE }, now).unwrap() {
            (change, Stored::Counter(counter)) => (change, counter),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_counter_counts_within_its_window_and_begins_anew_in_the_next() {
        let (change, counter) = counted(None, 3, None, at(61));
        assert_eq!(counter, Counter { value: 3, is_added: true, resets_at: at(120) });
        let Change::Set(entry) = change else { panic!("{change:?}") };
        assert_eq!(counted(Some(&entry), 2, None, at(119)).1.value, 5);
        assert_eq!(counted(Some(&entry), 2, None, at(120)).1, Counter { value: 2, is_added: true, resets_at: at(180) });
    }

    #[test]
    fn a_limit_is_never_passed_and_what_was_taken_can_be_given_back() {
        let entry = Entry::Counter { value: 9, expires: at(60) };
        assert!(counted(Some(&entry), 1, Some(10), at(0)).1.is_added);
        let (change, counter) = counted(Some(&entry), 2, Some(10), at(0));
        assert_eq!((change, counter.value, counter.is_added), (Change::Keep, 9, false));
        assert_eq!(counted(Some(&entry), -4, Some(1), at(0)).1.value, 5, "to give back is always allowed");
        assert_eq!(counted(Some(&entry), -40, None, at(0)).1.value, 0);
        assert_eq!(counted(Some(&entry), i64::MAX, None, at(0)).1.value, 9 + i64::MAX.unsigned_abs());
    }

    #[test]
    fn values_and_counters_are_not_taken_for_each_other() {
        let counter = Entry::Counter { value: 1, expires: at(60) };
        assert_eq!(apply(Some(&counter), &Operation::Get, at(0)), Err(StateError::OtherKind));
        let value = Entry::Value { bytes: b"x".to_vec(), expires: at(60) };
        let add = Operation::Add { by: 1, limit: None, window: MINUTE };
        assert_eq!(apply(Some(&value), &add, at(0)), Err(StateError::OtherKind));
    }

    #[test]
    fn a_window_of_no_length_does_no_harm() {
        let add = Operation::Add { by: 1, limit: None, window: Duration::ZERO };
        let (_, stored) = apply(None, &add, at(5)).unwrap();
        assert_eq!(stored, Stored::Counter(Counter { value: 1, is_added: true, resets_at: at(5) }));
    }
}
