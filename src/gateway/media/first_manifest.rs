//! The first request of a playback: registered, opened if that needs no license, and sent to a path of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::request::Parts;
use http::{Method, Response, StatusCode};

use super::head_probe::onward_query;
use super::paths::{MediaTarget, PlaybackPaths, is_marked};
use super::reopen::FirstWords;
use super::replies::viewer_call;
use super::{MediaCall, Refusal, is_manifest, redirect, refusal, told};
use crate::authority::Authority;
use crate::config;
use crate::edge::{Peer, Sending};
use crate::gateway::Gateway;
use crate::gateway::identity;
use crate::gateway::identity::caller::CallerNames;
use crate::gateway::identity::token_proof;
use crate::gateway::identity::{IdentityEvidence, SessionAccount};
use crate::gateway::license::request;
use crate::gateway::refusal::{LicensePhase, RefusalBody, ViewerCall};
use crate::gateway::route::Route;
use crate::ids::PlaybackId;
use crate::playbacks::{self, Registration};
use crate::secret::{Fingerprint, Secret};
use crate::session::{self, Answer, AskKind, Call, CallKind, CallNames, Input, Opens};
use crate::sessions::{Card, DeviceKey};
use crate::telemetry::MediaLabels;
use crate::token::TokenClaims;

pub(super) const NO_PLAYBACK: Refusal =
    refusal(StatusCode::NOT_FOUND, "playback_missing", "segments are below a playback's own path: ask for a manifest");

/// What only a playback can have.
fn is_of_playback(rest: &str) -> bool {
    is_marked(rest) || rest.starts_with(playbacks::CONTENT)
}

