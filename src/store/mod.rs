//! Keeps the state that survives the process: the newest record of every session, registered playback and slot of an
//! embedded authority.
//!
//! A change is handed over under a lock and costs almost nothing: it waits in a [`PendingChanges`] map, where the
//! last change of a key wins. To wait until it is durable, use its [`ChangeMark`]. Knows plain records, not their
//! meaning. `sessions` and `authority` use it, `app` builds it.

mod journal;
mod memory;
mod pending_changes;
mod record;
mod registration_store;

use std::fmt;
use std::sync::Arc;

pub use self::journal::{JournalFault, RecordJournal, Writer, check};
pub use self::memory::Memory;
pub use self::pending_changes::{ChangeMark, PendingChanges};
pub use self::record::{
    DialectName, RecordKey, SessionContextRecord, SessionRecord, SlotCause, SlotEnded, SlotHeld, SlotKept, SlotRecord,
    StoredRecord, TimelineRecord,
};
pub use self::registration_store::{RegistrationRecord, RegistrationStore};

/// All records, in no order.
#[derive(Debug, Default)]
pub struct Loaded {
    pub registrations: Vec<RegistrationRecord>,
    pub sessions: Vec<SessionRecord>,
    pub slots: Vec<SlotRecord>,
}

/// Keeps records. Changes that are not durable may be lost with the process, but never out of order: after a crash
/// the records are as they were at one moment.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// The changes that wait to be written.
    fn pending(&self) -> &Arc<PendingChanges>;

    /// Returns the records of an earlier process, once. Blocks, so call it before anything is served.
    fn load(&self) -> Loaded;
}

impl dyn Store {
    /// Replaces the record of this key.
    pub fn put(&self, record: StoredRecord) {
        self.pending().add(record.key(), Some(record));
    }

    pub fn forget(&self, key: RecordKey) {
        self.pending().add(key, None);
    }

    /// Resolves when all changes before this call are durable, or are known not to become so for now. Playing then
    /// goes on from memory.
    pub fn durable(&self) -> impl Future<Output = ()> + Send + use<> {
        self.pending().durable()
    }

    /// Marks all changes until now.
    pub fn mark(&self) -> ChangeMark {
        self.pending().mark()
    }

    /// Like `durable`, up to this mark. Wakes the writer at once.
    pub fn durable_up_to(&self, mark: ChangeMark) -> impl Future<Output = ()> + Send + use<> {
        self.pending().durable_up_to(mark)
    }

    /// True if changes cannot be written at present.
    pub fn is_degraded(&self) -> bool {
        self.pending().is_degraded()
    }
}

impl Loaded {
    fn add(&mut self, record: StoredRecord) {
        match record {
            StoredRecord::Registration(record) => self.registrations.push(*record),
            StoredRecord::Session(record) => self.sessions.push(*record),
            StoredRecord::Slot(record) => self.slots.push(*record),
        }
    }
}

#[cfg(test)]
mod tests;
