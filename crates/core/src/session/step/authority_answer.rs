//! What the authority's answers do to a session.

use std::time::{Duration, Instant};

use super::super::effect::{AuthorityAsk, Effect, Effects, PlayerFacts, SessionEvent};
use super::super::end_reason::EndReason;
use super::super::grant::{AskKind, Grant, Ticket};
use super::super::policy::Policy;
use super::super::state::{CallInFlight, Session, SessionClosure, SessionState, TokenReplacement};
use super::super::verdict::{AuthorityFault, FaultKind, Reason, Verdict};
use super::deadlines::bounded;
use super::reopen::SessionLoss;
use crate::secret::Secret;
use crate::session::Enforcement;

impl Session {
    pub(super) fn answered(
        &mut self,
        now: Instant,
        ticket: Ticket,
        ask: AskKind,
        result: Result<Verdict, AuthorityFault>,
        policy: &Policy,
        fx: &mut Effects,
    ) {
        let Some(lane) = self.lane.filter(|lane| lane.ticket == ticket && lane.ask == ask) else {
            return self.stale(now, ticket, ask, result, fx);
        };
        self.lane = None;
        if result.is_ok() {
            self.last_answered = ticket;
        }
        fx.push(Effect::Wake);
        if let Err(fault) = &result {
            fx.note(SessionEvent::Failed(ask, fault.reason.clone()));
        }
        match ask {
            AskKind::Beat | AskKind::Renew => self.beaten(now, &lane, result, policy, fx),
            AskKind::Close => self.closed(now, result, policy, fx),
            AskKind::Open => self.opened(now, &lane, result, policy, fx),
        }
    }

    /// The call had been given up. If it was an open that is granted after all, that grant is given
    /// back; what a beat brought may be the session's newest token.
    fn stale(
        &mut self,
        now: Instant,
        ticket: Ticket,
        ask: AskKind,
        result: Result<Verdict, AuthorityFault>,
        fx: &mut Effects,
    ) {
        fx.note(SessionEvent::Stale(ask));
        match (ask, result) {
            (AskKind::Beat | AskKind::Renew, Ok(Verdict::Alive { lifetime, token: Some(token), .. })) => {
                self.take_late_token(now, ticket, token, lifetime);
            }
            (AskKind::Open, result) => self.give_late_grant_back(ticket, result, fx),
            (AskKind::Beat | AskKind::Close | AskKind::Renew, _) => {}
        }
    }

    fn give_late_grant_back(&mut self, ticket: Ticket, result: Result<Verdict, AuthorityFault>, fx: &mut Effects) {
        let Some(at) = self.given_up.iter().position(|given_up| *given_up == ticket) else { return };
        self.given_up.remove(at);
        if let Ok(Verdict::Granted(grant) | Verdict::Unconfirmed(grant, _)) = result {
            give_back(grant, fx);
        }
    }

