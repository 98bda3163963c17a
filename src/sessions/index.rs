//! Which sessions there are, in the order of their opening, and how many are in which state.
//!
//! Kept up with every step, so that operators' views cost the sessions nothing: a scrape reads counters, and
//! a list reads one page. Each playback holds an [`IndexedSession`], whose drop takes it out again, whichever
//! way it was forgotten. No lock of a device is taken under the index's own.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::row::STATES;
use super::{AuthorityId, DeviceKey};
use crate::ids::SessionId;

#[derive(Default)]
pub(super) struct SessionIndex {
    on_credit: Mutex<HashMap<u64, usize>>,
    places: Mutex<IndexPlaces>,
    states: [AtomicUsize; STATES.len()],
}

#[derive(Default)]
struct IndexPlaces {
    by_id: BTreeMap<SessionId, DeviceKey>,
    by_opening: BTreeSet<OpeningOrder>,
}

/// Where a session stands in the list: oldest first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct OpeningOrder {
    /// Nanoseconds of wall time since the epoch.
    pub opened: u64,
    pub id: SessionId,
}

/// A playback's part in the index.
pub(super) struct IndexedSession {
    /// The authority without whose word it goes on.
    credit: Option<u64>,
    index: Arc<SessionIndex>,
    order: OpeningOrder,
    state: usize,
}

impl SessionIndex {
    /// `state`: its place in [`STATES`].
    pub(super) fn insert(self: &Arc<Self>, key: DeviceKey, order: OpeningOrder, state: usize) -> IndexedSession {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.by_id.insert(order.id, key);
        places.by_opening.insert(order);
        drop(places);
        self.count(state, 1);
        IndexedSession { credit: None, index: self.clone(), order, state }
    }

    /// Of each state, in the order of [`STATES`].
    pub(super) fn states(&self) -> [usize; STATES.len()] {
        std::array::from_fn(|state| self.states.get(state).map_or(0, |count| count.load(Ordering::Relaxed)))
    }

    pub(super) fn on_credit(&self, authority: &AuthorityId) -> usize {
        let on_credit = self.on_credit.lock().unwrap_or_else(PoisonError::into_inner);
        on_credit.get(&authority.number()).copied().unwrap_or_default()
    }

    pub(super) fn device_of(&self, id: SessionId) -> Option<DeviceKey> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).by_id.get(&id).copied()
    }

    /// The first two whose ids are in this range: enough to tell whether there is exactly one.
    pub(super) fn first_two(&self, from: SessionId, to: SessionId) -> Vec<(DeviceKey, SessionId)> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.by_id.range(from..=to).take(2).map(|(id, key)| (*key, *id)).collect()
    }

    /// So many of those that were opened after `after`.
    pub(super) fn after(&self, after: Option<OpeningOrder>, most: usize) -> Vec<(OpeningOrder, DeviceKey)> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let orders = places.by_opening.range((from, Bound::Unbounded)).take(most);
        orders.filter_map(|order| Some((*order, *places.by_id.get(&order.id)?))).collect()
    }

    fn count(&self, state: usize, change: isize) {
        if let Some(count) = self.states.get(state) {
            // Wraps back: what is taken was added before.
            count.fetch_add(change.cast_unsigned(), Ordering::Relaxed);
        }
    }

    fn count_credit(&self, authority: u64, change: isize) {
        let mut on_credit = self.on_credit.lock().unwrap_or_else(PoisonError::into_inner);
        let count = on_credit.entry(authority).or_default();
        *count = count.saturating_add_signed(change);
        if *count == 0 {
            on_credit.remove(&authority);
        }
    }
}

impl IndexedSession {
    /// As the step left it.
    pub(super) fn update(&mut self, state: usize, credit: Option<u64>) {
        if self.state != state {
            self.index.count(self.state, -1);
            self.index.count(state, 1);
            self.state = state;
        }
        if self.credit != credit {
            self.credit.into_iter().for_each(|authority| self.index.count_credit(authority, -1));
            credit.into_iter().for_each(|authority| self.index.count_credit(authority, 1));
            self.credit = credit;
        }
    }
}

impl Drop for IndexedSession {
    fn drop(&mut self) {
        self.index.count(self.state, -1);
        self.credit.into_iter().for_each(|authority| self.index.count_credit(authority, -1));
        let mut places = self.index.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.by_id.remove(&self.order.id);
        places.by_opening.remove(&self.order);
    }
}

impl std::fmt::Debug for IndexedSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IndexedSession").field("state", &self.state).finish_non_exhaustive()
    }
}
