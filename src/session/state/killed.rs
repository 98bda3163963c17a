//! What is known of a session's kill.

use std::time::Instant;

use super::super::verdict::Reason;
use super::{Session, State};

impl Session {
    pub fn is_killed(&self) -> bool {
        self.killed_by().is_some()
    }

    /// Why it was killed, if it was.
    pub fn killed_by(&self) -> Option<&Reason> {
        match &self.state {
            State::Killed { by, .. } => Some(by),
            State::Closed { .. }
            | State::Closing { .. }
            | State::Failing { .. }
            | State::Live { .. }
            | State::Opening { .. }
            | State::Owing { .. } => None,
        }
    }

    /// Since when it is killed, if it was.
    pub fn killed_since(&self) -> Option<Instant> {
        match &self.state {
            State::Killed { since, .. } => Some(*since),
            State::Closed { .. }
            | State::Closing { .. }
            | State::Failing { .. }
            | State::Live { .. }
            | State::Opening { .. }
            | State::Owing { .. } => None,
        }
    }
}
