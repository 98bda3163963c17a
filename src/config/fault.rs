//! What is wrong with a configuration: every fault at once, each with its key and line.
//!
//! Whoever writes a fault starts `what` with a verb ("must be …", "is missing …"), says what to
//! write instead, and never repeats the value of a key that may hold a secret.

use std::fmt;

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// `route[0].path`, or the name of an environment variable.
    pub key: String,
    /// 1-based line of the file, when the fault stands there.
    pub line: Option<usize>,
    /// What is wrong and what to write instead; never the value of a secret.
    pub what: String,
}

/// In the order of the file's lines; what has no line comes last.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    pub(super) fn sorted(mut faults: Vec<Fault>) -> Self {
        faults.sort_by_key(|fault| fault.line.unwrap_or(usize::MAX));
        Self(faults)
    }

    pub(super) fn one(key: impl Into<String>, what: impl Into<String>) -> Self {
        Self(vec![Fault { key: key.into(), line: None, what: what.into() }])
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|fault| match fault.line {
            Some(line) => writeln!(f, "line {line}: {}: {}", fault.key, fault.what),
            None => writeln!(f, "{}: {}", fault.key, fault.what),
        })
    }
}

impl std::error::Error for Faults {}
