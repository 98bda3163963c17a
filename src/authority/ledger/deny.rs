//! Ends the sessions of accounts and devices that may not play any more, though they were admitted.

use super::{KillCause, SlotEnding, SlotLedger, SlotNumber};

impl SlotLedger {
    /// Ends every session of an account and device that are unwelcome by now, and keeps no place for them. Returns
    /// how many sessions.
    pub fn turn_out(&mut self, unwelcome: impl Fn(&str, &str) -> bool) -> usize {
        let kept = self.reserved.iter().filter(|(_, kept)| unwelcome(&kept.places.account, &kept.device));
        let kept: Vec<SlotNumber> = kept.map(|(slot, _)| *slot).collect();
        kept.into_iter().for_each(|slot| self.lapse(slot));
        let held = self.list().filter(|row| unwelcome(row.account, row.device));
        let held: Vec<SlotNumber> = held.map(|row| row.slot).collect();
        held.into_iter().filter(|slot| self.end(*slot, SlotEnding::Kill(KillCause::Deny), None).is_some()).count()
    }
}
