//! One table of the sheet: finds its keys and its tables, and puts a fault where it belongs.
//!
//! `take` adds the typed readings. A variable of the environment wins over the file. Called by
//! the readers in `check`.

use toml::de::{DeTable, DeValue};

use super::Fault;
use super::environment::variable;
use super::fault::KeyPlace;
use super::raw::{Sheet, join};
use super::value::Value;

pub(super) struct Section<'a> {
    /// Of the table's header.
    line: Option<usize>,
    pub(super) path: String,
    pub(super) sheet: &'a Sheet<'a>,
    table: Option<&'a DeTable<'a>>,
}

impl<'a> Section<'a> {
    pub(super) fn new(sheet: &'a Sheet<'a>, path: String, table: Option<&'a DeTable<'a>>, line: Option<usize>) -> Self {
        Self { line, path, sheet, table }
    }

    /// The table `key`, empty when it is absent.
    pub(super) fn table(&self, key: &str) -> Section<'a> {
        let path = join(&self.path, key);
        self.sheet.ask_table(path.clone());
        match self.written(key) {
            Some((line, DeValue::Table(table))) => Section::new(self.sheet, path, Some(table), Some(line)),
            Some(_) => {
                self.fault(key, "must be a table");
                Section::new(self.sheet, path, None, None)
            }
            None => Section::new(self.sheet, path, None, None),
        }
    }

    /// The tables `[[key]]`, and those behind them that the environment adds.
    pub(super) fn tables(&self, key: &str) -> Vec<Section<'a>> {
        let path = join(&self.path, key);
        self.sheet.ask_table(path.clone());
        let element = |index: usize, table, line| Section::new(self.sheet, format!("{path}[{index}]"), table, line);
        let mut tables = Vec::new();
        for (table, line) in self.written_tables(key) {
            tables.push(element(tables.len(), Some(table), Some(line)));
        }
        loop {
            let next = element(tables.len(), None, None);
            if self.sheet.environment.keys_below(&next.path).next().is_none() {
                return tables;
            }
            tables.push(next);
        }
    }

    /// The keys of a table that takes any: those of the file, then those that the environment adds.
    pub(super) fn names(&self) -> Vec<String> {
        self.sheet.ask(self.path.clone());
        let mut names: Vec<String> =
            self.table.iter().flat_map(|table| table.keys()).map(|key| key.get_ref().to_string()).collect();
        for added in self.sheet.environment.keys_below(&self.path) {
            if !names.iter().any(|name| variable(name) == variable(&added)) {
                names.push(added);
            }
        }
        names
    }

    /// The tables that the file has in this one, whatever their names.
    pub(super) fn table_names(&self) -> Vec<String> {
        let keys = self.table.iter().flat_map(|table| table.iter());
        keys.filter(|(_, value)| value.get_ref().is_table()).map(|(key, _)| key.get_ref().to_string()).collect()
    }

    /// Gives up on this table: nothing in it is reported as unknown.
    pub(super) fn leave(&self) {
        self.sheet.leave(self.path.clone());
    }

    /// The value of `key` as `read` understands it; a fault and none when it does not.
    pub(super) fn value<'s, T>(&'s self, key: &str, read: impl FnOnce(Value<'s>) -> Result<T, String>) -> Option<T> {
        read(self.find(key)?).map_err(|what| self.fault(key, what)).ok()
    }

    /// Records a fault of `key`, at the variable or the line that set it, else at the table's head.
    pub(super) fn fault(&self, key: &str, what: impl Into<String>) {
        self.sheet.fault(self.at(key, what.into()));
    }

    /// Records what is allowed, and hardly meant; where a fault of `key` would stand.
    pub(super) fn warn(&self, key: &str, what: impl Into<String>) {
        self.sheet.warn(self.at(key, what.into()));
    }

    /// Where `key` was set, for a fault that only shows when its file is read.
    pub(super) fn place(&self, key: &str) -> KeyPlace {
        let Fault { key, line, .. } = self.at(key, String::new());
        KeyPlace { key, line }
    }

    fn at(&self, key: &str, what: String) -> Fault {
        let path = join(&self.path, key);
        if self.in_environment(key) {
            return Fault { key: variable(&path), line: None, what };
        }
        let line = self.written(key).map(|(line, _)| line).or(self.line);
        Fault { key: path, line, what }
    }

    /// Whether the file has this table at all, empty or not.
    pub(super) fn is_there(&self) -> bool {
        self.table.is_some()
    }

    /// The text of `key`, if it is one. Asks for nothing: another reader must.
    pub(super) fn peek(&self, key: &str) -> Option<String> {
        let bare = self.sheet.environment.value(&join(&self.path, key)).map(Value::Bare);
        let value = bare.or_else(|| self.written(key).map(|(_, value)| Value::Written(value)))?;
        value.text().ok().map(std::borrow::Cow::into_owned)
    }

    /// Records that `key` is missing, unless it is there, good or bad.
    pub(super) fn need(&self, key: &str, say: &str) {
        if !self.has(key) {
            self.fault(key, format!("is missing: {say}"));
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// Whether `key` is this very word.
    pub(super) fn is(&self, key: &str, word: &str) -> bool {
        self.find(key).is_some_and(|value| value.text().is_ok_and(|text| text == word))
    }

    /// Whether a string stands where there could be a table.
    pub(super) fn is_text(&self, key: &str) -> bool {
        self.written(key).is_some_and(|(_, value)| value.is_str())
    }

    pub(super) fn in_environment(&self, key: &str) -> bool {
        self.sheet.environment.value(&join(&self.path, key)).is_some()
    }

    fn find(&self, key: &str) -> Option<Value<'_>> {
        let path = join(&self.path, key);
        let bare = self.sheet.environment.value(&path).map(Value::Bare);
        self.sheet.ask(path);
        bare.or_else(|| self.written(key).map(|(_, value)| Value::Written(value)))
    }

    fn written(&self, key: &str) -> Option<(usize, &'a DeValue<'a>)> {
        let (name, value) = self.table?.get_key_value(key)?;
        Some((self.sheet.line(name.span().start), value.get_ref()))
    }

    fn written_tables(&self, key: &str) -> Vec<(&'a DeTable<'a>, usize)> {
        let Some((_, value)) = self.written(key) else { return Vec::new() };
        let elements = value.as_array().into_iter().flatten();
        let tables: Option<Vec<_>> = elements
            .map(|element| Some((element.get_ref().as_table()?, self.sheet.line(element.span().start))))
            .collect();
        tables.filter(|_| value.is_array()).unwrap_or_else(|| {
            let path = join(&self.path, key);
            self.fault(key, format!("must be written as [[{path}]]"));
            self.sheet.leave(path);
            Vec::new()
        })
    }
}
