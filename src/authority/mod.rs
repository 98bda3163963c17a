//! The authorities, which grant, confirm and kill sessions, and the client for all of them.
//!
//! Each kind has a file with its `Dialect`; [`AuthorityClient`] does the I/O for all: deadlines, faults, breakers,
//! metrics. The embedded authority answers without a network, from its [`ledger`]. The dispatcher of `sessions` calls
//! it for opens, beats and closes, and `gateway` for a player's renewal. The core decides what a verdict means for a
//! session.

mod authority_clock;
mod breaker;
mod client;
mod deferrals;
mod dialect;
mod embedded;
#[cfg(test)]
mod example;
mod exchange;
mod firstlight;
mod health;
mod nagra_ssm;
mod outage_evidence;
mod reach;
mod registry;
#[cfg(test)]
mod testing;
mod token_keys;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, StatusCode};

pub use self::client::{AuthorityClient, RenewalAnswer};
use self::dialect::{Dialect, DialectSettings};
use self::embedded::LedgerStore;
pub use self::embedded::{EmbeddedAuthority, HeldSlot, KeptSlot, MOVED_SLOT_KEPT, claim};
pub use self::health::CallClass;
use self::health::Health;
use self::reach::AuthorityReach;
pub use self::registry::{Authorities, AuthoritySignals};
pub use self::token_keys::fetch_token_keys;
use crate::clock::Clock;
use crate::config::{self, AuthorityKind, FieldNames, OnUnreachable, SessionUnit, for_each_authority_kind};
use crate::drm::DrmSystem;
pub use crate::ledger;
use crate::registrations::AuthorizationBlock;
use crate::secret::Secret;
use crate::session::{AskKind, Grant, Policy, Reason, Schedule};
use crate::sessions::AuthorityId;
use crate::store::{DialectName, SessionContextRecord, SlotRecord, Store};

/// An authority with its settings. A reload makes a new value, which shares the knowledge and counts of this one.
#[derive(Debug)]
pub struct Authority {
    dialect: Box<dyn Dialect>,
    pub id: AuthorityId,
    pub name: Arc<str>,
    reach: Option<AuthorityReach>,
    pub unit: SessionUnit,
}

