//! The operators' side: health, metrics, the sessions API and its page, on a listener of its own.
//!
//! Never on the players' port. Shows no token, key or body. Pages of other origins cannot use it: a request with a
//! foreign `Origin`, or with a `Host` that is not this listener's (DNS rebinding), is refused. Operators, Prometheus,
//! `sidebeat sessions` and `sidebeat slots` call it.

mod access;
mod api;
mod body;
mod client;
mod configuration;
mod headers;
mod json;
mod list;
mod metrics;
mod playbacks;
mod slots;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Request;

use self::access::AdminGate;
use self::body::{MAX_REGISTRATION_BYTES, ORDER_TIMEOUT};
pub use self::client::{AdminCommand, order};
use self::configuration::Configuration;
use crate::authority::Authorities;
use crate::clock::Clock;
use crate::config;
use crate::edge::{BoundListener, Edge, EdgeCounters, EdgeFault, Handler, Peer, ReplyFuture, RequestBody, Serving};
use crate::events::MAX_OPERATOR_LISTENERS;
use crate::registrations::Registrations;
use crate::sessions::Sessions;
use crate::task::Tasks;
use crate::telemetry::Telemetry;

pub struct Admin {
    authorities: Arc<Authorities>,
    clock: Clock,
    configuration: Mutex<Configuration>,
    pub edge: Arc<EdgeCounters>,
    gate: ArcSwap<AdminGate>,
    /// Counters of the operators' own listener.
    pub own: Arc<EdgeCounters>,
    /// URL for players, if configured.
    pub public_url: Option<Arc<str>>,
    /// True while players are served and the process is not stopping.
    pub ready: AtomicBool,
    registrations: Arc<Registrations>,
    sessions: Arc<Sessions>,
    tasks: Tasks,
    telemetry: Arc<Telemetry>,
}

impl Admin {
    pub fn new(
        config: &config::AdminSettings,
        authorities: Arc<Authorities>,
        sessions: Arc<Sessions>,
        registrations: Arc<Registrations>,
        telemetry: Arc<Telemetry>,
        edge: Arc<EdgeCounters>,
        tasks: Tasks,
    ) -> Self {
        let (gate, ready) = (ArcSwap::from_pointee(AdminGate::new(config)), AtomicBool::new(false));
        let clock = sessions.clock();
        let configuration = Mutex::new(Configuration::loaded(clock.wall()));
        let (own, public_url) = (Arc::default(), None);
        Self {
            authorities,
            clock,
            configuration,
            edge,
            gate,
            own,
            public_url,
            ready,
            registrations,
            sessions,
            tasks,
            telemetry,
        }
    }

    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }
}

/// Bounds toward operators. They are few, but their tools may misbehave, and a probe must always be answered.
fn limits() -> config::ServerLimits {
    const MAX_ADMIN_CONNECTIONS: usize = 64;
    const BODY_MEMORY_BYTES: usize = 4 << 20;
    const UNLIMITED_CONNECTION_LIFE: Duration = Duration::from_hours(24 * 365 * 10);
    config::ServerLimits {
        body: ORDER_TIMEOUT,
        body_max: MAX_REGISTRATION_BYTES,
        body_memory: BODY_MEMORY_BYTES,
        body_memory_per_address: BODY_MEMORY_BYTES,
        call: Duration::from_secs(10),
        connections: MAX_ADMIN_CONNECTIONS,
        // Operators mostly share an address: the loopback one or a proxy's. Idle connections make room.
        connections_per_address: usize::MAX,
        drain: Duration::from_secs(2),
        event_listeners_per_address: MAX_OPERATOR_LISTENERS,
        first_byte: Duration::from_secs(5),
        handshake: Duration::from_secs(5),
        head: Duration::from_secs(5),
        idle: Duration::from_secs(30),
        in_flight: MAX_ADMIN_CONNECTIONS,
        in_flight_per_address: MAX_ADMIN_CONNECTIONS,
        // Event streams last as long as their listeners.
        lifetime: UNLIMITED_CONNECTION_LIFE,
        new_connections_per_address: 1_000,
        sessions: usize::MAX,
    }
}

/// Binds the address, so that a taken port is known before anything is served. `bound` is its socket, if it is bound
/// already.
///
/// # Errors
/// The address is taken, or not one of this machine.
pub async fn bind(
    address: SocketAddr,
    clock: Clock,
    tasks: Tasks,
    counters: Arc<EdgeCounters>,
    bound: Option<BoundListener>,
) -> Result<Edge, EdgeFault> {
    Edge::bind_operators(address, &limits(), clock, tasks, counters, bound.into_iter().collect()).await
}

/// Serves on a thread of its own, so that operators take no time from sessions.
///
/// # Errors
/// The system has no thread left.
pub fn serve(admin: Arc<Admin>, edge: Edge) -> Result<Serving, EdgeFault> {
    edge.serve(move |_| Arc::new(AdminHandler(admin.clone())))
}

struct AdminHandler(Arc<Admin>);

impl Handler for AdminHandler {
    fn call(&self, peer: &Peer, request: Request<RequestBody>) -> ReplyFuture {
        let (admin, peer) = (self.0.clone(), peer.clone());
        // An order counts even if its sender does not wait for the answer.
        ReplyFuture::new(self.0.tasks.clone(), |_| async move { admin.answer(&peer, request).await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_has_five_seconds_for_a_head_and_thirty_between_two() {
        let limits = limits();
        assert_eq!((limits.head, limits.idle), (Duration::from_secs(5), Duration::from_secs(30)));
        assert_eq!((limits.first_byte, limits.handshake), (Duration::from_secs(5), Duration::from_secs(5)));
    }
}
