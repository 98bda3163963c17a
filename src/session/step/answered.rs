//! What the authority's answers do to a session.

use std::time::{Duration, Instant};

use super::super::effect::{Ask, Effect, Effects, Event, Told};
use super::super::end::End;
use super::super::grant::{AskKind, Grant, Ticket};
use super::super::policy::Policy;
use super::super::schedule::Schedule;
use super::super::state::{Beats, Over, Session, State};
use super::super::verdict::{Fault, FaultKind, Reason, Verdict};
use super::due::bounded;
use crate::config::Enforcement;
use crate::secret::Secret;

impl Session {
    pub(super) fn answered(
        &mut self,
        now: Instant,
        ticket: Ticket,
        ask: AskKind,
        result: Result<Verdict, Fault>,
        policy: &Policy,
        fx: &mut Effects,
    ) {
        let Some(lane) = self.lane.filter(|lane| lane.ticket == ticket && lane.ask == ask) else {
            return self.stale(ticket, ask, result, fx);
        };
        self.lane = None;
        fx.push(Effect::Wake);
        if let Err(fault) = &result {
            fx.note(Event::Failed(ask, fault.reason.clone()));
        }
        match ask {
            AskKind::Beat | AskKind::Renew => self.beaten(now, lane.since, ask, result, policy, fx),
            AskKind::Close => self.closed(now, result, policy, fx),
            AskKind::Open => self.opened(now, result, policy, fx),
        }
    }

    /// The call had been given up. If it was an open that is granted after all, that grant is given
    /// back; any other grant is the one in use, told twice.
    fn stale(&mut self, ticket: Ticket, ask: AskKind, result: Result<Verdict, Fault>, fx: &mut Effects) {
        fx.note(Event::Stale(ask));
        if ask != AskKind::Open || self.given_up != Some(ticket) {
            return;
        }
        self.given_up = None;
        if let Ok(Verdict::Granted(grant) | Verdict::Unconfirmed(grant, _)) = result {
            fx.push(Effect::Ask(Ask {
                grant: Some(grant),
                kind: AskKind::Close,
                ticket: Ticket(0),
                told: Told::default(),
            }));
        }
    }

    fn opened(&mut self, now: Instant, result: Result<Verdict, Fault>, policy: &Policy, fx: &mut Effects) {
        match self.state {
            State::Opening { .. } => self.opened_in_time(now, result, policy, fx),
            // The player left, or an operator killed it, while the authority was deciding.
            State::Closing { .. } | State::Killed { .. } => {
                if let Ok(Verdict::Granted(grant) | Verdict::Unconfirmed(grant, _)) = result {
                    self.hold(now, grant);
                }
            }
            State::Closed { .. } | State::Failing { .. } | State::Live { .. } => {}
        }
    }

    fn opened_in_time(&mut self, now: Instant, result: Result<Verdict, Fault>, policy: &Policy, fx: &mut Effects) {
        match result {
            Ok(Verdict::Granted(grant)) => self.begin(now, grant, policy, fx),
            Ok(Verdict::Unconfirmed(grant, fault)) => {
                fx.note(Event::Failed(AskKind::Open, fault.reason));
                self.begin(now, grant, policy, fx);
                self.miss(now, now, policy, fx);
            }
            Ok(Verdict::Blackout(reason)) => {
                fx.note(Event::Blackout(reason.clone()));
                if policy.stop_on_moment {
                    self.kill_by_authority(now, reason, policy, fx);
                } else {
                    self.close(now, Over::Unmanaged, policy, fx);
                }
            }
            Ok(Verdict::Denied(denial, reason)) => {
                fx.note(Event::Failed(AskKind::Open, reason.clone()));
                self.close(now, Over::Denied(denial, reason), policy, fx);
            }
            Ok(Verdict::Disabled) => self.close(now, Over::Unmanaged, policy, fx),
            Ok(Verdict::Killed(reason) | Verdict::Unknown(reason)) => {
                fx.note(Event::Failed(AskKind::Open, reason.clone()));
                self.kill_by_authority(now, reason, policy, fx);
            }
            Ok(Verdict::Alive { .. } | Verdict::Closed) => {
                self.close(now, Over::Unreachable(unexpected()), policy, fx);
            }
            Err(fault) => self.close(now, Over::Unreachable(fault), policy, fx),
        }
    }

    fn begin(&mut self, now: Instant, grant: Grant, policy: &Policy, fx: &mut Effects) {
        fx.note(Event::Opened { interval: grant.interval });
        self.hold(now, grant);
        self.last_good = now;
        self.heard(now);
        self.schedule = policy.schedule.clone().unwrap_or_default();
        if policy.enforcement == Enforcement::Renewal && policy.renews {
            self.beats = Beats::Renewals { every: None };
        }
        self.enter(State::Live { beat: self.beat_after(now, policy) });
    }

