//! `[route.endings]`.

use std::time::Duration;

use crate::config::Endings;
use crate::config::section::Section;
use crate::config::units::LONGEST;

pub(super) fn endings(table: &Section<'_>) -> Endings {
    const SHORTEST: Duration = Duration::from_millis(1);
    let otherwise = Endings::default();
    let flag = |key: &str, otherwise| table.flag(key).unwrap_or(otherwise);
    let gone = table.duration_or_off("connections-gone", SHORTEST..=LONGEST);
    let silence = table.duration_or_off("media-silence", Duration::from_millis(100)..=LONGEST);
    let unused = table.duration_or_off("unused", SHORTEST..=LONGEST);
    let rounds = table.number_or_off("renewals-overdue", 1.0..=100.0);
    Endings {
        connections_gone: gone.unwrap_or(otherwise.connections_gone),
        license_expiry: flag("license-expiry", otherwise.license_expiry),
        longest: table.duration("longest", SHORTEST..=LONGEST).unwrap_or(otherwise.longest),
        media_silence: silence.unwrap_or(otherwise.media_silence),
        quit: flag("quit", otherwise.quit),
        release: flag("release", otherwise.release),
        renewals_overdue: rounds.unwrap_or(otherwise.renewals_overdue),
        report_silence: flag("report-silence", otherwise.report_silence),
        stop: flag("stop", otherwise.stop),
        unused: unused.unwrap_or(otherwise.unused),
    }
}
