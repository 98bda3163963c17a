//! A counter's ledger under its lock; whatever changed in it is handed to the store when it is let go.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, MutexGuard};

use super::embedded::Ledger;
use crate::clock::Clock;
use crate::store::{Key, Record, Store};

/// Where a counter writes its places down, and under which name.
#[derive(Debug)]
pub(super) struct Keeping {
    pub(super) authority: Arc<str>,
    pub(super) store: Arc<dyn Store>,
}

pub(super) struct Books<'a> {
    pub(super) keeping: Option<&'a Keeping>,
    pub(super) ledger: MutexGuard<'a, Ledger>,
}

impl Deref for Books<'_> {
    type Target = Ledger;

    fn deref(&self) -> &Ledger {
        &self.ledger
    }
}

impl DerefMut for Books<'_> {
    fn deref_mut(&mut self) -> &mut Ledger {
        &mut self.ledger
    }
}

impl Drop for Books<'_> {
    fn drop(&mut self) {
        let Some(Keeping { authority, store }) = self.keeping else { return };
        let changed = self.ledger.take_changed();
        if changed.is_empty() {
            return;
        }
        let moment = Clock.moment();
        for slot in changed {
            match self.ledger.record(slot, authority, &moment) {
                Some(record) => store.put(Record::Slot(Box::new(record))),
                None => store.forget(Key::Slot(authority.clone(), slot.0)),
            }
        }
    }
}
