//! Handles kills that answer no call: by an operator, who may forgive them, and by an authority that pushes them.

use super::super::effect::{PlayerFacts, SessionEvent};
use super::super::end_reason::EndReason;
use super::super::session_kill::SessionKill;
use super::super::state::{Forfeit, Session, SessionClosure, SessionState};
use super::super::verdict::{KillSource, Reason};
use super::context::Step;
use crate::secret::Fingerprint;

impl Session {
    pub(super) fn kill(&mut self, by: SessionKill, step: &mut Step<'_>) {
        match self.state {
            // The operator saw it play, and it may have ended since: its player must not come back nevertheless.
            SessionState::Closed { .. } if by.source() == KillSource::Operator => self.kill_now(by, step),
            SessionState::Closing { .. }
            | SessionState::Failing { .. }
            | SessionState::Live { .. }
            | SessionState::Opening { .. }
            | SessionState::Owing { .. }
            | SessionState::Sharing { .. }
            | SessionState::Waiting { .. }
            | SessionState::Closed { why: SessionClosure::Ended(EndReason::GaveWay), .. } => self.kill_now(by, step),
            SessionState::Closed { .. } | SessionState::Killed { .. } => {}
        }
    }

    fn kill_now(&mut self, by: SessionKill, step: &mut Step<'_>) {
        step.note(SessionEvent::Killed(by.clone()));
        let until = step.now + step.policy.memory_of_kill(&by);
        let now = step.now;
        self.enter_releasing(now, |release| {
            let release = release.map(|release| release.anew(now));
            SessionState::Killed { by: by.into(), release, since: now, until }
        });
        step.wake();
    }

    /// The authority ended the session of this token, unless the token was replaced since. The session is given back
    /// only if the authority also counts ended ones.
    pub(super) fn pushed_kill(&mut self, token: Fingerprint, reason: Reason, step: &mut Step<'_>) {
        if self.held().is_none_or(|grant| !grant.is_of(token)) {
            return;
        }
        if self.is_active() {
            self.end_doubt();
            self.kill_what_is_ended(reason.into(), step);
            step.wake();
        } else if self.gives_way() {
            // Otherwise its player would take it back. A close in flight is awaited.
            self.kill_by_authority(reason.into(), step);
            step.wake();
        }
    }

    /// The kill is forgotten at the next tick. A further try of its close needs no session; a close in flight is
    /// awaited.
    pub(super) fn forgive(&mut self, step: &mut Step<'_>) {
        let SessionState::Killed { until, .. } = &mut self.state else { return };
        *until = step.now;
        step.note(SessionEvent::Forgiven);
        if self.calls.is_idle()
            && let Some(grant) = self.forfeit(Forfeit::GivenBack)
        {
            step.give_back(grant, PlayerFacts::default());
        }
    }
}
