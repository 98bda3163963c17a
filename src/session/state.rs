//! One session: its state, its grant, and the one call it may have in flight.

use std::time::{Duration, Instant};

use super::effect::Refusal;
use super::effect::Told;
use super::end::End;
use super::grant::{AskKind, Grant, Ticket};
use super::policy::Policy;
use super::report::{Playing, Reports};
use super::schedule::Schedule;
use super::verdict::{Denial, Fault, Reason};

#[derive(Clone, Debug)]
pub enum State {
    /// Over, and remembered for left-over calls.
    Closed { until: Instant, why: Over },
    /// The authority is being told; `next` is when to try.
    Closing { next: Instant, tries: u8, why: End },
    /// Beats are lost, but the authority may still hold the session.
    Failing { missed: u8, retry: Instant },
    /// Ended by the authority or an operator; sticky.
    Killed { by: Reason, until: Instant },
    /// Confirmed; `beat` is when the next one is due, if beats are ours.
    Live { beat: Instant },
    /// Not answered yet; `held` until the device's older playbacks are closed.
    Opening { held: bool, since: Instant },
}

/// How a closed session came to be so.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Over {
    Denied(Denial, Reason),
    Ended(End),
    Unmanaged,
    Unreachable(Fault),
}

impl Over {
    /// What it is to whoever still asks; none where nobody need manage it.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Denied(denial, reason) => Some(Refusal::Denied(*denial, reason.clone())),
            Self::Ended(end) => Some(Refusal::Ended(*end)),
            Self::Unmanaged => None,
            Self::Unreachable(fault) => Some(Refusal::Unreachable(fault.clone())),
        }
    }
}

/// Who sends the beats.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Beats {
    /// The player, by renewing its license this often.
    Renewals { every: Option<Duration> },
    /// We, at the authority's interval.
    Timer,
}

/// The authority call in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane {
    pub(super) ask: AskKind,
    pub(super) since: Instant,
    pub(super) ticket: Ticket,
}

#[derive(Debug)]
pub struct Session {
    pub(super) beats: Beats,
    pub(super) deadline: Option<Instant>,
    /// Held by us at the authority; given back by a close, or gone with a kill or expiry.
    pub(super) grant: Option<Grant>,
    /// When the token ends, if it says so.
    pub(super) good_until: Option<Instant>,
    pub(super) lane: Option<Lane>,
    /// The open that was given up: if it is granted after all, that grant is given back.
    pub(super) given_up: Option<Ticket>,
    /// When the player last called.
    pub(super) last_call: Instant,
    pub(super) last_good: Instant,
    /// When the player last called or reported.
    pub(super) last_sign: Instant,
    /// Raised with every call to the authority.
    pub(super) generation: u32,
    /// Whether the player last fetched something live, if it fetches through us.
    pub(super) media: Option<bool>,
    pub(super) reports: Option<Reports>,
    pub(super) schedule: Schedule,
    pub(super) seed: u32,
    pub(super) state: State,
}

impl Session {
    /// A session that waits for its [`super::Input::Start`]. `seed` spreads its beats.
    pub fn new(now: Instant, seed: u32, policy: &Policy) -> Self {
        Self {
            beats: Beats::Timer,
            deadline: Some(now + policy.lane_patience),
            grant: None,
            good_until: None,
            lane: None,
            given_up: None,
            last_call: now,
            last_good: now,
            last_sign: now,
            generation: 0,
            media: None,
            reports: None,
            schedule: Schedule::default(),
            seed,
            state: State::Opening { held: true, since: now },
        }
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    pub fn beats(&self) -> Beats {
        self.beats
    }

    /// When the session wants its next [`super::Input::Tick`].
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// What the player last said of itself, if it reports.
    pub fn playing(&self) -> Option<Playing> {
        self.reports.map(|reports| reports.playing)
    }

    /// Whether it is live, as far as anybody said.
    pub fn is_live(&self, policy: &Policy) -> bool {
        policy.live.or_else(|| self.reports?.live).unwrap_or(false)
    }

    pub(super) fn told(&self, now: Instant) -> Told {
        let playhead = self.reports.and_then(|reports| reports.playhead(now));
        Told { playhead, playing: self.playing() }
    }

    /// Not beaten for now: its viewer paused.
    pub(super) fn rests(&self, policy: &Policy) -> bool {
        !policy.beat_while_paused && self.playing() == Some(Playing::Paused)
    }

    /// When the authority last confirmed it.
    pub fn last_good(&self) -> Instant {
        self.last_good
    }

    pub fn interval(&self) -> Option<Duration> {
        self.grant.as_ref().map(|grant| grant.interval)
    }

    /// Opening, live or failing: the player may go on.
    pub fn is_active(&self) -> bool {
        match self.state {
            State::Failing { .. } | State::Live { .. } | State::Opening { .. } => true,
            State::Closed { .. } | State::Closing { .. } | State::Killed { .. } => false,
        }
    }

    pub fn is_killed(&self) -> bool {
        matches!(self.state, State::Killed { .. })
    }

    /// Waits for its device's older playbacks.
    pub fn is_held(&self) -> bool {
        matches!(self.state, State::Opening { held: true, .. })
    }

    /// Uses, or may use, one of the device's places at the authority.
    pub fn takes_place(&self) -> bool {
        self.grant.is_some() || self.lane.is_some() || (self.is_active() && !self.is_held())
    }

    pub(super) fn allowed_silence(&self, policy: &Policy) -> Duration {
        self.grant.as_ref().map_or(Duration::ZERO, |grant| grant.interval) + policy.grace
    }

    /// The legal ways from state to state; everything else is a mistake of ours.
    pub(super) fn enter(&mut self, next: State) {
        debug_assert!(
            match (&self.state, &next) {
                (State::Closed { .. } | State::Killed { .. }, _) => false,
                (State::Opening { .. }, _) => true,
                (State::Closing { .. }, State::Closed { .. } | State::Closing { .. } | State::Killed { .. }) => true,
                (State::Closing { .. }, _) => false,
                (State::Live { .. } | State::Failing { .. }, State::Opening { .. }) => false,
                (State::Live { .. } | State::Failing { .. }, _) => true,
            },
            "from {:?} to {next:?}",
            self.state,
        );
        self.state = next;
    }

    pub(super) fn check_invariants(&self) {
        debug_assert!(
            self.grant.is_none() || !matches!(self.state, State::Closed { .. } | State::Opening { .. }),
            "a grant is held only while it can be given back: {:?}",
            self.state
        );
        debug_assert!(
            self.grant.is_some() || !matches!(self.state, State::Live { .. } | State::Failing { .. }),
            "without a grant nothing is live: {:?}",
            self.state
        );
        debug_assert!(
            match (&self.state, self.lane.map(|lane| lane.ask)) {
                (State::Closed { .. }, lane) => lane.is_none(),
                (State::Closing { .. }, lane) => lane.is_some() || self.grant.is_some(),
                (State::Failing { .. } | State::Live { .. }, lane) => {
                    matches!(lane, None | Some(AskKind::Beat | AskKind::Renew))
                }
                (State::Killed { .. }, lane) => lane.is_some() || self.grant.is_none(),
                (State::Opening { held, .. }, lane) => *held != (lane == Some(AskKind::Open)),
            },
            "each state has its calls: {:?} with {:?}",
            self.state,
            self.lane
        );
        debug_assert!(self.deadline.is_some(), "every state ends some day: {:?}", self.state);
    }
}
