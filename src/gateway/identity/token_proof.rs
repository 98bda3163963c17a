//! Proves content tokens.
//!
//! Where the authority has keys, a token counts only if one of them signed it; a call with any other token is
//! refused first of all. A token that opened a session was proven then, and stays good for that session, because
//! its key may be gone when the player renews or stops. Without keys, claims are hints that the authority or the
//! license server proves.

use super::content_token::of_playback;
use super::sources::DeviceIdentity;
use crate::authority::Authority;
use crate::gateway::Gateway;
use crate::gateway::route::GatewayRoute;
use crate::secret::Secret;
use crate::token::{TokenClaims, TokenFault};

impl Gateway {
    /// Proves the token of a call and returns its claims. Fetches unknown keys if the authority publishes any.
    /// `device` tells which device the call would belong to if the claims were true.
    ///
    /// # Errors
    /// The token proves nothing.
    pub(in crate::gateway) async fn prove(
        &self,
        route: &GatewayRoute,
        token: Option<&Secret>,
        device: impl Fn(&TokenClaims) -> Option<DeviceIdentity>,
    ) -> Result<Option<TokenClaims>, TokenFault> {
        let Some(token) = token else { return Ok(None) };
        let Some(authority) = route.authority.as_deref() else { return Ok(TokenClaims::peek(token.expose())) };
        let claims = || authority.claims(token.expose(), self.clock.wall());
        let fault = match claims() {
            Err(fault) => fault,
            proven => return proven,
        };
        if let Some(claims) = self.proven_before(authority, token, device) {
            return Ok(Some(claims));
        }
        if !fault.wants_keys() {
            return Err(fault);
        }
        // The license server needs the rest of the call's time.
        authority.fetch_token_keys(self.clock, route.limits.call / 3).await;
        claims()
    }

    /// Like [`Self::prove`], without waiting for keys.
    pub(in crate::gateway) fn prove_at_once(
        &self,
        authority: Option<&Authority>,
        token: Option<&Secret>,
        device: impl Fn(&TokenClaims) -> Option<DeviceIdentity>,
    ) -> Result<Option<TokenClaims>, TokenFault> {
        let Some(token) = token else { return Ok(None) };
        let Some(authority) = authority else { return Ok(TokenClaims::peek(token.expose())) };
        let proven = authority.claims(token.expose(), self.clock.wall());
        proven.or_else(|fault| self.proven_before(authority, token, device).map(Some).ok_or(fault))
    }

    /// Like [`Self::prove_at_once`], for a control call: it concerns the playback of its token, whichever device
    /// it names. `None` if the call is not to be heard.
    pub(in crate::gateway) fn prove_control_call(
        &self,
        authority: &Authority,
        token: Option<&Secret>,
        device: impl Fn(&TokenClaims) -> Option<DeviceIdentity>,
    ) -> Option<Option<TokenClaims>> {
        let proven = self.prove_at_once(Some(authority), token, device);
        proven.ok().or_else(|| {
            let token = token?;
            let claims = TokenClaims::peek(token.expose())?;
            let print = of_playback(Some(token), Some(&claims))?;
            self.sessions.device_of_token(&authority.name, None, print).map(|_| Some(claims))
        })
    }

    fn proven_before(
        &self,
        authority: &Authority,
        token: &Secret,
        device: impl Fn(&TokenClaims) -> Option<DeviceIdentity>,
    ) -> Option<TokenClaims> {
        let claims = TokenClaims::peek(token.expose())?;
        let key = device(&claims)?.key(authority);
        let token = of_playback(Some(token), Some(&claims))?;
        self.sessions.plays_with(key, token).then_some(claims)
    }
}
