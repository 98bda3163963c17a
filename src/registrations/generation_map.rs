//! A map by playback ids that forgets unused entries.
//!
//! There are two generations. A used entry moves to the young one. The old one is dropped when the young one is full,
//! or when half of [`Registrations::MAX_UNUSED_REGISTRATION_TIME`] has passed. Bounded by
//! [`Registrations::MAX_REGISTRATIONS`] and [`Registrations::MAX_REGISTRATIONS_BYTES`].

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::time::Instant;

use super::Registrations;
use crate::ids::PlaybackId;

/// A value whose memory is counted.
pub trait HeapBytes {
    /// Approximate memory beyond its own size that is not counted elsewhere.
    fn heap_bytes(&self) -> usize;
}

#[derive(Debug)]
pub struct GenerationMap<V> {
    began: Option<Instant>,
    old: HashMap<PlaybackId, KeptValue<V>>,
    young: HashMap<PlaybackId, KeptValue<V>>,
    young_bytes: usize,
}

#[derive(Debug)]
struct KeptValue<V> {
    /// Looked up since it was inserted, or since [`GenerationMap::take_use`].
    is_used: bool,
    value: Arc<V>,
}

impl<V> Default for GenerationMap<V> {
    fn default() -> Self {
        Self { began: None, old: HashMap::new(), young: HashMap::new(), young_bytes: 0 }
    }
}

impl<V: HeapBytes> GenerationMap<V> {
    pub fn insert(&mut self, id: PlaybackId, value: Arc<V>) {
        self.keep(id, KeptValue { is_used: false, value });
    }

    fn keep(&mut self, id: PlaybackId, kept: KeptValue<V>) {
        self.young_bytes += kept.value.heap_bytes();
        self.young.insert(id, kept);
    }

    /// Inserts an entry as if it was unused for half a lifetime.
    pub(super) fn insert_old(&mut self, id: PlaybackId, value: Arc<V>) {
        self.old.insert(id, KeptValue { is_used: false, value });
    }

    /// Looks an entry up, which counts as use. Also tells whether it was old until now.
    pub fn find(&mut self, id: PlaybackId) -> Option<(Arc<V>, bool)> {
        let aged = self.old.remove(&id);
        let was_old = aged.is_some();
        if let Some(aged) = aged {
            self.keep(id, aged);
        }
        let kept = self.young.get_mut(&id)?;
        kept.is_used = true;
        Some((kept.value.clone(), was_old))
    }

    /// True if the entry was looked up since the last call.
    pub(super) fn take_use(&mut self, id: PlaybackId) -> bool {
        let kept = self.young.get_mut(&id).or_else(|| self.old.get_mut(&id));
        kept.is_some_and(|kept| mem::take(&mut kept.is_used))
    }

    pub fn is_known(&self, id: PlaybackId) -> bool {
        self.young.contains_key(&id) || self.old.contains_key(&id)
    }

    /// False if it was forgotten before.
    pub fn forget(&mut self, id: PlaybackId) -> bool {
        if let Some(young) = self.young.remove(&id) {
            self.young_bytes = self.young_bytes.saturating_sub(young.value.heap_bytes());
            return true;
        }
        self.old.remove(&id).is_some()
    }

    pub fn len(&self) -> usize {
        self.old.len() + self.young.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops a generation if it is time, and returns its ids. Call it before any other operation.
    pub fn turn(&mut self, now: Instant) -> impl Iterator<Item = PlaybackId> + use<V> {
        let began = *self.began.get_or_insert(now);
        let age = now.saturating_duration_since(began);
        let mut gone = HashMap::new();
        let full = self.young.len() >= Registrations::MAX_REGISTRATIONS / 2
            || self.young_bytes >= Registrations::MAX_REGISTRATIONS_BYTES / 2;
        if full || age >= Registrations::MAX_UNUSED_REGISTRATION_TIME / 2 {
            (self.began, self.young_bytes) = (Some(now), 0);
            gone = mem::replace(&mut self.old, mem::take(&mut self.young));
        }
        if age >= Registrations::MAX_UNUSED_REGISTRATION_TIME {
            // No entry was looked up for a whole lifetime.
            gone.extend(self.old.drain());
        }
        gone.into_keys()
    }
}
