//! One session: its state, its grant, and the one call it may have in flight.

mod closure;
mod counted;
mod invariants;
mod killed;
mod transitions;

use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use serde::{Deserialize, Serialize};

pub(super) use self::closure::SessionClosure;
pub(super) use self::transitions::Forfeit;
use super::confirmation::Confirmation;
use super::end_reason::EndReason;
use super::grant::{AskKind, Grant, Ticket};
use super::held_grant::HeldGrant;
use super::life_signs::LifeSigns;
use super::player_evidence::PlayerEvidence;
use super::player_report::{PlayingState, StreamType};
use super::policy::Policy;
use super::program_schedule::Schedule;
use super::unconfirmed_run::UnconfirmedRun;
use super::verdict::Reason;
use super::way_back::WayBack;

#[derive(Clone, Debug)]
pub enum SessionState {
    /// Over, and remembered for left-over calls.
    Closed { until: Instant, why: SessionClosure },
    /// The authority is being told; `next` is when to try. Without a grant while its open is under way.
    Closing { grant: Option<HeldGrant>, next: Instant, tries: u8, why: EndReason },
    /// Beats are lost, but the authority may still hold the session.
    Failing { grant: HeldGrant, missed: u8, retry: Instant },
    /// Ended by the authority or an operator; sticky. With a grant until that is given back.
    Killed { by: Reason, grant: Option<HeldGrant>, since: Instant, until: Instant },
    /// Confirmed; `beat` is when the next one is due, if beats are ours.
    Live { beat: Instant, grant: HeldGrant },
    /// Its open is under way.
    Opening { since: Instant },
    /// Plays on credit since then: the open failed because nobody could say, and is tried again. `ran`: it
    /// had a session, and keeps the budget of what is running.
    Owing { next: Instant, ran: bool, since: Instant, tries: u8 },
    /// Plays by its device's session, of this interval: it asks the authority nothing.
    Sharing { interval: Duration },
    /// Nothing was asked for it yet: it waits for its turn among the device's playbacks, and is not started before.
    Waiting { not_before: Instant, since: Instant },
}

/// Who sends the beats.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BeatSource {
    /// The player, by renewing its license this often.
    Renewals { every: Option<Duration> },
    /// We, at the authority's interval.
    Timer,
}

/// Whether its player got anything to play by.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum DeliveryState {
    /// It asked, and nobody knows yet what became of that.
    Asked,
    #[default]
    Got,
    /// What it asked for has not reached it.
    Nothing,
}

/// The authority call in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallInFlight {
    pub(super) ask: AskKind,
    /// The token that it was asked with has been replaced since, by a late answer to an earlier call.
    pub(super) outdated: bool,
    pub(super) since: Instant,
    /// The machine slept this long while it was under way.
    pub(super) slept: Duration,
    pub(super) ticket: Ticket,
}

#[derive(Debug)]
pub struct Session {
    pub(super) beats: BeatSource,
    pub(super) confirmation: Confirmation,
    pub(super) deadline: Option<Instant>,
    pub(super) lane: Option<CallInFlight>,
    /// The newest call that was answered.
    pub(super) last_answered: Ticket,
    /// A retry sent before this time (the next regular beat) and lost is not counted as another failure.
    pub(super) failing_until: Option<Instant>,
    /// The opens that were given up: if one is granted after all, that grant is given back.
    pub(super) given_up: ArrayVec<Ticket, 3>,
    pub(super) evidence: PlayerEvidence,
    /// Raised with every call to the authority.
    pub(super) generation: u32,
    /// Its close is lost, and tried again while the authority may still hold the session; its place is
    /// not waited for.
    pub(super) lingers: bool,
    /// The close of one that was killed here is lost: when it is tried again, and how often it was.
    pub(super) lost_close: Option<(Instant, u8)>,
    pub(super) schedule: Schedule,
    pub(super) seed: u32,
    /// It has no session of its own, but shares its device's.
    pub(super) sharing: bool,
    pub(super) state: SessionState,
    pub(super) unconfirmed: UnconfirmedRun,
    pub(super) way_back: WayBack,
}

impl Session {
    /// A session that waits for its [`super::Input::Start`]. `seed` spreads its beats.
    pub fn new(now: Instant, seed: u32, policy: &Policy) -> Self {
        Self {
            beats: BeatSource::Timer,
            confirmation: Confirmation::none(now),
            deadline: Some(now + policy.lane_patience),
            lane: None,
            last_answered: Ticket(0),
            failing_until: None,
            given_up: ArrayVec::new(),
            evidence: PlayerEvidence::new(now, policy.stream),
            generation: 0,
            lingers: false,
            lost_close: None,
            schedule: policy.schedule.clone().unwrap_or_default(),
            seed,
            sharing: false,
            state: SessionState::Waiting { not_before: now, since: now },
            unconfirmed: UnconfirmedRun::default(),
            way_back: WayBack::default(),
        }
    }

    /// Wants to be looked at then, if nothing happens before.
    pub(super) fn look_at(&mut self, at: Instant) {
        self.deadline = self.deadline.map(|deadline| deadline.min(at));
    }

    /// Not to be started before `at`, though its turn may have come.
    pub(super) fn hold_until(&mut self, at: Instant) {
        if let SessionState::Waiting { not_before, .. } = &mut self.state {
            *not_before = at;
        }
        self.look_at(at);
    }

