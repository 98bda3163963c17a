//! The time by an authority's clock, learned from the `Date` of its replies.
//!
//! Tokens are judged in the time of the services that sign and check them. The monotonic clock, which counts sleep
//! too, carries the last date on, so a wrong device clock or its correction changes nothing. Reads no clock; the
//! client teaches it, the gateway asks it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::BoottimeInstant;

/// From 2020 to 2100, in seconds since the epoch: another date is a mistake.
const PLAUSIBLE_DATES: std::ops::Range<Duration> =
    Duration::from_secs(1_577_836_800)..Duration::from_secs(4_102_444_800);
/// Time for which a date is carried on. A wrong one must not prevent all later calls, which could correct it.
const MAX_DATE_AGE: Duration = Duration::from_secs(600);
/// A device clock that is further off is warned of.
const MAX_UNWARNED_OFFSET: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct AuthorityClock {
    heard: Mutex<Option<HeardDate>>,
    told: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
struct HeardDate {
    at: BoottimeInstant,
    date: Duration,
}

/// The offset of the device's clock, by a date of the authority.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ClockOffset {
    /// Seconds that the authority is ahead of the device.
    pub(super) offset: f64,
    /// True if the offset is too large, for the first time.
    pub(super) warn: bool,
}

impl AuthorityClock {
    /// Learns a date and returns the offset. The newest date counts; an implausible one is ignored. `date` and `wall`
    /// are since the epoch.
    pub(super) fn learn(&self, now: BoottimeInstant, wall: Duration, date: Duration) -> Option<ClockOffset> {
        if !PLAUSIBLE_DATES.contains(&date) {
            return None;
        }
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(HeardDate { at: now, date });
        let beyond = date.abs_diff(wall) > MAX_UNWARNED_OFFSET;
        let warn = beyond && !self.told.swap(true, Ordering::Relaxed);
        Some(ClockOffset { offset: date.as_secs_f64() - wall.as_secs_f64(), warn })
    }

    /// The authority's time since the epoch; `None` if no date was heard lately.
    pub(super) fn read(&self, now: BoottimeInstant) -> Option<Duration> {
        let heard = (*self.heard.lock().unwrap_or_else(PoisonError::into_inner))?;
        let since = now.since(heard.at);
        (since <= MAX_DATE_AGE).then(|| heard.date + since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    const WALL: Duration = Duration::from_secs(1_800_000_000);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_clock_that_heard_no_date_knows_no_time() {
        assert_eq!(AuthorityClock::default().read(Clock.unslept()), None);
    }

    #[test]
    fn the_newest_date_is_carried_on_for_a_while() {
        let (far, now) = (AuthorityClock::default(), Clock.unslept());
        far.learn(now, WALL, WALL + seconds(86_400)).unwrap();
        far.learn(now + seconds(5), WALL, WALL - seconds(86_400)).unwrap();
        assert_eq!(far.read(now + seconds(5)), Some(WALL - seconds(86_400)));
        assert_eq!(far.read(now + seconds(65)), Some(WALL - seconds(86_340)));
        assert_eq!(far.read(now + seconds(605)), Some(WALL - seconds(85_800)));
        assert_eq!(far.read(now + seconds(606)), None);
    }

    #[test]
    fn the_device_clock_does_not_matter_once_a_date_is_heard() {
        let (far, now) = (AuthorityClock::default(), Clock.unslept());
        for wall in [Duration::ZERO, WALL, WALL * 3] {
            far.learn(now, wall, WALL).unwrap();
            assert_eq!(far.read(now), Some(WALL));
        }
    }

    #[test]
    fn a_device_clock_that_steps_between_two_replies_changes_nothing() {
        let (far, now, day) = (AuthorityClock::default(), Clock.unslept(), seconds(86_400));
        far.learn(now, WALL, WALL).unwrap();
        for (after, wall) in [(5, WALL + day), (10, WALL - day), (15, WALL)] {
            let before = far.read(now + seconds(after)).unwrap();
            let date = WALL + seconds(after);
            let lesson = far.learn(now + seconds(after), wall + seconds(after), date).unwrap();
            assert_eq!((before, far.read(now + seconds(after))), (date, Some(date)), "no step in the authority's time");
            assert_eq!(lesson.offset, WALL.as_secs_f64() - wall.as_secs_f64());
        }
    }

    #[test]
    fn implausible_dates_are_ignored() {
        let (far, now) = (AuthorityClock::default(), Clock.unslept());
        far.learn(now, WALL, WALL).unwrap();
        for date in [Duration::ZERO, seconds(1_577_836_799), seconds(4_102_444_800), Duration::MAX] {
            assert_eq!(far.learn(now, WALL, date), None, "{date:?}");
        }
        assert_eq!(far.read(now), Some(WALL));
    }

    #[test]
    fn a_clock_that_is_off_is_warned_about_once() {
        let (far, now) = (AuthorityClock::default(), Clock.unslept());
        let offs = [0, 30, 31, 31, 0, 90].map(|off| far.learn(now, WALL, WALL - seconds(off)).unwrap());
        assert_eq!(offs.map(|lesson| lesson.warn), [false, false, true, false, false, false]);
        assert_eq!(offs.map(|lesson| lesson.offset), [0.0, -30.0, -31.0, -31.0, 0.0, -90.0]);
    }
}
