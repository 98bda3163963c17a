//! `kind = "firstlight"`: FirstLight (Quickplay) Heartbeat and Stream Concurrency.
//!
//! The vendor's name stands beside each key. Paths, field names, actions and error codes are not published, so all of
//! them are keys.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::HeaderName;
use regex_lite::Regex;

use super::authority::{KindSettings, timeout};
use super::nearest::nearest;
use super::table_reader::TableReader;
use super::{EndpointUrl, HeaderTemplate, NamePattern, embedded, headers};

/// The contract `firstlight-hb/1`. Facts: `docs/authorities.md`.
#[derive(Debug)]
pub struct FirstLightSettings {
    /// `true` sends heartbeats for paused playbacks too.
    pub beat_while_paused: bool,
    /// `heartbeatAction`s that mean a blackout. Actions are compared without case.
    pub blackout_actions: Vec<String>,
    pub ca: Option<PathBuf>,
    pub concurrency_error_codes: Vec<ErrorCodePattern>,
    pub continue_actions: Vec<String>,
    /// Headers of every call, replacing the caller's own of the same name.
    pub headers: Vec<(HeaderName, HeaderTemplate)>,
    pub heartbeat: EndpointUrl,
    /// Used if the authorization names no interval.
    pub interval: Duration,
    /// Failures in a row that a live playback survives.
    pub max_failures: u8,
    pub multi_stream_mode: bool,
    /// Names of the contract's fields in this tenant's bodies.
    pub names: FieldNames,
    /// Headers of the authorize call that go with every call.
    pub pass_headers: Vec<HeaderName>,
    pub post_slate: Duration,
    pub record_bookmark: bool,
    /// `true` sends `event`, `state` and `sequence` with each heartbeat.
    pub send_state: bool,
    pub stop_actions: Vec<String>,
    /// `true` ends a live playback with its programme.
    pub stop_on_playback_end: bool,
    /// `true` ends a playback at a blackout or the end of its programme; `false` only reports them.
    pub stop_player_on_stream_timeline_event: bool,
    pub stream_concurrency: Option<StreamConcurrency>,
    /// Bounds one open, heartbeat or close, with all its calls together.
    pub timeout: Duration,
    /// Carries a fresh UUID with every call.
    pub tracking_header: Option<HeaderName>,
    pub track_viewers_count: bool,
}

impl KindSettings for FirstLightSettings {
    fn servers(&self) -> Vec<(&EndpointUrl, Option<&Path>)> {
        let endpoints = self.stream_concurrency.iter().map(|it| &it.endpoint).chain([&self.heartbeat]);
        endpoints.map(|endpoint| (endpoint, self.ca.as_deref())).collect()
    }
}

/// The second service, which counts the user's devices.
#[derive(Debug)]
pub struct StreamConcurrency {
    /// Names the server; its path is an example.
    pub endpoint: EndpointUrl,
    /// Contains `{deviceId}`.
    pub path: String,
}

/// An error code of a tenant.
#[derive(Debug)]
pub enum ErrorCodePattern {
    /// `regex:EXPRESSION`, which must match the whole code.
    Matching(Regex),
    Named(NamePattern),
}

impl ErrorCodePattern {
    pub fn fits(&self, code: &str) -> bool {
        match self {
            Self::Matching(expression) => expression.is_match(code),
            Self::Named(pattern) => pattern.fits(code),
        }
    }
}

/// Maps the contract's field names to a tenant's. A missing field keeps its name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FieldNames(pub BTreeMap<String, String>);

impl FieldNames {
    /// Every field that can have another name.
    pub const ALL: [&str; 33] = [
        "blackoutAction",
        "blackoutUrl",
        "catalogType",
        "code",
        "contentId",
        "contentTypeId",
        "contentUrl",
        "data",
        "description",
        "deviceId",
        "errors",
        "event",
        "header",
        "heartbeatAction",
        "heartbeatFlag",
        "heartbeatFreq",
        "heartbeatToken",
        "licenseUrl",
        "live360EndTime",
        "live360StartTime",
        "liveEndTime",
        "liveEventType",
        "liveStartTime",
        "message",
        "multiStreamMode",
        "offset",
        "primaryContentId",
        "sequence",
        "state",
        "streamTimelineEvents",
        "time",
        "trackViewersCount",
        "type",
    ];

