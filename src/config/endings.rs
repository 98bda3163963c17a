//! `[route.endings]`: the evidence by which a playback of the route ends.

use std::time::Duration;

use super::table_reader::TableReader;
use super::units::MAX_DURATION;
use crate::session::EndingRules;

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
