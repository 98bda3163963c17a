//! The state of a session as plain data.
//!
//! What is over is written as long as it is remembered, so that its left-over calls are known after a restart.

use serde::{Deserialize, Serialize};

use super::super::end::End;
use super::super::state::{Over, State};
use super::super::verdict::{Denial, Fault, Reason};
use super::form::is_default;
use crate::clock::{Moment, Wall};

/// A state that holds a grant, may hold one, or must not be forgotten: all but a held open.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum StateRecord {
    Closed {
        until: Wall,
        why: OverRecord,
    },
    Closing {
        next: Wall,
        tries: u8,
        why: End,
    },
    Failing {
        missed: u8,
        retry: Wall,
    },
    Killed {
        by: Reason,
        /// An older journal does not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Wall>,
        until: Wall,
    },
    Live {
        beat: Wall,
    },
    Opening {
        since: Wall,
    },
    Owing {
        #[serde(default, skip_serializing_if = "is_default")]
        ran: bool,
        since: Wall,
        tries: u8,
    },
}

/// How one that is over came to be so.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum OverRecord {
    Denied(Denial, Reason),
    Ended(End),
    Spent { again: Wall, fault: Fault },
    Unmanaged,
}

impl StateRecord {
    /// None where nothing of it outlives the process.
    pub(super) fn of(state: &State, at: &Moment) -> Option<Self> {
        Some(match state {
            State::Closed { until, why } => Self::Closed { until: at.wall_of(*until), why: OverRecord::of(why, at)? },
            State::Opening { held: true, .. } => return None,
            State::Closing { next, tries, why } => Self::Closing { next: at.wall_of(*next), tries: *tries, why: *why },
            State::Failing { missed, retry } => Self::Failing { missed: *missed, retry: at.wall_of(*retry) },
            State::Killed { by, since, until } => {
                Self::Killed { by: by.clone(), since: Some(at.wall_of(*since)), until: at.wall_of(*until) }
            }
            State::Live { beat } => Self::Live { beat: at.wall_of(*beat) },
            State::Opening { held: false, since } => Self::Opening { since: at.wall_of(*since) },
            State::Owing { ran, since, tries, .. } => {
                Self::Owing { ran: *ran, since: at.wall_of(*since), tries: *tries }
            }
        })
    }
}

impl OverRecord {
    /// None for what is forgotten within a second.
    pub(super) fn of(over: &Over, at: &Moment) -> Option<Self> {
        Some(match over.clone() {
            Over::Denied(denial, reason) => Self::Denied(denial, reason),
            Over::Ended(end) => Self::Ended(end),
            Over::Spent { again, fault } => Self::Spent { again: at.wall_of(again), fault },
            Over::Unmanaged => Self::Unmanaged,
            Over::Unreachable(_) => return None,
        })
    }

    pub(super) fn restore(&self, at: &Moment) -> Over {
        match self.clone() {
            Self::Denied(denial, reason) => Over::Denied(denial, reason),
            Self::Ended(end) => Over::Ended(end),
            Self::Spent { again, fault } => Over::Spent { again: at.instant_of(again), fault },
            Self::Unmanaged => Over::Unmanaged,
        }
    }
}
