//! Answers the first request of a playback: registers it, opens its session if that needs no license, and
//! redirects the player to a path of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::request::Parts;
use http::{Method, Response};

use super::head_probe::onward_query;
use super::media_memory::FirstWords;
use super::paths::{MediaTarget, PlaybackPaths, is_marked};
use super::replies::{MediaKind, MediaOutcome, NO_PLAYBACK, viewer_call};
use super::{MediaCall, is_manifest, redirect, told};
use crate::authority::Authority;
use crate::config;
use crate::edge::{OutgoingBody, Peer};
use crate::gateway::identity::account::{SessionAccount, network};
use crate::gateway::identity::caller::CallerNames;
use crate::gateway::identity::sources::{DeviceIdentity, kept_name};
use crate::gateway::identity::{IdentityClues, content_token};
use crate::gateway::refusal::token_faults::{unnamed, unproven};
use crate::gateway::refusal::{LicensePhase, RefusalBody, RefusedCall, ViewerCall};
use crate::gateway::route::GatewayRoute;
use crate::gateway::session_context::SessionOrigin;
use crate::gateway::{Gateway, onward_target};
use crate::ids::PlaybackId;
use crate::registrations::{self, Registration};
use crate::secret::{Fingerprint, Secret};
use crate::session::{self, AskKind, CallAnswer, CallKind, CallNames, Input, OpenAbility, PlayerCall};
use crate::sessions::{DeviceKey, SessionContext};

/// True for paths that only a playback can have.
fn is_of_playback(rest: &str) -> bool {
    is_marked(rest) || rest.starts_with(registrations::CONTENT)
}

/// Origin of a playback's first request.
#[derive(Clone, Copy)]
pub(super) struct FirstRequest<'a> {
    /// The earlier playback that this one follows.
    pub(super) known: Option<&'a Registration>,
    /// The request came below a playback's own path that is forgotten. Its query belongs to its server.
    pub(super) own: bool,
}

impl<'a> FirstRequest<'a> {
    pub(super) fn after(known: &'a Registration) -> Self {
        Self { known: Some(known), own: true }
    }
}

impl Gateway {
    pub(super) async fn without_playback(
        &self,
        route: &Arc<GatewayRoute>,
        peer: &Peer,
        rest: &str,
        request: &Parts,
    ) -> Response<OutgoingBody> {
        // The path may begin with the id of a forgotten or unknown playback; then the segment that named the
        // device is gone.
        let stripped = PlaybackId::strip(rest).map(|(_, rest)| rest);
        let nameless = stripped.is_some() && route.config.device.contains(&config::IdentitySource::PathSegment);
        let rest = stripped.unwrap_or(rest);
        if nameless || !is_manifest(rest) || rest.is_empty() || is_of_playback(rest) {
            self.count_media(route, MediaKind::Segment, MediaOutcome::Refused);
            return told(NO_PLAYBACK);
        }
        let first = FirstRequest { known: None, own: stripped.is_some() };
        self.first(route, first, peer, rest, request).await
    }

