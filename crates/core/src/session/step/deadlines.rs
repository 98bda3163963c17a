//! Computes the times of a session: its next beat, its deadline, and its possible ends.

use std::time::Duration;

use super::super::end_reason::EndReason;
use super::super::grant_release::GrantRelease;
use super::super::player_evidence::RenewalRhythm;
use super::super::player_report::PlayingState;
use super::super::policy::Policy;
use super::super::preload_or_zap::CONTEST_POLL_INTERVAL;
use super::super::state::{BeatSource, Session, SessionState};
use crate::time::MonotonicTime;

impl Session {
    /// True if it is not beaten for now, because its viewer paused.
    pub(super) fn rests(&self, policy: &Policy) -> bool {
        !policy.beat_while_paused && self.playing() == Some(PlayingState::Paused)
    }

    /// The possible ends of a granted session with their times: the expiry at the authority, then those by its player's
    /// evidence.
    pub(super) fn ends(&self, policy: &Policy) -> impl Iterator<Item = (EndReason, Option<MonotonicTime>)> + use<> {
        let failing = matches!(self.state, SessionState::Failing { .. }) && policy.max_failures.is_none();
        let lost = failing.then(|| self.evidence.spare(self.lost_at(policy)));
        let shown = self.evidence.ends(self.renewal_rhythm(), &policy.endings, policy.grace);
        std::iter::once((EndReason::Lost, lost)).chain(shown)
    }

    /// `None` if sidebeat sends the beats.
    fn renewal_rhythm(&self) -> Option<RenewalRhythm> {
        match self.beats {
            BeatSource::Renewals { every } => {
                let round = self.interval()?.max(every.unwrap_or_default());
                Some(RenewalRhythm { confirmed: self.last_good(), round })
            }
            BeatSource::Timer => None,
        }
    }

    pub(super) fn next_deadline(&self, now: MonotonicTime, policy: &Policy) -> MonotonicTime {
        let moment = self.schedule.next(now);
        let ends = |at| self.ends(policy).filter_map(|(_, at)| at).fold(at, MonotonicTime::min);
        let first_end = |deadline| moment.into_iter().fold(ends(deadline), MonotonicTime::min);
        let beats = self.beats_itself();
        match self.state {
            SessionState::Closing { .. } => self.release().map_or(now, GrantRelease::next),
            SessionState::Closed { until, .. } | SessionState::Killed { until, .. } => {
                self.release().map_or(until.max(now), GrantRelease::next)
            }
            SessionState::Failing { retry, .. } if beats => first_end(retry),
            SessionState::Failing { .. } if !self.unconfirmed.is_running() => {
                first_end(self.credit_from(policy).unwrap_or(self.last_sign() + policy.endings.longest).max(now))
            }
            SessionState::Live { beat, .. } if beats && !self.rests(policy) => first_end(beat),
            SessionState::Failing { .. } | SessionState::Live { .. } | SessionState::Sharing { .. } => {
                first_end(self.last_sign() + policy.endings.longest)
            }
            SessionState::Waiting { not_before, since } => {
                let look = if now < not_before { not_before } else { now + CONTEST_POLL_INTERVAL };
                look.min(since + policy.call_timeout)
            }
            SessionState::Opening { since } => since + policy.call_timeout,
            SessionState::Owing { next, .. } => first_end(self.budget_ends(policy).map_or(next, |at| at.min(next))),
        }
    }

    /// Time of the next beat, counted from `since`: never early, spread over less than a tick.
    pub(super) fn beat_after(&self, since: MonotonicTime, policy: &Policy) -> MonotonicTime {
        let interval = self.interval().unwrap_or_default();
        since + interval.mul_f64(policy.fraction) + self.calls.beat_jitter()
    }

    /// Time within which its player's next renewal is expected. A playback on credit keeps its rhythm; without a known
    /// one it has a usual one.
    pub(in super::super) fn round(&self) -> Duration {
        let interval = self.confirmation.round(self.interval());
        match self.beats {
            BeatSource::Renewals { every } => interval.max(every.unwrap_or_default()),
            BeatSource::Timer => interval,
        }
    }

    /// Time at which the silence of the authority exceeds this policy.
    fn lost_at(&self, policy: &Policy) -> MonotonicTime {
        self.confirmed_until(policy) + self.evidence.allowed(&policy.on_unreachable.running)
    }

    /// End of the confirmation: the last good answer plus the authority's patience, but not before the token ends.
    pub(super) fn confirmed_until(&self, policy: &Policy) -> MonotonicTime {
        self.confirmation.holds_until(self.allowed_silence(policy), self.good_until(), policy.endings.longest)
    }
}

/// Limits intervals and lifetimes, which come from outside, so that no sum leaves the clock's range.
pub(in super::super) fn bounded(time: Duration) -> Duration {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    time.min(CENTURY)
}
