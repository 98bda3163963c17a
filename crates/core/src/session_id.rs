//! The id of a session.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Names a session for as long as this process or its store knows it.
#[derive(Clone, Copy, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct SessionId(pub u64);

impl SessionId {
    /// The first eight digits: enough to find a session in a log.
    pub fn short(self) -> impl fmt::Display {
        struct ShortId(u64);
        impl fmt::Display for ShortId {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:08x}", self.0 >> 32)
            }
        }
        ShortId(self.0)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
