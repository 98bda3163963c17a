//! `[[authority]]`: the embedded one and NAGRA SSM.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::embedded::embedded;
use super::nagra_ssm::nagra_ssm;
use crate::config::section::Section;
use crate::config::words;
use crate::config::{Authority, AuthorityKind};

pub(super) const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(24);
pub(super) const GRACE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(24);

#[derive(Clone, Copy)]
enum Kind {
    Embedded,
    NagraSsm,
}

/// The names in the order of the tables; none where a name is at fault.
pub(super) fn names(tables: &[Section<'_>], need: &str, noun: &str) -> Vec<Option<String>> {
    let mut names: Vec<Option<String>> = Vec::new();
    for table in tables {
        table.need("name", need);
        let name = table.word("name", words::label);
        if name.is_some() && names.contains(&name) {
            table.fault("name", format!("is the name of another {noun} too"));
        }
        names.push(name);
    }
    names
}

/// `name` is what [`names`] found, `call` the time of a whole license call.
pub(super) fn authority(table: &Section<'_>, name: Option<&String>, call: Duration) -> Option<Authority> {
    let kind = match table.choice("kind", &[("embedded", Kind::Embedded), ("nagra-ssm", Kind::NagraSsm)]) {
        Some(Kind::Embedded) => Some(AuthorityKind::Embedded(Box::new(embedded(table)))),
        Some(Kind::NagraSsm) => nagra_ssm(table, call).map(|nagra_ssm| AuthorityKind::NagraSsm(Box::new(nagra_ssm))),
        None => {
            table.need("kind", "write \"embedded\" or \"nagra-ssm\"");
            table.leave();
            None
        }
    };
    Some(Authority { kind: kind?, name: name?.clone() })
}
