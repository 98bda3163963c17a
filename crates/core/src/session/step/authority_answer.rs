//! Applies the authority's answers to a session.

use std::time::Duration;

use super::super::effect::{PlayerFacts, SessionEvent};
use super::super::end_reason::EndReason;
use super::super::grant::{AskKind, Grant, Ticket};
use super::super::session_calls::CallInFlight;
use super::super::session_kill::{BlackoutReason, SessionKill};
use super::super::state::{Forfeit, Session, SessionClosure, SessionState};
use super::super::verdict::{AuthorityFault, FaultKind, Reason, Verdict};
use super::context::Step;
use super::deadlines::bounded;
use super::reopen::SessionLoss;
use crate::secret::Secret;
use crate::session::Enforcement;
use crate::time::MonotonicTime;

impl Session {
    pub(super) fn answered(
        &mut self,
        ticket: Ticket,
        ask: AskKind,
        result: Result<Verdict, AuthorityFault>,
        step: &mut Step<'_>,
    ) {
        match self.calls.answered(ticket, ask, result.is_ok()) {
            Some(call) => self.decide(&call, result, step),
            None => self.stale(ticket, ask, result, step),
        }
    }

    /// Applies the answer to a call; for an abandoned call it is a fault.
    pub(super) fn decide(&mut self, call: &CallInFlight, result: Result<Verdict, AuthorityFault>, step: &mut Step<'_>) {
        step.wake();
        if let Err(fault) = &result {
            step.note(SessionEvent::Failed(call.ask, fault.reason.clone()));
        }
        match call.ask {
            AskKind::Beat | AskKind::Renew => self.beaten(call, result, step),
            AskKind::Close => self.closed(result, step),
            AskKind::Open => self.opened(call, result, step),
        }
    }

    /// Handles the answer to an abandoned call. A late grant of an open is given back; a late beat may have brought the
    /// session's newest token.
    fn stale(&mut self, ticket: Ticket, ask: AskKind, result: Result<Verdict, AuthorityFault>, step: &mut Step<'_>) {
        step.note(SessionEvent::Stale(ask));
        match (ask, result) {
            (AskKind::Beat | AskKind::Renew, Ok(Verdict::Alive { lifetime, token: Some(token), .. })) => {
                self.take_late_token(step.now, ticket, token, lifetime);
            }
            (AskKind::Open, result) => self.give_late_grant_back(ticket, result, step),
            (AskKind::Beat | AskKind::Close | AskKind::Renew, _) => {}
        }
    }

    fn give_late_grant_back(&mut self, ticket: Ticket, result: Result<Verdict, AuthorityFault>, step: &mut Step<'_>) {
        if self.calls.was_given_up(ticket)
            && let Ok(Verdict::Granted(grant) | Verdict::Unconfirmed(grant, _)) = result
        {
            step.give_back(grant, PlayerFacts::default());
        }
    }

    fn beaten(&mut self, lane: &CallInFlight, result: Result<Verdict, AuthorityFault>, step: &mut Step<'_>) {
        let (active, ask) = (self.is_active(), lane.ask);
        self.weigh_token(step.now, lane, &result, step.policy);
        match result {
            Ok(Verdict::Alive { interval, lifetime, schedule, token }) => {
                self.refresh(step.now, interval, lifetime, token);
                if let Some(schedule) = schedule {
                    self.schedule.move_to(step.now, schedule);
                }
                self.confirm(lane, step);
            }
            Ok(Verdict::Granted(Grant { interval, lifetime, token })) => {
                self.refresh(step.now, Some(interval), lifetime, Some(token));
                self.confirm(lane, step);
            }
            Ok(Verdict::Blackout(dark)) => self.black_out(dark, step),
            Ok(Verdict::Killed(reason)) => self.beaten_off(ask, SessionLoss::Killed, reason, step),
            // The answer concerns a token that was replaced meanwhile: the newest one is tried now.
            Ok(Verdict::Denied(_, reason) | Verdict::Gone(reason) | Verdict::Unknown(reason)) if lane.outdated => {
                step.note(SessionEvent::Failed(ask, reason));
                if active {
                    self.miss(lane, Some(Duration::ZERO), step);
                }
            }
            Ok(Verdict::Gone(reason)) => self.beaten_off(ask, SessionLoss::LetGo, reason, step),
            Ok(Verdict::Unknown(reason)) => self.beaten_off(ask, SessionLoss::Unknown, reason, step),
            Ok(Verdict::Denied(_, reason)) => self.beaten_off(ask, SessionLoss::Expired, reason, step),
            Ok(Verdict::Disabled) if active => self.leave_unmanaged(step),
            Ok(Verdict::Closed | Verdict::Unconfirmed(..)) if active => {
                step.note(SessionEvent::Failed(ask, unexpected().reason));
                self.miss(lane, None, step);
            }
            Ok(Verdict::Closed | Verdict::Disabled | Verdict::Unconfirmed(..)) => {}
            Err(fault) if active => self.miss(lane, fault.reason.retry_after, step),
            Err(_) => {}
        }
    }

    /// A blackout: the authority still holds the session, so it is given back. The player is refused from now on, or
    /// left alone, by the policy.
    fn black_out(&mut self, dark: BlackoutReason, step: &mut Step<'_>) {
        if !self.is_active() {
            return;
        }
        step.note(SessionEvent::Blackout(dark.clone()));
        if step.policy.stop_on_blackout {
            self.kill(dark.into(), step);
        } else {
            self.leave_unmanaged(step);
        }
    }

