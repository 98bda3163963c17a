//! Tells whether a session was killed, by whom and when.

use super::super::session_kill::SessionKill;
use super::{Session, SessionState};
use crate::time::MonotonicTime;

impl Session {
    pub fn is_killed(&self) -> bool {
        self.killed_by().is_some()
    }

    /// Cause of its kill, if it was killed.
    pub fn killed_by(&self) -> Option<&SessionKill> {
        if let SessionState::Killed { by, .. } = &self.state { Some(by) } else { None }
    }

    /// Time of its kill, if it was killed.
    pub fn killed_since(&self) -> Option<MonotonicTime> {
        if let SessionState::Killed { since, .. } = self.state { Some(since) } else { None }
    }
}
