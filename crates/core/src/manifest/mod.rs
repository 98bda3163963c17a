//! Reads manifests, and finds the edits that keep their players on the media route.
//!
//! Manifests are HLS playlists (RFC 8216 and its second edition) and DASH MPDs (ISO/IEC 23009-1). Every URI that would
//! lead past the route is found and replaced; all other bytes stay. The module is pure, bounded in size, depth and
//! number, and decides nothing about sessions. The gateway's media route calls [`read`] and says where URIs are to
//! lead.

mod assets;
mod charset;
mod dash;
mod edit;
mod encoding;
mod expansion;
mod hls;
mod playhead;
mod segment_endings;
mod sniff;
mod steering;
#[cfg(test)]
mod tests;
mod uri;
mod uri_rewrite;

use std::time::Duration;

pub use self::assets::asset_list;
pub use self::charset::{ManifestUtf8, utf8};
pub use self::dash::slate::{DashSlate, insert as dash_slate};
pub use self::edit::{TextEdit, apply};
pub use self::encoding::{are_decodable, decoded, decoded_start, encodings, encodings_that_exist};
pub use self::expansion::{ExpansionCount, MAX_EXPANDED_URI_BYTES, MAX_EXTRA_OUTPUT_BYTES};
pub use self::hls::slate::{PlaylistTail, continued as hls_slate, rendition as hls_rendition};
pub use self::playhead::Playheads;
pub use self::segment_endings::SegmentEndings;
pub use self::sniff::{MAX_SNIFFED_BYTES, SniffedBody, sniff};
pub use self::steering::steered;
pub use self::uri::{AbsoluteUri, UriBase, without_default_port};

/// Enough for the manifests of day-long windows; a route may configure another limit.
pub const DEFAULT_MAX_MANIFEST_BYTES: usize = 4 * 1024 * 1024;
/// Lines of a playlist, or parts of an MPD.
const MAX_MANIFEST_PARTS: usize = 400_000;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ManifestFormat {
    Dash,
    Hls,
}

/// The use of a URI.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// A list of interstitials (RFC 8216bis, `X-ASSET-LIST`).
    Assets,
    /// A URL beside the media: a clock, a report, a notice. It leads no player past the route.
    Beside,
    /// A key, or other data that is fetched once.
    Data,
    /// Another manifest.
    Manifest,
    /// A separate part of an MPD.
    Part,
    Segment,
    /// A steering list. If it cannot be bound, it is removed from the manifest.
    Steering,
}

/// The rules for editing a manifest.
pub struct EditPlan<'a> {
    /// Binds relative URIs as well, because segments do not pass through the route or the manifest stands elsewhere.
    pub all: bool,
    /// Location of the manifest at its origin.
    pub base: UriBase<'a>,
    /// Returns the URI by which a player reaches this; `None` leaves it as it is. The answer for a folder, whose path
    /// ends with `/`, holds for all files in it.
    pub bind: &'a dyn Fn(&AbsoluteUri<'_>, Purpose) -> Option<String>,
    pub cmcd: Option<&'a CmcdRequest<'a>>,
    /// A live playlist ends before the segment of this number. A playlist that has moved beyond it is refused
    /// ([`UnfitManifest::Moved`]), because its player knows none of its segments.
    pub end: Option<u64>,
    /// Variables that playlists of this playback may import, with their values.
    pub imports: &'a [(String, String)],
    /// The license URL to put into the manifest.
    pub license: Option<&'a str>,
    /// Start of the player's URIs of this playback: such URIs need no edit.
    pub own: &'a str,
    /// True for a part of an MPD, which its player inserts into the whole: its URIs have the base of that place.
    pub part: bool,
    /// Collects the paths of the segments, to find them again.
    pub playheads: bool,
    /// Query of the player's URI for this manifest.
    pub query: Option<&'a str>,
    /// Scheme, host and port as the player reaches sidebeat, for URIs that must be absolute; `None` if unknown.
    pub site: Option<&'a str>,
    /// Refuses a playlist with a URI that may lead anywhere.
    pub strict: bool,
}

impl EditPlan<'_> {
    /// True if a URI is the player's for this playback already, rooted or with sidebeat's host.
    fn is_own(&self, uri: &str) -> bool {
        let rooted = |uri: &str| uri.starts_with(self.own);
        rooted(uri) || self.site.and_then(|site| uri.strip_prefix(site)).is_some_and(rooted)
    }

    /// Adds sidebeat's host to a rooted URI.
    fn with_host(&self, uri: String) -> String {
        let rooted = uri.starts_with('/') && !uri.starts_with("//");
        self.site.filter(|_| rooted).map(|site| format!("{site}{uri}")).unwrap_or(uri)
    }
}

/// The reports to request from players, for [`EditPlan::cmcd`].
pub struct CmcdRequest<'a> {
    pub content: &'a str,
    pub session: &'a str,
}

/// The facts of a manifest that matter to a session.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ManifestFacts {
    /// Playlists with sound alone: their paths at the origin.
    pub audio: Vec<String>,
    /// Some of the named manifests and segments are fetched past the route. Data fetched once, such as a key, does not
    /// count, because it shows nothing of a player.
    pub elsewhere: bool,
    /// Name endings of the named segments, keys and other data.
    pub endings: SegmentEndings,
    /// Paths at the origin that are announced early (`#EXT-X-PRELOAD-HINT`, `#EXT-X-PREFETCH`). A request for one may
    /// wait there until it exists.
    pub hinted: Vec<String>,
    /// True if more is to come; a multivariant playlist does not say.
    pub live: Option<bool>,
    pub playheads: Playheads,
    /// Time within which a live player certainly asks for it again.
    pub reload: Option<Duration>,
    /// End of an HLS media playlist.
    pub tail: Option<PlaylistTail>,
    /// Variables of a multivariant playlist, with their values: the playlists that it names may import them.
    pub variables: Vec<(String, String)>,
}

