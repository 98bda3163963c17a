//! `kind = "firstlight"`: the checked settings of FirstLight Heartbeat and Stream Concurrency.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;

use regex_lite::Regex;

use super::{Endpoint, Pattern, Template};

/// The contract `firstlight-hb/1`. Facts: `docs/authorities.md`.
#[derive(Debug)]
pub struct FirstLight {
    /// Whether a paused playback is beaten.
    pub beat_while_paused: bool,
    /// `heartbeatAction`s that mean a blackout; compared without case, as all of them.
    pub blackout_actions: Vec<String>,
    pub ca: Option<PathBuf>,
    pub concurrency_error_codes: Vec<Code>,
    pub continue_actions: Vec<String>,
    /// Headers of every call, in place of the caller's own of the same name.
    pub headers: Vec<(HeaderName, Template)>,
    pub heartbeat: Endpoint,
    /// When the authorization names no interval.
    pub interval: Duration,
    /// Failures in line that a live playback survives.
    pub max_failures: u8,
    pub multi_stream_mode: bool,
    /// What fields are called on this tenant's wire.
    pub names: Names,
    /// Headers of the authorize call that go with every call.
    pub pass_headers: Vec<HeaderName>,
    pub post_slate: Duration,
    pub record_bookmark: bool,
    /// Whether `event`, `state` and `sequence` are sent.
    pub send_state: bool,
    pub stop_actions: Vec<String>,
    /// Whether a playback ends with its programme.
    pub stop_on_playback_end: bool,
    /// Whether a blackout or the end of a programme ends the playback here, or is told alone.
    pub stop_player_on_stream_timeline_event: bool,
    pub stream_concurrency: Option<StreamConcurrency>,
    /// One ask of the core: all its calls together.
    pub timeout: Duration,
    /// Carries a fresh UUID with every call.
    pub tracking_header: Option<HeaderName>,
    pub track_viewers_count: bool,
}

/// The second service, which counts the user's devices.
#[derive(Debug)]
pub struct StreamConcurrency {
    /// Names the server; its path is an example.
    pub endpoint: Endpoint,
    /// With `{deviceId}` in it.
    pub path: String,
}

/// An error code of a tenant.
#[derive(Debug)]
pub enum Code {
    /// `regex:EXPRESSION`, for the whole of it.
    Matching(Regex),
    Named(Pattern),
}

impl Code {
    pub fn fits(&self, code: &str) -> bool {
        match self {
            Self::Matching(expression) => expression.is_match(code),
            Self::Named(pattern) => pattern.fits(code),
        }
    }
}

/// The contract's names of fields to those of a tenant; what is not in it is called by its own.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Names(pub BTreeMap<String, String>);

impl Names {
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
