//! The typed readings of a section: each gives a value of the wanted type, or records a fault and
//! gives none, so that the next key is read all the same.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use super::Fault;
use super::raw::join;
use super::section::Section;
use super::units;
use super::value::Entry;
use crate::secret::Secret;

impl Section<'_> {
    /// Whatever text `read` makes sense of.
    pub(super) fn word<T, E: Display>(&self, key: &str, read: impl Fn(&str) -> Result<T, E>) -> Option<T> {
        self.value(key, |value| read(&value.text()?).map_err(|what| what.to_string()))
    }

    /// One of a few words.
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

    /// A duration, or the word "off", which is none.
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

    /// A number, or the word "off", which is none.
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

    /// All entries of a list, or none: each bad one is a fault of its own.
    pub(super) fn list<T>(&self, key: &str, example: &str, read: impl Fn(&str) -> Result<T, String>) -> Option<Vec<T>> {
        let no_list = || format!("must be a list, such as {example}");
        let entries = self.value(key, |value| value.entries().ok_or_else(no_list))?;
        let read_entry = |(index, entry): (usize, Entry<'_>)| {
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
        self.sheet.fault(Fault { key, line: Some(self.sheet.line(at)), what });
    }

    /// A file, named from the configuration file's folder.
    pub(super) fn file(&self, key: &str) -> Option<PathBuf> {
        let named =
            |text: &str| if text.is_empty() { Err("must name a file") } else { Ok(self.sheet.folder.join(text)) };
        let file = self.word(key, named)?;
        self.sheet.name_file(file.clone(), self.place(key));
        Some(file)
    }

    /// What `read` makes of the content of the file that `key` names.
    pub(super) fn file_content<T, E: Display>(&self, key: &str, read: impl Fn(&[u8]) -> Result<T, E>) -> Option<T> {
        let path = self.file(key)?;
        self.word(key, |_| read_bounded(&path).and_then(|content| read(&content).map_err(|what| what.to_string())))
    }

    /// `key` itself, or the content of the file that `key-file` names. Either one in the
    /// environment wins over both in the file; both in one place contradict each other.
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

/// A secret has to fit into a header.
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
fn one_of<'w>(words: impl Iterator<Item = &'w str>) -> String {
    let mut quoted: Vec<String> = words.map(|word| format!("\"{word}\"")).collect();
    let last = quoted.pop().unwrap_or_default();
    if quoted.is_empty() { last } else { format!("{} or {last}", quoted.join(", ")) }
}
