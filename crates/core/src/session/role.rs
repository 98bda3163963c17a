//! Whether a playback has a session of its own, or shares that of its device.

use serde::{Deserialize, Serialize};

use super::state::Session;
use crate::session_id::SessionId;

/// What of its device's sessions a playback is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Role {
    /// It has a session of its own.
    #[default]
    #[serde(rename = "a")]
    Alone,
    /// The one session for all that the device plays. No player calls it; its content token is that of the playback
    /// `by`.
    #[serde(rename = "d")]
    DeviceSession { by: SessionId },
    /// It shares the session of its device that has this id.
    #[serde(rename = "s")]
    Sharing(SessionId),
}

impl Role {
    /// After a restart: a record that contradicts itself is of one that is alone.
    pub(super) fn restored(self, session: &Session) -> Self {
        let shares = session.sharing || !matches!(self, Self::Sharing(_));
        if shares { self } else { Self::Alone }
    }
}
