//! Reads a table of the document: finds its keys and tables, returns typed values, and puts faults at the right
//! place.
//!
//! An environment variable wins over the file. Each typed read returns a value or records a fault and returns `None`,
//! so that the next key is read in any case. The readers of the tables use it.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::ConfigFault;
use super::document::{ConfigDocument, join};
use super::environment::variable;
use super::fault::KeyPlace;
use super::units;
use super::value::{ListEntry, SettingValue};
use crate::secret::Secret;

pub(super) struct TableReader<'a> {
    /// Line of the table's header.
    line: Option<usize>,
    pub(super) path: String,
    pub(super) sheet: &'a ConfigDocument<'a>,
    table: Option<&'a DeTable<'a>>,
}

impl<'a> TableReader<'a> {
    pub(super) fn new(
        sheet: &'a ConfigDocument<'a>,
        path: String,
        table: Option<&'a DeTable<'a>>,
        line: Option<usize>,
    ) -> Self {
        Self { line, path, sheet, table }
    }

    /// The table `key`; empty if absent.
    pub(super) fn table(&self, key: &str) -> TableReader<'a> {
        let path = join(&self.path, key);
        self.sheet.ask_table(path.clone());
        match self.written(key) {
            Some((line, DeValue::Table(table))) => TableReader::new(self.sheet, path, Some(table), Some(line)),
            Some(_) => {
                self.fault(key, "must be a table");
                TableReader::new(self.sheet, path, None, None)
            }
            None => TableReader::new(self.sheet, path, None, None),
        }
    }

    /// The tables `[[key]]`, and further ones that the environment adds.
    pub(super) fn tables(&self, key: &str) -> Vec<TableReader<'a>> {
        let path = join(&self.path, key);
        self.sheet.ask_table(path.clone());
        let element = |index: usize, table, line| TableReader::new(self.sheet, format!("{path}[{index}]"), table, line);
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

    /// The keys of a table that takes any: first those of the file, then those that the environment adds.
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

    /// The names of all tables within this one in the file.
    pub(super) fn table_names(&self) -> Vec<String> {
        let keys = self.table.iter().flat_map(|table| table.iter());
        keys.filter(|(_, value)| value.get_ref().is_table()).map(|(key, _)| key.get_ref().to_string()).collect()
    }

    /// Gives up on this table: nothing in it is reported as unknown.
    pub(super) fn leave(&self) {
        self.sheet.leave(self.path.clone());
    }

    /// The value of `key` as `read` understands it; otherwise records a fault and returns `None`.
    pub(super) fn value<'s, T>(
        &'s self,
        key: &str,
        read: impl FnOnce(SettingValue<'s>) -> Result<T, String>,
    ) -> Option<T> {
        read(self.find(key)?).map_err(|what| self.fault(key, what)).ok()
    }

    /// Records a fault of `key`, at the variable or the line that set it, else at the table's head.
    pub(super) fn fault(&self, key: &str, what: impl Into<String>) {
        self.sheet.fault(self.at(key, what.into()));
    }

    /// Warns of a setting that is allowed but unlikely to be meant, at the place for a fault of `key`.
    pub(super) fn warn(&self, key: &str, what: impl Into<String>) {
        self.sheet.warn(self.at(key, what.into()));
    }

    /// The place where `key` was set, for a fault that only shows when its file is read.
    pub(super) fn place(&self, key: &str) -> KeyPlace {
        let ConfigFault { key, line, .. } = self.at(key, String::new());
        KeyPlace { key, line }
    }

    fn at(&self, key: &str, what: String) -> ConfigFault {
        let path = join(&self.path, key);
        if self.in_environment(key) {
            return ConfigFault { key: variable(&path), line: None, what };
        }
        let line = self.written(key).map(|(line, _)| line).or(self.line);
        ConfigFault { key: path, line, what }
    }

    /// Tells whether the file has this table, empty or not.
    pub(super) fn is_there(&self) -> bool {
        self.table.is_some()
    }

    /// The text of `key`, if it is one. Does not count as asking for it, so another reader must.
    pub(super) fn peek(&self, key: &str) -> Option<String> {
        let bare = self.sheet.environment.value(&join(&self.path, key)).map(SettingValue::Bare);
        let value = bare.or_else(|| self.written(key).map(|(_, value)| SettingValue::Written(value)))?;
        value.text().ok().map(std::borrow::Cow::into_owned)
    }

    /// Records that `key` is missing, unless it is set.
    pub(super) fn need(&self, key: &str, say: &str) {
        if !self.has(key) {
            self.fault(key, format!("is missing: {say}"));
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// True if `key` is exactly this word.
    pub(super) fn is(&self, key: &str, word: &str) -> bool {
        self.find(key).is_some_and(|value| value.text().is_ok_and(|text| text == word))
    }

    /// True if `key` is a string where a table could stand.
    pub(super) fn is_text(&self, key: &str) -> bool {
        self.written(key).is_some_and(|(_, value)| value.is_str())
    }

    pub(super) fn in_environment(&self, key: &str) -> bool {
        self.sheet.environment.value(&join(&self.path, key)).is_some()
    }

    fn find(&self, key: &str) -> Option<SettingValue<'_>> {
        let path = join(&self.path, key);
        let bare = self.sheet.environment.value(&path).map(SettingValue::Bare);
        self.sheet.ask(path);
        bare.or_else(|| self.written(key).map(|(_, value)| SettingValue::Written(value)))
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

impl TableReader<'_> {
    /// Reads any text that `read` understands.
    pub(super) fn word<T, E: Display>(&self, key: &str, read: impl Fn(&str) -> Result<T, E>) -> Option<T> {
        self.value(key, |value| read(&value.text()?).map_err(|what| what.to_string()))
    }

    /// Reads one of a few words.
    pub(super) fn choice<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Option<T> {
        self.word(key, |text| {
            let found = words.iter().find(|(word, _)| *word == text);
            found
                .map(|(_, value)| *value)
                .ok_or_else(|| format!("must be {}", one_of(words.iter().map(|(word, _)| *word))))
        })
    }

    pub(super) fn duration(&self, key: &str, range: RangeInclusive<Duration>) -> Option<Duration> {
        self.value(key, |value| {
            within(units::duration(&value.amount()?)?, &range, |bound| units::show_duration(*bound))
        })
    }

    /// A duration, or `None` for "off".
    pub(super) fn duration_or_off(&self, key: &str, range: RangeInclusive<Duration>) -> Option<Option<Duration>> {
        self.value(key, |value| match &*value.amount()? {
            "off" => Ok(None),
            text => {
                let duration = units::duration(text).map_err(|what| format!("{what}, or \"off\""))?;
                within(duration, &range, |bound| units::show_duration(*bound)).map(Some)
            }
        })
    }

    pub(super) fn size(&self, key: &str, range: RangeInclusive<usize>) -> Option<usize> {
        self.value(key, |value| within(units::size(&value.amount()?)?, &range, |bound| units::show_size(*bound)))
    }

    pub(super) fn whole<T>(&self, key: &str, range: RangeInclusive<T>) -> Option<T>
    where
        T: Copy + Display + PartialOrd + TryFrom<u64>,
    {
        self.value(key, |value| {
            let whole = T::try_from(value.whole()?).map_err(|_| format!("must be at most {}", range.end()))?;
            within(whole, &range, T::to_string)
        })
    }

    pub(super) fn number(&self, key: &str, range: RangeInclusive<f64>) -> Option<f64> {
        self.value(key, |value| within(value.number()?, &range, |bound| format!("{bound:?}")))
    }

    /// A number, or `None` for "off".
    pub(super) fn number_or_off(&self, key: &str, range: RangeInclusive<f64>) -> Option<Option<f64>> {
        self.value(key, |value| {
            if value.text().is_ok_and(|text| text == "off") {
                return Ok(None);
            }
            let number = value.number().map_err(|_| "must be a number or \"off\"".to_owned())?;
            within(number, &range, |bound| format!("{bound:?}")).map(Some)
        })
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        self.value(key, |value| value.flag())
    }

    /// All entries of a list. Each bad one is a fault of its own; then returns `None`.
    pub(super) fn list<T>(&self, key: &str, example: &str, read: impl Fn(&str) -> Result<T, String>) -> Option<Vec<T>> {
        let no_list = || format!("must be a list, such as {example}");
        let entries = self.value(key, |value| value.entries().ok_or_else(no_list))?;
        let read_entry = |(index, entry): (usize, ListEntry<'_>)| {
            let read = entry.text.and_then(|text| read(&text));
            read.map_err(|what| self.fault_entry(key, index, entry.at, what)).ok()
        };
        // Collected twice, so that the first bad entry does not hide the next.
        let entries: Vec<Option<T>> = entries.into_iter().enumerate().map(read_entry).collect();
        entries.into_iter().collect()
    }

    fn fault_entry(&self, key: &str, index: usize, at: Option<usize>, what: String) {
        let Some(at) = at else { return self.fault(key, format!("entry {} {what}", index + 1)) };
        let key = format!("{}[{index}]", join(&self.path, key));
        self.sheet.fault(ConfigFault { key, line: Some(self.sheet.line(at)), what });
    }

    /// A file, relative to the configuration file's folder.
    pub(super) fn file(&self, key: &str) -> Option<PathBuf> {
        let named =
            |text: &str| if text.is_empty() { Err("must name a file") } else { Ok(self.sheet.folder.join(text)) };
        let file = self.word(key, named)?;
        self.sheet.name_file(file.clone(), self.place(key));
        Some(file)
    }

    /// Reads the content of the file that `key` names.
    pub(super) fn file_content<T, E: Display>(&self, key: &str, read: impl Fn(&[u8]) -> Result<T, E>) -> Option<T> {
        let path = self.file(key)?;
        self.word(key, |_| read_bounded(&path).and_then(|content| read(&content).map_err(|what| what.to_string())))
    }

    /// `key` itself, or the content of the file that `key-file` names. A value in the environment wins over both in
    /// the file; two values in the same place are a fault.
    pub(super) fn secret(&self, key: &str) -> Option<Secret> {
        let file_key = format!("{key}-file");
        let rank = |key: &str| usize::from(self.has(key)) + usize::from(self.in_environment(key));
        let (own, file) = (rank(key), rank(&file_key));
        if own == file && own > 0 {
            self.fault(&file_key, format!("stands beside {}: keep one of them", join(&self.path, key)));
            return None;
        }
        if own > file {
            return self.word(key, secret);
        }
        let path = self.file(&file_key)?;
        self.word(&file_key, |_| read_secret(&path).and_then(|text| secret(&text)))
    }
}

/// A secret must fit into a header.
fn secret(text: &str) -> Result<Secret, String> {
    match text {
        "" => Err("is empty".to_owned()),
        _ if text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Secret::new(text)),
        _ => Err("must be visible ASCII without spaces".to_owned()),
    }
}

