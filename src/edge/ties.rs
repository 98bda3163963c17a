//! What ends with a connection: values that the handler leaves with it, dropped when it is gone.
//!
//! So a handler learns of a connection's end without knowing one. A call that still runs keeps them.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Clone, Default)]
pub struct Ties(Arc<Mutex<Vec<(u64, Box<dyn Any + Send>)>>>);

impl Ties {
    /// A connection with more behind it is a proxy's, and its end says nothing of one of them.
    const MOST: usize = 64;

    /// Keeps what `make` gives until the connection ends, once for each name.
    pub fn hold<T: Send + 'static>(&self, name: u64, make: impl FnOnce() -> T) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() < Self::MOST && held.iter().all(|(known, _)| *known != name) {
            held.push((name, Box::new(make())));
        }
    }
}

impl fmt::Debug for Ties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ties")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_held_once_until_all_is_gone() {
        let (ties, value) = (Ties::default(), Arc::new(()));
        for name in [1, 1, 2, 1] {
            ties.hold(name, || Arc::clone(&value));
        }
        assert_eq!(Arc::strong_count(&value), 3);
        let call = ties.clone();
        drop(ties);
        assert_eq!(Arc::strong_count(&value), 3, "a call still runs");
        drop(call);
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn it_holds_only_so_many() {
        let ties = Ties::default();
        (0..1_000).for_each(|name| ties.hold(name, || ()));
        assert_eq!(ties.0.lock().unwrap().len(), Ties::MOST);
    }
}
