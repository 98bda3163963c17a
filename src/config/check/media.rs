//! What a `[[route]]` of `kind = "media"` has beside what every route has.

use std::time::Duration;

use crate::config::section::Section;
use crate::config::units::LONGEST;
use crate::config::words;
use crate::config::{Endpoint, Media};

const WHEN_KILLED: [(&str, bool); 2] = [("end", true), ("refuse", false)];
const SEGMENTS: [(&str, bool); 2] = [("direct", true), ("through", false)];
const LARGEST: usize = 4 * 1024 * 1024;

pub(super) fn media(table: &Section<'_>) -> Media {
    Media {
        direct: table.choice("segments", &SEGMENTS).unwrap_or(false),
        end_playlists: table.choice("when-killed", &WHEN_KILLED).unwrap_or(false),
        hosts: table.list("hosts", "[\"*.cdn.example\"]", words::host_pattern).unwrap_or_default(),
        inject_cmcd: table.flag("inject-cmcd").unwrap_or(false),
        license_route: table.word("license-route", words::license_route),
        manifest_max: table.size("manifest-max", 1024..=16 * LARGEST).unwrap_or(LARGEST),
        stall: table.duration("stall", Duration::from_millis(1)..=LONGEST).unwrap_or(Duration::from_secs(15)),
        strict: table.flag("strict").unwrap_or(false),
    }
}

pub(super) fn origin(table: &Section<'_>) -> Option<Endpoint> {
    table.need("origin", "write the URL below which manifests and segments are");
    let origin = table.word("origin", Endpoint::parse)?;
    if origin.query().is_some() {
        table.fault("origin", "must not have a query: what players ask for brings its own");
        return None;
    }
    Some(origin)
}
