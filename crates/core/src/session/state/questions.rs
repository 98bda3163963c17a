//! Answers questions about a session by its state, each in one place.

use super::{SessionClosure, SessionState};
use crate::session::end_reason::EndReason;

impl SessionState {
    /// True if the player has its session, or goes on without the authority's word: its evidence counts from then on.
    pub(in crate::session) fn has_begun(&self) -> bool {
        match self {
            Self::Failing { .. } | Self::Live { .. } | Self::Owing { .. } | Self::Sharing { .. } => true,
            Self::Closed { .. }
            | Self::Closing { .. }
            | Self::Killed { .. }
            | Self::Opening { .. }
            | Self::Waiting { .. } => false,
        }
    }

    /// Reason for which the session ended by itself, or is about to.
    pub(in crate::session) fn end_reason(&self) -> Option<EndReason> {
        match self {
            Self::Closed { why: SessionClosure::Ended(why), .. } | Self::Closing { why, .. } => Some(*why),
            Self::Closed { .. }
            | Self::Failing { .. }
            | Self::Killed { .. }
            | Self::Live { .. }
            | Self::Opening { .. }
            | Self::Owing { .. }
            | Self::Sharing { .. }
            | Self::Waiting { .. } => None,
        }
    }
}
