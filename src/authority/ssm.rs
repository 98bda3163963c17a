//! An authority that speaks NAGRA SSM: its settings, and what was learned of it.
//!
//! What is learned holds through reloads, for the places that it was learned of. Written and read by the client.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::Mutex;

use super::authority_clock::AuthorityClock;
use super::client::OtherCalls;
use super::health::Health;
use crate::clock::Clock;
use crate::config::{Endpoint, NagraSsm};

#[derive(Debug)]
pub(super) struct Ssm {
    pub(super) clock: Arc<AuthorityClock>,
    pub(super) config: Box<NagraSsm>,
    pub(super) health: Arc<Health>,
    /// When a call of our own last came back, and what it found; held while one is under way.
    pub(super) knocked: Mutex<Option<(Instant, OtherCalls)>>,
    renewal: Arc<LearnedRenewalPath>,
}

/// The documented and the observed renewal path differ.
#[derive(Debug, Default)]
struct LearnedRenewalPath {
    /// The one in use has given an answer of the session service.
    has_worked: AtomicBool,
    /// This one has answered.
    use_other: AtomicBool,
}

impl Ssm {
    pub(super) fn new(config: Box<NagraSsm>, health: Health) -> Self {
        Self {
            clock: Arc::default(),
            config,
            health: Arc::new(health),
            knocked: Mutex::default(),
            renewal: Arc::default(),
        }
    }

    /// What was learned of the renewal path, and of the time, holds for the places that it was learned of.
    pub(super) fn renewed(&self, config: Box<NagraSsm>) -> Self {
        let (old, new) = (&self.config, &config);
        let renewal = (&new.renewal, &new.renewal_other) == (&old.renewal, &old.renewal_other);
        let rest = (&new.setup, &new.heartbeat, &new.teardown) == (&old.setup, &old.heartbeat, &old.teardown);
        let clock = if renewal && rest { self.clock.clone() } else { Arc::default() };
        let health = Arc::new(self.health.renewed(Clock.now()));
        let renewal = if renewal { self.renewal.clone() } else { Arc::default() };
        Self { clock, config, health, knocked: Mutex::default(), renewal }
    }

    /// Where renewals go, and where to try when that is not found.
    pub(super) fn renewals(&self) -> (&Endpoint, Option<&Endpoint>) {
        match &self.config.renewal_other {
            Some(other) if self.renewal.use_other.load(Ordering::Relaxed) => (other, Some(&self.config.renewal)),
            other => (&self.config.renewal, other.as_ref()),
        }
    }

    /// Renewals go there from now on. Said by name: of two that find out at once, the second must not
    /// turn back what the first has turned.
    pub(super) fn keep_renewal(&self, endpoint: &Endpoint) {
        self.renewal.use_other.store(!std::ptr::eq(endpoint, &self.config.renewal), Ordering::Relaxed);
    }

    /// The session service has answered a renewal.
    pub(super) fn renewal_works(&self) {
        self.renewal.has_worked.store(true, Ordering::Relaxed);
    }

    pub(super) fn renewal_has_worked(&self) -> bool {
        self.renewal.has_worked.load(Ordering::Relaxed)
    }

    /// Whether silence toward an open may let its playback begin.
    pub(super) fn gives_credit(&self) -> bool {
        let new = &self.config.on_unreachable.new;
        !(new.live.is_zero() && new.vod.is_zero())
    }
}
