//! Answers one request for a manifest or a segment: identify, first manifest, admit, fetch, edit, reply.
//!
//! This file is the pipeline, top to bottom; each stage is a file of the folder. The path names the playback. Without
//! one, `first_manifest` begins it. The sessions admit the request; `reopen` and `ended` answer where no session is
//! live. `fetch` asks the origin, `classify` and `manifest` tell and edit manifests, `relay` replies.
//!
//! The first request for a manifest opens the session, if that needs no license, and redirects the player to a
//! path of its own, below which relative URIs stay. When the session ends, manifests and segments are refused and
//! transfers are cut; a blackout shows its slate.

mod classify;
mod cookies;
mod ended;
mod fetch;
mod first_manifest;
mod head_probe;
mod manifest;
mod manifest_edit;
mod media_memory;
mod paths;
mod player_report;
mod relay;
mod reopen;
mod replies;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::request::Parts;
use http::{Method, Request, Response, StatusCode};

use self::fetch::OriginFailure;
use self::first_manifest::FirstCall;
pub use self::media_memory::MediaMemory;
use self::media_memory::PlaybackMedia;
use self::paths::{MediaDocument, MediaTarget, PlaybackPaths};
use self::replies::{
    BLACKED_OUT, FOREIGN, MediaKind, MediaOutcome, NOT_HERE, ORIGIN, UNKNOWN, UNKNOWN_MEDIA, is_manifest, redirect,
    refusal, told,
};
use super::Gateway;
use super::identity::account::network;
use super::identity::caller::CallerNames;
use super::route::GatewayRoute;
use crate::authority::Authority;
use crate::config::{EndpointUrl, MediaRouteSettings};
use crate::edge::own_replies::EdgeRefusal;
use crate::edge::{OutgoingBody, Peer, RequestBody};
use crate::ids::PlaybackId;
use crate::registrations::{self, Registration};
use crate::secret::Fingerprint;
use crate::session::{MediaFetch, MediaNames, PlayerReport};
use crate::sessions::{DeviceKey, Fetched, MediaFlow};
use crate::telemetry::Metrics;

/// Time for which a player may still fetch the programme after its blackout, because it has yet to ask for a
/// manifest.
const BLACKOUT_CHANGEOVER_TIME: Duration = Duration::from_secs(10);

/// A request below a playback's own path.
struct MediaCall<'a> {
    request: &'a Parts,
    authority: Option<&'a Arc<Authority>>,
    gateway: &'a Gateway,
    key: Option<DeviceKey>,
    media: &'a MediaRouteSettings,
    peer: &'a Peer,
    registration: &'a Arc<Registration>,
    route: &'a Arc<GatewayRoute>,
    playback: &'a Arc<PlaybackMedia>,
}

impl Gateway {
    pub(super) async fn media(
        &self,
        route: &Arc<GatewayRoute>,
        media: &MediaRouteSettings,
        peer: &Peer,
        rest: &str,
        request: Request<RequestBody>,
    ) -> Response<OutgoingBody> {
        let (request, _) = request.into_parts();
        let now = self.clock.now();
        let found = self.registrations.below(now, rest);
        if let Some(refused) = found.as_ref().and_then(|(found, _)| self.refuse_blackout(route, peer, found, &request))
        {
            return refused;
        }
        if !matches!(request.method, Method::GET | Method::HEAD) {
            let (status, error) = (StatusCode::METHOD_NOT_ALLOWED, "method");
            return told(EdgeRefusal { status, error, detail: "media is asked for by GET or HEAD", close: false });
        }
        let Some((registration, below)) = found else {
            let response = self.without_playback(route, peer, rest, &request).await;
            return self
                .naming(response, || self.caller_names(route, peer, rest, &request.headers, request.uri.query()));
        };
        let caller = || CallerNames::of_registered(&registration, peer);
        if !route.may_have(&registration) {
            return self.naming(told(UNKNOWN), caller);
        }
        let playback = self.media_memory.playback(now, registration.id);
        let authority = route.authority.as_ref().filter(|_| registration.authority.is_some());
        let key = authority
            .map(|authority| DeviceKey::new(&authority.name, registration.device_source, &registration.device));
        self.guard(route, peer, key);
        let call = MediaCall {
            request: &request,
            authority,
            gateway: self,
            key,
            media,
            peer,
            registration: &registration,
            route,
            playback: &playback,
        };
        let response = call.answer(below).await;
        self.naming(response, || call.caller())
    }
}

impl Gateway {
    /// Registers a playback for a caller of this network.
    pub(super) fn register(&self, network: Fingerprint, registration: Registration) {
        let displaced = self.registrations.insert_of(self.clock.now(), network, registration);
        forget_displaced(&displaced, &self.media_memory, &self.telemetry.metrics);
    }
}

/// Forgets registrations beyond their network's share, with their playbacks.
fn forget_displaced(displaced: &[PlaybackId], memory: &MediaMemory, metrics: &Metrics) {
    displaced.iter().for_each(|id| memory.forget(*id));
    metrics.registrations_displaced(displaced.len());
}

