//! What the core wants done, and what a player's call is answered.

use std::time::Duration;

use arrayvec::ArrayVec;
use serde::{Deserialize, Serialize};

use super::end_reason::EndReason;
use super::grant::{AskKind, Grant, Ticket};
use super::player_report::PlayingState;
use super::program_schedule::StreamTimelineEvent;
use super::verdict::{AuthorityFault, Denial, Reason};

/// How the call that was delivered goes on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CallAnswer {
    /// To the license server, with this grant.
    Forward(Grant),
    /// To the license server as it came: no session applies.
    Pass,
    Refuse(SessionRefusal),
    /// To the authority's renewal call, with this grant; the answer must be delivered with the ticket.
    Renew(Grant, Ticket),
    /// Ask again when woken.
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

/// Why a player is turned away.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SessionRefusal {
    Denied(Denial, Reason),
    Ended(EndReason),
    /// It would open a session, but its content token has expired.
    Expired,
    Killed(Reason),
    /// No decision could be had.
    Unreachable(AuthorityFault),
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Effect {
    Ask(AuthorityAsk),
    /// Forgotten before its time, for want of room.
    Displace(RetentionClass),
    /// Nothing is left to remember.
    Forget,
    Note(SessionEvent),
    /// Calls that were told to wait may ask again.
    Wake,
}

/// What is remembered of a playback that is over, and displaced by others of its kind alone.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum RetentionClass {
    /// It ended, or was refused.
    Ended,
    /// It was killed by the authority or an operator.
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
    /// As it is, where it asks for a session beside this one.
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
    /// For an open: another session of the same device, that one of the two may be a preload beside.
    pub beside: Option<Grant>,
    /// Absent for an open.
    pub grant: Option<Grant>,
    pub kind: AskKind,
    pub ticket: Ticket,
    pub told: PlayerFacts,
}

impl AuthorityAsk {
    /// Gives back what no session has any more.
    pub fn giving_back(grant: Grant, told: PlayerFacts) -> Self {
        Self { beside: None, grant: Some(grant), kind: AskKind::Close, ticket: Ticket(0), told }
    }
}

/// What the player last told of itself, for authorities that want to know.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PlayerFacts {
    /// Since the content's beginning, carried on to now while it plays.
    pub playhead: Option<Duration>,
    pub playing: Option<PlayingState>,
}

/// What a log, a metric or a timeline shows.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum SessionEvent {
    Beat,
    /// A beat was sent this much after it was due.
    BeatLate(Duration),
    /// The content may not be shown any more.
    Blackout(Reason),
    Closed(EndReason),
    /// A call to the authority failed; the dialect knows the event's name.
    Failed(AskKind, Reason),
    /// An operator took its kill back: its player may begin anew.
    Forgiven,
    /// Another playback of the device plays by its session.
    Joined,
    Killed(Reason),
    /// One of the playbacks that share the session is over; the session goes on with the others.
    Left(EndReason),
    /// Its newest token was lost with an answer: nobody can give it back, and the authority lets it expire.
    LeftOpen,
    /// From now on it plays without the authority's word: with its last grant, or without any.
    OnCredit {
        running: bool,
    },
    Opened {
        interval: Duration,
    },
    /// The process died while the open was under way: what it may have brought expires.
    Orphaned,
    /// The clock has come to this moment of the programme.
    Reached(StreamTimelineEvent),
    /// The authority answers again after this many lost beats.
    Recovered(u8),
    Refused(Denial, Reason),
    /// The authority knows it no more, because an answer was lost: another session is opened in its place.
    Reopening,
    /// Goes on after a restart.
    Resumed,
    Renewed,
    /// From now on the player's own renewals are the beats.
    RenewalsCarry,
    /// The viewer came back to it before its close was sent.
    Returned,
    /// Its credit has ended, one way or the other, after this long.
    Settled(Duration),
    /// An answer came for a call that had been given up.
    Stale(AskKind),
    Unmanaged,
}

#[derive(Debug, Default)]
pub struct Effects {
    /// Set exactly when the input was a call.
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
