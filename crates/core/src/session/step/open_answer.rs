//! What an open brings: a grant, a decision against it, or nothing to go by.

use std::time::Instant;

use super::super::effect::{Effects, SessionEvent, SessionRefusal};
use super::super::grant::{AskKind, Grant};
use super::super::policy::Policy;
use super::super::state::{BeatSource, CallInFlight, Session, SessionClosure, SessionState};
use super::super::verdict::{AuthorityFault, Reason, Verdict};
use super::authority_answer::unexpected;
use crate::session::Enforcement;

impl Session {
    pub(super) fn opened(
        &mut self,
        now: Instant,
        lane: &CallInFlight,
        result: Result<Verdict, AuthorityFault>,
        policy: &Policy,
        fx: &mut Effects,
    ) {
        match self.state {
            SessionState::Opening { .. } | SessionState::Owing { .. } => {
                self.opened_in_time(now, lane, result, policy, fx)
            }
            // The player left, or an operator killed it, while the authority was deciding.
            SessionState::Closing { .. } | SessionState::Killed { .. } => {
                if let Ok(Verdict::Granted(grant) | Verdict::Unconfirmed(grant, _)) = result {
                    (self.credit_spent, self.token_in_doubt) = (false, false);
                    self.hold(now, grant);
                }
            }
            SessionState::Closed { .. } | SessionState::Failing { .. } | SessionState::Live { .. } => {}
        }
    }

    fn opened_in_time(
        &mut self,
        now: Instant,
        lane: &CallInFlight,
        result: Result<Verdict, AuthorityFault>,
        policy: &Policy,
        fx: &mut Effects,
    ) {
        match result {
            Ok(Verdict::Granted(grant)) => self.begin(now, lane, grant, policy, fx),
            Ok(Verdict::Unconfirmed(grant, fault)) => {
                let (after, in_doubt) = (fault.reason.retry_after, !fault.kind.was_not_processed());
                fx.note(SessionEvent::Failed(AskKind::Open, fault.reason));
                self.begin(now, lane, grant, policy, fx);
                self.token_in_doubt = in_doubt;
                self.miss(now, lane, after, policy, fx);
            }
            Ok(Verdict::Blackout(reason)) => {
                fx.note(SessionEvent::Blackout(reason.clone()));
                if policy.stop_on_blackout {
                    self.kill_by_authority(now, reason, policy, fx);
                } else {
                    self.close(now, SessionClosure::Unmanaged, policy, fx);
                }
            }
            // The session that was lost may hold the place yet.
            Ok(Verdict::Denied(denial, reason))
                if denial.may_pass() && self.is_reopening(now) && !self.reopened_silently =>
            {
                fx.note(SessionEvent::Failed(AskKind::Open, reason));
                self.reopen_later(now);
            }
            Ok(Verdict::Denied(denial, reason)) if denial.may_pass() && self.returns => {
                fx.note(SessionEvent::Failed(AskKind::Open, reason.clone()));
                self.stay_away(now, Some(SessionRefusal::Denied(denial, reason)), policy, fx);
            }
            Ok(Verdict::Denied(denial, reason)) => {
                fx.note(SessionEvent::Failed(AskKind::Open, reason.clone()));
                self.close(now, SessionClosure::Denied(denial, reason), policy, fx);
            }
            Ok(Verdict::Disabled) => self.close(now, SessionClosure::Unmanaged, policy, fx),
            Ok(Verdict::Killed(reason) | Verdict::Unknown(reason)) => {
                fx.note(SessionEvent::Failed(AskKind::Open, reason.clone()));
                self.kill_by_authority(now, Reason { killed_on: Some(AskKind::Open), ..reason }, policy, fx);
            }
            Ok(Verdict::Alive { .. } | Verdict::Closed | Verdict::Gone(_)) => self.owe(now, unexpected(), policy, fx),
            Err(fault) => self.owe(now, fault, policy, fx),
        }
    }

    fn begin(&mut self, now: Instant, lane: &CallInFlight, grant: Grant, policy: &Policy, fx: &mut Effects) {
        self.granted(now, lane, grant, policy, fx);
        self.enter(SessionState::Live { beat: self.beat_after_sleep(now, now, lane.slept, policy) });
    }

    fn granted(&mut self, now: Instant, lane: &CallInFlight, grant: Grant, policy: &Policy, fx: &mut Effects) {
        // What its player has shown since it gave way counts on.
        self.life = if self.returns { self.life } else { self.life.anew(self.life.last) };
        (self.refused_back, self.returns) = (None, false);
        fx.note(SessionEvent::Opened { interval: grant.interval });
        self.hold(now, grant);
        self.token_in_doubt = false;
        (self.credit_spent, self.last_good, self.slept) = (false, now, lane.slept);
        self.took = now.saturating_duration_since(lane.since);
        // An open that is owed is no sign of its player: nobody waits for it.
        if matches!(self.state, SessionState::Opening { .. }) {
            self.heard(now);
        }
        if policy.enforcement == Enforcement::Renewal && policy.renews {
            self.beats = BeatSource::Renewals { every: None };
        }
    }
}
