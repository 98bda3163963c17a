//! Delivers kills that an authority pushes over a connection of its dialect, instead of in an answer.

use std::sync::Weak;

use crate::secret::Fingerprint;
use crate::session::{Grant, Reason};
use crate::sessions::{DeviceKey, SessionContext, Sessions};

/// Delivers a kill of one session. It may outlive the session: then, or if the session has another token, a kill does
/// nothing.
#[derive(Clone, Debug)]
pub(super) struct PushedKills {
    key: DeviceKey,
    sessions: Weak<Sessions>,
    token: Fingerprint,
}

impl PushedKills {
    pub(super) fn of(sessions: Weak<Sessions>, card: &SessionContext, grant: &Grant) -> Self {
        let key = DeviceKey::new(&card.authority_name, card.device_source, &card.device);
        Self { key, sessions, token: grant.token.fingerprint() }
    }

    /// Delivers a kill; false if the session is gone.
    #[cfg_attr(not(test), expect(dead_code, reason = "no authority of today pushes; the example does"))]
    pub(super) fn push(&self, reason: &Reason) -> bool {
        self.sessions.upgrade().is_some_and(|sessions| sessions.kill_pushed(self.key, self.token, reason))
    }
}
