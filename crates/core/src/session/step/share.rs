//! A playback that shares the session of its device: it shows life and ends by itself; all else is that session's.

use std::time::{Duration, Instant};

use super::super::effect::{Effects, SessionEvent};
use super::super::player_evidence::GatheredEvidence;
use super::super::policy::Policy;
use super::super::state::{BeatSource, Session, SessionClosure, SessionState};
use super::context::Step;
use crate::session::Enforcement;

impl Session {
    /// As [`Self::new`], for a playback that shares its device's session. It waits until that one is open; whether it
    /// is to renew is its own route's word, and who opens the session may play by another route.
    pub(in crate::session) fn sharing(now: Instant, seed: u32, policy: &Policy) -> Self {
        let renews = policy.enforcement == Enforcement::Renewal && policy.renews;
        let beats = if renews { BeatSource::Renewals { every: None } } else { BeatSource::Timer };
        Self { beats, sharing: true, ..Self::new(now, seed, policy) }
    }

    /// We send its beats.
    pub(super) fn beats_itself(&self) -> bool {
        !self.sharing && self.beats == BeatSource::Timer
    }

    /// Goes where its device's session went. `policy` may be that of another playback's route, so what it may end by
    /// from now on is looked up at its next tick, which comes at once.
    pub(in crate::session) fn follow(&mut self, session: &Self, now: Instant, policy: &Policy, fx: &mut Effects) {
        let mut step = Step::new(now, policy);
        self.follow_to(session, &mut step);
        *fx = step.into_effects();
    }

    fn follow_to(&mut self, session: &Self, step: &mut Step<'_>) {
        let next = match &session.state {
            SessionState::Opening { .. } | SessionState::Waiting { .. } => return,
            SessionState::Failing { .. }
            | SessionState::Live { .. }
            | SessionState::Owing { .. }
            | SessionState::Sharing { .. } => {
                if !self.waits() {
                    return self.share(session.interval());
                }
                self.join(step);
                SessionState::Sharing { interval: session.interval().unwrap_or_default() }
            }
            SessionState::Closed { until, why } => SessionState::Closed { until: *until, why: why.clone() },
            SessionState::Closing { why, .. } => SessionState::Closed {
                until: step.now + self.memory_of(*why, step.policy),
                why: SessionClosure::Ended(*why),
            },
            SessionState::Killed { by, since, until, .. } => {
                let until = (*until).max(step.now + step.policy.memory_of_kill(by));
                SessionState::Killed { by: by.clone(), release: None, since: *since, until }
            }
        };
        self.enter(|_| next);
        step.wake();
        self.settle(step);
        if self.is_active() {
            self.look_at(step.now);
        }
        self.check_invariants();
    }

    /// The interval of its device's session may change; one that owes its open has none.
    fn share(&mut self, of_session: Option<Duration>) {
        if let SessionState::Sharing { interval } = &mut self.state {
            *interval = of_session.unwrap_or(*interval);
        }
    }

    fn join(&mut self, step: &mut Step<'_>) {
        step.note(SessionEvent::Joined);
        self.confirmation.join(step.now);
        self.evidence.joined(step.now);
    }

    /// The authority would not have the content token by which it was to be opened; another one is tried.
    pub(in crate::session) fn open_anew(&mut self, now: Instant, policy: &Policy) {
        let calls = self.calls.anew();
        *self = Self { calls, ..Self::new(now, self.calls.seed(), policy) };
    }

    /// What those that share it show is what it shows itself.
    pub(in crate::session) fn gathered(&mut self, now: Instant, of_all: &GatheredEvidence) {
        self.evidence.gathered(of_all);
        if !of_all.served {
            return;
        }
        match (of_all.renewed, self.beats) {
            (true, BeatSource::Timer) => self.beats = BeatSource::Renewals { every: None },
            (false, BeatSource::Renewals { .. }) => {
                self.beats = BeatSource::Timer;
                // Nobody sent beats until now: the next one is not late for that.
                self.end_rest(now);
                // It has planned for none: whoever renewed may end before anything else is heard of it.
                self.look_at(now);
            }
            (true, BeatSource::Renewals { .. }) | (false, BeatSource::Timer) => {}
        }
    }

    /// After a restart.
    pub(super) fn resume_sharing(&mut self, step: &mut Step<'_>) {
        self.evidence.restored();
        self.confirmation.restored(step.now, Duration::ZERO);
        match &self.state {
            SessionState::Closed { until, why } => {
                let (until, why) = self.remembered(step.now, *until, why, step.policy);
                self.state = SessionState::Closed { until, why };
            }
            SessionState::Killed { .. } => self.remember_kill(step.now, step.policy),
            SessionState::Sharing { .. } => self.evidence.goes_on(step.now),
            SessionState::Closing { .. }
            | SessionState::Failing { .. }
            | SessionState::Live { .. }
            | SessionState::Opening { .. }
            | SessionState::Owing { .. }
            | SessionState::Waiting { .. } => {}
        }
        self.settle(step);
        self.check_invariants();
    }
}
