//! The promises of every store, checked for each kind; and the files that a journal accepts.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::clock::Clock;
use crate::config::DeviceSource;
use crate::ids::{PlaybackId, SessionId};
use crate::registrations::{Archive, Registration};
use crate::store::journal::JOURNAL_FORMAT_VERSION;
use crate::telemetry::Telemetry;

/// A store of some kind, and what the next process finds in its place.
trait Kind {
    fn store(&self) -> Arc<dyn Store>;
    /// Everything handed over is durable when this returns.
    fn settle(&self);
    /// As if the process had died now.
    fn crash(&mut self);
}

struct InMemory(Arc<Memory>);

impl Kind for InMemory {
    fn store(&self) -> Arc<dyn Store> {
        self.0.clone()
    }

    fn settle(&self) {
        self.0.commit();
    }

    fn crash(&mut self) {
        self.0 = self.0.crash();
    }
}

struct InFile {
    folder: tempfile::TempDir,
    journal: Arc<RecordJournal>,
    writer: Option<std::thread::JoinHandle<()>>,
}

impl InFile {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (journal, writer) = open(folder.path());
        Self { folder, journal, writer }
    }
}

fn open(folder: &Path) -> (Arc<RecordJournal>, Option<std::thread::JoinHandle<()>>) {
    let (journal, writer) = RecordJournal::open(&file(folder), Arc::new(Telemetry::default())).unwrap();
    (journal, Some(std::thread::spawn(move || writer.run())))
}

fn file(folder: &Path) -> PathBuf {
    folder.join("sidebeat.redb")
}

impl Kind for InFile {
    fn store(&self) -> Arc<dyn Store> {
        self.journal.clone()
    }

    fn settle(&self) {
        wait(self.store().durable());
    }

    fn crash(&mut self) {
        self.journal.end();
        self.writer.take().unwrap().join().unwrap();
        (self.journal, self.writer) = open(self.folder.path());
    }
}

fn wait(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(10), work).await.expect("in time") });
}

fn slot(number: u64, device: &str) -> StoredRecord {
    let held = SlotHeld {
        account: "a".into(),
        beats: 0,
        content: "c".into(),
        device: device.into(),
        groups: [None, Some("g".into())],
        opened: Duration::from_secs(7).into(),
    };
    let record = SlotRecord { authority: "own".into(), ended: None, held: Some(held), kept: None, slot: number };
    StoredRecord::Slot(Box::new(record))
}

fn devices(loaded: Loaded) -> Vec<(u64, String)> {
    let mut found: Vec<_> = loaded.slots.into_iter().map(|slot| (slot.slot, slot.held.unwrap().device)).collect();
    found.sort();
    found
}

fn kinds() -> [Box<dyn Kind>; 2] {
    [Box::new(InMemory(Memory::manual())), Box::new(InFile::new())]
}

#[test]
fn the_newest_record_of_each_key_survives() {
    for mut kind in kinds() {
        kind.store().put(slot(1, "old"));
        kind.store().put(slot(2, "other"));
        kind.settle();
        kind.store().put(slot(1, "new"));
        kind.store().put(slot(3, "gone"));
        kind.store().forget(RecordKey::Slot("own".into(), 3));
        kind.store().forget(RecordKey::Session(SessionId(9)));
        kind.settle();
        kind.crash();
        assert_eq!(devices(kind.store().load()), [(1, "new".to_owned()), (2, "other".to_owned())]);
        kind.store().forget(RecordKey::Slot("own".into(), 1));
        kind.settle();
        kind.crash();
        assert_eq!(devices(kind.store().load()), [(2, "other".to_owned())]);
    }
}

fn registration(number: u8) -> Registration {
    Registration {
        authority: None,
        block: None,
        content_token: None,
        content_url: None,
        device: "tv".into(),
        headers: Vec::new(),
        id: PlaybackId::from([number; 16]),
        license_url: None,
        route: "/authorize".into(),
        device_source: DeviceSource::Body,
    }
}

/// Whatever is forgotten does not come again after a restart, and the file does not grow by it.
#[test]
fn a_forgotten_record_of_any_kind_stays_gone() {
    let session = RecordKey::Session(SessionId(18_446_744_073_709_551_614));
    let of_session = || StoredRecord::decode(&session, record::tests::FULL.as_bytes()).unwrap();
    for mut kind in kinds() {
        let archive = |kind: &dyn Kind| RegistrationStore { clock: Clock, store: kind.store() };
        for number in 1..=3 {
            archive(&*kind).keep(&registration(number));
        }
        kind.store().put(of_session());
        kind.store().put(slot(1, "tv"));
        kind.settle();
        kind.crash();
        let Loaded { registrations, sessions, slots } = kind.store().load();
        assert_eq!((registrations.len(), sessions.len(), slots.len()), (3, 1, 1));
        // One that was written in another run, one of this run, and one that is written anew.
        archive(&*kind).keep(&registration(4));
        kind.settle();
        for number in [1, 2, 4] {
            archive(&*kind).forget(registration(number).id);
        }
        archive(&*kind).keep(&registration(2));
        kind.store().forget(session.clone());
        kind.store().forget(RecordKey::Slot("own".into(), 1));
        kind.settle();
        kind.crash();
        let Loaded { registrations, sessions, slots } = kind.store().load();
        let mut left: Vec<_> = registrations.into_iter().map(|record| record.id).collect();
        left.sort();
        assert_eq!(left, [2, 3].map(|number| registration(number).id));
        assert!(sessions.is_empty() && slots.is_empty());
    }
}

