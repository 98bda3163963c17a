//! Who grants, confirms and kills sessions, and the one client that speaks with all of them.
//!
//! A dialect is pure functions (`nagra_ssm`); [`AuthorityClient`] does the I/O for every dialect: deadline,
//! fault, metrics. The embedded authority answers without a network. Called by the pump of
//! `sessions` for opens, beats and closes, and by `gateway` for a player's renewal. What a verdict
//! does to a session is the core's business.

mod authority_clock;
mod breaker;
mod client;
mod deferrals;
mod embedded;
mod exchange;
mod firstlight;
mod health;
pub mod ledger;
mod license_server;
mod nagra_ssm;
mod outage;
mod outage_evidence;
mod registry;
mod ssm;
mod token_keys;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue};

pub use self::client::{AuthorityClient, RenewalAnswer};
use self::embedded::LedgerStore;
pub use self::embedded::{EmbeddedAuthority, HeldSlot, KeptSlot, MOVED_SLOT_KEPT, claim};
pub use self::health::CallClass;
use self::health::Health;
pub use self::outage::watch;
pub use self::registry::{Authorities, AuthoritySignals};
use self::ssm::Ssm;
pub use self::token_keys::fetch_token_keys;
use crate::clock::Clock;
use crate::config::{self, AuthorityKind, FirstLight, NagraSsm, Names, OnUnreachable, SessionUnit};
use crate::playbacks::Block;
use crate::secret::Secret;
use crate::session::{AskKind, Grant, Policy, Reason, Schedule};
use crate::sessions::AuthorityId;
use crate::store::{CardRecord, Dialect, SlotRecord, Store};

/// One authority with its settings. What it knows and counts is shared with the values of the same
/// authority that a reload makes after this one.
#[derive(Debug)]
pub struct Authority {
    pub id: AuthorityId,
    kind: Kind,
    pub name: Arc<str>,
    pub unit: SessionUnit,
}

#[derive(Debug)]
enum Kind {
    Embedded(Box<EmbeddedAuthority>),
    FirstLight(Box<FirstLight>),
    NagraSsm(Box<Ssm>),
}

impl Authority {
    pub fn new(config: config::Authority, signals: &AuthoritySignals) -> Self {
        let kind = match config.kind {
            AuthorityKind::Embedded(config) => Kind::Embedded(Box::new(EmbeddedAuthority::new(*config, signals))),
            AuthorityKind::FirstLight(config) => Kind::FirstLight(config),
            AuthorityKind::NagraSsm(config) => {
                Kind::NagraSsm(Box::new(Ssm::new(config, Health::new(signals.outage_over.clone()))))
            }
        };
        Self { id: AuthorityId::random(), kind, name: config.name.into(), unit: config.unit }
    }

    /// The same authority with new settings; none if they are for another kind.
    fn renewed(&self, config: config::Authority, signals: &AuthoritySignals) -> Option<Self> {
        let kind = match (&self.kind, config.kind) {
            (Kind::Embedded(counter), AuthorityKind::Embedded(config)) => {
                Kind::Embedded(Box::new(counter.renewed(*config, signals)))
            }
            (Kind::NagraSsm(ssm), AuthorityKind::NagraSsm(config)) => Kind::NagraSsm(Box::new(ssm.renewed(config))),
            (Kind::FirstLight(_), AuthorityKind::FirstLight(config)) => Kind::FirstLight(config),
            (Kind::Embedded(_), AuthorityKind::FirstLight(_) | AuthorityKind::NagraSsm(_))
            | (Kind::FirstLight(_), AuthorityKind::Embedded(_) | AuthorityKind::NagraSsm(_))
            | (Kind::NagraSsm(_), AuthorityKind::Embedded(_) | AuthorityKind::FirstLight(_)) => return None,
        };
        Some(Self { id: self.id.clone(), kind, name: self.name.clone(), unit: config.unit })
    }

    pub fn dialect(&self) -> Dialect {
        match self.kind {
            Kind::Embedded(_) => Dialect::Embedded,
            Kind::FirstLight(_) => Dialect::FirstLight,
            Kind::NagraSsm(_) => Dialect::NagraSsm,
        }
    }

    /// Whether this session of an earlier process is held there: one of another kind that had the name could do
    /// nothing with its token, and is none of its business.
    pub fn keeps(&self, session: &CardRecord) -> bool {
        session.authority == self.name && session.dialect.is_none_or(|dialect| dialect == self.dialect())
    }

    /// The counter of an embedded authority.
    pub fn counter(&self) -> Option<&EmbeddedAuthority> {
        match &self.kind {
            Kind::Embedded(counter) => Some(counter),
            Kind::FirstLight(_) | Kind::NagraSsm(_) => None,
        }
    }

    /// What the fields of an authorization are called, and the caller's headers that go with every call.
    pub fn authorization(&self) -> (&Names, &[HeaderName]) {
        static PLAIN: Names = Names(std::collections::BTreeMap::new());
        match &self.kind {
            Kind::Embedded(_) | Kind::NagraSsm(_) => (&PLAIN, &[]),
            Kind::FirstLight(config) => (&config.names, &config.pass_headers),
        }
    }

