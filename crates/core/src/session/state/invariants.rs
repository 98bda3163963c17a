//! What holds of a session in every state, and the ways from one to the next.
//!
//! Checked in debug builds: tests and fuzzers run through it.

use super::{Session, SessionState};
use crate::session::grant::AskKind;

impl Session {
    /// The legal ways from state to state; everything else is a mistake of ours.
    pub(in super::super) fn enter(&mut self, next: SessionState) {
        debug_assert!(
            match (&self.state, &next) {
                (SessionState::Closed { .. }, SessionState::Killed { .. }) => true,
                (SessionState::Closed { .. }, SessionState::Closed { .. } | SessionState::Waiting { .. }) =>
                    self.gives_way(),
                (SessionState::Closed { .. } | SessionState::Killed { .. }, _) => false,
                (SessionState::Waiting { .. }, SessionState::Sharing { .. }) => self.sharing,
                (SessionState::Waiting { .. }, next) => matches!(
                    next,
                    SessionState::Closed { .. } | SessionState::Killed { .. } | SessionState::Opening { .. }
                ),
                (SessionState::Sharing { .. }, next) =>
                    matches!(next, SessionState::Closed { .. } | SessionState::Killed { .. }),
                (_, SessionState::Sharing { .. } | SessionState::Waiting { .. }) => false,
                (SessionState::Opening { .. }, _) => true,
                (
                    SessionState::Closing { .. },
                    SessionState::Closed { .. } | SessionState::Closing { .. } | SessionState::Killed { .. },
                ) => true,
                (SessionState::Closing { .. }, SessionState::Live { .. } | SessionState::Opening { .. }) =>
                    self.away.is_some(),
                (SessionState::Closing { .. }, SessionState::Failing { .. } | SessionState::Owing { .. }) => false,
                (
                    SessionState::Live { .. } | SessionState::Failing { .. } | SessionState::Owing { .. },
                    SessionState::Opening { .. },
                ) => false,
                (SessionState::Owing { .. }, SessionState::Failing { .. }) => false,
                (SessionState::Live { .. } | SessionState::Failing { .. } | SessionState::Owing { .. }, _) => true,
            },
            "from {:?} to {next:?}",
            self.state,
        );
        self.state = next;
    }

    pub(in super::super) fn check_invariants(&self) {
        debug_assert!(
            self.grant.is_none()
                || matches!(
                    self.state,
                    SessionState::Closing { .. }
                        | SessionState::Failing { .. }
                        | SessionState::Killed { .. }
                        | SessionState::Live { .. }
                ),
            "a grant is held only while it can be given back: {:?}",
            self.state
        );
        debug_assert!(
            self.grant.is_some() || !matches!(self.state, SessionState::Live { .. } | SessionState::Failing { .. }),
            "without a grant nothing is live: {:?}",
            self.state
        );
        debug_assert!(
            !self.sharing || (self.grant.is_none() && self.lane.is_none()),
            "what shares its device's session asks nothing: {:?}",
            self.state
        );
        debug_assert!(
            match (&self.state, self.lane.map(|lane| lane.ask)) {
                (SessionState::Closed { .. }, lane) => lane.is_none(),
                (SessionState::Closing { .. }, lane) => lane.is_some() || self.grant.is_some(),
                (SessionState::Failing { .. } | SessionState::Live { .. }, lane) => {
                    matches!(lane, None | Some(AskKind::Beat | AskKind::Renew))
                }
                (SessionState::Killed { .. }, lane) =>
                    lane.is_some() || self.grant.is_none() || self.lost_close.is_some(),
                (SessionState::Owing { .. }, lane) => matches!(lane, None | Some(AskKind::Open)),
                (SessionState::Opening { .. }, lane) => lane == Some(AskKind::Open),
                (SessionState::Sharing { .. }, lane) => self.sharing && lane.is_none(),
                (SessionState::Waiting { .. }, lane) => lane.is_none(),
            },
            "each state has its calls: {:?} with {:?}",
            self.state,
            self.lane
        );
        debug_assert!(
            self.credit.is_none() || matches!(self.state, SessionState::Failing { .. } | SessionState::Owing { .. }),
            "credit is settled by whatever ends it: {:?}",
            self.state
        );
        debug_assert!(self.deadline.is_some(), "every state ends some day: {:?}", self.state);
    }
}
