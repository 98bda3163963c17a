//! What one connection's byte stream, its service and its driver know of each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::breach::Breach;

#[derive(Debug, Default)]
pub(super) struct Line {
    /// Zero, or the number of the broken request from 1, and its breach in the low byte.
    broken: AtomicU64,
    requests: AtomicU32,
    running: AtomicU32,
}

impl Line {
    /// Only the first breach counts: the connection ends with it.
    pub(super) fn break_at(&self, request: u32, breach: Breach) {
        self.broken.store((u64::from(request) + 1) << 8 | breach as u64, Ordering::Relaxed);
    }

    /// Requests begun so far, and those not yet answered.
    pub(super) fn activity(&self) -> (u32, u32) {
        (self.requests.load(Ordering::Relaxed), self.running.load(Ordering::Relaxed))
    }

    /// Called once per request, in order.
    pub(super) fn next(&self) -> Option<Breach> {
        let request = self.requests.fetch_add(1, Ordering::Relaxed);
        let broken = self.broken.load(Ordering::Relaxed);
        let hit = broken != 0 && u64::from(request) >= (broken >> 8) - 1;
        if hit { Breach::ALL.get((broken & 0xff) as usize).copied() } else { None }
    }
}

/// Counts a request as unanswered for as long as it exists.
pub(super) struct Running(Arc<Line>);

impl Running {
    pub(super) fn begin(line: &Arc<Line>) -> Self {
        line.running.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(line))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_request_is_met_at_its_number() {
        let line = Line::default();
        line.break_at(2, Breach::TargetInvalid);
        assert_eq!([line.next(), line.next()], [None, None]);
        assert_eq!(line.next(), Some(Breach::TargetInvalid));
        assert_eq!(line.next(), Some(Breach::TargetInvalid), "and nothing passes after it");
    }

    #[test]
    fn the_first_breach_has_a_number_too() {
        let line = Line::default();
        line.break_at(0, Breach::BareLineFeed);
        assert_eq!(line.next(), Some(Breach::BareLineFeed));
    }
}
