//! The table of devices. It is reached only by closures, so that no lock is held over an await, and a closure touches
//! only one device.

use std::sync::Arc;
use std::time::Instant;

use dashmap::DashMap;
use tokio::sync::Notify;

use super::index::IndexedSession;
use super::pending_releases::PendingRelease;
use super::session_context::{DeviceKey, SessionContext};
use super::spare_places::SparePlace;
use super::timeline::Timeline;
use super::token_index::IndexedTokens;
use crate::eme::Mirror;
use crate::secret::Fingerprint;
use crate::session::{Device, Playback, WheelSlot, WrittenStamp};
use crate::store::{ChangeMark, SessionContextRecord};
use crate::task::HeldPlace;

/// The shell's part of a playback.
#[derive(Debug)]
pub(super) struct SessionEntry {
    /// The authority was told that the player has got a license or media.
    pub(super) accepted: bool,
    /// Calls of this session at the license server, while its slot is provisional.
    pub(super) calls_in_flight: usize,
    /// Calls of players that wait for the core's answer.
    pub(super) calls_waiting: usize,
    pub(super) context: Arc<SessionContext>,
    /// Held while its slot is being given back.
    pub(super) closing: Option<PendingRelease>,
    /// Its entry in the operators' views, once a step has seen it.
    pub(super) indexed: Option<IndexedSession>,
    /// Its content tokens in the index of running playbacks.
    pub(super) indexed_tokens: Option<IndexedTokens>,
    /// The operator was warned of its licenses' renewal policy.
    pub(super) escapes_told: bool,
    pub(super) mirror: Mirror,
    /// Content token of the playback whose context is used, for a shared session.
    pub(super) opened_by: Option<Fingerprint>,
    /// The context as it was last written to the store.
    pub(super) record: Option<Arc<SessionContextRecord>>,
    /// The deadline on the wheel, and its slot there.
    pub(super) slotted: Option<(Instant, WheelSlot)>,
    /// Held while it is a preload with a slot.
    pub(super) spare: Option<SparePlace>,
    /// The caller's place, held until the open sets out.
    pub(super) place: Option<HeldPlace>,
    /// Stamp of its record in the store, if there is one.
    pub(super) stamp: Option<WrittenStamp>,
    pub(super) timeline: Timeline,
    /// Its content tokens are in the index of killed ones.
    pub(super) tokens_killed: bool,
    /// Position of its newest record among all changes, if this process has written one.
    pub(super) written: Option<ChangeMark>,
}

impl SessionEntry {
    pub(super) fn new(context: Arc<SessionContext>) -> Self {
        Self {
            accepted: false,
            calls_in_flight: 0,
            calls_waiting: 0,
            context,
            closing: None,
            indexed: None,
            indexed_tokens: None,
            escapes_told: false,
            mirror: Mirror::default(),
            opened_by: None,
            record: None,
            slotted: None,
            place: None,
            spare: None,
            stamp: None,
            timeline: Timeline::default(),
            tokens_killed: false,
            written: None,
        }
    }
}

#[derive(Default)]
pub(super) struct DeviceEntry {
    /// Connections that serve the device now.
    pub(super) connections: usize,
    pub(super) device: Device<SessionEntry>,
    pub(super) wake: Arc<Notify>,
}

impl DeviceEntry {
    fn is_empty(&self) -> bool {
        self.device.is_empty() && self.connections == 0
    }
}

#[derive(Default)]
pub(super) struct DeviceTable {
    seats: DashMap<DeviceKey, DeviceEntry>,
}

impl DeviceTable {
    /// Runs `act` on the device. A device appears when it is first asked for, and goes with its last playback and
    /// connection.
    pub(super) fn with<R>(&self, key: DeviceKey, act: impl FnOnce(&mut DeviceEntry) -> R) -> R {
        let mut entry = self.seats.entry(key).or_default();
        let result = act(entry.value_mut());
        let empty = entry.is_empty();
        drop(entry);
        if empty {
            self.seats.remove_if(&key, |_, entry| entry.is_empty());
        }
        result
    }

    /// Reads one device, if it exists.
    pub(super) fn look<R>(&self, key: DeviceKey, look: impl FnOnce(&Device<SessionEntry>) -> R) -> Option<R> {
        self.seats.get(&key).map(|entry| look(&entry.device))
    }

    /// Reads every playback. Takes about 40 ms per million, so it is for operators, never for a call.
    pub(super) fn collect<R>(&self, look: impl Fn(DeviceKey, &Playback<SessionEntry>) -> Option<R>) -> Vec<R> {
        let mut found = Vec::new();
        for entry in &self.seats {
            found.extend(entry.device.playbacks().iter().filter_map(|playback| look(*entry.key(), playback)));
        }
        found
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }
}
