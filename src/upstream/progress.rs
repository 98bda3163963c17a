//! Tracks how far a call has come, for the fault if it is given up.

use std::sync::atomic::{AtomicU8, Ordering};

use super::{CallPhase, UpstreamFault};

#[derive(Debug, Default)]
pub(super) struct Progress(AtomicU8);

impl Progress {
    pub(super) fn enter(&self, phase: CallPhase) {
        let number = match phase {
            CallPhase::Connect => 0,
            CallPhase::Head => 1,
            CallPhase::Body => 2,
        };
        self.0.store(number, Ordering::Relaxed);
    }

    pub(super) fn phase(&self) -> CallPhase {
        match self.0.load(Ordering::Relaxed) {
            0 => CallPhase::Connect,
            1 => CallPhase::Head,
            _ => CallPhase::Body,
        }
    }

    pub(super) fn slow(&self) -> UpstreamFault {
        UpstreamFault::Slow { phase: self.phase() }
    }
}
