//! Facts about the way to an authority that no dialect knows: whether it answers, and its clock.
//!
//! The client writes and reads them around every call.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Mutex;

use super::authority_clock::AuthorityClock;
use super::client::OtherCalls;
use super::health::Health;

#[derive(Debug)]
pub(super) struct AuthorityReach {
    pub(super) clock: Arc<AuthorityClock>,
    pub(super) health: Arc<Health>,
    /// Time and finding of our last own call; locked while one is under way.
    pub(super) knocked: Mutex<Option<(Instant, OtherCalls)>>,
}

impl AuthorityReach {
    pub(super) fn new(health: Health) -> Self {
        Self { clock: Arc::default(), health: Arc::new(health), knocked: Mutex::default() }
    }

    /// The state after a reload. The clock is kept only if the servers stay the same.
    pub(super) fn renewed(&self, now: Instant, same_servers: bool) -> Self {
        let clock = if same_servers { self.clock.clone() } else { Arc::default() };
        Self { clock, health: Arc::new(self.health.renewed(now)), knocked: Mutex::default() }
    }
}
