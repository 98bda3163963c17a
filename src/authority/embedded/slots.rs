//! Shows an embedded authority's slots to operators and viewers, and frees them.

use std::time::{Duration, Instant};

use super::EmbeddedAuthority;
pub use crate::ledger::MOVED_SLOT_KEPT;
use crate::ledger::{SlotNumber, SlotRow};

/// A slot that a session holds.
#[derive(Clone, Debug)]
pub struct HeldSlot {
    pub account: String,
    pub beats: u64,
    pub content: String,
    pub content_group: Option<String>,
    pub device: String,
    pub device_group: Option<String>,
    /// Time since the opening or the last beat.
    pub last_good: Duration,
    /// Time since the opening.
    pub age: Duration,
    pub slot: SlotNumber,
}

/// A slot that is kept for a device.
#[derive(Clone, Debug)]
pub struct KeptSlot {
    pub account: String,
    pub device: String,
    /// Remaining time.
    pub rest: Duration,
}

impl HeldSlot {
    fn of(now: Instant, row: &SlotRow<'_>) -> Self {
        Self {
            account: row.account.to_owned(),
            age: now.saturating_duration_since(row.opened),
            beats: row.beats,
            content: row.content.to_owned(),
            content_group: row.content_group.map(str::to_owned),
            device: row.device.to_owned(),
            device_group: row.device_group.map(str::to_owned),
            last_good: now.saturating_duration_since(row.last),
            slot: row.slot,
        }
    }
}

impl EmbeddedAuthority {
    /// At most so many held slots that were opened after `after`, oldest first. The ledger is locked meanwhile.
    pub fn held_after(&self, now: Instant, after: Option<SlotNumber>, most: usize) -> Vec<HeldSlot> {
        let mut ledger = self.ledger();
        ledger.sweep(now);
        let held = ledger.list_after(after).take(most).map(|row| HeldSlot::of(now, &row));
        held.collect()
    }

    /// The slots that an account holds, oldest first.
    pub fn held_by(&self, now: Instant, account: &str, most: usize) -> Vec<HeldSlot> {
        let mut ledger = self.ledger();
        ledger.sweep(now);
        let mut held: Vec<_> = ledger.of_account(account).take(most).map(|row| HeldSlot::of(now, &row)).collect();
        held.sort_by_key(|held| held.slot);
        held
    }

    /// The slots kept for a device: those that were moved in the last minute.
    pub fn kept(&self, now: Instant) -> Vec<KeptSlot> {
        let mut ledger = self.ledger();
        ledger.sweep(now);
        let kept = ledger.reserved().map(|reserved| KeptSlot {
            account: reserved.account.to_owned(),
            device: reserved.device.to_owned(),
            rest: reserved.until.saturating_duration_since(now),
        });
        kept.collect()
    }

    /// Ends the sessions of accounts and devices that the current lists deny. Returns how many.
    pub(in crate::authority) fn turn_out(&self) -> usize {
        let unwelcome = |account: &str, device: &str| self.unwelcome(account, device).is_some();
        if self.admits_all() { 0 } else { self.ledger().turn_out(unwelcome) }
    }

    /// Ends the session that holds a slot. False if none does.
    pub fn end(&self, now: Instant, slot: SlotNumber) -> bool {
        let mut ledger = self.ledger();
        ledger.sweep(now);
        ledger.kill(slot)
    }

    /// Like [`Self::move_to`], if the slot belongs to this account.
    pub fn move_within(&self, now: Instant, account: &str, slot: SlotNumber, device: &str) -> bool {
        let mut ledger = self.ledger();
        ledger.sweep(now);
        ledger.row(slot).is_some_and(|row| row.account == account) && ledger.move_to(now, slot, device, MOVED_SLOT_KEPT)
    }

    /// Ends the session that holds the slot, and keeps the slot for [`MOVED_SLOT_KEPT`] for this device of the same
    /// account. False if no session holds it.
    pub fn move_to(&self, now: Instant, slot: SlotNumber, device: &str) -> bool {
        self.ledger().move_to(now, slot, device, MOVED_SLOT_KEPT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::AuthoritySignals;
    use crate::authority::ledger::{LedgerClaim, SlotLimits};
    use crate::authority::testing::embedded_settings;
    use crate::clock::Clock;
    use crate::config;

    #[test]
    fn a_slot_of_another_account_is_not_freed() {
        let home = embedded_settings("");
        let (counter, now) = (EmbeddedAuthority::new(home, &AuthoritySignals::default()), Clock.now());
        let limits = SlotLimits {
            grace: MOVED_SLOT_KEPT,
            interval: MOVED_SLOT_KEPT,
            on_limit: config::OnLimit::DenyNewest,
            per_account: 1,
            per_content_group: None,
            per_device: None,
            per_device_group: None,
        };
        let open = |account| {
            let claim = LedgerClaim { account, content: "", content_group: None, device: "tv", device_group: None };
            counter.ledger().open(now, &claim, &limits).unwrap().0
        };
        let (ann, bob) = (open("ann"), open("bob"));
        assert!(!counter.move_within(now, "ann", bob, "phone"));
        assert!(!counter.move_within(now, "", bob, "phone"));
        assert!(!counter.move_within(now, "ann", SlotNumber(ann.0 ^ bob.0), "phone"));
        let of = |account| counter.held_by(now, account, 9).iter().map(|held| held.slot).collect::<Vec<_>>();
        assert_eq!((of("ann"), of("bob"), of("eve")), (vec![ann], vec![bob], vec![]));
        assert!(counter.move_within(now, "ann", ann, "phone") && !counter.move_within(now, "ann", ann, "phone"));
        assert_eq!((of("ann"), of("bob")), (vec![], vec![bob]));
    }
}
