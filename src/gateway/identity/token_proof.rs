//! What a content token says, and whether it may be believed.
//!
//! Where the authority has keys, a token counts only if one of them signed it; a call with any other token is refused
//! before anything is asked or ended for it. A token that opened a session was proven then, and stays good for that
//! session: its key may be gone when the player renews or stops. Elsewhere claims are hints, and the authority or the
//! license server proves them.

use http::StatusCode;

use super::{IdentityEvidence, SessionAccount};
use crate::authority::Authority;
use crate::edge::Peer;
use crate::gateway::Gateway;
use crate::gateway::identity;
use crate::gateway::license::request::{LicenseRequest, onward_path};
use crate::gateway::license::{CallOutcome, LicenseCall};
use crate::gateway::refusal::{LicensePhase, RefusalBody};
use crate::gateway::route::Route;
use crate::secret::Secret;
use crate::session::AskKind;
use crate::sessions::DeviceKey;
use crate::telemetry::Outcome;
use crate::token::{TokenClaims, TokenFault};

impl Gateway {
    /// The claims of a call's token. Keys that are not known are fetched, if the authority has a place for that.
    /// `device` is whose the call would be if the claims were true.
    ///
    /// # Errors
    /// Why the call is to be refused.
    pub(in crate::gateway) async fn prove(
        &self,
        route: &Route,
        token: Option<&Secret>,
        device: impl Fn(&TokenClaims) -> Option<(String, &'static str)>,
    ) -> Result<Option<TokenClaims>, TokenFault> {
        let Some(token) = token else { return Ok(None) };
        let Some(authority) = route.authority.as_deref() else { return Ok(TokenClaims::peek(token.expose())) };
        let claims = || authority.claims(token.expose(), self.clock.wall());
        let Err(fault) = claims() else { return claims() };
        if let Some(claims) = self.proven_before(authority, token, device) {
            return Ok(Some(claims));
        }
        if !fault.wants_keys() {
            return Err(fault);
        }
        // The rest of the call's time is the license server's.
        authority.fetch_token_keys(self.clock, route.limits.call / 3).await;
        claims()
    }

    /// As [`Self::prove`], for what waits for nothing. None: it is not to be heard.
    pub(in crate::gateway) fn prove_at_once(
        &self,
        authority: &Authority,
        token: Option<&Secret>,
        device: impl Fn(&TokenClaims) -> Option<(String, &'static str)>,
    ) -> Option<Option<TokenClaims>> {
        let Some(token) = token else { return Some(None) };
        match authority.claims(token.expose(), self.clock.wall()) {
            Ok(claims) => Some(claims),
            Err(_) => self.proven_before(authority, token, device).map(Some),
        }
    }

    /// As [`Self::prove_at_once`], of a sign of life or end: it is of the playback of its token, whatever names the
    /// device.
    pub(in crate::gateway) fn prove_sign(
        &self,
        authority: &Authority,
        token: Option<&Secret>,
        device: impl Fn(&TokenClaims) -> Option<(String, &'static str)>,
    ) -> Option<Option<TokenClaims>> {
        let proven = self.prove_at_once(authority, token, device);
        proven.or_else(|| {
            let token = token?;
            let claims = TokenClaims::peek(token.expose())?;
            let print = identity::of_playback(Some(token), Some(&claims))?;
            self.sessions.device_of_token(&authority.name, None, print).map(|_| Some(claims))
        })
    }

    fn proven_before(
        &self,
        authority: &Authority,
        token: &Secret,
        device: impl Fn(&TokenClaims) -> Option<(String, &'static str)>,
    ) -> Option<TokenClaims> {
        let claims = TokenClaims::peek(token.expose())?;
        let (device, rung) = device(&claims)?;
        let key = DeviceKey::new(&authority.name, rung, &device);
        let token = identity::of_playback(Some(token), Some(&claims))?;
        self.sessions.plays_with(key, token).then_some(claims)
    }
}

impl LicenseRequest {
    /// `rest` and `query` of the player's own URL.
    pub(in crate::gateway) fn device(
        &self,
        route: &Route,
        peer: &Peer,
        (rest, query): (&str, Option<&str>),
        claims: Option<&TokenClaims>,
    ) -> Option<(String, &'static str)> {
        if let Some(registration) = &self.registration {
            return Some((registration.device.clone(), registration.rung));
        }
        identity::device(&route.config.device, &IdentityEvidence { claims, headers: &self.headers, peer, query, rest })
    }

    /// `claims`: what its token says, if that may be believed.
    pub(in crate::gateway) fn identify(
        &mut self,
        route: &Route,
        peer: &Peer,
        (rest, query): (&str, Option<&str>),
        claims: Option<TokenClaims>,
    ) {
        let device = self.device(route, peer, (rest, query), claims.as_ref());
        let evidence = IdentityEvidence { claims: claims.as_ref(), headers: &self.headers, peer, query, rest };
        let name = device.as_ref().map(|(device, _)| device.as_str());
        self.counted = SessionAccount::read(route.authority.as_deref(), &evidence, name);
        // Of a registered playback the path names nothing more.
        let rung = device.as_ref().map(|(_, rung)| *rung).filter(|_| self.registration.is_none());
        self.onward.path = onward_path(route, rest, rung);
        (self.claims, self.device) = (claims, device);
    }
}

impl LicenseCall<'_> {
    pub(in crate::gateway) fn turn_unproven_away(&self) -> Option<CallOutcome> {
        let turned = unproven(self.route.authority.as_deref()?, self.request.token_fault?);
        self.note_refused(turned.message.clone());
        Some((Outcome::Refused, self.turn_away(LicensePhase::License, &turned, None)))
    }
}

/// How a call is refused whose token proves nothing.
pub(in crate::gateway) fn unproven(authority: &Authority, fault: TokenFault) -> RefusalBody {
    let keys_missing = match fault {
        TokenFault::NoKeys => true,
        TokenFault::UnknownKey => authority.misses_token_keys(),
        TokenFault::Algorithm
        | TokenFault::Ambiguous
        | TokenFault::Early
        | TokenFault::Elsewhere
        | TokenFault::Malformed
        | TokenFault::Signature
        | TokenFault::Unnamed
        | TokenFault::Unsigned => false,
    };
    let turned = match fault {
        _ if keys_missing => RefusalBody {
            comes_again: Some(StatusCode::SERVICE_UNAVAILABLE),
            ..RefusalBody::ours(503, "token_keys_missing", "The keys that verify content tokens are not there now.")
        },
        TokenFault::Ambiguous => RefusalBody::ours(
            403,
            "token_ambiguous",
            "The call brings several content tokens; send the playback's own alone.",
        ),
        TokenFault::Early => RefusalBody::ours(403, "token_early", "The content token is not valid yet."),
        TokenFault::Algorithm
        | TokenFault::Elsewhere
        | TokenFault::Malformed
        | TokenFault::NoKeys
        | TokenFault::Signature
        | TokenFault::UnknownKey
        | TokenFault::Unnamed
        | TokenFault::Unsigned => {
            RefusalBody::ours(403, "token_unverified", "The content token could not be verified.")
        }
    };
    RefusalBody { event: Some(authority.error_name()(AskKind::Open)), message: fault.to_string(), ..turned }
}

/// How a call is refused that brings no token where one must prove whose it is.
pub(in crate::gateway) fn unnamed(authority: &Authority) -> RefusalBody {
    const DETAIL: &str = "The call brings no content token, which this route verifies.";
    RefusalBody {
        event: Some(authority.error_name()(AskKind::Open)),
        ..RefusalBody::ours(403, "token_missing", DETAIL)
    }
}
