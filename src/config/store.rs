//! What `[store]` says, checked.

use std::path::PathBuf;

/// `[store]`: whether sessions outlive the process.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Store {
    pub kind: StoreKind,
    pub on_exit: OnExit,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StoreKind {
    /// In this file.
    Journal(PathBuf),
    Memory,
}

/// What a stop does with the sessions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnExit {
    /// They are given back.
    Close,
    /// They stay open at their authorities, for the next process.
    Keep,
}
