//! Ends the sessions of accounts and devices that were admitted but are denied now.

use super::{KillCause, SlotEnding, SlotLedger, SlotNumber};

impl SlotLedger {
    /// Ends every session whose account or device is denied now, and releases slots kept for it. Returns how many
    /// sessions ended.
    pub fn turn_out(&mut self, unwelcome: impl Fn(&str, &str) -> bool) -> usize {
        let kept = self.reserved.iter().filter(|(_, kept)| unwelcome(&kept.places.account, &kept.device));
        let kept: Vec<SlotNumber> = kept.map(|(slot, _)| *slot).collect();
        kept.into_iter().for_each(|slot| self.lapse(slot));
        let held = self.list().filter(|row| unwelcome(row.account, row.device));
        let held: Vec<SlotNumber> = held.map(|row| row.slot).collect();
        held.into_iter().filter(|slot| self.end(*slot, SlotEnding::Kill(KillCause::Deny), None).is_some()).count()
    }
}
