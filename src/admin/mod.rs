//! The operators' side: health, metrics, the sessions API and its page, on a listener of its own.
//!
//! Never on the players' port. Shows no token, key or body. A page from elsewhere cannot use it: a
//! request with a foreign `Origin`, or with a `Host` that is not this listener's (DNS rebinding), is
//! refused. Called by operators, by Prometheus, by `sidebeat sessions` and `sidebeat slots`.

mod access;
mod api;
mod client;
mod configuration;
mod headers;
mod json;
mod list;
mod metrics;
mod playbacks;
mod slot_list;
mod slots;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Request;

use self::access::AdminGate;
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
    /// What the operators' own listener counts.
    pub own: Arc<EdgeCounters>,
    /// How players reach us, if the configuration says.
    pub public_url: Option<Arc<str>>,
    /// Listening, configured, and not on the way down.
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
        let configuration = Mutex::new(Configuration::loaded(Clock.wall()));
        let (own, public_url) = (Arc::default(), None);
        Self {
            authorities,
            clock: Clock,
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

/// Bounds toward operators. They are few, and their tools may misbehave like any others: a probe must be
/// answered whatever else is open here.
fn limits() -> config::ServerLimits {
    const MAX_ADMIN_CONNECTIONS: usize = 64;
    const BODY_MEMORY_BYTES: usize = 4 << 20;
    const UNLIMITED_CONNECTION_LIFE: Duration = Duration::from_hours(24 * 365 * 10);
    config::ServerLimits {
        body: Duration::from_secs(5),
        body_max: 256 << 10,
        body_memory: BODY_MEMORY_BYTES,
        body_memory_per_address: BODY_MEMORY_BYTES,
        call: Duration::from_secs(10),
        connections: MAX_ADMIN_CONNECTIONS,
        // Operators mostly come from one address: the loopback one, or a proxy's. Idle ones make room.
        connections_per_address: usize::MAX,
        drain: Duration::from_secs(2),
        event_listeners_per_address: MAX_OPERATOR_LISTENERS,
        first_byte: Duration::from_secs(5),
        handshake: Duration::from_secs(5),
        head: Duration::from_secs(5),
        idle: Duration::from_secs(30),
        in_flight: MAX_ADMIN_CONNECTIONS,
        in_flight_per_address: MAX_ADMIN_CONNECTIONS,
        // Streams of events go on for as long as somebody listens.
        lifetime: UNLIMITED_CONNECTION_LIFE,
        new_connections_per_address: 1_000,
        sessions: usize::MAX,
    }
}

/// `bound`: the socket, if it is bound already. Binds now, so that a taken port is known before anything is served.
///
/// # Errors
/// The address is taken, or is none of this machine's.
pub async fn bind(
    address: SocketAddr,
    tasks: Tasks,
    counters: Arc<EdgeCounters>,
    bound: Option<BoundListener>,
) -> Result<Edge, EdgeFault> {
    Edge::bind_operators(address, &limits(), tasks, counters, bound.into_iter().collect()).await
}

/// Serves on a thread of its own: what operators ask for takes no time from those who beat.
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
        // An order counts though whoever gave it does not wait for the answer.
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
