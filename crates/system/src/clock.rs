//! The only file that reads clocks.
//!
//! Deadlines are monotonic ([`Clock::now`], tokio's time, which a paused runtime can control); wall time
//! ([`Clock::wall`]) is for logs, tokens and certificates. Monotonic time stands still while the machine sleeps;
//! [`Clock::suspended`] tells for how long. The pure layers get `now` as an argument. A [`Clock::steered`] clock is
//! for tests and simulations.

mod resumption;

use std::ops::Add;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use self::resumption::ResumptionWatch;
pub use sidebeat_core::time::{ClockMoment, EpochTime, MonotonicTime, RecordedSpan};

#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    steered: Option<&'static MockTime>,
}

/// The machine's clock. It has the name of its type, because it has no state.
#[expect(non_upper_case_globals, reason = "stands where a unit struct's value would")]
pub const Clock: Clock = Clock { steered: None };

/// A test's wall clock and suspension, on top of the runtime's time.
#[derive(Debug)]
struct MockTime {
    began: Instant,
    /// Time of suspension in milliseconds.
    suspended: AtomicU64,
    /// Wall time since the epoch, at its beginning.
    wall: Duration,
    /// Milliseconds by which the wall clock was set.
    stepped: AtomicI64,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
    pub fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    /// Time since the Unix epoch; zero if the system clock stands before it.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn wall(&self) -> Duration {
        match self.steered {
            None => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            Some(steered) => steered.wall(self.now()),
        }
    }

    /// Time that the machine has slept since its start, as far as the system tells. It only grows, except for
    /// microseconds between two readings.
    pub fn suspended(&self) -> Duration {
        match self.steered {
            None => slept(),
            Some(steered) => Duration::from_millis(steered.suspended.load(Ordering::Relaxed)),
        }
    }

    /// Like [`Self::now`], but goes on while the machine sleeps: for times of other systems.
    pub fn unslept(&self) -> BoottimeInstant {
        BoottimeInstant(self.now() + self.suspended())
    }

    /// Both times at once.
    pub fn moment(&self) -> ClockMoment {
        ClockMoment { now: self.now(), wall: self.wall() }
    }

    /// A clock whose wall time starts at `wall` and follows the runtime's time, which may be paused. It stays in
    /// memory forever.
    pub fn steered(wall: Duration) -> Self {
        let (suspended, stepped) = (AtomicU64::new(0), AtomicI64::new(0));
        Self { steered: Some(Box::leak(Box::new(MockTime { began: Clock.now(), suspended, wall, stepped }))) }
    }

    pub(crate) fn is_steered(&self) -> bool {
        self.steered.is_some()
    }

    /// Lets the machine sleep: wall time goes on, monotonic time does not. Only for a steered clock.
    pub fn suspend(&self, slept: Duration) {
        if let Some(steered) = self.steered {
            steered.suspended.fetch_add(slept.as_millis() as u64, Ordering::Relaxed);
        }
    }

    /// Sets the wall clock. Only for a steered clock.
    pub fn step_wall(&self, by_ms: i64) {
        if let Some(steered) = self.steered {
            steered.stepped.fetch_add(by_ms, Ordering::Relaxed);
        }
    }
}

impl MockTime {
    fn wall(&self, now: Instant) -> Duration {
        let slept = Duration::from_millis(self.suspended.load(Ordering::Relaxed));
        let runs = self.wall + now.saturating_duration_since(self.began) + slept;
        let stepped = self.stepped.load(Ordering::Relaxed);
        let by = Duration::from_millis(stepped.unsigned_abs());
        if stepped < 0 { runs.saturating_sub(by) } else { runs + by }
    }
}

/// `CLOCK_BOOTTIME` goes on in suspension, `CLOCK_MONOTONIC` does not (clock_gettime(2)).
#[cfg(target_os = "linux")]
fn slept() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    let read = |clock| {
        let time = clock_gettime(clock);
        Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
    };
    // In this order, the time between the two readings is never counted as sleep.
    let boot = read(ClockId::Boottime);
    boot.saturating_sub(read(ClockId::Monotonic))
}

/// Other systems do not tell, or their monotonic time goes on.
#[cfg(not(target_os = "linux"))]
fn slept() -> Duration {
    Duration::ZERO
}

/// A moment on the clock that goes on while the machine sleeps. It is a separate type, because compared with a
/// deadline it would be off by all the sleep since the machine's start.
#[derive(Clone, Copy, Debug)]
pub struct BoottimeInstant(Instant);

impl BoottimeInstant {
    /// Time since `earlier`; zero if that is in the future.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_duration_since(earlier.0)
    }
}

impl Add<Duration> for BoottimeInstant {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0 + later)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: Duration = Duration::from_secs(1_800_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn time_follows_a_paused_runtime() {
        let (now, clock) = (Clock.now(), Clock::steered(WALL));
        tokio::time::advance(HOUR).await;
        assert_eq!(Clock.now() - now, HOUR);
        assert_eq!(clock.wall(), WALL + HOUR);
    }

    #[tokio::test(start_paused = true)]
    async fn wall_and_suspension_are_steered_apart_from_deadlines() {
        let (now, clock) = (Clock.now(), Clock::steered(WALL));
        let awake = clock.unslept();
        clock.suspend(HOUR);
        assert_eq!((clock.now(), clock.wall(), clock.suspended()), (now, WALL + HOUR, HOUR));
        assert_eq!(clock.unslept().since(awake), HOUR);
        clock.step_wall(-7_200_000);
        assert_eq!((clock.now(), clock.wall(), clock.suspended()), (now, WALL - HOUR, HOUR));
    }

    #[test]
    fn the_machine_says_how_long_it_slept() {
        let before = Clock.suspended();
        assert!(Clock.suspended().abs_diff(before) < Duration::from_secs(1), "nothing slept in between");
    }
}
