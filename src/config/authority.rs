//! `[[authority]]`: its kind, its unit, and what several kinds have in common.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::embedded::embedded;
#[cfg(test)]
use super::example::{ExampleSettings, example};
use super::firstlight::firstlight;
use super::nagra_ssm::nagra_ssm;
use super::table_reader::{TableReader, one_of};
use super::units::show_duration;
use super::{EmbeddedSettings, EndpointUrl, FirstLightSettings, NagraSsmSettings, SessionControlMode, headers, words};

/// `[[authority]]`
#[derive(Debug)]
pub struct AuthoritySettings {
    pub kind: AuthorityKind,
    /// Referred to by routes; also a metric label.
    pub name: String,
    pub unit: SessionUnit,
}

/// The unit that an authority counts as one session.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SessionUnit {
    /// All that a device plays for an account.
    Device,
    #[default]
    Playback,
}

/// The settings of each kind. A new kind gets a variant here and a line in each of the two tables below.
#[derive(Debug)]
pub enum AuthorityKind {
    Embedded(Box<EmbeddedSettings>),
    #[cfg(test)]
    Example(Box<ExampleSettings>),
    FirstLight(Box<FirstLightSettings>),
    NagraSsm(Box<NagraSsmSettings>),
}

type ReadKind = fn(&TableReader<'_>, Duration) -> Option<AuthorityKind>;

/// Each kind by its name, with the reader of its table. The duration is the time of a whole license call.
const KINDS: &[(&str, ReadKind)] = &[
    ("embedded", |table, _| Some(AuthorityKind::Embedded(Box::new(embedded(table))))),
    ("firstlight", |table, call| firstlight(table, call).map(|it| AuthorityKind::FirstLight(Box::new(it)))),
    ("nagra-ssm", |table, call| nagra_ssm(table, call).map(|it| AuthorityKind::NagraSsm(Box::new(it)))),
    #[cfg(test)]
    ("example", |table, call| example(table, call).map(|it| AuthorityKind::Example(Box::new(it)))),
];

/// Properties of an authority's settings that the configuration and a reload need.
pub trait KindSettings {
    /// Every server that is called, with its CA file if one is named.
    fn servers(&self) -> Vec<(&EndpointUrl, Option<&Path>)>;

    /// Tells whether the authority takes a player's renewals as heartbeats.
    fn takes_renewals(&self) -> bool {
        false
    }

    /// The calls that need a session, if the route does not tell.
    fn session_control(&self) -> SessionControlMode {
        SessionControlMode::Auto
    }
}

impl AuthorityKind {
    pub fn settings(&self) -> &dyn KindSettings {
        match self {
            Self::Embedded(settings) => &**settings,
            #[cfg(test)]
            Self::Example(settings) => &**settings,
            Self::FirstLight(settings) => &**settings,
            Self::NagraSsm(settings) => &**settings,
        }
    }
}

pub(super) fn kind_names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|(name, _)| *name)
}

pub(super) const INTERVAL_RANGE: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(24);
pub(super) const GRACE_RANGE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(24);

/// Keys with the URL of a server.
pub(super) const URL_KEYS: [&str; 6] =
    ["url", "setup-url", "heartbeat-url", "renewal-url", "teardown-url", "stream-concurrency-url"];

/// The names in the order of the tables; `None` for a faulty name.
pub(super) fn names(tables: &[TableReader<'_>], need: &str, noun: &str) -> Vec<Option<String>> {
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

/// `name` comes from [`names`]; `call` is the time of a whole license call.
pub(super) fn authority(table: &TableReader<'_>, name: Option<&String>, call: Duration) -> Option<AuthoritySettings> {
    let kind = match table.choice("kind", KINDS) {
        Some(read) => read(table, call),
        None => {
            table.need("kind", &format!("write {}", one_of(kind_names())));
            table.leave();
            None
        }
    };
    let unit = unit(table, kind.as_ref());
    Some(AuthoritySettings { kind: kind?, name: name?.clone(), unit })
}

/// Reads the timeout of one call to the authority. `call` bounds a whole license call, of which an open is a part.
pub(super) fn timeout(table: &TableReader<'_>, call: Duration, default: Duration) -> Duration {
    let timeout = table.duration("timeout", INTERVAL_RANGE).unwrap_or(default);
    if timeout >= call {
        table.fault("timeout", format!("must be shorter than server.limits.call, which is {}", show_duration(call)));
    }
    timeout
}

/// Adds the configured headers of every call to `headers`; `ours` is written by sidebeat.
pub(super) fn constant_headers(
    table: &TableReader<'_>,
    mut headers: Vec<(HeaderName, HeaderValue)>,
    ours: Option<&HeaderName>,
) -> Vec<(HeaderName, HeaderValue)> {
    for key in table.names() {
        let Some(value) = table.word(&key, headers::header_value) else { continue };
        match headers::header_name(&key) {
            Ok(name) if ours == Some(&name) => table.fault(&key, "is written by sidebeat: it carries the tokens"),
            Ok(name) if headers.iter().any(|(other, _)| *other == name) => table.fault(&key, "is set twice"),
            Ok(name) => headers.push((name, value)),
            Err(what) => table.fault(&key, what),
        }
    }
    headers
}

const UNIT_WORDS: [(&str, SessionUnit); 2] = [("device", SessionUnit::Device), ("playback", SessionUnit::Playback)];

pub(super) fn unit(table: &TableReader<'_>, kind: Option<&AuthorityKind>) -> SessionUnit {
    let unit = table.choice("unit", &UNIT_WORDS).unwrap_or_default();
    match (unit, kind) {
        (SessionUnit::Device, Some(AuthorityKind::FirstLight(_))) => {
            let what = "FirstLight counts devices by itself, and beats each playback by a token of its own: leave it out, and \
                set multi-stream-mode = true for devices that show several pictures";
            table.fault("unit", what);
        }
        (SessionUnit::Device, Some(AuthorityKind::Embedded(_))) if table.has("content-group") => {
            let what =
                "counts what is played, and with unit = \"device\" one session stands for all that a device plays";
            table.fault("content-group", what);
        }
        (SessionUnit::Device | SessionUnit::Playback, _) => {}
    }
    unit
}
