//! A file that is looked at and not touched: what would be written to it stays in memory.
//!
//! redb repairs a file that its process left in a hurry while it opens it. Whether the file is ours
//! and whole must be known before that.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use redb::StorageBackend;

const PAGE: usize = 4096;

#[derive(Debug)]
pub(super) struct Overlay {
    file: File,
    /// Of the file; what lies behind is in pages or zero.
    written: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    len: u64,
    pages: HashMap<u64, Box<[u8; PAGE]>>,
}

impl Overlay {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let written = file.metadata()?.len();
        Ok(Self { file, written, state: Mutex::new(State { len: written, pages: HashMap::new() }) })
    }

    /// A page as it stands in the file; zero behind its end.
    fn read_page(&self, page: u64) -> io::Result<Box<[u8; PAGE]>> {
        let mut bytes = Box::new([0; PAGE]);
        let start = page * PAGE as u64;
        let there = self.written.saturating_sub(start).min(PAGE as u64) as usize;
        if let Some(there) = bytes.get_mut(..there) {
            self.file.read_exact_at(there, start)?;
        }
        Ok(bytes)
    }
}

/// What a page has of these bytes, both at their places in the file.
fn lay_over(start: u64, page: &[u8; PAGE], offset: u64, out: &mut [u8]) {
    let from = start.max(offset);
    let to = (start + PAGE as u64).min(offset + out.len() as u64);
    let within = |base: u64| (from - base) as usize..(to - base) as usize;
    if let (Some(out), Some(page)) = (out.get_mut(within(offset)), page.get(within(start))) {
        out.copy_from_slice(page);
    }
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state.lock().unwrap_or_else(PoisonError::into_inner).len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if offset.saturating_add(out.len() as u64) > state.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let there = self.written.saturating_sub(offset).min(out.len() as u64) as usize;
        let (in_file, behind) = out.split_at_mut(there);
        self.file.read_exact_at(in_file, offset)?;
        behind.fill(0);
        for page in offset / PAGE as u64..(offset + out.len() as u64).div_ceil(PAGE as u64) {
            if let Some(bytes) = state.pages.get(&page) {
                lay_over(page * PAGE as u64, bytes, offset, out);
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut at = offset;
        let mut rest = data;
        while !rest.is_empty() {
            let (page, within) = (at / PAGE as u64, (at % PAGE as u64) as usize);
            let (part, more) = rest.split_at(rest.len().min(PAGE - within));
            let held = match state.pages.entry(page) {
                Entry::Occupied(held) => held.into_mut(),
                Entry::Vacant(free) => free.insert(self.read_page(page)?),
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
