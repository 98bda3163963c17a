//! Tracks the moments of a live playback's programme: it begins and ends, and a 360-degree view opens and closes.
//!
//! The schedule is pure: it is made from the times of the authorization, and the step function asks it for the next
//! moment. Each moment comes once. Of those before the playback's start only the latest is reported, and a beginning
//! not at all.

use std::time::Duration;

use arrayvec::ArrayVec;
use serde::{Deserialize, Serialize};

use super::rare::RareFacts;
use crate::time::MonotonicTime;

/// Names and meaning as FirstLight documents them (stream timeline events).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum StreamTimelineEvent {
    Live360Available,
    Live360Unavailable,
    LiveEventEnd,
    LiveEventStart,
    OverflowEventEnd,
}

impl StreamTimelineEvent {
    /// Name in logs, metrics and apps.
    pub fn name(self) -> &'static str {
        match self {
            Self::Live360Available => "LIVE_360_AVAILABLE",
            Self::Live360Unavailable => "LIVE_360_UNAVAILABLE",
            Self::LiveEventEnd => "LIVE_EVENT_END",
            Self::LiveEventStart => "LIVE_EVENT_START",
            Self::OverflowEventEnd => "OVERFLOW_EVENT_END",
        }
    }

    /// True if the programme is over with it.
    pub fn ends_programme(self) -> bool {
        match self {
            Self::LiveEventEnd | Self::OverflowEventEnd => true,
            Self::Live360Available | Self::Live360Unavailable | Self::LiveEventStart => false,
        }
    }
}

/// The times of an authorization, since the epoch.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ProgramTimes {
    pub end: Option<Duration>,
    /// The event may run over: it ends with its post slate.
    pub overflow: bool,
    pub post_slate: Duration,
    pub start: Option<Duration>,
    pub view_end: Option<Duration>,
    pub view_start: Option<Duration>,
}

/// The moments of a programme; most sessions have none.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Schedule(RareFacts<ProgramMoments>);

#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct ProgramMoments {
    /// The latest first.
    left: ArrayVec<(MonotonicTime, StreamTimelineEvent), 4>,
    /// A moment before the playback's start: it is only reported.
    missed: Option<StreamTimelineEvent>,
}

impl Schedule {
    /// `now` and `wall` (since the epoch) are the same moment.
    pub fn new(now: MonotonicTime, wall: Duration, times: &ProgramTimes) -> Self {
        let ProgramTimes { end, overflow, post_slate, start, view_end, view_start } = *times;
        let (ending, after) = if overflow {
            (StreamTimelineEvent::OverflowEventEnd, post_slate)
        } else {
            (StreamTimelineEvent::LiveEventEnd, Duration::ZERO)
        };
        let named = [
            (start, StreamTimelineEvent::LiveEventStart),
            (end.map(|end| end.saturating_add(after)), ending),
            (view_start, StreamTimelineEvent::Live360Available),
            (view_end, StreamTimelineEvent::Live360Unavailable),
        ];
        let named = named.into_iter().filter_map(|(at, moment)| Some((at?, moment)));
        let (passed, mut left): (Vec<_>, Vec<_>) = named.partition(|(at, _)| *at <= wall);
        left.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        let missed = passed
            .into_iter()
            .filter(|(_, moment)| *moment != StreamTimelineEvent::LiveEventStart)
            .max_by_key(|(at, _)| *at);
        Self(RareFacts::new(ProgramMoments {
            left: left.into_iter().filter_map(|(at, moment)| Some((now.checked_add(at - wall)?, moment))).collect(),
            missed: missed.map(|(_, moment)| moment),
        }))
    }

    /// The coming moments, the latest first, without a missed one.
    pub(super) fn to_come(&self) -> impl Iterator<Item = (MonotonicTime, StreamTimelineEvent)> {
        self.0.get().into_iter().flat_map(|moments| moments.left.iter().copied())
    }

    /// Restores a schedule from [`Self::to_come`].
    pub(super) fn of(to_come: impl Iterator<Item = (MonotonicTime, StreamTimelineEvent)>) -> Self {
        Self(RareFacts::new(ProgramMoments { left: to_come.take(4).collect(), missed: None }))
    }

    /// The programme's times have changed during playback. Moments that the new times put in the past are skipped,
    /// except an end that was still to come: it is now.
    pub(super) fn move_to(&mut self, now: MonotonicTime, mut new: Self) {
        let was_to_end = self.to_come().any(|(_, moment)| moment.ends_programme());
        new.0.change_known(|moments| {
            if let Some(missed) = moments.missed.take().filter(|missed| was_to_end && missed.ends_programme()) {
                // One of the four moments has passed, so there is room.
                let _full = moments.left.try_push((now, missed));
            }
        });
        *self = new;
    }

