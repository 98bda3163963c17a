//! The context of a playback, besides its state: account, device, content, route, policy. A shared session has the
//! context of the playback whose content token opens it.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::device_table::SessionEntry;
use crate::clock::RecordedSpan;
use crate::config::DeviceSource;
use crate::events::PlaybackInfo;
use crate::ids::SessionId;
use crate::registrations::Registration;
use crate::secret::{Fingerprint, Secret};
use crate::session::{AskKind, Device, Playback, Policy, Role, Schedule, StreamType};
use crate::store::{DialectName, SessionContextRecord};
use crate::task::HeldPlace;
use crate::time::EpochTime;
use crate::token::TokenClaims;

/// A device at one authority. Two routes to the same authority share their devices.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DeviceKey(pub(super) u64);

impl DeviceKey {
    /// Makes a key. `source` named the device. Facts that we see ourselves are kept apart from the caller's own
    /// words; otherwise a header with a neighbour's address would make the caller that neighbour. All words of
    /// callers are one kind, because a beacon can name its device only in the query.
    pub fn new(authority: &str, source: DeviceSource, device: &str) -> Self {
        let kind = match source {
            DeviceSource::Mtls | DeviceSource::Peer => source.name(),
            DeviceSource::Body
            | DeviceSource::Cookie
            | DeviceSource::Header
            | DeviceSource::PathSegment
            | DeviceSource::Query
            | DeviceSource::Registered
            | DeviceSource::TokenClaim
            | DeviceSource::Unknown => "said",
        };
        Self(Fingerprint::of_parts(&[authority.as_bytes(), kind.as_bytes(), device.as_bytes()]).get())
    }

    /// A number for the device, where devices are not known.
    pub fn number(self) -> u64 {
        self.0
    }
}

impl DeviceKey {
    /// True if a notice with this device number belongs to this device.
    pub fn is(self, number: u64) -> bool {
        self.0 == number
    }
}

/// Identifies the authority that holds a session, by its name, through all reloads.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AuthorityId(u64);

impl AuthorityId {
    pub fn of(name: &str) -> Self {
        Self(Fingerprint::of(name.as_bytes()).get())
    }
}

/// The current policy of a route. A reload changes it under the running sessions.
#[derive(Debug)]
pub struct LivePolicy(ArcSwap<Policy>);

impl LivePolicy {
    pub fn new(policy: Policy) -> Self {
        Self(ArcSwap::from_pointee(policy))
    }

    /// Sets a new policy, which holds from the next step of every session.
    pub fn change(&self, policy: Policy) {
        self.0.store(Arc::new(policy));
    }

    pub fn now(&self) -> Policy {
        Policy::clone(&self.0.load())
    }
}

/// The part of a context that all sessions of a route and its authority have alike. One is kept for all of them.
#[derive(Debug)]
pub struct SessionRoute {
    pub authority: AuthorityId,
    pub authority_name: Arc<str>,
    /// The authority's dialect.
    pub dialect: DialectName,
    /// Names of failed calls in the authority's player SDK.
    pub error_name: fn(AskKind) -> &'static str,
    pub policy: Arc<LivePolicy>,
    /// Path of the route that opened the session.
    pub route: Arc<str>,
}

impl SessionRoute {
    /// The policy that holds now for a session without future events and without a registered stream type.
    pub fn policy_with(&self, kill_memory: Option<Duration>) -> Policy {
        let policy = self.policy.now();
        let operator_kill_memory = policy.kill_memory;
        Policy {
            kill_memory: kill_memory.unwrap_or(operator_kill_memory),
            operator_kill_memory,
            schedule: None,
            ..policy
        }
    }
}

/// The context that the session of a call would have. Most calls have a live session already, which has its own; so
/// the whole is built only for a call that opens one.
pub trait CallContext: Sync {
    fn network(&self) -> Fingerprint;
    fn of_route(&self) -> &SessionRoute;
    fn policy(&self) -> Policy;
    fn token(&self) -> Option<&Secret>;
    fn whole(&self) -> &Arc<SessionContext>;
}

impl CallContext for Arc<SessionContext> {
    fn network(&self) -> Fingerprint {
        self.network
    }

    fn of_route(&self) -> &SessionRoute {
        &self.of_route
    }

    fn policy(&self) -> Policy {
        SessionContext::policy(self)
    }

    fn token(&self) -> Option<&Secret> {
        self.token.as_ref()
    }

    fn whole(&self) -> &Arc<SessionContext> {
        self
    }
}

/// Kinds of the content and the device, where an embedded authority counts them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CountedGroups {
    pub content: Option<Arc<str>>,
    pub device: Option<Arc<str>>,
}

impl CountedGroups {
    /// `None` if there is neither.
    pub fn of(content: Option<String>, device: Option<String>) -> Option<Box<Self>> {
        let groups = Self { content: content.map(Into::into), device: device.map(Into::into) };
        (groups != Self::default()).then(|| Box::new(groups))
    }
}

