//! Decides between killed and lost: the meaning of "no such session" after a lost answer.
//!
//! Every beat and every renewal may replace the session's token. If the answer is lost, or its process dies, the
//! authority may know the session by a token that never arrived, and not know the present one. Only for a token that is
//! known to be the newest is "no such session" a kill. Otherwise sidebeat's own loss made the session expire, and
//! another one opens in its place at once, while its player's calls wait.

use std::time::Duration;

use super::super::effect::SessionEvent;
use super::super::end_reason::EndReason;
use super::super::grant::{AskKind, Ticket};
use super::super::policy::Policy;
use super::super::session_calls::CallInFlight;
use super::super::state::{Forfeit, Session, SessionClosure, SessionState};
use super::super::verdict::{AuthorityFault, Denial, Reason, Verdict};
use super::context::Step;
use crate::secret::Secret;
use crate::time::MonotonicTime;

/// The authority's words for a session that it no longer holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum SessionLoss {
    /// The token is no longer valid.
    Expired,
    /// The session was ended, and the answer says so.
    Killed,
    /// The session is no longer held, but was not ended, and the answer says so.
    LetGo,
    /// The authority knows no session by this token.
    Unknown,
}

impl Session {
    /// Returns whether the token is still known to be the newest after this answer to a beat or a renewal.
    pub(super) fn weigh_token(
        &mut self,
        now: MonotonicTime,
        lane: &CallInFlight,
        result: &Result<Verdict, AuthorityFault>,
        policy: &Policy,
    ) {
        if let Some(grant) = self.held_mut() {
            grant.weigh(now, result, lane.outdated, policy.rotates_tokens);
        }
    }

    /// The authority named the session itself, and not a token.
    pub(super) fn end_doubt(&mut self) {
        if let Some(grant) = self.held_mut() {
            grant.end_doubt();
        }
    }

    /// A late answer brings the newest token, unless a later call was answered before it.
    pub(super) fn take_late_token(
        &mut self,
        now: MonotonicTime,
        ticket: Ticket,
        token: Secret,
        lifetime: Option<Duration>,
    ) {
        // Later calls may have replaced the token once more.
        let Some(grant) = self.state.held_mut() else { return };
        if let Some(is_newest) = self.calls.late_token(ticket) {
            grant.take_late_token(now, token, lifetime, is_newest);
        }
    }

    /// The authority no longer holds the session, or not by this token.
    pub(super) fn beaten_off(&mut self, ask: AskKind, loss: SessionLoss, reason: Reason, step: &mut Step<'_>) {
        let (silent, allowed) = (self.confirmation.silent_for(step.now), self.allowed_silence(step.policy));
        if loss == SessionLoss::Killed {
            self.end_doubt();
        }
        let in_doubt = self.is_token_in_doubt();
        let killed = loss == SessionLoss::Killed || (loss == SessionLoss::Unknown && !in_doubt && silent <= allowed);
        if killed && self.gives_way() {
            // Otherwise its player would take it back.
            return self.kill_what_is_ended(reason.into(), step);
        }
        if !self.is_active() {
            // Its pending close is worth sending if the place counts until then.
            if !step.policy.counts_ended {
                self.give_up_grant(step);
            }
            return;
        }
        step.note(SessionEvent::Failed(ask, reason.clone()));
        if killed {
            return self.kill_what_is_ended(reason.into(), step);
        }
        let lost = self.grant().cloned().filter(|_| step.policy.counts_ended);
        self.note_lost_grant(step);
        match self.unconfirmed.since() {
            Some(since) => self.owe_again(step.now, since),
            // The place is taken each time, so there is none for this device.
            None if loss == SessionLoss::LetGo && self.unconfirmed.was_reopened_silently() => {
                let told = self.evidence.told(step.now);
                lost.into_iter().for_each(|grant| step.give_back(grant, told));
                self.close_without_grant(Forfeit::Gone, SessionClosure::Denied(Denial::Limit, reason.into()), step);
            }
            None if loss == SessionLoss::LetGo => {
                // For an older token the answer concerned another session, which may still hold the place.
                self.unconfirmed.reopen_silently(!in_doubt);
                let told = self.evidence.told(step.now);
                lost.into_iter().for_each(|grant| step.give_back(grant, told));
                self.reopen(allowed, step);
            }
            // A player that renews is there. Of other players nothing is known after so long.
            None if ask == AskKind::Renew || (in_doubt && silent <= allowed) => self.reopen(allowed, step),
            None => {
                let told = self.evidence.told(step.now);
                lost.into_iter().for_each(|grant| step.give_back(grant, told));
                self.close_without_grant(Forfeit::Gone, SessionClosure::Ended(EndReason::Expired), step);
            }
        }
    }

    /// Opens another session in place of the lost one, which may hold its place for another `held`.
    fn reopen(&mut self, held: Duration, step: &mut Step<'_>) {
        step.note(SessionEvent::Reopening);
        self.unconfirmed.reopen(step.now + held);
        let next = SessionState::Owing { next: step.now, ran: true, since: step.now, tries: 0 };
        self.enter_without_grant(Forfeit::Gone, next);
    }

    /// Its place is taken, perhaps by the lost session.
    pub(super) fn reopen_later(&mut self, now: MonotonicTime) {
        if let SessionState::Owing { ran, since, tries, .. } = self.state {
            let tries = tries.saturating_add(1);
            let next = self.next_open(now, tries);
            self.enter(|_| SessionState::Owing { next, ran, since, tries });
        }
    }

    /// The grant cannot be given back: if its token was not the newest one, the authority holds it until it expires.
    pub(super) fn give_up_grant(&mut self, step: &mut Step<'_>) {
        self.note_lost_grant(step);
        drop(self.forfeit(Forfeit::Gone));
    }

    fn note_lost_grant(&mut self, step: &mut Step<'_>) {
        self.confirmation.lose_grant(self.interval());
        if self.is_token_in_doubt() {
            step.note(SessionEvent::LeftOpen);
        }
    }
}
