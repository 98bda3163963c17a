//! `[[authority]]`: its kind, its unit, and what several kinds have in common.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use super::table_reader::{TableReader, one_of};
use super::units::show_duration;
use super::{EndpointUrl, SessionControlMode, headers, words};

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

/// The table of all kinds of authority: a new kind is a line here, beside its two files. A line names the kind, the word
/// for it in `kind`, its letter in session records, the module of this folder whose function of the same name reads
/// its settings, and the settings. Everything that differs by kind is made from this table, here and in `authority`.
macro_rules! for_each_authority_kind {
    ($make:ident) => {
        $make! {
            Embedded: "embedded", "e", embedded, EmbeddedSettings;
            FirstLight: "firstlight", "f", firstlight, FirstLightSettings;
            NagraSsm: "nagra-ssm", "s", nagra_ssm, NagraSsmSettings;
            #[cfg(test)]
            Example: "example", "x", example, ExampleSettings;
        }
    };
}
pub(crate) use for_each_authority_kind;

type ReadKind = fn(&TableReader<'_>, Duration) -> Option<AuthorityKind>;

macro_rules! define_kinds {
    ($($(#[$only:meta])* $kind:ident: $word:literal, $letter:literal, $module:ident, $settings:ident;)*) => {
        /// The settings of an authority, by its kind.
        #[derive(Debug)]
        pub enum AuthorityKind {
            $($(#[$only])* $kind(Box<super::$module::$settings>),)*
        }

        /// The kind of authority that a session's token belongs to. No other kind is asked about it.
        #[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
        pub enum DialectName {
            $($(#[$only])* #[serde(rename = $letter)] $kind,)*
        }

        /// Each kind by its word, with the reader of its table. The duration is the time of a whole license call.
        const KINDS: &[(&str, ReadKind)] = &[
            $($(#[$only])*
            ($word, |table, call| super::$module::$module(table, call).map(|it| AuthorityKind::$kind(Box::new(it)))),)*
        ];

        impl AuthorityKind {
            pub fn settings(&self) -> &dyn KindSettings {
                match self {
                    $($(#[$only])* Self::$kind(settings) => &**settings,)*
                }
            }
        }
    };
}

for_each_authority_kind!(define_kinds);

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
