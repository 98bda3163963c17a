//! Builds the context of a session: account, policy and content. No other place does.

use std::sync::Arc;
use std::time::Duration;

use super::identity::account::SessionAccount;
use super::identity::sources::DeviceIdentity;
use super::route::GatewayRoute;
use crate::authority::Authority;
use crate::registrations::Registration;
use crate::secret::Secret;
use crate::session::{Schedule, StreamType};
use crate::sessions::{LivePolicy, SessionContext};

/// The part of a session's context that depends on how the session begins. The fields are those of
/// [`SessionContext`].
#[derive(Default)]
pub(super) struct SessionOrigin {
    pub(super) content: Option<String>,
    pub(super) counted: SessionAccount,
    pub(super) device: DeviceIdentity,
    pub(super) kill_memory: Option<Duration>,
    pub(super) opened: Duration,
    pub(super) registration: Option<Arc<Registration>>,
    pub(super) schedule: Option<Schedule>,
    pub(super) stream: Option<StreamType>,
    pub(super) token: Option<Secret>,
}

impl SessionOrigin {
    /// Builds the context for a call of this route.
    pub(super) fn context(self, route: &GatewayRoute, authority: &Authority) -> Arc<SessionContext> {
        self.context_by(authority, route.path.clone(), route.policy.clone())
    }

    /// Builds the context with a policy. `route` is a path, whose route may be gone.
    pub(super) fn context_by(
        self,
        authority: &Authority,
        route: Arc<str>,
        policy: Arc<LivePolicy>,
    ) -> Arc<SessionContext> {
        let SessionAccount { account, by_device: _, content_group, device_group, is_proven: _, network } = self.counted;
        Arc::new(SessionContext {
            account,
            authority: authority.id,
            authority_name: authority.name.clone(),
            content: self.content,
            content_group,
            device: self.device.name,
            device_group,
            dialect: authority.dialect(),
            error_name: authority.error_name(),
            kill_memory: self.kill_memory,
            network,
            opened: self.opened,
            policy,
            registration: self.registration,
            route,
            device_source: self.device.source,
            schedule: self.schedule,
            stream: self.stream,
            token: self.token,
        })
    }
}
