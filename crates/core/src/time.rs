//! Times as plain values: a moment on both clocks, and how times are written down. Reads no clock.

mod span;
#[cfg(test)]
pub(crate) mod testing;

use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize};

pub use self::span::RecordedSpan;

/// One moment in both times, to turn one into the other. A pair is good for as long as nobody sets
/// the system clock: take a fresh one for everything that is written down.
#[derive(Clone, Copy, Debug)]
pub struct ClockMoment {
    pub now: Instant,
    /// Since the epoch.
    pub wall: Duration,
}

/// Wall time since the epoch as it is written down: in nanoseconds. Read as a [`RecordedSpan`] is.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct EpochTime(u64);

impl ClockMoment {
    pub fn wall_of(&self, at: Instant) -> EpochTime {
        let wall = match at.checked_duration_since(self.now) {
            Some(ahead) => self.wall.saturating_add(ahead),
            None => self.wall.saturating_sub(self.now.saturating_duration_since(at)),
        };
        EpochTime::from(wall)
    }

    /// What lies beyond the range of the monotonic clock becomes now.
    pub fn instant_of(&self, wall: EpochTime) -> Instant {
        let wall = Duration::from(wall);
        match wall.checked_sub(self.wall) {
            Some(ahead) => self.now.checked_add(ahead),
            None => self.now.checked_sub(self.wall.saturating_sub(wall)),
        }
        .unwrap_or(self.now)
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

impl<'de> Deserialize<'de> for EpochTime {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        RecordedSpan::deserialize(from).map(|RecordedSpan(nanos)| Self(nanos))
    }
}
