//! A key session: its messages, its keys, its end. `Mirror` updates it with each message and reply.

use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayVec;

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
    /// In the order in which they were seen. Viewers of one title have the same: see [`Mirror::share_keys`].
    keys: Arc<[KeyId]>,
    /// Count of each message type, in the order of [`MessageType::ALL`].
    messages: [u32; 4],
    statuses: KeyStatuses,
    pub system: DrmSystem,
}

/// The status of each key. Mostly all have the same.
#[derive(Clone, Debug)]
enum KeyStatuses {
    Alike(KeyStatus),
    Each(Box<[KeyStatus]>),
}

type KeysWithStatus = ArrayVec<(KeyId, KeyStatus), MAX_KEYS_PER_KEY_SESSION>;

impl KeySession {
    pub(super) fn new(id: Fingerprint, system: DrmSystem) -> Self {
        Self {
            closed: None,
            expiration: None,
            id,
            keys: Arc::default(),
            messages: [0; 4],
            statuses: KeyStatuses::Alike(KeyStatus::StatusPending),
            system,
        }
    }

    /// The message types seen, with their counts.
    pub fn messages(&self) -> impl Iterator<Item = (MessageType, u32)> {
        MessageType::ALL.into_iter().zip(self.messages).filter(|(_, seen)| *seen > 0)
    }

    /// The key ids with their status at this wall time.
    pub fn keys(&self, wall: Duration) -> impl Iterator<Item = (KeyId, KeyStatus)> {
        let over = self.expiration.is_some_and(|expiration| wall >= expiration);
        self.keys_with_status().into_iter().map(move |(id, status)| match status {
            KeyStatus::Usable if over => (id, KeyStatus::Expired),
            KeyStatus::Expired
            | KeyStatus::InternalError
            | KeyStatus::Released
            | KeyStatus::StatusPending
            | KeyStatus::Usable => (id, status),
        })
    }

    pub(super) fn asked(&mut self, kind: MessageType, message: &DrmMessage) -> Option<EmeEvent> {
        let mut keys = self.keys_with_status();
        for id in message.key_ids.as_slice() {
            if !keys.iter().any(|(known, _)| known == id) {
                learn(&mut keys, *id, KeyStatus::StatusPending);
            }
        }
        // `remove()` takes the keys before its message is sent, whatever the reply is (EME, section 6.7).
        if kind == MessageType::LicenseRelease {
            set_all(&mut keys, KeyStatus::Released);
        }
        self.keep(&keys);
        let (_, seen) = MessageType::ALL.into_iter().zip(&mut self.messages).find(|(one, _)| *one == kind)?;
        *seen = seen.saturating_add(1);
        (*seen == 1).then(|| self.happening(1, EmeChange::Message(kind)))
    }

    /// The player got a license, first or renewed.
    pub(super) fn licensed(&mut self, license: &DrmMessage, wall: Duration) -> Option<EmeEvent> {
        let mut keys = self.keys_with_status();
        let before = count(&keys, KeyStatus::Usable);
        for id in license.key_ids.as_slice() {
            learn(&mut keys, *id, KeyStatus::Usable);
        }
        if license.key_ids.is_empty() {
            set_all(&mut keys, KeyStatus::Usable);
        }
        self.expiration = expiration(license, wall);
        let usable = count(&keys, KeyStatus::Usable);
        self.keep(&keys);
        (usable != before).then(|| self.happening(usable, EmeChange::Statuses(KeyStatus::Usable)))
    }

    pub(super) fn released(&mut self) -> Option<EmeEvent> {
        self.statuses = KeyStatuses::Alike(KeyStatus::Released);
        let happening = self
            .closed
            .is_none()
            .then(|| self.happening(self.keys.len(), EmeChange::Closed(ClosedReason::ReleaseAcknowledged)));
        self.close(ClosedReason::ReleaseAcknowledged);
        happening
    }

    /// Usable keys stay usable until they expire; pending ones fail.
    pub(super) fn failed(&mut self) -> Option<EmeEvent> {
        let mut keys = self.keys_with_status();
        let waiting = keys.iter_mut().filter(|(_, status)| *status == KeyStatus::StatusPending);
        let failed = waiting.map(|(_, status)| *status = KeyStatus::InternalError).count();
        self.keep(&keys);
        (failed > 0).then(|| self.happening(failed, EmeChange::Statuses(KeyStatus::InternalError)))
    }

    pub(super) fn close(&mut self, why: ClosedReason) {
        self.closed.get_or_insert(why);
    }

    /// The list of its keys, if no other key session has it.
    pub(super) fn own_keys(&mut self) -> Option<&mut Arc<[KeyId]>> {
        (!self.keys.is_empty() && Arc::strong_count(&self.keys) == 1).then_some(&mut self.keys)
    }

    fn keys_with_status(&self) -> KeysWithStatus {
        let status = |place| match &self.statuses {
            KeyStatuses::Alike(status) => *status,
            KeyStatuses::Each(statuses) => statuses.get(place).copied().unwrap_or(KeyStatus::StatusPending),
        };
        let keys = self.keys.iter().take(MAX_KEYS_PER_KEY_SESSION).enumerate();
        keys.map(|(place, id)| (*id, status(place))).collect()
    }

    fn keep(&mut self, keys: &KeysWithStatus) {
        let ids = || keys.iter().map(|(id, _)| *id);
        // Keys are only added.
        if self.keys.len() != keys.len() {
            self.keys = ids().collect();
        }
        let Some((_, first)) = keys.first() else { return };
        let are_alike = keys.iter().all(|(_, status)| status == first);
        self.statuses = match are_alike {
            true => KeyStatuses::Alike(*first),
            false => KeyStatuses::Each(keys.iter().map(|(_, status)| *status).collect()),
        };
    }

    fn happening(&self, count: usize, what: EmeChange) -> EmeEvent {
        EmeEvent { count, key_session: self.id, system: self.system, what }
    }
}

fn learn(keys: &mut KeysWithStatus, id: KeyId, status: KeyStatus) {
    match keys.iter_mut().find(|(known, _)| *known == id) {
        Some((_, known)) => *known = status,
        // The list is bounded; further keys are not followed.
        None => _ = keys.try_push((id, status)),
    }
}

fn set_all(keys: &mut KeysWithStatus, status: KeyStatus) {
    keys.iter_mut().for_each(|(_, known)| *known = status);
}

fn count(keys: &KeysWithStatus, status: KeyStatus) -> usize {
    keys.iter().filter(|(_, known)| *known == status).count()
}

/// Expiry of a license. Widevine counts from its start, which is now; PlayReady names the date.
fn expiration(license: &DrmMessage, wall: Duration) -> Option<Duration> {
    let lasts = license.lease.as_ref().map(|lease| lease.duration_s).filter(|seconds| *seconds > 0);
    let until = license.validity.and_then(|validity| validity.end).map(Duration::from_secs);
    lasts.map(|seconds| wall.saturating_add(Duration::from_secs(seconds))).or(until)
}
