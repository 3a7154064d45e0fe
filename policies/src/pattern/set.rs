//! Sets of characters.

use crate::normal::{self, fold};

const LAST: u32 = char::MAX as u32;

/// Most characters of a set that are looked at one by one.
const MOST_MAPPED: u32 = 4096;

/// A set of characters, as ranges in order that do not touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CharSet(Vec<(u32, u32)>);

impl CharSet {
    pub(super) fn single(character: char) -> Self {
        Self::range(character, character)
    }

    pub(super) fn range(first: char, last: char) -> Self {
        Self(vec![(u32::from(first), u32::from(last))])
    }

    /// Every character but the end of a line.
    pub(super) fn any() -> Self {
        Self::single('\n').negated()
    }

    pub(super) fn digits() -> Self {
        Self::range('0', '9')
    }

    pub(super) fn word() -> Self {
        let mut set = Self::digits();
        for (first, last) in [('A', 'Z'), ('a', 'z'), ('_', '_')] {
            set.add(&Self::range(first, last));
        }
        set
    }

    pub(super) fn space() -> Self {
        let mut set = Self::range('\t', '\r');
        set.add(&Self::single(' '));
        set
    }

    pub(super) fn add(&mut self, other: &Self) {
        for range in &other.0 {
            self.0.insert(self.0.partition_point(|known| known < range), *range);
        }
        let mut joined: Vec<(u32, u32)> = Vec::with_capacity(self.0.len());
        for (first, last) in self.0.drain(..) {
            match joined.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => joined.push((first, last)),
            }
        }
        self.0 = joined;
    }

    #[must_use]
    pub(super) fn negated(&self) -> Self {
        let (mut next, mut ranges) = (0_u32, Vec::with_capacity(self.0.len().saturating_add(1)));
        for (first, last) in &self.0 {
            if *first > next {
                ranges.push((next, first.saturating_sub(1)));
            }
            next = last.saturating_add(1);
        }
        if next <= LAST {
            ranges.push((next, LAST));
        }
        Self(ranges)
    }

    /// With the other case of each letter.
    #[must_use]
    pub(super) fn without_case(&self) -> Self {
        let mut set = self.clone();
        for letter in ('a'..='z').chain('A'..='Z') {
            if self.contains(letter) {
                set.add(&Self::single(letter.to_ascii_lowercase()));
                set.add(&Self::single(letter.to_ascii_uppercase()));
            }
        }
        for character in self.others() {
            set.add(&Self::single(fold(character)));
            character.to_uppercase().chain(character.to_lowercase()).for_each(|other| set.add(&Self::single(other)));
        }
        set
    }

    /// With what its characters become in the normalised view, where that is one character.
    #[must_use]
    pub(super) fn normalised(&self) -> Self {
        let mut set = self.clone();
        for character in self.others() {
            let mapped = normal::map(character);
            if let (Some(only), None) = (mapped.first(), mapped.get(1)) {
                set.add(&Self::single(*only));
            }
        }
        set
    }

    /// Its characters beyond ASCII, where they are few.
    fn others(&self) -> impl Iterator<Item = char> {
        let few = self.0.iter().filter(|(first, last)| *last > 0x7f && last.saturating_sub(*first) < MOST_MAPPED);
        few.flat_map(|(first, last)| (*first.max(&0x80)..=*last).filter_map(char::from_u32))
    }

    pub(crate) fn contains(&self, character: char) -> bool {
        let code = u32::from(character);
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&code))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where it begins, and where it is over.
    pub(super) fn edges(&self) -> impl Iterator<Item = u32> {
        self.0.iter().flat_map(|(first, last)| [*first, last.saturating_add(1)])
    }

    pub(super) fn has_code(&self, code: u32) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&code))
    }
}
