//! What outlives the process: the newest record of every session, of every registered playback, and of every
//! place of an embedded authority.
//!
//! A change is handed over under a lock and costs next to nothing: it waits in a [`PendingChanges`] map, where
//! the last one of a key wins. Whoever must not go on before it is safe waits for its [`ChangeMark`]. Knows
//! plain records, and nothing of what they mean. Used by `sessions` and `authority`, built by `app`.

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

/// Version of what the records say. A journal with a higher one is not read; one with a lower one is, and
/// is marked with this one before anything is written to it. Format 1 had long names in its records;
/// 2 knew fewer endings; 3 knew nothing of tokens in doubt; 4 knew
/// nobody who gives way.
pub const JOURNAL_FORMAT_VERSION: u32 = 5;

/// Everything that was written, in no order.
#[derive(Debug, Default)]
pub struct Loaded {
    pub registrations: Vec<RegistrationRecord>,
    pub sessions: Vec<SessionRecord>,
    pub slots: Vec<SlotRecord>,
}

/// Keeps records. Changes that are not durable yet may be lost with the process, but never out of
/// order: what is there after a crash is what was there at one moment.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Where changes wait to be written.
    fn pending(&self) -> &Arc<PendingChanges>;

    /// What an earlier process left. Gives it once; blocks: only before anything is served.
    fn load(&self) -> Loaded;
}

impl dyn Store {
    /// Keeps this record in place of an older one with its key.
    pub fn put(&self, record: StoredRecord) {
        self.pending().add(record.key(), Some(record));
    }

    pub fn forget(&self, key: RecordKey) {
        self.pending().add(key, None);
    }

    /// Resolves when everything that was handed over before this call is durable, or is known not to
    /// become so for now: playing goes on from memory then.
    pub fn durable(&self) -> impl Future<Output = ()> + Send + use<> {
        self.pending().durable()
    }

    /// What was handed over until now.
    pub fn mark(&self) -> ChangeMark {
        self.pending().mark()
    }

    /// As `durable`, of everything up to this mark. The writer hears of it now.
    pub fn durable_up_to(&self, mark: ChangeMark) -> impl Future<Output = ()> + Send + use<> {
        self.pending().durable_up_to(mark)
    }

    /// Changes cannot be written at present.
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
