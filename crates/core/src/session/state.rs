//! A session: its state, its grant, and the one call that it may have in flight.
//!
//! The states are Waiting, Opening, Live, Failing, Owing, Sharing, Closing, Closed and Killed; `step` moves a session
//! between them.

mod closure;
mod counted;
mod invariants;
mod killed;
mod questions;
mod transitions;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(super) use self::closure::SessionClosure;
pub(super) use self::transitions::Forfeit;
use super::confirmation::Confirmation;
use super::end_reason::EndReason;
use super::grant::{AskKind, Grant};
use super::grant_release::GrantRelease;
use super::held_grant::HeldGrant;
use super::life_signs::LifeSigns;
use super::player_evidence::PlayerEvidence;
use super::player_report::{PlayingState, StreamType};
use super::policy::Policy;
use super::program_schedule::Schedule;
use super::session_calls::SessionCalls;
use super::session_kill::SessionKill;
use super::unconfirmed_run::UnconfirmedRun;
use super::way_back::WayBack;
use crate::time::MonotonicTime;

#[derive(Clone, Debug)]
pub enum SessionState {
    /// Over, and remembered for left-over calls.
    Closed { until: MonotonicTime, why: SessionClosure },
    /// Its close is being sent. Without a grant while its open is in flight.
    Closing { release: Option<GrantRelease>, why: EndReason },
    /// Beats are lost, but the authority may still hold the session. A retry that is sent before `regular`, the time of
    /// the next regular beat, and lost does not count as another failure.
    Failing { grant: HeldGrant, missed: u8, regular: Option<MonotonicTime>, retry: MonotonicTime },
    /// Ended by the authority or an operator, for good. With a grant until that is given back.
    Killed { by: Box<SessionKill>, release: Option<GrantRelease>, since: MonotonicTime, until: MonotonicTime },
    /// Confirmed; `beat` is the time of the next beat, if sidebeat sends them.
    Live { beat: MonotonicTime, grant: HeldGrant },
    /// Its open is in flight.
    Opening { since: MonotonicTime },
    /// Plays on credit since then: the open failed without a decision, and is tried again. `ran`: it had a session, and
    /// has the budget of running ones.
    Owing { next: MonotonicTime, ran: bool, since: MonotonicTime, tries: u8 },
    /// Plays by its device's session, which has this interval, and makes no calls to the authority.
    Sharing { interval: Duration },
    /// Waits for its turn among the device's playbacks, without a call so far, and not to be started before then.
    Waiting { not_before: MonotonicTime, since: MonotonicTime },
}

/// The sender of the beats.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BeatSource {
    /// The player, by renewing its license this often.
    Renewals { every: Option<Duration> },
    /// sidebeat, at the authority's interval.
    Timer,
}

/// The delivery to its player: did that receive anything to play by?
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum DeliveryState {
    /// The player asked, and the outcome is unknown.
    Asked,
    #[default]
    Got,
    /// The player did not receive what it asked for.
    Nothing,
}

#[derive(Debug)]
pub struct Session {
    pub(super) beats: BeatSource,
    pub(super) calls: SessionCalls,
    pub(super) confirmation: Confirmation,
    pub(super) deadline: Option<MonotonicTime>,
    pub(super) evidence: PlayerEvidence,
    pub(super) schedule: Schedule,
    /// True if it shares its device's session and has none of its own.
    pub(super) sharing: bool,
    pub(super) state: SessionState,
    pub(super) unconfirmed: UnconfirmedRun,
    pub(super) way_back: WayBack,
}

impl Session {
    /// A session that waits for its [`super::Input::Start`]. `seed` spreads its beats.
    pub fn new(now: MonotonicTime, seed: u32, policy: &Policy) -> Self {
        Self {
            beats: BeatSource::Timer,
            calls: SessionCalls::new(seed),
            confirmation: Confirmation::none(now),
            deadline: Some(now + policy.call_timeout),
            evidence: PlayerEvidence::new(now, policy.stream),
            schedule: policy.schedule.clone().unwrap_or_default(),
            sharing: false,
            state: SessionState::Waiting { not_before: now, since: now },
            unconfirmed: UnconfirmedRun::default(),
            way_back: WayBack::default(),
        }
    }

