//! Whose call it is, for the log: every refusal names device and account, as far as the call or its playback tells them.

use http::{HeaderMap, Response};

use super::Gateway;
use super::identity::{self, Counted, Evidence};
use super::refusal::{Phase, Turned};
use super::route::Route;
use crate::edge::reply::{RefusedCaller, is_refusal};
use crate::edge::{Peer, ReplyBody};
use crate::playbacks::Registration;
use crate::secret::Fingerprint;
use crate::token::TokenClaims;

/// Read only where a call is refused before its story begins.
#[derive(Clone, Debug, Default)]
pub(super) struct CallerNames {
    pub(super) account: Option<String>,
    pub(super) device: Option<String>,
    /// As [`crate::sessions::Card::network`].
    pub(super) network: Fingerprint,
}

impl CallerNames {
    pub(super) fn of_registered(registration: &Registration, peer: &Peer) -> Self {
        let device = Some(registration.device.clone());
        Self { account: None, device, network: identity::network(peer.address) }
    }
}

impl Gateway {
    /// As a license call with these headers and this query would tell; of its token, what may be believed. `rest`:
    /// what follows the route's path.
    pub(super) fn caller_names(
        &self,
        route: &Route,
        peer: &Peer,
        rest: &str,
        headers: &HeaderMap,
        query: Option<&str>,
    ) -> CallerNames {
        let authority = route.authority.as_deref();
        let token = identity::content_token(&route.config.content_token, headers, query, None);
        let device = |claims: Option<&TokenClaims>| {
            identity::device(&route.config.device, &Evidence { claims, headers, peer, query, rest })
        };
        let claims = match authority {
            Some(authority) => self.prove_at_once(authority, token.as_ref(), |claims| device(Some(claims))).flatten(),
            None => token.as_ref().and_then(|token| TokenClaims::peek(token.expose())),
        };
        let device = device(claims.as_ref()).map(|(device, _)| device);
        let evidence = Evidence { claims: claims.as_ref(), headers, peer, query, rest };
        let Counted { account, network, .. } = Counted::read(authority, &evidence, device.as_deref());
        CallerNames { account, device, network }
    }

    /// A refusal with the names of who is refused, for the line that the edge writes.
    pub(super) fn naming<B>(&self, mut response: Response<B>, caller: impl FnOnce() -> CallerNames) -> Response<B> {
        if is_refusal(&response) {
            let CallerNames { account, device, .. } = caller();
            let shown = |name: Option<String>| name.map(|name| self.telemetry.shown(&name));
            response.extensions_mut().insert(RefusedCaller { account: shown(account), device: shown(device) });
        }
        response
    }

    /// As 403 with JSON, where no DRM has a shape of its own; logged here, with its incident.
    pub(super) fn turn_away(
        &self,
        route: &str,
        caller: &CallerNames,
        turned: &Turned,
        phase: Phase,
    ) -> Response<ReplyBody> {
        let incident = crate::ids::Incident::random();
        let CallerNames { account, device, network } = caller;
        if self.telemetry.may_write("refused", device.as_deref().unwrap_or_default(), *network) {
            let [device, account] =
                [device, account].map(|name| name.as_deref().map(|name| self.telemetry.shown(name)));
            tracing::info!(
                %incident, device, account, route, error = turned.error, code = turned.code,
                errorCode = turned.error_code, said = turned.message, "refused"
            );
        }
        turned.reply(phase, incident)
    }
}