/// A manifest's edits in order, none overlapping another, and its facts.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ManifestEdits {
    pub edits: Vec<TextEdit>,
    pub expansion: ExpansionCount,
    pub facts: ManifestFacts,
    /// Number of URIs that leave the route and were not bound.
    pub left: usize,
}

impl ManifestEdits {
    fn new(plan: &EditPlan<'_>) -> Self {
        Self { expansion: ExpansionCount::of(plan), ..Self::default() }
    }

    fn edit(&mut self, edit: TextEdit) {
        self.expansion.edit(&edit);
        self.edits.push(edit);
    }

    /// Checks that a manifest of this size is still within the bounds.
    fn check(&self, size: usize) -> Result<(), UnfitManifest> {
        if self.edits.len() > MAX_MANIFEST_PARTS { Err(UnfitManifest::Many) } else { self.expansion.check(size) }
    }
}

/// The reason why a manifest is not edited.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UnfitManifest {
    /// Not well formed, or not UTF-8.
    #[error("the manifest cannot be read")]
    Broken,
    #[error("the manifest is nested too deeply")]
    Deep,
    /// The content encoding is unknown or wrong.
    #[error("the manifest's content encoding cannot be undone")]
    Encoding,
    /// Neither a playlist nor an MPD.
    #[error("this is no manifest")]
    Foreign,
    /// The cause may be its variables, its bases or the length of its own path.
    #[error("the manifest would grow to more than twice its size")]
    Grows,
    #[error("the manifest is larger than allowed")]
    Large,
    #[error("the manifest has too many parts")]
    Many,
    /// A live playlist cannot end at a segment that it no longer has.
    #[error("the playlist has moved on")]
    Moved,
    /// Two edits replace the same bytes, which is a bug of this module. Applying half of them would lead past the
    /// route.
    #[error("the edits of the manifest overlap")]
    Overlaps,
    /// Only its player knows where some of its URIs lead.
    #[error("the playlist has a URI with a variable that nobody here knows")]
    Variable,
}

impl UnfitManifest {
    /// For metrics and refusals.
    pub fn name(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Deep => "deep",
            Self::Encoding => "encoding",
            Self::Foreign => "foreign",
            Self::Grows => "grows",
            Self::Large => "large",
            Self::Many => "many",
            Self::Moved => "moved",
            Self::Overlaps => "overlaps",
            Self::Variable => "variable",
        }
    }
}

impl ManifestFormat {
    /// The format of a media type with any parameters.
    pub fn of_media_type(text: &str) -> Option<Self> {
        let kind = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match kind.as_str() {
            "application/dash+xml" | "video/vnd.mpeg.dash.mpd" => Some(Self::Dash),
            "application/mpegurl"
            | "application/vnd.apple.mpegurl"
            | "application/x-mpegurl"
            | "audio/mpegurl"
            | "audio/x-mpegurl"
            | "vnd.apple.mpegurl" => Some(Self::Hls),
            _ => None,
        }
    }

    /// The format by the end of a path.
    pub fn of_path(path: &str) -> Option<Self> {
        let (_, extension) = path.rsplit('/').next()?.rsplit_once('.')?;
        match extension.to_ascii_lowercase().as_str() {
            "m3u" | "m3u8" => Some(Self::Hls),
            "mpd" => Some(Self::Dash),
            _ => None,
        }
    }

    pub fn media_type(self) -> &'static str {
        match self {
            Self::Dash => "application/dash+xml",
            Self::Hls => "application/vnd.apple.mpegurl",
        }
    }
}

/// Reads a manifest of at most `largest` bytes.
///
/// # Errors
/// The reason why it cannot be edited; only [`UnfitManifest::Foreign`] means that it needs no edit.
pub fn read(
    format: ManifestFormat,
    bytes: &[u8],
    plan: &EditPlan<'_>,
    largest: usize,
) -> Result<ManifestEdits, UnfitManifest> {
    if bytes.len() > largest {
        return Err(UnfitManifest::Large);
    }
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let shift = bytes.len() - text.len();
    let is_part = plan.part && format == ManifestFormat::Dash && text.trim_ascii_start().starts_with(b"<");
    if !is_part && sniff(text, true) != SniffedBody::Manifest(format) {
        return Err(UnfitManifest::Foreign);
    }
    let text = std::str::from_utf8(text).map_err(|_| UnfitManifest::Broken)?;
    let mut found = match format {
        ManifestFormat::Dash => dash::read(text, plan)?,
        ManifestFormat::Hls => hls::read(text, plan)?,
    };
    let facts = &mut found.facts;
    if let Some(tail) = facts.tail.filter(|tail| facts.live == Some(true) && tail.target_s > 0) {
        // RFC 8216 section 6.3.4.
        facts.reload = Some(Duration::from_secs(tail.target_s));
    }
    edit::in_order(&mut found.edits)?;
    found.edits.iter_mut().for_each(|edit| edit.shift(shift));
    Ok(found)
}
