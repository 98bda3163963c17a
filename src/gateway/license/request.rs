//! What a player asks for: its request, read once into the words of the core.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::uri::Authority as HostAndPort;
use http::{HeaderMap, HeaderValue, header};

use super::outgoing::OutgoingRequest;
use super::single_flight::CallFingerprint;
use crate::authority::Authority;
use crate::clock::{Clock, Moment};
use crate::cmcd;
use crate::config::{AccountSource, IdentitySource, SessionControlMode, TokenSource};
use crate::drm::{self, Direction, Kind, Message, System, Unrecognised};
use crate::edge::Peer;
use crate::gateway::Gateway;
use crate::gateway::identity;
use crate::gateway::identity::SessionAccount;
use crate::gateway::refusal::ViewerCall;
use crate::gateway::route::{LicenseRoute, Route};
use crate::playbacks::{Block, Registration};
use crate::secret::{Fingerprint, Secret};
use crate::session::{Call, CallKind, CallNames, Opens};
use crate::sessions::{Card, DeviceKey};
use crate::task::TooBusy;
use crate::token::{TokenClaims, TokenFault};

pub(in crate::gateway) struct LicenseRequest {
    /// A token beside the one that counts may be meant: see [`identity::asks_beside`].
    asks_beside: bool,
    /// By which the player reached us, where the request's target says it.
    authority: Option<HostAndPort>,
    pub(in crate::gateway) claims: Option<TokenClaims>,
    pub(in crate::gateway) counted: SessionAccount,
    pub(in crate::gateway) device: Option<(String, &'static str)>,
    pub(in crate::gateway) headers: HeaderMap,
    pub(in crate::gateway) message: Result<Message, Unrecognised>,
    /// What the license server will get.
    pub(in crate::gateway) onward: OutgoingRequest,
    /// By the id in its path.
    pub(in crate::gateway) registration: Option<Arc<Registration>>,
    tls: bool,
    /// What the player says of itself.
    pub(in crate::gateway) told: Option<cmcd::Report>,
    pub(in crate::gateway) token: Option<Secret>,
    /// Why the token proves nothing, where it must prove something.
    pub(in crate::gateway) token_fault: Option<TokenFault>,
}

/// In larger bodies a message is looked for on a thread of its own: that takes a millisecond for each 64 KiB at worst.
const READ_APART_MIN_BYTES: usize = 256 * 1024;

impl Gateway {
    /// # Errors
    /// Too many others with large bodies wait.
    pub(in crate::gateway) async fn read_call(
        &self,
        route: &LicenseRoute,
        peer: &Peer,
        (registration, rest): (Option<Arc<Registration>>, &str),
        parts: Parts,
        onward: OutgoingRequest,
    ) -> Result<LicenseRequest, TooBusy> {
        let uri = parts.uri.clone();
        let mut request = if onward.body.len() < READ_APART_MIN_BYTES {
            LicenseRequest::read(route, registration, parts, onward)
        } else {
            let route = route.clone();
            self.tasks.heavy(move || LicenseRequest::read(&route, registration, parts, onward)).await?
        };
        let place = (rest, uri.query());
        let device = |claims: &TokenClaims| request.device(route, peer, place, Some(claims));
        let proven = self.prove(route, request.token.as_ref(), device).await;
        request.tls = peer.tls;
        request.token_fault = proven.as_ref().err().copied();
        request.identify(route, peer, place, proven.ok().flatten());
        Ok(request)
    }
}

impl LicenseRequest {
    /// Whose call it is, is still to be told: `proof`.
    fn read(
        route: &LicenseRoute,
        registration: Option<Arc<Registration>>,
        parts: Parts,
        onward: OutgoingRequest,
    ) -> Self {
        let Parts { headers, uri, .. } = parts;
        let message = onward.recognise(route);
        let custom_data = message.as_ref().ok().and_then(|message| message.custom_data.as_ref());
        let token = identity::content_token(&route.config.content_token, &headers, uri.query(), custom_data);
        let asks_beside = identity::asks_beside(&route.config.content_token, &headers, uri.query(), custom_data);
        let told = uri.query().and_then(cmcd::from_query).or_else(|| cmcd::from_headers(&headers));
        let (claims, counted, device, token_fault) = (None, SessionAccount::default(), None, None);
        let (authority, tls) = (uri.authority().cloned(), false);
        Self {
            asks_beside,
            authority,
            claims,
            counted,
            device,
            headers,
            message,
            onward,
            registration,
            tls,
            told,
            token,
            token_fault,
        }
    }

    pub(in crate::gateway) fn viewer_call(&self) -> ViewerCall<'_> {
        ViewerCall { authority: self.authority.as_ref(), headers: &self.headers, tls: self.tls }
    }

