//! Tells whether a session was killed, by whom and when.

use std::time::Instant;

use super::super::verdict::Reason;
use super::{Session, SessionState};

impl Session {
    pub fn is_killed(&self) -> bool {
        self.killed_by().is_some()
    }

    /// Reason of its kill, if it was killed.
    pub fn killed_by(&self) -> Option<&Reason> {
        match &self.state {
            SessionState::Killed { by, .. } => Some(by),
            SessionState::Closed { .. }
            | SessionState::Closing { .. }
            | SessionState::Failing { .. }
            | SessionState::Live { .. }
            | SessionState::Opening { .. }
            | SessionState::Owing { .. }
            | SessionState::Sharing { .. }
            | SessionState::Waiting { .. } => None,
        }
    }

    /// Time of its kill, if it was killed.
    pub fn killed_since(&self) -> Option<Instant> {
        match &self.state {
            SessionState::Killed { since, .. } => Some(*since),
            SessionState::Closed { .. }
            | SessionState::Closing { .. }
            | SessionState::Failing { .. }
            | SessionState::Live { .. }
            | SessionState::Opening { .. }
            | SessionState::Owing { .. }
            | SessionState::Sharing { .. }
            | SessionState::Waiting { .. } => None,
        }
    }
}
