//! Divides the file descriptors: bounds the connections by them, and keeps some spare.
//!
//! A process without descriptors can accept nobody. So players get only as many connections as leave room for the
//! calls upstream that they cause, and a listener keeps spare descriptors open, which it closes to accept a
//! connection.

use std::fs::File;
use std::sync::{Mutex, PoisonError};

/// Descriptors for other uses: files of a reload, name look-ups, webhooks.
const DESCRIPTORS_FOR_OTHER_USES: u64 = 8;

/// Number of players' connections that the limit of open files allows besides the files open now. Each connection may
/// cause one upstream.
pub(super) fn connections_allowed() -> usize {
    let Ok((limit, _hard)) = rlimit::Resource::NOFILE.get() else { return usize::MAX };
    share_of(limit, open_now())
}

fn share_of(limit: u64, open: u64) -> usize {
    let left = limit.saturating_sub(open.saturating_add(DESCRIPTORS_FOR_OTHER_USES));
    usize::try_from(left / 2).unwrap_or(usize::MAX).max(1)
}

/// Number of open descriptors; a rather high guess if the system does not tell.
fn open_now() -> u64 {
    const ASSUMED_OPEN_DESCRIPTORS: u64 = 64;
    ["/proc/self/fd", "/dev/fd"]
        .into_iter()
        .find_map(|list| std::fs::read_dir(list).ok())
        .map_or(ASSUMED_OPEN_DESCRIPTORS, |list| list.count() as u64)
}

/// Descriptors that are open only to be closed when one is needed.
#[derive(Debug, Default)]
pub(super) struct SpareDescriptors {
    most: usize,
    spare: Mutex<Vec<File>>,
}

impl SpareDescriptors {
    pub(super) fn new(most: usize) -> Self {
        let made = Self { most, spare: Mutex::default() };
        made.refill();
        made
    }

    /// Closes one, so that something else can be opened; false if none is left.
    pub(super) fn release(&self) -> bool {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().is_some()
    }

    /// Opens the missing ones, as far as descriptors are available.
    pub(super) fn refill(&self) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        while spare.len() < self.most {
            match File::open("/dev/null") {
                Ok(file) => spare.push(file),
                Err(_none_left) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn players_get_half_of_the_descriptors_that_are_left() {
        for (limit, open, connections) in
            [(64, 30, 13), (1_024, 40, 488), (1_048_576, 40, 524_264), (16, 30, 1), (u64::MAX, 0, usize::MAX / 2 - 4)]
        {
            assert_eq!(share_of(limit, open), connections, "{limit} {open}");
        }
        assert!(open_now() > 0);
    }

    #[test]
    fn spare_descriptors_are_released_one_by_one_and_opened_again() {
        let spares = SpareDescriptors::new(2);
        assert!(spares.release() && spares.release());
        assert!(!spares.release());
        spares.refill();
        assert!(spares.release());
    }
}
