//! Finds the home of a session of an earlier process: its route by path, its authority by name.

use std::sync::Arc;

use super::Routes;
use super::identity::account::SessionAccount;
use super::identity::sources::DeviceIdentity;
use super::route::session_route;
use super::session_context::SessionOrigin;
use crate::authority::{Authorities, Authority};
use crate::config::DeviceSource;
use crate::ids::PlaybackId;
use crate::registrations::{AuthorizationBlock, Registration};
use crate::session::Policy;
use crate::sessions::{LivePolicy, RestoreHome, SessionContext, SessionRoute};
use crate::store::SessionContextRecord;

impl Routes {
    /// Policy and dialect come from today's configuration; the rest comes from the record.
    pub fn home(
        &self,
        record: &SessionContextRecord,
        authorities: &Authorities,
        registered: Option<Arc<Registration>>,
    ) -> RestoreHome {
        let Some(authority) = authorities.by_name(&record.authority).filter(|authority| authority.keeps(record)) else {
            return RestoreHome::Gone;
        };
        let ours = |name: &Authority| name.name == authority.name;
        let route = self.at(&record.route).filter(|route| route.authority.as_deref().is_some_and(ours));
        match route {
            Some(route) => RestoreHome::Here(context(record, &authority, route.context_at(&authority), registered)),
            None => {
                let (fraction, grace) = authority.pace();
                // The session is only given back, so it must displace no other.
                let sessions_per_device = usize::MAX;
                let policy =
                    Policy { fraction, grace, renews: authority.renews(), sessions_per_device, ..Policy::default() };
                let policy = authority.refine(policy);
                let policy = Arc::new(LivePolicy::new(policy));
                let of_route = session_route(&authority, record.route.clone(), policy);
                RestoreHome::Leaving(context(record, &authority, of_route, registered))
            }
        }
    }
}

fn context(
    record: &SessionContextRecord,
    authority: &Authority,
    of_route: Arc<SessionRoute>,
    registered: Option<Arc<Registration>>,
) -> Arc<SessionContext> {
    let SessionContextRecord {
        account,
        authority: _,
        authorization,
        content,
        content_group,
        device,
        device_group,
        dialect: _,
        kill_memory,
        opened,
        registration: _,
        route,
        device_source,
        token,
    } = record.clone();
    let stream = authorization.as_ref().and_then(AuthorizationBlock::stream);
    let nameless = |block| Arc::new(nameless(block, authority, &device, &route, device_source));
    let registration = registered.or_else(|| authorization.map(nameless));
    let counted = SessionAccount { account, content_group, device_group, ..SessionAccount::default() };
    let origin = SessionOrigin {
        content,
        counted,
        device: DeviceIdentity { name: device, source: device_source },
        kill_memory: kill_memory.map(Into::into),
        opened: opened.into(),
        registration,
        // The session itself has the schedule.
        schedule: None,
        stream,
        token,
    };
    origin.context_of(of_route)
}

/// Stands in for a forgotten registration. It is enough to beat and close the session with its grant's token. No
/// player is led to it, and the caller's headers are not known.
fn nameless(
    block: AuthorizationBlock,
    authority: &Authority,
    device: &str,
    route: &Arc<str>,
    device_source: DeviceSource,
) -> Registration {
    Registration {
        authority: Some(authority.name.clone()),
        block: Some(block),
        content_token: None,
        content_url: None,
        device: device.to_owned(),
        headers: Vec::new(),
        id: PlaybackId::random(),
        license_url: None,
        route: route.clone(),
        device_source,
    }
}
