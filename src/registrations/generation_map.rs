//! What is known by the ids of playbacks, and forgotten when nobody uses it.
//!
//! Two generations: what is used moves to the young one, and the old one goes when the young one is full or half
//! of [`Registrations::MAX_UNUSED_REGISTRATION_TIME`] has passed. Bounded by [`Registrations::MAX_REGISTRATIONS`], and by [`Registrations::MAX_REGISTRATIONS_BYTES`].

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::time::Instant;

use super::Registrations;
use crate::ids::PlaybackId;

/// Something of which many are kept.
pub trait HeapBytes {
    /// Memory beyond its own size that is not counted elsewhere, about.
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
    /// Looked for since it was kept, or since [`GenerationMap::take_use`].
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

    /// As one that was not used for half a life.
    pub(super) fn insert_old(&mut self, id: PlaybackId, value: Arc<V>) {
        self.old.insert(id, KeptValue { is_used: false, value });
    }

    /// Looking counts as use. Says, too, whether it was old until now.
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

    /// Whether somebody looked for it since this was asked last.
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

    /// To be called before anything else at this time. Gives what is forgotten with it.
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
            // Nobody looked for a whole life.
            gone.extend(self.old.drain());
        }
        gone.into_keys()
    }
}
