//! Who may not play any more, though he did when he was admitted.

use super::{Cause, End, Ledger, Slot};

impl Ledger {
    /// Ends every session of an account and device that are unwelcome by now. Returns how many.
    pub fn turn_out(&mut self, unwelcome: impl Fn(&str, &str) -> bool) -> usize {
        let unwelcome = self.list().filter(|row| unwelcome(row.account, row.device));
        let slots: Vec<Slot> = unwelcome.map(|row| row.slot).collect();
        slots.into_iter().filter(|slot| self.end(*slot, End::Kill(Cause::Deny), None).is_some()).count()
    }
}
