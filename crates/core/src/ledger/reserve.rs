//! Slots reserved for a device, which an operator or a viewer has moved there from another one.
//!
//! A reservation holds the places of the ended session whose slot it took over. It ends when its device opens a
//! session, or when it lapses. It is no session: it is not listed, beaten or ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::slot_session::SlotPlaces;
use super::{KillCause, SlotEnding, SlotLedger, SlotNumber, SlotRow};

/// Time for which a moved slot is kept for its new device.
pub const MOVED_SLOT_KEPT: Duration = Duration::from_secs(60);

/// A reservation as [`SlotLedger::reserved`] shows it.
#[derive(Clone, Copy, Debug)]
pub struct ReservedSlot<'a> {
    pub account: &'a str,
    pub device: &'a str,
    /// Time at which it lapses.
    pub until: Instant,
}

pub(super) struct SlotReservation {
    pub(super) device: Arc<str>,
    pub(super) places: SlotPlaces,
    pub(super) until: Instant,
}

impl SlotLedger {
    /// Ends a session and keeps its places for `device` of the same account for the time `keep`. A device has at most
    /// one reservation; an earlier one lapses. False if the slot was not live.
    pub fn move_to(&mut self, now: Instant, slot: SlotNumber, device: &str, keep: Duration) -> bool {
        self.sweep(now);
        let Some(account) = self.sessions.get(&slot).map(|session| Arc::clone(&session.places.account)) else {
            return false;
        };
        if let Some(earlier) = self.reservation(&account, device) {
            self.lapse(earlier);
        }
        let Some(places) = self.end(slot, SlotEnding::Kill(KillCause::Move), None) else { return false };
        self.hold(&places, slot);
        let until = now + keep;
        self.reserved.insert(slot, SlotReservation { device: device.into(), places, until });
        self.note(slot);
        self.arm(until, slot);
        true
    }

    /// The reservations that had not lapsed at the ledger's last known time, in no order.
    pub fn reserved(&self) -> impl Iterator<Item = ReservedSlot<'_>> {
        self.reserved.values().map(|reservation| ReservedSlot {
            account: &reservation.places.account,
            device: &reservation.device,
            until: reservation.until,
        })
    }

    /// The live sessions of an account, in no order.
    pub fn of_account(&self, account: &str) -> impl Iterator<Item = SlotRow<'_>> {
        self.accounts.all(account).filter_map(|slot| self.row(slot))
    }

    pub(super) fn hold(&mut self, places: &SlotPlaces, slot: SlotNumber) {
        self.accounts.add(&places.account, slot);
        for group in places.groups.iter().flatten() {
            self.groups.add(group, slot);
        }
    }

    pub(super) fn free(&mut self, places: &SlotPlaces, slot: SlotNumber) {
        self.accounts.remove(&places.account, slot);
        for group in places.groups.iter().flatten() {
            self.groups.remove(group, slot);
        }
    }

    pub(super) fn reservation(&self, account: &str, device: &str) -> Option<SlotNumber> {
        if self.reserved.is_empty() {
            return None;
        }
        let mut held = self.accounts.all(account);
        held.find(|slot| self.reserved.get(slot).is_some_and(|reservation| *reservation.device == *device))
    }

    pub(super) fn lapse(&mut self, slot: SlotNumber) {
        if let Some(reservation) = self.reserved.remove(&slot) {
            self.note(slot);
            self.free(&reservation.places, slot);
        }
    }
}
