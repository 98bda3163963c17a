//! Handles a playback that shares the session of its device: it shows life and ends by itself, and the session does all
//! else.

use std::time::Duration;

use super::super::effect::SessionEvent;
use super::super::end_reason::EndReason;
use super::super::player_evidence::GatheredEvidence;
use super::super::policy::Policy;
use super::super::session_kill::SessionKill;
use super::super::state::{BeatSource, Session, SessionClosure, SessionState};
use super::context::Step;
use crate::session::Enforcement;
use crate::time::MonotonicTime;

/// The outcome of a session, for a playback that shares it.
#[derive(Clone, Debug)]
pub enum SharedFate {
    Closed {
        until: MonotonicTime,
        why: SessionClosure,
    },
    /// The session's close is being sent.
    Ends(EndReason),
    Killed {
        by: SessionKill,
        since: MonotonicTime,
        until: MonotonicTime,
    },
    /// The session is open, or plays without the authority's word.
    Plays {
        interval: Option<Duration>,
    },
}

impl Session {
    /// Like [`Self::new`], for a playback that shares its device's session. It waits until that is open. Its own route
    /// decides whether it should renew, because the playback that opens the session may use another route.
    pub(in crate::session) fn sharing(now: MonotonicTime, seed: u32, policy: &Policy) -> Self {
        let renews = policy.enforcement == Enforcement::Renewal && policy.renews;
        let beats = if renews { BeatSource::Renewals { every: None } } else { BeatSource::Timer };
        Self { beats, sharing: true, ..Self::new(now, seed, policy) }
    }

    /// True if sidebeat sends its beats.
    pub(super) fn beats_itself(&self) -> bool {
        !self.sharing && self.beats == BeatSource::Timer
    }

    /// The outcome of a device's session, for those that share it; `None` while it is not open.
    pub(in crate::session) fn fate(&self) -> Option<SharedFate> {
        match &self.state {
            SessionState::Opening { .. } | SessionState::Waiting { .. } => None,
            SessionState::Failing { .. }
            | SessionState::Live { .. }
            | SessionState::Owing { .. }
            | SessionState::Sharing { .. } => Some(SharedFate::Plays { interval: self.interval() }),
            SessionState::Closed { until, why } => Some(SharedFate::Closed { until: *until, why: why.clone() }),
            SessionState::Closing { why, .. } => Some(SharedFate::Ends(*why)),
            SessionState::Killed { by, since, until, .. } => {
                Some(SharedFate::Killed { by: (**by).clone(), since: *since, until: *until })
            }
        }
    }

    /// Follows the outcome of its device's session. An ended playback only follows a kill, and a killed one nothing.
    pub(super) fn followed(&mut self, fate: SharedFate, step: &mut Step<'_>) {
        let over = !self.is_active();
        let next = match fate {
            _ if !self.sharing || self.killed_by().is_some() => return,
            SharedFate::Plays { interval } => {
                if self.waits() {
                    self.join(step);
                    self.enter(|_| SessionState::Sharing { interval: interval.unwrap_or_default() });
                    step.wake();
                } else {
                    self.share(interval);
                }
                return;
            }
            SharedFate::Killed { by, since, until } => {
                let until = until.max(step.now + step.policy.memory_of_kill(&by));
                SessionState::Killed { by: by.into(), release: None, since, until }
            }
            SharedFate::Closed { .. } | SharedFate::Ends(_) if over => return,
            SharedFate::Closed { until, why } => SessionState::Closed { until, why },
            SharedFate::Ends(why) => SessionState::Closed {
                until: step.now + self.memory_of(why, step.policy),
                why: SessionClosure::Ended(why),
            },
        };
        self.enter(|_| next);
        step.wake();
    }

    /// Takes over the interval of its device's session; an owing session has none.
    pub(in crate::session) fn share(&mut self, of_session: Option<Duration>) {
        if let SessionState::Sharing { interval } = &mut self.state {
            *interval = of_session.unwrap_or(*interval);
        }
    }

    fn join(&mut self, step: &mut Step<'_>) {
        step.note(SessionEvent::Joined);
        self.confirmation.join(step.now);
        self.evidence.joined(step.now);
    }

    /// The authority refused the content token of the open, so another one is tried.
    pub(in crate::session) fn open_anew(&mut self, now: MonotonicTime, policy: &Policy) {
        let calls = self.calls.anew();
        *self = Self { calls, ..Self::new(now, self.calls.seed(), policy) };
    }

    /// Takes over the evidence of those that share it.
    pub(in crate::session) fn gathered(&mut self, now: MonotonicTime, of_all: &GatheredEvidence) {
        self.evidence.gathered(of_all);
        if !of_all.served {
            return;
        }
        match (of_all.renewed, self.beats) {
            (true, BeatSource::Timer) => self.beats = BeatSource::Renewals { every: None },
            (false, BeatSource::Renewals { .. }) => {
                self.beats = BeatSource::Timer;
                // No beats were sent until now, so the next one is not late.
                self.end_rest(now);
                // Its deadline must be computed: the renewing playback may end before any other input.
                self.look_at(now);
            }
            (true, BeatSource::Renewals { .. }) | (false, BeatSource::Timer) => {}
        }
    }

    /// Continues a sharing playback after a restart.
    pub(super) fn restored_sharing(&mut self, step: &mut Step<'_>) {
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
    }
}
