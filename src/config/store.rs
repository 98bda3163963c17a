//! `[store]`: whether sessions survive the process.

use std::path::PathBuf;

use super::table_reader::TableReader;

/// `[store]`: whether sessions survive the process.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoreSettings {
    pub kind: StoreKind,
    pub on_exit: OnExit,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StoreKind {
    /// Sessions survive in this file.
    Journal(PathBuf),
    Memory,
}

/// Treatment of sessions when the process stops.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnExit {
    /// Give them back to their authorities.
    Close,
    /// Leave them open at their authorities, for the next process.
    Keep,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum StoreKindWord {
    Journal,
    Memory,
}

pub(super) fn store(table: &TableReader<'_>) -> StoreSettings {
    let kind = table
        .choice("kind", &[("journal", StoreKindWord::Journal), ("memory", StoreKindWord::Memory)])
        .unwrap_or(StoreKindWord::Memory);
    let file = table.file("file").unwrap_or_else(|| table.sheet.folder.join("sidebeat.redb"));
    let on_exit = table.choice("on-exit", &[("close", OnExit::Close), ("keep", OnExit::Keep)]);
    if kind == StoreKindWord::Memory && on_exit == Some(OnExit::Keep) {
        table.fault("on-exit", "keeps sessions that nobody would remember: set store.kind = \"journal\" as well");
    }
    let kind = match kind {
        StoreKindWord::Journal => StoreKind::Journal(file),
        StoreKindWord::Memory => StoreKind::Memory,
    };
    StoreSettings { kind, on_exit: on_exit.unwrap_or(OnExit::Close) }
}
