//! What is known of a session's kill.

use std::time::Instant;

use super::super::verdict::Reason;
use super::{Session, SessionState};

impl Session {
    pub fn is_killed(&self) -> bool {
        self.killed_by().is_some()
    }

    /// Why it was killed, if it was.
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

    /// Since when it is killed, if it was.
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
