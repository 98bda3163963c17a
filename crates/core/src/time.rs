//! Times as plain values: a moment on both clocks, times in records, pauses between tries. Reads no clock.

mod backoff;
mod jitter;
mod monotonic;
mod span;
#[cfg(test)]
pub(crate) mod testing;

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub use self::backoff::Backoff;
pub use self::jitter::{half_to_whole, jitter};
pub use self::monotonic::MonotonicTime;
pub use self::span::RecordedSpan;

/// The same moment on both clocks, to convert between them. It is valid until the system clock is set, so take a
/// fresh one for every record.
#[derive(Clone, Copy, Debug)]
pub struct ClockMoment {
    pub now: Instant,
    /// Wall time since the epoch.
    pub wall: Duration,
}

/// Wall time since the epoch in records, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct EpochTime(u64);

impl ClockMoment {
    pub fn wall_of(&self, at: impl Into<Instant>) -> EpochTime {
        let at = at.into();
        let wall = match at.checked_duration_since(self.now) {
            Some(ahead) => self.wall.saturating_add(ahead),
            None => self.wall.saturating_sub(self.now.saturating_duration_since(at)),
        };
        EpochTime::from(wall)
    }

    /// Converts a wall time; becomes now if it is beyond the range of the monotonic clock.
    pub fn instant_of(&self, wall: EpochTime) -> Instant {
        let wall = Duration::from(wall);
        match wall.checked_sub(self.wall) {
            Some(ahead) => self.now.checked_add(ahead),
            None => self.now.checked_sub(self.wall.saturating_sub(wall)),
        }
        .unwrap_or(self.now)
    }

    /// [`Self::now`] as the core keeps it.
    pub fn time(&self) -> MonotonicTime {
        self.now.into()
    }

    /// Like [`Self::instant_of`].
    pub fn time_of(&self, wall: EpochTime) -> MonotonicTime {
        self.instant_of(wall).into()
    }
}

impl From<Duration> for EpochTime {
    fn from(since: Duration) -> Self {
        Self(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<EpochTime> for Duration {
    fn from(wall: EpochTime) -> Self {
        Self::from_nanos(wall.0)
    }
}
