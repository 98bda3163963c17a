//! Answers requests of a playback that is over: with its slate, an end of its playlist, or the reason.
//!
//! The slate of a blacked-out playback comes in the format that the player asks for. A live playlist goes on with the
//! slate's segments, a live MPD with its period; a playback that only begins gets the slate as it is. The programme's
//! own segments stay available for a moment.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{Method, Response};

use super::manifest::{FetchedManifest, NoManifest};
use super::paths::{MediaTarget, PlaybackPaths};
use super::replies::{MediaKind, MediaOutcome, is_manifest, no_event, viewer_call};
use super::{BLACKOUT_CHANGEOVER_TIME, MediaCall, NOT_HERE};
use crate::config::EndpointUrl;
use crate::edge::own_replies::EdgeRefusal;
use crate::edge::{OutgoingBody, Peer};
use crate::gateway::Gateway;
use crate::gateway::identity::caller::CallerNames;
use crate::gateway::refusal::{LicensePhase, RefusalBody, RefusedCall};
use crate::gateway::route::GatewayRoute;
use crate::manifest::{self, DashSlate, ManifestFacts, ManifestFormat};
use crate::registrations::{self, Registration};
use crate::session::{self, AskKind, SessionKill, SessionRefusal};
use crate::sessions::MediaFlow;

impl MediaCall<'_> {
    pub(super) async fn over(
        &self,
        target: MediaTarget,
        refusal: &session::SessionRefusal,
        since: Option<Instant>,
    ) -> Response<OutgoingBody> {
        if let (Some(slate), Some(since)) = (slate_of(refusal), since) {
            return self.blacked_out(target, &SlateBlackout { refusal: refusal.clone(), since, slate }).await;
        }
        let manifest = is_manifest(&target.path);
        if self.takes_back(refusal)
            && let Some(begun) = self.begin_again(&target).await
        {
            return begun;
        }
        if let session::SessionRefusal::Killed(_) = refusal
            && !self.playback.effective.swap(true, Ordering::Relaxed)
        {
            // No transfer was under way at the kill.
            self.gateway.telemetry.metrics.kill_effective(Duration::ZERO);
        }
        let kind = if manifest { MediaKind::Manifest } else { MediaKind::Segment };
        self.ended_or_turned(kind, &target, refusal, None).await
    }

    /// Ends the playlist if the route wants that, else refuses. `fetched` is the manifest, if it has come already.
    pub(super) async fn ended_or_turned(
        &self,
        kind: MediaKind,
        target: &MediaTarget,
        refusal: &session::SessionRefusal,
        fetched: Option<FetchedManifest>,
    ) -> Response<OutgoingBody> {
        if self.media.end_playlists
            && matches!(refusal, session::SessionRefusal::Ended(_) | session::SessionRefusal::Killed(_))
            && self.playback.learned().format(&target.path) == Some(ManifestFormat::Hls)
            && let Some(ended) = self.ended(target, fetched).await
        {
            return ended;
        }
        self.turned(kind, refusal)
    }

    pub(super) fn turned(&self, kind: MediaKind, refusal: &session::SessionRefusal) -> Response<OutgoingBody> {
        let event = self.authority.map_or(no_event as fn(AskKind) -> &'static str, |authority| authority.error_name());
        let turned = RefusalBody::by_refusal(refusal, LicensePhase::License, AskKind::Beat, event);
        self.count(kind, MediaOutcome::Refused);
        let (caller, viewer) = (&self.caller(), Some(viewer_call(self.peer, self.request)));
        let call = RefusedCall { caller, license: None, phase: LicensePhase::License, route: self.route, viewer };
        self.gateway.refuse_call(&call, &turned).map(OutgoingBody::from)
    }

    /// The kill of this playback, if there is one by now and no slate follows it.
    pub(super) fn killed(&self) -> Option<session::SessionRefusal> {
        match self.gateway.sessions.flow(self.key?, self.names()) {
            MediaFlow::Over(refusal @ session::SessionRefusal::Killed(_), _) => {
                slate_of(&refusal).is_none().then_some(refusal)
            }
            MediaFlow::Absent | MediaFlow::Goes | MediaFlow::Over(..) => None,
        }
    }

    /// Refuses with the reason why the playback is over, unless its player can take that end back; else with
    /// `otherwise`.
    pub(super) fn ended_or_refused(&self, otherwise: EdgeRefusal) -> Response<OutgoingBody> {
        let flow = self.key.map(|key| self.gateway.sessions.flow(key, self.names()));
        match flow {
            Some(MediaFlow::Over(refusal, _)) if !self.takes_back(&refusal) => {
                self.turned(MediaKind::Segment, &refusal)
            }
            Some(MediaFlow::Absent | MediaFlow::Goes | MediaFlow::Over(..)) | None => {
                self.refused(MediaKind::Segment, otherwise)
            }
        }
    }

    /// The playback's blackout, if it has one with a slate now.
    pub(super) fn blackout(&self) -> Option<SlateBlackout> {
        match self.gateway.sessions.flow(self.key?, self.names()) {
            MediaFlow::Over(refusal, Some(since)) => Some(SlateBlackout { slate: slate_of(&refusal)?, refusal, since }),
            MediaFlow::Absent | MediaFlow::Goes | MediaFlow::Over(_, None) => None,
        }
    }
}

