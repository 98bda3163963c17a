//! Shows whether the authority may count a session, and whether its token may be replaced just now.

use super::{Session, SessionState};
use crate::session::grant::AskKind;
use crate::session::grant_release::GrantRelease;

impl Session {
    /// True if it uses, or may use, one of the device's places at the authority.
    pub fn takes_place(&self) -> bool {
        !self.lingers() && (self.is_owed_a_close() || (self.is_active() && !self.sharing && !self.is_held()))
    }

    /// True if the authority may hold it, even if no playback waits for its place.
    pub fn is_owed_a_close(&self) -> bool {
        self.held().is_some() || !self.calls.is_idle()
    }

    /// True if its close is lost, and no playback waits for its place.
    pub(in crate::session) fn lingers(&self) -> bool {
        self.release().is_some_and(GrantRelease::lingers)
    }

    /// True if it is over, and its place is being given back. A lost close does not count, except while it is in flight
    /// again.
    pub fn gives_back(&self) -> bool {
        !self.is_active() && (!self.calls.is_idle() || (self.held().is_some() && !self.lingers()))
    }

    /// True if a pending answer may replace the token.
    pub(in super::super) fn may_replace_token(&self) -> bool {
        self.calls.is_asking(AskKind::Beat) || self.calls.is_asking(AskKind::Renew)
    }

    /// True while its first open is in flight.
    pub fn is_asking(&self) -> bool {
        matches!(self.state, SessionState::Opening { .. })
    }

    /// True if it waits for an open that was not sent yet: its own, or that of the session that it shares.
    pub fn waits(&self) -> bool {
        matches!(self.state, SessionState::Waiting { .. })
    }
}