impl MediaCall<'_> {
    async fn answer(&self, below: &str) -> Response<OutgoingBody> {
        if self.is_foreign(below) {
            return self.refused(MediaKind::Manifest, FOREIGN);
        }
        if let Some(refusal) = self.route.blackout_of(self.registration) {
            return self.answer_dark(below, &refusal).await;
        }
        if paths::is_of_slate(below) && self.blackout().is_none() {
            // The blackout may be forgotten by now, but its slate is no programme.
            return self.ended_or_refused(BLACKED_OUT);
        }
        let map = self.map(None);
        if below.starts_with(registrations::CONTENT) && self.registration.content_url.is_some() {
            return self.redirect_to_content(&map);
        }
        let Some(target) = map.target(below) else { return self.answer_slate(below).await };
        match self.asks_for(&target) {
            // A HEAD plays nothing, so it opens no session.
            MediaFlow::Absent if self.request.method == Method::HEAD && is_manifest(&target.path) => {
                self.pass(&map, &target).await
            }
            MediaFlow::Absent if self.is_authorized() && is_manifest(&target.path) => self.begin(&map, &target).await,
            MediaFlow::Over(refusal, since) => self.over(target, &refusal, since).await,
            // The session is forgotten, so this request begins a new one.
            MediaFlow::Absent if self.is_bound() => match self.begin_again(&target).await {
                Some(begun) => begun,
                None if is_manifest(&target.path) => {
                    let Self { gateway, peer, registration, request, route, .. } = *self;
                    let known = Some(&**registration);
                    FirstCall { gateway, known, own: true, peer, request, rest: below, route }.answer().await
                }
                None => self.refused(MediaKind::Segment, UNKNOWN),
            },
            MediaFlow::Absent | MediaFlow::Goes => self.pass(&map, &target).await,
        }
    }

    /// The device that began the playback, and the account of its session.
    pub(super) fn caller(&self) -> CallerNames {
        let account = self.key.and_then(|key| self.gateway.sessions.account(key, self.registration.token()));
        let names = self.gateway.names_of(self.registration, self.peer);
        match account {
            Some(account) if names.account.as_ref() != Some(&account) => {
                CallerNames { account: Some(account), is_proven: false, ..names }
            }
            Some(_) | None => names,
        }
    }

    /// Redirects a player that was given the bare playback to its content.
    fn redirect_to_content(&self, map: &PlaybackPaths<'_>) -> Response<OutgoingBody> {
        map.content(self.own_query())
            .map_or_else(|| self.refused(MediaKind::Manifest, NOT_HERE), |path| redirect(&path))
    }

    pub(super) fn map<'a>(&'a self, slate: Option<&'a EndpointUrl>) -> PlaybackPaths<'a> {
        PlaybackPaths { media: self.media, registration: self.registration, route: self.route, slate }
    }

    /// True if a session was opened for the playback, perhaps before a restart. Where media opens sessions, every
    /// playback without an authorization has had one.
    fn is_bound(&self) -> bool {
        let opens = self.authority.is_some_and(|authority| authority.opens_for_media());
        self.playback.bound.load(Ordering::Relaxed) || (opens && self.registration.block.is_none())
    }

    /// Decides whether the media may flow. If so, this request is a sign of its player's life.
    fn asks_for(&self, target: &MediaTarget) -> MediaFlow {
        let segment = target.document == MediaDocument::Media && self.playback.learned().format(&target.path).is_none();
        self.flow(segment, self.report(target))
    }

    fn flow(&self, segment: bool, report: Option<PlayerReport>) -> MediaFlow {
        let Some(key) = self.key else { return MediaFlow::Goes };
        let media = self.media(segment, report);
        let flow = self.gateway.sessions.fetched(key, self.names(), Fetched { media, report });
        self.playback.bound.fetch_or(flow == MediaFlow::Goes, Ordering::Relaxed);
        flow
    }

    /// Names by which the playback's session is known.
    pub(super) fn names(&self) -> MediaNames {
        MediaNames::from(&**self.registration)
    }

    fn media(&self, segment: bool, report: Option<PlayerReport>) -> MediaFetch {
        let learned = self.playback.learned();
        let stream = report.and_then(|report| report.stream).or_else(|| learned.stream());
        MediaFetch { again: learned.again(self.media.direct), leads_past: learned.leads_past(), segment, stream }
    }

    fn failed(&self, kind: MediaKind, failure: &OriginFailure) -> Response<OutgoingBody> {
        self.count(kind, MediaOutcome::Failed);
        self.gateway.telemetry.metrics.upstream_fault(&self.route.path, failure.name());
        let network = network(self.peer.address);
        if self.gateway.telemetry.may_write("origin", &self.registration.device, network) {
            let device = self.gateway.telemetry.shown(&self.registration.device);
            let (route, fault) = (&*self.route.path, failure.name());
            tracing::info!(route, device, fault, "the origin could not be used");
        }
        told(ORIGIN)
    }

    fn refused(&self, kind: MediaKind, refusal: EdgeRefusal) -> Response<OutgoingBody> {
        self.count(kind, MediaOutcome::Refused);
        told(refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn playbacks_that_are_forgotten_for_others_of_their_network_are_counted() {
        let (memory, metrics) = <(MediaMemory, Metrics)>::default();
        let ids = [PlaybackId::random(), PlaybackId::random()];
        let [one, other] = ids.map(|id| memory.playback(Clock.now(), id));
        forget_displaced(&[], &memory, &metrics);
        forget_displaced(&ids, &memory, &metrics);
        assert_eq!((Arc::strong_count(&one), Arc::strong_count(&other)), (1, 1), "nothing else knows of them");
        let page = metrics.render(|_| {});
        assert!(page.contains("sidebeat_registrations_displaced_total 2\n"), "{page}");
    }
}
