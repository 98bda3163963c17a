//! An overlay over a file: until the file is found good, writes stay in memory.
//!
//! redb repairs an unclean file while it opens it. Before that, the file must be known to be ours and whole. Then the
//! same open database goes on with the file itself.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

const OVERLAY_PAGE_BYTES: usize = 4096;

#[derive(Clone, Debug)]
pub(super) struct Overlay(Arc<SharedOverlay>);

#[derive(Debug)]
struct SharedOverlay {
    file: File,
    /// `None` once everything goes to the file.
    held: Mutex<Option<OverlayPages>>,
}

/// The file as the database has changed it.
#[derive(Debug)]
struct OverlayPages {
    /// Length of the file. Bytes beyond it are in pages or zero.
    in_file: u64,
    len: u64,
    pages: BTreeMap<u64, Box<[u8; OVERLAY_PAGE_BYTES]>>,
}

impl Overlay {
    /// Nothing in the file changes before [`Self::let_through`].
    pub(super) fn new(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        let held = OverlayPages { in_file: len, len, pages: BTreeMap::new() };
        Ok(Self(Arc::new(SharedOverlay { file, held: Mutex::new(Some(held)) })))
    }

    /// Writes the held pages to the file, and from now on all others.
    ///
    /// # Errors
    /// The file cannot be written. It is then as whole as after a crash.
    pub(super) fn let_through(&self) -> io::Result<()> {
        let mut held = self.held();
        let Some(OverlayPages { in_file, len, pages }) = held.take() else { return Ok(()) };
        let file = &self.0.file;
        if len != in_file {
            file.set_len(len)?;
        }
        for step in file_steps(&pages, len) {
            match step {
                FileStep::Sync => file.sync_data()?,
                FileStep::Write(bytes, start) => file.write_all_at(bytes, start)?,
            }
        }
        Ok(())
    }

