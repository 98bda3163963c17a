//! Killed by an operator, and perhaps forgiven.

use std::time::Instant;

use super::super::effect::{Effect, Effects, Event};
use super::super::end::End;
use super::super::policy::Policy;
use super::super::state::{Over, Session, State};
use super::super::verdict::{KillSource, Reason};
use super::answered::give_back;

impl Session {
    pub(super) fn kill(&mut self, now: Instant, by: Reason, policy: &Policy, fx: &mut Effects) {
        match self.state {
            // Whoever orders it has seen it play, and it may have ended since: its player must not come back all the same.
            State::Closed { .. } if by.killed_by == KillSource::Operator => self.kill_now(now, by, policy, fx),
            State::Closing { .. }
            | State::Failing { .. }
            | State::Live { .. }
            | State::Opening { .. }
            | State::Owing { .. }
            | State::Closed { why: Over::Ended(End::GaveWay), .. } => self.kill_now(now, by, policy, fx),
            State::Closed { .. } | State::Killed { .. } => {}
        }
    }

    fn kill_now(&mut self, now: Instant, by: Reason, policy: &Policy, fx: &mut Effects) {
        fx.note(Event::Killed(by.clone()));
        let until = now + policy.memory_of_kill(&by);
        self.enter(State::Killed { by, since: now, until });
        fx.push(Effect::Wake);
    }

    /// The kill is forgotten at the next tick. A close that is still to be tried needs no session for that; one
    /// that is under way is waited for.
    pub(super) fn forgive(&mut self, now: Instant, fx: &mut Effects) {
        let State::Killed { until, .. } = &mut self.state else { return };
        *until = now;
        fx.note(Event::Forgiven);
        if self.lane.is_none() {
            self.lost_close = None;
            if let Some(grant) = self.grant.take() {
                give_back(grant, fx);
            }
        }
    }
}
