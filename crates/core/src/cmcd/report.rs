//! Turns a list into a report: the facts that drive sessions, typed and checked.
//!
//! This module maps keys to facts. It drops all other keys and their order, and draws no conclusion: the sessions
//! derive the state, the playhead and the liveness of a playback. `read` calls it.

use super::item::{CmcdList, CmcdValue};
use super::token_values::{self, CmcdEvent, CmcdFormat, CmcdObject, CmcdState};

/// CTA-5004, table 1.
const SID_CHARS_MAX: usize = 64;
/// CTA-5004-B; version 1 allows 64.
const CID_CHARS_MAX: usize = 128;
/// Faster than any trick play; a higher rate would move a playhead by hours.
const RATE_MAX: f64 = 64.0;

/// The report of a player at one moment. An absent or unreadable fact is `None` or false. Times are milliseconds of at
/// most fifteen digits.
#[derive(Clone, Debug, PartialEq)]
pub struct CmcdReport {
    /// `bg`: true in the background.
    pub background: Option<bool>,
    /// `bl`: the buffer of the video track, else the largest one.
    pub buffer_ms: Option<u64>,
    /// `cid`: not empty, 128 characters at most, no control characters.
    pub cid: Option<String>,
    /// `d`: length of the requested segment.
    pub duration_ms: Option<u64>,
    /// `e`: only in event reports.
    pub event: Option<CmcdEvent>,
    /// `sf`.
    pub format: Option<CmcdFormat>,
    /// `st`.
    pub live: Option<bool>,
    /// `ot`.
    pub object: Option<CmcdObject>,
    /// `pt`: no player measured sends it; see `buffer_ms`.
    pub playhead_ms: Option<u64>,
    /// `pr`: absent means 1, and a pause does not show as 0. From -64 to 64.
    pub rate: Option<f64>,
    /// `sn`: order within one mode and target; starts again with a new player.
    pub sequence: Option<u64>,
    /// `sid`: not empty, 64 characters at most, no control characters. Anybody can write one.
    pub sid: Option<String>,
    /// `su`: the object is needed at once, after a start, a seek or a starvation.
    pub startup: bool,
    /// `bs`: the buffer ran empty since the last report.
    pub starved: bool,
    /// `sta`: `None` also for an unknown value; the last state then stands.
    pub state: Option<CmcdState>,
    /// `ts`: time of the event since the epoch, by the player's clock.
    pub time_ms: Option<u64>,
    /// `v`: 1 when absent or invalid.
    pub version: u8,
}

impl CmcdReport {
    /// The facts of a list. The last of several equal keys counts.
    pub(super) fn new(list: &CmcdList<'_>) -> Self {
        let mut report = Self::default();
        for item in list.items() {
            report.note(item.key, &item.value);
        }
        report
    }

    fn note(&mut self, key: &str, value: &CmcdValue<'_>) {
        match key {
            "bg" => self.background = value.truth(),
            "bl" => self.buffer_ms = value.of_video(),
            "bs" => self.starved = value.truth().unwrap_or(false),
            "cid" => self.cid = checked(value, CID_CHARS_MAX),
            "d" => self.duration_ms = value.whole(),
            "e" => self.event = value.text().map(CmcdEvent::from_token),
            "ot" => self.object = value.text().and_then(CmcdObject::from_token),
            "pr" => self.rate = value.decimal().filter(|rate| rate.abs() <= RATE_MAX),
            "pt" => self.playhead_ms = value.whole(),
            "sf" => self.format = value.text().and_then(CmcdFormat::from_token),
            "sid" => self.sid = checked(value, SID_CHARS_MAX),
            "sn" => self.sequence = value.whole(),
            "st" => self.live = value.text().and_then(token_values::live),
            "sta" => self.state = value.text().and_then(CmcdState::from_token),
            "su" => self.startup = value.truth().unwrap_or(false),
            "ts" => self.time_ms = value.whole(),
            "v" => self.version = version(value),
            _ => {}
        }
    }
}

impl Default for CmcdReport {
    /// A version 1 report without facts.
    fn default() -> Self {
        Self {
            background: None,
            buffer_ms: None,
            cid: None,
            duration_ms: None,
            event: None,
            format: None,
            live: None,
            object: None,
            playhead_ms: None,
            rate: None,
            sequence: None,
            sid: None,
            startup: false,
            starved: false,
            state: None,
            time_ms: None,
            version: 1,
        }
    }
}

fn checked(value: &CmcdValue<'_>, chars_max: usize) -> Option<String> {
    let text = value.text()?;
    let fits = !text.is_empty() && text.chars().nth(chars_max).is_none();
    (fits && !text.contains(char::is_control)).then(|| text.to_owned())
}

fn version(value: &CmcdValue<'_>) -> u8 {
    value.whole().and_then(|version| u8::try_from(version).ok()).filter(|version| *version > 0).unwrap_or(1)
}
