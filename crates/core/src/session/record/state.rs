//! The state of a session as plain data.
//!
//! A session that is over is written as long as it is remembered, so that its left-over calls are recognised after a
//! restart.

use serde::{Deserialize, Serialize};

use super::super::end_reason::EndReason;
use super::super::grant_release::GrantRelease;
use super::super::session_kill::SessionKill;
use super::super::state::{Session, SessionClosure, SessionState};
use super::super::verdict::{AuthorityFault, Denial, Reason};
use super::serde_helpers::is_default;
use crate::time::{ClockMoment, EpochTime};

/// A state that holds a grant, may hold one, or must not be forgotten: all except a held open.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum StateRecord {
    Closed {
        until: EpochTime,
        why: SessionClosureRecord,
    },
    Closing {
        next: EpochTime,
        tries: u8,
        why: EndReason,
    },
    Failing {
        missed: u8,
        retry: EpochTime,
    },
    Killed {
        by: SessionKill,
        since: EpochTime,
        until: EpochTime,
    },
    #[serde(rename = "l")]
    Live {
        #[serde(rename = "b")]
        beat: EpochTime,
    },
    Opening {
        since: EpochTime,
    },
    Owing {
        #[serde(default, skip_serializing_if = "is_default")]
        ran: bool,
        since: EpochTime,
        tries: u8,
    },
}

/// How a closed session ended.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum SessionClosureRecord {
    Denied(Denial, Reason),
    Ended(EndReason),
    Spent { again: EpochTime, fault: AuthorityFault },
    Unmanaged,
}

impl StateRecord {
    /// `None` if nothing of it must survive the process.
    pub(super) fn of(session: &Session, at: &ClockMoment) -> Option<Self> {
        Some(match &session.state {
            SessionState::Closed { until, why } => {
                Self::Closed { until: at.wall_of(*until), why: SessionClosureRecord::of(why, at)? }
            }
            SessionState::Waiting { .. } => return None,
            SessionState::Closing { release, why } => Self::Closing {
                next: at.wall_of(release.as_ref().map_or(at.time(), GrantRelease::next)),
                tries: release.as_ref().map_or(0, GrantRelease::tries),
                why: *why,
            },
            SessionState::Failing { missed, retry, .. } => Self::Failing { missed: *missed, retry: at.wall_of(*retry) },
            SessionState::Killed { by, since, until, .. } => {
                Self::Killed { by: (**by).clone(), since: at.wall_of(*since), until: at.wall_of(*until) }
            }
            SessionState::Live { beat, .. } => Self::Live { beat: at.wall_of(*beat) },
            SessionState::Opening { since } => Self::Opening { since: at.wall_of(*since) },
            // It sends no beats: it joined at that time, or was confirmed since.
            SessionState::Sharing { .. } => Self::Live { beat: at.wall_of(session.last_good()) },
            SessionState::Owing { ran, since, tries, .. } => {
                Self::Owing { ran: *ran, since: at.wall_of(*since), tries: *tries }
            }
        })
    }
}

impl SessionClosureRecord {
    /// `None` for an end that is forgotten within a second.
    pub(super) fn of(over: &SessionClosure, at: &ClockMoment) -> Option<Self> {
        Some(match over.clone() {
            SessionClosure::Denied(denial, reason) => Self::Denied(denial, *reason),
            SessionClosure::Ended(end) => Self::Ended(end),
            SessionClosure::Spent { again, fault } => Self::Spent { again: at.wall_of(again), fault: *fault },
            SessionClosure::Unmanaged => Self::Unmanaged,
            SessionClosure::Unreachable(_) => return None,
        })
    }

    pub(super) fn restore(&self, at: &ClockMoment) -> SessionClosure {
        match self.clone() {
            Self::Denied(denial, reason) => SessionClosure::Denied(denial, reason.into()),
            Self::Ended(end) => SessionClosure::Ended(end),
            Self::Spent { again, fault } => SessionClosure::Spent { again: at.time_of(again), fault: fault.into() },
            Self::Unmanaged => SessionClosure::Unmanaged,
        }
    }
}
