//! What stays of a session that is over, for whoever still asks.

use std::time::Instant;

use super::{Session, SessionState};

use super::super::effect::SessionRefusal;
use super::super::end_reason::EndReason;
use super::super::verdict::{AuthorityFault, Denial, Reason};

/// How a closed session came to be so.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SessionClosure {
    Denied(Denial, Reason),
    Ended(EndReason),
    /// As unreachable, after its credit was spent, that of a running one too; remembered, so that it gets
    /// none anew. It may ask `again` from then on.
    Spent {
        again: Instant,
        fault: AuthorityFault,
    },
    Unmanaged,
    Unreachable(AuthorityFault),
}

impl SessionClosure {
    /// What it is to whoever still asks; none where nobody need manage it.
    pub fn refusal(&self) -> Option<SessionRefusal> {
        match self {
            Self::Denied(denial, reason) => Some(SessionRefusal::Denied(*denial, reason.clone())),
            Self::Ended(end) => Some(SessionRefusal::Ended(*end)),
            Self::Spent { fault, .. } | Self::Unreachable(fault) => Some(SessionRefusal::Unreachable(fault.clone())),
            Self::Unmanaged => None,
        }
    }
}

impl SessionState {
    /// Over, or about to be, because another playback is presumed to be the one that plays.
    pub(super) fn gives_way(&self) -> bool {
        match self {
            Self::Closed { why: SessionClosure::Ended(why), .. } | Self::Closing { why, .. } => {
                *why == EndReason::GaveWay
            }
            Self::Closed { .. }
            | Self::Failing { .. }
            | Self::Killed { .. }
            | Self::Live { .. }
            | Self::Opening { .. }
            | Self::Owing { .. }
            | Self::Sharing { .. }
            | Self::Waiting { .. } => false,
        }
    }
}

impl Session {
    /// Whether its content token can still be of use: to open it, or to calls that pass under it without one of their
    /// own. Else its fingerprint is enough.
    pub fn may_need_token(&self) -> bool {
        match &self.state {
            SessionState::Closed { why, .. } => match why {
                SessionClosure::Ended(EndReason::GaveWay) | SessionClosure::Unmanaged => true,
                SessionClosure::Denied(..)
                | SessionClosure::Ended(_)
                | SessionClosure::Spent { .. }
                | SessionClosure::Unreachable(_) => false,
            },
            // One that was zapped away may be opened after all.
            SessionState::Closing { .. }
            | SessionState::Failing { .. }
            | SessionState::Live { .. }
            | SessionState::Opening { .. }
            | SessionState::Owing { .. }
            | SessionState::Sharing { .. }
            | SessionState::Waiting { .. } => true,
            SessionState::Killed { .. } => false,
        }
    }

    /// It is over, or about to be, because another one is presumed to play: its player can take it back.
    pub fn gives_way(&self) -> bool {
        self.state.gives_way()
    }

    /// It gave way, and is opened again.
    pub fn returns(&self) -> bool {
        self.way_back.is_returning()
    }
}