    /// `rest` is the manifest's path below the route.
    pub(super) async fn first(
        &self,
        route: &Arc<GatewayRoute>,
        FirstRequest { known, own }: FirstRequest<'_>,
        peer: &Peer,
        rest: &str,
        request: &Parts,
    ) -> Response<OutgoingBody> {
        let query = request.uri.query().filter(|_| !own);
        let authority = route.authority.as_deref();
        let caller = || match known {
            Some(known) => self.names_of(known, peer),
            None => self.caller_names(route, peer, rest, &request.headers, query),
        };
        let refuse = |body: &RefusalBody| self.turned_away(route, (&caller(), viewer_call(peer, request)), body);
        // Only a known playback's first request named the device by its query or path.
        let (headers, registration) = (&request.headers, known);
        let clues = IdentityClues { custom_data: None, headers, peer, query, registration, rest, route };
        let identity = self.identify(&clues).await;
        if let Some(fault) = identity.token_fault {
            return authority.map_or_else(|| told(NO_PLAYBACK), |authority| refuse(&unproven(authority, fault)));
        }
        // A playback's path is proof enough, because only a caller with a token got it.
        let names_nobody =
            |authority: &&Authority| authority.verifies_tokens() && identity.token.is_none() && known.is_none();
        if let Some(authority) = authority.filter(names_nobody) {
            return refuse(&unnamed(authority));
        }
        let source = identity.device.as_ref().map(|device| device.source).filter(|_| known.is_none());
        let rest = onward_target::without_device(route, rest, source);
        let names = CallNames {
            content: Some(Fingerprint::of_parts(&[route.path.as_bytes(), rest.as_bytes()])),
            content_token: identity.playback_token().or_else(|| known.and_then(|known| known.content_token)),
            token: None,
        };
        let killed =
            |authority| self.killed_before(authority, identity.key(authority), &names, identity.token.as_ref());
        if let Some(body) = authority.and_then(killed) {
            return refuse(&body);
        }
        let managed = authority.filter(|_| identity.device.is_some());
        let opens_here = managed.is_some_and(|authority| authority.opens_for_media());
        let DeviceIdentity { name: device, source: device_source } = identity.device.clone().unwrap_or_default();
        let registration = Registration {
            authority: managed.map(|authority| authority.name.clone()),
            block: None,
            content_token: names.content_token.filter(|_| !opens_here),
            content_url: None,
            device,
            headers: Vec::new(),
            id: PlaybackId::random(),
            license_url: None,
            route: route.path.clone(),
            device_source,
        };
        let query = onward_query(route, authority, own, request);
        // A HEAD plays nothing, so no session is opened for it.
        if request.method == Method::HEAD {
            return self.look(route, peer, registration, (&rest, &query), request).await;
        }
        if let Some(authority) = managed.filter(|authority| authority.opens_for_media()) {
            let counted = match known {
                Some(known) => self.counted_as(authority, known, identity.counted.clone()),
                None => identity.counted.clone(),
            };
            let _first = self.media_memory.playback(self.clock.now(), registration.id).counted.set(counted.clone());
            self.watch_identity(
                route,
                peer,
                identity.claims.as_ref(),
                Some(registration.device_source),
                counted.by_device,
            );
            let time = authority.time(self.clock).unwrap_or_else(|| self.clock.wall());
            let origin = SessionOrigin {
                kill_memory: content_token::kill_memory(names.content_token, identity.claims.as_ref(), time),
                ..self.media_origin(counted, &registration, &rest)
            };
            let card = origin.context(route, authority);
            if let Err(body) = self.open(route, authority, &registration, card, names).await {
                self.media_memory.forget(registration.id);
                return refuse(&body);
            }
        }
        let path = format!("{}{}{rest}{query}", route.path.trim_end_matches('/'), registration.id.segment());
        self.register(network(peer.address), registration);
        // Registration and session must be on disk before the player has the path.
        self.sessions.durable().await;
        redirect(&path)
    }

    /// Looks for a kill. Where sessions need a content token, only the license call can tell, because manifests
    /// seldom bring one.
    pub(super) fn killed_before(
        &self,
        authority: &Authority,
        key: Option<DeviceKey>,
        names: &CallNames,
        token: Option<&Secret>,
    ) -> Option<Box<RefusalBody>> {
        if !authority.opens_for_media() && names.content_token.is_none() {
            return None;
        }
        let company = || self.killed_company(authority, key, token?);
        let reason = self.sessions.killed(&authority.name, key, names).or_else(company)?;
        let refusal = session::SessionRefusal::Killed(reason);
        Some(Box::new(RefusalBody::by_refusal(&refusal, LicensePhase::License, AskKind::Open, authority.error_name())))
    }

