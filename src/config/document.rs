//! The configuration document: the file's tables with their places, the environment over them, and the faults.
//!
//! The readers of the tables ask for keys by name through a [`TableReader`], and the document remembers the names. A
//! key of the file or the environment that no reader asked for is unknown. So the readers are the schema, and one
//! fault hides no other.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::environment::{EnvironmentVariables, variable};
use super::fault::{KeyPlace, NamedFiles};
use super::load::kinds_that_have;
use super::nearest::nearest;
use super::table_reader::TableReader;
use super::{ConfigFault, ConfigFaults};
use crate::secret::scrub;

pub(super) struct ConfigDocument<'a> {
    /// Paths of the keys that were asked for.
    asked: RefCell<BTreeSet<String>>,
    pub(super) environment: EnvironmentVariables,
    faults: RefCell<Vec<ConfigFault>>,
    warnings: RefCell<Vec<ConfigFault>>,
    files: RefCell<NamedFiles>,
    pub(super) folder: &'a Path,
    /// Paths of tables that cannot be judged, because their kind itself is faulty.
    left: RefCell<BTreeSet<String>>,
    table: DeTable<'a>,
    /// Paths of the tables that were asked for.
    tables: RefCell<BTreeSet<String>>,
    text: &'a str,
}

impl<'a> ConfigDocument<'a> {
    /// # Errors
    /// The file is no TOML. Nothing else is reported then, because it would be a guess.
    pub(super) fn parse(
        text: &'a str,
        folder: &'a Path,
        environment: EnvironmentVariables,
    ) -> Result<Self, ConfigFaults> {
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            // The message alone: the error's own text would show the line, which may hold a secret.
            let fault = |error: &toml::de::Error| ConfigFault {
                key: "TOML".to_owned(),
                line: error.span().map(|span| line(text, span.start)),
                what: error.message().to_owned(),
            };
            // Later errors are mostly echoes of the first one: one unclosed bracket makes dozens.
            let ConfigFaults(faults) = ConfigFaults::sorted(errors.iter().map(fault).collect());
            return Err(ConfigFaults(faults.into_iter().take(1).collect()));
        }
        Ok(Self {
            asked: RefCell::default(),
            environment,
            faults: RefCell::default(),
            files: RefCell::default(),
            warnings: RefCell::default(),
            folder,
            left: RefCell::default(),
            table: table.into_inner(),
            tables: RefCell::default(),
            text,
        })
    }

    pub(super) fn root(&self) -> TableReader<'_> {
        TableReader::new(self, String::new(), Some(&self.table), None)
    }

    pub(super) fn ask(&self, path: String) {
        self.asked.borrow_mut().insert(path);
    }

    pub(super) fn ask_table(&self, path: String) {
        self.tables.borrow_mut().insert(path);
    }

    pub(super) fn leave(&self, path: String) {
        self.left.borrow_mut().insert(path);
    }

    /// The line of a byte of the file.
    pub(super) fn line(&self, at: usize) -> usize {
        line(self.text, at)
    }

    pub(super) fn fault(&self, fault: ConfigFault) {
        self.faults.borrow_mut().push(fault);
    }

    pub(super) fn warn(&self, warning: ConfigFault) {
        self.warnings.borrow_mut().push(warning);
    }

    pub(super) fn name_file(&self, file: PathBuf, place: KeyPlace) {
        self.files.borrow_mut().0.push((file, place));
    }

    pub(super) fn take_files(&self) -> NamedFiles {
        self.files.take()
    }

    /// Takes the warnings: settings that are allowed but unlikely to be meant.
    pub(super) fn take_warnings(&self) -> ConfigFaults {
        ConfigFaults::sorted(self.warnings.take())
    }

    /// Every key that was asked for, without indices: `route.path`.
    pub(super) fn keys(&self) -> BTreeSet<String> {
        self.asked.borrow().iter().map(|path| without_indices(path)).collect()
    }

    /// Tells whether a key or a table of this path, without indices, was asked for.
    pub(super) fn knows(&self, path: &str) -> bool {
        let (asked, tables) = (self.asked.borrow(), self.tables.borrow());
        asked.iter().chain(tables.iter()).any(|known| without_indices(known) == path)
    }

    /// All faults, the unknown keys and variables among them.
    pub(super) fn finish(&self) -> ConfigFaults {
        self.judge("", &self.table);
        self.judge_environment();
        ConfigFaults::sorted(self.faults.take())
    }

    fn judge(&self, path: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let below = join(path, key.get_ref());
            if self.asked.borrow().contains(&below) || self.left.borrow().contains(&below) {
                continue;
            }
            if self.tables.borrow().contains(&below) {
                self.judge_tables(&below, value.get_ref());
                continue;
            }
            let key_path = join(path, &scrub(key.get_ref()));
            let what = format!("is not a known key{}", self.advice(path, key.get_ref()));
            self.fault(ConfigFault { key: key_path, line: Some(self.line(key.span().start)), what });
        }
    }

    /// A value that is neither a table nor a list of tables became a fault when it was asked for.
    fn judge_tables(&self, path: &str, value: &DeValue<'_>) {
        match value {
            DeValue::Array(array) => {
                let tables = array.iter().map(Spanned::get_ref).enumerate();
                tables.for_each(|(index, table)| self.judge_element(&format!("{path}[{index}]"), table));
            }
            DeValue::Table(table) => self.judge(path, table),
            DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Float(_)
            | DeValue::Integer(_)
            | DeValue::String(_) => {}
        }
    }

    fn judge_element(&self, path: &str, value: &DeValue<'_>) {
        if let (false, DeValue::Table(table)) = (self.left.borrow().contains(path), value) {
            self.judge(path, table);
        }
    }

    fn judge_environment(&self) {
        let known: BTreeSet<String> = self.asked.borrow().iter().map(|path| variable(path)).collect();
        let left: Vec<String> = self.left.borrow().iter().map(|path| format!("{}_", variable(path))).collect();
        for name in self.environment.names() {
            if known.contains(name) || left.iter().any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            let advice = nearest(name, known.iter().map(String::as_str));
            let advice = advice.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            self.fault(ConfigFault {
                key: name.escape_debug().to_string(),
                line: None,
                what: format!("is not a known variable{advice}"),
            });
        }
    }

    /// Suggests a sibling of similar spelling, or the table to which this key belongs.
    fn advice(&self, path: &str, key: &str) -> String {
        let (asked, tables) = (self.asked.borrow(), self.tables.borrow());
        let known = || asked.iter().chain(tables.iter());
        let siblings = known().filter_map(|known| name_in(path, known));
        if let Some(near) = nearest(key, siblings) {
            return format!("; did you mean `{near}`?");
        }
        if key.contains('.') {
            return String::new();
        }
        let kinds: Vec<_> =
            kinds_that_have(&without_indices(path), key).iter().map(|kind| format!("\"{kind}\"")).collect();
        if !kinds.is_empty() {
            return format!("; it belongs to kind = {}", kinds.join(" or "));
        }
        let homes: BTreeSet<String> =
            asked.iter().filter_map(|known| Some(header(known.strip_suffix(key)?.strip_suffix('.')?))).collect();
        match homes.first() {
            Some(_) if homes.contains(&header(path)) => "; it belongs to another kind".to_owned(),
            Some(home) if homes.len() == 1 => format!("; it belongs to {home}"),
            Some(_) | None => String::new(),
        }
    }
}

/// The path of a key in a table. A key that needs quotes has them here, too, so that `"limits.idle"` differs from
/// `limits.idle`.
pub(super) fn join(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    let key = if plain { key.to_owned() } else { format!("{key:?}") };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// The name of `known` if it is directly in the table at `path`.
fn name_in<'k>(path: &str, known: &'k str) -> Option<&'k str> {
    let name = if path.is_empty() { known } else { known.strip_prefix(path)?.strip_prefix('.')? };
    (!name.contains(['.', '['])).then_some(name)
}

/// Writes the head of a table: `[[route]]`, `[route.body]`.
fn header(path: &str) -> String {
    let name = without_indices(path);
    if path.ends_with(']') { format!("[[{name}]]") } else { format!("[{name}]") }
}

fn without_indices(path: &str) -> String {
    let parts = path.split('.').map(|part| part.split_once('[').map_or(part, |(name, _)| name));
    parts.collect::<Vec<_>>().join(".")
}

/// The 1-based line of a byte.
fn line(text: &str, at: usize) -> usize {
    let before = text.as_bytes().iter().take(at);
    1 + before.filter(|byte| **byte == b'\n').count()
}
