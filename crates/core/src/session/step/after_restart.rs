//! Continues a restored session after a restart, without counting the downtime against it.

use std::time::Duration;

use super::super::effect::SessionEvent;
use super::super::policy::Policy;
use super::super::state::{Session, SessionClosure, SessionState};
use super::context::Step;
use crate::session::OnUnreachable;
use crate::time::MonotonicTime;

/// Beats that fell due meanwhile are sent within this time, or within the interval.
const BEAT_CATCH_UP_TIME: Duration = Duration::from_secs(5);
/// Pending closes are sent again within this time: all at once they would starve each other.
const CLOSE_CATCH_UP_TIME: Duration = Duration::from_secs(1);

impl Session {
    /// Continues a session that [`super::super::PlaybackRecord::restore`] made. `orphan`: as its record says. Even if the
    /// wall clock was set, no session is lost before a beat was tried: it is live until then. The player was unheard
    /// meanwhile, so its silence begins anew.
    pub(super) fn restored(&mut self, orphan: bool, step: &mut Step<'_>) {
        let (now, policy) = (step.now, step.policy);
        if self.sharing {
            return self.restored_sharing(step);
        }
        let unknown = self.allowed_silence(policy).saturating_add(Policy::MAX_BEAT_LATENESS);
        self.confirmation.restored(now, unknown);
        let catch_up = self.calls.share_of(self.interval().unwrap_or_default().min(BEAT_CATCH_UP_TIME));
        let closing = self.calls.share_of(CLOSE_CATCH_UP_TIME);
        match self.state {
            _ if orphan => step.note(SessionEvent::Orphaned),
            SessionState::Closed { .. } => {}
            SessionState::Closing { .. }
            | SessionState::Failing { .. }
            | SessionState::Killed { .. }
            | SessionState::Live { .. }
            | SessionState::Opening { .. }
            | SessionState::Owing { .. }
            | SessionState::Sharing { .. }
            | SessionState::Waiting { .. } => step.note(SessionEvent::Resumed),
        }
        if let Some(grant) = self.held_mut() {
            grant.restored(now);
        }
        self.evidence.restored();
        match self.state {
            SessionState::Closed { why: SessionClosure::Ended(why), .. } if orphan => {
                step.note(SessionEvent::Closed(why))
            }
            SessionState::Closed { ref why, until } => {
                let (until, why) = self.remembered(now, until, why, policy);
                self.state = SessionState::Closed { until, why };
            }
            SessionState::Opening { .. } | SessionState::Sharing { .. } | SessionState::Waiting { .. } => {}
            SessionState::Owing { ran, since, tries, .. } => {
                self.evidence.heard(now);
                self.give_chance(now, policy);
                self.unconfirmed.restored(now, since);
                let since = self.credit_since(now, since, ran, policy);
                if !self.unconfirmed.is_reopening(now) {
                    step.note(self.unconfirmed.begin(since, ran));
                }
                self.state = SessionState::Owing { next: now + catch_up.max(closing), ran, since, tries };
            }
            SessionState::Closing { .. } => self.release_anew(now + closing),
            SessionState::Failing { missed, .. } => match self.goes_on_credit(now, policy) {
                Some(since) => {
                    let since = self.credit_since(now, since, true, policy);
                    step.note(self.unconfirmed.begin(since, true));
                    self.evidence.heard(now);
                    // No session is lost before another chance, even if its budget ended meanwhile.
                    self.evidence.spare_until(now + self.allowed_silence(policy));
                    self.enter_holding(|grant| SessionState::Failing {
                        grant,
                        missed,
                        regular: None,
                        retry: now + catch_up,
                    });
                }
                None => self.go_on(now, now + catch_up),
            },
            SessionState::Killed { .. } => {
                self.release_anew(now + closing);
                self.remember_kill(now, policy);
            }
            SessionState::Live { beat, .. } => {
                let interval = self.interval().unwrap_or_default();
                let due = beat.min(now + interval + self.calls.beat_jitter());
                let late = now.saturating_duration_since(due);
                // A later beat would not be late, but expired: then the clock was set, or no process ran.
                if late > Policy::MAX_BEAT_LATENESS && late <= self.allowed_silence(policy) {
                    step.note(SessionEvent::BeatLate(late));
                }
                self.go_on(now, if due > now { due } else { now + catch_up });
            }
        }
    }

    /// The clock may have been set back: an end is remembered no longer than planned, counted from its player's last
    /// sign.
    pub(super) fn remembered(
        &self,
        now: MonotonicTime,
        until: MonotonicTime,
        why: &SessionClosure,
        policy: &Policy,
    ) -> (MonotonicTime, SessionClosure) {
        let why = match why {
            SessionClosure::Spent { again, fault } => {
                SessionClosure::Spent { again: (*again).min(now + policy.undecided_memory()), fault: fault.clone() }
            }
            SessionClosure::Denied(..)
            | SessionClosure::Ended(_)
            | SessionClosure::Unmanaged
            | SessionClosure::Unreachable(_) => why.clone(),
        };
        let longest = match why {
            SessionClosure::Denied(..) | SessionClosure::Spent { .. } => policy.kill_memory,
            SessionClosure::Ended(end) => self.memory_of(end, policy),
            SessionClosure::Unmanaged | SessionClosure::Unreachable(_) => policy.end_memory,
        };
        (until.min(now + longest.min(until.saturating_duration_since(self.last_sign()))), why)
    }

    fn release_anew(&mut self, at: MonotonicTime) {
        if let Some(release) = self.release_mut() {
            *release = release.take().map(|release| release.anew(at));
        }
    }

    /// A kill, too, is remembered no longer than planned.
    pub(super) fn remember_kill(&mut self, now: MonotonicTime, policy: &Policy) {
        if let SessionState::Killed { by, since, until, .. } = &mut self.state {
            *since = (*since).min(now);
            *until = (*until).min(now + policy.memory_of_kill(by));
        }
    }

    /// Start of the credit of a session with lost beats: it was on credit before, or the time for it came meanwhile.
    fn goes_on_credit(&self, now: MonotonicTime, policy: &Policy) -> Option<MonotonicTime> {
        let from = self.credit_from(policy)?;
        self.unconfirmed.since().or((from <= now).then_some(from))
    }

    /// Credit lasts no longer than its budget: any excess comes from a clock that was set.
    fn credit_since(&self, now: MonotonicTime, since: MonotonicTime, ran: bool, policy: &Policy) -> MonotonicTime {
        let OnUnreachable { new, running } = &policy.on_unreachable;
        let budget = self.evidence.allowed(if ran { running } else { new });
        since.min(now).max(now.checked_sub(budget).unwrap_or(now))
    }

    pub(super) fn go_on(&mut self, now: MonotonicTime, beat: MonotonicTime) {
        self.unconfirmed.forget();
        self.evidence.goes_on(now);
        self.enter_holding(|grant| SessionState::Live { beat, grant });
    }
}
