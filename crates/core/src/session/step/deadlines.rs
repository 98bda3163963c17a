//! When: a session's next beat, its deadline, and the ends that it may come to by itself.

use std::time::{Duration, Instant};

use super::super::effect::PlayerFacts;
use super::super::end_reason::EndReason;
use super::super::player_report::PlayingState;
use super::super::policy::Policy;
use super::super::preload_or_zap::CONTEST_POLL_INTERVAL;
use super::super::state::{BeatSource, Session, SessionState};
use super::super::timer_wheel::Wheel;

/// A paused player of something live goes on asking for its playlists, and a browser that slows its page does not
/// slow it to less than once a minute: whoever fetches nothing for so long was closed.
const MAX_PAUSED_SILENCE: Duration = Duration::from_secs(600);

impl Session {
    pub(super) fn told(&self, now: Instant) -> PlayerFacts {
        let playhead = self.reports.and_then(|reports| reports.playhead(now));
        PlayerFacts { playhead, playing: self.playing() }
    }

    /// Not beaten for now: its viewer paused.
    pub(super) fn rests(&self, policy: &Policy) -> bool {
        !policy.beat_while_paused && self.playing() == Some(PlayingState::Paused)
    }

    /// By what a session that is granted may end of itself, and when: the strongest evidence first, which is the
    /// reason when several have come, after the end that the authority has made already.
    pub(super) fn ends(&self, policy: &Policy) -> [(EndReason, Option<Instant>); 7] {
        let failing = matches!(self.state, SessionState::Failing { .. }) && policy.max_failures.is_none();
        let ends = [
            (EndReason::Lost, failing.then(|| self.lost_at(policy))),
            (EndReason::Unused, self.unused_at(policy)),
            (EndReason::RenewalsOverdue, self.overdue_at(policy)),
            (EndReason::Silent, self.silent_at(policy)),
            (EndReason::MediaSilent, self.media_silent_at(policy)),
            (EndReason::LicenseExpired, self.unlicensed_at(policy)),
            (EndReason::Longest, Some(self.last_sign + policy.endings.longest)),
        ];
        ends.map(|(end, at)| (end, at.map(|at| self.spare(at))))
    }

    pub(super) fn next_deadline(&self, now: Instant, policy: &Policy) -> Instant {
        let moment = self.schedule.next(now);
        let ends = |at| self.ends(policy).into_iter().filter_map(|(_, at)| at).fold(at, Instant::min);
        let first_end = |deadline| moment.into_iter().fold(ends(deadline), Instant::min);
        let beats = self.beats_itself();
        match self.state {
            SessionState::Closed { until, .. } | SessionState::Killed { until, .. } => match self.lost_close {
                Some((next, _)) if self.grant.is_some() => next,
                Some(_) | None => until.max(now),
            },
            SessionState::Closing { next, .. } => next,
            SessionState::Failing { retry, .. } if beats => first_end(retry),
            SessionState::Failing { .. } if self.credit.is_none() => {
                first_end(self.credit_from(policy).unwrap_or(self.last_sign + policy.endings.longest).max(now))
            }
            SessionState::Live { beat } if beats && !self.rests(policy) => first_end(beat),
            SessionState::Failing { .. } | SessionState::Live { .. } | SessionState::Sharing { .. } => {
                first_end(self.last_sign + policy.endings.longest)
            }
            SessionState::Waiting { not_before, since } => {
                let look = if now < not_before { not_before } else { now + CONTEST_POLL_INTERVAL };
                look.min(since + policy.lane_patience)
            }
            SessionState::Opening { since } => since + policy.lane_patience,
            SessionState::Owing { next, .. } => first_end(self.budget_ends(policy).map_or(next, |at| at.min(next))),
        }
    }

    /// When the next beat is sent, counted from `since`: never early, spread over less than a tick.
    pub(super) fn beat_after(&self, since: Instant, policy: &Policy) -> Instant {
        let interval = self.interval().unwrap_or_default();
        since + interval.mul_f64(policy.fraction) + spread(self.seed, self.generation)
    }