macro_rules! define_dialect_of {
    ($($(#[$only:meta])* $kind:ident: $word:literal, $letter:literal, $module:ident, $settings:ident;)*) => {
        /// The dialect of each kind of authority.
        fn dialect_of(kind: AuthorityKind, signals: &AuthoritySignals) -> Box<dyn Dialect> {
            match kind {
                $($(#[$only])* AuthorityKind::$kind(settings) => settings.dialect(signals),)*
            }
        }
    };
}

for_each_authority_kind!(define_dialect_of);

impl Authority {
    pub fn new(config: config::AuthoritySettings, signals: &AuthoritySignals) -> Self {
        Self::speaking(dialect_of(config.kind, signals), config.name.into(), config.unit)
    }

    fn speaking(dialect: Box<dyn Dialect>, name: Arc<str>, unit: SessionUnit) -> Self {
        let reach = dialect.has_breaker().then(|| AuthorityReach::new(Health::new()));
        Self { dialect, id: AuthorityId::of(&name), name, reach, unit }
    }

    /// The same authority with new settings; `None` if they are for another kind.
    fn renewed(&self, config: config::AuthoritySettings, signals: &AuthoritySignals) -> Option<Self> {
        let dialect = self.dialect.renewed(config.kind, signals)?;
        let same_servers = dialect.endpoints() == self.dialect.endpoints();
        let reach = self.reach.as_ref().map(|reach| reach.renewed(signals.clock.now(), same_servers));
        Some(Self { dialect, id: self.id, name: self.name.clone(), reach, unit: config.unit })
    }

    pub fn dialect(&self) -> DialectName {
        self.dialect.name()
    }

    /// True if this authority holds that session of an earlier process. An authority of another kind with the same
    /// name could do nothing with its token.
    pub fn keeps(&self, session: &SessionContextRecord) -> bool {
        session.authority == self.name && session.dialect == self.dialect()
    }

    /// The embedded authority, if this is one; its slots can be inspected.
    pub fn counter(&self) -> Option<&EmbeddedAuthority> {
        self.dialect.embedded()
    }

    /// The configured names of an authorization's fields, and the caller's headers that go with every call.
    pub fn authorization(&self) -> (&FieldNames, &[HeaderName]) {
        self.dialect.authorization()
    }

    /// The route's policy, adapted to this authority.
    pub fn refine(&self, policy: Policy) -> Policy {
        self.dialect.refine(policy)
    }

    /// True if blackouts end playbacks here, false if they are only reported.
    pub fn enforces_blackouts(&self) -> bool {
        self.refine(Policy::default()).stop_on_blackout
    }

    /// The future events of the playback that this authorization names; `now` and `wall` are the same moment.
    pub fn schedule(&self, block: &AuthorizationBlock, now: Instant, wall: Duration) -> Option<Schedule> {
        self.dialect.schedule(block, now, wall)
    }

    /// Makes an embedded authority write its slots to `store`, after it has taken back `records`. A held slot that no
    /// `claimed` token names is free, because its open was never answered; the others keep the claimed interval.
    /// Returns how many are held; `None` for other authorities, which count for themselves.
    fn keep(&self, store: &Arc<dyn Store>, records: &[SlotRecord], claimed: &HashMap<u64, Duration>) -> Option<usize> {
        let keeping = LedgerStore { authority: self.name.clone(), store: store.clone() };
        Some(self.counter()?.keep(keeping, records, claimed))
    }

    /// The reason why the session has ended, if that is known without a network. Its player then need not wait for
    /// the next beat.
    pub fn killed(&self, grant: &Grant) -> Option<Reason> {
        self.counter()?.killed(grant)
    }

    /// True if a reply of a license server with this status may tell of a kill.
    pub fn may_say_killed(&self, system: DrmSystem, status: StatusCode) -> bool {
        self.dialect.may_say_killed(system, status)
    }

    /// The reason of a kill, if this reply of a license server tells of one.
    pub fn killed_by_license_server(&self, system: DrmSystem, status: StatusCode, body: &[u8]) -> Option<Reason> {
        self.dialect.killed_by_license_server(system, status, body)
    }

    /// True if an open needs the player's content token.
    pub fn needs_token(&self) -> bool {
        self.dialect.needs_token()
    }

    /// True if a media route opens its sessions, before any license call.
    pub fn opens_for_media(&self) -> bool {
        self.counter().is_some()
    }

    /// Time since the epoch by which tokens are judged here; `None` if the authority's is not known. It is the
    /// earlier of the authority's and our clock, because either may be wrong; if only one says expired, the authority
    /// judges. An embedded authority uses our clock alone.
    pub fn time(&self, clock: Clock) -> Option<Duration> {
        if self.counter().is_some() {
            return Some(clock.wall());
        }
        let heard = self.reach.as_ref()?.clock.read(clock.unslept());
        heard.map(|time| time.min(clock.wall()))
    }

    /// The error code that tells its players of an expired content token.
    pub fn expired_code(&self) -> Option<i64> {
        self.dialect.expired_code()
    }

    /// True if a Widevine renewal goes to the authority and counts as a beat.
    pub fn renews(&self) -> bool {
        self.dialect.renews()
    }

    /// The name that the vendor's player SDK has for a failed call.
    pub fn error_name(&self) -> fn(AskKind) -> &'static str {
        self.dialect.error_name()
    }

    /// Share of the interval after which a beat is due, and the grace after it.
    pub fn pace(&self) -> (f64, Duration) {
        self.dialect.pace()
    }

    fn health(&self) -> Option<&Health> {
        self.reach.as_ref().map(|reach| &*reach.health)
    }

    /// Time without an answer, if that is an outage.
    pub fn outage(&self, now: Instant) -> Option<Duration> {
        self.health()?.outage(now)
    }

    /// Number of accounts that it has told to wait (429).
    pub fn accounts_waiting(&self, now: Instant) -> usize {
        self.health().map_or(0, |health| health.waiting(now))
    }

    /// True if such calls are spared because none was answered lately; `None` if the authority needs no network.
    pub fn spares(&self, calls: CallClass) -> Option<bool> {
        Some(self.health()?.is_open(calls))
    }

    /// Time for which playbacks go on while it is unreachable.
    pub fn on_unreachable(&self) -> OnUnreachable {
        self.dialect.on_unreachable()
    }

    /// True if an unanswered open may begin a playback on credit.
    fn gives_credit(&self) -> bool {
        let new = self.on_unreachable().new;
        !(new.live.is_zero() && new.vod.is_zero())
    }

    /// The header by which a license call carries its content token when there is no session.
    pub fn token_header(&self, content: &Secret) -> Option<(HeaderName, HeaderValue)> {
        self.dialect.token_header(content)
    }

    /// The header by which a license call carries the session, if this authority wants one.
    pub fn license_header(&self, content: Option<&Secret>, grant: &Grant) -> Option<(HeaderName, HeaderValue)> {
        self.dialect.license_header(content, grant)
    }
}
