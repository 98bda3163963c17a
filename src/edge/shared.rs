//! What all workers of an edge have in common: its bounds, its counters, and what is told of its callers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use http::StatusCode;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Cors;
use super::address_limits::{AddressKey, AddressLimits};
use super::connection_registry::ConnectionRegistry;
use super::counters::EdgeCounters;
use super::descriptors::{SpareDescriptors, connections_allowed};
use super::own_replies::{RefusalTrace, RefusedCaller};
use super::permit_pool::{Permit, PermitPool};
use super::role::EdgeRole;
use super::viewer_address::ForwardingRules;
use crate::clock::Clock;
use crate::config::ServerLimits;
use crate::task::Tasks;
use crate::telemetry::LogRateLimiter;

/// So long a connection that is to end may still bring its next request, or its first one; some bring none.
pub(super) const MAX_UNUSED_TIME: Duration = Duration::from_secs(1);

/// Holds up drain for as long as it exists.
pub(super) struct DrainHold {
    _counted: TaskTrackerToken,
    _unanswered: Option<Permit>,
}

/// What all workers have in common.
pub(super) struct EdgeShared {
    /// How many connections the limit of open files allows.
    allowed_connections: AtomicUsize,
    pub(super) addresses: Arc<AddressLimits>,
    /// Cancelled when nothing that comes now can be answered any more.
    pub(super) answered: CancellationToken,
    /// Cancelled when every reply is to say that its connection ends with it.
    pub(super) announce: CancellationToken,
    /// Bytes of bodies: on their way, and of calls in flight.
    pub(super) body_memory: Arc<PermitPool>,
    pub(super) calls: Arc<PermitPool>,
    pub(super) connections: Arc<PermitPool>,
    pub(super) cors: ArcSwap<Cors>,
    pub(super) counters: Arc<EdgeCounters>,
    pub(super) forwarding: ArcSwap<ForwardingRules>,
    pub(super) limits: ArcSwap<ServerLimits>,
    /// Of lines about what peers do wrong.
    pub(super) log_limiter: Arc<LogRateLimiter<AddressKey>>,
    /// How players reach us, if it is configured.
    pub(super) public_url: ArcSwapOption<String>,
    pub(super) registry: Arc<ConnectionRegistry>,
    pub(super) role: EdgeRole,
    pub(super) spare_descriptors: SpareDescriptors,
    /// Cancelled when drain begins.
    pub(super) stop: CancellationToken,
    pub(super) tasks: Tasks,
    /// Counts the connections, and the sockets that they come from, so that drain can wait for them alone.
    pub(super) tracker: TaskTracker,
    /// Calls that have no reply yet, those included whose body is still on its way; and what may bring one:
    /// connections, and the sockets that they come from.
    pub(super) unanswered: Arc<PermitPool>,
}

impl EdgeShared {
    pub(super) fn new(
        role: EdgeRole,
        limits: &ServerLimits,
        cors: Cors,
        forwarding: ForwardingRules,
        counters: Arc<EdgeCounters>,
        tasks: Tasks,
    ) -> Self {
        Self {
            addresses: AddressLimits::new(limits, Arc::clone(&counters)),
            allowed_connections: AtomicUsize::new(usize::MAX),
            announce: CancellationToken::new(),
            answered: CancellationToken::new(),
            body_memory: PermitPool::new(limits.body_memory),
            calls: PermitPool::new(limits.in_flight),
            connections: PermitPool::new(limits.connections),
            cors: ArcSwap::from_pointee(cors),
            counters,
            forwarding: ArcSwap::from_pointee(forwarding),
            limits: ArcSwap::from_pointee(limits.clone()),
            log_limiter: Arc::default(),
            public_url: ArcSwapOption::empty(),
            registry: Arc::default(),
            role,
            spare_descriptors: SpareDescriptors::new(role.spare_descriptors()),
            stop: CancellationToken::new(),
            tasks,
            tracker: TaskTracker::new(),
            unanswered: PermitPool::new(usize::MAX),
        }
    }

    /// Numbers hold for the next call or connection, times for the next connection.
    pub(super) fn change(&self, limits: Arc<ServerLimits>) {
        self.addresses.change(&limits);
        self.body_memory.change(limits.body_memory);
        self.calls.change(limits.in_flight);
        let connections = limits.connections.min(self.allowed_connections.load(Ordering::Relaxed));
        self.connections.change(connections);
        self.addresses.bound_listeners(self.role.listeners_among(connections));
        self.limits.store(limits);
    }

    /// Once all that the process keeps open is open.
    pub(super) fn bound_by_descriptors(&self) {
        let (allowed, limits) = (connections_allowed(), self.limits.load_full());
        if allowed < limits.connections {
            tracing::warn!(
                connections = allowed,
                "the limit of open files allows fewer connections than server.limits.connections"
            );
        }
        self.allowed_connections.store(allowed, Ordering::Relaxed);
        self.change(limits);
    }

    /// Resolves when a connection that has brought no request since drain began is to be closed.
    pub(super) async fn has_no_more_time(&self) {
        self.stop.cancelled().await;
        sleep(MAX_UNUSED_TIME).await;
    }

    /// While a socket is listened on. A connection that is taken from it when drain has begun is waited for too.
    pub(super) fn listening(&self) -> DrainHold {
        DrainHold { _counted: self.tracker.token(), _unanswered: self.unanswered.enter() }
    }

    /// Whether a line about this address may be written now.
    pub(super) fn may_log(&self, kind: &'static str, address: AddressKey) -> bool {
        self.log_limiter.allow(kind, address, Clock.now())
    }

    pub(super) fn log_refusal(
        &self,
        address: AddressKey,
        trace: &RefusalTrace,
        status: StatusCode,
        caller: Option<&RefusedCaller>,
        asked: impl FnOnce() -> (&'static str, Option<String>),
    ) {
        let RefusalTrace { error, incident, note, .. } = trace;
        if self.may_log(error, address) {
            let device = caller.and_then(|caller| caller.device.as_deref());
            let account = caller.and_then(|caller| caller.account.as_deref());
            let (status, (method, route)) = (status.as_u16(), asked());
            tracing::info!(
                incident, error, status, peer = %address, method, route, device, account, note, "refused a request"
            );
        }
    }
}
