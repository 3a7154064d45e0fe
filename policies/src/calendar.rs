//! Hours, days and months of UTC.

use core::time::Duration;

use serde::{Deserialize, Serialize};
use weir::time::Timestamp;

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

/// A span of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum Span {
    Hour,
    Day,
    Month,
}

impl Span {
    /// Gives its word in policy documents.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// Gives a length of windows whose next boundary is the end of the span in which `now` is, and which has no boundary
    /// within the span.
    pub(crate) fn window(self, now: Timestamp) -> Duration {
        match self {
            Self::Hour => Duration::from_secs(HOUR),
            Self::Day => Duration::from_secs(DAY),
            // Months have no length: all the time until the end of this one is the first window, and ends there.
            Self::Month => Duration::from_secs(end_of_month(now.as_unix_secs())),
        }
    }
}

/// The second at which the month ends that `seconds` is in.
fn end_of_month(seconds: u64) -> u64 {
    let mut days_left = seconds / DAY;
    let mut end = 0_u64;
    let mut year = 1970_u64;
    loop {
        for month in 0..12 {
            let days = days_of(year, month);
            end = end.saturating_add(days);
            if days_left < days {
                return end.saturating_mul(DAY);
            }
            days_left = days_left.saturating_sub(days);
        }
        year = year.saturating_add(1);
        if year > 9_999 {
            return u64::MAX;
        }
    }
}

/// The days of a month, counted from 0.
const fn days_of(year: u64, month: u32) -> u64 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        1 if is_leap => 29,
        1 => 28,
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_ends_where_the_next_begins() {
        // 2026-11-28T20:00:00Z, and 2026-12-01T00:00:00Z.
        assert_eq!(end_of_month(1_795_896_000), 1_796_083_200);
        assert_eq!(end_of_month(1_796_083_199), 1_796_083_200);
        // The day after is of the next: 2027-01-01T00:00:00Z.
        assert_eq!(end_of_month(1_796_083_200), 1_798_761_600);
        assert_eq!(end_of_month(951_782_400), 951_868_800, "29 February 2000");
        assert_eq!(end_of_month(0), 31 * DAY);
        assert_eq!(end_of_month(u64::MAX), u64::MAX);
    }

    #[test]
    fn a_window_ends_with_its_span() {
        let now = Timestamp::from_unix(Duration::from_secs(1_795_896_001));
        for (span, end) in [(Span::Hour, 1_795_899_600), (Span::Day, 1_795_910_400), (Span::Month, 1_796_083_200)] {
            assert_eq!(now.next_multiple_of(span.window(now)).as_unix_secs(), end, "{span:?}");
        }
    }
}