    /// What the core is asked, if a session may have to do with this call.
    pub(in crate::gateway) fn call(&self, route: &LicenseRoute, authority: &Authority, expired: bool) -> Option<Call> {
        let message = self.message.as_ref().ok()?;
        if message.offline || self.device.is_none() || !self.wants_session(route) {
            return None;
        }
        let kind = match message.kind {
            Kind::CertificateRequest => CallKind::Certificate,
            Kind::LicenseRequest => CallKind::License,
            Kind::Release => CallKind::Release,
            // What we cannot unwrap we cannot send as a renewal: the license server gets it.
            Kind::Renewal if self.challenge(route).is_none() => CallKind::License,
            Kind::Renewal => CallKind::Renewal,
            Kind::Acknowledge | Kind::Certificate | Kind::Error | Kind::License | Kind::Other | Kind::Provisioning => {
                return None;
            }
        };
        Some(Call {
            // ClearKey's says the keys and nothing more.
            challenge: (message.system != System::ClearKey).then(|| Fingerprint::of(&self.onward.body)),
            content: self.content_name(),
            content_token: self.content_token(),
            key_session: message.request_id.filter(|_| message.system == System::Widevine),
            kind,
            opens: match (&self.token, authority.needs_token()) {
                (_, _) if self.is_authorized() => Opens::Yes,
                (Some(_), _) if expired => Opens::Expired,
                (Some(_), true) | (_, false) => Opens::Yes,
                (None, true) => Opens::No,
            },
            token: self.playback(),
        })
    }

    pub(in crate::gateway) fn is_release(&self) -> bool {
        self.message.as_ref().is_ok_and(|message| message.kind == Kind::Release)
    }

    /// As [`Call::content_token`]. An authorization is made for one playback as a content token is.
    pub(in crate::gateway) fn content_token(&self) -> Option<Fingerprint> {
        let authorized = self.registration.as_ref().filter(|_| self.is_authorized());
        identity::of_playback(self.token.as_ref(), self.claims.as_ref())
            .or_else(|| authorized.map(|registration| registration.token()))
    }

    /// What a kill may know this call by, where no session has to do with it.
    pub(in crate::gateway) fn names(&self) -> CallNames {
        CallNames { content: self.content_name(), content_token: self.content_token(), token: self.playback() }
    }

    /// The content as sessions know it: what is registered is one playback of its own, because another one of the
    /// same content has another token.
    fn content_name(&self) -> Option<Fingerprint> {
        let message = self.message.as_ref().ok().and_then(|message| message.content_id);
        let content = self.content().map(|name| Fingerprint::of(name.as_bytes())).or(message);
        content.filter(|_| self.registration.is_none())
    }

    /// By what its playback is known: its registration, or its content token.
    pub(in crate::gateway) fn playback(&self) -> Option<Fingerprint> {
        match &self.registration {
            Some(registration) => Some(registration.token()),
            None => identity::of_playback(self.token.as_ref(), self.claims.as_ref()),
        }
    }

    /// Whose license it is: the key session's or, where the DRM system names none, its keys'.
    pub(in crate::gateway) fn key_session(&self, call: &Call) -> Fingerprint {
        let keys = || self.message.as_ref().ok()?.content_id;
        call.key_session.or_else(keys).unwrap_or_else(|| Fingerprint::of(&[]))
    }

    pub(in crate::gateway) fn card(&self, route: &Route, authority: &Authority, clock: Clock) -> Arc<Card> {
        let Moment { now, wall } = clock.moment();
        let (device, rung) = self.device.clone().unwrap_or_default();
        let block = self.registration.as_ref().and_then(|registration| registration.block.as_ref());
        Arc::new(Card {
            account: self.counted.account.clone(),
            authority: authority.id.clone(),
            authority_name: authority.name.clone(),
            content: self.content(),
            content_group: self.counted.content_group.clone(),
            device,
            device_group: self.counted.device_group.clone(),
            dialect: authority.dialect(),
            error_name: authority.error_name(),
            kill_memory: self.kill_memory(authority.time(clock).unwrap_or(wall)),
            network: self.counted.network,
            opened: wall,
            policy: route.policy.clone(),
            registration: self.registration.clone(),
            route: route.path.clone(),
            rung,
            schedule: block.and_then(|block| authority.schedule(block, now, wall)),
            stream: block.and_then(Block::stream),
            token: self.token.clone(),
        })
    }

    pub(in crate::gateway) fn key(&self, authority: &Authority) -> Option<DeviceKey> {
        self.device.as_ref().map(|(device, rung)| DeviceKey::new(&authority.name, rung, device))
    }

