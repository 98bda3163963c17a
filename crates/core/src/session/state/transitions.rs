//! The ways from one state to the next, and what becomes of the grant on them.
//!
//! A state that has a grant holds it. It goes with the session into the next state, or is forfeited for a reason; none
//! gets lost on the way. That the ways are legal is checked in debug builds.

use std::mem;
use std::time::Duration;

use super::{Session, SessionState};
use crate::session::grant::Grant;
use crate::session::held_grant::HeldGrant;

/// Why a session is left without its grant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::session) enum Forfeit {
    /// Nobody gave word for so long that the authority has let it expire.
    Expired,
    /// It is given back beside the session.
    GivenBack,
    /// The authority does not hold it any more, or not by this token.
    Gone,
}

impl SessionState {
    /// What the authority may still hold.
    fn held(&self) -> Option<&HeldGrant> {
        match self {
            Self::Failing { grant, .. } | Self::Live { grant, .. } => Some(grant),
            Self::Closing { grant, .. } | Self::Killed { grant, .. } => grant.as_ref(),
            Self::Closed { .. }
            | Self::Opening { .. }
            | Self::Owing { .. }
            | Self::Sharing { .. }
            | Self::Waiting { .. } => None,
        }
    }

    fn held_mut(&mut self) -> Option<&mut HeldGrant> {
        match self {
            Self::Failing { grant, .. } | Self::Live { grant, .. } => Some(grant),
            Self::Closing { grant, .. } | Self::Killed { grant, .. } => grant.as_mut(),
            Self::Closed { .. }
            | Self::Opening { .. }
            | Self::Owing { .. }
            | Self::Sharing { .. }
            | Self::Waiting { .. } => None,
        }
    }

    fn into_held(self) -> Option<HeldGrant> {
        match self {
            Self::Failing { grant, .. } | Self::Live { grant, .. } => Some(grant),
            Self::Closing { grant, .. } | Self::Killed { grant, .. } => grant,
            Self::Closed { .. }
            | Self::Opening { .. }
            | Self::Owing { .. }
            | Self::Sharing { .. }
            | Self::Waiting { .. } => None,
        }
    }

    /// The legal ways from state to state; everything else is a mistake of ours.
    fn may_become(&self, next: &Self, session: &Session) -> bool {
        match (self, next) {
            (Self::Closed { .. }, Self::Killed { .. }) => true,
            (Self::Closed { .. }, Self::Closed { .. } | Self::Waiting { .. }) => self.gives_way(),
            (Self::Closed { .. } | Self::Killed { .. }, _) => false,
            (Self::Waiting { .. }, Self::Sharing { .. }) => session.sharing,
            (Self::Waiting { .. }, next) => {
                matches!(next, Self::Closed { .. } | Self::Killed { .. } | Self::Opening { .. })
            }
            (Self::Sharing { .. }, next) => matches!(next, Self::Closed { .. } | Self::Killed { .. }),
            (_, Self::Sharing { .. } | Self::Waiting { .. }) => false,
            (Self::Opening { .. }, _) => true,
            (Self::Closing { .. }, Self::Closed { .. } | Self::Closing { .. } | Self::Killed { .. }) => true,
            (Self::Closing { .. }, Self::Live { .. } | Self::Opening { .. }) => session.way_back.is_unsent(),
            (Self::Closing { .. }, Self::Failing { .. } | Self::Owing { .. }) => false,
            (Self::Live { .. } | Self::Failing { .. } | Self::Owing { .. }, Self::Opening { .. }) => false,
            (Self::Owing { .. }, Self::Failing { .. }) => false,
            (Self::Live { .. } | Self::Failing { .. } | Self::Owing { .. }, _) => true,
        }
    }
}

impl Session {
    /// Leaves the present state. What that held is in the next one.
    pub(in crate::session) fn enter(&mut self, next: impl FnOnce(Option<HeldGrant>) -> SessionState) {
        let before = self.leave();
        let was = cfg!(debug_assertions).then(|| before.clone());
        self.state = next(before.into_held());
        debug_assert!(
            was.as_ref().is_none_or(|was| was.held().is_none() || self.held().is_some()),
            "its grant got lost: from {was:?} to {:?}",
            self.state
        );
        self.check_way(was.as_ref());
    }

    /// The same of a state that holds a grant, for one that cannot be without. Nothing happens where none is held.
    pub(in crate::session) fn enter_holding(&mut self, next: impl FnOnce(HeldGrant) -> SessionState) {
        let before = self.leave();
        if before.held().is_none() {
            debug_assert!(false, "it holds no grant: {before:?}");
            self.state = before;
            return;
        }
        let was = cfg!(debug_assertions).then(|| before.clone());
        if let Some(grant) = before.into_held() {
            self.state = next(grant);
        }
        self.check_way(was.as_ref());
    }

    /// Leaves the present state and the grant with it, for this reason.
    pub(in crate::session) fn enter_without_grant(&mut self, forfeit: Forfeit, next: SessionState) {
        debug_assert!(next.held().is_none(), "{forfeit:?}, and held all the same: {next:?}");
        let was = mem::replace(&mut self.state, next);
        self.check_way(Some(&was));
    }

    /// Of a session that is over, or about to be, without another state: nobody asks for its place any more.
    pub(in crate::session) fn forfeit(&mut self, why: Forfeit) -> Option<Grant> {
        let held = match &mut self.state {
            SessionState::Closing { grant, .. } | SessionState::Killed { grant, .. } => grant.take(),
            SessionState::Closed { .. }
            | SessionState::Failing { .. }
            | SessionState::Live { .. }
            | SessionState::Opening { .. }
            | SessionState::Owing { .. }
            | SessionState::Sharing { .. }
            | SessionState::Waiting { .. } => None,
        };
        debug_assert!(self.held().is_none(), "{why:?}, and held all the same: {:?}", self.state);
        held.map(HeldGrant::into_grant)
    }

    pub(in crate::session) fn held(&self) -> Option<&HeldGrant> {
        self.state.held()
    }

    pub(in crate::session) fn held_mut(&mut self) -> Option<&mut HeldGrant> {
        self.state.held_mut()
    }

    /// Between two states it is in none that matters.
    fn leave(&mut self) -> SessionState {
        mem::replace(&mut self.state, SessionState::Sharing { interval: Duration::ZERO })
    }

    fn check_way(&self, was: Option<&SessionState>) {
        debug_assert!(was.is_none_or(|was| was.may_become(&self.state, self)), "from {was:?} to {:?}", self.state);
    }
}
