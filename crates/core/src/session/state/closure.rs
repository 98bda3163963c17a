//! The end of a session as its later callers meet it.

use super::{Session, SessionState};

use super::super::effect::SessionRefusal;
use super::super::end_reason::EndReason;
use super::super::verdict::{AuthorityFault, Denial, Reason};
use crate::time::MonotonicTime;

/// How a closed session ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SessionClosure {
    Denied(Denial, Box<Reason>),
    Ended(EndReason),
    /// As unreachable, after its credit was spent, also as a running one; remembered, so that it gets no new credit. It
    /// may ask `again` from then on.
    Spent {
        again: MonotonicTime,
        fault: Box<AuthorityFault>,
    },
    Unmanaged,
    Unreachable(Box<AuthorityFault>),
}

impl SessionClosure {
    /// The refusal for later callers; `None` if no session is needed.
    pub fn refusal(&self) -> Option<SessionRefusal> {
        match self {
            Self::Denied(denial, reason) => Some(SessionRefusal::Denied(*denial, (**reason).clone())),
            Self::Ended(end) => Some(SessionRefusal::Ended(*end)),
            Self::Spent { fault, .. } | Self::Unreachable(fault) => {
                Some(SessionRefusal::Unreachable((**fault).clone()))
            }
            Self::Unmanaged => None,
        }
    }
}

impl SessionState {
    /// True if it is over, or about to be, because another playback is presumed to play instead.
    pub(super) fn gives_way(&self) -> bool {
        self.end_reason() == Some(EndReason::GaveWay)
    }
}

impl Session {
    /// True if its content token may be needed: to open it, or for calls that pass under it without a token of their
    /// own. Otherwise its fingerprint suffices.
    pub fn may_need_token(&self) -> bool {
        match &self.state {
            SessionState::Closed { why, .. } => match why {
                SessionClosure::Ended(EndReason::GaveWay) | SessionClosure::Unmanaged => true,
                SessionClosure::Denied(..)
                | SessionClosure::Ended(_)
                | SessionClosure::Spent { .. }
                | SessionClosure::Unreachable(_) => false,
            },
            // A playback that was zapped away may be opened after all.
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

    /// True if it is over, or about to be, because another playback is presumed to play: its player can take it back.
    pub fn gives_way(&self) -> bool {
        self.state.gives_way()
    }

    /// True if it gave way, and is being opened again.
    pub fn returns(&self) -> bool {
        self.way_back.is_returning()
    }
}