fn slate_of(refusal: &session::SessionRefusal) -> Option<EndpointUrl> {
    match refusal {
        session::SessionRefusal::Killed(SessionKill::Blackout(dark)) => dark.blackout.url.clone(),
        session::SessionRefusal::Denied(..)
        | session::SessionRefusal::Ended(_)
        | session::SessionRefusal::Expired
        | session::SessionRefusal::Killed(SessionKill::Plain(_))
        | session::SessionRefusal::Unreachable(_) => None,
    }
}

/// A blackout that shows a slate.
pub(super) struct SlateBlackout {
    /// The reply to requests that the slate cannot answer.
    pub(super) refusal: SessionRefusal,
    pub(super) since: Instant,
    pub(super) slate: EndpointUrl,
}

impl Gateway {
    /// Refuses a playback that is blacked out from the start and has no slate.
    pub(super) fn refuse_blackout(
        &self,
        route: &GatewayRoute,
        peer: &Peer,
        registration: &Registration,
        request: &Parts,
    ) -> Option<Response<OutgoingBody>> {
        let refusal = route.blackout_of(registration)?;
        let shows_slate = registration.content_url.is_some() && matches!(request.method, Method::GET | Method::HEAD);
        let caller = || CallerNames::of_registered(registration, peer);
        let call = viewer_call(peer, request);
        (!shows_slate).then(|| self.turned_away(route, (&caller(), call), &dark(route, &refusal)))
    }
}

