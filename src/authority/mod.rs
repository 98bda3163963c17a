//! Who grants, confirms and kills sessions, and the one client that speaks with all of them.
//!
//! A dialect is pure functions (`nagra_ssm`); [`Client`] does the I/O for every dialect: deadline,
//! fault, metrics. The [`embedded`] authority answers without a network. Called by the pump of
//! `sessions` for opens, beats and closes, and by `gateway` for a player's renewal. What a verdict
//! does to a session is the core's business.

mod client;
mod counter;
pub mod embedded;
mod nagra_ssm;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderName, HeaderValue};

pub use self::client::{Client, Renewal};
use self::counter::Counter;
use crate::config::{self, AuthorityKind, Endpoint, NagraSsm};
use crate::secret::Secret;
use crate::session::{AskKind, Grant};

#[derive(Debug)]
pub struct Authority {
    kind: Kind,
    pub name: Arc<str>,
}

#[derive(Debug)]
enum Kind {
    Embedded(Box<Counter>),
    NagraSsm(Ssm),
}

#[derive(Debug)]
struct Ssm {
    config: Box<NagraSsm>,
    /// The documented and the observed renewal path differ; this one has answered.
    use_other_renewal: AtomicBool,
}

impl Authority {
    pub fn new(config: config::Authority) -> Self {
        let kind = match config.kind {
            AuthorityKind::Embedded(limits) => Kind::Embedded(Box::new(Counter::new(&limits))),
            AuthorityKind::NagraSsm(config) => {
                Kind::NagraSsm(Ssm { config, use_other_renewal: AtomicBool::new(false) })
            }
        };
        Self { kind, name: config.name.into() }
    }

    /// Whether an open needs the player's content token.
    pub fn needs_token(&self) -> bool {
        match self.kind {
            Kind::Embedded(_) => false,
            Kind::NagraSsm(_) => true,
        }
    }

    /// Whether a Widevine renewal goes to the authority, and counts as a beat.
    pub fn renews(&self) -> bool {
        match self.kind {
            Kind::Embedded(_) => false,
            Kind::NagraSsm(_) => true,
        }
    }

    /// What the vendor's player SDK calls a failed call.
    pub fn error_name(&self) -> fn(AskKind) -> &'static str {
        match self.kind {
            Kind::Embedded(_) => counter::error_name,
            Kind::NagraSsm(_) => NagraSsm::error_name,
        }
    }

    /// Share of the interval after which a beat is due, and the grace after it.
    pub fn pace(&self) -> (f64, std::time::Duration) {
        match &self.kind {
            Kind::Embedded(counter) => (1.0, counter.grace()),
            Kind::NagraSsm(ssm) => (ssm.config.fraction, ssm.config.grace),
        }
    }

    /// The header by which a license call carries its content token when there is no session.
    pub fn token_header(&self, content: &Secret) -> Option<(HeaderName, HeaderValue)> {
        match &self.kind {
            Kind::Embedded(_) => None,
            Kind::NagraSsm(ssm) => Some((ssm.config.authorization.clone(), nagra_ssm::header_value(content.expose())?)),
        }
    }

    /// The header by which a license call carries the session, if this authority wants one.
    pub fn license_header(&self, content: Option<&Secret>, grant: &Grant) -> Option<(HeaderName, HeaderValue)> {
        match &self.kind {
            Kind::Embedded(_) => None,
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
