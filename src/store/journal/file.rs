//! Makes, checks and opens the journal's file. A file is never overwritten, whatever it is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};

use super::JOURNAL_FORMAT_VERSION;
use super::overlay::Overlay;
use crate::ids::{SessionId, random_u64};
use crate::store::Loaded;
use crate::store::record::{RecordKey, StoredRecord};

pub(super) const ABOUT_TABLE: TableDefinition<'static, &str, u32> = TableDefinition::new("about");
pub(super) const REGISTRATIONS_TABLE: TableDefinition<'static, [u8; 16], &[u8]> = TableDefinition::new("registrations");
pub(super) const SESSIONS_TABLE: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("sessions");
pub(super) const SLOTS_TABLE: TableDefinition<'static, (&str, u64), &[u8]> = TableDefinition::new("slots");

/// First bytes of every redb file.
const REDB_MAGIC: [u8; 9] = *b"redb\x1A\x0A\xA9\x0D\x0A";
/// Records are read once, so a large cache would only use memory.
const JOURNAL_CACHE_BYTES: usize = 8 << 20;

/// Reasons not to use a journal. Its file stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum JournalFault {
    #[error("store.file: {0} is in use by another process: two proxies cannot share a journal")]
    Busy(PathBuf),
    #[error("store.file: {0} is no journal of sidebeat: name another file, or move this one away")]
    Foreign(PathBuf),
    #[error(
        "store.file: the folder {0} does not exist: make it for the user that runs sidebeat; of systemd, StateDirectory= makes it at the start"
    )]
    NoFolder(PathBuf),
    #[error("store.file: {0} cannot be used: {1}")]
    Io(PathBuf, io::Error),
    #[error(
        "store.file: {file} was written by a newer sidebeat (format {found}, this one reads {JOURNAL_FORMAT_VERSION}): \
         run that one, or move the file away; the sessions in it then expire at the head-end"
    )]
    Newer { file: PathBuf, found: u32 },
    #[error(
        "store.file: {file} was written by a version before the first release (format {found}, this one reads \
         {JOURNAL_FORMAT_VERSION}): move it away; the sessions in it then expire at the head-end"
    )]
    Older { file: PathBuf, found: u32 },
    #[error(
        "store.file: {0} is damaged ({1}): move it away; the sessions in it then expire at the head-end, \
         and players open new ones"
    )]
    Torn(PathBuf, String),
}

/// Checks the file without opening it as a journal. A missing one is fine if its folder exists.
///
/// # Errors
/// The file is something else, cannot be read, or has no folder.
pub fn check(path: &Path) -> Result<(), JournalFault> {
    let io = |error| JournalFault::Io(path.to_owned(), error);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return check_folder(path),
        Err(error) => return Err(io(error)),
    };
    if !file.metadata().map_err(io)?.is_file() {
        return Err(JournalFault::Foreign(path.to_owned()));
    }
    let mut head = Vec::new();
    file.take(REDB_MAGIC.len() as u64).read_to_end(&mut head).map_err(io)?;
    if head == REDB_MAGIC { Ok(()) } else { Err(JournalFault::Foreign(path.to_owned())) }
}

fn check_folder(path: &Path) -> Result<(), JournalFault> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if folder.is_dir() { Ok(()) } else { Err(JournalFault::NoFolder(folder.to_owned())) }
}

/// Makes the file if there is none, checks it, and only then opens it for writing.
pub(super) fn open(path: &Path) -> Result<(Database, Loaded), JournalFault> {
    check(path)?;
    if !path.exists() {
        create(path).map_err(|error| JournalFault::Io(path.to_owned(), error))?;
    }
    let io = |error| JournalFault::Io(path.to_owned(), error);
    let overlay = Overlay::new(lock(path)?).map_err(io)?;
    let (database, loaded) = inspect(path, overlay.clone())?;
    overlay.let_through().map_err(io)?;
    Ok((database, loaded))
}

/// Locks the file while it is open. redb locks files that it opens itself in the same way.
fn lock(path: &Path) -> Result<File, JournalFault> {
    let io = |error| JournalFault::Io(path.to_owned(), error);
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(JournalFault::Busy(path.to_owned())),
        Err(fs::TryLockError::Error(error)) => Err(io(error)),
    }
}

/// Opens a file again that was good and could not be written since.
pub(super) fn reopen(path: &Path) -> Result<Database, DatabaseError> {
    Builder::new().set_cache_size(JOURNAL_CACHE_BYTES).open(path)
}

/// Checks and reads the whole file through an overlay, so that nothing in it changes.
fn inspect(path: &Path, overlay: Overlay) -> Result<(Database, Loaded), JournalFault> {
    // A truncated file may fail an assertion in redb, which is damage like any other.
    let read = catch_unwind(AssertUnwindSafe(|| read(path, overlay)));
    read.unwrap_or_else(|_| Err(torn(path, "it cannot be read")))
}

