//! A store that ends with the process, for tests, simulations and measurements.
//!
//! [`Memory::manual`] writes only when told, so that a crash can come between a change and its writing.
//! [`Memory::crash`] returns the store that the next process finds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::record::{RecordKey, StoredRecord};
use super::{Loaded, PendingChanges, Store};

#[derive(Debug, Default)]
pub struct Memory {
    /// Records as bytes, as in a file.
    kept: Mutex<BTreeMap<RecordKey, Vec<u8>>>,
    pending: Arc<PendingChanges>,
}

impl Memory {
    /// Makes a store in which nothing is durable before [`Self::commit`].
    pub fn manual() -> Arc<Self> {
        Arc::default()
    }

    /// Writes all changes so far, in one step. Returns how many records changed.
    pub fn commit(&self) -> usize {
        let (changes, mark) = self.pending.take();
        let count = changes.len();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, record) in changes {
            match record.and_then(|record| record.encode().ok()) {
                Some(bytes) => drop(kept.insert(key, bytes)),
                None => drop(kept.remove(&key)),
            }
        }
        drop(kept);
        self.pending.settle(mark, false);
        count
    }

    /// The store that another process would find now: exactly the committed changes. Later writes to this one do not
    /// reach it.
    pub fn crash(&self) -> Arc<Self> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Arc::new(Self { kept: Mutex::new(kept), pending: Arc::default() })
    }

    /// Commits at every `pace`, forever.
    pub async fn commit_always(self: Arc<Self>, pace: std::time::Duration) {
        loop {
            self.commit();
            tokio::time::sleep(pace).await;
        }
    }

    /// Number of durable records.
    pub fn len(&self) -> usize {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Store for Memory {
    fn pending(&self) -> &Arc<PendingChanges> {
        &self.pending
    }

    fn load(&self) -> Loaded {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut loaded = Loaded::default();
        // Bytes that this store encoded can be decoded.
        kept.iter()
            .filter_map(|(key, bytes)| StoredRecord::decode(key, bytes).ok())
            .for_each(|record| loaded.add(record));
        loaded
    }
}