    fn beaten(
        &mut self,
        now: Instant,
        sent: Instant,
        ask: AskKind,
        result: Result<Verdict, Fault>,
        policy: &Policy,
        fx: &mut Effects,
    ) {
        let active = self.is_active();
        match result {
            Ok(Verdict::Alive { interval, lifetime, schedule, token }) => {
                self.refresh(now, interval, lifetime, token);
                self.reschedule(schedule);
                self.confirm(now, sent, ask, policy, fx);
            }
            Ok(Verdict::Granted(Grant { interval, lifetime, token })) => {
                self.refresh(now, Some(interval), lifetime, Some(token));
                self.confirm(now, sent, ask, policy, fx);
            }
            Ok(Verdict::Blackout(reason)) => self.black_out(now, reason, policy, fx),
            Ok(Verdict::Killed(reason)) => self.beaten_off(now, ask, reason, false, policy, fx),
            Ok(Verdict::Unknown(reason)) => {
                let expired = now.saturating_duration_since(self.last_good) > self.allowed_silence(policy);
                self.beaten_off(now, ask, reason, expired, policy, fx);
            }
            Ok(Verdict::Denied(_, reason)) => self.beaten_off(now, ask, reason, true, policy, fx),
            Ok(Verdict::Disabled) if active => {
                self.grant = None;
                self.close(now, Over::Unmanaged, policy, fx);
            }
            Ok(Verdict::Closed | Verdict::Unconfirmed(..)) if active => {
                fx.note(Event::Failed(ask, unexpected().reason));
                self.miss(now, sent, policy, fx);
            }
            Ok(Verdict::Closed | Verdict::Disabled | Verdict::Unconfirmed(..)) => {}
            Err(_) if active => self.miss(now, sent, policy, fx),
            Err(_) => {}
        }
    }

    /// The authority still holds the session: it is given back. Refused from now on, or left alone.
    fn black_out(&mut self, now: Instant, reason: Reason, policy: &Policy, fx: &mut Effects) {
        if !self.is_active() {
            return;
        }
        fx.note(Event::Blackout(reason.clone()));
        if policy.stop_on_moment {
            self.kill(now, reason, policy, fx);
        } else {
            self.grant = None;
            self.close(now, Over::Unmanaged, policy, fx);
        }
    }

    fn reschedule(&mut self, schedule: Option<Schedule>) {
        if let Some(schedule) = schedule {
            self.schedule = schedule;
        }
    }

    /// The session is gone at the authority: by a kill, or because it had run out.
    fn beaten_off(
        &mut self,
        now: Instant,
        ask: AskKind,
        reason: Reason,
        expired: bool,
        policy: &Policy,
        fx: &mut Effects,
    ) {
        self.grant = None;
        if !self.is_active() {
            return;
        }
        fx.note(Event::Failed(ask, reason.clone()));
        if expired {
            self.close(now, Over::Ended(End::Expired), policy, fx);
        } else {
            self.kill_by_authority(now, reason, policy, fx);
        }
    }

    fn hold(&mut self, now: Instant, grant: Grant) {
        let Grant { interval, lifetime, token } = grant;
        self.good_until = lifetime.map(|lifetime| now + bounded(lifetime));
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

    fn confirm(&mut self, now: Instant, sent: Instant, ask: AskKind, policy: &Policy, fx: &mut Effects) {
        self.last_good = now;
        match self.state {
            State::Failing { missed, .. } => fx.note(Event::Recovered(missed)),
            State::Live { .. } => fx.note(if ask == AskKind::Renew { Event::Renewed } else { Event::Beat }),
            // The token is kept fresh for the close that follows.
            State::Closed { .. } | State::Closing { .. } | State::Killed { .. } | State::Opening { .. } => return,
        }
        if ask == AskKind::Renew {
            self.heard(now);
            if policy.enforcement == Enforcement::Auto {
                self.carry(None, policy, fx);
            }
        }
        self.enter(State::Live { beat: self.beat_after(sent, policy) });
    }

    /// `sent`: when the lost beat was.
    fn miss(&mut self, now: Instant, sent: Instant, policy: &Policy, fx: &mut Effects) {
        let missed = match self.state {
            State::Failing { missed, .. } => missed.saturating_add(1),
            State::Closed { .. }
            | State::Closing { .. }
            | State::Killed { .. }
            | State::Live { .. }
            | State::Opening { .. } => 1,
        };
        let Some(most) = policy.max_failures else {
            return self.enter(State::Failing { missed, retry: now + policy.retry_after(missed) });
        };
        if missed > most && self.is_live(policy) {
            return self.end(now, End::Lost, policy, fx);
        }
        self.enter(State::Failing { missed, retry: self.beat_after(sent, policy).max(now) });
    }

    fn closed(&mut self, now: Instant, result: Result<Verdict, Fault>, policy: &Policy, fx: &mut Effects) {
        match (result, &self.state) {
            (Err(_), State::Closing { tries, why, .. }) if tries + 1 < policy.close_tries => {
                let (tries, why) = (tries + 1, *why);
                self.enter(State::Closing { next: now + policy.retry_after(tries), tries, why });
            }
            (Ok(Verdict::Denied(_, reason)), _) => {
                // Not taken back, and asking again with the same token would not help: it will expire.
                fx.note(Event::Failed(AskKind::Close, reason));
                self.grant = None;
            }
            (Err(_) | Ok(_), _) => self.grant = None,
        }
    }

    fn kill_by_authority(&mut self, now: Instant, by: Reason, policy: &Policy, fx: &mut Effects) {
        fx.note(Event::Killed(by.clone()));
        self.enter(State::Killed { by, until: now + policy.kill_memory });
    }
}

fn unexpected() -> Fault {
    Fault { kind: FaultKind::Malformed, reason: Reason::new(0, None, "the reply fits another call") }
}