    pub fn state(&self) -> &SessionState {
        &self.state
    }

    pub fn beats(&self) -> BeatSource {
        self.beats
    }

    /// When the session wants its next [`super::Input::Tick`].
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Since when no connection of its player is there; none while there is one, or none was seen to end.
    pub fn alone_since(&self) -> Option<Instant> {
        self.evidence.alone_since()
    }

    /// What the player last said of itself, if it reports.
    pub fn playing(&self) -> Option<PlayingState> {
        self.evidence.playing()
    }

    /// Whether it is live, as far as anybody said.
    pub fn is_live(&self) -> bool {
        self.stream() == Some(StreamType::Live)
    }

    /// When the authority last confirmed it.
    pub fn last_good(&self) -> Instant {
        self.confirmation.at()
    }

    pub fn grant(&self) -> Option<&Grant> {
        self.held().map(HeldGrant::as_grant)
    }

    /// When the token of its grant ends, if it says so.
    pub(super) fn good_until(&self) -> Option<Instant> {
        self.held().and_then(HeldGrant::good_until)
    }

    /// The authority may know the session by a newer token than that of its grant.
    pub(super) fn is_token_in_doubt(&self) -> bool {
        self.held().is_some_and(HeldGrant::is_in_doubt)
    }

    pub fn interval(&self) -> Option<Duration> {
        match self.state {
            SessionState::Sharing { interval } => Some(interval),
            SessionState::Closed { .. }
            | SessionState::Closing { .. }
            | SessionState::Failing { .. }
            | SessionState::Killed { .. }
            | SessionState::Live { .. }
            | SessionState::Opening { .. }
            | SessionState::Owing { .. }
            | SessionState::Waiting { .. } => self.held().map(HeldGrant::interval),
        }
    }

    /// Since when it plays without the authority's word.
    pub fn on_credit(&self) -> Option<Instant> {
        self.unconfirmed.since()
    }

    /// Which call will ask for that word.
    pub fn asks_by(&self) -> AskKind {
        match (&self.state, self.beats) {
            (SessionState::Opening { .. } | SessionState::Owing { .. } | SessionState::Waiting { .. }, _) => {
                AskKind::Open
            }
            (SessionState::Closed { .. } | SessionState::Closing { .. } | SessionState::Killed { .. }, _) => {
                AskKind::Close
            }
            (
                SessionState::Failing { .. } | SessionState::Live { .. } | SessionState::Sharing { .. },
                BeatSource::Renewals { .. },
            ) => AskKind::Renew,
            (
                SessionState::Failing { .. } | SessionState::Live { .. } | SessionState::Sharing { .. },
                BeatSource::Timer,
            ) => AskKind::Beat,
        }
    }

    /// What it plays, if anybody says.
    pub fn stream(&self) -> Option<StreamType> {
        self.evidence.stream()
    }

    /// When the player last called or reported.
    pub(super) fn last_sign(&self) -> Instant {
        self.evidence.last_sign()
    }

    pub(super) fn life(&self) -> &LifeSigns {
        self.evidence.life()
    }

    /// A license, a renewal, media, or the player's word that it plays has reached the player.
    pub fn is_served(&self) -> bool {
        !self.is_unused()
    }

    /// The player has got nothing to play by.
    pub fn is_unused(&self) -> bool {
        self.evidence.is_unused()
    }

    /// Its player asked for something to play by, and nobody knows yet what became of that.
    pub(super) fn has_asked(&self) -> bool {
        self.evidence.usage() == DeliveryState::Asked
    }

    /// What its player asked for has not reached it.
    pub(super) fn has_nothing(&self) -> bool {
        self.evidence.usage() == DeliveryState::Nothing
    }

    /// Opening, live, failing or owing: the player may go on.
    pub fn is_active(&self) -> bool {
        match self.state {
            SessionState::Failing { .. }
            | SessionState::Live { .. }
            | SessionState::Opening { .. }
            | SessionState::Owing { .. }
            | SessionState::Sharing { .. }
            | SessionState::Waiting { .. } => true,
            SessionState::Closed { .. } | SessionState::Closing { .. } | SessionState::Killed { .. } => false,
        }
    }

    /// A renewal of its player's is under way at the authority.
    pub fn is_renewing(&self) -> bool {
        self.lane.is_some_and(|lane| lane.ask == AskKind::Renew)
    }

    /// Its turn may have come.
    pub(super) fn may_start(&self, now: Instant) -> bool {
        match self.state {
            SessionState::Waiting { not_before, .. } => now >= not_before,
            SessionState::Closed { .. }
            | SessionState::Closing { .. }
            | SessionState::Failing { .. }
            | SessionState::Killed { .. }
            | SessionState::Live { .. }
            | SessionState::Opening { .. }
            | SessionState::Owing { .. }
            | SessionState::Sharing { .. } => true,
        }
    }

    /// Waits for its turn among the device's playbacks.
    pub fn is_held(&self) -> bool {
        !self.sharing && self.waits()
    }

    pub(super) fn allowed_silence(&self, policy: &Policy) -> Duration {
        self.held().map_or(Duration::ZERO, HeldGrant::interval) + policy.grace
    }
}