    /// The authority wants no more beats, and the playback goes on without a session. Any place that the authority may
    /// still count is given back at once.
    fn leave_unmanaged(&mut self, step: &mut Step<'_>) {
        if let Some(grant) = self.grant().cloned() {
            step.give_back(grant, self.evidence.told(step.now));
        }
        self.close_without_grant(Forfeit::GivenBack, SessionClosure::Unmanaged, step);
    }

    fn refresh(
        &mut self,
        now: MonotonicTime,
        interval: Option<Duration>,
        lifetime: Option<Duration>,
        token: Option<Secret>,
    ) {
        if let Some(grant) = self.held_mut() {
            grant.refresh(now, interval, lifetime, token);
        }
    }

    fn confirm(&mut self, lane: &CallInFlight, step: &mut Step<'_>) {
        let ask = lane.ask;
        self.unconfirmed.confirm();
        self.confirmation.confirm(step.now, lane.since, lane.slept());
        // Otherwise the token is kept fresh for the close that follows.
        if !matches!(self.state, SessionState::Failing { .. } | SessionState::Live { .. }) {
            return;
        }
        step.note(match (&self.state, ask) {
            (SessionState::Failing { missed, .. }, _) => SessionEvent::Recovered(*missed),
            (_, AskKind::Renew) => SessionEvent::Renewed,
            (_, AskKind::Beat | AskKind::Close | AskKind::Open) => SessionEvent::Beat,
        });
        if ask == AskKind::Renew {
            self.evidence.heard(step.now);
            self.shows_renewal(step.now, step.policy);
            self.evidence.served();
            if step.policy.enforcement == Enforcement::Auto {
                self.carry(None, step);
            }
        }
        let beat = self.beat_after_sleep(step.now, lane.since, lane.slept(), step.policy);
        self.enter_holding(|grant| SessionState::Live { beat, grant });
    }

    /// `lane`: the lost beat. `after`: time at which the authority wants the next call.
    pub(super) fn miss(&mut self, lane: &CallInFlight, after: Option<Duration>, step: &mut Step<'_>) {
        let is_early = |due: MonotonicTime| lane.since < due;
        let (missed, known) = if let SessionState::Failing { missed, regular, .. } = self.state {
            (if regular.is_some_and(is_early) { missed } else { missed.saturating_add(1) }, regular)
        } else {
            (1, None)
        };
        let Some(most) = step.policy.max_failures else {
            let retry = self.retry_beat(step.now, missed, step.policy);
            return self.enter_holding(|grant| SessionState::Failing { grant, missed, regular: known, retry });
        };
        if missed > most && self.is_live() {
            return self.end(EndReason::Lost, step);
        }
        let early = known.filter(|due| is_early(*due));
        let due = early.unwrap_or_else(|| self.beat_after_sleep(step.now, lane.since, lane.slept(), step.policy));
        let retry = after.map_or(due, |after| due.min(step.now + bounded(after)));
        self.enter_holding(|grant| SessionState::Failing {
            grant,
            missed,
            regular: Some(due),
            retry: retry.max(step.now),
        });
    }

    fn closed(&mut self, result: Result<Verdict, AuthorityFault>, step: &mut Step<'_>) {
        match (result, &self.state) {
            // The kill was forgiven meanwhile: no playback waits for the next try.
            (Err(_), SessionState::Killed { until, .. }) if step.now >= *until => {
                if let Some(grant) = self.forfeit(Forfeit::GivenBack) {
                    step.give_back(grant, PlayerFacts::default());
                }
            }
            (Err(fault), SessionState::Closing { .. } | SessionState::Killed { .. }) => {
                let held_until = self.confirmed_until(step.policy);
                if let Some(release) = self.release_mut() {
                    *release = release.take().and_then(|of| of.lost(step.now, &fault, held_until, step.policy));
                }
            }
            (Ok(Verdict::Denied(_, reason)), _) => {
                // The close was refused, and another try with the same token would not help: the session will expire.
                step.note(SessionEvent::Failed(AskKind::Close, reason));
                self.give_up_grant(step);
            }
            (Ok(Verdict::Unknown(_)), _) => self.give_up_grant(step),
            (Err(_) | Ok(_), _) => drop(self.forfeit(Forfeit::GivenBack)),
        }
    }

    pub(super) fn kill_by_authority(&mut self, by: SessionKill, step: &mut Step<'_>) {
        let (since, until) = self.note_kill(&by, step);
        self.enter_releasing(since, |release| {
            let release = release.map(|release| release.anew(since));
            SessionState::Killed { by: by.into(), release, since, until }
        });
    }

    /// A session that the authority ended is given back only if the authority also counts those.
    pub(super) fn kill_what_is_ended(&mut self, by: SessionKill, step: &mut Step<'_>) {
        if step.policy.counts_ended {
            return self.kill_by_authority(by, step);
        }
        let (since, until) = self.note_kill(&by, step);
        self.enter_without_grant(Forfeit::Gone, SessionState::Killed { by: by.into(), release: None, since, until });
    }

    /// Start of the kill, and the end of its memory.
    fn note_kill(&mut self, by: &SessionKill, step: &mut Step<'_>) -> (MonotonicTime, MonotonicTime) {
        step.note(SessionEvent::Killed(by.clone()));
        self.unconfirmed.decide();
        (step.now, step.now + step.policy.memory_of_kill(by))
    }
}

pub(super) fn unexpected() -> AuthorityFault {
    AuthorityFault { kind: FaultKind::Malformed, reason: Reason::without_reply("the reply fits another call") }
}
