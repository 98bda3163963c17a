//! Whose call it is, and by which name it came to us. For the log: every refusal names device and account, as far as the
//! call or its playback tells them.

use http::header::HOST;
use http::request::Parts;
use http::uri::Authority as HostAndPort;
use http::{HeaderMap, Response};

use super::{IdentityEvidence, SessionAccount};
use crate::edge::reply::{RefusedCaller, is_refusal};
use crate::edge::{Peer, ReplyBody};
use crate::gateway::Gateway;
use crate::gateway::identity;
use crate::gateway::refusal::page::SlotClaim;
use crate::gateway::refusal::{LicensePhase, RefusalBody, ViewerCall};
use crate::gateway::route::Route;
use crate::playbacks::Registration;
use crate::secret::Fingerprint;
use crate::token::TokenClaims;

/// Read only where a call is refused before its story begins.
#[derive(Clone, Debug, Default)]
pub(in crate::gateway) struct CallerNames {
    pub(in crate::gateway) account: Option<String>,
    pub(in crate::gateway) device: Option<String>,
    /// As [`SessionAccount::is_proven`].
    pub(in crate::gateway) is_proven: bool,
    /// As [`crate::sessions::Card::network`].
    pub(in crate::gateway) network: Fingerprint,
}

impl CallerNames {
    pub(in crate::gateway) fn of_registered(registration: &Registration, peer: &Peer) -> Self {
        let device = Some(registration.device.clone());
        Self { account: None, device, is_proven: false, network: identity::network(peer.address) }
    }

    fn slot_claim(&self) -> Option<SlotClaim<'_>> {
        SlotClaim::of(self.account.as_deref(), self.device.as_deref(), self.is_proven)
    }
}

impl Gateway {
    /// As a license call with these headers and this query would tell; of its token, what may be believed. `rest`:
    /// what follows the route's path.
    pub(in crate::gateway) fn caller_names(
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
            identity::device(&route.config.device, &IdentityEvidence { claims, headers, peer, query, rest })
        };
        let claims = match authority {
            Some(authority) => self.prove_at_once(authority, token.as_ref(), |claims| device(Some(claims))).flatten(),
            None => token.as_ref().and_then(|token| TokenClaims::peek(token.expose())),
        };
        let device = device(claims.as_ref()).map(|(device, _)| device);
        let evidence = IdentityEvidence { claims: claims.as_ref(), headers, peer, query, rest };
        let SessionAccount { account, is_proven, network, .. } =
            SessionAccount::read(authority, &evidence, device.as_deref());
        CallerNames { account, device, is_proven, network }
    }

    /// How this caller reaches us, if anything says. Its own name for us is good enough where none is
    /// configured: it is told to nobody else.
    pub(in crate::gateway) fn base(&self, peer: &Peer, parts: &Parts) -> Option<String> {
        self.base_of(peer.tls, parts.uri.authority(), &parts.headers)
    }

    /// As [`Self::base`].
    pub(in crate::gateway) fn base_of(
        &self,
        tls: bool,
        target: Option<&HostAndPort>,
        headers: &HeaderMap,
    ) -> Option<String> {
        if let Some(base) = &self.public_url {
            return Some(base.to_string());
        }
        let host = || headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = target.map(HostAndPort::as_str).or_else(host)?;
        Some(format!("{}://{host}", if tls { "https" } else { "http" }))
    }

    /// A refusal with the names of who is refused, for the line that the edge writes.
    pub(in crate::gateway) fn naming<B>(
        &self,
        mut response: Response<B>,
        caller: impl FnOnce() -> CallerNames,
    ) -> Response<B> {
        if is_refusal(&response) {
            let CallerNames { account, device, .. } = caller();
            let shown = |name: Option<String>| name.map(|name| self.telemetry.shown(&name));
            response.extensions_mut().insert(RefusedCaller { account: shown(account), device: shown(device) });
        }
        response
    }

    /// As 403 with JSON, where no DRM has a shape of its own; logged here, with its incident.
    pub(in crate::gateway) fn turn_away(
        &self,
        route: &Route,
        (caller, call): (&CallerNames, Option<ViewerCall<'_>>),
        turned: &RefusalBody,
        phase: LicensePhase,
    ) -> Response<ReplyBody> {
        let incident = crate::ids::Incident::random();
        let CallerNames { account, device, network, .. } = caller;
        if self.telemetry.may_write("refused", device.as_deref().unwrap_or_default(), *network) {
            let said = self.telemetry.said(&turned.message, [device.as_deref(), account.as_deref()]);
            let [device, account] =
                [device, account].map(|name| name.as_deref().map(|name| self.telemetry.shown(name)));
            tracing::info!(
                %incident, device, account, route = &*route.path, error = turned.error, code = turned.code,
                errorCode = turned.error_code, said = &*said, "refused"
            );
        }
        match call {
            Some(call) => self.helped(route, turned, incident, (call, caller.slot_claim())).reply(phase, incident),
            None => turned.reply(phase, incident),
        }
    }
}