    fn beaten(
        &mut self,
        now: Instant,
        lane: &CallInFlight,
        result: Result<Verdict, AuthorityFault>,
        policy: &Policy,
        fx: &mut Effects,
    ) {
        let (active, ask) = (self.is_active(), lane.ask);
        self.weigh_token(now, lane, &result, policy);
        match result {
            Ok(Verdict::Alive { interval, lifetime, schedule, token }) => {
                self.refresh(now, interval, lifetime, token);
                if let Some(schedule) = schedule {
                    self.schedule.move_to(now, schedule);
                }
                self.confirm(now, lane, policy, fx);
            }
            Ok(Verdict::Granted(Grant { interval, lifetime, token })) => {
                self.refresh(now, Some(interval), lifetime, Some(token));
                self.confirm(now, lane, policy, fx);
            }
            Ok(Verdict::Blackout(reason)) => self.black_out(now, reason, policy, fx),
            Ok(Verdict::Killed(reason)) => self.beaten_off(now, ask, SessionLoss::Killed, reason, policy, fx),
            // Said of a token that has been replaced meanwhile: the newest one is asked with now.
            Ok(Verdict::Denied(_, reason) | Verdict::Gone(reason) | Verdict::Unknown(reason)) if lane.outdated => {
                fx.note(SessionEvent::Failed(ask, reason));
                if active {
                    self.miss(now, lane, Some(Duration::ZERO), policy, fx);
                }
            }
            Ok(Verdict::Gone(reason)) => self.beaten_off(now, ask, SessionLoss::LetGo, reason, policy, fx),
            Ok(Verdict::Unknown(reason)) => self.beaten_off(now, ask, SessionLoss::Unknown, reason, policy, fx),
            Ok(Verdict::Denied(_, reason)) => self.beaten_off(now, ask, SessionLoss::Expired, reason, policy, fx),
            Ok(Verdict::Disabled) if active => self.leave_unmanaged(now, policy, fx),
            Ok(Verdict::Closed | Verdict::Unconfirmed(..)) if active => {
                fx.note(SessionEvent::Failed(ask, unexpected().reason));
                self.miss(now, lane, None, policy, fx);
            }
            Ok(Verdict::Closed | Verdict::Disabled | Verdict::Unconfirmed(..)) => {}
            Err(fault) if active => self.miss(now, lane, fault.reason.retry_after, policy, fx),
            Err(_) => {}
        }
    }

    /// The authority still holds the session: it is given back. Refused from now on, or left alone.
    fn black_out(&mut self, now: Instant, reason: Reason, policy: &Policy, fx: &mut Effects) {
        if !self.is_active() {
            return;
        }
        fx.note(SessionEvent::Blackout(reason.clone()));
        if policy.stop_on_blackout {
            self.kill(now, reason, policy, fx);
        } else {
            self.leave_unmanaged(now, policy, fx);
        }
    }

    /// The authority wants no more beats, and the playback goes on without a session. What the authority may still
    /// count is given back at once.
    fn leave_unmanaged(&mut self, now: Instant, policy: &Policy, fx: &mut Effects) {
        if let Some(grant) = self.grant.take() {
            fx.push(Effect::Ask(AuthorityAsk::giving_back(grant, self.told(now))));
        }
        self.close(now, SessionClosure::Unmanaged, policy, fx);
    }

    pub(super) fn hold(&mut self, now: Instant, grant: Grant) {
        let Grant { interval, lifetime, token } = grant;
        self.good_until = lifetime.map(|lifetime| now + bounded(lifetime));
        self.untold = TokenReplacement::Never;
        self.grant = Some(Grant { interval: bounded(interval), lifetime, token });
    }

    fn refresh(&mut self, now: Instant, interval: Option<Duration>, lifetime: Option<Duration>, token: Option<Secret>) {
        let Some(grant) = &mut self.grant else { return };
        if let Some(interval) = interval {
            grant.interval = bounded(interval);
        }
        if let Some(token) = token {
            grant.token = token;
            grant.lifetime = lifetime;
            self.good_until = lifetime.map(|lifetime| now + bounded(lifetime));
        }
    }

    fn confirm(&mut self, now: Instant, lane: &CallInFlight, policy: &Policy, fx: &mut Effects) {
        let ask = lane.ask;
        (self.failing_until, self.reopened_silently) = (None, false);
        // What was asked before the machine slept was answered before, too.
        (self.last_good, self.slept) = (now, lane.slept);
        self.took = now.saturating_duration_since(lane.since);
        match self.state {
            SessionState::Failing { missed, .. } => fx.note(SessionEvent::Recovered(missed)),
            SessionState::Live { .. } => {
                fx.note(if ask == AskKind::Renew { SessionEvent::Renewed } else { SessionEvent::Beat })
            }
            // The token is kept fresh for the close that follows.
            SessionState::Closed { .. }
            | SessionState::Closing { .. }
            | SessionState::Killed { .. }
            | SessionState::Opening { .. }
            | SessionState::Owing { .. } => return,
        }
        if ask == AskKind::Renew {
            self.heard(now);
            self.shows_renewal(now, policy);
            self.use_it();
            if policy.enforcement == Enforcement::Auto {
                self.carry(None, policy, fx);
            }
        }
        self.enter(SessionState::Live { beat: self.beat_after_sleep(now, lane.since, lane.slept, policy) });
    }

