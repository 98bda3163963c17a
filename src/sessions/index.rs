//! Lists all sessions in the order of their opening, and counts them by state.
//!
//! Updated with every step, so that operators' views cost the sessions nothing: a scrape reads counters, and a list
//! reads one page. Each playback holds an [`IndexedSession`], which removes its entry when dropped. No device's lock
//! is taken under the index's own.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::retention::most;
use super::session_view::SessionPhase;
use super::token_index::{IndexedTokens, TokenIndex};
use super::{AuthorityId, DeviceKey};
use crate::ids::SessionId;
use crate::secret::Fingerprint;
use crate::session::RetentionClass;

#[derive(Default)]
pub(super) struct SessionIndex {
    on_credit: Mutex<HashMap<AuthorityId, usize>>,
    places: Mutex<IndexPlaces>,
    /// Sessions that are over, in the order of their end. Their number is known without the lock.
    remembered: Mutex<[BTreeMap<u64, (DeviceKey, SessionId)>; RETENTION_CLASSES]>,
    remembered_counts: [AtomicUsize; RETENTION_CLASSES],
    sequence: AtomicU64,
    states: [AtomicUsize; SessionPhase::ALL.len()],
    pub(super) tokens: TokenIndex,
}

const RETENTION_CLASSES: usize = RetentionClass::ALL.len();

#[derive(Default)]
struct IndexPlaces {
    by_id: BTreeMap<SessionId, DeviceKey>,
    by_opening: BTreeSet<OpeningOrder>,
}

/// Position of a session in the list, oldest first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct OpeningOrder {
    /// Nanoseconds of wall time since the epoch.
    pub opened: u64,
    pub id: SessionId,
}

/// A playback's entry in the index.
pub(super) struct IndexedSession {
    index: Arc<SessionIndex>,
    key: DeviceKey,
    order: OpeningOrder,
    /// Boxed, because a session that goes well has nothing of it.
    rare: Option<Box<RareIndexing>>,
    /// `None` if it shares another playback's session, and so is neither listed nor counted.
    state: Option<SessionPhase>,
    tokens: IndexedTokens,
}

#[derive(Clone, Copy, Default, Eq, PartialEq)]
struct RareIndexing {
    /// The authority, if the session goes on without its word.
    credit: Option<AuthorityId>,
    /// Retention class and position, once the session is over.
    remembered: Option<(RetentionClass, u64)>,
}

impl SessionIndex {
    /// Adds a playback. `state` is `None` if it shares another one's session.
    pub(super) fn insert(
        self: &Arc<Self>,
        key: DeviceKey,
        order: OpeningOrder,
        state: Option<SessionPhase>,
    ) -> IndexedSession {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.by_id.insert(order.id, key);
        if state.is_some() {
            places.by_opening.insert(order);
        }
        drop(places);
        self.count(state, 1);
        IndexedSession { index: self.clone(), key, order, rare: None, state, tokens: IndexedTokens::default() }
    }

    /// Number of sessions in each state, in the order of [`SessionPhase::ALL`].
    pub(super) fn states(&self) -> [usize; SessionPhase::ALL.len()] {
        std::array::from_fn(|state| self.states.get(state).map_or(0, |count| count.load(Ordering::Relaxed)))
    }

    /// Number of sessions that are not over.
    pub(super) fn active(&self) -> usize {
        SessionPhase::ALL
            .into_iter()
            .zip(self.states())
            .filter(|(phase, _)| !phase.is_over())
            .map(|(_, count)| count)
            .sum()
    }

