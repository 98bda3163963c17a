//! A key session: its messages, its keys, its end. `Mirror` updates it with each message and reply.

use std::time::Duration;

use super::names::{ClosedReason, KeyStatus, MessageType};
use super::{EmeChange, EmeEvent};
use crate::drm::{DrmMessage, DrmSystem, KeyId};
use crate::secret::Fingerprint;

/// Limit of the keys followed in each key session.
const MAX_KEYS_PER_KEY_SESSION: usize = 32;

#[derive(Clone, Debug)]
pub struct KeySession {
    pub closed: Option<ClosedReason>,
    /// Expiry of its keys, wall time since the epoch; `None` if unknown or never.
    pub expiration: Option<Duration>,
    pub id: Fingerprint,
    keys: Vec<(KeyId, KeyStatus)>,
    /// Count of each message type, in the order of [`MessageType::ALL`].
    messages: [u32; 4],
    pub system: DrmSystem,
}

impl KeySession {
    pub(super) fn new(id: Fingerprint, system: DrmSystem) -> Self {
        Self { closed: None, expiration: None, id, keys: Vec::new(), messages: [0; 4], system }
    }

    /// The message types seen, with their counts.
    pub fn messages(&self) -> impl Iterator<Item = (MessageType, u32)> {
        MessageType::ALL.into_iter().zip(self.messages).filter(|(_, seen)| *seen > 0)
    }

    /// The key ids with their status at this wall time.
    pub fn keys(&self, wall: Duration) -> impl Iterator<Item = (KeyId, KeyStatus)> {
        let over = self.expiration.is_some_and(|expiration| wall >= expiration);
        self.keys.iter().map(move |(id, status)| match status {
            KeyStatus::Usable if over => (*id, KeyStatus::Expired),
            KeyStatus::Expired
            | KeyStatus::InternalError
            | KeyStatus::Released
            | KeyStatus::StatusPending
            | KeyStatus::Usable => (*id, *status),
        })
    }

    pub(super) fn asked(&mut self, kind: MessageType, message: &DrmMessage) -> Option<EmeEvent> {
        self.make_room_for(message);
        for id in message.key_ids.as_slice() {
            if !self.keys.iter().any(|(known, _)| known == id) {
                self.learn(*id, KeyStatus::StatusPending);
            }
        }
        // `remove()` takes the keys before its message is sent, whatever the reply is (EME, section 6.7).
        if kind == MessageType::LicenseRelease {
            self.set_all(KeyStatus::Released);
        }
        let (_, seen) = MessageType::ALL.into_iter().zip(&mut self.messages).find(|(one, _)| *one == kind)?;
        *seen = seen.saturating_add(1);
        (*seen == 1).then(|| self.happening(1, EmeChange::Message(kind)))
    }

    /// The player got a license, first or renewed.
    pub(super) fn licensed(&mut self, license: &DrmMessage, wall: Duration) -> Option<EmeEvent> {
        let before = self.count(KeyStatus::Usable);
        self.make_room_for(license);
        for id in license.key_ids.as_slice() {
            self.learn(*id, KeyStatus::Usable);
        }
        if license.key_ids.is_empty() {
            self.set_all(KeyStatus::Usable);
        }
        self.expiration = expiration(license, wall);
        let usable = self.count(KeyStatus::Usable);
        (usable != before).then(|| self.happening(usable, EmeChange::Statuses(KeyStatus::Usable)))
    }

    pub(super) fn released(&mut self) -> Option<EmeEvent> {
        self.set_all(KeyStatus::Released);
        let happening = self
            .closed
            .is_none()
            .then(|| self.happening(self.keys.len(), EmeChange::Closed(ClosedReason::ReleaseAcknowledged)));
        self.close(ClosedReason::ReleaseAcknowledged);
        happening
    }

    /// Usable keys stay usable until they expire; pending ones fail.
    pub(super) fn failed(&mut self) -> Option<EmeEvent> {
        let waiting = self.keys.iter_mut().filter(|(_, status)| *status == KeyStatus::StatusPending);
        let failed = waiting.map(|(_, status)| *status = KeyStatus::InternalError).count();
        (failed > 0).then(|| self.happening(failed, EmeChange::Statuses(KeyStatus::InternalError)))
    }

    pub(super) fn close(&mut self, why: ClosedReason) {
        self.closed.get_or_insert(why);
    }

    /// Makes room for the message's new keys and for no more.
    fn make_room_for(&mut self, message: &DrmMessage) {
        let is_new = |id: &&KeyId| !self.keys.iter().any(|(known, _)| known == *id);
        let new = message.key_ids.as_slice().iter().filter(is_new).count();
        self.keys.reserve_exact(new.min(MAX_KEYS_PER_KEY_SESSION.saturating_sub(self.keys.len())));
    }

    fn learn(&mut self, id: KeyId, status: KeyStatus) {
        if let Some((_, known)) = self.keys.iter_mut().find(|(known, _)| *known == id) {
            *known = status;
        } else if self.keys.len() < MAX_KEYS_PER_KEY_SESSION {
            self.keys.push((id, status));
        }
    }

    fn set_all(&mut self, status: KeyStatus) {
        self.keys.iter_mut().for_each(|(_, known)| *known = status);
    }

    fn count(&self, status: KeyStatus) -> usize {
        self.keys.iter().filter(|(_, known)| *known == status).count()
    }

    fn happening(&self, count: usize, what: EmeChange) -> EmeEvent {
        EmeEvent { count, key_session: self.id, system: self.system, what }
    }
}

/// Expiry of a license. Widevine counts from its start, which is now; PlayReady names the date.
fn expiration(license: &DrmMessage, wall: Duration) -> Option<Duration> {
    let lasts = license.lease.as_ref().map(|lease| lease.duration_s).filter(|seconds| *seconds > 0);
    let until = license.validity.and_then(|validity| validity.end).map(Duration::from_secs);
    lasts.map(|seconds| wall.saturating_add(Duration::from_secs(seconds))).or(until)
}
