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
use crate::sessions::{CountedGroups, SessionContext, SessionRoute};

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
        self.context_of(route.context_at(authority))
    }

    /// Builds the context with the part that it shares with other sessions.
    pub(super) fn context_of(self, of_route: Arc<SessionRoute>) -> Arc<SessionContext> {
        let SessionAccount { account, by_device: _, content_group, device_group, is_proven: _, network } = self.counted;
        Arc::new(SessionContext {
            account: account.map(Into::into),
            content: self.content.map(Into::into),
            device: self.device.name.into(),
            groups: CountedGroups::of(content_group, device_group),
            kill_memory: self.kill_memory,
            network,
            of_route,
            opened: self.opened.into(),
            registration: self.registration,
            device_source: self.device.source,
            schedule: self.schedule.map(Box::new),
            stream: self.stream,
            token: self.token,
        })
    }
}
