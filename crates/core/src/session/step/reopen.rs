//! Killed, or lost: what "no such session" means after an answer that nobody heard.
//!
//! Every beat and every renewal may replace the session's token. When the answer is lost, or its process dies, the
//! authority may know the session by a token that we never got, and knows nothing of the one that we have. Only a token
//! that is known to be the newest makes "no such session" a kill; otherwise the session has expired by our own loss, and
//! another one is opened in its place at once, while its player's calls wait.

use std::time::{Duration, Instant};

use super::super::effect::SessionEvent;
use super::super::end_reason::EndReason;
use super::super::grant::{AskKind, Ticket};
use super::super::policy::Policy;
use super::super::state::{CallInFlight, Forfeit, Session, SessionClosure, SessionState};
use super::super::verdict::{AuthorityFault, Denial, Reason, Verdict};
use super::context::Step;
use crate::secret::Secret;

/// How the authority put it that it holds the session no more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum SessionLoss {
    /// The token is not good any more.
    Expired,
    /// In so many words: somebody ended the session.
    Killed,
    /// In so many words, too: it holds the session no more, and nobody ended it.
    LetGo,
    /// It knows no session by this token.
    Unknown,
}

impl Session {
    /// Whether the token is still known to be the newest one after this answer to a beat or a renewal.
    pub(super) fn weigh_token(
        &mut self,
        now: Instant,
        lane: &CallInFlight,
        result: &Result<Verdict, AuthorityFault>,
        policy: &Policy,
    ) {
        if let Some(grant) = self.held_mut() {
            grant.weigh(now, result, lane.outdated, policy.rotates_tokens);
        }
    }

    /// The authority speaks of the session in so many words, and not of a token.
    pub(super) fn end_doubt(&mut self) {
        if let Some(grant) = self.held_mut() {
            grant.end_doubt();
        }
    }

    /// A late answer brings the newest token, unless a later call was answered before it.
    pub(super) fn take_late_token(&mut self, now: Instant, ticket: Ticket, token: Secret, lifetime: Option<Duration>) {
        // What was asked after it may have replaced the token once more.
        let (is_late, is_newest) = (!ticket.is_after(self.last_answered), ticket.0 == self.generation);
        let Some(grant) = self.held_mut().filter(|_| !is_late) else { return };
        grant.take_late_token(now, token, lifetime, is_newest);
        self.last_answered = ticket;
        if let Some(lane) = &mut self.lane {
            lane.outdated = true;
        }
    }

    /// The authority does not hold the session any more, or not by this token.
    pub(super) fn beaten_off(&mut self, ask: AskKind, loss: SessionLoss, reason: Reason, step: &mut Step<'_>) {
        let (silent, allowed) = (self.confirmation.silent_for(step.now), self.allowed_silence(step.policy));
        if loss == SessionLoss::Killed {
            self.end_doubt();
        }
        let in_doubt = self.is_token_in_doubt();
        let killed = loss == SessionLoss::Killed || (loss == SessionLoss::Unknown && !in_doubt && silent <= allowed);
        if killed && self.gives_way() {
            // Else its player would take it back.
            return self.kill_what_is_ended(reason, step);
        }
        if !self.is_active() {
            // Its close is on its way, and is worth sending where the place is counted until then.
            if !step.policy.counts_ended {
                self.give_up_grant(step);
            }
            return;
        }
        step.note(SessionEvent::Failed(ask, reason.clone()));
        if killed {
            return self.kill_what_is_ended(reason, step);
        }
        let lost = self.grant().cloned().filter(|_| step.policy.counts_ended);
        self.note_lost_grant(step);
        match self.unconfirmed.since() {
            Some(since) => self.owe_again(step.now, since),
            // Whatever takes the place each time, it is not there for this device.
            None if loss == SessionLoss::LetGo && self.unconfirmed.was_reopened_silently() => {
                let told = self.evidence.told(step.now);
                lost.into_iter().for_each(|grant| step.give_back(grant, told));
                self.close_without_grant(Forfeit::Gone, SessionClosure::Denied(Denial::Limit, reason), step);
            }
            None if loss == SessionLoss::LetGo => {
                // Of a token that is not the newest it was said of another session, which may hold the place yet.
                self.unconfirmed.reopen_silently(!in_doubt);
                let told = self.evidence.told(step.now);
                lost.into_iter().for_each(|grant| step.give_back(grant, told));
                self.reopen(allowed, step);
            }
            // One that renews is there. Of another nobody knows, after so long.
            None if ask == AskKind::Renew || (in_doubt && silent <= allowed) => self.reopen(allowed, step),
            None => {
                let told = self.evidence.told(step.now);
                lost.into_iter().for_each(|grant| step.give_back(grant, told));
                self.close_without_grant(Forfeit::Gone, SessionClosure::Ended(EndReason::Expired), step);
            }
        }
    }

    /// Opens another session in place of the one that was lost. That one may hold its place for `held` yet.
    fn reopen(&mut self, held: Duration, step: &mut Step<'_>) {
        step.note(SessionEvent::Reopening);
        self.unconfirmed.reopen(step.now + held);
        let next = SessionState::Owing { next: step.now, ran: true, since: step.now, tries: 0 };
        self.enter_without_grant(Forfeit::Gone, next);
    }

    /// Its place is taken, perhaps by the lost one.
    pub(super) fn reopen_later(&mut self, now: Instant) {
        if let SessionState::Owing { ran, since, tries, .. } = self.state {
            let tries = tries.saturating_add(1);
            let next = self.next_open(now, tries);
            self.enter(|_| SessionState::Owing { next, ran, since, tries });
        }
    }

    /// It cannot be given back: if its token was not the newest one, the authority holds it until it expires.
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