    fn held(&self) -> MutexGuard<'_, Option<OverlayPages>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        match &*self.held() {
            Some(held) => Ok(held.len),
            None => Ok(self.0.file.metadata()?.len()),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match &*self.held() {
            Some(held) => held.read(&self.0.file, offset, out),
            None => self.0.file.read_exact_at(out, offset),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        match &mut *self.held() {
            Some(held) => held.len = len,
            None => self.0.file.set_len(len)?,
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        match &*self.held() {
            Some(_) => Ok(()),
            None => self.0.file.sync_data(),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        match &mut *self.held() {
            Some(held) => held.write(&self.0.file, offset, data),
            None => self.0.file.write_all_at(data, offset),
        }
    }
}

impl OverlayPages {
    fn read(&self, file: &File, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let end = offset.saturating_add(out.len() as u64);
        if end > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let there = self.in_file.saturating_sub(offset).min(out.len() as u64) as usize;
        let (in_file, behind) = out.split_at_mut(there);
        file.read_exact_at(in_file, offset)?;
        behind.fill(0);
        for (page, bytes) in
            self.pages.range(offset / OVERLAY_PAGE_BYTES as u64..end.div_ceil(OVERLAY_PAGE_BYTES as u64))
        {
            lay_over(page * OVERLAY_PAGE_BYTES as u64, bytes, offset, out);
        }
        Ok(())
    }

    fn write(&mut self, file: &File, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut at = offset;
        let mut rest = data;
        while !rest.is_empty() {
            let (page, within) = (at / OVERLAY_PAGE_BYTES as u64, (at % OVERLAY_PAGE_BYTES as u64) as usize);
            let (part, more) = rest.split_at(rest.len().min(OVERLAY_PAGE_BYTES - within));
            let held = match self.pages.entry(page) {
                Entry::Occupied(held) => held.into_mut(),
                Entry::Vacant(free) => free.insert(page_of(file, self.in_file, page)?),
            };
            if let Some(to) = held.get_mut(within..within + part.len()) {
                to.copy_from_slice(part);
            }
            at += part.len() as u64;
            rest = more;
        }
        Ok(())
    }
}

#[derive(Debug, Eq, PartialEq)]
enum FileStep<'a> {
    Sync,
    /// Writes these bytes from this position on.
    Write(&'a [u8], u64),
}

/// The order in which held pages are written. The head decides which pages are valid, so it comes last, when the
/// others are safe.
fn file_steps(pages: &BTreeMap<u64, Box<[u8; OVERLAY_PAGE_BYTES]>>, len: u64) -> impl Iterator<Item = FileStep<'_>> {
    let steps = pages.iter().rev().flat_map(move |(page, bytes)| {
        let start = page * OVERLAY_PAGE_BYTES as u64;
        let within = len.saturating_sub(start).min(OVERLAY_PAGE_BYTES as u64) as usize;
        let write = FileStep::Write(bytes.get(..within).unwrap_or(&bytes[..]), start);
        (*page == 0).then_some(FileStep::Sync).into_iter().chain([write])
    });
    steps.chain([FileStep::Sync])
}

/// A page of the file; zero beyond its end.
fn page_of(file: &File, in_file: u64, page: u64) -> io::Result<Box<[u8; OVERLAY_PAGE_BYTES]>> {
    let mut bytes = Box::new([0; OVERLAY_PAGE_BYTES]);
    let start = page * OVERLAY_PAGE_BYTES as u64;
    let there = in_file.saturating_sub(start).min(OVERLAY_PAGE_BYTES as u64) as usize;
    if let Some(there) = bytes.get_mut(..there) {
        file.read_exact_at(there, start)?;
    }
    Ok(bytes)
}

/// Copies the part of a page that lies in this range of the file.
fn lay_over(start: u64, page: &[u8; OVERLAY_PAGE_BYTES], offset: u64, out: &mut [u8]) {
    let from = start.max(offset);
    let to = (start + OVERLAY_PAGE_BYTES as u64).min(offset + out.len() as u64);
    let within = |base: u64| (from - base) as usize..(to - base) as usize;
    if let (Some(out), Some(page)) = (out.get_mut(within(offset)), page.get(within(start))) {
        out.copy_from_slice(page);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Grow(u64),
        Write(u64, Vec<u8>),
    }

    fn a_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            1 => (0u64..20_000).prop_map(Step::Grow),
            4 => (0u64..20_000, prop::collection::vec(any::<u8>(), 1..9000)).prop_map(|(at, data)| Step::Write(at, data)),
        ]
    }

    #[test]
    fn the_head_of_the_file_is_written_when_the_rest_is_safe() {
        let page = |byte| Box::new([byte; OVERLAY_PAGE_BYTES]);
        let (whole, half) = ([1; OVERLAY_PAGE_BYTES], [2; OVERLAY_PAGE_BYTES / 2]);
        let pages = BTreeMap::from([(0, page(0)), (1, page(1)), (2, page(2))]);
        let len = OVERLAY_PAGE_BYTES as u64 * 2 + OVERLAY_PAGE_BYTES as u64 / 2;
        let rest =
            [FileStep::Write(&half, 2 * OVERLAY_PAGE_BYTES as u64), FileStep::Write(&whole, OVERLAY_PAGE_BYTES as u64)];
        let head = [FileStep::Sync, FileStep::Write(&[0; OVERLAY_PAGE_BYTES], 0), FileStep::Sync];
        assert!(file_steps(&pages, len).eq(rest.into_iter().chain(head)));
        let pages = BTreeMap::from([(1, page(1))]);
        assert!(file_steps(&pages, len).eq([FileStep::Write(&whole, OVERLAY_PAGE_BYTES as u64), FileStep::Sync]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever is done to it, before and after the file is found good.
        #[test]
        fn held_pages_are_read_and_come_into_the_file_when_they_are_let_through(
            content in prop::collection::vec(any::<u8>(), 0..12_000),
            steps in prop::collection::vec(a_step(), 0..12),
            good_at in 0usize..12,
        ) {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&content).unwrap();
            let overlay = Overlay::new(file.try_clone().unwrap()).unwrap();
            let in_file = || {
                let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
                file.read_exact_at(&mut bytes, 0).unwrap();
                bytes
            };
            let mut model = content.clone();
            for (step, done) in steps.iter().enumerate() {
                if step == good_at {
                    prop_assert!(in_file() == content, "touched");
                    overlay.let_through().unwrap();
                }
                match done {
                    Step::Grow(by) => model.resize(model.len() + *by as usize, 0),
                    // As the library does: it never writes behind the end.
                    Step::Write(at, data) => {
                        let at = *at as usize;
                        model.resize(model.len().max(at + data.len()), 0);
                        model[at..at + data.len()].copy_from_slice(data);
                    }
                }
                overlay.set_len(model.len() as u64).unwrap();
                if let Step::Write(at, data) = done {
                    overlay.write(*at, data).unwrap();
                }
                let mut read = vec![0xaa; model.len()];
                overlay.read(0, &mut read).unwrap();
                prop_assert!(read == model);
                prop_assert!(overlay.read(1, &mut read).is_err(), "behind the end");
            }
            overlay.let_through().unwrap();
            prop_assert!(in_file() == model);
        }
    }
}
