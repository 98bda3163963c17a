//! `kind = "media"`: the checked settings of a route that manifests and segments take.

use std::time::Duration;

#[derive(Debug)]
pub struct Media {
    /// Segments do not pass through us: manifests name them at their origin.
    pub direct: bool,
    /// A killed live playlist ends, and is not refused.
    pub end_playlists: bool,
    /// Servers other than the origin's that manifests may lead to through us.
    pub hosts: Vec<HostPattern>,
    /// Whether MPDs tell players to report about themselves.
    pub inject_cmcd: bool,
    /// Path of a route, or a whole URL, that manifests name for licenses.
    pub license_route: Option<String>,
    /// Largest manifest, bytes.
    pub manifest_max: usize,
    /// What is neither a manifest nor a segment that is known does not come through.
    pub strict: bool,
    /// The longest pause in a segment on its way from the origin.
    pub stall: Duration,
}

/// `host[:port]` as manifests write it, or `*.` before the end of one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HostPattern {
    Below(String),
    Exact(String),
}

impl HostPattern {
    pub fn fits(&self, authority: &str) -> bool {
        match self {
            Self::Below(end) => authority.len() > end.len() && authority.to_ascii_lowercase().ends_with(end),
            Self::Exact(host) => authority.eq_ignore_ascii_case(host),
        }
    }
}
