//! The table of devices. It is reached only by closures, so that no lock is held over an await, and a closure touches
//! only one device.

use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use super::index::IndexedSession;
use super::pending_releases::PendingRelease;
use super::session_context::{DeviceKey, SessionContext};
use super::spare_places::SparePlace;
use super::timeline::Timeline;
use crate::clock::MonotonicTime;
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
    pub(super) context: Arc<SessionContext>,
    /// Its entry in the operators' views and in the index of tokens, once a step has seen it.
    pub(super) indexed: Option<IndexedSession>,
    /// The operator was warned of its licenses' renewal policy.
    pub(super) escapes_told: bool,
    pub(super) mirror: Mirror,
    /// Boxed, because a session has nothing of it for most of its time.
    rare: Option<Box<RareState>>,
    /// The deadline on the wheel, and its slot there.
    pub(super) slotted: Option<(MonotonicTime, WheelSlot)>,
    pub(super) timeline: Timeline,
    /// Its content tokens are in the index of killed ones.
    pub(super) tokens_killed: bool,
    /// Boxed, because only a session with a store has it.
    written: Option<Box<WrittenState>>,
}

/// The parts of an entry that few sessions have, or each for moments only.
#[derive(Debug, Default)]
pub(super) struct RareState {
    /// Calls of this session at the license server, while its slot is provisional.
    pub(super) calls_in_flight: usize,
    /// Calls of players that wait for the core's answer.
    pub(super) calls_waiting: usize,
    /// Held while its slot is being given back.
    pub(super) closing: Option<PendingRelease>,
    /// Content token of the playback whose context is used, for a shared session.
    pub(super) opened_by: Option<Fingerprint>,
    /// The caller's place, held until the open sets out.
    pub(super) place: Option<HeldPlace>,
    /// Held while it is a preload with a slot.
    pub(super) spare: Option<SparePlace>,
}

/// The session in the store.
#[derive(Debug, Default)]
pub(super) struct WrittenState {
    /// Position of its newest record among all changes, if this process has written one.
    pub(super) mark: Option<ChangeMark>,
    /// The context as an earlier process wrote it. It may name what this process no longer finds. One that began here
    /// is made anew for each record, which is seldom written.
    pub(super) record: Option<Arc<SessionContextRecord>>,
    /// Stamp of its record, if there is one.
    pub(super) stamp: Option<WrittenStamp>,
}

/// A table with room for fewer devices is kept as it is.
const MIN_ROOM_GIVEN_BACK: usize = 4_096;

impl SessionEntry {
    pub(super) fn new(context: Arc<SessionContext>) -> Self {
        Self {
            accepted: false,
            context,
            indexed: None,
            escapes_told: false,
            mirror: Mirror::default(),
            rare: None,
            slotted: None,
            timeline: Timeline::default(),
            tokens_killed: false,
            written: None,
        }
    }

    /// The rare parts, if there are any.
    pub(super) fn rare(&self) -> Option<&RareState> {
        self.rare.as_deref()
    }

    /// Makes the rare parts if there are none.
    pub(super) fn rare_mut(&mut self) -> &mut RareState {
        self.rare.get_or_insert_default()
    }

    /// The rare parts to change, if there are any.
    pub(super) fn rare_if_any(&mut self) -> Option<&mut RareState> {
        self.rare.as_deref_mut()
    }

    /// Frees the rare parts if nothing is left of them.
    pub(super) fn drop_empty_parts(&mut self) {
        if self.rare.as_ref().is_some_and(|rare| rare.is_empty()) {
            self.rare = None;
        }
    }

    pub(super) fn written(&self) -> Option<&WrittenState> {
        self.written.as_deref()
    }

    /// Only for sessions with a store.
    pub(super) fn written_mut(&mut self) -> &mut WrittenState {
        self.written.get_or_insert_default()
    }

    /// Gives the session another context, which is not in the store yet.
    pub(super) fn change_context(&mut self, context: Arc<SessionContext>) {
        self.context = context;
        if let Some(written) = &mut self.written {
            written.record = None;
        }
    }
}

impl RareState {
    fn is_empty(&self) -> bool {
        let Self { calls_in_flight, calls_waiting, closing, opened_by, place, spare } = self;
        (*calls_in_flight, *calls_waiting) == (0, 0)
            && closing.is_none()
            && opened_by.is_none()
            && place.is_none()
            && spare.is_none()
    }
}

#[derive(Default)]
pub(super) struct DeviceEntry {
    /// Connections that serve the device now.
    pub(super) connections: usize,
    pub(super) device: Device<SessionEntry>,
    /// Only while somebody waits for a change.
    wake: Option<Arc<Notify>>,
}

impl DeviceEntry {
    /// Resolves with the next change of the device. Made under its lock, under which every wake happens, so that none
    /// is missed.
    pub(super) fn change(&mut self) -> OwnedNotified {
        self.wake.get_or_insert_default().clone().notified_owned()
    }

    /// Wakes all that wait for a change.
    pub(super) fn wake_waiting(&self) {
        self.wake.iter().for_each(|wake| wake.notify_waiters());
    }

    /// Frees the parts of which nothing is left.
    pub(super) fn drop_empty_parts(&mut self) {
        // No one else can make a clone of it.
        if self.wake.as_ref().is_some_and(|wake| Arc::strong_count(wake) == 1) {
            self.wake = None;
        }
        self.device.playbacks_mut().for_each(|playback| playback.entry.drop_empty_parts());
    }

    fn is_empty(&self) -> bool {
        self.device.is_empty() && self.connections == 0
    }
}

#[derive(Default)]
pub(super) struct DeviceTable {
    /// Boxed, because a table that grows is half empty for a while.
    seats: DashMap<DeviceKey, Box<DeviceEntry>>,
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

    /// True if most of the table's room is unused: many devices have gone.
    pub(super) fn is_sparse(&self) -> bool {
        let room = self.seats.capacity();
        room >= MIN_ROOM_GIVEN_BACK && self.seats.len() < room / 4
    }

    /// Gives unused room back. Locks one part of the table after the other, each for about a millisecond, so it is for
    /// a thread that beats no session.
    pub(super) fn give_room_back(&self) {
        self.seats.shrink_to_fit();
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }
}
