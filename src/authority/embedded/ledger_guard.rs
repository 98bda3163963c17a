//! The embedded authority's ledger under its lock; whatever changed in it is handed to the store when it is let go.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, MutexGuard};

use super::super::ledger::SlotLedger;
use crate::clock::Clock;
use crate::store::{RecordKey, Store, StoredRecord};

/// Where an embedded authority writes its places down, and under which name.
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