    /// The route's policy with what this authority asks for.
    pub fn refine(&self, policy: Policy) -> Policy {
        match &self.kind {
            Kind::Embedded(_) => Policy { rotates_tokens: false, ..policy },
            Kind::NagraSsm(_) => policy,
            Kind::FirstLight(config) => Policy {
                beat_on_resume: true,
                beat_while_paused: config.beat_while_paused,
                counts_ended: true,
                max_failures: Some(config.max_failures),
                opens_beside: false,
                rotates_tokens: false,
                stop_on_blackout: config.stop_player_on_stream_timeline_event,
                stop_on_end: config.stop_player_on_stream_timeline_event && config.stop_on_playback_end,
                ..policy
            },
        }
    }

    /// Whether blackouts end its playbacks here, or are told alone.
    pub fn enforces_blackouts(&self) -> bool {
        self.refine(Policy::default()).stop_on_blackout
    }

    /// What the clock will bring to the playback of this authorization; `now` and `wall` are the same
    /// moment.
    pub fn schedule(&self, block: &Block, now: Instant, wall: Duration) -> Option<Schedule> {
        match &self.kind {
            Kind::Embedded(_) | Kind::NagraSsm(_) => None,
            Kind::FirstLight(config) => config.schedule(block, now, wall),
        }
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

    /// Whether an open needs the player's content token.
    pub fn needs_token(&self) -> bool {
        match self.kind {
            Kind::Embedded(_) => self.verifies_tokens(),
            Kind::FirstLight(_) | Kind::NagraSsm(_) => true,
        }
    }

    /// Whether a media route opens its sessions, before any license call.
    pub fn opens_for_media(&self) -> bool {
        self.counter().is_some()
    }

    /// The time since the epoch by which its tokens are judged here; none while it has not told lately. The earlier of its
    /// and our clock, as either may be wrong: it judges itself where only one says expired. One of our own has ours alone.
    pub fn time(&self, clock: Clock) -> Option<Duration> {
        match &self.kind {
            Kind::Embedded(_) => Some(clock.wall()),
            Kind::FirstLight(_) => None,
            Kind::NagraSsm(ssm) => ssm.clock.read(clock.unslept()).map(|time| time.min(clock.wall())),
        }
    }

    /// The error code by which its players know that a content token has expired.
    pub fn expired_code(&self) -> Option<i64> {
        match self.kind {
            Kind::Embedded(_) | Kind::FirstLight(_) => None,
            Kind::NagraSsm(_) => Some(nagra_ssm::TOKEN_EXPIRED_CODE),
        }
    }

    /// Whether a Widevine renewal goes to the authority, and counts as a beat.
    pub fn renews(&self) -> bool {
        match self.kind {
            Kind::Embedded(_) | Kind::FirstLight(_) => false,
            Kind::NagraSsm(_) => true,
        }
    }

    /// What the vendor's player SDK calls a failed call.
    pub fn error_name(&self) -> fn(AskKind) -> &'static str {
        match self.kind {
            Kind::Embedded(_) => embedded::error_name,
            Kind::FirstLight(_) => FirstLight::error_name,
            Kind::NagraSsm(_) => NagraSsm::error_name,
        }
    }

    /// Share of the interval after which a beat is due, and the grace after it.
    pub fn pace(&self) -> (f64, Duration) {
        match &self.kind {
            Kind::Embedded(counter) => (1.0, counter.grace()),
            // Failures are counted there, and time does not tell.
            Kind::FirstLight(_) => (1.0, Policy::default().grace),
            Kind::NagraSsm(ssm) => (ssm.config.fraction, ssm.config.grace),
        }
    }

    fn health(&self) -> Option<&Health> {
        match &self.kind {
            // FirstLight's failures are counted by session: each of its calls is made.
            Kind::Embedded(_) | Kind::FirstLight(_) => None,
            Kind::NagraSsm(ssm) => Some(&ssm.health),
        }
    }

    /// For how long playbacks go on without its word.
    pub fn on_unreachable(&self) -> OnUnreachable {
        match &self.kind {
            Kind::Embedded(_) | Kind::FirstLight(_) => OnUnreachable::default(),
            Kind::NagraSsm(ssm) => ssm.config.on_unreachable,
        }
    }

    /// The header by which a license call carries its content token when there is no session.
    pub fn token_header(&self, content: &Secret) -> Option<(HeaderName, HeaderValue)> {
        match &self.kind {
            Kind::Embedded(_) | Kind::FirstLight(_) => None,
            Kind::NagraSsm(ssm) => Some((ssm.config.authorization.clone(), nagra_ssm::header_value(content.expose())?)),
        }
    }

    /// The header by which a license call carries the session, if this authority wants one.
    pub fn license_header(&self, content: Option<&Secret>, grant: &Grant) -> Option<(HeaderName, HeaderValue)> {
        match &self.kind {
            Kind::Embedded(_) | Kind::FirstLight(_) => None,
            Kind::NagraSsm(ssm) => Some((ssm.config.authorization.clone(), ssm.config.license_value(content?, grant)?)),
        }
    }
}
