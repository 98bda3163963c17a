//! The table of all tags of a playlist with a URI; `docs/media.md` gives the reasons. The HLS parser looks them up.

use super::super::Purpose;
use super::super::uri_rewrite::UriUsage;

/// An attribute that is a URI.
pub(in super::super) struct HlsUriAttribute {
    /// Empty for the tag's whole value.
    pub(in super::super) name: &'static str,
    pub(in super::super) tag: &'static str,
    pub(in super::super) usage: UriUsage,
}

impl HlsUriAttribute {
    pub(in super::super) fn is_document(&self) -> bool {
        matches!(self.usage.purpose, Purpose::Assets | Purpose::Manifest)
    }
}

const fn row(tag: &'static str, name: &'static str, purpose: Purpose, absolute: bool) -> HlsUriAttribute {
    HlsUriAttribute { name, tag, usage: UriUsage { absolute, purpose } }
}

pub(in super::super) const URI_ATTRIBUTES: [HlsUriAttribute; 14] = [
    row("#EXT-X-CONTENT-STEERING", "SERVER-URI", Purpose::Steering, false),
    row("#EXT-X-DATERANGE", "X-ASSET-LIST", Purpose::Assets, true),
    row("#EXT-X-DATERANGE", "X-ASSET-URI", Purpose::Manifest, true),
    row("#EXT-X-I-FRAME-STREAM-INF", "URI", Purpose::Manifest, false),
    row("#EXT-X-IMAGE-STREAM-INF", "URI", Purpose::Manifest, false),
    row("#EXT-X-KEY", "URI", Purpose::Data, false),
    row("#EXT-X-MAP", "URI", Purpose::Segment, false),
    row("#EXT-X-MEDIA", "URI", Purpose::Manifest, false),
    row("#EXT-X-PART", "URI", Purpose::Segment, false),
    row("#EXT-X-PREFETCH", "", Purpose::Segment, false),
    row("#EXT-X-PRELOAD-HINT", "URI", Purpose::Segment, false),
    row("#EXT-X-RENDITION-REPORT", "URI", Purpose::Manifest, false),
    row("#EXT-X-SESSION-DATA", "URI", Purpose::Data, false),
    row("#EXT-X-SESSION-KEY", "URI", Purpose::Data, false),
];

/// Tags whose URI may be requested before it exists.
pub(in super::super) const ANNOUNCING_TAGS: [&str; 2] = ["#EXT-X-PREFETCH", "#EXT-X-PRELOAD-HINT"];

/// Unknown tags: an attribute `URI` is a URI in every tag.
pub(in super::super) const UNKNOWN_TAG: HlsUriAttribute = row("", "URI", Purpose::Data, false);