    /// Within which time its player's next renewal is expected. One that plays on credit goes on in the rhythm that it
    /// had; where none was ever told, in a usual one.
    pub(in super::super) fn round(&self) -> Duration {
        let interval = self.confirmation.round(self.interval());
        match self.beats {
            BeatSource::Renewals { every } => interval.max(every.unwrap_or_default()),
            BeatSource::Timer => interval,
        }
    }

    /// When nobody gave word for as long as this policy allows.
    fn lost_at(&self, policy: &Policy) -> Instant {
        self.confirmed_until(policy) + self.allowed(&policy.on_unreachable.running)
    }

    /// After the last good answer plus what the authority allows, but not before its token ends.
    pub(super) fn confirmed_until(&self, policy: &Policy) -> Instant {
        self.confirmation.holds_until(self.allowed_silence(policy), self.good_until(), policy.endings.longest)
    }

    /// When the player's renewals have been missing for too many rounds.
    fn overdue_at(&self, policy: &Policy) -> Option<Instant> {
        let rounds = policy.endings.renewals_overdue?;
        match self.beats {
            BeatSource::Renewals { every } => {
                let round = self.interval()?.max(every.unwrap_or_default());
                let after =
                    |rounds| self.last_call.max(self.last_good()) + bounded(round).mul_f64(rounds) + policy.grace;
                Some(self.sooner(after(rounds), after((rounds / 2.0).max(1.0)), policy))
            }
            BeatSource::Timer => None,
        }
    }

    /// When a player of something live must have been gone: it fetches nothing more. One that has all of what it
    /// plays need not, and a paused one has longer.
    fn media_silent_at(&self, policy: &Policy) -> Option<Instant> {
        let silence = policy.endings.media_silence.filter(|_| self.is_live())?;
        // Once may be late, and is no evidence.
        self.again.filter(|again| again.saturating_mul(2) <= silence)?;
        let paused = self.playing() == Some(PlayingState::Paused);
        Some(self.last_sign + if paused { silence.max(MAX_PAUSED_SILENCE) } else { silence })
    }

    /// When a player that reports must have been gone: it is neither heard nor does it ask.
    fn silent_at(&self, policy: &Policy) -> Option<Instant> {
        let reports = self.reports.filter(|_| policy.endings.report_silence)?;
        let allowed = reports.allowed_silence()?;
        Some(self.sooner(self.last_sign + allowed, self.last_sign + allowed / 2, policy))
    }

    /// When none of its licenses can be of use any more. A call may still be on its way to renew them.
    fn unlicensed_at(&self, policy: &Policy) -> Option<Instant> {
        let until = self.licensed_until.filter(|_| policy.endings.license_expiry)?;
        Some(until.max(self.last_call) + policy.grace)
    }

    /// When other evidence is enough: in `full`, or by `half` of it when the player's connections have been
    /// gone for the dwell time.
    fn sooner(&self, full: Instant, half: Instant, policy: &Policy) -> Instant {
        match (self.alone, policy.endings.connections_gone) {
            (Some(since), Some(dwell)) => full.min(half.max(since + dwell)),
            (None, _) | (_, None) => full,
        }
    }
}

/// Intervals and lifetimes are what somebody else wrote: no sum with one may leave the clock's range.
pub(in super::super) fn bounded(time: Duration) -> Duration {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    time.min(CENTURY)
}

/// Evenly spread over less than a tick, so that spread and wheel together stay within one; the same
/// for the same session and generation.
pub(super) fn spread(seed: u32, generation: u32) -> Duration {
    let mixed = (u64::from(seed) << 32 | u64::from(generation)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let most = (Policy::MAX_BEAT_LATENESS - Wheel::<()>::WHEEL_TICK_TIME).as_micros() as u64 * 4 / 5;
    Duration::from_micros(mixed % most)
}
