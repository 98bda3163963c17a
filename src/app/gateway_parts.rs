//! The parts from which every worker makes its gateway, and the task of each webhook.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::authority::{Authorities, AuthorityClient};
use crate::clock::Clock;
use crate::config::WebhookSettings;
use crate::edge::Handler;
use crate::gateway::{Gateway, IdentityWatch, MediaMemory, Routes, SingleFlight, SlotTickets, ViaName};
use crate::registrations::Registrations;
use crate::sessions::Sessions;
use crate::task::Tasks;
use crate::telemetry::Telemetry;
use crate::token;
use crate::upstream::{ConnectionPool, Trust};
use crate::webhooks::WebhookSender;

/// Parts that all workers share.
#[derive(Clone)]
pub(super) struct GatewayParts {
    pub(super) authorities: Arc<Authorities>,
    pub(super) clock: Clock,
    pub(super) single_flight: Arc<SingleFlight>,
    pub(super) identity_watch: Arc<IdentityWatch>,
    pub(super) public_url: Option<Arc<str>>,
    pub(super) registrations: Arc<Registrations>,
    pub(super) routes: Arc<ArcSwap<Routes>>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) media_memory: Arc<MediaMemory>,
    pub(super) slot_tickets: Arc<SlotTickets>,
    pub(super) tasks: Tasks,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) trust: Trust,
    pub(super) via: ViaName,
}

impl GatewayParts {
    /// Makes a worker's gateway. Run it in the worker's runtime, because connections to upstreams belong to that.
    pub(super) fn handler(&self) -> Arc<dyn Handler> {
        token::remember_readings();
        let pool = ConnectionPool::new(self.tasks.clone(), self.clock, self.trust.clone());
        let client = AuthorityClient::new(self.authorities.clone(), self.clock, pool.clone(), self.telemetry.clone());
        Arc::new(Arc::new(Gateway {
            client,
            clock: self.clock,
            single_flight: self.single_flight.clone(),
            identity_watch: self.identity_watch.clone(),
            pool,
            public_url: self.public_url.clone(),
            registrations: self.registrations.clone(),
            routes: self.routes.clone(),
            sessions: self.sessions.clone(),
            media_memory: self.media_memory.clone(),
            slot_tickets: self.slot_tickets.clone(),
            tasks: self.tasks.clone(),
            telemetry: self.telemetry.clone(),
            via: self.via.clone(),
        }))
    }
}

pub(super) fn start_couriers(
    webhooks: Vec<WebhookSettings>,
    clock: Clock,
    pool: &ConnectionPool,
    tasks: &Tasks,
    telemetry: &Arc<Telemetry>,
) {
    for webhook in webhooks {
        let listener = telemetry.events.listen(None);
        let courier = WebhookSender::new(webhook, clock, pool.clone(), tasks.clone(), telemetry.clone());
        tasks.spawn(courier.run(listener));
    }
}
