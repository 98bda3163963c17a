//! A bound shared by all workers: connections, calls, or bytes of bodies.
//!
//! Owns one counter. A [`Permit`] gives its places back when dropped. Nothing ever waits: if the pool is full, the
//! caller is refused at once, because a queue would only delay the refusal.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Debug)]
pub(super) struct PermitPool {
    inside: AtomicUsize,
    most: AtomicUsize,
}

/// Places in a pool; mostly one.
#[derive(Debug)]
pub(super) struct Permit {
    gate: Arc<PermitPool>,
    places: usize,
}

impl PermitPool {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { inside: AtomicUsize::new(0), most: AtomicUsize::new(most) })
    }

    pub(super) fn enter(self: &Arc<Self>) -> Option<Permit> {
        self.enter_with(1)
    }

    pub(super) fn enter_with(self: &Arc<Self>, places: usize) -> Option<Permit> {
        let mut permit = Permit { gate: Arc::clone(self), places: 0 };
        permit.grow(places).then_some(permit)
    }

    /// Changes the bound. Permits already given stay.
    pub(super) fn change(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    pub(super) fn is_within_bounds(&self) -> bool {
        self.inside() <= self.most.load(Ordering::Relaxed)
    }

    /// Number of free places, if more than half of all are taken.
    pub(super) fn scarce(&self) -> Option<usize> {
        let (inside, most) = (self.inside(), self.most.load(Ordering::Relaxed));
        let free = most.saturating_sub(inside);
        (inside > free).then_some(free)
    }

    pub(super) fn inside(&self) -> usize {
        self.inside.load(Ordering::Relaxed)
    }
}

impl Permit {
    /// Takes more places; false, and none taken, if there are not enough.
    pub(super) fn grow(&mut self, places: usize) -> bool {
        let PermitPool { inside, most } = &*self.gate;
        let before = inside.fetch_add(places, Ordering::Relaxed);
        if before.saturating_add(places) > most.load(Ordering::Relaxed) {
            inside.fetch_sub(places, Ordering::Relaxed);
            return false;
        }
        self.places += places;
        true
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let before = self.gate.inside.fetch_sub(self.places, Ordering::Relaxed);
        debug_assert!(before >= self.places, "a permit was given back twice");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_gate_turns_away_until_a_permit_is_dropped() {
        let gate = PermitPool::new(2);
        let (first, second) = (gate.enter(), gate.enter());
        assert!(first.is_some() && second.is_some());
        assert!(gate.enter().is_none());
        assert_eq!(gate.inside(), 2, "a refusal must not keep a place");
        drop(first);
        assert!(gate.enter().is_some());
    }

    #[test]
    fn a_permit_grows_as_far_as_there_is_room() {
        let gate = PermitPool::new(10);
        let mut permit = gate.enter_with(4).unwrap();
        assert!(!permit.grow(7) && permit.grow(6));
        assert!(gate.enter().is_none());
        drop(permit);
        assert_eq!(gate.inside(), 0);
    }
}
