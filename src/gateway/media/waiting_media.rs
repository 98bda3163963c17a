//! Media whose license has yet to be asked for, and whose license call may not name them.
//!
//! Where both bring the same content token, that tells (`session::device`). Media without one belong to the license call
//! of their device that comes while they are the only ones that wait, or to the license that was given just before.
//! Bounded; what is lost costs a tie, and then such media flow on after a kill.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::gateway::Gateway;
use crate::ids::SessionId;
use crate::secret::Fingerprint;
use crate::session::{Call, CallKind, MediaNames};
use crate::sessions::DeviceKey;

/// Media of which nothing was asked for so long wait for no license any more.
const WAITS: Duration = Duration::from_secs(60);
/// Of one device. With more than one, nobody knows which of them a license is for.
const MAX_OF_DEVICE: usize = 8;
const MAX_DEVICES: usize = 10_000;

#[derive(Debug, Default)]
pub(in crate::gateway) struct WaitingMedia(Mutex<WaitingDevices>);

#[derive(Debug, Default)]
struct WaitingDevices {
    devices: HashMap<DeviceKey, Vec<WaitingPath>>,
    /// When those were last taken out that wait no more.
    swept: Option<Instant>,
}

#[derive(Debug)]
struct WaitingPath {
    names: MediaNames,
    seen: Instant,
}

impl WaitingMedia {
    /// Something of these media was asked for, and no session is known of them. True while no others of the device wait.
    pub(super) fn note(&self, now: Instant, key: DeviceKey, names: MediaNames) -> bool {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.has_room_for(now, key) {
            return false;
        }
        let paths = waiting.devices.entry(key).or_default();
        paths.retain(|path| path.waits(now) && path.names.path != names.path);
        if paths.len() >= MAX_OF_DEVICE {
            paths.remove(0);
        }
        paths.push(WaitingPath { names, seen: now });
        paths.len() == 1
    }

    /// They have a session.
    pub(super) fn forget(&self, key: DeviceKey, path: Fingerprint) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(paths) = waiting.devices.get_mut(&key) else { return };
        paths.retain(|waits| waits.names.path != path);
        if paths.is_empty() {
            waiting.devices.remove(&key);
        }
    }

    /// The media for which a license with this content token was given. None where several wait, or they came with
    /// another token.
    fn of_license(&self, now: Instant, key: DeviceKey, token: Option<Fingerprint>) -> Option<Fingerprint> {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let paths = waiting.devices.get(&key)?;
        let mut paths = paths.iter().filter(|path| path.waits(now)).map(|path| path.names);
        let is_same = |names: &MediaNames| token.is_some() && names.content_token == token;
        if let Some(same) = paths.clone().rfind(is_same) {
            return Some(same.path);
        }
        let only = paths.next().filter(|_| paths.next().is_none())?;
        (only.content_token.is_none() || token.is_none()).then_some(only.path)
    }
}

impl WaitingDevices {
    fn has_room_for(&mut self, now: Instant, key: DeviceKey) -> bool {
        if self.devices.len() < MAX_DEVICES || self.devices.contains_key(&key) {
            return true;
        }
        // A look at all of them, so not for every request.
        if self.swept.is_none_or(|swept| now >= swept + Duration::from_secs(1)) {
            self.swept = Some(now);
            self.devices.retain(|_, paths| paths.iter().any(|path| path.waits(now)));
        }
        self.devices.len() < MAX_DEVICES
    }
}

impl WaitingPath {
    fn waits(&self, now: Instant) -> bool {
        now < self.seen + WAITS
    }
}

impl Gateway {
    /// The license server gave a license to this call of the session.
    pub(in crate::gateway) fn look_for_media(&self, key: DeviceKey, id: SessionId, call: &Call) {
        // What names its media needs no search; a renewal is of media that play already.
        if call.kind != CallKind::License || call.token != call.content_token {
            return;
        }
        let waiting = &self.media_memory.waiting;
        if let Some(path) = waiting.of_license(self.clock.now(), key, call.content_token) {
            waiting.forget(key, path);
            self.sessions.tie_media(key, id, path);
        }
    }

    /// A first manifest came, for which a license may have been given before.
    pub(super) fn look_for_license(&self, key: DeviceKey, names: MediaNames) {
        let waiting = &self.media_memory.waiting;
        let is_only = waiting.note(self.clock.now(), key, names);
        if is_only && names.content_token.is_none() && self.sessions.tie_media_to_license(key, names.path) {
            waiting.forget(key, names.path);
        }
    }
}