#[test]
fn a_journal_does_not_grow_by_records_that_come_and_go() {
    let kind = InFile::new();
    let archive = RegistrationStore { clock: Clock, store: kind.store() };
    let round = || {
        for number in 0..200 {
            archive.keep(&registration(number));
        }
        kind.settle();
        for number in 0..200 {
            archive.forget(registration(number).id);
        }
        kind.settle();
        std::fs::metadata(file(kind.folder.path())).unwrap().len()
    };
    // What one round takes depends on how many commits the writer makes of it, by a factor of two at most.
    // If a fortieth of its pages never came back, the file would be more than three times as large after a hundred.
    let first = (0..3).map(|_| round()).max().unwrap_or(0);
    let later = (0..100).map(|_| round()).max().unwrap_or(u64::MAX);
    assert!(later <= 3 * first, "{later} bytes after 103 rounds, {first} after three");
}

#[test]
fn a_wait_ends_when_the_change_is_durable_and_not_before() {
    for kind in kinds() {
        // Nothing is pending: nobody waits.
        wait(kind.store().durable());
    }
    let store = Memory::manual();
    let face: Arc<dyn Store> = store.clone();
    face.put(slot(1, "d"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut durable = std::pin::pin!(face.durable());
        assert!(tokio::time::timeout(Duration::from_millis(5), &mut durable).await.is_err());
        // What comes later is not waited for.
        assert_eq!(store.commit(), 1);
        face.put(slot(2, "d"));
        durable.await;
    });
    assert_eq!(devices(store.crash().load()), [(1, "d".to_owned())], "what was not committed is lost");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Any changes, cut off after any of them: what is found is what was there at that moment.
    #[test]
    fn a_store_is_a_map_that_survives(steps in prop::collection::vec((0u64..6, prop::option::of("[a-z]{1,8}")), 1..40), cut in 0usize..40) {
        for mut kind in kinds() {
            let mut model = std::collections::BTreeMap::new();
            for (step, (key, device)) in steps.iter().enumerate() {
                match device {
                    Some(device) => {
                        model.insert(*key, device.clone());
                        kind.store().put(slot(*key, device));
                    }
                    None => {
                        model.remove(key);
                        kind.store().forget(RecordKey::Slot("own".into(), *key));
                    }
                }
                if step == cut {
                    kind.settle();
                    kind.crash();
                    prop_assert_eq!(devices(kind.store().load()), model.clone().into_iter().collect::<Vec<_>>());
                }
            }
            kind.settle();
            kind.crash();
            prop_assert_eq!(devices(kind.store().load()), model.into_iter().collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_missing_file_is_made_and_only_its_owner_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    check(&file(folder.path())).unwrap();
    assert!(!file(folder.path()).exists(), "looking makes nothing");
    let (journal, writer) = open(folder.path());
    journal.end();
    writer.unwrap().join().unwrap();
    assert_eq!(std::fs::metadata(file(folder.path())).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left there");
    check(&file(folder.path())).unwrap();
}

fn fault(folder: &Path) -> JournalFault {
    RecordJournal::open(&file(folder), Arc::new(Telemetry::default())).map(|_| ()).unwrap_err()
}

#[test]
fn a_journal_in_use_is_not_shared() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, writer) = open(folder.path());
    assert!(matches!(fault(folder.path()), JournalFault::Busy(_)));
    journal.end();
    writer.unwrap().join().unwrap();
    assert!(RecordJournal::open(&file(folder.path()), Arc::default()).is_ok());
}

#[test]
fn a_foreign_file_is_refused_and_stays_as_it_is() {
    for foreign in [&b""[..], b"text", b"redb", &[0; 8192], b"SQLite format 3\0"] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(file(folder.path()), foreign).unwrap();
        assert!(matches!(check(&file(folder.path())), Err(JournalFault::Foreign(_))), "{foreign:?}");
        // A missing file is good; one that cannot be there is not.
        assert!(matches!(check(&file(folder.path()).join("sidebeat.redb")), Err(JournalFault::Io(..))), "{foreign:?}");
        let fault = fault(folder.path());
        assert!(matches!(fault, JournalFault::Foreign(_)), "{fault}");
        assert!(fault.to_string().contains("sidebeat.redb") && fault.to_string().contains("move"), "{fault}");
        assert_eq!(std::fs::read(file(folder.path())).unwrap(), foreign);
    }
}

#[test]
fn a_missing_file_is_good_where_there_is_a_folder_for_it() {
    let folder = tempfile::tempdir().unwrap();
    assert!(check(&file(folder.path())).is_ok());
    let fault = check(&folder.path().join("gone/sidebeat.redb")).unwrap_err();
    assert!(fault.to_string().contains("gone does not exist: make it"), "{fault}");
    assert!(check(Path::new("sidebeat-that-is-not-there.redb")).is_ok(), "beside the process");
}

/// A journal with records in it, closed.
fn filled() -> (tempfile::TempDir, Vec<u8>) {
    let (folder, [_, closed]) = filled_and_left();
    (folder, closed)
}

/// The same as a kill would leave it, and closed.
fn filled_and_left() -> (tempfile::TempDir, [Vec<u8>; 2]) {
    let mut kind = InFile::new();
    (0..200).for_each(|number| kind.store().put(slot(number, "device")));
    kind.settle();
    let left = std::fs::read(file(kind.folder.path())).unwrap();
    kind.journal.end();
    kind.writer.take().unwrap().join().unwrap();
    let closed = std::fs::read(file(kind.folder.path())).unwrap();
    (kind.folder, [left, closed])
}

#[test]
fn a_torn_file_is_refused_and_stays_as_it_is() {
    let (folder, whole) = filled();
    for keep in [9, 100, 320, 4096, 4097, 8192, 16384, whole.len() / 4, whole.len() / 2] {
        let torn = whole.get(..keep).unwrap();
        std::fs::write(file(folder.path()), torn).unwrap();
        let fault = fault(folder.path());
        assert!(matches!(fault, JournalFault::Torn(..)), "{keep}: {fault}");
        assert!(fault.to_string().contains("move it away"), "{fault}");
        assert!(std::fs::read(file(folder.path())).unwrap() == torn, "{keep}: touched");
    }
    std::fs::write(file(folder.path()), whole).unwrap();
    assert!(RecordJournal::open(&file(folder.path()), Arc::default()).is_ok());
}

/// Also where the process was killed: a page that is damaged is no change that a crash has cut off.
#[test]
fn a_damaged_page_is_found_or_harmless() {
    let (folder, files) = filled_and_left();
    for whole in files {
        for at in (4096..whole.len()).step_by(whole.len() / 40) {
            let mut damaged = whole.clone();
            damaged[at..(at + 64).min(whole.len())].fill(0xa5);
            std::fs::write(file(folder.path()), &damaged).unwrap();
            match RecordJournal::open(&file(folder.path()), Arc::default()) {
                Ok((journal, _)) => assert_eq!(journal.load().slots.len(), 200, "{at}"),
                Err(fault) => {
                    assert!(matches!(fault, JournalFault::Torn(..)), "{at}: {fault}");
                    assert!(std::fs::read(file(folder.path())).unwrap() == damaged, "{at}: touched");
                }
            }
        }
    }
}

/// As it was written, and then marked as of this format. Returns what it says when it is opened.
fn opened_as_of_format(format: u32) -> JournalFault {
    let (folder, _) = filled();
    {
        let database = redb::Database::open(file(folder.path())).unwrap();
        let writing = database.begin_write().unwrap();
        writing.open_table(ABOUT).unwrap().insert("format", format).unwrap();
        writing.commit().unwrap();
    }
    let before = std::fs::read(file(folder.path())).unwrap();
    let fault = fault(folder.path());
    assert!(std::fs::read(file(folder.path())).unwrap() == before, "{fault}: touched");
    fault
}

#[test]
fn a_newer_journal_is_refused_and_stays_as_it_is() {
    let fault = opened_as_of_format(JOURNAL_FORMAT_VERSION + 1);
    assert!(matches!(fault, JournalFault::Newer { found, .. } if found == JOURNAL_FORMAT_VERSION + 1), "{fault}");
}

#[test]
fn an_older_journal_is_refused_and_stays_as_it_is() {
    for format in 1..JOURNAL_FORMAT_VERSION {
        let fault = opened_as_of_format(format);
        assert!(matches!(fault, JournalFault::Older { found, .. } if found == format), "{fault}");
        assert!(fault.to_string().contains("written by a version before the first release"), "{fault}");
        assert!(fault.to_string().contains("move it away"), "{fault}");
    }
    assert!(matches!(opened_as_of_format(0), JournalFault::Foreign(_)), "no version of ours wrote that");
}

const ABOUT: redb::TableDefinition<'_, &str, u32> = redb::TableDefinition::new("about");