    /// The machine slept and the world did not: the moments come so much sooner by the monotonic clock.
    pub(super) fn slept(&mut self, now: MonotonicTime, by: Duration) {
        self.0.change_known(|moments| {
            moments.left.iter_mut().for_each(|(at, _)| *at = at.checked_sub(by).unwrap_or(now));
        });
    }

    /// Time of the next moment; at once for a missed one.
    pub(super) fn next(&self, now: MonotonicTime) -> Option<MonotonicTime> {
        let moments = self.0.get()?;
        if moments.missed.is_some() { Some(now) } else { moments.left.last().map(|(at, _)| *at) }
    }

    /// The next moment that has come, and whether it came during playback.
    pub(super) fn take(&mut self, now: MonotonicTime) -> Option<(StreamTimelineEvent, bool)> {
        self.next(now).filter(|at| *at <= now)?;
        self.0.change(|moments| match moments.missed.take() {
            Some(missed) => Some((missed, false)),
            None => moments.left.pop().map(|(_, moment)| (moment, true)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::testing::Clock;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// The programme runs from 1000 to 2000 with a view from 1200 to 1800, registered at `wall`; returns every moment
    /// with its time.
    fn told(wall: u64, overflow: bool) -> Vec<(u64, StreamTimelineEvent, bool)> {
        let times = ProgramTimes {
            end: Some(secs(2000)),
            overflow,
            post_slate: secs(900),
            start: Some(secs(1000)),
            view_end: Some(secs(1800)),
            view_start: Some(secs(1200)),
        };
        let began = Clock.now();
        let mut schedule = Schedule::new(began, secs(wall), &times);
        let (mut now, mut told) = (began, Vec::new());
        while let Some(next) = schedule.next(now) {
            now = next;
            let (moment, live) = schedule.take(now).expect("what is next has come");
            told.push((wall + (now - began).as_secs(), moment, live));
        }
        assert_eq!(schedule.take(now + secs(1_000_000)), None);
        told
    }

    #[test]
    fn each_moment_comes_once_and_a_late_playback_hears_only_of_the_latest() {
        use StreamTimelineEvent::{
            Live360Available, Live360Unavailable, LiveEventEnd, LiveEventStart, OverflowEventEnd,
        };
        let rows: [(u64, bool, &[(u64, StreamTimelineEvent, bool)]); 6] = [
            (
                500,
                false,
                &[
                    (1000, LiveEventStart, true),
                    (1200, Live360Available, true),
                    (1800, Live360Unavailable, true),
                    (2000, LiveEventEnd, true),
                ],
            ),
            (
                1100,
                false,
                &[(1200, Live360Available, true), (1800, Live360Unavailable, true), (2000, LiveEventEnd, true)],
            ),
            (
                1300,
                false,
                &[(1300, Live360Available, false), (1800, Live360Unavailable, true), (2000, LiveEventEnd, true)],
            ),
            (1900, true, &[(1900, Live360Unavailable, false), (2900, OverflowEventEnd, true)]),
            (2500, false, &[(2500, LiveEventEnd, false)]),
            (9000, true, &[(9000, OverflowEventEnd, false)]),
        ];
        for (wall, overflow, expected) in rows {
            assert_eq!(told(wall, overflow), expected, "{wall}");
        }
        let nothing = Schedule::new(Clock.now(), secs(1), &ProgramTimes::default());
        assert_eq!(nothing.next(Clock.now()), None);
    }

    #[test]
    fn new_times_repeat_no_moment_and_an_end_moved_to_the_past_is_now() {
        let times =
            |end| ProgramTimes { end: Some(secs(end)), view_start: Some(secs(1200)), ..ProgramTimes::default() };
        let began = Clock.now();
        let mut schedule = Schedule::new(began, secs(1100), &times(2000));
        let now = began + secs(200);
        assert_eq!(schedule.take(now), Some((StreamTimelineEvent::Live360Available, true)));
        schedule.move_to(now, Schedule::new(now, secs(1300), &times(3000)));
        assert_eq!((schedule.take(now), schedule.next(now)), (None, Some(now + secs(1700))));
        schedule.move_to(now, Schedule::new(now, secs(1300), &times(1250)));
        assert_eq!(schedule.take(now), Some((StreamTimelineEvent::LiveEventEnd, true)));
        schedule.move_to(now, Schedule::new(now, secs(1300), &times(1260)));
        assert_eq!(schedule.take(now), None, "told once");
    }

    proptest::proptest! {
        #[test]
        fn any_programme_times_are_survived(wall in 0..u64::MAX, end: Option<u64>, start: Option<u64>, slate: u64) {
            let [end, start] = [end, start].map(|at| at.map(Duration::from_secs));
            let times = ProgramTimes { end, overflow: true, post_slate: secs(slate), start, view_end: end, view_start: start };
            let now = Clock.now();
            let mut schedule = Schedule::new(now, secs(wall), &times);
            while let Some(next) = schedule.next(now) {
                proptest::prop_assert!(schedule.take(next).is_some());
            }
        }
    }
}
