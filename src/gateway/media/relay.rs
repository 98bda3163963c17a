//! Relays a document from its server to the player: edits a manifest, passes a segment as it comes.

use http::header::LOCATION;
use http::{Method, Response, StatusCode};

use super::classify::ReplyContent;
use super::counts::{MediaKind, MediaOutcome};
use super::guarded_body::GuardedBody;
use super::paths::{MediaDocument, MediaTarget, PlaybackPaths};
use super::peeked_body::MediaReply;
use super::replies::{CIRCLE, ELSEWHERE, UNKNOWN_MEDIA, redirect};
use super::{MediaCall, classify, fetch, manifest};
use crate::edge::OutgoingBody;
use crate::gateway::server_headers;
use crate::manifest::{ManifestFormat, UnfitManifest};

/// The same name as for a license server.
const CIRCLE_FAULT: &str = "redirect_loop";

impl MediaCall<'_> {
    pub(super) async fn pass(&self, map: &PlaybackPaths<'_>, target: &MediaTarget) -> Response<OutgoingBody> {
        match target.document {
            MediaDocument::Assets | MediaDocument::Steering => return self.list(map, target).await,
            MediaDocument::Part => return self.manifest(map, target, None).await,
            MediaDocument::Media => {}
        }
        if ManifestFormat::of_path(&target.path).is_some() {
            return self.manifest(map, target, None).await;
        }
        let mut reply = match self.fetch(target, false).await {
            Ok(streamed) => MediaReply::from(streamed),
            Err(failure) => return self.failed(MediaKind::Segment, &failure),
        };
        let mut seen = ReplyContent::Media;
        if reply.status.is_success() {
            seen = match classify::look(&self.request.method, &target.path, &mut reply).await {
                Ok(seen) => seen,
                Err(failure) => return self.failed(MediaKind::Segment, &failure),
            };
        }
        match seen {
            // A part of a manifest cannot be edited.
            ReplyContent::Manifest if reply.status == StatusCode::PARTIAL_CONTENT => {
                drop(reply);
                return self.manifest(map, target, None).await;
            }
            ReplyContent::Manifest => return self.manifest(map, target, Some(reply)).await,
            ReplyContent::MisencodedManifest => {
                return self.instead(map, target, manifest::NoManifest::Unfit(UnfitManifest::Encoding));
            }
            // A path with an ending that this playback's manifests name is media.
            ReplyContent::Unknown if self.playback.learned().endings.has(&target.path) => seen = ReplyContent::Media,
            ReplyContent::Encoded => {
                self.gateway.telemetry.metrics.manifest_unfit(&self.route.path, UnfitManifest::Encoding.name());
            }
            ReplyContent::Media | ReplyContent::Unknown => {}
        }
        // The server may have been silent for long.
        if let Some(refusal) = self.killed() {
            return self.turned(MediaKind::Segment, &refusal);
        }
        let known = seen == ReplyContent::Media;
        let kind = if known { MediaKind::Segment } else { MediaKind::Other };
        if !known && self.media.strict {
            return self.refused(kind, UNKNOWN_MEDIA);
        }
        if reply.status.is_success() || reply.status == StatusCode::NOT_MODIFIED {
            self.got();
        }
        self.count(kind, MediaOutcome::Passed);
        self.onward(map, target, reply)
    }

    /// Passes a redirect to the player, which follows it and comes back here.
    fn sent_on(&self, path: &str) -> Response<OutgoingBody> {
        let path_asked = self.request.uri.path_and_query().map_or("/", |asked| asked.as_str());
        if self.playback.learned().redirects.send(self.gateway.clock.now(), path_asked, path) {
            return redirect(path);
        }
        self.gateway.telemetry.metrics.upstream_fault(&self.route.path, CIRCLE_FAULT);
        self.refused(MediaKind::Segment, CIRCLE)
    }

    /// Tells the session that its player got media.
    pub(super) fn got(&self) {
        if let Some(key) = self.key.filter(|_| self.request.method == Method::GET) {
            self.gateway.sessions.used(key, self.names());
        }
    }

    /// Passes a reply on as it comes.
    pub(super) fn onward(
        &self,
        map: &PlaybackPaths<'_>,
        target: &MediaTarget,
        reply: MediaReply,
    ) -> Response<OutgoingBody> {
        let MediaReply { body, mut headers, status } = reply;
        if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
            let location = headers.get(LOCATION).and_then(|location| location.to_str().ok());
            let bound = location.and_then(|location| manifest::bound(map, target, location));
            return bound.map_or_else(|| self.refused(MediaKind::Segment, ELSEWHERE), |path| self.sent_on(&path));
        }
        server_headers::take_off(&mut headers);
        fetch::unreferred(&mut headers);
        let mut response = Response::new(OutgoingBody::stream(GuardedBody::new(body, self)));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}
