//! When: a session's next beat, its deadline, and the ends that it may come to by itself.

use std::time::{Duration, Instant};

use super::super::end::End;
use super::super::policy::Policy;
use super::super::report::Playing;
use super::super::state::{Beats, Session, State};
use super::super::wheel::Wheel;

impl Session {
    /// By what a session that is granted may end of itself, and when.
    pub(super) fn ends(&self, policy: &Policy) -> [(End, Option<Instant>); 5] {
        let failing = matches!(self.state, State::Failing { .. }) && policy.max_failures.is_none();
        [
            (End::Lost, failing.then(|| self.lost_at(policy))),
            (End::Longest, Some(self.last_sign + policy.longest)),
            (End::MediaSilent, self.media_silent_at(policy)),
            (End::Silent, self.silent_at(policy)),
            (End::RenewalsOverdue, self.overdue_at(policy)),
        ]
    }

    pub(super) fn next_deadline(&self, now: Instant, policy: &Policy) -> Instant {
        let moment = self.schedule.next(now);
        let ends = |at| self.ends(policy).into_iter().filter_map(|(_, at)| at).fold(at, Instant::min);
        let first_end = |deadline| moment.into_iter().fold(ends(deadline), Instant::min);
        let beats = self.beats == Beats::Timer;
        match self.state {
            State::Closed { until, .. } | State::Killed { until, .. } => until.max(now),
            State::Closing { next, .. } => next,
            State::Failing { retry, .. } if beats => first_end(retry),
            State::Live { beat } if beats && !self.rests(policy) => first_end(beat),
            State::Failing { .. } | State::Live { .. } => first_end(self.last_sign + policy.longest),
            State::Opening { since, .. } => since + policy.lane_patience,
        }
    }

    /// When the next beat is sent, counted from `since`: never early, spread over less than a tick.
    pub(super) fn beat_after(&self, since: Instant, policy: &Policy) -> Instant {
        let interval = self.interval().unwrap_or_default();
        since + interval.mul_f64(policy.fraction) + spread(self.seed, self.generation)
    }

    /// After the last good answer plus what the authority allows, but not before its token ends.
    fn lost_at(&self, policy: &Policy) -> Instant {
        let silent = self.last_good + self.allowed_silence(policy);
        let longest = self.last_good + policy.longest;
        self.good_until.map_or(silent, |until| silent.max(until.min(longest)))
    }

    /// When the player's renewals have been missing for two rounds.
    fn overdue_at(&self, policy: &Policy) -> Option<Instant> {
        match self.beats {
            Beats::Renewals { every } => {
                let round = self.interval()?.max(every.unwrap_or_default());
                Some(self.last_call.max(self.last_good) + round * 2 + policy.grace)
            }
            Beats::Timer => None,
        }
    }

    /// When a player of something live must have been gone: it fetches nothing more. A paused one need not,
    /// nor one that has all of what it plays.
    fn media_silent_at(&self, policy: &Policy) -> Option<Instant> {
        let playing = self.reports.map(|reports| reports.playing);
        let live = self.media == Some(true) && !matches!(playing, Some(Playing::Paused));
        live.then(|| self.last_sign + policy.media_silence)
    }

    /// When a player that reports must have been gone: it is neither heard nor does it ask.
    fn silent_at(&self, policy: &Policy) -> Option<Instant> {
        let reports = self.reports.filter(|_| policy.end_on_silence)?;
        Some(self.last_sign + reports.allowed_silence()?)
    }
}

/// Intervals and lifetimes are what somebody else wrote: no sum with one may leave the clock's range.
pub(super) fn bounded(time: Duration) -> Duration {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    time.min(CENTURY)
}

/// Evenly spread over less than a tick, so that spread and wheel together stay within one; the same
/// for the same session and generation.
pub(super) fn spread(seed: u32, generation: u32) -> Duration {
    let mixed = (u64::from(seed) << 32 | u64::from(generation)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let most = (Policy::TICK - Wheel::<()>::TICK).as_micros() as u64 * 4 / 5;
    Duration::from_micros(mixed % most)
}
