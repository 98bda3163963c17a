//! The authority's grant of a session, and the kinds of calls that need it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// The right to play, as the authority gave it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Grant {
    /// Time between two beats that the authority wants.
    pub interval: Duration,
    /// Validity of the token from when it was given, if known.
    pub lifetime: Option<Duration>,
    /// Token for every call of the session; any reply of the authority may replace it.
    pub token: Secret,
}

/// A call to the authority. A session has at most one in flight.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum AskKind {
    Beat,
    Close,
    Open,
    Renew,
}

/// Pairs an answer with the call it belongs to; an answer with another ticket is late.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ticket {
    /// The close of an orphaned grant: no session has it, and none waits for the answer.
    OrphanedGrant,
    /// A call of a session, by its number.
    Session(u32),
}

impl Ticket {
    /// The number for a wire that wants one; sessions count from one.
    pub fn number(self) -> u32 {
        match self {
            Self::OrphanedGrant => 0,
            Self::Session(number) => number,
        }
    }
}