    /// Requests a tick at that time, if nothing happens before.
    pub(super) fn look_at(&mut self, at: MonotonicTime) {
        self.deadline = self.deadline.map(|deadline| deadline.min(at));
    }

    /// Delays the start until `at`, even if its turn comes before.
    pub(super) fn hold_until(&mut self, at: MonotonicTime) {
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

    /// Time at which the session needs its next [`super::Input::Tick`].
    pub fn deadline(&self) -> Option<MonotonicTime> {
        self.deadline
    }

    /// Time since which its player has no connection; `None` while it has one, or none was seen to end.
    pub fn alone_since(&self) -> Option<MonotonicTime> {
        self.evidence.alone_since()
    }

    /// The player's last reported state, if it reports.
    pub fn playing(&self) -> Option<PlayingState> {
        self.evidence.playing()
    }

    /// True if it is known to be live.
    pub fn is_live(&self) -> bool {
        self.stream() == Some(StreamType::Live)
    }

    /// Time of the authority's last confirmation.
    pub fn last_good(&self) -> MonotonicTime {
        self.confirmation.at()
    }

    pub fn grant(&self) -> Option<&Grant> {
        self.held().map(HeldGrant::as_grant)
    }

    /// End of its grant's token, if known.
    pub(super) fn good_until(&self) -> Option<MonotonicTime> {
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

    /// Start of its run without the authority's word.
    pub fn on_credit(&self) -> Option<MonotonicTime> {
        self.unconfirmed.since()
    }

    /// The kind of the next call to the authority.
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

    /// The kind of stream, if known.
    pub fn stream(&self) -> Option<StreamType> {
        self.evidence.stream()
    }

    /// Time of the player's last call or report.
    pub(super) fn last_sign(&self) -> MonotonicTime {
        self.evidence.last_sign()
    }

    pub(super) fn life(&self) -> &LifeSigns {
        self.evidence.life()
    }

    /// True if a license, a renewal or media reached the player, or it reported that it plays.
    pub fn is_served(&self) -> bool {
        !self.is_unused()
    }

    /// True if the player received nothing to play by.
    pub fn is_unused(&self) -> bool {
        self.evidence.is_unused()
    }

    /// True if its player asked for something to play by, with an unknown outcome.
    pub(super) fn has_asked(&self) -> bool {
        self.evidence.usage() == DeliveryState::Asked
    }

    /// True if its player did not receive what it asked for.
    pub(super) fn has_nothing(&self) -> bool {
        self.evidence.usage() == DeliveryState::Nothing
    }

    /// True if the player may go on: waiting, opening, live, failing, owing or sharing.
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

    /// True if a renewal of its player is in flight at the authority.
    pub fn is_renewing(&self) -> bool {
        self.calls.is_asking(AskKind::Renew)
    }

    /// True if its start is not delayed any more.
    pub(super) fn may_start(&self, now: MonotonicTime) -> bool {
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

    /// True if it waits for its turn among the device's playbacks.
    pub fn is_held(&self) -> bool {
        !self.sharing && self.waits()
    }

    pub(super) fn allowed_silence(&self, policy: &Policy) -> Duration {
        self.held().map_or(Duration::ZERO, HeldGrant::interval) + policy.grace
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Playback;

    /// A million of them are kept; a change that adds to one is seen here first.
    #[test]
    fn a_session_is_no_larger_than_it_was() {
        const MAX_SESSION_BYTES: usize = 344;
        const MAX_PLAYBACK_BYTES: usize = MAX_SESSION_BYTES + 200;
        assert!(size_of::<Session>() <= MAX_SESSION_BYTES, "{} bytes", size_of::<Session>());
        assert!(size_of::<Playback<()>>() <= MAX_PLAYBACK_BYTES, "{} bytes", size_of::<Playback<()>>());
    }
}