    /// What another call has in common with this one if the same reply is due to both: everything
    /// that the license server would see or that we look at. None where nothing may be shared.
    pub(in crate::gateway) fn fingerprint(&self, route: &Route) -> Option<CallFingerprint> {
        let (device, rung) = self.device.as_ref().filter(|_| self.message.is_ok())?;
        let OutgoingRequest { body, headers, method, path, query } = &self.onward;
        let query = query.as_deref().unwrap_or_default();
        let token = self.token.as_ref().map(Secret::expose).unwrap_or_default();
        let words = [&*route.path, rung, device, method.as_str(), path, query, token].map(str::as_bytes);
        let id = self.registration.as_ref().map(|registration| registration.id.bytes()).unwrap_or_default();
        // A refusal's shape depends on it.
        let origin = self.headers.get(header::ORIGIN).map(HeaderValue::as_bytes).unwrap_or_default();
        let headers = headers.iter().flat_map(|(name, value)| [name.as_str().as_bytes(), value.as_bytes()]);
        Some(CallFingerprint::of(words.into_iter().chain([origin, &id, body]).chain(headers)))
    }

    /// The bare DRM message, if the route's wrapping yields it.
    pub(in crate::gateway) fn challenge(&self, route: &LicenseRoute) -> Option<Cow<'_, [u8]>> {
        let bare = drm::wrap::unwrap(&route.license.wrapping.server_request, &self.onward.body).ok()?;
        let wrapped = drm::recognise(Direction::Request, None, None, &bare).map_or(true, |message| message.wrapped);
        (!wrapped).then_some(bare)
    }

    fn kill_memory(&self, time: Duration) -> Option<Duration> {
        let token = identity::of_playback(self.token.as_ref(), self.claims.as_ref());
        // The id of an authorization is never given to another.
        if self.is_authorized() { None } else { identity::kill_memory(token, self.claims.as_ref(), time) }
    }

    fn is_authorized(&self) -> bool {
        self.registration.as_ref().is_some_and(|registration| registration.block.is_some())
    }

    fn content(&self) -> Option<String> {
        if let Some(block) = self.registration.as_ref().and_then(|registration| registration.block.as_ref()) {
            return block.content_id.clone().map(identity::kept_name);
        }
        self.claims.as_ref()?.text("contentRights.0.contentId").map(identity::kept_name)
    }

    pub(in crate::gateway) fn wants_session(&self, route: &LicenseRoute) -> bool {
        match (route.license.session_control, &self.claims) {
            (SessionControlMode::Always, _) => true,
            (SessionControlMode::Never, _) => false,
            // An opaque token, or none, says nothing against it.
            (SessionControlMode::Auto, None) => true,
            (SessionControlMode::Auto, Some(claims)) => claims.wants_session() || self.asks_beside,
        }
    }
}

pub(in crate::gateway) fn onward_path(route: &Route, rest: &str, rung: Option<&'static str>) -> String {
    let segment = route.config.device.contains(&IdentitySource::PathSegment) && rung == Some("path-segment");
    if !segment {
        return rest.to_owned();
    }
    let after = rest.strip_prefix('/').and_then(|rest| rest.split_once('/')).map(|(_, after)| after);
    after.map(|after| format!("/{after}")).unwrap_or_default()
}

/// Query parameters that are meant for us alone, or that the route takes off.
pub(in crate::gateway) fn our_names<'a>(route: &'a Route, authority: Option<&'a Authority>) -> Vec<&'a str> {
    let tokens = route.config.content_token.iter().filter_map(|source| match source {
        TokenSource::Query(name) => Some(name.as_str()),
        TokenSource::CustomData | TokenSource::Header(_) => None,
    });
    let config = authority.and_then(Authority::counter).map(|counter| counter.config());
    let accounts = config.into_iter().flat_map(|config| &config.account).filter_map(|rung| match rung {
        AccountSource::Device | AccountSource::Fixed(_) => None,
        AccountSource::Request(rung) => Some(rung),
    });
    let groups =
        config.into_iter().flat_map(|config| config.content_groups.source.iter().chain(&config.device_groups.source));
    let rungs = route.config.device.iter().chain(accounts).chain(groups);
    let rungs = rungs.filter_map(|rung| match rung {
        IdentitySource::Query(name) => Some(name.as_str()),
        IdentitySource::Cookie(_)
        | IdentitySource::Header(_)
        | IdentitySource::Mtls
        | IdentitySource::PathSegment
        | IdentitySource::Peer
        | IdentitySource::TokenClaim(_) => None,
    });
    tokens.chain(rungs).chain(route.config.strip_cmcd.then_some(cmcd::PARAMETER)).collect()
}
