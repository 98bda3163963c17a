//! Moves a session from one state to the next, together with its grant.
//!
//! A state that has a grant holds it. The grant goes into the next state, or is forfeited for a reason; none gets lost
//! on the way. Debug builds check that each transition is legal.

use std::mem;
use std::time::Duration;

use super::{Session, SessionState};
use crate::session::grant::Grant;
use crate::session::grant_release::GrantRelease;
use crate::session::held_grant::HeldGrant;
use crate::time::MonotonicTime;

/// The reason for which a session is left without its grant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::session) enum Forfeit {
    /// The authority let it expire, after so long without an answer.
    Expired,
    /// The grant is given back beside the session.
    GivenBack,
    /// The authority no longer holds it, or not by this token.
    Gone,
}

impl SessionState {
    /// The grant that the authority may still hold.
    fn held(&self) -> Option<&HeldGrant> {
        match self {
            Self::Failing { grant, .. } | Self::Live { grant, .. } => Some(grant),
            Self::Closing { release, .. } | Self::Killed { release, .. } => release.as_ref().map(GrantRelease::grant),
            Self::Closed { .. }
            | Self::Opening { .. }
            | Self::Owing { .. }
            | Self::Sharing { .. }
            | Self::Waiting { .. } => None,
        }
    }

    pub(in crate::session) fn held_mut(&mut self) -> Option<&mut HeldGrant> {
        match self {
            Self::Failing { grant, .. } | Self::Live { grant, .. } => Some(grant),
            Self::Closing { release, .. } | Self::Killed { release, .. } => {
                release.as_mut().map(GrantRelease::grant_mut)
            }
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
            Self::Closing { release, .. } | Self::Killed { release, .. } => release.map(GrantRelease::into_grant),
            Self::Closed { .. }
            | Self::Opening { .. }
            | Self::Owing { .. }
            | Self::Sharing { .. }
            | Self::Waiting { .. } => None,
        }
    }

    /// The grant that a session gives back when it is over.
    fn release(&self) -> Option<&GrantRelease> {
        match self {
            Self::Closing { release, .. } | Self::Killed { release, .. } => release.as_ref(),
            Self::Closed { .. }
            | Self::Failing { .. }
            | Self::Live { .. }
            | Self::Opening { .. }
            | Self::Owing { .. }
            | Self::Sharing { .. }
            | Self::Waiting { .. } => None,
        }
    }

    fn release_mut(&mut self) -> Option<&mut Option<GrantRelease>> {
        match self {
            Self::Closing { release, .. } | Self::Killed { release, .. } => Some(release),
            Self::Closed { .. }
            | Self::Failing { .. }
            | Self::Live { .. }
            | Self::Opening { .. }
            | Self::Owing { .. }
            | Self::Sharing { .. }
            | Self::Waiting { .. } => None,
        }
    }

    /// The release that goes into the next state: one that is under way, or one that begins.
    fn into_release(self, now: MonotonicTime) -> Option<GrantRelease> {
        match self {
            Self::Closing { release, .. } | Self::Killed { release, .. } => release,
            Self::Failing { grant, .. } | Self::Live { grant, .. } => Some(GrantRelease::new(now, grant)),
            Self::Closed { .. }
            | Self::Opening { .. }
            | Self::Owing { .. }
            | Self::Sharing { .. }
            | Self::Waiting { .. } => None,
        }
    }

    /// True for a legal transition; any other one is a bug.
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
    /// Enters the next state, which gets the grant of the present one.
    pub(in crate::session) fn enter(&mut self, next: impl FnOnce(Option<HeldGrant>) -> SessionState) {
        let before = self.leave();
        let was = cfg!(debug_assertions).then(|| before.clone());
        self.state = next(before.into_held());
        self.check_held(was.as_ref());
        self.check_way(was.as_ref());
    }

    /// Like [`Self::enter`], for a next state that needs a grant. Does nothing without one.
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

    /// Enters a state in which the grant of the present one, if any, is given back.
    pub(in crate::session) fn enter_releasing(
        &mut self,
        now: MonotonicTime,
        next: impl FnOnce(Option<GrantRelease>) -> SessionState,
    ) {
        let before = self.leave();
        let was = cfg!(debug_assertions).then(|| before.clone());
        self.state = next(before.into_release(now));
        self.check_held(was.as_ref());
        self.check_way(was.as_ref());
    }

    /// Enters the next state without the grant, for this reason.
    pub(in crate::session) fn enter_without_grant(&mut self, forfeit: Forfeit, next: SessionState) {
        debug_assert!(next.held().is_none(), "{forfeit:?}, and held all the same: {next:?}");
        let was = mem::replace(&mut self.state, next);
        self.check_way(Some(&was));
    }

    /// Takes the grant of a session that is over, or about to be, without another state: no playback waits for its
    /// place any more.
    pub(in crate::session) fn forfeit(&mut self, why: Forfeit) -> Option<Grant> {
        let held = self.state.release_mut().and_then(Option::take);
        debug_assert!(self.held().is_none(), "{why:?}, and held all the same: {:?}", self.state);
        held.map(|release| release.into_grant().into_grant())
    }

    pub(in crate::session) fn held(&self) -> Option<&HeldGrant> {
        self.state.held()
    }

    pub(in crate::session) fn held_mut(&mut self) -> Option<&mut HeldGrant> {
        self.state.held_mut()
    }

    pub(in crate::session) fn release(&self) -> Option<&GrantRelease> {
        self.state.release()
    }

    /// The place of the release; `None` in a state that has none.
    pub(in crate::session) fn release_mut(&mut self) -> Option<&mut Option<GrantRelease>> {
        self.state.release_mut()
    }

    /// Takes the present state; the one left behind has no meaning.
    fn leave(&mut self) -> SessionState {
        mem::replace(&mut self.state, SessionState::Sharing { interval: Duration::ZERO })
    }

    fn check_held(&self, was: Option<&SessionState>) {
        debug_assert!(
            was.is_none_or(|was| was.held().is_none() || self.held().is_some()),
            "its grant got lost: from {was:?} to {:?}",
            self.state
        );
    }

    fn check_way(&self, was: Option<&SessionState>) {
        debug_assert!(was.is_none_or(|was| was.may_become(&self.state, self)), "from {was:?} to {:?}", self.state);
    }
}
