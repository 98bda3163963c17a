//! Keeps the name of each content once for all its sessions.
//!
//! Many viewers play the same title, and each call brings the name anew. A name goes with its last session, at the next
//! sweep. Callers choose names, so their number is bounded; beyond it a session keeps a name of its own.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::session_context::SessionContext;

const MAX_CONTENT_NAMES: usize = if cfg!(test) { 256 } else { 65_536 };
/// Unknown names between two sweeps, at least.
const MIN_NAMES_BETWEEN_SWEEPS: usize = 64;

#[derive(Debug, Default)]
pub(super) struct ContentNames(Mutex<KnownNames>);

#[derive(Debug, Default)]
struct KnownNames {
    names: HashSet<Arc<str>>,
    /// Unknown names until the next sweep.
    until_sweep: usize,
}

impl ContentNames {
    /// The context with the name that other sessions of its content have.
    pub(super) fn shared(&self, context: &Arc<SessionContext>) -> Arc<SessionContext> {
        let Some(content) = &context.content else { return context.clone() };
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).shared(content);
        if Arc::ptr_eq(&known, content) {
            return context.clone();
        }
        Arc::new(SessionContext { content: Some(known), ..SessionContext::clone(context) })
    }
}

impl KnownNames {
    fn shared(&mut self, name: &Arc<str>) -> Arc<str> {
        if let Some(known) = self.names.get(name) {
            return known.clone();
        }
        match self.until_sweep.checked_sub(1) {
            Some(left) => self.until_sweep = left,
            None => self.sweep(),
        }
        if self.names.len() < MAX_CONTENT_NAMES {
            self.names.insert(name.clone());
        }
        name.clone()
    }

    /// Drops the names that no session has any more. Done so seldom that each new name pays for a few.
    fn sweep(&mut self) {
        self.names.retain(|name| Arc::strong_count(name) > 1);
        self.until_sweep = self.names.len().max(MIN_NAMES_BETWEEN_SWEEPS);
        self.names.shrink_to(self.names.len() * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_of_one_content_share_its_name() {
        let mut names = KnownNames::default();
        let (one, other) = (names.shared(&"film".into()), names.shared(&"film".into()));
        assert!(Arc::ptr_eq(&one, &other));
        assert_eq!(&*names.shared(&"another".into()), "another");
    }

    #[test]
    fn names_are_bounded_and_go_with_their_sessions() {
        let mut names = KnownNames::default();
        let held: Vec<_> = (0..MAX_CONTENT_NAMES * 4).map(|number| names.shared(&number.to_string().into())).collect();
        assert_eq!(names.names.len(), MAX_CONTENT_NAMES);
        assert_eq!(held.last().map(|name| name.to_string()), Some((MAX_CONTENT_NAMES * 4 - 1).to_string()));
        drop(held);
        (0..MAX_CONTENT_NAMES * 4).for_each(|_| drop(names.shared(&"one".into())));
        (0..=MAX_CONTENT_NAMES).for_each(|number| drop(names.shared(&format!("late {number}").into())));
        assert!(names.names.len() <= 2 * MIN_NAMES_BETWEEN_SWEEPS, "{}", names.names.len());
    }
}
