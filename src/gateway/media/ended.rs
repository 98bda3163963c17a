//! Answers requests of a playback that is over: with its slate, an end of its playlist, or the reason.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::Response;

use super::MediaCall;
use super::counts::{MediaKind, MediaOutcome};
use super::manifest::FetchedManifest;
use super::paths::MediaTarget;
use super::replies::{is_manifest, no_event, viewer_call};
use super::slate::SlateBlackout;
use crate::config::EndpointUrl;
use crate::edge::OutgoingBody;
use crate::edge::own_replies::EdgeRefusal;
use crate::gateway::refusal::{LicensePhase, RefusalBody, RefusedCall};
use crate::manifest::ManifestFormat;
use crate::session::{self, AskKind};
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
        session::SessionRefusal::Killed(reason) => reason.blackout.as_ref()?.url.clone(),
        session::SessionRefusal::Denied(..)
        | session::SessionRefusal::Ended(_)
        | session::SessionRefusal::Expired
        | session::SessionRefusal::Unreachable(_) => None,
    }
}