    /// The oldest remembered session beyond its bound.
    pub(super) fn surplus(&self) -> Option<(RetentionClass, DeviceKey, SessionId)> {
        let count = |kind| self.remembered_counts.get(kind as usize).map_or(0, |count| count.load(Ordering::Relaxed));
        let kind = RetentionClass::ALL.into_iter().find(|kind| count(*kind) > most(*kind))?;
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, (key, id)) = remembered.get(kind as usize)?.first_key_value()?;
        Some((kind, *key, *id))
    }

    fn remember(&self, kind: RetentionClass, at: u64, of: Option<(DeviceKey, SessionId)>) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(places), Some(count)) =
            (remembered.get_mut(kind as usize), self.remembered_counts.get(kind as usize))
        else {
            return;
        };
        match of {
            Some(of) => _ = places.insert(at, of),
            None => _ = places.remove(&at),
        }
        count.store(places.len(), Ordering::Relaxed);
    }

    pub(super) fn on_credit(&self, authority: AuthorityId) -> usize {
        let on_credit = self.on_credit.lock().unwrap_or_else(PoisonError::into_inner);
        on_credit.get(&authority).copied().unwrap_or_default()
    }

    pub(super) fn device_of(&self, id: SessionId) -> Option<DeviceKey> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).by_id.get(&id).copied()
    }

    /// The first two sessions with ids in this range: enough to tell whether there is exactly one.
    pub(super) fn first_two(&self, from: SessionId, to: SessionId) -> Vec<(DeviceKey, SessionId)> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.by_id.range(from..=to).take(2).map(|(id, key)| (*key, *id)).collect()
    }

    /// At most `most` sessions that were opened after `after`.
    pub(super) fn after(&self, after: Option<OpeningOrder>, most: usize) -> Vec<(OpeningOrder, DeviceKey)> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let orders = places.by_opening.range((from, Bound::Unbounded)).take(most);
        orders.filter_map(|order| Some((*order, *places.by_id.get(&order.id)?))).collect()
    }

    fn count(&self, state: Option<SessionPhase>, change: isize) {
        if let Some(count) = state.and_then(|state| self.states.get(state as usize)) {
            // A negative change wraps; what is subtracted was added before.
            count.fetch_add(change.cast_unsigned(), Ordering::Relaxed);
        }
    }

    fn count_credit(&self, authority: AuthorityId, change: isize) {
        let mut on_credit = self.on_credit.lock().unwrap_or_else(PoisonError::into_inner);
        let count = on_credit.entry(authority).or_default();
        *count = count.saturating_add_signed(change);
        if *count == 0 {
            on_credit.remove(&authority);
        }
    }
}

impl IndexedSession {
    /// Updates the entry after a step.
    pub(super) fn update(
        &mut self,
        state: Option<SessionPhase>,
        credit: Option<AuthorityId>,
        remembered: Option<RetentionClass>,
    ) {
        let mut rare = self.rare.as_deref().copied().unwrap_or_default();
        if rare.remembered.map(|(kind, _)| kind) != remembered {
            self.forget_end(rare);
            rare.remembered = remembered.map(|kind| (kind, self.index.sequence.fetch_add(1, Ordering::Relaxed)));
            if let Some((kind, at)) = rare.remembered {
                self.index.remember(kind, at, Some((self.key, self.order.id)));
            }
        }
        if self.state != state {
            self.index.count(self.state, -1);
            self.index.count(state, 1);
            self.state = state;
        }
        if rare.credit != credit {
            rare.credit.into_iter().for_each(|authority| self.index.count_credit(authority, -1));
            credit.into_iter().for_each(|authority| self.index.count_credit(authority, 1));
            rare.credit = credit;
        }
        if self.rare.as_deref().copied().unwrap_or_default() != rare {
            self.rare = (rare != RareIndexing::default()).then(|| Box::new(rare));
        }
    }

    /// Updates its content tokens after a step; without any, none is in the index.
    pub(super) fn hold_tokens(&mut self, authority: &str, tokens: impl Iterator<Item = Fingerprint> + Clone) {
        self.tokens.update(&self.index.tokens, authority, (self.key, self.order.id), tokens);
    }

    fn forget_end(&self, rare: RareIndexing) {
        if let Some((kind, at)) = rare.remembered {
            self.index.remember(kind, at, None);
        }
    }
}

impl Drop for IndexedSession {
    fn drop(&mut self) {
        self.tokens.remove(&self.index.tokens, (self.key, self.order.id));
        let rare = self.rare.as_deref().copied().unwrap_or_default();
        self.forget_end(rare);
        self.index.count(self.state, -1);
        rare.credit.into_iter().for_each(|authority| self.index.count_credit(authority, -1));
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
