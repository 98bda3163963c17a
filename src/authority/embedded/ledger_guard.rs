//! Locks the embedded authority's ledger; when the guard is dropped, changed slots go to the store.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, MutexGuard};

use crate::clock::Clock;
use crate::ledger::SlotLedger;
use crate::store::{RecordKey, Store, StoredRecord};

/// The store for an embedded authority's slots, and the authority's name in it.
#[derive(Debug)]
pub(in crate::authority) struct LedgerStore {
    pub(in crate::authority) authority: Arc<str>,
    pub(in crate::authority) store: Arc<dyn Store>,
}

pub(in crate::authority) struct LedgerGuard<'a> {
    pub(super) keeping: Option<&'a LedgerStore>,
    pub(super) ledger: MutexGuard<'a, SlotLedger>,
}

impl Deref for LedgerGuard<'_> {
    type Target = SlotLedger;

    fn deref(&self) -> &SlotLedger {
        &self.ledger
    }
}

impl DerefMut for LedgerGuard<'_> {
    fn deref_mut(&mut self) -> &mut SlotLedger {
        &mut self.ledger
    }
}

impl Drop for LedgerGuard<'_> {
    fn drop(&mut self) {
        let Some(LedgerStore { authority, store }) = self.keeping else { return };
        let changed = self.ledger.take_changed();
        if changed.is_empty() {
            return;
        }
        let moment = Clock.moment();
        for slot in changed {
            match self.ledger.record(slot, authority, &moment) {
                Some(record) => store.put(StoredRecord::Slot(Box::new(record))),
                None => store.forget(RecordKey::Slot(authority.clone(), slot.0)),
            }
        }
    }
}
