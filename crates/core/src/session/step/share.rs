//! A playback that shares the session of its device: it shows life and ends by itself; all else is that session's.

use std::time::{Duration, Instant};

use super::super::effect::{Effect, Effects, SessionEvent};
use super::super::grant::Ticket;
use super::super::life_signs::LifeSigns;
use super::super::policy::Policy;
use super::super::state::{BeatSource, Session, SessionClosure, SessionState};
use crate::session::Enforcement;

impl Session {
    /// As [`Self::new`], for a playback that shares its device's session. It waits until that one is open; whether it
    /// is to renew is its own route's word, and who opens the session may play by another route.
    pub(in crate::session) fn sharing(now: Instant, seed: u32, policy: &Policy) -> Self {
        let renews = policy.enforcement == Enforcement::Renewal && policy.renews;
        let beats = if renews { BeatSource::Renewals { every: None } } else { BeatSource::Timer };
        Self { beats, shares: Some(Duration::ZERO), ..Self::new(now, seed, policy) }
    }

    /// We send its beats.
    pub(super) fn beats_itself(&self) -> bool {
        self.shares.is_none() && self.beats == BeatSource::Timer
    }

    /// Goes where its device's session went. `policy` may be that of another playback's route, so what it may end by
    /// from now on is looked up at its next tick, which comes at once.
    pub(in crate::session) fn follow(&mut self, session: &Self, now: Instant, policy: &Policy, fx: &mut Effects) {
        let next = match &session.state {
            SessionState::Opening { .. } => return,
            SessionState::Failing { .. } | SessionState::Live { .. } | SessionState::Owing { .. } => {
                self.shares = session.interval().or(self.shares);
                if !matches!(self.state, SessionState::Opening { .. }) {
                    return;
                }
                self.join(now, fx);
                SessionState::Live { beat: now }
            }
            SessionState::Closed { until, why } => SessionState::Closed { until: *until, why: why.clone() },
            SessionState::Closing { why, .. } => {
                SessionState::Closed { until: now + self.memory_of(*why, policy), why: SessionClosure::Ended(*why) }
            }
            SessionState::Killed { by, since, until } => {
                let until = (*until).max(now + policy.memory_of_kill(by));
                SessionState::Killed { by: by.clone(), since: *since, until }
            }
        };
        self.enter(next);
        fx.push(Effect::Wake);
        self.settle(now, policy, fx);
        if self.is_active() {
            self.look_at(now);
        }
        self.check_invariants();
    }

    fn join(&mut self, now: Instant, fx: &mut Effects) {
        fx.note(SessionEvent::Joined);
        self.life = LifeSigns::new(now);
        self.last_good = now;
        self.heard(now);
    }

    /// The authority would not have the content token by which it was to be opened; another one is tried.
    pub(in crate::session) fn open_anew(&mut self, now: Instant, policy: &Policy) {
        let (generation, given_up) = (self.generation, std::mem::take(&mut self.given_up));
        let last_answered = Ticket(generation);
        *self = Self { generation, given_up, last_answered, ..Self::new(now, self.seed, policy) };
    }

    /// After a restart.
    pub(super) fn resume_sharing(&mut self, now: Instant, policy: &Policy, fx: &mut Effects) {
        self.may_have_got_it();
        self.last_good = self.last_good.min(now);
        match &self.state {
            SessionState::Closed { until, why } => {
                let (until, why) = self.remembered(now, *until, why, policy);
                self.state = SessionState::Closed { until, why };
            }
            SessionState::Killed { by, since, until } => {
                let (by, until) = (by.clone(), (*until).min(now + policy.memory_of_kill(by)));
                self.state = SessionState::Killed { by, since: (*since).min(now), until };
            }
            SessionState::Live { .. } => self.go_on(now, now),
            SessionState::Closing { .. }
            | SessionState::Failing { .. }
            | SessionState::Opening { .. }
            | SessionState::Owing { .. } => {}
        }
        self.settle(now, policy, fx);
        self.check_invariants();
    }
}
