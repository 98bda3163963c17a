//! Kills that an authority pushes, over a connection that its dialect keeps, and not as the answer to a call.

use std::sync::Weak;

use crate::secret::Fingerprint;
use crate::session::{Grant, Reason};
use crate::sessions::{DeviceKey, SessionContext, Sessions};

/// The way by which a dialect delivers a kill of one session. It may outlive the session: nothing happens then, nor when
/// the session has another token by now.
#[derive(Clone, Debug)]
pub(super) struct PushedKills {
    key: DeviceKey,
    sessions: Weak<Sessions>,
    token: Fingerprint,
}

impl PushedKills {
    pub(super) fn of(sessions: Weak<Sessions>, card: &SessionContext, grant: &Grant) -> Self {
        let key = DeviceKey::new(&card.authority_name, card.rung, &card.device);
        Self { key, sessions, token: grant.token.fingerprint() }
    }

    /// False if there is no such session any more.
    #[cfg_attr(not(test), expect(dead_code, reason = "no authority of today pushes; the example does"))]
    pub(super) fn push(&self, reason: &Reason) -> bool {
        self.sessions.upgrade().is_some_and(|sessions| sessions.kill_pushed(self.key, self.token, reason))
    }
}
