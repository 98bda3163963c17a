//! What the authority may count of a session, and whether its token may be replaced just now.

use super::{Session, SessionState};
use crate::session::grant::AskKind;

impl Session {
    /// Uses, or may use, one of the device's places at the authority.
    pub fn takes_place(&self) -> bool {
        !self.lingers && (self.is_owed_a_close() || (self.is_active() && !self.sharing && !self.is_held()))
    }

    /// The authority may hold it, though nobody may be waiting for its place.
    pub fn is_owed_a_close(&self) -> bool {
        self.held().is_some() || self.lane.is_some()
    }

    /// It is over, and its place is on its way back to the authority. That of a lost close is not waited for,
    /// but while it is asked for again.
    pub fn gives_back(&self) -> bool {
        !self.is_active() && (self.lane.is_some() || (self.held().is_some() && !self.lingers))
    }

    /// A call is under way whose answer may replace the token.
    pub(in super::super) fn may_replace_token(&self) -> bool {
        self.lane.is_some_and(|lane| matches!(lane.ask, AskKind::Beat | AskKind::Renew))
    }

    /// Its open is under way for the first time.
    pub fn is_asking(&self) -> bool {
        matches!(self.state, SessionState::Opening { .. })
    }

    /// Waits for an open that has not set out yet: its own, or that of the session that it shares.
    pub fn waits(&self) -> bool {
        matches!(self.state, SessionState::Waiting { .. })
    }
}
