//! What is known of the way to an authority, whatever it speaks: whether it answers, and its clock.
//!
//! Written and read by the client around every call.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Mutex;

use super::authority_clock::AuthorityClock;
use super::client::OtherCalls;
use super::health::Health;
use crate::clock::Clock;

#[derive(Debug)]
pub(super) struct AuthorityReach {
    pub(super) clock: Arc<AuthorityClock>,
    pub(super) health: Arc<Health>,
    /// When a call of our own last came back, and what it found; held while one is under way.
    pub(super) knocked: Mutex<Option<(Instant, OtherCalls)>>,
}

impl AuthorityReach {
    pub(super) fn new(health: Health) -> Self {
        Self { clock: Arc::default(), health: Arc::new(health), knocked: Mutex::default() }
    }

    /// After a reload. The time was learned of the servers that it was heard from.
    pub(super) fn renewed(&self, same_servers: bool) -> Self {
        let clock = if same_servers { self.clock.clone() } else { Arc::default() };
        Self { clock, health: Arc::new(self.health.renewed(Clock.now())), knocked: Mutex::default() }
    }
}