/// Kept small, because a million are kept: no text has spare room, and what few sessions have is boxed.
#[derive(Clone, Debug)]
pub struct SessionContext {
    /// The account that the authority counts, if known.
    pub account: Option<Box<str>>,
    /// The content's name, if known. Sessions of one content share it.
    pub content: Option<Arc<str>>,
    /// The device's name from its identity source.
    pub device: Box<str>,
    pub groups: Option<Box<CountedGroups>>,
    /// Replaces the policy's value if the content token tells one, or if there is no token.
    pub kill_memory: Option<Duration>,
    /// The viewer's network, by which failures that one caller provokes are told from those that many meet. Lost in a
    /// restart.
    pub network: Fingerprint,
    pub of_route: Arc<SessionRoute>,
    pub opened: EpochTime,
    /// The registration of the playback, if there is one.
    pub registration: Option<Arc<Registration>>,
    /// The kind of the identity source that named the device.
    pub device_source: DeviceSource,
    /// Future events of the playback, if it was registered with them.
    pub schedule: Option<Box<Schedule>>,
    /// The registered stream type.
    pub stream: Option<StreamType>,
    /// The content token that opens the session.
    pub token: Option<Secret>,
}

impl Deref for SessionContext {
    type Target = SessionRoute;

    fn deref(&self) -> &SessionRoute {
        &self.of_route
    }
}

impl SessionContext {
    /// The policy that holds for the session now.
    pub fn policy(&self) -> Policy {
        let policy = self.of_route.policy_with(self.kill_memory);
        Policy { schedule: self.schedule.as_deref().cloned(), stream: self.stream.or(policy.stream), ..policy }
    }

    /// True if the session would be opened with no token or an expired one.
    pub(super) fn has_expired_token(&self, wall: Duration) -> bool {
        let claims = |token: &Secret| TokenClaims::peek(token.expose());
        self.token.as_ref().is_none_or(|token| claims(token).is_some_and(|it| it.expired_for(wall).is_some()))
    }

    /// Names the playback for observers of its events.
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
    /// The context as a record for the store.
    pub(super) fn record(&self) -> Arc<SessionContextRecord> {
        let Self { account, content, device, groups, kill_memory, opened, registration, device_source, token, .. } =
            self;
        let SessionRoute { authority_name, dialect, route, .. } = &**self;
        let CountedGroups { content: content_group, device: device_group } =
            groups.as_deref().cloned().unwrap_or_default();
        Arc::new(SessionContextRecord {
            account: account.clone().map(Into::into),
            authority: authority_name.clone(),
            authorization: registration.as_ref().and_then(|registration| registration.block.clone()),
            content: content.as_deref().map(str::to_owned),
            content_group: content_group.as_deref().map(str::to_owned),
            device: device.to_string(),
            device_group: device_group.as_deref().map(str::to_owned),
            dialect: *dialect,
            kill_memory: kill_memory.map(RecordedSpan::from),
            opened: *opened,
            registration: registration.as_ref().map(|registration| registration.id),
            route: route.clone(),
            device_source: *device_source,
            token: token.clone(),
        })
    }
}

/// Updates the contexts of shared sessions before the effects of a step: an open uses the newest accepted content
/// token.
pub(super) fn share_cards(device: &mut Device<SessionEntry>) {
    let newest = |session: &Playback<SessionEntry>| {
        let Role::DeviceSession { by } = session.role else { return None };
        let playback = device.playbacks().iter().find(|playback| playback.id == by)?;
        let is_news = playback.entry.context.token.is_some()
            && playback.first_token() != session.entry.rare().and_then(|rare| rare.opened_by);
        is_news.then(|| (session.id, playback.first_token(), playback.entry.context.clone()))
    };
    let news: Vec<_> = device.playbacks().iter().filter_map(newest).collect();
    for (session, token, of) in news {
        let Some(playback) = device.playback_mut(session) else { continue };
        // The session keeps its position in the list of all sessions.
        let opened = playback.entry.context.opened;
        playback.entry.change_context(Arc::new(SessionContext { opened, ..SessionContext::clone(&of) }));
        playback.entry.rare_mut().opened_by = token;
    }
}

/// Takes the place of the caller that this session is opened for. No player calls a shared session itself, so the
/// playbacks that share it hold the places.
pub(super) fn take_place(device: &mut Device<SessionEntry>, id: SessionId) -> Option<HeldPlace> {
    let opened_by = match device.playback(id)?.role {
        Role::DeviceSession { by } => by,
        Role::Alone | Role::Sharing(_) => id,
    };
    let holds_place = |p: &Playback<SessionEntry>| p.entry.rare().is_some_and(|rare| rare.place.is_some());
    let waits_for_it = |p: &&Playback<SessionEntry>| holds_place(p) && (p.id == id || p.shares() == Some(id));
    let caller = device.playbacks().iter().filter(waits_for_it).max_by_key(|p| p.id == opened_by)?.id;
    device.playback_mut(caller)?.entry.rare_if_any()?.place.take()
}
