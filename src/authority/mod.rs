//! The authorities, which grant, confirm and kill sessions, and the one client that speaks with all of them.
//!
//! How each speaks stands in a file of its own, as a `Dialect`; [`AuthorityClient`] does the I/O for every dialect:
//! deadline, fault, breaker, metrics. The embedded authority answers without a network, over its [`ledger`]. Called
//! by the pump of `sessions` for opens, beats and closes, and by `gateway` for a player's renewal. The meaning of a
//! verdict for a session is the core's business.

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
pub mod ledger;
mod nagra_ssm;
mod outage;
mod outage_evidence;
mod pushed_kills;
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
use self::dialect::Dialect;
use self::embedded::LedgerStore;
pub use self::embedded::{EmbeddedAuthority, HeldSlot, KeptSlot, MOVED_SLOT_KEPT, claim};
#[cfg(test)]
use self::example::ExampleDialect;
pub use self::health::CallClass;
use self::health::Health;
use self::nagra_ssm::SsmDialect;
pub use self::outage::watch;
use self::reach::AuthorityReach;
pub use self::registry::{Authorities, AuthoritySignals};
pub use self::token_keys::fetch_token_keys;
use crate::clock::Clock;
use crate::config::{self, AuthorityKind, FieldNames, OnUnreachable, SessionUnit};
use crate::drm::DrmSystem;
use crate::registrations::AuthorizationBlock;
use crate::secret::Secret;
use crate::session::{AskKind, Grant, Policy, Reason, Schedule};
use crate::sessions::AuthorityId;
use crate::store::{DialectName, SessionContextRecord, SlotRecord, Store};

/// One authority with its settings. Its knowledge and its counts are shared with the values of the same
/// authority that a reload makes after this one.
#[derive(Debug)]
pub struct Authority {
    dialect: Box<dyn Dialect>,
    pub id: AuthorityId,
    pub name: Arc<str>,
    reach: Option<AuthorityReach>,
    pub unit: SessionUnit,
}

/// The dialect of each kind of authority: a new kind has its line here.
fn dialect_of(kind: AuthorityKind, signals: &AuthoritySignals) -> Box<dyn Dialect> {
    match kind {
        AuthorityKind::Embedded(config) => Box::new(EmbeddedAuthority::new(*config, signals)),
        #[cfg(test)]
        AuthorityKind::Example(config) => Box::new(ExampleDialect::new(config)),
        AuthorityKind::FirstLight(config) => config,
        AuthorityKind::NagraSsm(config) => Box::new(SsmDialect::new(config)),
    }
}

impl Authority {
    pub fn new(config: config::AuthoritySettings, signals: &AuthoritySignals) -> Self {
        Self::speaking(dialect_of(config.kind, signals), config.name.into(), config.unit, signals)
    }

    fn speaking(dialect: Box<dyn Dialect>, name: Arc<str>, unit: SessionUnit, signals: &AuthoritySignals) -> Self {
        let reach = dialect.has_breaker().then(|| AuthorityReach::new(Health::new(signals.outage_over.clone())));
        Self { dialect, id: AuthorityId::of(&name), name, reach, unit }
    }

    /// The same authority with new settings; none if they are for another kind.
    fn renewed(&self, config: config::AuthoritySettings, signals: &AuthoritySignals) -> Option<Self> {
        let dialect = self.dialect.renewed(config.kind, signals)?;
        let same_servers = dialect.endpoints() == self.dialect.endpoints();
        let reach = self.reach.as_ref().map(|reach| reach.renewed(same_servers));
        Some(Self { dialect, id: self.id, name: self.name.clone(), reach, unit: config.unit })
    }

    pub fn dialect(&self) -> DialectName {
        self.dialect.name()
    }

    /// True if this session of an earlier process is held there: one of another kind that had the name could do
    /// nothing with its token, and is none of its business.
    pub fn keeps(&self, session: &SessionContextRecord) -> bool {
        session.authority == self.name && session.dialect.is_none_or(|dialect| dialect == self.dialect())
    }

    /// The embedded authority, if it is that one: it can be looked into.
    pub fn counter(&self) -> Option<&EmbeddedAuthority> {
        self.dialect.embedded()
    }

    /// The names of the fields of an authorization, and the caller's headers that go with every call.
    pub fn authorization(&self) -> (&FieldNames, &[HeaderName]) {
        self.dialect.authorization()
    }

    /// The route's policy with what this authority asks for.
    pub fn refine(&self, policy: Policy) -> Policy {
        self.dialect.refine(policy)
    }

    /// True if blackouts end its playbacks here, false if they are told alone.
    pub fn enforces_blackouts(&self) -> bool {
        self.refine(Policy::default()).stop_on_blackout
    }

    /// The moments that the clock will bring to the playback of this authorization; `now` and `wall` are the same
    /// moment.
    pub fn schedule(&self, block: &AuthorizationBlock, now: Instant, wall: Duration) -> Option<Schedule> {
        self.dialect.schedule(block, now, wall)
    }

    /// Lets an embedded authority write its places down in `store`, after taking back `records`. A held
    /// place that none of the `claimed` tokens names is free: its open was never answered; the others live by the
    /// interval beside their token. Returns how many are held; none for other authorities, which count for
    /// themselves.
    fn keep(&self, store: &Arc<dyn Store>, records: &[SlotRecord], claimed: &HashMap<u64, Duration>) -> Option<usize> {
        let keeping = LedgerStore { authority: self.name.clone(), store: store.clone() };
        Some(self.counter()?.keep(keeping, records, claimed))
    }

    /// Why the session has ended, where that is known without asking over a network: its player need
    /// not wait for the next beat to be told.
    pub fn killed(&self, grant: &Grant) -> Option<Reason> {
        self.counter()?.killed(grant)
    }

    /// The reason of a kill that a license server's refusal tells of the session of the call.
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

    /// The time since the epoch by which its tokens are judged here; none while it has not told lately. The earlier of its
    /// and our clock, as either may be wrong: it judges itself where only one says expired. One of our own has ours alone.
    pub fn time(&self, clock: Clock) -> Option<Duration> {
        if self.counter().is_some() {
            return Some(clock.wall());
        }
        let heard = self.reach.as_ref()?.clock.read(clock.unslept());
        heard.map(|time| time.min(clock.wall()))
    }

    /// The error code by which its players know that a content token has expired.
    pub fn expired_code(&self) -> Option<i64> {
        self.dialect.expired_code()
    }

    /// True if a Widevine renewal goes to the authority, and counts as a beat.
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

    /// For how long playbacks go on without its word.
    pub fn on_unreachable(&self) -> OnUnreachable {
        self.dialect.on_unreachable()
    }

    /// True if silence toward an open may let its playback begin.
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
