//! `[store]`: whether sessions outlive the process.

use std::path::PathBuf;

use super::section::Section;

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

#[derive(Clone, Copy, Eq, PartialEq)]
enum Kind {
    Journal,
    Memory,
}

pub(super) fn store(table: &Section<'_>) -> Store {
    let kind = table.choice("kind", &[("journal", Kind::Journal), ("memory", Kind::Memory)]).unwrap_or(Kind::Memory);
    let file = table.file("file").unwrap_or_else(|| table.sheet.folder.join("sidebeat.redb"));
    let on_exit = table.choice("on-exit", &[("close", OnExit::Close), ("keep", OnExit::Keep)]);
    if kind == Kind::Memory && on_exit == Some(OnExit::Keep) {
        table.fault("on-exit", "keeps sessions that nobody would remember: set store.kind = \"journal\" as well");
    }
    let kind = match kind {
        Kind::Journal => StoreKind::Journal(file),
        Kind::Memory => StoreKind::Memory,
    };
    Store { kind, on_exit: on_exit.unwrap_or(OnExit::Close) }
}
