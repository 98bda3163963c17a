//! The places of an embedded authority as an operator sees and frees them.

use std::time::{Duration, Instant};

use super::counter::Counter;
use super::embedded::Slot;

/// A place that is moved is kept for its new device for this long.
pub const RESERVED: Duration = Duration::from_secs(60);

/// One place that is taken.
#[derive(Clone, Debug)]
pub struct Held {
    pub account: String,
    pub beats: u64,
    pub content: String,
    pub content_group: Option<String>,
    pub device: String,
    pub device_group: Option<String>,
    /// Since it was opened or last beaten.
    pub last_good: Duration,
    /// Since it was opened.
    pub age: Duration,
    pub slot: Slot,
}

/// One place that is kept for a device.
#[derive(Clone, Debug)]
pub struct Kept {
    pub account: String,
    pub device: String,
    /// How much longer.
    pub rest: Duration,
}

impl Counter {
    /// So many of the taken places that were opened after `after`, oldest first. The books are locked meanwhile.
    pub fn held_after(&self, now: Instant, after: Option<Slot>, most: usize) -> Vec<Held> {
        let mut ledger = self.ledger();
        ledger.sweep(now);
        let held = ledger.list_after(after).take(most).map(|row| Held {
            account: row.account.to_owned(),
            age: now.saturating_duration_since(row.opened),
            beats: row.beats,
            content: row.content.to_owned(),
            content_group: row.content_group.map(str::to_owned),
            device: row.device.to_owned(),
            device_group: row.device_group.map(str::to_owned),
            last_good: now.saturating_duration_since(row.last),
            slot: row.slot,
        });
        held.collect()
    }

    /// The places that are kept for somebody: as many as operators have moved in the last minute.
    pub fn kept(&self, now: Instant) -> Vec<Kept> {
        let mut ledger = self.ledger();
        ledger.sweep(now);
        let kept = ledger.reserved().map(|reserved| Kept {
            account: reserved.account.to_owned(),
            device: reserved.device.to_owned(),
            rest: reserved.until.saturating_duration_since(now),
        });
        kept.collect()
    }

    /// Takes the places of those who may not play any more, by the lists as they are now. Returns how many.
    pub(super) fn turn_out(&self) -> usize {
        let unwelcome = |account: &str, device: &str| self.unwelcome(account, device).is_some();
        if self.admits_all() { 0 } else { self.ledger().turn_out(unwelcome) }
    }

    /// False if nobody holds this place.
    pub fn end(&self, now: Instant, slot: Slot) -> bool {
        let mut ledger = self.ledger();
        ledger.sweep(now);
        ledger.kill(slot)
    }

    /// Ends who holds the place, and keeps it [`RESERVED`] long for this device of the same account.
    /// False if nobody holds it.
    pub fn move_to(&self, now: Instant, slot: Slot, device: &str) -> bool {
        self.ledger().move_to(now, slot, device, RESERVED)
    }
}
