//! The table of devices, behind closures: no guard leaves this file, so none can be held over an
//! await, and a closure touches one device only.

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

/// What the shell keeps with every playback.
#[derive(Debug)]
pub(super) struct SessionEntry {
    /// The authority knows that its player has got something to play by.
    pub(super) accepted: bool,
    /// License calls of it that are at the license server, where its place is provisional until one is accepted.
    pub(super) calls_in_flight: usize,
    /// Calls of players that wait for the core's answer.
    pub(super) calls_waiting: usize,
    pub(super) card: Arc<SessionContext>,
    /// While its place is on its way back.
    pub(super) closing: Option<PendingRelease>,
    /// Its part in the operators' views, once a step has seen it.
    pub(super) indexed: Option<IndexedSession>,
    /// Its content tokens where calls look for them, while it goes on.
    pub(super) indexed_tokens: Option<IndexedTokens>,
    /// Whether its operator was warned of what its licenses say of renewals.
    pub(super) escapes_told: bool,
    pub(super) mirror: Mirror,
    /// The content token whose playback the card is of, for a session that several share.
    pub(super) opened_by: Option<Fingerprint>,
    /// The card as it is written down, once it was.
    pub(super) record: Option<Arc<SessionContextRecord>>,
    /// The deadline that stands on the wheel, and where.
    pub(super) slotted: Option<(Instant, WheelSlot)>,
    /// While it is a preload that holds a place.
    pub(super) spare: Option<SparePlace>,
    /// That of the call for which it is to be opened, until the open sets out.
    pub(super) place: Option<HeldPlace>,
    /// What the store has of it, if anything.
    pub(super) stamp: Option<WrittenStamp>,
    pub(super) timeline: Timeline,
    /// Its content tokens stand among those that were killed.
    pub(super) tokens_killed: bool,
    /// Where its newest record stands among all changes, if this process handed one over.
    pub(super) written: Option<ChangeMark>,
}

impl SessionEntry {
    pub(super) fn new(card: Arc<SessionContext>) -> Self {
        Self {
            accepted: false,
            calls_in_flight: 0,
            calls_waiting: 0,
            card,
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
    /// Those that serve the device now.
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
    /// Runs `act` on the device, which appears when it is first called for and goes with its last
    /// playback and connection.
    pub(super) fn with<R>(&self, key: DeviceKey, act: impl FnOnce(&mut DeviceEntry) -> R) -> R {
        let mut seat = self.seats.entry(key).or_default();
        let result = act(seat.value_mut());
        let empty = seat.is_empty();
        drop(seat);
        if empty {
            self.seats.remove_if(&key, |_, seat| seat.is_empty());
        }
        result
    }

    /// Looks at one device, if it is there, and changes nothing.
    pub(super) fn look<R>(&self, key: DeviceKey, look: impl FnOnce(&Device<SessionEntry>) -> R) -> Option<R> {
        self.seats.get(&key).map(|seat| look(&seat.device))
    }

    /// Looks at every playback. Takes about 40 ms a million: for operators, never for a call.
    pub(super) fn collect<R>(&self, look: impl Fn(DeviceKey, &Playback<SessionEntry>) -> Option<R>) -> Vec<R> {
        let mut found = Vec::new();
        for seat in &self.seats {
            found.extend(seat.device.playbacks().iter().filter_map(|playback| look(*seat.key(), playback)));
        }
        found
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }
}
