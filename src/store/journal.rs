//! A store in one file (redb): what is durable there outlives the process and the machine's power.
//!
//! One thread writes, a group of changes in one transaction. While it is calm, who waits has it written
//! at once; under load all that comes within [`MIN_TRANSACTION_SPACING`] goes along. A file that cannot be written is said once
//! and counted, and tried again: the changes wait, and playing goes on from memory.

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

/// So long lies between the beginnings of two transactions: each costs some 0.3 ms, whatever it writes.
/// An open waits for its record while it travels, which takes most of them longer.
const MIN_TRANSACTION_SPACING: Duration = Duration::from_millis(10);
/// What nobody waits for gathers so long, after that.
const WRITE_GATHERING_TIME: Duration = Duration::from_millis(2);
/// A file that could not be written is tried again after this.
const WRITE_RETRY_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct RecordJournal {
    loaded: Mutex<Loaded>,
    path: PathBuf,
    pending: Arc<PendingChanges>,
    telemetry: Arc<Telemetry>,
}

/// Writes the journal, until [`RecordJournal::end`]; to be run on a thread of its own.
#[derive(Debug)]
pub struct Writer {
    /// None after a failure, until it can be opened again.
    database: Option<Database>,
    journal: Arc<RecordJournal>,
}

impl RecordJournal {
    /// Opens the journal, or makes one where there is none. Blocks: only before anything is served.
    ///
    /// # Errors
    /// The file is something else, damaged, of a newer version, or in use. It is then untouched.
    pub fn open(path: &Path, telemetry: Arc<Telemetry>) -> Result<(Arc<Self>, Writer), JournalFault> {
        let (database, loaded) = file::open(path)?;
        let loaded = Mutex::new(loaded);
        let journal = Arc::new(Self { loaded, path: path.to_owned(), pending: Arc::default(), telemetry });
        Ok((journal.clone(), Writer { database: Some(database), journal }))
    }

    /// The writer writes what there is, and ends.
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
            // What could not be written before is tried once more at the end.
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
        // One that failed stays closed: the library does not go on after a lost write.
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
    // Damage is then told from a commit that a crash cut off, and never taken for one.
    writing.set_two_phase_commit(true);
    {
        let mut registrations = writing.open_table(REGISTRATIONS_TABLE).map_err(boxed)?;
        let mut sessions = writing.open_table(SESSIONS_TABLE).map_err(boxed)?;
        let mut slots = writing.open_table(SLOTS_TABLE).map_err(boxed)?;
        for (key, record) in changes {
            // A record of ours can always be written as JSON; one that could not would be gone.
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