/// How the first request of a playback came about.
#[derive(Clone, Copy)]
pub(super) struct FirstRequest<'a> {
    /// The playback that this one follows.
    pub(super) known: Option<&'a Registration>,
    /// It came below a playback's own path, though that is forgotten: its query is its server's.
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
        route: &Arc<Route>,
        peer: &Peer,
        rest: &str,
        request: &Parts,
    ) -> Response<Sending> {
        // Of a playback that is forgotten, or of none that ever was: a path that names its device is no longer whole.
        let stripped = PlaybackId::strip(rest).map(|(_, rest)| rest);
        let nameless = stripped.is_some() && route.config.device.contains(&config::IdentitySource::PathSegment);
        let rest = stripped.unwrap_or(rest);
        if nameless || !is_manifest(rest) || rest.is_empty() || is_of_playback(rest) {
            let labels = MediaLabels { kind: "segment", outcome: "refused", route: route.path.clone() };
            self.telemetry.metrics.media_request(&labels);
            return told(NO_PLAYBACK);
        }
        let first = FirstRequest { known: None, own: stripped.is_some() };
        self.first(route, first, peer, rest, request).await
    }

    /// `rest`: where the manifest is, below the route's own path.
    pub(super) async fn first(
        &self,
        route: &Arc<Route>,
        FirstRequest { known, own }: FirstRequest<'_>,
        peer: &Peer,
        rest: &str,
        request: &Parts,
    ) -> Response<Sending> {
        let query = request.uri.query().filter(|_| !own);
        let authority = route.authority.as_deref();
        let token = identity::content_token(&route.config.content_token, &request.headers, query, None);
        let device = |claims: Option<&TokenClaims>| match known {
            // A query or a path that named it came with its first request alone.
            Some(known) => Some((known.device.clone(), known.rung)),
            None => {
                let evidence = IdentityEvidence { claims, headers: &request.headers, peer, query, rest };
                identity::device(&route.config.device, &evidence)
            }
        };
        let caller = || match known {
            Some(known) => self.names_of(known, peer),
            None => self.caller_names(route, peer, rest, &request.headers, query),
        };
        let claims = match self.prove(route, token.as_ref(), |claims| device(Some(claims))).await {
            Ok(claims) => claims,
            Err(fault) => {
                let turned = authority.map(|authority| token_proof::unproven(authority, fault));
                return turned.map_or_else(
                    || told(NO_PLAYBACK),
                    |turned| self.turned_away(route, (&caller(), viewer_call(peer, request)), &turned),
                );
            }
        };
        // The path of a playback is proof enough: it was given to who brought a token.
        let unnamed = authority.filter(|it| it.verifies_tokens() && token.is_none() && known.is_none());
        if let Some(authority) = unnamed {
            return self.turned_away(route, (&caller(), viewer_call(peer, request)), &token_proof::unnamed(authority));
        }
        let found = device(claims.as_ref());
        let evidence = IdentityEvidence { claims: claims.as_ref(), headers: &request.headers, peer, query, rest };
        let rung = found.as_ref().map(|(_, rung)| *rung).filter(|_| known.is_none());
        let rest = request::onward_path(route, rest, rung);
        let names = CallNames {
            content: Some(Fingerprint::of_parts(&[route.path.as_bytes(), rest.as_bytes()])),
            content_token: identity::of_playback(token.as_ref(), claims.as_ref())
                .or_else(|| known.and_then(|known| known.content_token)),
            token: None,
        };
        if let Some(turned) =
            authority.and_then(|authority| self.killed_before(authority, found.as_ref(), &names, token.as_ref()))
        {
            return self.turned_away(route, (&caller(), viewer_call(peer, request)), &turned);
        }
        let (device, rung) = found.clone().unwrap_or_default();
        let managed = authority.filter(|_| found.is_some());
        let opens_here = managed.is_some_and(|authority| authority.opens_for_media());
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
            rung,
        };
        let query = onward_query(route, authority, own, request);
        // Whoever looks does not play yet, and nobody keeps a place for it.
        if request.method == Method::HEAD {
            return self.look(route, peer, registration, (&rest, &query), request).await;
        }
        if let Some(authority) = managed.filter(|authority| authority.opens_for_media()) {
            let counted = SessionAccount::read(Some(authority), &evidence, Some(&registration.device));
            let counted = match known {
                Some(known) => self.counted_as(authority, known, counted),
                None => counted,
            };
            let _first = self.media_memory.playback(self.clock.now(), registration.id).counted.set(counted.clone());
            self.watch_identity(route, peer, claims.as_ref(), Some(registration.rung), counted.by_device);
            let time = authority.time(self.clock).unwrap_or_else(|| self.clock.wall());
            let card = Arc::new(Card {
                kill_memory: identity::kill_memory(names.content_token, claims.as_ref(), time),
                ..self.card_of(route, authority, counted, &registration, &rest)
            });
            if let Err(turned) = self.open(route, authority, &registration, card, names).await {
                self.media_memory.forget(registration.id);
                return self.turned_away(route, (&caller(), viewer_call(peer, request)), &turned);
            }
        } else if let Some(authority) = managed {
            let key = DeviceKey::new(&authority.name, registration.rung, &registration.device);
            self.look_for_license(key, (&registration).into());
        }
        let path = format!("{}{}{rest}{query}", route.path.trim_end_matches('/'), registration.id.segment());
        self.register(identity::network(peer.address), registration);
        // With its session, if one was opened: no crash may lose what its player plays by.
        self.sessions.durable().await;
        redirect(&path)
    }

    /// Whether a kill refuses it. Where sessions need a content token the license call brings one: manifests seldom do.
    pub(super) fn killed_before(
        &self,
        authority: &Authority,
        found: Option<&(String, &'static str)>,
        names: &CallNames,
        token: Option<&Secret>,
    ) -> Option<Box<RefusalBody>> {
        if !authority.opens_for_media() && names.content_token.is_none() {
            return None;
        }
        let key = found.map(|(device, rung)| DeviceKey::new(&authority.name, rung, device));
        let company = || self.killed_company(authority, key, token?);
        let reason = self.sessions.killed(&authority.name, key, names).or_else(company)?;
        let refusal = session::Refusal::Killed(reason);
        Some(Box::new(RefusalBody::by_refusal(&refusal, LicensePhase::License, AskKind::Open, authority.error_name())))
    }

    /// The playback's session, before its first byte: the caller waits until it is written. `names` but for its token,
    /// which is its registration.
    pub(super) async fn open(
        &self,
        route: &Route,
        authority: &Authority,
        registration: &Registration,
        card: Arc<Card>,
        CallNames { content, content_token, token: _ }: CallNames,
    ) -> Result<(), Box<RefusalBody>> {
        let names = CallNames { content, content_token, token: None };
        let words = FirstWords { names, ..FirstWords::of(&card) };
        let call = Call {
            challenge: None,
            content,
            content_token,
            key_session: None,
            kind: CallKind::License,
            opens: Opens::Yes,
            token: Some(registration.token()),
        };
        let key = DeviceKey::new(&authority.name, registration.rung, &registration.device);
        let now = self.clock.now();
        let admission = self.sessions.admit(key, &call, &card, now + route.limits.call).await;
        if let Answer::Refuse(refusal) = admission.answer {
            let event = authority.error_name();
            return Err(Box::new(RefusalBody::by_refusal(&refusal, LicensePhase::License, AskKind::Open, event)));
        }
        if let Some(id) = admission.session {
            self.sessions.accept(key, id, &call);
            // Until it follows the redirect, or gets what it asked for.
            self.sessions.deliver(key, id, Input::Unserved);
        }
        let playback = self.media_memory.playback(now, registration.id);
        playback.keep_first_words(words);
        playback.bound.store(admission.session.is_some(), Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn card_of(
        &self,
        route: &Route,
        authority: &Authority,
        counted: SessionAccount,
        registration: &Registration,
        path: &str,
    ) -> Card {
        Card {
            account: counted.account,
            authority: authority.id.clone(),
            authority_name: authority.name.clone(),
            content: Some(identity::kept_name(path.to_owned())),
            content_group: counted.content_group,
            device: registration.device.clone(),
            device_group: counted.device_group,
            dialect: authority.dialect(),
            error_name: authority.error_name(),
            kill_memory: None,
            network: counted.network,
            opened: self.clock.wall(),
            policy: route.policy.clone(),
            registration: None,
            route: route.path.clone(),
            rung: registration.rung,
            schedule: None,
            stream: None,
            token: None,
        }
    }

    pub(super) fn turned_away(
        &self,
        route: &Route,
        (caller, call): (&CallerNames, ViewerCall<'_>),
        turned: &RefusalBody,
    ) -> Response<Sending> {
        let labels = MediaLabels { kind: "manifest", outcome: "refused", route: route.path.clone() };
        self.telemetry.metrics.media_request(&labels);
        self.telemetry.metrics.refusal(&turned.error, "http");
        self.turn_away(route, (caller, Some(call)), turned, LicensePhase::License).map(Sending::from)
    }
}

impl MediaCall<'_> {
    /// Its session can be opened without a license. One that is blacked out from the start needs none.
    pub(super) fn is_authorized(&self) -> bool {
        let block = self.registration.block.as_ref();
        self.authority.is_some() && block.is_some_and(|block| block.blackout.is_none())
    }

    /// Opens the session of a playback that was authorized, before its first manifest.
    pub(super) async fn begin(&self, map: &PlaybackPaths<'_>, target: &MediaTarget) -> Response<Sending> {
        let Self { gateway, registration, route, .. } = *self;
        let (Some(authority), Some(block)) = (self.authority, &registration.block) else {
            return self.pass(map, target).await;
        };
        let (headers, query) = (&self.request.headers, self.request.uri.query());
        let evidence = IdentityEvidence { claims: None, headers, peer: self.peer, query, rest: &target.path };
        let counted = SessionAccount::read(Some(authority), &evidence, Some(&registration.device));
        let card = Card {
            content: block.content_id.clone().map(identity::kept_name),
            registration: Some(registration.clone()),
            schedule: authority.schedule(block, gateway.clock.now(), gateway.clock.wall()),
            stream: block.stream(),
            ..gateway.card_of(route, authority, counted, registration, &target.path)
        };
        // As a license call of it would: what is registered is one playback of its own.
        let names = CallNames { content_token: Some(registration.token()), ..CallNames::default() };
        match gateway.open(route, authority, registration, Arc::new(card), names).await {
            Ok(()) => {
                gateway.sessions.durable().await;
                self.pass(map, target).await
            }
            Err(turned) => gateway.turned_away(route, (&self.caller(), viewer_call(self.peer, self.request)), &turned),
        }
    }
}
