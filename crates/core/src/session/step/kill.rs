//! Kills that answer no call: by an operator, who may forgive them, and by an authority that pushes them.

use std::time::Instant;

use super::super::effect::{Effect, Effects, SessionEvent};
use super::super::end_reason::EndReason;
use super::super::policy::Policy;
use super::super::state::{Session, SessionClosure, SessionState};
use super::super::verdict::{KillSource, Reason};
use super::authority_answer::give_back;
use crate::secret::Fingerprint;

impl Session {
    pub(super) fn kill(&mut self, now: Instant, by: Reason, policy: &Policy, fx: &mut Effects) {
        match self.state {
            // Whoever orders it has seen it play, and it may have ended since: its player must not come back all the same.
            SessionState::Closed { .. } if by.killed_by == KillSource::Operator => self.kill_now(now, by, policy, fx),
            SessionState::Closing { .. }
            | SessionState::Failing { .. }
            | SessionState::Live { .. }
            | SessionState::Opening { .. }
            | SessionState::Owing { .. }
            | SessionState::Closed { why: SessionClosure::Ended(EndReason::GaveWay), .. } => {
                self.kill_now(now, by, policy, fx)
            }
            SessionState::Closed { .. } | SessionState::Killed { .. } => {}
        }
    }

    fn kill_now(&mut self, now: Instant, by: Reason, policy: &Policy, fx: &mut Effects) {
        fx.note(SessionEvent::Killed(by.clone()));
        let until = now + policy.memory_of_kill(&by);
        self.enter(SessionState::Killed { by, since: now, until });
        fx.push(Effect::Wake);
    }

    /// The authority ended the session of this token, unless that has been replaced by another since. The session is
    /// given back only where the authority counts also what it has ended.
    pub(super) fn pushed_kill(
        &mut self,
        now: Instant,
        token: Fingerprint,
        reason: Reason,
        policy: &Policy,
        fx: &mut Effects,
    ) {
        if self.grant.as_ref().is_none_or(|grant| grant.token.fingerprint() != token) {
            return;
        }
        match self.state {
            SessionState::Failing { .. } | SessionState::Live { .. } => {
                self.token_in_doubt = false;
                self.grant = self.grant.take().filter(|_| policy.counts_ended);
                self.kill_by_authority(now, reason, policy, fx);
                fx.push(Effect::Wake);
            }
            // Its player would take it back. Its close, if it is under way, is waited for.
            SessionState::Closing { .. } if self.gives_way() => {
                self.kill_by_authority(now, reason, policy, fx);
                fx.push(Effect::Wake);
            }
            SessionState::Closed { .. }
            | SessionState::Closing { .. }
            | SessionState::Killed { .. }
            | SessionState::Opening { .. }
            | SessionState::Owing { .. } => {}
        }
    }

    /// The kill is forgotten at the next tick. A close that is still to be tried needs no session for that; one
    /// that is under way is waited for.
    pub(super) fn forgive(&mut self, now: Instant, fx: &mut Effects) {
        let SessionState::Killed { until, .. } = &mut self.state else { return };
        *until = now;
        fx.note(SessionEvent::Forgiven);
        if self.lane.is_none() {
            self.lost_close = None;
            if let Some(grant) = self.grant.take() {
                give_back(grant, fx);
            }
        }
    }
}
