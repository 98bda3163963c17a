//! Names device and account of a refused caller for the log, as far as its call or playback tells them.

use http::{HeaderMap, Response};

use super::account::{SessionAccount, network};
use super::{CallIdentity, IdentityClues};
use crate::edge::Peer;
use crate::edge::own_replies::{RefusedCaller, is_refusal};
use crate::gateway::Gateway;
use crate::gateway::route::GatewayRoute;
use crate::registrations::Registration;
use crate::secret::Fingerprint;

/// Names of a refused caller.
#[derive(Clone, Debug, Default)]
pub(in crate::gateway) struct CallerNames {
    pub(in crate::gateway) account: Option<String>,
    pub(in crate::gateway) device: Option<String>,
    /// See [`SessionAccount::is_proven`].
    pub(in crate::gateway) is_proven: bool,
    /// See [`crate::sessions::SessionContext::network`].
    pub(in crate::gateway) network: Fingerprint,
}

impl CallerNames {
    pub(in crate::gateway) fn of(identity: &CallIdentity) -> Self {
        let SessionAccount { account, is_proven, network, .. } = &identity.counted;
        let device = identity.device_name().map(str::to_owned);
        Self { account: account.clone(), device, is_proven: *is_proven, network: *network }
    }

    pub(in crate::gateway) fn of_registered(registration: &Registration, peer: &Peer) -> Self {
        let device = Some(registration.device.clone());
        Self { account: None, device, is_proven: false, network: network(peer.address) }
    }
}

impl Gateway {
    /// Names the caller of a license call with these headers and this query. Only a believable token counts.
    /// `rest` is the path behind the route's path.
    pub(in crate::gateway) fn caller_names(
        &self,
        route: &GatewayRoute,
        peer: &Peer,
        rest: &str,
        headers: &HeaderMap,
        query: Option<&str>,
    ) -> CallerNames {
        let clues = IdentityClues { custom_data: None, headers, peer, query, registration: None, rest, route };
        CallerNames::of(&self.identify_at_once(&clues))
    }

    /// Adds the caller's names to a refusal, for the line that the edge writes.
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
}
