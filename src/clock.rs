//! The only file that reads clocks.
//!
//! Deadlines are monotonic ([`Clock::now`]); wall time ([`Clock::wall`]) is for logs, tokens and
//! certificates. The pure layers never call this: they are given `now`.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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
}
