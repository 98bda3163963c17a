//! The effects that the core requests, and its answers to calls. `sessions` carries them out.

use std::time::Duration;

use arrayvec::ArrayVec;
use serde::{Deserialize, Serialize};

use super::end_reason::EndReason;
use super::grant::{AskKind, Grant, Ticket};
use super::player_report::PlayingState;
use super::program_schedule::StreamTimelineEvent;
use super::session_kill::{BlackoutReason, SessionKill};
use super::verdict::{AuthorityFault, Denial, Reason};

/// How a delivered call goes on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CallAnswer {
    /// Forward it to the license server, with this grant.
    Forward(Grant),
    /// Forward it unchanged: no session applies.
    Pass,
    Refuse(SessionRefusal),
    /// Send it to the authority's renewal call, with this grant; the answer must be delivered with the ticket.
    Renew(Grant, Ticket),
    /// Repeat it when woken.
    Wait,
}

impl CallAnswer {
    pub fn refusal(&self) -> Option<&SessionRefusal> {
        match self {
            Self::Refuse(refusal) => Some(refusal),
            Self::Forward(_) | Self::Pass | Self::Renew(..) | Self::Wait => None,
        }
    }
}

/// The reason why a call is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SessionRefusal {
    Denied(Denial, Reason),
    Ended(EndReason),
    /// The call would open a session, but its content token has expired.
    Expired,
    Killed(SessionKill),
    /// No decision was available.
    Unreachable(AuthorityFault),
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Effect {
    Ask(AuthorityAsk),
    /// The playback was forgotten before its time, for want of room.
    Displace(RetentionClass),
    /// The playback needs no memory any more.
    Forget,
    Note(SessionEvent),
    /// Waiting calls may be repeated.
    Wake,
}

/// The class of a remembered playback that is over; only others of its class displace it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum RetentionClass {
    /// The playback ended, or was refused.
    Ended,
    /// The authority or an operator killed it.
    Killed,
    /// Its place went to another device.
    Replaced,
}

impl RetentionClass {
    pub const ALL: [Self; 3] = [Self::Ended, Self::Killed, Self::Replaced];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Killed => "killed",
            Self::Replaced => "replaced",
        }
    }
}

impl Effect {
    /// Adds the grant of the session beside it to an open.
    pub(super) fn beside(self, grant: Option<&Grant>) -> Self {
        match self {
            Self::Ask(ask) if ask.kind == AskKind::Open => Self::Ask(AuthorityAsk { beside: grant.cloned(), ..ask }),
            Self::Ask(_) | Self::Displace(_) | Self::Forget | Self::Note(_) | Self::Wake => self,
        }
    }
}

/// A call to the authority that the shell makes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuthorityAsk {
    /// For an open: another session of the same device, if one of the two may be a preload.
    pub beside: Option<Grant>,
    /// Absent for an open.
    pub grant: Option<Grant>,
    pub kind: AskKind,
    pub ticket: Ticket,
    pub told: PlayerFacts,
}

impl AuthorityAsk {
    /// Gives back a grant that no session has.
    pub fn giving_back(grant: Grant, told: PlayerFacts) -> Self {
        Self { beside: None, grant: Some(grant), kind: AskKind::Close, ticket: Ticket::OrphanedGrant, told }
    }
}

/// The player's last reported facts, for authorities that want them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PlayerFacts {
    /// Position since the content's beginning, extrapolated to now while it plays.
    pub playhead: Option<Duration>,
    pub playing: Option<PlayingState>,
}

/// An event for the log, a metric or a timeline.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum SessionEvent {
    Beat,
    /// A beat was sent this much late.
    BeatLate(Duration),
    /// The content may no longer be shown.
    Blackout(BlackoutReason),
    Closed(EndReason),
    /// A call to the authority failed; the dialect knows the event's name.
    Failed(AskKind, Reason),
    /// An operator took its kill back: its player may begin anew.
    Forgiven,
    /// Another playback of the device joined its session.
    Joined,
    Killed(SessionKill),
    /// A playback that shares the session is over; the session goes on with the others.
    Left(EndReason),
    /// Its newest token was lost with an answer: it cannot be given back, and the authority lets it expire.
    LeftOpen,
    /// The playback plays without the authority's word from now on: with its last grant, or without any.
    OnCredit {
        running: bool,
    },
    Opened {
        interval: Duration,
    },
    /// The process died during the open: its possible grant expires.
    Orphaned,
    /// A moment of the programme has come.
    Reached(StreamTimelineEvent),
    /// The authority answers again after this many lost beats.
    Recovered(u8),
    Refused(Denial, Reason),
    /// The authority no longer knows it, because an answer was lost: another session opens in its place.
    Reopening,
    /// The playback continues after a restart.
    Resumed,
    Renewed,
    /// The player's own renewals are the beats from now on.
    RenewalsCarry,
    /// The viewer came back to it before its close was sent.
    Returned,
    /// Its credit has ended after this long, by an answer or otherwise.
    Settled(Duration),
    /// A call that had been given up was answered.
    Stale(AskKind),
    Unmanaged,
}

#[derive(Debug, Default)]
pub struct Effects {
    /// Set exactly if the input was a call.
    pub answer: Option<CallAnswer>,
    pub list: ArrayVec<Effect, { Self::MAX_EFFECTS_PER_STEP }>,
}

impl Effects {
    const MAX_EFFECTS_PER_STEP: usize = 8;

    pub(super) fn push(&mut self, effect: Effect) {
        let full = self.list.try_push(effect).is_err();
        debug_assert!(!full, "one step has at most {} effects", Self::MAX_EFFECTS_PER_STEP);
    }
}