    /// Opens the playback's session before its first byte. The caller waits until it is written. The registration
    /// stands in place of `names.token`.
    pub(super) async fn open(
        &self,
        route: &GatewayRoute,
        authority: &Authority,
        registration: &Registration,
        card: Arc<SessionContext>,
        CallNames { content, content_token, token: _ }: CallNames,
    ) -> Result<(), Box<RefusalBody>> {
        let names = CallNames { content, content_token, token: None };
        let words = FirstWords { names, ..FirstWords::of(&card) };
        let call = PlayerCall {
            content,
            content_token,
            key_session: None,
            kind: CallKind::License,
            opens: OpenAbility::Yes,
            token: Some(registration.token()),
        };
        let key = DeviceKey::new(&authority.name, registration.device_source, &registration.device);
        let now = self.clock.now();
        let admission = self.sessions.admit(key, &call, &card, now + route.limits.call).await;
        if let CallAnswer::Refuse(refusal) = admission.answer {
            let event = authority.error_name();
            return Err(Box::new(RefusalBody::by_refusal(&refusal, LicensePhase::License, AskKind::Open, event)));
        }
        if let Some(id) = admission.session {
            self.sessions.accept(key, id, &call);
            // Nothing was delivered until the player follows the redirect or gets its manifest.
            self.sessions.deliver(key, id, Input::Unserved);
        }
        let playback = self.media_memory.playback(now, registration.id);
        playback.keep_first_words(words);
        playback.bound.store(admission.session.is_some(), Ordering::Relaxed);
        Ok(())
    }

    /// Origin of a session that media opens. The manifest's path names its content.
    pub(super) fn media_origin(
        &self,
        counted: SessionAccount,
        registration: &Registration,
        path: &str,
    ) -> SessionOrigin {
        SessionOrigin {
            content: Some(kept_name(path.to_owned())),
            counted,
            device: DeviceIdentity { name: registration.device.clone(), source: registration.device_source },
            opened: self.clock.wall(),
            ..SessionOrigin::default()
        }
    }

    pub(super) fn turned_away(
        &self,
        route: &GatewayRoute,
        (caller, call): (&CallerNames, ViewerCall<'_>),
        turned: &RefusalBody,
    ) -> Response<OutgoingBody> {
        self.count_media(route, MediaKind::Manifest, MediaOutcome::Refused);
        let (license, phase, viewer) = (None, LicensePhase::License, Some(call));
        self.refuse_call(&RefusedCall { caller, license, phase, route, viewer }, turned).map(OutgoingBody::from)
    }
}

impl MediaCall<'_> {
    /// True if the session can be opened without a license. A playback blacked out from the start needs no session.
    pub(super) fn is_authorized(&self) -> bool {
        let block = self.registration.block.as_ref();
        self.authority.is_some() && block.is_some_and(|block| block.blackout.is_none())
    }

    /// Opens the session of an authorized playback before its first manifest.
    pub(super) async fn begin(&self, map: &PlaybackPaths<'_>, target: &MediaTarget) -> Response<OutgoingBody> {
        let Self { gateway, registration, route, .. } = *self;
        let (Some(authority), Some(block)) = (self.authority, &registration.block) else {
            return self.pass(map, target).await;
        };
        let (headers, query) = (&self.request.headers, self.request.uri.query());
        let clues = IdentityClues {
            custom_data: None,
            headers,
            peer: self.peer,
            query,
            registration: Some(registration),
            rest: &target.path,
            route,
        };
        let origin = SessionOrigin {
            content: block.content_id.clone().map(kept_name),
            registration: Some(registration.clone()),
            schedule: authority.schedule(block, gateway.clock.now(), gateway.clock.wall()),
            stream: block.stream(),
            ..gateway.media_origin(clues.counted_without_token(), registration, &target.path)
        };
        // The same names as in a license call: a registered playback is one of its own.
        let names = CallNames { content_token: Some(registration.token()), ..CallNames::default() };
        match gateway.open(route, authority, registration, origin.context(route, authority), names).await {
            Ok(()) => {
                gateway.sessions.durable().await;
                self.pass(map, target).await
            }
            Err(turned) => gateway.turned_away(route, (&self.caller(), viewer_call(self.peer, self.request)), &turned),
        }
    }
}
