//! `[[authority]]`: its kind, its unit, and what several kinds have in common.

use std::ops::RangeInclusive;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::embedded::embedded;
use super::firstlight::firstlight;
use super::nagra_ssm::nagra_ssm;
use super::table_reader::TableReader;
use super::units::show_duration;
use super::{EmbeddedSettings, FirstLightSettings, NagraSsmSettings, headers, words};

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

#[derive(Debug)]
pub enum AuthorityKind {
    Embedded(Box<EmbeddedSettings>),
    FirstLight(Box<FirstLightSettings>),
    NagraSsm(Box<NagraSsmSettings>),
}

impl AuthorityKind {
    /// Tells whether the authority takes a player's renewals as heartbeats.
    pub(super) fn takes_renewals(&self) -> bool {
        match self {
            Self::Embedded(_) | Self::FirstLight(_) => false,
            Self::NagraSsm(_) => true,
        }
    }
}

pub(super) const INTERVAL_RANGE: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(24);
pub(super) const GRACE_RANGE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(24);

/// Keys with the URL of a server.
pub(super) const URL_KEYS: [&str; 6] =
    ["url", "setup-url", "heartbeat-url", "renewal-url", "teardown-url", "stream-concurrency-url"];

#[derive(Clone, Copy)]
enum AuthorityKindWord {
    Embedded,
    FirstLight,
    NagraSsm,
}

/// The names in the order of the tables; none where a name is at fault.
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

/// `name` is what [`names`] found, `call` the time of a whole license call.
pub(super) fn authority(table: &TableReader<'_>, name: Option<&String>, call: Duration) -> Option<AuthoritySettings> {
    let kinds = [
        ("embedded", AuthorityKindWord::Embedded),
        ("firstlight", AuthorityKindWord::FirstLight),
        ("nagra-ssm", AuthorityKindWord::NagraSsm),
    ];
    let kind = match table.choice("kind", &kinds) {
        Some(AuthorityKindWord::Embedded) => Some(AuthorityKind::Embedded(Box::new(embedded(table)))),
        Some(AuthorityKindWord::FirstLight) => {
            firstlight(table, call).map(|it| AuthorityKind::FirstLight(Box::new(it)))
        }
        Some(AuthorityKindWord::NagraSsm) => {
            nagra_ssm(table, call).map(|nagra_ssm| AuthorityKind::NagraSsm(Box::new(nagra_ssm)))
        }
        None => {
            table.need("kind", "write \"embedded\", \"firstlight\" or \"nagra-ssm\"");
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

/// The headers of every call, behind those that are there; `ours` is written by sidebeat.
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
