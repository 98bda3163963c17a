//! The first request of a playback: registered, opened if that needs no license, and sent to a path of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::request::Parts;
use http::{Response, StatusCode};

use super::{Refusal, is_manifest, redirect, refusal, told};
use crate::authority::Authority;
use crate::config;
use crate::edge::{Peer, Sending};
use crate::gateway::Gateway;
use crate::gateway::asked;
use crate::gateway::identity::{self, Counted, Evidence};
use crate::gateway::query;
use crate::gateway::refusal::{Phase, Turned};
use crate::gateway::route::Route;
use crate::ids::PlaybackId;
use crate::playbacks::Registration;
use crate::secret::Fingerprint;
use crate::session::{Answer, AskKind, Call, CallKind};
use crate::sessions::{Card, DeviceKey};
use crate::telemetry::MediaLabels;
use crate::token::Unverified;

const NO_PLAYBACK: Refusal =
    refusal(StatusCode::NOT_FOUND, "playback_missing", "segments are below a playback's own path: ask for a manifest");

impl Gateway {
    pub(super) async fn without_playback(
        &self,
        route: &Arc<Route>,
        peer: &Peer,
        rest: &str,
        asked: &Parts,
    ) -> Response<Sending> {
        // Of a playback that is forgotten, or of none that ever was: a path that names its device is no longer whole.
        let stripped = PlaybackId::strip(rest).map(|(_, rest)| rest);
        let nameless = stripped.is_some() && route.config.device.contains(&config::Rung::PathSegment);
        let rest = stripped.unwrap_or(rest);
        if nameless || !is_manifest(rest) || rest.is_empty() || rest.starts_with("/~") {
            let labels = MediaLabels { kind: "segment", outcome: "refused", route: route.path.clone() };
            self.telemetry.metrics.media_request(&labels);
            return told(NO_PLAYBACK);
        }
        self.first(route, None, peer, rest, asked).await
    }

    /// `rest`: where the manifest is, below the route's own path. `known`: the playback that this one follows.
    pub(super) async fn first(
        &self,
        route: &Route,
        known: Option<&Registration>,
        peer: &Peer,
        rest: &str,
        asked: &Parts,
    ) -> Response<Sending> {
        let query = asked.uri.query();
        let authority = route.config.authority.and_then(|index| Some((index, self.client.authority(index)?)));
        let token = identity::content_token(&route.config.content_token, &asked.headers, query, None);
        let claims = token.as_ref().and_then(|token| Unverified::peek(token.expose()));
        let evidence = Evidence { claims: claims.as_ref(), headers: &asked.headers, peer, query, rest };
        let found = match known {
            // A query or a path that named it came with its first request alone.
            Some(known) => Some((known.device.clone(), known.rung)),
            None => identity::device(&route.config.device, &evidence),
        };
        let rung = found.as_ref().map(|(_, rung)| *rung).filter(|_| known.is_none());
        let rest = asked::onward_path(route, rest, rung);
        let (device, rung) = found.clone().unwrap_or_default();
        let managed = authority.filter(|_| found.is_some());
        let registration = Registration {
            authority: managed.map(|(_, authority)| authority.name.clone()),
            block: None,
            content_url: None,
            device,
            headers: Vec::new(),
            id: PlaybackId::random(),
            license_url: None,
            route: route.path.clone(),
            rung,
        };
        if let Some((index, authority)) = managed.filter(|(_, authority)| !authority.needs_token()) {
            let counted = Counted::read(Some(authority), &evidence, Some(&registration.device));
            let card = self.card_of(route, index, authority, counted, &registration, &rest);
            if let Err(turned) = self.open(route, authority, &registration, card, &rest).await {
                let labels = MediaLabels { kind: "manifest", outcome: "refused", route: route.path.clone() };
                self.telemetry.metrics.media_request(&labels);
                self.telemetry.metrics.refusal(&turned.error, "http");
                return turned.reply(Phase::License).map(Sending::from);
            }
        }
        let mut names = asked::our_names(route, authority.map(|(_, authority)| authority));
        names.push("CMCD");
        let query = query::without(query, &names).map(|query| format!("?{query}")).unwrap_or_default();
        let path = format!("{}{}{rest}{query}", route.path.trim_end_matches('/'), registration.id.segment());
        self.registrations.insert(self.clock.now(), registration);
        redirect(&path)
    }

    /// The playback's session, before its first byte.
    async fn open(
        &self,
        route: &Route,
        authority: &Authority,
        registration: &Registration,
        card: Arc<Card>,
        path: &str,
    ) -> Result<(), Box<Turned>> {
        let call = Call {
            content: Some(Fingerprint::of_parts(&[route.path.as_bytes(), path.as_bytes()])),
            key_session: None,
            kind: CallKind::License,
            openable: true,
            token: Some(registration.token()),
        };
        let key = DeviceKey::new(&authority.name, registration.rung, &registration.device);
        let now = self.clock.now();
        let admission = self.sessions.admit(key, &call, &card, now + self.call).await;
        if let Answer::Refuse(refusal) = admission.answer {
            let event = authority.error_name();
            return Err(Box::new(Turned::by_refusal(&refusal, Phase::License, AskKind::Open, event)));
        }
        self.shelf.seat(now, registration.id).bound.store(admission.session.is_some(), Ordering::Relaxed);
        Ok(())
    }

    fn card_of(
        &self,
        route: &Route,
        index: usize,
        authority: &Authority,
        counted: Counted,
        registration: &Registration,
        path: &str,
    ) -> Arc<Card> {
        Arc::new(Card {
            account: counted.account,
            authority: index,
            authority_name: authority.name.clone(),
            content: Some(path.to_owned()),
            content_group: counted.content_group,
            device: registration.device.clone(),
            device_group: counted.device_group,
            error_name: authority.error_name(),
            opened: self.clock.wall(),
            policy: route.policy.clone(),
            route: route.path.clone(),
            rung: registration.rung,
            token: None,
        })
    }
}
