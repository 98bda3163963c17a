//! What the mirror of a playback's key sessions is told: the messages and replies of its calls.

use super::LicenseCall;
use crate::drm::{Direction, Kind, Message, recognise};
use crate::ids::SessionId;
use crate::session::Answer;
use crate::sessions::{DeviceKey, Sessions};
use std::sync::Arc;

impl LicenseCall<'_> {
    /// What the player asked, and that it was turned away if it was.
    pub(in crate::gateway) fn mirror_request(&self, key: DeviceKey, session: Option<SessionId>, answer: &Answer) {
        let (Ok(message), Some(id)) = (&self.request.message, session) else { return };
        let sessions = &self.gateway.sessions;
        sessions.see(key, id, |mirror, _| mirror.asked(message));
        match answer {
            Answer::Refuse(_) => sessions.see(key, id, |mirror, _| mirror.failed(message)),
            Answer::Forward(_) | Answer::Pass | Answer::Renew(..) | Answer::Wait => {}
        }
    }

    /// What the license server answered to it.
    pub(in crate::gateway) fn mirror_reply(&self, key: DeviceKey, id: SessionId, reply: Option<&Message>) {
        let Ok(message) = &self.request.message else { return };
        self.gateway.sessions.see(key, id, |mirror, wall| match reply {
            Some(reply) => mirror.answered(message, reply, wall),
            // Taken back, in words that no DRM defines.
            None if message.kind == Kind::Release => mirror.released(message),
            None => None,
        });
    }
}

/// As [`LicenseCall::mirror_reply`], for a license that the authority's renewal call brought.
pub(in crate::gateway) fn mirror_renewal(
    sessions: &Arc<Sessions>,
    key: DeviceKey,
    id: SessionId,
    asked: &Message,
    license: &[u8],
) {
    if let Ok(reply) = recognise(Direction::Reply, None, None, license) {
        sessions.see(key, id, |mirror, wall| mirror.answered(asked, &reply, wall));
    }
}
