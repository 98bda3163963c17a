//! The table of devices, behind closures: no guard leaves this file, so none can be held over an
//! await, and a closure touches one device only.

use std::sync::Arc;
use std::time::Instant;

use dashmap::DashMap;
use tokio::sync::Notify;

use super::card::{Card, DeviceKey};
use super::timeline::Timeline;
use crate::session::{Device, Playback, Slot, Stamp};
use crate::store::CardRecord;

/// What the shell keeps with every playback.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) card: Arc<Card>,
    /// The card as it is written down, once it was.
    pub(super) record: Option<Arc<CardRecord>>,
    /// The deadline that stands on the wheel, and where.
    pub(super) slotted: Option<(Instant, Slot)>,
    /// What the store has of it, if anything.
    pub(super) stamp: Option<Stamp>,
    pub(super) timeline: Timeline,
}

impl Kept {
    pub(super) fn new(card: Arc<Card>) -> Self {
        Self { card, record: None, slotted: None, stamp: None, timeline: Timeline::default() }
    }
}

#[derive(Default)]
struct Seat {
    device: Device<Kept>,
    wake: Arc<Notify>,
}

#[derive(Default)]
pub(super) struct Table {
    seats: DashMap<DeviceKey, Seat>,
}

impl Table {
    /// Runs `act` on the device, which appears when it is first called for and goes with its last
    /// playback.
    pub(super) fn with<R>(&self, key: DeviceKey, act: impl FnOnce(&mut Device<Kept>, &Arc<Notify>) -> R) -> R {
        let mut seat = self.seats.entry(key).or_default();
        let Seat { device, wake } = seat.value_mut();
        let result = act(device, wake);
        let empty = device.is_empty();
        drop(seat);
        if empty {
            self.seats.remove_if(&key, |_, seat| seat.device.is_empty());
        }
        result
    }

    /// Looks at every playback. Takes about 40 ms a million: for operators, never for a call.
    pub(super) fn collect<R>(&self, look: impl Fn(DeviceKey, &Playback<Kept>) -> Option<R>) -> Vec<R> {
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