/// The file's text without the newline at its end.
fn read_secret(path: &Path) -> Result<Zeroizing<String>, String> {
    let content = read_bounded(path)?;
    let text = std::str::from_utf8(&content).map_err(|_| "is not UTF-8 text".to_owned())?;
    Ok(Zeroizing::new(text.trim_end_matches(['\n', '\r']).to_owned()))
}

fn read_bounded(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    const MAX_FILE_BYTES: u64 = 64 << 10;
    let read = || -> io::Result<Zeroizing<Vec<u8>>> {
        let mut content = Zeroizing::new(Vec::new());
        File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut content)?;
        Ok(content)
    };
    let content = read().map_err(|error| format!("cannot be read: {error}"))?;
    if content.len() as u64 > MAX_FILE_BYTES { Err("is larger than 64 KiB".to_owned()) } else { Ok(content) }
}

fn within<T: PartialOrd>(value: T, range: &RangeInclusive<T>, show: impl Fn(&T) -> String) -> Result<T, String> {
    match (value >= *range.start(), value <= *range.end()) {
        (true, true) => Ok(value),
        (false, true) => Err(format!("must be at least {}", show(range.start()))),
        (true, false) => Err(format!("must be at most {}", show(range.end()))),
        (false, false) => Err(format!("must be between {} and {}", show(range.start()), show(range.end()))),
    }
}

/// `"a", "b" or "c"`
pub(super) fn one_of<'w>(words: impl Iterator<Item = &'w str>) -> String {
    let mut quoted: Vec<String> = words.map(|word| format!("\"{word}\"")).collect();
    let last = quoted.pop().unwrap_or_default();
    if quoted.is_empty() { last } else { format!("{} or {last}", quoted.join(", ")) }
}
