//! What is known about a playback beside its state: who plays what, where, under which policy.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::clock::RecordedSpan;
use crate::events::PlaybackInfo;
use crate::ids::SessionId;
use crate::registrations::Registration;
use crate::secret::{Fingerprint, Secret};
use crate::session::{AskKind, Policy, Schedule, StreamType};
use crate::store::{DialectName, SessionContextRecord};
use crate::token::TokenClaims;

/// A device at one authority. Two routes to the same authority share their devices.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DeviceKey(pub(super) u64);

impl DeviceKey {
    /// `rung` of the identity ladder said so. What we see ourselves stands apart from what callers say
    /// of themselves, or a header with a neighbour's address would make one the neighbour. All that is
    /// said is one: a beacon can name its device in the query alone.
    pub fn new(authority: &str, rung: &str, device: &str) -> Self {
        let kind = if matches!(rung, "mtls" | "peer") { rung } else { "said" };
        Self(Fingerprint::of_parts(&[authority.as_bytes(), kind.as_bytes(), device.as_bytes()]).0)
    }

    /// A name for it where nobody knows devices.
    pub fn number(self) -> u64 {
        self.0
    }
}

impl DeviceKey {
    /// Whether a notice of this device number is of this device.
    pub fn is(self, number: u64) -> bool {
        self.0 == number
    }
}

/// Which authority a session is held at: the one of a name, through all reloads.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AuthorityId(u64);

impl AuthorityId {
    pub fn of(name: &str) -> Self {
        Self(Fingerprint::of(name.as_bytes()).0)
    }
}

/// The policy of a route as it stands: a reload changes it under the sessions that run by it.
#[derive(Debug)]
pub struct LivePolicy(ArcSwap<Policy>);

impl LivePolicy {
    pub fn new(policy: Policy) -> Self {
        Self(ArcSwap::from_pointee(policy))
    }

    /// Holds from the next step of every session on.
    pub fn change(&self, policy: Policy) {
        self.0.store(Arc::new(policy));
    }

    pub fn now(&self) -> Policy {
        Policy::clone(&self.0.load())
    }
}

#[derive(Clone, Debug)]
pub struct SessionContext {
    /// Whom the authority counts, if anything says.
    pub account: Option<String>,
    pub authority: AuthorityId,
    pub authority_name: Arc<str>,
    /// What is played, if anything names it.
    pub content: Option<String>,
    /// The content's and the device's kind, where an embedded authority counts them.
    pub content_group: Option<String>,
    /// As the identity ladder found it.
    pub device: String,
    pub device_group: Option<String>,
    /// The authority's.
    pub dialect: DialectName,
    /// What the authority's player SDK calls a failed call.
    pub error_name: fn(AskKind) -> &'static str,
    /// In place of the policy's own, where its content token tells, or there is none.
    pub kill_memory: Option<Duration>,
    /// The viewer's network address: failures that one caller provokes are told from those that many meet. Not kept
    /// across a restart.
    pub network: Fingerprint,
    /// Wall time since the epoch.
    pub opened: Duration,
    pub policy: Arc<LivePolicy>,
    /// What was registered of it before it began.
    pub registration: Option<Arc<Registration>>,
    /// Path of the route that opened it.
    pub route: Arc<str>,
    /// Which rung of the identity ladder answered.
    pub rung: &'static str,
    /// What the clock will bring, where that was registered.
    pub schedule: Option<Schedule>,
    /// What it plays, where that was registered.
    pub stream: Option<StreamType>,
    /// The content token that opens it.
    pub token: Option<Secret>,
}

impl SessionContext {
    /// What holds for the session now.
    pub fn policy(&self) -> Policy {
        let policy = self.policy.now();
        let (kill_memory, operator_kill_memory) = (self.kill_memory.unwrap_or(policy.kill_memory), policy.kill_memory);
        Policy {
            kill_memory,
            operator_kill_memory,
            schedule: self.schedule.clone(),
            stream: self.stream.or(policy.stream),
            ..policy
        }
    }

    /// Whether it opens its session with nothing that could still be good.
    pub(super) fn has_expired_token(&self, wall: Duration) -> bool {
        let claims = |token: &Secret| TokenClaims::peek(token.expose());
        self.token.as_ref().is_none_or(|token| claims(token).is_some_and(|it| it.expired_for(wall).is_some()))
    }

    /// Whose event it is, for who is told of it.
    pub(super) fn playback(&self, key: DeviceKey, session: SessionId, token: Option<Fingerprint>) -> PlaybackInfo<'_> {
        PlaybackInfo {
            account: self.account.as_deref(),
            authority: &self.authority_name,
            content: self.content.as_deref(),
            device: &self.device,
            error_name: self.error_name,
            key: key.0,
            network: self.network,
            route: &self.route,
            session,
            token,
        }
    }
    /// As it is written down.
    pub(super) fn record(&self) -> Arc<SessionContextRecord> {
        let SessionContext {
            account,
            authority_name,
            content,
            content_group,
            device,
            device_group,
            dialect,
            kill_memory,
            opened,
            registration,
            route,
            rung,
            token,
            ..
        } = self;
        Arc::new(SessionContextRecord {
            account: account.clone(),
            authority: authority_name.clone(),
            authorization: registration.as_ref().and_then(|registration| registration.block.clone()),
            content: content.clone(),
            content_group: content_group.clone(),
            device: device.clone(),
            device_group: device_group.clone(),
            dialect: Some(*dialect),
            kill_memory: kill_memory.map(RecordedSpan::from),
            opened: (*opened).into(),
            registration: registration.as_ref().map(|registration| registration.id),
            route: route.clone(),
            rung: (*rung).to_owned(),
            token: token.clone(),
        })
    }
}
