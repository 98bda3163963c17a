//! The clock of the core's own tests.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{ClockMoment, MonotonicTime};

pub(crate) struct Clock;

#[expect(clippy::disallowed_methods, reason = "a base instant for given times")]
impl Clock {
    pub(crate) fn now(&self) -> MonotonicTime {
        self.instant().into()
    }

    pub(crate) fn instant(&self) -> Instant {
        Instant::now()
    }

    pub(crate) fn moment(&self) -> ClockMoment {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        ClockMoment { now: self.instant(), wall }
    }
}
