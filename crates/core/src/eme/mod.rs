//! The EME mirror: the key sessions of a playback, in the terms of the Encrypted Media Extensions specification
//! (<https://www.w3.org/TR/encrypted-media-2/>).
//!
//! A proxy sees the messages of a `MediaKeySession` and the replies, never the session. The mirror infers its state
//! from those alone; the rest stays unknown. It reads no clock: wall time is an argument. `sessions` keeps a mirror
//! beside each playback, `gateway` feeds it, `admin` shows it.

mod key_session;
mod names;

use crate::drm::{DrmMessage, DrmSystem, KeyId, MessageKind};
use crate::secret::Fingerprint;

pub use self::key_session::KeySession;
pub use self::names::{ClosedReason, KeyStatus, MessageType};
use std::sync::Arc;
use std::time::Duration;

/// A change that is worth a line in the playback's story.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EmeEvent {
    /// Number of keys with the new status, or how often the message was sent.
    pub count: usize,
    pub key_session: Fingerprint,
    pub system: DrmSystem,
    pub what: EmeChange,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EmeChange {
    Closed(ClosedReason),
    Message(MessageType),
    Statuses(KeyStatus),
}

/// The key sessions of a playback, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Mirror {
    /// A slice has no spare room.
    sessions: Box<[KeySession]>,
}

impl Mirror {
    /// Enough for audio, video, several qualities and their successors after a seek; the oldest ones go first.
    pub const MAX_KEY_SESSIONS_MIRRORED: usize = 16;

    /// The player sent this message. Returns an event for the first of its type.
    pub fn asked(&mut self, message: &DrmMessage) -> Option<EmeEvent> {
        let kind = MessageType::of(message.kind)?;
        self.entry(message).asked(kind, message)
    }

    /// The player got this reply to that message, at this wall time.
    pub fn answered(&mut self, message: &DrmMessage, reply: &DrmMessage, wall: Duration) -> Option<EmeEvent> {
        match (message.kind, reply.kind) {
            // An error acknowledges nothing: the player keeps its record and sends the message again.
            (MessageKind::Release, MessageKind::Error) => None,
            (MessageKind::Release, _) => self.released(message),
            (_, MessageKind::License) => self.entry(message).licensed(reply, wall),
            (_, MessageKind::Error) => self.failed(message),
            (
                _,
                MessageKind::Acknowledge
                | MessageKind::Certificate
                | MessageKind::CertificateRequest
                | MessageKind::LicenseRequest
                | MessageKind::Other
                | MessageKind::Provisioning
                | MessageKind::Release
                | MessageKind::Renewal,
            ) => None,
        }
    }

    /// The license server took the license back.
    pub fn released(&mut self, message: &DrmMessage) -> Option<EmeEvent> {
        self.entry(message).released()
    }

    /// The player got an error in place of a license.
    pub fn failed(&mut self, message: &DrmMessage) -> Option<EmeEvent> {
        self.entry(message).failed()
    }

    /// The playback is over: its application closed the open key sessions.
    pub fn over(&mut self) {
        for session in &mut self.sessions {
            session.close(ClosedReason::ClosedByApplication);
        }
    }

    /// Replaces lists of keys that no other key session has by equal ones that others have: `shared` finds them.
    pub fn share_keys(&mut self, mut shared: impl FnMut(&Arc<[KeyId]>) -> Arc<[KeyId]>) {
        for keys in self.sessions.iter_mut().filter_map(KeySession::own_keys) {
            *keys = shared(keys);
        }
    }

    pub fn key_sessions(&self) -> &[KeySession] {
        &self.sessions
    }

    fn entry(&mut self, message: &DrmMessage) -> &mut KeySession {
        let id = name(message);
        let place = match self.sessions.iter().position(|session| session.id == id && session.closed.is_none()) {
            Some(place) => place,
            None => {
                let mut sessions = std::mem::take(&mut self.sessions).into_vec();
                if sessions.len() == Self::MAX_KEY_SESSIONS_MIRRORED {
                    sessions.remove(0);
                }
                sessions.reserve_exact(1);
                sessions.push(KeySession::new(id, message.system));
                self.sessions = sessions.into_boxed_slice();
                self.sessions.len() - 1
            }
        };
        &mut self.sessions[place]
    }
}

/// Identifies a key session: Widevine messages name it; others are known by their keys or content.
fn name(message: &DrmMessage) -> Fingerprint {
    let own = message.request_id.filter(|_| message.system == DrmSystem::Widevine);
    own.or_else(|| message.key_ids.fingerprint()).or(message.content_id).unwrap_or(Fingerprint::new(0))
}

#[cfg(test)]
mod tests;
