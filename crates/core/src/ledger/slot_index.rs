//! Maps names to the live slots that they hold, and forgets names without slots.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::SlotNumber;

#[derive(Default)]
pub(super) struct SlotIndex(HashMap<Arc<str>, HashSet<SlotNumber>>);

impl SlotIndex {
    /// Adds a slot; returns the name as all its slots share it.
    pub(super) fn add(&mut self, name: &str, slot: SlotNumber) -> Arc<str> {
        let name = self.0.get_key_value(name).map_or_else(|| name.into(), |(known, _)| Arc::clone(known));
        self.0.entry(Arc::clone(&name)).or_default().insert(slot);
        name
    }

    pub(super) fn remove(&mut self, name: &str, slot: SlotNumber) {
        let Some(slots) = self.0.get_mut(name) else { return };
        slots.remove(&slot);
        if slots.is_empty() {
            self.0.remove(name);
        }
    }

    pub(super) fn count(&self, name: &str) -> usize {
        self.0.get(name).map_or(0, HashSet::len)
    }

    pub(super) fn slots(&self, name: &str) -> Vec<SlotNumber> {
        self.all(name).collect()
    }

    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = SlotNumber> {
        self.0.get(name).into_iter().flatten().copied()
    }

    #[cfg(test)]
    pub(super) fn total(&self) -> usize {
        self.0.values().map(HashSet::len).sum()
    }
}