    pub fn of<'a>(&'a self, name: &'a str) -> &'a str {
        self.0.get(name).map_or(name, String::as_str)
    }
}

/// Range of the vendor's `syncIntervalMS`; the contract clamps it so.
const SYNC_INTERVAL_RANGE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);
const POST_SLATE_RANGE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(24);

const DEVICE_PLACEHOLDER: &str = "{deviceId}";

/// The number of failures that ends a playback, compared with `max-allowed-failures`.
#[derive(Clone, Copy)]
enum FailWhen {
    Exceed,
    Reach,
}

const FAIL_WHEN_WORDS: [(&str, FailWhen); 2] = [("exceeds", FailWhen::Exceed), ("reaches", FailWhen::Reach)];

/// `call` is the time of a whole license call, of which the first beat is a part.
pub(super) fn firstlight(table: &TableReader<'_>, call: Duration) -> Option<FirstLightSettings> {
    let flag = |key, default| table.flag(key).unwrap_or(default);
    let actions = |key, default: &str| {
        let actions = table.list(key, "[\"CONTINUE\"]", name);
        actions.unwrap_or_else(|| vec![default.to_owned()])
    };
    let codes = table.list("concurrency-error-codes", "[\"HB-CONCURRENCY\", \"LIMIT-*\"]", code);
    let pass_headers = table.list("pass-headers", "[\"authorization\"]", headers::header_name).unwrap_or_else(|| {
        ["authorization", "x-authorization", "x-client-id", "x-device-id"].map(HeaderName::from_static).into()
    });
    let tracking = table.word("tracking-header", |text| match text {
        "" => Ok(None),
        name => headers::header_name(name).map(Some),
    });
    let firstlight = FirstLightSettings {
        beat_while_paused: flag("beat-while-paused", true),
        blackout_actions: actions("blackout-actions", "BLACKOUT"),
        ca: table.file("ca"),
        concurrency_error_codes: codes.unwrap_or_else(|| code("HB-CONCURRENCY").into_iter().collect()),
        continue_actions: actions("continue-actions", "CONTINUE"),
        headers: headers(&table.table("headers"), &pass_headers),
        // heartbeatSyncIntervalMs
        interval: table.duration("sync-interval", SYNC_INTERVAL_RANGE).unwrap_or(Duration::from_mins(1)),
        max_failures: max_failures(table),
        multi_stream_mode: flag("multi-stream-mode", false),
        names: names(&table.table("fields")),
        pass_headers,
        // showPostEventSlateTimeMs
        post_slate: table.duration("post-slate-duration", POST_SLATE_RANGE).unwrap_or(Duration::from_mins(15)),
        record_bookmark: flag("record-bookmark", false),
        send_state: flag("send-state", true),
        stop_actions: actions("stop-actions", "STOP"),
        // playbackStopOnPlaybackEnd
        stop_on_playback_end: flag("stop-on-playback-end", true),
        stop_player_on_stream_timeline_event: flag("stop-player-on-stream-timeline-event", true),
        stream_concurrency: stream_concurrency(table),
        timeout: timeout(table, call, Duration::from_secs(4)),
        tracking_header: tracking.unwrap_or(Some(HeaderName::from_static("x-tracking-id"))),
        track_viewers_count: flag("track-viewers-count", false),
        // Last, so that the whole table is read before a missing value gives up.
        heartbeat: heartbeat(table)?,
    };
    Some(firstlight)
}

/// `heartbeatEndPointUrl`, `heartbeatServiceEndpoint`: the base URL to which the SDK appends the path.
fn heartbeat(table: &TableReader<'_>) -> Option<EndpointUrl> {
    table.need("heartbeat-url", "write the base of the heartbeat service, the vendor's heartbeatEndPointUrl");
    let path = table.word("heartbeat-path", path_below);
    let path = path.unwrap_or_else(|| "media/heartbeat".to_owned());
    table.word("heartbeat-url", |base| below(base, &path).and_then(|url| EndpointUrl::parse(&url)))
}