impl MediaCall<'_> {
    /// Answers for a playback that is blacked out from the start: with its slate only.
    pub(super) async fn answer_dark(&self, below: &str, refusal: &SessionRefusal) -> Response<OutgoingBody> {
        let map = self.map(self.registration.content_url.as_ref());
        if below.starts_with(registrations::CONTENT) {
            return self.redirect_to_content(&map);
        }
        match map.target(below).filter(|target| target.slate) {
            Some(target) => self.pass(&map, &target).await,
            None => {
                let call = viewer_call(self.peer, self.request);
                self.gateway.turned_away(self.route, (&self.caller(), call), &dark(self.route, refusal))
            }
        }
    }

    /// Answers a path that the route does not have: only a blackout's slate may use one. A playback that is over
    /// gets the reason for its end instead.
    pub(super) async fn answer_slate(&self, below: &str) -> Response<OutgoingBody> {
        let Some(blackout) = self.blackout() else { return self.ended_or_refused(NOT_HERE) };
        match self.map(Some(&blackout.slate)).target(below) {
            Some(target) => self.blacked_out(target, &blackout).await,
            None => self.turned(MediaKind::Segment, &blackout.refusal),
        }
    }

    pub(super) async fn blacked_out(&self, target: MediaTarget, blackout: &SlateBlackout) -> Response<OutgoingBody> {
        let SlateBlackout { refusal, since, slate } = blackout;
        let map = self.map(Some(slate));
        let format = self.playback.learned().format(&target.path);
        match format {
            _ if target.slate => self.pass(&map, &target).await,
            Some(format) => self.shown(&map, &target, format, slate, *since).await,
            None if self.gateway.clock.now() < *since + BLACKOUT_CHANGEOVER_TIME => self.pass(&map, &target).await,
            None => self.turned(MediaKind::Segment, refusal),
        }
    }

    async fn shown(
        &self,
        map: &PlaybackPaths<'_>,
        wanted: &MediaTarget,
        format: ManifestFormat,
        slate: &EndpointUrl,
        since: Instant,
    ) -> Response<OutgoingBody> {
        let found = match format {
            ManifestFormat::Dash => self.mpd(map, slate, since).await,
            ManifestFormat::Hls => self.playlist(map, wanted, slate, since).await,
        };
        match found {
            Ok(text) => {
                self.count(MediaKind::Manifest, MediaOutcome::Slate);
                self.sent_as(format, text)
            }
            Err(instead) => self.instead(map, wanted, instead),
        }
    }

    async fn mpd(&self, map: &PlaybackPaths<'_>, slate: &EndpointUrl, since: Instant) -> Result<String, NoManifest> {
        let target = MediaTarget::of_slate(slate, &in_format(slate.path(), ManifestFormat::Dash));
        let (text, _) = self.slate_text(map, &target, ManifestFormat::Dash).await?;
        let bytes = text.len();
        let (now, wall) = (self.gateway.clock.now(), self.gateway.clock.wall());
        let since = wall.saturating_sub(now.saturating_duration_since(since));
        let programme = self.playback.learned().mpd.clone();
        let Some(programme) = programme else { return Ok(text) };
        let following = move || {
            let on = manifest::dash_slate(&text, &DashSlate { now: wall, programme: &programme, since });
            on.unwrap_or(text)
        };
        self.heavy(bytes, following).await
    }

    async fn playlist(
        &self,
        map: &PlaybackPaths<'_>,
        wanted: &MediaTarget,
        slate: &EndpointUrl,
        since: Instant,
    ) -> Result<String, NoManifest> {
        let (tail, audio) = {
            let learned = self.playback.learned();
            (learned.tail(&wanted.path).filter(|_| learned.is_live()), learned.is_audio(&wanted.path))
        };
        let mut target = MediaTarget::of_slate(slate, &in_format(slate.path(), ManifestFormat::Hls));
        let (mut text, _) = self.slate_text(map, &target, ManifestFormat::Hls).await?;
        let Some(tail) = tail else { return Ok(text) };
        if let Some(uri) = manifest::hls_rendition(&text, audio) {
            let own = map.own();
            let below = uri.strip_prefix(own.trim_end_matches('/')).unwrap_or_default();
            let path = below.split('?').next().unwrap_or_default();
            target = map.target(path).ok_or(NoManifest::Unfit(manifest::UnfitManifest::Broken))?;
            (text, _) = self.slate_text(map, &target, ManifestFormat::Hls).await?;
        }
        let elapsed = self.gateway.clock.now().saturating_duration_since(since);
        self.heavy(text.len(), move || manifest::hls_slate(&text, &tail, elapsed).unwrap_or(text)).await
    }

    async fn slate_text(
        &self,
        map: &PlaybackPaths<'_>,
        target: &MediaTarget,
        format: ManifestFormat,
    ) -> Result<(String, ManifestFacts), NoManifest> {
        let FetchedManifest { body, .. } = self.whole(target).await?;
        let (text, facts) = self.edited(map, target, format, &body, (true, None)).await?;
        Ok((String::from_utf8_lossy(&text).into_owned(), facts))
    }
}

/// The slate's path in another format: the same name with that format's ending.
fn in_format(path: &str, format: ManifestFormat) -> String {
    match (ManifestFormat::of_path(path), path.rsplit_once('.')) {
        (Some(named), Some((stem, _))) if named != format => match format {
            ManifestFormat::Dash => format!("{stem}.mpd"),
            ManifestFormat::Hls => format!("{stem}.m3u8"),
        },
        (_, _) => path.to_owned(),
    }
}

fn dark(route: &GatewayRoute, refusal: &SessionRefusal) -> RefusalBody {
    let event = route.authority.as_ref().map_or(no_event as fn(AskKind) -> &'static str, |it| it.error_name());
    RefusalBody::by_refusal(refusal, LicensePhase::License, AskKind::Open, event)
}
