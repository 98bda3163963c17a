//! Relays a document from its server to the player: edits a manifest, passes a segment as it comes, and cuts it when
//! its playback ends.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::header::LOCATION;
use http::{Method, Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::futures::OwnedNotified;

use super::classify::{self, MediaReply, PeekedBody, ReplyContent};
use super::media_memory::PlaybackMedia;
use super::paths::{MediaDocument, MediaTarget, PlaybackPaths};
use super::replies::{CIRCLE, ELSEWHERE, MediaKind, MediaOutcome, UNKNOWN_MEDIA, redirect};
use super::{MediaCall, fetch, manifest};
use crate::clock::Clock;
use crate::edge::{CutReply, OutgoingBody, passed_on};
use crate::manifest::{ManifestFormat, UnfitManifest};
use crate::session::{MediaNames, SessionKill, SessionRefusal};
use crate::sessions::{DeviceKey, MediaFlow, Sessions};
use crate::telemetry::Telemetry;

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
        fetch::unreferred(&mut headers);
        passed_on(status, headers, OutgoingBody::stream(GuardedBody::new(body, self)))
    }
}

pub(super) struct GuardedBody {
    body: PeekedBody,
    bytes: Counter,
    watch: Option<PlaybackWatch>,
}

/// Checks the playback whenever the device's state has changed.
pub(super) struct PlaybackWatch {
    /// `None` at first, and while no session is known: then every poll looks.
    change: Option<Pin<Box<OwnedNotified>>>,
    clock: Clock,
    key: DeviceKey,
    names: MediaNames,
    playback: Arc<PlaybackMedia>,
    sessions: Arc<Sessions>,
    telemetry: Arc<Telemetry>,
}

impl GuardedBody {
    pub(super) fn new(body: PeekedBody, story: &MediaCall<'_>) -> Self {
        let bytes = story.gateway.telemetry.metrics.media_bytes(&story.route.path);
        Self { body, bytes, watch: story.key.map(|key| PlaybackWatch::new(story, key)) }
    }
}

impl PlaybackWatch {
    fn new(story: &MediaCall<'_>, key: DeviceKey) -> Self {
        let (gateway, names) = (story.gateway, story.names());
        let (sessions, telemetry) = (gateway.sessions.clone(), gateway.telemetry.clone());
        let playback = story.playback.clone();
        Self { change: None, clock: gateway.clock, key, names, playback, sessions, telemetry }
    }

    /// True if the playback is over. The first look waits for no change, because the playback may have ended
    /// while its server was silent.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            if self.change.as_mut().is_some_and(|change| change.as_mut().poll(cx).is_pending()) {
                return false;
            }
            // Subscribed before the look, so that no change falls between the two.
            self.change = self.sessions.change(self.key, self.names).map(Box::pin);
            match self.sessions.flow(self.key, self.names) {
                MediaFlow::Absent => return false,
                MediaFlow::Goes => {}
                // The player switches to the slate and may finish the running transfer.
                MediaFlow::Over(SessionRefusal::Killed(SessionKill::Blackout(_)), _) => {}
                MediaFlow::Over(
                    refusal @ (SessionRefusal::Denied(..)
                    | SessionRefusal::Ended(_)
                    | SessionRefusal::Expired
                    | SessionRefusal::Killed(SessionKill::Plain(_))
                    | SessionRefusal::Unreachable(_)),
                    since,
                ) => {
                    self.measure(&refusal, since);
                    return true;
                }
            }
        }
    }

    fn measure(&self, refusal: &SessionRefusal, since: Option<Instant>) {
        if let (SessionRefusal::Killed(_), Some(since)) = (refusal, since) {
            self.playback.effective.store(true, Ordering::Relaxed);
            self.telemetry.metrics.kill_effective(self.clock.now().saturating_duration_since(since));
        }
    }
}

impl Body for GuardedBody {
    type Data = Bytes;
    type Error = CutReply;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutReply>>> {
        if self.watch.as_mut().is_some_and(|watch| watch.is_over(cx)) {
            self.watch = None;
            return Poll::Ready(Some(Err(CutReply)));
        }
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            self.bytes.inc_by(frame.data_ref().map_or(0, |data| data.len() as u64));
        }
        frame.map_err(|fault| {
            tracing::debug!(fault = fault.name(), "a transfer broke off");
            CutReply
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
