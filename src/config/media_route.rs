//! `[[route]]` with `kind = "media"`: a route for manifests and segments.

use std::time::Duration;

use super::route::{CommonRouteFields, RouteContext, RouteKind, route_path, strip_cmcd};
use super::table_reader::TableReader;
use super::units::MAX_DURATION;
use super::{EndpointUrl, HostPattern, RouteSettings, host_pattern};

/// The fields of a `[[route]]` that only those of kind `media` have.
#[derive(Debug)]
pub struct MediaRouteSettings {
    /// True if manifests name segments at their origin, so that segments bypass the proxy.
    pub direct: bool,
    /// True to end a killed live playlist instead of refusing it.
    pub end_playlists: bool,
    /// Servers besides the origin that manifests may use through us.
    pub hosts: Vec<HostPattern>,
    /// `true` makes MPDs tell players to report about themselves (CMCD).
    pub inject_cmcd: bool,
    /// Path of a route, or a whole URL, that manifests name for licenses.
    pub license_route: Option<String>,
    /// Largest manifest, bytes.
    pub manifest_max: usize,
    /// The URL below which manifests and segments are. It has no query.
    pub origin: EndpointUrl,
    /// `true` refuses all replies that are neither a manifest nor a known segment.
    pub strict: bool,
    /// Longest pause of the origin within a segment.
    pub stall: Duration,
}

const WHEN_KILLED_WORDS: [(&str, bool); 2] = [("end", true), ("refuse", false)];
const SEGMENTS_WORDS: [(&str, bool); 2] = [("direct", true), ("through", false)];
const DEFAULT_MANIFEST_MAX_BYTES: usize = 4 * 1024 * 1024;

pub(super) fn media_route(
    table: &TableReader<'_>,
    path: Option<String>,
    frame: &RouteContext<'_>,
) -> Option<RouteSettings> {
    let media = media(table);
    let strip_cmcd = strip_cmcd(table).unwrap_or(true);
    let common = CommonRouteFields::read(table, path, frame);
    common.into_route(RouteKind::Media(Box::new(media?)), strip_cmcd)
}

fn media(table: &TableReader<'_>) -> Option<MediaRouteSettings> {
    let origin = origin(table);
    Some(MediaRouteSettings {
        direct: table.choice("segments", &SEGMENTS_WORDS).unwrap_or(false),
        end_playlists: table.choice("when-killed", &WHEN_KILLED_WORDS).unwrap_or(false),
        hosts: table.list("hosts", "[\"*.cdn.example\"]", host_pattern::host_pattern).unwrap_or_default(),
        inject_cmcd: table.flag("inject-cmcd").unwrap_or(false),
        license_route: table.word("license-route", license_route),
        manifest_max: table
            .size("manifest-max", 1024..=16 * DEFAULT_MANIFEST_MAX_BYTES)
            .unwrap_or(DEFAULT_MANIFEST_MAX_BYTES),
        stall: table.duration("stall", Duration::from_millis(1)..=MAX_DURATION).unwrap_or(Duration::from_secs(15)),
        strict: table.flag("strict").unwrap_or(false),
        // Last, so that the whole table is read before a missing value gives up.
        origin: origin?,
    })
}

fn origin(table: &TableReader<'_>) -> Option<EndpointUrl> {
    table.need("origin", "write the URL below which manifests and segments are");
    let origin = table.word("origin", EndpointUrl::parse)?;
    if origin.query().is_some() {
        table.fault("origin", "must not have a query: what players ask for brings its own");
        return None;
    }
    Some(origin)
}

/// The path of a route, or a URL.
fn license_route(text: &str) -> Result<String, String> {
    if text.starts_with('/') {
        return route_path(text);
    }
    EndpointUrl::parse(text).map_err(str::to_owned)?;
    Ok(text.trim_end_matches('/').to_owned())
}
