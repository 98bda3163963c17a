//! `unit` of an authority, and what it means for the routes.

use crate::config::section::Section;
use crate::config::{AuthorityKind, Rung, SessionUnit};

const UNITS: [(&str, SessionUnit); 2] = [("device", SessionUnit::Device), ("playback", SessionUnit::Playback)];

pub(super) fn unit(table: &Section<'_>, kind: Option<&AuthorityKind>) -> SessionUnit {
    let unit = table.choice("unit", &UNITS).unwrap_or_default();
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

/// How many sessions a device may have. It has one where that is what the authority counts, whatever it plays.
pub(super) fn sessions_per_device(table: &Section<'_>, unit: Option<SessionUnit>) -> usize {
    let sessions = table.whole("sessions-per-device", 1..=1000).unwrap_or(1);
    if sessions > 1 && unit == Some(SessionUnit::Device) {
        let what = "must be 1, or left out, where the authority counts devices (unit = \"device\"): all that a device plays \
            shares one session";
        table.fault("sessions-per-device", what);
    }
    sessions
}

/// Devices that nothing tells apart would be one.
pub(super) fn warn_of_peers(table: &Section<'_>, device: &[Rung], unit: Option<SessionUnit>) {
    if device.contains(&Rung::Peer) && unit == Some(SessionUnit::Device) {
        let what = "falls to the peer, and the authority counts devices (unit = \"device\"): all behind one address that \
            name no device share one session; leave \"peer\" out where each device is named";
        table.warn("device", what);
    }
}