/// `streamConcurrencyEndPointUrl`, `streamConcurrencyServiceEndpoint`: empty if not used.
fn stream_concurrency(table: &TableReader<'_>) -> Option<StreamConcurrency> {
    let path = table.word("stream-concurrency-path", |text| {
        if text.contains(DEVICE_PLACEHOLDER) { path_below(text) } else { Err("must hold {deviceId}") }
    });
    let path = path.unwrap_or_else(|| format!("user/stream/{DEVICE_PLACEHOLDER}"));
    let read = |base: &str| match base {
        "" => Ok(None),
        base => {
            let endpoint = EndpointUrl::parse(&below(base, &path.replace(DEVICE_PLACEHOLDER, "device"))?)?;
            let base = EndpointUrl::parse(base)?;
            let path = format!("{}/{path}", base.path().trim_end_matches('/'));
            Ok::<_, &'static str>(Some(StreamConcurrency { endpoint, path }))
        }
    };
    table.word("stream-concurrency-url", read).flatten()
}

/// `maxAllowedFailures`, `heartbeatMaxAllowedFailures`: number of failures in a row that are survived.
fn max_failures(table: &TableReader<'_>) -> u8 {
    let most: u8 = table.whole("max-allowed-failures", 0..=100).unwrap_or(2);
    match table.choice("fail-when", &FAIL_WHEN_WORDS).unwrap_or(FailWhen::Exceed) {
        FailWhen::Exceed => most,
        FailWhen::Reach if most == 0 => {
            table.fault(
                "fail-when",
                "would end every playback at once: \"reaches\" needs max-allowed-failures of 1 or more",
            );
            most
        }
        FailWhen::Reach => most - 1,
    }
}

fn names(table: &TableReader<'_>) -> FieldNames {
    let mut names = BTreeMap::new();
    for key in table.names() {
        if !FieldNames::ALL.contains(&key.as_str()) {
            let near = nearest(&key, FieldNames::ALL.into_iter());
            let advice = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            table.fault(&key, format!("is not a field of the contract{advice}"));
        } else if let Some(theirs) = table.word(&key, name) {
            names.insert(key, theirs);
        }
    }
    FieldNames(names)
}

/// `passed` are the headers that are kept of an authorize call; only these can be filled in.
fn headers(table: &TableReader<'_>, passed: &[HeaderName]) -> Vec<(HeaderName, HeaderTemplate)> {
    let mut headers = Vec::new();
    for key in table.names() {
        let Some(template) = table.word(&key, HeaderTemplate::parse) else { continue };
        if let Some(unknown) = template.headers().find(|name| !passed.contains(name)) {
            table.fault(&key, format!("wants the header {unknown}, which is not in pass-headers"));
        }
        match headers::header_name(&key) {
            Ok(name) if headers.iter().any(|(other, _)| *other == name) => table.fault(&key, "is set twice"),
            Ok(name) => headers.push((name, template)),
            Err(what) => table.fault(&key, what),
        }
    }
    headers
}

/// `NAME`, `NAME*` or `regex:EXPRESSION`.
fn code(text: &str) -> Result<ErrorCodePattern, String> {
    match text.strip_prefix("regex:") {
        None => embedded::pattern(text).map(ErrorCodePattern::Named),
        Some(expression) => Regex::new(&format!("^(?:{expression})$"))
            .map(ErrorCodePattern::Matching)
            .map_err(|_| "must have a regular expression behind \"regex:\"".to_owned()),
    }
}

fn name(text: &str) -> Result<String, String> {
    let fits = !text.is_empty() && text.len() <= 64 && !text.chars().any(char::is_control);
    if fits { Ok(text.to_owned()) } else { Err("must be a name of 1 to 64 characters".to_owned()) }
}

fn path_below(text: &str) -> Result<String, &'static str> {
    if text.contains(['?', '#']) { Err("must have no query") } else { Ok(text.trim_start_matches('/').to_owned()) }
}

fn below(base: &str, path: &str) -> Result<String, &'static str> {
    if base.contains('?') { Err("must not have a query") } else { Ok(format!("{}/{path}", base.trim_end_matches('/'))) }
}
