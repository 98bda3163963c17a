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
        if let SessionState::Killed { by, .. } = &self.state { Some(by) } else { None }
    }

    /// Time of its kill, if it was killed.
    pub fn killed_since(&self) -> Option<Instant> {
        if let SessionState::Killed { since, .. } = self.state { Some(since) } else { None }
    }
}
