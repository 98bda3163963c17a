//! State that all workers of an edge share: bounds, counters, and the log limits.
//!
//! An edge serves players or operators. They have separate listeners, threads and bounds, so that neither takes what the
//! other needs.

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
use super::parking::PARKING_DELAY;
use super::permit_pool::{Permit, PermitPool};
use super::viewer_address::ForwardingRules;
use crate::clock::Clock;
use crate::config::ServerLimits;
use crate::task::Tasks;
use crate::telemetry::LogRateLimiter;

/// Time in which a connection that must end may still bring a request; some bring none.
pub(super) const MAX_UNUSED_TIME: Duration = Duration::from_secs(1);

/// Delays drain for as long as it exists.
pub(super) struct DrainHold {
    _counted: TaskTrackerToken,
    _unanswered: Option<Permit>,
}

/// State that all workers share.
pub(super) struct EdgeShared {
    /// Number of connections that the limit of open files allows.
    allowed_connections: AtomicUsize,
    pub(super) addresses: Arc<AddressLimits>,
    /// Cancelled when no new request can be answered any more.
    pub(super) answered: CancellationToken,
    /// Cancelled when every reply must say that its connection ends with it.
    pub(super) announce: CancellationToken,
    /// Bytes of arriving bodies and of calls in flight.
    pub(super) body_memory: Arc<PermitPool>,
    pub(super) calls: Arc<PermitPool>,
    pub(super) clock: Clock,
    pub(super) connections: Arc<PermitPool>,
    pub(super) cors: ArcSwap<Cors>,
    pub(super) counters: Arc<EdgeCounters>,
    pub(super) forwarding: ArcSwap<ForwardingRules>,
    pub(super) limits: ArcSwap<ServerLimits>,
    /// Limits the lines about faults of peers.
    pub(super) log_limiter: Arc<LogRateLimiter<AddressKey>>,
    /// Time without a call after which a connection is parked.
    pub(super) parking_delay: ArcSwap<Duration>,
    /// The configured URL for players.
    pub(super) public_url: ArcSwapOption<String>,
    pub(super) registry: Arc<ConnectionRegistry>,
    pub(super) role: EdgeRole,
    pub(super) spare_descriptors: SpareDescriptors,
    /// Cancelled when drain begins.
    pub(super) stop: CancellationToken,
    pub(super) tasks: Tasks,
    /// Counts the connections and the listening sockets, so that drain can wait for them alone.
    pub(super) tracker: TaskTracker,
    /// Calls without a reply, including those whose body is still arriving, and their possible sources: connections
    /// and listening sockets.
    pub(super) unanswered: Arc<PermitPool>,
}

impl EdgeShared {
    pub(super) fn new(
        role: EdgeRole,
        limits: &ServerLimits,
        cors: Cors,
        forwarding: ForwardingRules,
        clock: Clock,
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
            clock,
            connections: PermitPool::new(limits.connections),
            cors: ArcSwap::from_pointee(cors),
            counters,
            forwarding: ArcSwap::from_pointee(forwarding),
            limits: ArcSwap::from_pointee(limits.clone()),
            log_limiter: Arc::default(),
            parking_delay: ArcSwap::from_pointee(PARKING_DELAY),
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

    /// Changes the limits. Numbers hold from the next call or connection, times from the next connection.
    pub(super) fn change(&self, limits: Arc<ServerLimits>) {
        self.addresses.change(&limits);
        self.body_memory.change(limits.body_memory);
        self.calls.change(limits.in_flight);
        let connections = limits.connections.min(self.allowed_connections.load(Ordering::Relaxed));
        self.connections.change(connections);
        self.addresses.bound_listeners(self.role.listeners_among(connections));
        self.limits.store(limits);
    }

    /// Bounds the connections by file descriptors. Call it when the process has opened everything that it keeps open.
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

    /// Resolves when a connection that has brought no request since drain began must close.
    pub(super) async fn has_no_more_time(&self) {
        self.stop.cancelled().await;
        sleep(MAX_UNUSED_TIME).await;
    }

    /// Hold this while listening on a socket. Drain also waits for a connection accepted after it began.
    pub(super) fn listening(&self) -> DrainHold {
        DrainHold { _counted: self.tracker.token(), _unanswered: self.unanswered.enter() }
    }

    /// True if a line about this address may be written now.
    pub(super) fn may_log(&self, kind: &'static str, address: AddressKey) -> bool {
        self.log_limiter.allow(kind, address, self.clock.now())
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

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum EdgeRole {
    Operators,
    Players,
}

impl EdgeRole {
    pub(super) const fn acceptor_name(self) -> &'static str {
        match self {
            Self::Operators => "admin acceptor",
            Self::Players => "edge acceptor",
        }
    }

    pub(super) const fn worker_name(self) -> &'static str {
        match self {
            Self::Operators => "admin worker",
            Self::Players => "edge worker",
        }
    }

    pub(super) const fn thread_name(self) -> &'static str {
        match self {
            Self::Operators => "admin",
            Self::Players => "edge",
        }
    }

    /// Descriptors kept back for accepting. The health check must work even when players have taken all others.
    pub(super) const fn spare_descriptors(self) -> usize {
        match self {
            Self::Operators => 8,
            Self::Players => 1,
        }
    }

    /// Number of connections, of so many, that event listeners may hold as long as they like. The operators'
    /// listeners are counted where they are handed out.
    pub(super) fn listeners_among(self, connections: usize) -> usize {
        match self {
            Self::Operators => usize::MAX,
            Self::Players => (connections / 4).max(1),
        }
    }
}