fn read(path: &Path, overlay: Overlay) -> Result<(Database, Loaded), JournalFault> {
    let mut builder = Builder::new();
    builder.set_cache_size(JOURNAL_CACHE_BYTES).set_check_integrity_on_open(true);
    let database = builder.create_with_backend(overlay).map_err(|error| fault(path, error))?;
    let loaded = load(path, &database)?;
    Ok((database, loaded))
}

/// All records of a file of the current format.
fn load(path: &Path, database: &Database) -> Result<Loaded, JournalFault> {
    let torn = |error: &dyn std::fmt::Display| torn(path, &error.to_string());
    let reading = database.begin_read().map_err(|error| torn(&error))?;
    let about = reading.open_table(ABOUT_TABLE).map_err(|_| JournalFault::Foreign(path.to_owned()))?;
    let format = about.get("format").map_err(|error| torn(&error))?.map(|format| format.value());
    match format {
        Some(JOURNAL_FORMAT_VERSION) => {}
        Some(found) if found > JOURNAL_FORMAT_VERSION => {
            return Err(JournalFault::Newer { file: path.to_owned(), found });
        }
        Some(found @ 1..) => return Err(JournalFault::Older { file: path.to_owned(), found }),
        Some(_) | None => return Err(JournalFault::Foreign(path.to_owned())),
    }
    let mut loaded = Loaded::default();
    let decode = |key: RecordKey, bytes: &[u8]| {
        // The decoder's message could show the record's content.
        StoredRecord::decode(&key, bytes).map_err(|_| torn(&"a record cannot be read"))
    };
    let sessions = reading.open_table(SESSIONS_TABLE).map_err(|error| torn(&error))?;
    for entry in sessions.iter().map_err(|error| torn(&error))? {
        let (id, bytes) = entry.map_err(|error| torn(&error))?;
        loaded.add(decode(RecordKey::Session(SessionId(id.value())), bytes.value())?);
    }
    let slots = reading.open_table(SLOTS_TABLE).map_err(|error| torn(&error))?;
    for entry in slots.iter().map_err(|error| torn(&error))? {
        let (key, bytes) = entry.map_err(|error| torn(&error))?;
        let (authority, slot) = key.value();
        loaded.add(decode(RecordKey::Slot(Arc::from(authority), slot), bytes.value())?);
    }
    let registrations = reading.open_table(REGISTRATIONS_TABLE).map_err(|error| torn(&error))?;
    for entry in registrations.iter().map_err(|error| torn(&error))? {
        let (id, bytes) = entry.map_err(|error| torn(&error))?;
        loaded.add(decode(RecordKey::Registration(id.value().into()), bytes.value())?);
    }
    Ok(loaded)
}

/// Makes the file under another name first, so that a journal is complete or absent.
fn create(path: &Path) -> io::Result<()> {
    let fresh = path.with_extension(format!("{:x}.new", random_u64()));
    let made = fill(&fresh).and_then(|()| place(&fresh, path));
    let _gone = fs::remove_file(&fresh);
    made
}

fn fill(fresh: &Path) -> io::Result<()> {
    OpenOptions::new().create_new(true).write(true).mode(0o600).open(fresh)?;
    let database = Builder::new().set_cache_size(JOURNAL_CACHE_BYTES).create(fresh).map_err(io::Error::other)?;
    let writing = database.begin_write().map_err(io::Error::other)?;
    writing
        .open_table(ABOUT_TABLE)
        .map_err(io::Error::other)?
        .insert("format", JOURNAL_FORMAT_VERSION)
        .map_err(io::Error::other)?;
    writing.open_table(REGISTRATIONS_TABLE).map_err(io::Error::other)?;
    writing.open_table(SESSIONS_TABLE).map_err(io::Error::other)?;
    writing.open_table(SLOTS_TABLE).map_err(io::Error::other)?;
    writing.commit().map_err(io::Error::other)
}

/// Puts the file at its place. A hard link never replaces a file that another process made meanwhile; some file
/// systems have none.
fn place(fresh: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(fresh, path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(_) => fs::rename(fresh, path)?,
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn fault(path: &Path, error: DatabaseError) -> JournalFault {
    match error {
        DatabaseError::DatabaseAlreadyOpen => JournalFault::Busy(path.to_owned()),
        DatabaseError::Storage(redb::StorageError::Io(error)) if error.kind() != io::ErrorKind::InvalidData => {
            match error.kind() {
                io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput => torn(path, "it is cut off"),
                _ => JournalFault::Io(path.to_owned(), error),
            }
        }
        error => torn(path, &error.to_string()),
    }
}

fn torn(path: &Path, what: &str) -> JournalFault {
    JournalFault::Torn(path.to_owned(), what.to_owned())
}
