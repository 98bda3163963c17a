//! Resolves the caller, for every route and every kind of call.
//!
//! First the call's content token is found and proven. Then the route's first identity source that answers names
//! the device, and the authority's own sources name the account and the groups. A call below a playback's own
//! path belongs to that playback's device. No authority is asked, and nothing is decided here.

pub(super) mod account;
pub(super) mod caller;
pub(super) mod content_token;
pub(super) mod sources;
pub(super) mod watch;

use std::sync::Arc;

use http::HeaderMap;

use self::account::SessionAccount;
use self::sources::{DeviceIdentity, IdentityEvidence};
use super::Gateway;
use super::route::GatewayRoute;
use crate::authority::Authority;
use crate::edge::Peer;
use crate::ids::PlaybackId;
use crate::registrations::Registration;
use crate::secret::{Fingerprint, Secret};
use crate::sessions::DeviceKey;
use crate::token::{TokenClaims, TokenFault};

/// The parts of a call that may identify the caller.
#[derive(Clone, Copy)]
pub(super) struct IdentityClues<'a> {
    /// Custom data of the call's DRM message.
    pub(super) custom_data: Option<&'a Secret>,
    pub(super) headers: &'a HeaderMap,
    pub(super) peer: &'a Peer,
    pub(super) query: Option<&'a str>,
    /// The playback that the call belongs to. Its device is the caller.
    pub(super) registration: Option<&'a Registration>,
    /// The path behind the route's path.
    pub(super) rest: &'a str,
    pub(super) route: &'a GatewayRoute,
}

/// The caller, as far as it may be believed.
pub(super) struct CallIdentity {
    /// The content token's claims, if they may be believed.
    pub(super) claims: Option<TokenClaims>,
    pub(super) counted: SessionAccount,
    pub(super) device: Option<DeviceIdentity>,
    pub(super) token: Option<Secret>,
    /// The reason why the token proves nothing, where it must prove something.
    pub(super) token_fault: Option<TokenFault>,
}

/// No playback of this route has this id.
#[derive(Debug)]
pub(super) struct UnknownPlayback;

impl<'a> IdentityClues<'a> {
    fn content_token(&self) -> Option<Secret> {
        let sources = &self.route.config.content_token;
        content_token::content_token(sources, self.headers, self.query, self.custom_data)
    }

    fn evidence(&self, claims: Option<&'a TokenClaims>) -> IdentityEvidence<'a> {
        let Self { headers, peer, query, rest, .. } = *self;
        IdentityEvidence { claims, headers, peer, query, rest }
    }

    fn device(&self, claims: Option<&TokenClaims>) -> Option<DeviceIdentity> {
        if let Some(registration) = self.registration {
            return Some(DeviceIdentity { name: registration.device.clone(), source: registration.device_source });
        }
        let Self { headers, peer, query, rest, route, .. } = *self;
        sources::device(&route.config.device, &IdentityEvidence { claims, headers, peer, query, rest })
    }

    /// The account for a session of the registered playback when the call brings no token.
    pub(super) fn counted_without_token(&self) -> SessionAccount {
        let device = self.device(None);
        let name = device.as_ref().map(|device| &*device.name);
        SessionAccount::read(self.route.authority.as_deref(), &self.evidence(None), name)
    }

    fn identity(&self, token: Option<Secret>, proven: Result<Option<TokenClaims>, TokenFault>) -> CallIdentity {
        let token_fault = proven.as_ref().err().copied();
        let claims = proven.ok().flatten();
        let device = self.device(claims.as_ref());
        let Self { headers, peer, query, rest, route, .. } = *self;
        let evidence = IdentityEvidence { claims: claims.as_ref(), headers, peer, query, rest };
        let name = device.as_ref().map(|device| &*device.name);
        let counted = SessionAccount::read(route.authority.as_deref(), &evidence, name);
        CallIdentity { claims, counted, device, token, token_fault }
    }
}

impl CallIdentity {
    pub(super) fn device_name(&self) -> Option<&str> {
        self.device.as_ref().map(|device| &*device.name)
    }

    pub(super) fn key(&self, authority: &Authority) -> Option<DeviceKey> {
        self.device.as_ref().map(|device| device.key(authority))
    }

    /// The content token by which the playback is known.
    pub(super) fn playback_token(&self) -> Option<Fingerprint> {
        content_token::of_playback(self.token.as_ref(), self.claims.as_ref())
    }
}

impl Gateway {
    /// Resolves a call that may wait: fetches the authority's token keys if the token's key is not known.
    pub(super) async fn identify(&self, clues: &IdentityClues<'_>) -> CallIdentity {
        let token = clues.content_token();
        let proven = self.prove(clues.route, token.as_ref(), |claims| clues.device(Some(claims))).await;
        clues.identity(token, proven)
    }

    /// Resolves a call without waiting for keys.
    pub(super) fn identify_at_once(&self, clues: &IdentityClues<'_>) -> CallIdentity {
        let token = clues.content_token();
        let authority = clues.route.authority.as_deref();
        let proven = self.prove_at_once(authority, token.as_ref(), |claims| clues.device(Some(claims)));
        clues.identity(token, proven)
    }

    /// The device whose playback a `~stop`, `~report` or `~events` call means, and its content token. `None` if
    /// the call is not to be heard.
    pub(super) fn identify_control_call(&self, clues: &IdentityClues<'_>) -> Option<(DeviceKey, Option<Fingerprint>)> {
        let registered = self.registered(clues.route, clues.rest).ok()?;
        let authority = clues.route.authority.as_deref()?;
        if let (Some(registration), _) = registered {
            let key = DeviceKey::new(&authority.name, registration.device_source, &registration.device);
            return Some((key, Some(registration.token())));
        }
        let token = clues.content_token();
        let proven = self.prove_control_call(authority, token.as_ref(), |claims| clues.device(Some(claims)))?;
        let identity = clues.identity(token, Ok(proven));
        let (named, token) = (identity.key(authority), identity.playback_token());
        let playing = token.and_then(|token| self.sessions.device_of_token(&authority.name, named, token));
        Some((playing.or(named)?, token))
    }

    /// Splits off the playback that the path names.
    ///
    /// # Errors
    /// The path names a playback that is not known, or not of this route.
    pub(super) fn registered<'a>(
        &self,
        route: &GatewayRoute,
        rest: &'a str,
    ) -> Result<(Option<Arc<Registration>>, &'a str), UnknownPlayback> {
        let Some((id, after)) = PlaybackId::strip(rest) else { return Ok((None, rest)) };
        let registration = self.registrations.find(self.clock.now(), id).ok_or(UnknownPlayback)?;
        if route.may_have(&registration) { Ok((Some(registration), after)) } else { Err(UnknownPlayback) }
    }
}
