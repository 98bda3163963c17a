//! What stays of a session that is over, for whoever still asks.

use std::time::Instant;

use super::{Session, State};

use super::super::effect::Refusal;
use super::super::end::End;
use super::super::verdict::{Denial, Fault, Reason};

/// How a closed session came to be so.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Over {
    Denied(Denial, Reason),
    Ended(End),
    /// As unreachable, after its credit was spent, that of a running one too; remembered, so that it gets
    /// none anew. It may ask `again` from then on.
    Spent {
        again: Instant,
        fault: Fault,
    },
    Unmanaged,
    Unreachable(Fault),
}

impl Over {
    /// What it is to whoever still asks; none where nobody need manage it.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Denied(denial, reason) => Some(Refusal::Denied(*denial, reason.clone())),
            Self::Ended(end) => Some(Refusal::Ended(*end)),
            Self::Spent { fault, .. } | Self::Unreachable(fault) => Some(Refusal::Unreachable(fault.clone())),
            Self::Unmanaged => None,
        }
    }
}

impl Session {
    /// Whether its content token can still be of use: to open it, or to calls that pass under it without one of their
    /// own. Else its fingerprint is enough.
    pub fn may_need_token(&self) -> bool {
        match &self.state {
            State::Closed { why, .. } => match why {
                Over::Ended(End::GaveWay) | Over::Unmanaged => true,
                Over::Denied(..) | Over::Ended(_) | Over::Spent { .. } | Over::Unreachable(_) => false,
            },
            // One that was zapped away may be opened after all.
            State::Closing { .. }
            | State::Failing { .. }
            | State::Live { .. }
            | State::Opening { .. }
            | State::Owing { .. } => true,
            State::Killed { .. } => false,
        }
    }

    /// It is over, or about to be, because another one is presumed to play: its player can take it back.
    pub fn gives_way(&self) -> bool {
        match self.state {
            State::Closed { why: Over::Ended(why), .. } | State::Closing { why, .. } => why == End::GaveWay,
            State::Closed { .. }
            | State::Failing { .. }
            | State::Killed { .. }
            | State::Live { .. }
            | State::Opening { .. }
            | State::Owing { .. } => false,
        }
    }

    /// It gave way, and is opened again.
    pub fn returns(&self) -> bool {
        self.returns
    }
}
