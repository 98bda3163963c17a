//! What an authority gives, and the names of the calls that need it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// The right to play, as the authority gave it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Grant {
    /// From one beat to the next, as the authority wants it.
    pub interval: Duration,
    /// How long the token is good from when it was given, if it says so.
    pub lifetime: Option<Duration>,
    /// Goes with every call of the session; the authority may replace it in any reply.
    pub token: Secret,
}

/// A call to the authority. One session has at most one of them in flight.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum AskKind {
    Beat,
    Close,
    Open,
    Renew,
}

/// Pairs an answer with the call it belongs to; an answer with another ticket is late.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ticket(pub u32);

impl Ticket {
    /// Whether its call was made after the other one. Their numbers go round.
    pub(super) fn is_after(self, other: Self) -> bool {
        (1..1 << 31).contains(&self.0.wrapping_sub(other.0))
    }
}
