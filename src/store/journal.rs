//! A store in one file (redb). Durable records survive the process and a power failure.
//!
//! A thread writes groups of changes, each in one transaction. While there is little to do, awaited changes are
//! written at once; under load all changes within [`MIN_TRANSACTION_SPACING`] are grouped. A file that cannot be
//! written is logged once, counted, and tried again; meanwhile the changes wait, and playing goes on from memory.

mod file;
mod overlay;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redb::Database;

pub use self::file::{JournalFault, check};
use self::file::{REGISTRATIONS_TABLE, SESSIONS_TABLE, SLOTS_TABLE};
use super::pending_changes::ChangeSet;
use super::record::RecordKey;
use super::{Loaded, PendingChanges, Store};
use crate::telemetry::Telemetry;

/// Version of the records' content. A journal with another version is refused and stays as it is. Versions up to 5 were
/// written before the first release.
pub(super) const JOURNAL_FORMAT_VERSION: u32 = 6;
/// Time between the beginnings of two transactions. Each costs about 0.3 ms. An open waits for its record while it
/// travels, and mostly travels longer.
const MIN_TRANSACTION_SPACING: Duration = Duration::from_millis(10);
/// Additional time in which changes gather if nothing waits for them.
const WRITE_GATHERING_TIME: Duration = Duration::from_millis(2);
/// Pause before a failed write is tried again.
const WRITE_RETRY_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct RecordJournal {
    loaded: Mutex<Loaded>,
    path: PathBuf,
    pending: Arc<PendingChanges>,
    telemetry: Arc<Telemetry>,
}

/// Writes the journal until [`RecordJournal::end`]. Run it on a thread of its own.
#[derive(Debug)]
pub struct Writer {
    /// `None` after a failure, until the file can be opened again.
    database: Option<Database>,
    journal: Arc<RecordJournal>,
}

impl RecordJournal {
    /// Opens the journal, or makes one if there is none. Blocks, so call it before anything is served.
    ///
    /// # Errors
    /// The file is something else, damaged, of a newer version, or in use. It stays untouched.
    pub fn open(path: &Path, telemetry: Arc<Telemetry>) -> Result<(Arc<Self>, Writer), JournalFault> {
        let (database, loaded) = file::open(path)?;
        let loaded = Mutex::new(loaded);
        let journal = Arc::new(Self { loaded, path: path.to_owned(), pending: Arc::default(), telemetry });
        Ok((journal.clone(), Writer { database: Some(database), journal }))
    }

    /// Lets the writer write the remaining changes and end.
    pub fn end(&self) {
        self.pending.end();
    }
}

impl Store for RecordJournal {
    fn pending(&self) -> &Arc<PendingChanges> {
        &self.pending
    }

    fn load(&self) -> Loaded {
        std::mem::take(&mut self.loaded.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Writer {
    pub fn run(mut self) {
        let pending = self.journal.pending.clone();
        while let Some((changes, mark)) = pending.take_next(MIN_TRANSACTION_SPACING, WRITE_GATHERING_TIME) {
            // Changes that failed before are tried once more at the end.
            let last = pending.has_ended();
            match self.write(&changes) {
                Ok(()) => {
                    self.tell_good(changes.len());
                    pending.settle(mark, false);
                }
                Err(fault) => {
                    self.tell_bad(&fault);
                    pending.give_back(changes);
                    pending.settle(mark, true);
                    if last {
                        return;
                    }
                    pending.rest(WRITE_RETRY_PAUSE);
                }
            }
        }
    }

    fn write(&mut self, changes: &ChangeSet) -> Result<(), Box<redb::Error>> {
        let database = match self.database.take() {
            Some(database) => database,
            None => file::reopen(&self.journal.path).map_err(boxed)?,
        };
        commit(&database, changes)?;
        // A failed database stays closed, because redb does not go on after a lost write.
        self.database = Some(database);
        Ok(())
    }

    fn tell_good(&self, count: usize) {
        self.journal.telemetry.metrics.journal_written(count);
        if self.journal.pending.is_degraded() {
            tracing::info!(file = %self.journal.path.display(), "the journal is written again");
        }
    }

    fn tell_bad(&self, fault: &redb::Error) {
        self.journal.telemetry.metrics.journal_failed();
        if !self.journal.pending.is_degraded() {
            let file = self.journal.path.display();
            tracing::error!(%file, %fault, "the journal cannot be written: sessions go on, but would not outlive a restart");
        }
    }
}

fn commit(database: &Database, changes: &ChangeSet) -> Result<(), Box<redb::Error>> {
    let mut writing = database.begin_write().map_err(boxed)?;
    // With two-phase commits, damage can be told from a commit that a crash cut off.
    writing.set_two_phase_commit(true);
    {
        let mut registrations = writing.open_table(REGISTRATIONS_TABLE).map_err(boxed)?;
        let mut sessions = writing.open_table(SESSIONS_TABLE).map_err(boxed)?;
        let mut slots = writing.open_table(SLOTS_TABLE).map_err(boxed)?;
        for (key, record) in changes {
            // A record of ours can always be written as JSON.
            let bytes = record.as_ref().and_then(|record| record.encode().ok());
            match (key, bytes) {
                (RecordKey::Registration(id), Some(bytes)) => {
                    drop(registrations.insert(id.bytes(), &*bytes).map_err(boxed)?);
                }
                (RecordKey::Registration(id), None) => drop(registrations.remove(id.bytes()).map_err(boxed)?),
                (RecordKey::Session(id), Some(bytes)) => drop(sessions.insert(id.0, &*bytes).map_err(boxed)?),
                (RecordKey::Session(id), None) => drop(sessions.remove(id.0).map_err(boxed)?),
                (RecordKey::Slot(authority, slot), Some(bytes)) => {
                    drop(slots.insert((&**authority, *slot), &*bytes).map_err(boxed)?);
                }
                (RecordKey::Slot(authority, slot), None) => drop(slots.remove((&**authority, *slot)).map_err(boxed)?),
            }
        }
    }
    writing.commit().map_err(boxed)
}

fn boxed(error: impl Into<redb::Error>) -> Box<redb::Error> {
    Box::new(error.into())
}

#[cfg(test)]
mod tests;
