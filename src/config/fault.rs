//! Faults of a configuration: all of them at once, each with its key and line.
//!
//! The text of a fault (`what`) starts with a verb ("must be …", "is missing …"), tells the remedy, and never repeats
//! the value of a key that may hold a secret.

use std::fmt;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigFault {
    /// `route[0].path`, or the name of an environment variable.
    pub key: String,
    /// 1-based line of the file, when the fault stands there.
    pub line: Option<usize>,
    /// The fault and its remedy; never the value of a secret.
    pub what: String,
}

/// The place where a key was set: in the file, or in the environment.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct KeyPlace {
    pub(super) key: String,
    pub(super) line: Option<usize>,
}

impl KeyPlace {
    pub fn fault(&self, what: impl Into<String>) -> ConfigFault {
        ConfigFault { key: self.key.clone(), line: self.line, what: what.into() }
    }
}

/// The files that the configuration names, each with the key that named it.
#[derive(Clone, Default)]
pub struct NamedFiles(pub(super) Vec<(PathBuf, KeyPlace)>);

impl NamedFiles {
    /// The place of the first key that named one of these files, in the files' order; else of `unset`, which no key
    /// set.
    pub fn place_of(&self, files: &[&Path], unset: &str) -> KeyPlace {
        let place = |file: &&Path| self.0.iter().find(|(named, _)| named == file).map(|(_, place)| place.clone());
        let unset = || KeyPlace { key: unset.to_owned(), line: None };
        files.iter().find_map(place).unwrap_or_else(unset)
    }
}

/// Shows nothing, because places are no settings.
impl fmt::Debug for NamedFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NamedFiles")
    }
}

/// Faults in the order of the file's lines; those without a line come last.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigFaults(pub Vec<ConfigFault>);

impl ConfigFaults {
    pub fn sorted(mut faults: Vec<ConfigFault>) -> Self {
        faults.sort_by_key(|fault| fault.line.unwrap_or(usize::MAX));
        Self(faults)
    }

    pub(super) fn one(key: impl Into<String>, what: impl Into<String>) -> Self {
        Self(vec![ConfigFault { key: key.into(), line: None, what: what.into() }])
    }
}

impl fmt::Display for ConfigFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|fault| match fault.line {
            Some(line) => writeln!(f, "line {line}: {}: {}", fault.key, fault.what),
            None => writeln!(f, "{}: {}", fault.key, fault.what),
        })
    }
}

impl std::error::Error for ConfigFaults {}
