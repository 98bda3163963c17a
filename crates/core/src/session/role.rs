//! The role of a playback: it has a session of its own, or shares that of its device.

use serde::{Deserialize, Serialize};

use super::state::Session;
use crate::session_id::SessionId;

/// The part of a playback among its device's sessions.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Role {
    /// The playback has a session of its own.
    #[default]
    #[serde(rename = "a")]
    Alone,
    /// The one session for all playbacks of the device. No player calls it; its content token is that of the playback
    /// `by`.
    #[serde(rename = "d")]
    DeviceSession { by: SessionId },
    /// The playback shares the session of its device that has this id.
    #[serde(rename = "s")]
    Sharing(SessionId),
}

impl Role {
    /// The role after a restart: a record that contradicts itself is alone.
    pub(super) fn restored(self, session: &Session) -> Self {
        let shares = session.sharing || !matches!(self, Self::Sharing(_));
        if shares { self } else { Self::Alone }
    }
}
