//! A disk that is full, and a file that cannot be opened: what becomes of changes meanwhile.

use std::fs::{self, OpenOptions};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use redb::StorageBackend;
use redb::backends::FileBackend;

use super::super::record::{SlotHeld, SlotRecord};
use super::super::{RecordKey, StoredRecord};
use super::*;
use crate::clock::EpochTime;

/// A disk that has no room while somebody says so.
#[derive(Debug)]
struct Disk {
    file: FileBackend,
    full: Arc<AtomicBool>,
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.full.load(Ordering::Acquire) {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            self.file.write(offset, data)
        }
    }
}

/// A journal on such a disk, and its writer at work.
struct Trouble {
    folder: tempfile::TempDir,
    full: Arc<AtomicBool>,
    journal: Arc<RecordJournal>,
    writer: JoinHandle<()>,
}

impl Trouble {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (journal, mut writer) = RecordJournal::open(&path, Arc::default()).unwrap();
        drop(writer.database.take());
        let full = Arc::new(AtomicBool::new(false));
        let file = FileBackend::new(OpenOptions::new().read(true).write(true).open(&path).unwrap()).unwrap();
        let disk = Disk { file, full: full.clone() };
        writer.database = Some(redb::Builder::new().create_with_backend(disk).unwrap());
        Self { folder, full, journal, writer: std::thread::spawn(move || writer.run()) }
    }

    fn store(&self) -> Arc<dyn Store> {
        self.journal.clone()
    }

    /// Nothing can be written, and the file cannot be opened again.
    fn begins(&self) {
        self.full.store(true, Ordering::Release);
        fs::rename(&self.journal.path, self.folder.path().join("away")).unwrap();
    }

    fn is_over(&self) {
        fs::rename(self.folder.path().join("away"), &self.journal.path).unwrap();
    }

    fn put(&self, number: u64, device: &str) {
        let held = SlotHeld {
            account: "a".to_owned(),
            beats: 0,
            content: "c".to_owned(),
            device: device.to_owned(),
            groups: [None, None],
            opened: EpochTime::default(),
        };
        let record = SlotRecord { authority: "own".into(), ended: None, held: Some(held), kept: None, slot: number };
        self.store().put(StoredRecord::Slot(Box::new(record)));
    }

    fn waits(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let durable = self.store().durable();
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(10), durable).await.expect("in time") });
    }

    /// The records that the next process finds.
    fn found(self) -> Vec<(u64, String)> {
        self.journal.end();
        self.writer.join().unwrap();
        let (journal, _writer) = RecordJournal::open(&self.journal.path, Arc::default()).unwrap();
        let slots = journal.load().slots.into_iter();
        let mut found: Vec<_> = slots.map(|slot| (slot.slot, slot.held.unwrap().device)).collect();
        found.sort();
        found
    }
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("never {what}");
}

fn named(rows: &[(u64, &str)]) -> Vec<(u64, String)> {
    rows.iter().map(|(number, device)| (*number, (*device).to_owned())).collect()
}

#[test]
fn a_change_that_a_full_disk_did_not_take_is_written_when_it_has_room() {
    let trouble = Trouble::new();
    trouble.put(1, "before");
    trouble.put(4, "gone");
    trouble.waits();
    assert!(!trouble.store().is_degraded());
    trouble.begins();
    trouble.put(2, "old");
    trouble.waits();
    assert!(trouble.store().is_degraded(), "nobody is held up, and it is known");
    trouble.put(2, "new");
    trouble.put(3, "later");
    trouble.store().forget(RecordKey::Slot("own".into(), 4));
    trouble.waits();
    trouble.is_over();
    eventually("well again", || !trouble.store().is_degraded());
    trouble.put(1, "after");
    trouble.waits();
    assert!(trouble.journal.pending.is_empty());
    assert_eq!(trouble.found(), named(&[(1, "after"), (2, "new"), (3, "later")]));
}

#[test]
fn a_change_that_could_not_be_written_is_tried_once_more_at_the_end() {
    let trouble = Trouble::new();
    trouble.begins();
    trouble.put(1, "late");
    trouble.waits();
    trouble.is_over();
    assert_eq!(trouble.found(), named(&[(1, "late")]));
}

#[test]
fn a_disk_that_stays_full_does_not_hold_up_the_end() {
    let trouble = Trouble::new();
    trouble.put(1, "before");
    trouble.waits();
    trouble.begins();
    trouble.put(2, "lost");
    trouble.waits();
    trouble.journal.end();
    eventually("finished", || trouble.writer.is_finished());
    trouble.is_over();
    assert_eq!(trouble.found(), named(&[(1, "before")]));
}
