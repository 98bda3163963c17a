//! A point in monotonic time, in 8 bytes: half of an [`Instant`], and `None` takes no more. Reads no clock.

use std::num::NonZeroU64;
use std::ops::{Add, AddAssign, Sub};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Nanoseconds, from 146 years before the first instant that this process converted to 438 years after it. A sum beyond
/// that becomes the last one.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MonotonicTime(NonZeroU64);

/// The first converted instant, halfway, so that times before it have room.
const FIRST_CONVERTED_NANOSECONDS: u64 = 1 << 62;

/// `given` becomes the first one, if none was converted before.
fn first_converted(given: impl FnOnce() -> Instant) -> Instant {
    static FIRST_INSTANT: OnceLock<Instant> = OnceLock::new();
    *FIRST_INSTANT.get_or_init(given)
}

impl MonotonicTime {
    pub fn checked_add(self, later: Duration) -> Option<Self> {
        self.0.checked_add(nanoseconds(later)?).map(Self)
    }

    pub fn checked_sub(self, earlier: Duration) -> Option<Self> {
        self.0.get().checked_sub(nanoseconds(earlier)?).and_then(NonZeroU64::new).map(Self)
    }

    pub fn checked_duration_since(self, earlier: Self) -> Option<Duration> {
        self.0.get().checked_sub(earlier.0.get()).map(Duration::from_nanos)
    }

    /// Zero if `earlier` is later.
    pub fn saturating_duration_since(self, earlier: Self) -> Duration {
        self.checked_duration_since(earlier).unwrap_or_default()
    }
}

fn nanoseconds(time: Duration) -> Option<u64> {
    u64::try_from(time.as_nanos()).ok()
}

impl From<Instant> for MonotonicTime {
    fn from(instant: Instant) -> Self {
        let first = first_converted(|| instant);
        let since = |later: Instant, earlier| nanoseconds(later.saturating_duration_since(earlier)).unwrap_or(u64::MAX);
        let after = FIRST_CONVERTED_NANOSECONDS.saturating_add(since(instant, first));
        Self(NonZeroU64::new(after.saturating_sub(since(first, instant))).unwrap_or(NonZeroU64::MIN))
    }
}

impl From<MonotonicTime> for Instant {
    #[expect(clippy::disallowed_methods, reason = "a time was converted before, so the clock is not read")]
    fn from(time: MonotonicTime) -> Self {
        let nanoseconds = time.0.get();
        let distance = Duration::from_nanos(nanoseconds.abs_diff(FIRST_CONVERTED_NANOSECONDS));
        // Every time begins as an instant, or as a sum with one.
        let first = first_converted(Self::now);
        let instant = if nanoseconds < FIRST_CONVERTED_NANOSECONDS {
            first.checked_sub(distance)
        } else {
            first.checked_add(distance)
        };
        instant.unwrap_or(first)
    }
}

impl Add<Duration> for MonotonicTime {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(nanoseconds(later).unwrap_or(u64::MAX)))
    }
}

impl AddAssign<Duration> for MonotonicTime {
    fn add_assign(&mut self, later: Duration) {
        *self = *self + later;
    }
}

impl Sub<Duration> for MonotonicTime {
    type Output = Self;

    fn sub(self, earlier: Duration) -> Self {
        self.checked_sub(earlier).unwrap_or(Self(NonZeroU64::MIN))
    }
}

impl Sub for MonotonicTime {
    type Output = Duration;

    /// Zero if `earlier` is later.
    fn sub(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::testing::Clock;

    const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);

    #[test]
    fn a_point_in_time_takes_eight_bytes_and_none_does_so_too() {
        assert_eq!((size_of::<MonotonicTime>(), size_of::<Option<MonotonicTime>>()), (8, 8));
    }

    #[test]
    fn an_instant_survives_its_conversion_and_sums_agree() {
        let now = Clock.instant();
        let time = MonotonicTime::from(now);
        for by in [Duration::ZERO, Duration::from_nanos(1), Duration::new(3, 999_999_999), YEAR * 100] {
            assert_eq!((Instant::from(time + by), MonotonicTime::from(now + by)), (now + by, time + by), "{by:?}");
            assert_eq!((time + by - time, time - (time + by)), (by, Duration::ZERO), "{by:?}");
            assert_eq!((time + by).checked_sub(by), Some(time), "{by:?}");
            if let Some(before) = now.checked_sub(by) {
                assert_eq!((Instant::from(time - by), MonotonicTime::from(before)), (before, time - by), "{by:?}");
            }
        }
    }

    #[test]
    fn a_sum_beyond_the_range_is_its_end() {
        let time = MonotonicTime::from(Clock.instant());
        assert_eq!((time.checked_add(Duration::MAX), time.checked_sub(YEAR * 200)), (None, None));
        assert_eq!((time + Duration::MAX, time - Duration::MAX), (time + YEAR * 500, time - YEAR * 500));
        assert!(time.checked_duration_since(time + YEAR).is_none());
    }
}
