//! Keeps all open connections in order of their idle time.
//!
//! When connections run short, the longest-idle one is closed and its place goes to a new one. So nobody can lock
//! others out with connections on which nothing happens, whether kept alive, silent, in a handshake, or in the middle
//! of a head or body. A lazy heap: a call only stamps its connection, and the heap learns of it when it looks for the
//! oldest.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::atomic::{self, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::connection_state::ConnectionState;
use super::permit_pool::Permit;

/// Connections examined for one place. The next newcomer continues the search.
const MAX_CONNECTIONS_EXAMINED: usize = 1_024;

#[derive(Default)]
pub(super) struct ConnectionRegistry {
    heap: Mutex<BinaryHeap<Reverse<RegistryEntry>>>,
    /// Number that rises with every connection and at the end of every call.
    sequence: AtomicU64,
}

struct RegistryEntry {
    /// The connection became idle at this number or later.
    idle_since: u64,
    line: Weak<ConnectionState>,
}

impl ConnectionRegistry {
    pub(super) fn admit(&self, line: &Arc<ConnectionState>, open: usize) {
        let idle_since = self.stamp();
        line.idle_from(idle_since);
        let mut heap = self.heap.lock().unwrap_or_else(PoisonError::into_inner);
        // Ended connections leave their entries behind.
        if heap.len() > 2 * open + 64 {
            heap.retain(|Reverse(entry)| entry.line.strong_count() > 0);
        }
        heap.push(Reverse(RegistryEntry { idle_since, line: Arc::downgrade(line) }));
    }

    pub(super) fn stamp(&self) -> u64 {
        self.sequence.fetch_add(1, atomic::Ordering::Relaxed)
    }

    /// Tells the longest-idle connection to close, and takes its place.
    pub(super) fn evict(&self) -> Option<Permit> {
        let mut heap = self.heap.lock().unwrap_or_else(PoisonError::into_inner);
        // Twice, because an outdated entry goes back with the right stamp.
        for _ in 0..MAX_CONNECTIONS_EXAMINED.min(2 * heap.len()) {
            let Reverse(entry) = heap.pop()?;
            let Some(line) = entry.line.upgrade() else { continue };
            let (idle_since, is_busy) = (line.idle_since(), line.is_busy());
            if is_busy || idle_since > entry.idle_since {
                let idle_since = if is_busy { self.stamp() } else { idle_since };
                heap.push(Reverse(RegistryEntry { idle_since, ..entry }));
            } else if let Some(permit) = line.evict() {
                return Some(permit);
            }
        }
        None
    }
}

impl Ord for RegistryEntry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.idle_since.cmp(&other.idle_since)
    }
}

impl PartialOrd for RegistryEntry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Eq for RegistryEntry {}

impl PartialEq for RegistryEntry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

#[cfg(test)]
mod tests {
    use super::super::connection_state::{ReceivingBody, UnansweredRequest};
    use super::super::permit_pool::PermitPool;
    use super::*;

    struct Open {
        gate: Arc<PermitPool>,
        registry: Arc<ConnectionRegistry>,
    }

    impl Open {
        fn connect(&self) -> Arc<ConnectionState> {
            let line = Arc::new(ConnectionState::new(self.registry.clone()));
            line.occupy(self.gate.enter().unwrap());
            self.registry.admit(&line, self.gate.inside());
            line
        }
    }

    fn open() -> Open {
        Open { gate: PermitPool::new(100), registry: Arc::default() }
    }

    fn evicted(lines: &[&Arc<ConnectionState>]) -> Vec<bool> {
        lines.iter().map(|line| line.is_evicted()).collect()
    }

    #[test]
    fn the_connection_that_has_been_idle_for_longest_makes_room() {
        let open = open();
        let [first, second, third] = [(); 3].map(|()| open.connect());
        drop(UnansweredRequest::begin(&second));
        drop(UnansweredRequest::begin(&first));
        let permit = open.registry.evict().unwrap();
        assert_eq!(evicted(&[&first, &second, &third]), [false, false, true], "it never called");
        assert_eq!(open.gate.inside(), 3, "its place has a new owner");
        drop(permit);
        let _second = open.registry.evict().unwrap();
        assert_eq!(evicted(&[&first, &second, &third]), [false, true, true]);
    }

    #[test]
    fn a_connection_with_a_running_call_stays() {
        let open = open();
        let (busy, idle) = (open.connect(), open.connect());
        let running = UnansweredRequest::begin(&busy);
        let _place = open.registry.evict().unwrap();
        assert_eq!(evicted(&[&busy, &idle]), [false, true]);
        assert!(open.registry.evict().is_none());
        drop(running);
        assert!(open.registry.evict().is_some());
    }

    /// The oldest of them first, whatever has come of its body since.
    #[test]
    fn a_connection_that_waits_for_its_body_makes_room() {
        let open = open();
        let [first, second, served] = [(); 3].map(|()| open.connect());
        let _calls = [&first, &second, &served].map(UnansweredRequest::begin);
        let half = [&second, &first].map(ReceivingBody::begin);
        let _another = ReceivingBody::begin(&second);
        let _place = open.registry.evict().unwrap();
        assert_eq!(evicted(&[&first, &second, &served]), [false, true, false]);
        drop(half);
        assert!(open.registry.evict().is_none(), "what is complete is served");
    }

    #[test]
    fn connections_that_have_ended_are_forgotten() {
        let open = open();
        let _kept = open.connect();
        for _ in 0..10_000 {
            drop(open.connect());
        }
        assert!(open.registry.heap.lock().unwrap().len() <= 128);
    }
}
