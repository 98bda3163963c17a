//! Keeps values that many sessions have alike once for all of them: names of contents and groups, outcomes of calls, and
//! lists of keys.
//!
//! Many viewers play the same title, and each call brings its name and its keys anew. A value goes with its last
//! session, at the next sweep. Callers choose values, so their number is bounded; beyond it a session keeps its own. A
//! session meets no value but one equal to its own.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use super::session_context::{CountedGroups, SessionContext};

const MAX_SHARED_VALUES: usize = if cfg!(test) { 256 } else { 65_536 };
/// Unknown values between two sweeps, at least.
const MIN_VALUES_BETWEEN_SWEEPS: usize = 64;

#[derive(Debug)]
pub(super) struct SharedValues<T: ?Sized>(Mutex<KnownValues<T>>);

#[derive(Debug)]
struct KnownValues<T: ?Sized> {
    /// Unknown values until the next sweep.
    until_sweep: usize,
    values: HashSet<Arc<T>>,
}

impl<T: ?Sized> Default for SharedValues<T> {
    fn default() -> Self {
        Self(Mutex::new(KnownValues { until_sweep: 0, values: HashSet::new() }))
    }
}

impl<T: ?Sized + Eq + Hash> SharedValues<T> {
    /// The value as other sessions have it, or this one.
    pub(super) fn shared(&self, value: &Arc<T>) -> Arc<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).shared(value)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values.len()
    }
}

impl SharedValues<str> {
    /// The context with the names of its content and its groups that other sessions have.
    pub(super) fn share_content(&self, context: &Arc<SessionContext>) -> Arc<SessionContext> {
        let SessionContext { content, groups, .. } = &**context;
        if content.is_none() && groups.is_none() {
            return context.clone();
        }
        let content = content.as_ref().map(|name| self.shared(name));
        let shared = |name: &Option<Arc<str>>| name.as_ref().map(|name| self.shared(name));
        let groups = groups.as_ref();
        let groups =
            groups.map(|of| Box::new(CountedGroups { content: shared(&of.content), device: shared(&of.device) }));
        Arc::new(SessionContext { content, groups, ..SessionContext::clone(context) })
    }
}

impl<T: ?Sized + Eq + Hash> KnownValues<T> {
    fn shared(&mut self, value: &Arc<T>) -> Arc<T> {
        if let Some(known) = self.values.get(value) {
            return known.clone();
        }
        match self.until_sweep.checked_sub(1) {
            Some(left) => self.until_sweep = left,
            None => self.sweep(),
        }
        if self.values.len() < MAX_SHARED_VALUES {
            self.values.insert(value.clone());
        }
        value.clone()
    }

    /// Drops the values that no session has any more. Done so seldom that each new value pays for a few.
    fn sweep(&mut self) {
        self.values.retain(|value| Arc::strong_count(value) > 1);
        self.until_sweep = self.values.len().max(MIN_VALUES_BETWEEN_SWEEPS);
        self.values.shrink_to(self.values.len() * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_of_one_content_share_its_name() {
        let names = SharedValues::<str>::default();
        let (one, other) = (names.shared(&"film".into()), names.shared(&"film".into()));
        assert!(Arc::ptr_eq(&one, &other));
        assert_eq!(&*names.shared(&"another".into()), "another");
    }

    #[test]
    fn shared_values_are_bounded_and_go_with_their_sessions() {
        let names = SharedValues::<str>::default();
        let held: Vec<_> = (0..MAX_SHARED_VALUES * 4).map(|number| names.shared(&number.to_string().into())).collect();
        assert_eq!(names.len(), MAX_SHARED_VALUES);
        let own = |(number, name): (usize, &Arc<str>)| **name == *number.to_string();
        assert!(held.iter().enumerate().all(own), "a session has another one's value");
        drop(held);
        (0..=MAX_SHARED_VALUES * 2).for_each(|number| drop(names.shared(&format!("late {number}").into())));
        assert!(names.len() <= 2 * MIN_VALUES_BETWEEN_SWEEPS, "{}", names.len());
    }
}
