//! `[[authority]]`: its kind, and what several kinds have in common.

use std::ops::RangeInclusive;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::embedded::embedded;
use super::firstlight::firstlight;
use super::nagra_ssm::nagra_ssm;
use super::unit::unit;
use crate::config::section::Section;
use crate::config::units::show_duration;
use crate::config::words;
use crate::config::{Authority, AuthorityKind};

pub(super) const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(24);
pub(super) const GRACE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(24);

/// Keys with the URL of a server.
pub(super) const URLS: [&str; 6] =
    ["url", "setup-url", "heartbeat-url", "renewal-url", "teardown-url", "stream-concurrency-url"];

#[derive(Clone, Copy)]
enum Kind {
    Embedded,
    FirstLight,
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
    let kinds = [("embedded", Kind::Embedded), ("firstlight", Kind::FirstLight), ("nagra-ssm", Kind::NagraSsm)];
    let kind = match table.choice("kind", &kinds) {
        Some(Kind::Embedded) => Some(AuthorityKind::Embedded(Box::new(embedded(table)))),
        Some(Kind::FirstLight) => firstlight(table, call).map(|it| AuthorityKind::FirstLight(Box::new(it))),
        Some(Kind::NagraSsm) => nagra_ssm(table, call).map(|nagra_ssm| AuthorityKind::NagraSsm(Box::new(nagra_ssm))),
        None => {
            table.need("kind", "write \"embedded\", \"firstlight\" or \"nagra-ssm\"");
            table.leave();
            None
        }
    };
    let unit = unit(table, kind.as_ref());
    Some(Authority { kind: kind?, name: name?.clone(), unit })
}

/// Of one ask; `call` is the time of a whole license call, of which an open is a part.
pub(super) fn timeout(table: &Section<'_>, call: Duration, default: Duration) -> Duration {
    let timeout = table.duration("timeout", INTERVAL).unwrap_or(default);
    if timeout >= call {
        table.fault("timeout", format!("must be shorter than server.limits.call, which is {}", show_duration(call)));
    }
    timeout
}

/// The headers of every call, behind those that are there; `ours` is written by sidebeat.
pub(super) fn constant_headers(
    table: &Section<'_>,
    mut headers: Vec<(HeaderName, HeaderValue)>,
    ours: Option<&HeaderName>,
) -> Vec<(HeaderName, HeaderValue)> {
    for key in table.names() {
        let Some(value) = table.word(&key, words::header_value) else { continue };
        match words::header_name(&key) {
            Ok(name) if ours == Some(&name) => table.fault(&key, "is written by sidebeat: it carries the tokens"),
            Ok(name) if headers.iter().any(|(other, _)| *other == name) => table.fault(&key, "is set twice"),
            Ok(name) => headers.push((name, value)),
            Err(what) => table.fault(&key, what),
        }
    }
    headers
}