    /// `lane`: of the lost beat. `after`: when the authority wants to be asked again.
    pub(super) fn miss(
        &mut self,
        now: Instant,
        lane: &CallInFlight,
        after: Option<Duration>,
        policy: &Policy,
        fx: &mut Effects,
    ) {
        let early = self.failing_until.filter(|due| lane.since < *due);
        let missed = match self.state {
            SessionState::Failing { missed, .. } if early.is_some() => missed,
            SessionState::Failing { missed, .. } => missed.saturating_add(1),
            SessionState::Closed { .. }
            | SessionState::Closing { .. }
            | SessionState::Killed { .. }
            | SessionState::Live { .. }
            | SessionState::Opening { .. }
            | SessionState::Owing { .. } => 1,
        };
        let Some(most) = policy.max_failures else {
            return self.enter(SessionState::Failing { missed, retry: self.retry_beat(now, missed, policy) });
        };
        if missed > most && self.is_live() {
            return self.end(now, EndReason::Lost, policy, fx);
        }
        let due = early.unwrap_or_else(|| self.beat_after_sleep(now, lane.since, lane.slept, policy));
        self.failing_until = Some(due);
        let retry = after.map_or(due, |after| due.min(now + bounded(after)));
        self.enter(SessionState::Failing { missed, retry: retry.max(now) });
    }

    fn closed(&mut self, now: Instant, result: Result<Verdict, AuthorityFault>, policy: &Policy, fx: &mut Effects) {
        match (result, &self.state) {
            (Err(fault), SessionState::Closing { tries, why, .. }) => {
                let why = *why;
                match self.close_again(now, *tries, &fault, policy) {
                    Some((next, tries)) => self.enter(SessionState::Closing { next, tries, why }),
                    None => self.grant = None,
                }
            }
            // Forgiven meanwhile: nobody is to wait for the next try.
            (Err(_), SessionState::Killed { until, .. }) if now >= *until => {
                if let Some(grant) = self.grant.take() {
                    give_back(grant, fx);
                }
            }
            (Err(fault), SessionState::Killed { .. }) => {
                let tries = self.lost_close.map_or(0, |(_, tries)| tries);
                self.lost_close = self.close_again(now, tries, &fault, policy);
                if self.lost_close.is_none() {
                    self.grant = None;
                }
            }
            (Ok(Verdict::Denied(_, reason)), _) => {
                // Not taken back, and asking again with the same token would not help: it will expire.
                fx.note(SessionEvent::Failed(AskKind::Close, reason));
                self.give_up_grant(fx);
            }
            (Ok(Verdict::Unknown(_)), _) => self.give_up_grant(fx),
            (Err(_) | Ok(_), _) => self.grant = None,
        }
    }

    pub(super) fn kill_by_authority(&mut self, now: Instant, by: Reason, policy: &Policy, fx: &mut Effects) {
        fx.note(SessionEvent::Killed(by.clone()));
        self.credit_spent = false;
        let until = now + policy.memory_of_kill(&by);
        self.enter(SessionState::Killed { by, since: now, until });
    }
}

/// By itself, and not as the session's own call: no session has this grant any more.
pub(super) fn give_back(grant: Grant, fx: &mut Effects) {
    fx.push(Effect::Ask(AuthorityAsk::giving_back(grant, PlayerFacts::default())));
}

pub(super) fn unexpected() -> AuthorityFault {
    AuthorityFault { kind: FaultKind::Malformed, reason: Reason::new(0, None, "the reply fits another call") }
}
