//! A bound shared by all workers: connections at once, calls at once.
//!
//! Owns one counter; a [`Permit`] gives its place back when dropped, whichever way its holder
//! ended. Never waits: whoever finds the gate full is turned away at once, since a queue in front
//! of a full house only adds delay to refusal.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Debug)]
pub(super) struct Gate {
    inside: AtomicUsize,
    most: AtomicUsize,
}

#[derive(Debug)]
pub(super) struct Permit(Arc<Gate>);

impl Gate {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { inside: AtomicUsize::new(0), most: AtomicUsize::new(most) })
    }

    pub(super) fn enter(self: &Arc<Self>) -> Option<Permit> {
        let permit = Permit(Arc::clone(self));
        (self.inside.fetch_add(1, Ordering::Relaxed) < self.most.load(Ordering::Relaxed)).then_some(permit)
    }

    /// Who is inside stays inside.
    pub(super) fn change(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    pub(super) fn inside(&self) -> usize {
        self.inside.load(Ordering::Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let before = self.0.inside.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "a permit was given back twice");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_gate_turns_away_until_a_permit_is_dropped() {
        let gate = Gate::new(2);
        let (first, second) = (gate.enter(), gate.enter());
        assert!(first.is_some() && second.is_some());
        assert!(gate.enter().is_none());
        assert_eq!(gate.inside(), 2, "a refusal must not keep a place");
        drop(first);
        assert!(gate.enter().is_some());
    }
}
