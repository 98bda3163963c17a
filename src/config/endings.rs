//! `[route.endings]`: by which evidence a playback of the route is over.

use std::time::Duration;

use super::table_reader::TableReader;
use super::units::MAX_DURATION;

/// The rungs of evidence, each of which can be switched off. Kills and zaps are none of them: what the
/// authority says holds, and `sessions-per-device` says how much a device may play.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EndingRules {
    /// Time for which a player's last connection must be gone before other evidence counts sooner; it never
    /// ends a playback by itself. None: connections tell nothing.
    pub connections_gone: Option<Duration>,
    /// When every license that it was given has run out.
    pub license_expiry: bool,
    /// Without any sign of life for this long it is over, whatever the beats say.
    pub longest: Duration,
    /// Longest time in which a player of something live may fetch nothing through a media route; `None` is for ever.
    pub media_silence: Option<Duration>,
    /// The player's own report that it quits.
    pub quit: bool,
    /// The release of its last license.
    pub release: bool,
    /// Rounds of renewals that may stay away where renewals are the beats. None: all of them.
    pub renewals_overdue: Option<f64>,
    /// Reports that stay away.
    pub report_silence: bool,
    /// The stop call or beacon.
    pub stop: bool,
    /// Time from the player's last call to the end of a playback whose player received nothing; `None` never ends it.
    pub unused: Option<Duration>,
}

impl Default for EndingRules {
    fn default() -> Self {
        Self {
            connections_gone: Some(Duration::from_secs(30)),
            license_expiry: true,
            longest: Duration::from_hours(12),
            media_silence: Some(Duration::from_secs(90)),
            quit: true,
            release: true,
            renewals_overdue: Some(2.0),
            report_silence: true,
            stop: true,
            unused: Some(Duration::from_secs(30)),
        }
    }
}

pub(super) fn endings(table: &TableReader<'_>) -> EndingRules {
    const MIN_DURATION: Duration = Duration::from_millis(1);
    let otherwise = EndingRules::default();
    let flag = |key: &str, otherwise| table.flag(key).unwrap_or(otherwise);
    let gone = table.duration_or_off("connections-gone", MIN_DURATION..=MAX_DURATION);
    let silence = table.duration_or_off("media-silence", Duration::from_millis(100)..=MAX_DURATION);
    let unused = table.duration_or_off("unused", MIN_DURATION..=MAX_DURATION);
    let rounds = table.number_or_off("renewals-overdue", 1.0..=100.0);
    EndingRules {
        connections_gone: gone.unwrap_or(otherwise.connections_gone),
        license_expiry: flag("license-expiry", otherwise.license_expiry),
        longest: table.duration("longest", MIN_DURATION..=MAX_DURATION).unwrap_or(otherwise.longest),
        media_silence: silence.unwrap_or(otherwise.media_silence),
        quit: flag("quit", otherwise.quit),
        release: flag("release", otherwise.release),
        renewals_overdue: rounds.unwrap_or(otherwise.renewals_overdue),
        report_silence: flag("report-silence", otherwise.report_silence),
        stop: flag("stop", otherwise.stop),
        unused: unused.unwrap_or(otherwise.unused),
    }
}
