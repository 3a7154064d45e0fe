//! Time as the engine sees it: an argument.

use core::time::Duration;

/// A point in time: microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The time `since_epoch` after the Unix epoch; saturates after half a million years.
    pub fn from_unix(since_epoch: Duration) -> Self {
        Self(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX))
    }

    /// The time `micros` microseconds after the Unix epoch.
    pub const fn from_unix_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Gives the microseconds since the Unix epoch.
    pub const fn as_unix_micros(self) -> u64 {
        self.0
    }

    /// Gives the first multiple of `length` since the Unix epoch that is later than this; this itself where `length` is 0.
    #[must_use]
    pub fn next_multiple_of(self, length: Duration) -> Self {
        let length = u64::try_from(length.as_micros()).unwrap_or(u64::MAX);
        let into = self.0.checked_rem(length).unwrap_or_default();
        Self(self.0.saturating_sub(into).saturating_add(length))
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_unix_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// Seconds since the Unix epoch.
    pub const fn as_unix_secs(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Time passed from `earlier` to this point; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The point `duration` after this one.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// The time at which something happens: known, or to be asked for by who needs it. A proxy's clock costs as much as the
/// reading of a short delta, and few deltas need the time.
#[derive(Clone, Copy, Debug)]
pub enum Now {
    /// At this time.
    At(Timestamp),
    /// When this clock is asked. The engine asks it once at most for each call that it is given to.
    Clock(fn() -> Timestamp),
}

impl Now {
    /// The time.
    pub fn timestamp(self) -> Timestamp {
        match self {
            Self::At(timestamp) => timestamp,
            Self::Clock(clock) => clock(),
        }
    }
}

impl From<Timestamp> for Now {
    fn from(timestamp: Timestamp) -> Self {
        Self::At(timestamp)
    }
}
