//! Fixed replies in place of media, the endings by which paths are recognised, and the count of requests by kind and
//! outcome.

use http::header::LOCATION;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};

use super::MediaCall;
use crate::edge::own_replies::{self, EdgeRefusal};
use crate::edge::{OutgoingBody, Peer};
use crate::gateway::Gateway;
use crate::gateway::refusal::ViewerCall;
use crate::gateway::route::GatewayRoute;
use crate::manifest::ManifestFormat;
use crate::session::AskKind;
use crate::telemetry::MediaLabels;

pub(super) const BLACKED_OUT: EdgeRefusal =
    refusal(StatusCode::FORBIDDEN, "blackout", "this programme was blacked out, and its slate is over");
// An origin may mend its redirects, so this is a 5xx, like its other faults.
pub(super) const CIRCLE: EdgeRefusal =
    refusal(StatusCode::BAD_GATEWAY, "origin_redirect_loop", "the origin's redirects do not end");
pub(super) const ELSEWHERE: EdgeRefusal =
    refusal(StatusCode::FORBIDDEN, "origin_redirect", "the origin sends us elsewhere");
pub(super) const FOREIGN: EdgeRefusal =
    refusal(StatusCode::FORBIDDEN, "foreign_playback", "another device began this playback");
pub(super) const NO_PLAYBACK: EdgeRefusal =
    refusal(StatusCode::NOT_FOUND, "playback_missing", "segments are below a playback's own path: ask for a manifest");
pub(super) const NOT_HERE: EdgeRefusal =
    refusal(StatusCode::NOT_FOUND, "media_path", "this playback has nothing at this path");
// Players retry segments and manifests after a 5xx, with pauses, and give up at a 4xx.
pub(super) const ORIGIN: EdgeRefusal =
    refusal(StatusCode::BAD_GATEWAY, "origin_unavailable", "the origin could not be used");
pub(super) const UNKNOWN: EdgeRefusal =
    refusal(StatusCode::NOT_FOUND, "playback_unknown", "no playback is known by this path");

pub(super) const UNKNOWN_MEDIA: EdgeRefusal =
    refusal(StatusCode::FORBIDDEN, "media_unknown", "this is neither a manifest nor a segment that is known");

pub(super) const fn refusal(status: StatusCode, error: &'static str, detail: &'static str) -> EdgeRefusal {
    EdgeRefusal { status, error, detail, close: false }
}

pub(super) fn told(refusal: EdgeRefusal) -> Response<OutgoingBody> {
    refusal.reply().map(OutgoingBody::from)
}

pub(super) fn viewer_call<'a>(peer: &Peer, request: &'a Parts) -> ViewerCall<'a> {
    ViewerCall { authority: request.uri.authority(), headers: &request.headers, tls: peer.tls }
}

pub(super) fn redirect(path: &str) -> Response<OutgoingBody> {
    let mut response = own_replies::empty(StatusCode::FOUND);
    let Ok(location) = HeaderValue::from_str(path) else { return told(NOT_HERE) };
    response.headers_mut().insert(LOCATION, location);
    response.map(OutgoingBody::from)
}

/// Path endings of segments. Anything else may be a manifest.
const SEGMENTS: [&str; 37] = [
    "aac", "ac3", "ac4", "cmfa", "cmfm", "cmft", "cmfv", "dfxp", "ec3", "flac", "gif", "init", "jpeg", "jpg", "key",
    "m2ts", "m4a", "m4f", "m4i", "m4s", "m4v", "mkv", "mp3", "mp4", "mp4a", "mp4v", "ogg", "opus", "png", "srt", "ts",
    "ttml", "vtt", "webm", "webp", "webvtt", "wvtt",
];

pub(super) fn is_manifest(path: &str) -> bool {
    ManifestFormat::of_path(path).is_some() || !is_segment(path)
}

pub(super) fn is_segment(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.rsplit_once('.').is_some_and(|(_, end)| SEGMENTS.iter().any(|known| end.eq_ignore_ascii_case(known)))
}

/// Error name where no authority defines one.
pub(super) fn no_event(_: AskKind) -> &'static str {
    ""
}

/// The kind of a request for media; a label of its metric.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum MediaKind {
    Manifest,
    /// Neither a manifest nor recognised as media.
    Other,
    Segment,
}

/// Outcome of a request for media; a label of its metric.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum MediaOutcome {
    /// A killed live playlist was ended behind the last segment that its player knows.
    Ended,
    Failed,
    Passed,
    Refused,
    Slate,
}

impl MediaKind {
    fn name(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Other => "other",
            Self::Segment => "segment",
        }
    }
}

impl MediaOutcome {
    fn name(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Failed => "failed",
            Self::Passed => "passed",
            Self::Refused => "refused",
            Self::Slate => "slate",
        }
    }
}

impl Gateway {
    pub(super) fn count_media(&self, route: &GatewayRoute, kind: MediaKind, outcome: MediaOutcome) {
        let labels = MediaLabels { kind: kind.name(), outcome: outcome.name(), route: route.path.clone() };
        self.telemetry.metrics.media_request(&labels);
    }
}

impl MediaCall<'_> {
    pub(super) fn count(&self, kind: MediaKind, outcome: MediaOutcome) {
        self.gateway.count_media(self.route, kind, outcome);
    }
}
