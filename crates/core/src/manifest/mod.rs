//! What a manifest says, and the edits that keep its player on the media route.
//!
//! HLS playlists (RFC 8216 and its second edition) and DASH MPDs (ISO/IEC 23009-1): every URI that would lead
//! past the route is found and replaced; what is not replaced stays byte for byte. Pure: bytes in, edits and
//! facts out; bounded in size, depth and number; decides nothing about sessions. The gateway's media route
//! calls it, and says where URIs are to lead.

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

/// Larger than the manifests of day-long windows; a route may say otherwise.
pub const DEFAULT_MAX_MANIFEST_BYTES: usize = 4 * 1024 * 1024;
/// Lines of a playlist, or parts of an MPD.
const MAX_MANIFEST_PARTS: usize = 400_000;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ManifestFormat {
    Dash,
    Hls,
}

/// What a URI is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// A list of what is inserted (RFC 8216bis, `X-ASSET-LIST`).
    Assets,
    /// Beside the media: a clock, a report, a notice. It leads no player past the route.
    Beside,
    /// A key, or other data that is fetched once.
    Data,
    /// Another manifest.
    Manifest,
    /// A part of an MPD, which stands by itself.
    Part,
    Segment,
    /// A steering list. Where it cannot be bound, the manifest goes without.
    Steering,
}

/// What is done to a manifest.
pub struct EditPlan<'a> {
    /// Relative URIs are bound as well: segments do not pass through the route, or the manifest stands elsewhere.
    pub all: bool,
    /// Where the manifest stands at its origin.
    pub base: UriBase<'a>,
    /// The URI by which a player reaches this; none: it stays as it is. What it says of a folder, whose path
    /// ends with `/`, holds for all that is in it.
    pub bind: &'a dyn Fn(&AbsoluteUri<'_>, Purpose) -> Option<String>,
    pub cmcd: Option<&'a CmcdRequest<'a>>,
    /// A live playlist ends before the segment of this number. One that has moved beyond it cannot ([`UnfitManifest::Moved`]):
    /// whatever it has is unknown to its player.
    pub end: Option<u64>,
    /// Variables that playlists of this playback may import, with their values.
    pub imports: &'a [(String, String)],
    /// Where licenses are asked for, in place of what the manifest says.
    pub license: Option<&'a str>,
    /// What the player's URIs of this playback begin with: they are in place already.
    pub own: &'a str,
    /// It is a part of an MPD, which its player puts into the whole: URIs begin where they do there.
    pub part: bool,
    /// Whether a playlist's segments are to be found by their paths.
    pub playheads: bool,
    /// Of the player's URI for this.
    pub query: Option<&'a str>,
    /// Scheme, host and port as the player reaches us, for URIs that must be absolute. None: they cannot be.
    pub site: Option<&'a str>,
    /// A playlist with a URI that may lead anywhere is refused.
    pub strict: bool,
}

impl EditPlan<'_> {
    /// Whether a URI is one of the player's for this playback already, rooted or with our host.
    fn is_own(&self, uri: &str) -> bool {
        let rooted = |uri: &str| uri.starts_with(self.own);
        rooted(uri) || self.site.and_then(|site| uri.strip_prefix(site)).is_some_and(rooted)
    }

    /// A rooted URI of ours with our host.
    fn with_host(&self, uri: String) -> String {
        let rooted = uri.starts_with('/') && !uri.starts_with("//");
        self.site.filter(|_| rooted).map(|site| format!("{site}{uri}")).unwrap_or(uri)
    }
}

/// What players are told to report, for [`EditPlan::cmcd`].
pub struct CmcdRequest<'a> {
    pub content: &'a str,
    pub session: &'a str,
}

/// What a manifest says that matters to a session.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ManifestFacts {
    /// Sound alone, as the player's playlists go: their paths at the origin.
    pub audio: Vec<String>,
    /// Some of the manifests and segments that it names are fetched past the route. What is fetched once, such as a
    /// key, shows nothing of a player.
    pub elsewhere: bool,
    /// Of the segments, keys and other data that it names.
    pub endings: SegmentEndings,
    /// What is announced before it is there (`#EXT-X-PRELOAD-HINT`, `#EXT-X-PREFETCH`): paths at the origin. A request
    /// for it may wait there until it is.
    pub hinted: Vec<String>,
    /// Whether more is to come; a multivariant playlist does not say.
    pub live: Option<bool>,
    pub playheads: Playheads,
    /// Within which time a player of something live asks for it again, if that is certain.
    pub reload: Option<Duration>,
    /// Of an HLS media playlist.
    pub tail: Option<PlaylistTail>,
    /// Of a multivariant playlist, with their values: those that it names may import them.
    pub variables: Vec<(String, String)>,
}

/// The edits in the order of the bytes, none overlapping another.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ManifestEdits {
    pub edits: Vec<TextEdit>,
    pub expansion: ExpansionCount,
    pub facts: ManifestFacts,
    /// URIs that would leave the route and were not bound.
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

    /// Whether a manifest of this size may still be read on.
    fn check(&self, size: usize) -> Result<(), UnfitManifest> {
        if self.edits.len() > MAX_MANIFEST_PARTS { Err(UnfitManifest::Many) } else { self.expansion.check(size) }
    }
}

/// Why a manifest is not edited.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UnfitManifest {
    /// Not well formed, or not UTF-8.
    #[error("the manifest cannot be read")]
    Broken,
    #[error("the manifest is nested too deeply")]
    Deep,
    /// Its content encoding is unknown, or not what it says.
    #[error("the manifest's content encoding cannot be undone")]
    Encoding,
    /// Neither a playlist nor an MPD.
    #[error("this is no manifest")]
    Foreign,
    /// By its variables, its bases or the length of its own path.
    #[error("the manifest would grow to more than twice its size")]
    Grows,
    #[error("the manifest is larger than allowed")]
    Large,
    #[error("the manifest has too many parts")]
    Many,
    /// A live playlist cannot end at a segment that it has no more.
    #[error("the playlist has moved on")]
    Moved,
    /// Two edits want the same bytes: a mistake of ours. Half of them would lead past the route.
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
    /// By the media type of a reply, whatever parameters follow it.
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

    /// By the end of a path.
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
/// Why it cannot be edited; [`UnfitManifest::Foreign`] alone means that nothing in it needs to be.
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
