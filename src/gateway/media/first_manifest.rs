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
use crate::gateway::identity::{CallIdentity, IdentityClues, content_token};
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

/// A request for a manifest that begins a playback.
pub(super) struct FirstCall<'a> {
    pub(super) gateway: &'a Gateway,
    /// The earlier playback that this one follows.
    pub(super) known: Option<&'a Registration>,
    /// The request came below a playback's own path that is forgotten. Its query belongs to its server.
    pub(super) own: bool,
    pub(super) peer: &'a Peer,
    pub(super) request: &'a Parts,
    /// The manifest's path below the route.
    pub(super) rest: &'a str,
    pub(super) route: &'a Arc<GatewayRoute>,
}

impl FirstCall<'_> {
    pub(super) async fn answer(&self) -> Response<OutgoingBody> {
        let begun = self.begin().await;
        begun.unwrap_or_else(|refusal| {
            let call = viewer_call(self.peer, self.request);
            self.gateway.turned_away(self.route, (&self.caller(), call), &refusal)
        })
    }

    /// Identifies the player, admits its playback, registers it, and redirects the player.
    async fn begin(&self) -> Result<Response<OutgoingBody>, Box<RefusalBody>> {
        let Self { gateway, own, peer, request, route, .. } = *self;
        let authority = route.authority.as_deref();
        let identity = gateway.identify(&self.clues()).await;
        if let Some(fault) = identity.token_fault {
            let Some(authority) = authority else { return Ok(told(NO_PLAYBACK)) };
            return Err(Box::new(unproven(authority, fault)));
        }
        self.refuse_unnamed(&identity)?;
        let source = identity.device.as_ref().map(|device| device.source).filter(|_| self.known.is_none());
        let rest = onward_target::without_device(route, self.rest, source);
        let names = self.names(&identity, &rest);
        self.refuse_killed(&identity, &names)?;
        let registration = self.registration(&identity, &names);
        let query = onward_query(route, authority, own, request);
        // A HEAD plays nothing, so no session is opened for it.
        if request.method == Method::HEAD {
            return Ok(gateway.look(route, peer, registration, (&rest, &query), request).await);
        }
        self.admit(&identity, &registration, &rest, names).await?;
        let path = format!("{}{}{rest}{query}", route.path.trim_end_matches('/'), registration.id.segment());
        gateway.register(network(peer.address), registration);
        // Registration and session must be on disk before the player has the path.
        gateway.sessions.durable().await;
        Ok(redirect(&path))
    }

    /// Opens the session, if that needs no license.
    async fn admit(
        &self,
        identity: &CallIdentity,
        registration: &Registration,
        rest: &str,
        names: CallNames,
    ) -> Result<(), Box<RefusalBody>> {
        let Self { gateway, peer, route, .. } = *self;
        let Some(authority) = self.managed(identity).filter(|authority| authority.opens_for_media()) else {
            return Ok(());
        };
        let (counted, source) = (identity.counted.clone(), registration.device_source);
        let counted = match self.known {
            Some(known) => gateway.counted_as(authority, known, counted),
            None => counted,
        };
        let _first = gateway.media_memory.playback(gateway.clock.now(), registration.id).counted.set(counted.clone());
        gateway.watch_identity(route, peer, identity.claims.as_ref(), Some(source), counted.by_device);
        let time = authority.time(gateway.clock).unwrap_or_else(|| gateway.clock.wall());
        let origin = SessionOrigin {
            kill_memory: content_token::kill_memory(names.content_token, identity.claims.as_ref(), time),
            ..gateway.media_origin(counted, registration, rest)
        };
        let opened = gateway.open(route, authority, registration, origin.context(route, authority), names).await;
        opened.inspect_err(|_refusal| gateway.media_memory.forget(registration.id))
    }

    fn caller(&self) -> CallerNames {
        match self.known {
            Some(known) => self.gateway.names_of(known, self.peer),
            None => self.gateway.caller_names(self.route, self.peer, self.rest, &self.request.headers, self.query()),
        }
    }

    /// Only a known playback's first request named the device by its query or path.
    fn clues(&self) -> IdentityClues<'_> {
        let Self { known: registration, peer, request, rest, route, .. } = *self;
        IdentityClues {
            custom_data: None,
            headers: &request.headers,
            peer,
            query: self.query(),
            registration,
            rest,
            route,
        }
    }

    fn query(&self) -> Option<&str> {
        self.request.uri.query().filter(|_| !self.own)
    }

    fn names(&self, identity: &CallIdentity, rest: &str) -> CallNames {
        CallNames {
            content: Some(Fingerprint::of_parts(&[self.route.path.as_bytes(), rest.as_bytes()])),
            content_token: identity.playback_token().or_else(|| self.known.and_then(|known| known.content_token)),
            token: None,
        }
    }

    /// The authority, if the player names a device that it can count.
    fn managed(&self, identity: &CallIdentity) -> Option<&Authority> {
        self.route.authority.as_deref().filter(|_| identity.device.is_some())
    }

    /// A playback's path is proof enough, because only a caller with a token got it.
    fn refuse_unnamed(&self, identity: &CallIdentity) -> Result<(), Box<RefusalBody>> {
        let proves_nothing = identity.token.is_none() && self.known.is_none();
        match self.route.authority.as_deref() {
            Some(authority) if authority.verifies_tokens() && proves_nothing => Err(Box::new(unnamed(authority))),
            Some(_) | None => Ok(()),
        }
    }

    fn refuse_killed(&self, identity: &CallIdentity, names: &CallNames) -> Result<(), Box<RefusalBody>> {
        let killed = self.route.authority.as_deref().and_then(|authority| {
            self.gateway.killed_before(authority, identity.key(authority), names, identity.token.as_ref())
        });
        killed.map_or(Ok(()), Err)
    }

    fn registration(&self, identity: &CallIdentity, names: &CallNames) -> Registration {
        let managed = self.managed(identity);
        let opens_here = managed.is_some_and(|authority| authority.opens_for_media());
        let DeviceIdentity { name: device, source: device_source } = identity.device.clone().unwrap_or_default();
        Registration {
            authority: managed.map(|authority| authority.name.clone()),
            block: None,
            content_token: names.content_token.filter(|_| !opens_here),
            content_url: None,
            device,
            device_source,
            headers: Vec::new(),
            id: PlaybackId::random(),
            license_url: None,
            route: self.route.path.clone(),
        }
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
        FirstCall { gateway: self, known: None, own: stripped.is_some(), peer, request, rest, route }.answer().await
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
        let by = self.sessions.killed(&authority.name, key, names).or_else(company)?;
        let refusal = session::SessionRefusal::Killed(by);
        Some(Box::new(RefusalBody::by_refusal(&refusal, LicensePhase::License, AskKind::Open, authority.error_name())))
    }

    /// Opens the playback's session before its first byte. The caller waits until it is written. The registration
    /// stands in place of `names.token`.
    pub(super) async fn open(
        &self,
        route: &GatewayRoute,
        authority: &Authority,
        registration: &Registration,
        context: Arc<SessionContext>,
        CallNames { content, content_token, token: _ }: CallNames,
    ) -> Result<(), Box<RefusalBody>> {
        let names = CallNames { content, content_token, token: None };
        let words = FirstWords { names, ..FirstWords::of(&context) };
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
        let admission = self.sessions.admit(key, &call, &context, now + route.limits.call).await;
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
