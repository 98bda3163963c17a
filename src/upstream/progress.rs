//! How far a call has come, for whoever gives it up.

use std::sync::atomic::{AtomicU8, Ordering};

use super::{Fault, Phase};

#[derive(Debug, Default)]
pub(super) struct Progress(AtomicU8);

impl Progress {
    pub(super) fn enter(&self, phase: Phase) {
        let number = match phase {
            Phase::Connect => 0,
            Phase::Head => 1,
            Phase::Body => 2,
        };
        self.0.store(number, Ordering::Relaxed);
    }

    pub(super) fn phase(&self) -> Phase {
        match self.0.load(Ordering::Relaxed) {
            0 => Phase::Connect,
            1 => Phase::Head,
            _ => Phase::Body,
        }
    }

    pub(super) fn slow(&self) -> Fault {
        Fault::Slow { phase: self.phase() }
    }
}
