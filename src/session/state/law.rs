//! What holds of a session in every state, and the ways from one to the next.
//!
//! Checked in debug builds: tests and fuzzers run through it.

use super::{Session, State};
use crate::session::grant::AskKind;

impl Session {
    /// The legal ways from state to state; everything else is a mistake of ours.
    pub(in super::super) fn enter(&mut self, next: State) {
        debug_assert!(
            match (&self.state, &next) {
                (State::Closed { .. }, State::Killed { .. }) => true,
                (State::Closed { .. }, State::Closed { .. } | State::Opening { .. }) => self.gives_way(),
                (State::Closed { .. } | State::Killed { .. }, _) => false,
                (State::Opening { .. }, _) => true,
                (State::Closing { .. }, State::Closed { .. } | State::Closing { .. } | State::Killed { .. }) => true,
                (State::Closing { .. }, State::Live { .. } | State::Opening { .. }) => self.away.is_some(),
                (State::Closing { .. }, State::Failing { .. } | State::Owing { .. }) => false,
                (State::Live { .. } | State::Failing { .. } | State::Owing { .. }, State::Opening { .. }) => false,
                (State::Owing { .. }, State::Failing { .. }) => false,
                (State::Live { .. } | State::Failing { .. } | State::Owing { .. }, _) => true,
            },
            "from {:?} to {next:?}",
            self.state,
        );
        self.state = next;
    }

    pub(in super::super) fn check_invariants(&self) {
        debug_assert!(
            self.grant.is_none()
                || !matches!(self.state, State::Closed { .. } | State::Opening { .. } | State::Owing { .. }),
            "a grant is held only while it can be given back: {:?}",
            self.state
        );
        debug_assert!(
            self.grant.is_some()
                || self.shares.is_some()
                || !matches!(self.state, State::Live { .. } | State::Failing { .. }),
            "without a grant nothing is live: {:?}",
            self.state
        );
        debug_assert!(
            self.shares.is_none() || (self.grant.is_none() && self.lane.is_none()),
            "what shares its device's session asks nothing: {:?}",
            self.state
        );
        debug_assert!(
            match (&self.state, self.lane.map(|lane| lane.ask)) {
                (State::Closed { .. }, lane) => lane.is_none(),
                (State::Closing { .. }, lane) => lane.is_some() || self.grant.is_some(),
                (State::Failing { .. } | State::Live { .. }, lane) => {
                    matches!(lane, None | Some(AskKind::Beat | AskKind::Renew))
                }
                (State::Killed { .. }, lane) => lane.is_some() || self.grant.is_none() || self.lost_close.is_some(),
                (State::Owing { .. }, lane) => matches!(lane, None | Some(AskKind::Open)),
                (State::Opening { held, .. }, lane) => *held != (lane == Some(AskKind::Open)),
            },
            "each state has its calls: {:?} with {:?}",
            self.state,
            self.lane
        );
        debug_assert!(
            self.credit.is_none() || matches!(self.state, State::Failing { .. } | State::Owing { .. }),
            "credit is settled by whatever ends it: {:?}",
            self.state
        );
        debug_assert!(self.deadline.is_some(), "every state ends some day: {:?}", self.state);
    }
}
