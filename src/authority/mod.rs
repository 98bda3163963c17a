//! Who grants, confirms and kills sessions, and the one client that speaks with all of them.
//!
//! A dialect is pure functions (`nagra_ssm`); [`Client`] does the I/O for every dialect: deadline,
//! fault, metrics. The [`embedded`] authority answers without a network. Called by the pump of
//! `sessions` for opens, beats and closes, and by `gateway` for a player's renewal. What a verdict
//! does to a session is the core's business.

mod client;
mod counter;
pub mod embedded;
mod far_clock;
mod firstlight;
mod nagra_ssm;
mod slots;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue};

pub use self::client::{Client, Renewal};
pub use self::counter::Counter;
use self::far_clock::FarClock;
pub use self::slots::{Held, Kept, RESERVED};
use crate::config::{self, AuthorityKind, Endpoint, FirstLight, NagraSsm, Names};
use crate::playbacks::Block;
use crate::secret::Secret;
use crate::session::{AskKind, Grant, Policy, Reason};

#[derive(Debug)]
pub struct Authority {
    kind: Kind,
    pub name: Arc<str>,
}

#[derive(Debug)]
enum Kind {
    Embedded(Box<Counter>),
    FirstLight(Box<FirstLight>),
    NagraSsm(Ssm),
}

#[derive(Debug)]
struct Ssm {
    clock: FarClock,
    config: Box<NagraSsm>,
    /// The documented and the observed renewal path differ; this one has answered.
    use_other_renewal: AtomicBool,
}

impl Authority {
    pub fn new(config: config::Authority) -> Self {
        let kind = match config.kind {
            AuthorityKind::Embedded(config) => Kind::Embedded(Box::new(Counter::new(*config))),
            AuthorityKind::FirstLight(config) => Kind::FirstLight(config),
            AuthorityKind::NagraSsm(config) => {
                let clock = FarClock::default();
                Kind::NagraSsm(Ssm { clock, config, use_other_renewal: AtomicBool::new(false) })
            }
        };
        Self { kind, name: config.name.into() }
    }

    /// The counter of an embedded authority.
    pub fn counter(&self) -> Option<&Counter> {
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
            Kind::Embedded(_) | Kind::NagraSsm(_) => policy,
            Kind::FirstLight(config) => Policy {
                beat_on_resume: true,
                beat_while_paused: config.beat_while_paused,
                max_failures: Some(config.max_failures),
                stop_on_blackout: config.stop_player_on_stream_timeline_event,
                stop_on_end: config.stop_player_on_stream_timeline_event && config.stop_on_playback_end,
                ..policy
            },
        }
    }

    /// The policy for the playback of this authorization; `now` and `wall` are the same moment.
    pub fn refine_for(&self, block: &Block, policy: Policy, now: Instant, wall: Duration) -> Policy {
        let schedule = match &self.kind {
            Kind::Embedded(_) | Kind::NagraSsm(_) => None,
            Kind::FirstLight(config) => config.schedule(block, now, wall),
        };
        Policy { live: block.live, schedule, ..policy }
    }

    /// Why the session has ended, where that is known without asking over a network: its player need
    /// not wait for the next beat to be told.
    pub fn killed(&self, grant: &Grant) -> Option<Reason> {
        self.counter()?.killed(grant)
    }

    /// Whether an open needs the player's content token.
    pub fn needs_token(&self) -> bool {
        match self.kind {
            Kind::Embedded(_) => false,
            Kind::FirstLight(_) | Kind::NagraSsm(_) => true,
        }
    }

    /// The time since the epoch in which its tokens are judged; none while it has not told lately.
    pub fn time(&self, now: Instant) -> Option<Duration> {
        match &self.kind {
            Kind::Embedded(_) | Kind::FirstLight(_) => None,
            Kind::NagraSsm(ssm) => ssm.clock.read(now),
        }
    }

    /// The error code by which its players know that a content token has expired.
    pub fn expired_code(&self) -> Option<i64> {
        match self.kind {
            Kind::Embedded(_) | Kind::FirstLight(_) => None,
            Kind::NagraSsm(_) => Some(nagra_ssm::EXPIRED),
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
            Kind::Embedded(_) => counter::error_name,
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

impl Ssm {
    /// Where renewals go, and where to try when that is not found.
    fn renewals(&self) -> (&Endpoint, Option<&Endpoint>) {
        match &self.config.renewal_other {
            Some(other) if self.use_other_renewal.load(Ordering::Relaxed) => (other, Some(&self.config.renewal)),
            other => (&self.config.renewal, other.as_ref()),
        }
    }

    /// Renewals go there from now on. Said by name: of two that find out at once, the second must not
    /// turn back what the first has turned.
    fn keep_renewal(&self, endpoint: &Endpoint) {
        self.use_other_renewal.store(!std::ptr::eq(endpoint, &self.config.renewal), Ordering::Relaxed);
    }
}
