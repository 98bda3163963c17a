//! Values that a handler leaves with a connection and that are dropped when it closes.
//!
//! So a handler learns of a connection's end without knowing the connection. A running call keeps the values. An end
//! that we caused says nothing about the peer, so the values are then let go instead of dropped.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A value that ends with a connection.
pub trait ConnectionScoped: Send + 'static {
    /// Called instead of dropping if we ended the connection: idle time, longest life, or a reply that closes.
    fn let_go(self: Box<Self>);
}

#[derive(Clone, Default)]
pub struct ConnectionGuards(Arc<GuardBundle>);

#[derive(Default)]
struct GuardBundle {
    held: Mutex<Vec<(u64, Box<dyn ConnectionScoped>)>>,
    ours: AtomicBool,
}

impl ConnectionGuards {
    /// A connection with more guards is a proxy's, and its end says nothing about any one device.
    const MAX_GUARDS_PER_CONNECTION: usize = 64;

    /// Guards for a call over a proxy's connection, whose end says nothing about the viewer.
    pub(super) fn of_a_proxy() -> Self {
        let guards = Self::default();
        guards.end();
        guards
    }

    /// Keeps the value that `make` returns until the connection ends, once for each name.
    pub fn hold<T: ConnectionScoped>(&self, name: u64, make: impl FnOnce() -> T) {
        let mut held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() < Self::MAX_GUARDS_PER_CONNECTION && held.iter().all(|(known, _)| *known != name) {
            held.push((name, Box::new(make())));
        }
    }

    /// Notes that we end the connection, even if the peer closes it first.
    pub(super) fn end(&self) {
        self.0.ours.store(true, Ordering::Relaxed);
    }
}

impl Drop for GuardBundle {
    fn drop(&mut self) {
        if self.ours.load(Ordering::Relaxed) {
            let held = self.held.get_mut().unwrap_or_else(PoisonError::into_inner);
            held.drain(..).for_each(|(_, held)| held.let_go());
        }
    }
}

impl fmt::Debug for ConnectionGuards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ties")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Counted(Arc<AtomicBool>, Arc<()>);

    impl ConnectionScoped for Counted {
        fn let_go(self: Box<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn each_name_is_held_once_until_all_is_gone() {
        let (guards, value) = (ConnectionGuards::default(), Counted::default());
        for name in [1, 1, 2, 1] {
            guards.hold(name, || value.clone());
        }
        assert_eq!(Arc::strong_count(&value.1), 3);
        let call = guards.clone();
        drop(guards);
        assert_eq!(Arc::strong_count(&value.1), 3, "a call still runs");
        drop(call);
        assert_eq!((Arc::strong_count(&value.1), value.0.load(Ordering::Relaxed)), (1, false));
    }

    #[test]
    fn an_end_by_the_proxy_is_reported() {
        let (guards, value) = (ConnectionGuards::default(), Counted::default());
        guards.hold(1, || value.clone());
        guards.end();
        assert!(!value.0.load(Ordering::Relaxed), "it may still be of use");
        drop(guards);
        assert!(value.0.load(Ordering::Relaxed));
    }

    #[test]
    fn a_connection_holds_a_bounded_number_of_guards() {
        let guards = ConnectionGuards::default();
        (0..1_000).for_each(|name| guards.hold(name, Counted::default));
        assert_eq!(guards.0.held.lock().unwrap().len(), ConnectionGuards::MAX_GUARDS_PER_CONNECTION);
    }
}
