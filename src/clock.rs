//! The only file that reads clocks.
//!
//! Deadlines are monotonic ([`Clock::now`]); wall time ([`Clock::wall`]) is for logs, tokens and
//! certificates. The pure layers never call this: they are given `now`.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default)]
pub struct Clock;

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
    pub fn now(&self) -> Instant {
        Instant::now()
    }

    /// Time since the Unix epoch; zero if the system clock stands before it.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn wall(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    /// Both times at once.
    pub fn moment(&self) -> Moment {
        Moment { now: self.now(), wall: self.wall() }
    }
}

/// One moment in both times, to turn one into the other. A pair is good for as long as nobody sets
/// the system clock: take a fresh one for everything that is written down.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub now: Instant,
    /// Since the epoch.
    pub wall: Duration,
}

/// Wall time since the epoch as it is written down: in nanoseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Wall(u64);

impl Moment {
    pub fn wall_of(&self, at: Instant) -> Wall {
        let wall = match at.checked_duration_since(self.now) {
            Some(ahead) => self.wall.saturating_add(ahead),
            None => self.wall.saturating_sub(self.now.saturating_duration_since(at)),
        };
        Wall::from(wall)
    }

    /// What lies beyond the range of the monotonic clock becomes now.
    pub fn instant_of(&self, wall: Wall) -> Instant {
        let wall = Duration::from(wall);
        match wall.checked_sub(self.wall) {
            Some(ahead) => self.now.checked_add(ahead),
            None => self.now.checked_sub(self.wall.saturating_sub(wall)),
        }
        .unwrap_or(self.now)
    }
}

impl From<Duration> for Wall {
    fn from(since: Duration) -> Self {
        Self(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Wall> for Duration {
    fn from(wall: Wall) -> Self {
        Self::from_nanos(wall.0)
    }
}
