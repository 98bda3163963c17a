//! The values that the stages of a license call share.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::request::LicenseRequest;
use super::single_flight::FlightLead;
use crate::authority::Authority;
use crate::gateway::Gateway;
use crate::gateway::route::LicenseRoute;
use crate::secret::{Fingerprint, Secret};
use crate::session::{PlayerCall, Policy};
use crate::sessions::{CallContext, DeviceKey, SessionContext, SessionRoute};

pub(in crate::gateway) struct LicenseCall<'a> {
    /// The player must have its reply by then.
    pub(in crate::gateway) deadline: Instant,
    pub(in crate::gateway) gateway: &'a Gateway,
    /// Present if equal calls may wait for the same reply.
    pub(in crate::gateway) lead: Option<&'a FlightLead>,
    pub(in crate::gateway) request: &'a LicenseRequest,
    pub(in crate::gateway) route: &'a LicenseRoute,
}

/// Additional facts of a call that may belong to a session.
pub(in crate::gateway) struct ManagedCall<'a> {
    pub(in crate::gateway) authority: &'a Authority,
    pub(in crate::gateway) call: PlayerCall,
    pub(in crate::gateway) context: LazyContext<'a>,
    /// Time since the content token expired.
    pub(in crate::gateway) expired: Option<Duration>,
    pub(in crate::gateway) key: DeviceKey,
}

/// The context of the session that a call may open, built when it is needed.
pub(in crate::gateway) struct LazyContext<'a> {
    authority: &'a Authority,
    call: &'a LicenseCall<'a>,
    of_route: Arc<SessionRoute>,
    whole: OnceLock<Arc<SessionContext>>,
}

impl CallContext for LazyContext<'_> {
    fn network(&self) -> Fingerprint {
        self.call.request.identity.counted.network
    }

    fn of_route(&self) -> &SessionRoute {
        &self.of_route
    }

    fn policy(&self) -> Policy {
        let Self { authority, call, of_route, .. } = self;
        if call.request.registration.is_some() {
            return self.whole().policy();
        }
        of_route.policy_with(call.request.kill_memory(authority, call.gateway.clock))
    }

    fn token(&self) -> Option<&Secret> {
        self.call.request.identity.token.as_ref()
    }

    fn whole(&self) -> &Arc<SessionContext> {
        let Self { authority, call, of_route, whole } = self;
        whole.get_or_init(|| call.request.session_context(of_route.clone(), authority, call.gateway.clock))
    }
}

impl LicenseCall<'_> {
    /// Facts for the core; `None` if the call has no session.
    pub(in crate::gateway) fn managed(&self) -> Option<ManagedCall<'_>> {
        let authority = self.route.authority.as_deref()?;
        let clock = self.gateway.clock;
        let expired = self.request.expired_for(authority, clock);
        let call = self.request.call(self.route, authority, expired.is_some())?;
        let key = self.request.key(authority)?;
        let of_route = self.route.context_at(authority);
        let context = LazyContext { authority, call: self, of_route, whole: OnceLock::new() };
        Some(ManagedCall { authority, call, context, expired, key })
    }

    /// True if a line of this kind may still be written about the call's device and network.
    pub(in crate::gateway) fn may_write(&self, kind: &'static str) -> bool {
        let device = self.request.identity.device_name();
        self.gateway.telemetry.may_write(kind, device.unwrap_or_default(), self.request.identity.counted.network)
    }

    /// Device and account as the log shows them.
    pub(in crate::gateway) fn identity(&self) -> (Option<String>, Option<String>) {
        let shown = |name: &str| self.gateway.telemetry.shown(name);
        let device = self.request.identity.device_name().map(shown);
        (device, self.request.identity.counted.account.as_deref().map(shown))
    }
}
