//! What a content token says, and whether it may be believed.
//!
//! Where the authority has keys, a token counts only if one of them signed it; a call with any other token is refused
//! before anything is asked or ended for it. A token that opened a session was proven then, and stays good for that
//! session: its key may be gone when the player renews or stops. Elsewhere claims are hints, and the authority or the
//! license server proves them.

use super::content_token::of_playback;
use super::sources::DeviceIdentity;
use crate::authority::Authority;
use crate::gateway::Gateway;
use crate::gateway::route::GatewayRoute;
use crate::secret::Secret;
use crate::token::{TokenClaims, TokenFault};

impl Gateway {
    /// The claims of a call's token. Keys that are not known are fetched, if the authority has a place for that.
    /// `device` is whose the call would be if the claims were true.
    ///
    /// # Errors
    /// Why the call is to be refused.
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
        // The rest of the call's time is the license server's.
        authority.fetch_token_keys(self.clock, route.limits.call / 3).await;
        claims()
    }

    /// As [`Self::prove`], without waiting for keys.
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

    /// As [`Self::prove_at_once`], of a control call: it is about the playback of its token, whatever names the device.
    /// None: the call is not to be heard.
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
