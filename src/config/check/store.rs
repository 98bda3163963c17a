//! `[store]`.

use crate::config::section::Section;
use crate::config::{OnExit, Store, StoreKind};

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
