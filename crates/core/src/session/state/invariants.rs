//! The invariants of a session, which hold in every state.
//!
//! Debug builds check them after every step, and so do tests and fuzzers.

use super::{Session, SessionState};
use crate::session::grant::AskKind;

impl Session {
    pub(in super::super) fn check_invariants(&self) {
        debug_assert!(
            !self.sharing || (self.held().is_none() && self.calls.is_idle()),
            "what shares its device's session asks nothing: {:?}",
            self.state
        );
        debug_assert!(
            match (&self.state, self.calls.in_flight().map(|call| call.ask)) {
                (SessionState::Closed { .. }, lane) => lane.is_none(),
                (SessionState::Closing { release, .. }, lane) => lane.is_some() || release.is_some(),
                (SessionState::Failing { .. } | SessionState::Live { .. }, lane) => {
                    matches!(lane, None | Some(AskKind::Beat | AskKind::Renew))
                }
                (SessionState::Killed { .. }, _) => true,
                (SessionState::Owing { .. }, lane) => matches!(lane, None | Some(AskKind::Open)),
                (SessionState::Opening { .. }, lane) => lane == Some(AskKind::Open),
                (SessionState::Sharing { .. }, lane) => self.sharing && lane.is_none(),
                (SessionState::Waiting { .. }, lane) => lane.is_none(),
            },
            "each state has its calls: {:?} with {:?}",
            self.state,
            self.calls
        );
        debug_assert!(
            !self.unconfirmed.is_running()
                || matches!(self.state, SessionState::Failing { .. } | SessionState::Owing { .. }),
            "credit is settled by whatever ends it: {:?}",
            self.state
        );
        debug_assert!(self.deadline.is_some(), "every state ends some day: {:?}", self.state);
    }
}
