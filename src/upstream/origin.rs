//! A server as the pool knows it: its address, the trust in it, and its open connections.
//!
//! Owns the idle HTTP/1.1 connections (last in, first out), the one HTTP/2 connection, and the count of calls under
//! way. Its lock is held for a push or a pop, never over an await.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderValue;
use http::uri::Authority;
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use rustls::ClientConfig;

use super::connect::OpeningWaiters;
use super::connection::Wire;
use super::http1_connection::Http1Connection;
use super::request::RequestTarget;
use super::{UpstreamFault, connect};
use crate::config::EndpointUrl;
use crate::task::Tasks;

const MAX_IDLE_CONNECTIONS: usize = 64;
/// Shorter than the usual limits of servers and address translators.
pub(super) const MAX_CONNECTION_IDLE_TIME: Duration = Duration::from_secs(60);

pub(super) struct Origin {
    calls: AtomicUsize,
    endpoint: EndpointUrl,
    pub(super) target: RequestTarget,
    tls: Option<Arc<ClientConfig>>,
    stock: Mutex<ConnectionStock>,
}

#[derive(Default)]
struct ConnectionStock {
    flight: Option<OpeningWaiters>,
    /// Oldest first; all younger than [`MAX_CONNECTION_IDLE_TIME`] at the last look.
    idle: VecDeque<IdleConnection>,
    /// True while [`Origin::forget_old`] is called now and then.
    looked_after: bool,
    shared: Option<SharedConnection>,
    /// True if the last handshake chose HTTP/1.1. Its connections carry one call at a time, so calls may open their
    /// own.
    speaks_http1: bool,
}

struct IdleConnection {
    wire: IdleWire,
    since: Instant,
}

/// An unused connection of HTTP/1.1.
pub(super) enum IdleWire {
    Streaming(http1::SendRequest<Full<Bytes>>),
    Whole(Http1Connection),
}

struct SharedConnection {
    /// Number of the connection.
    number: u64,
    sender: http2::SendRequest<Full<Bytes>>,
    used: Instant,
}

/// Ways to get a connection to an origin that may speak HTTP/2.
pub(super) enum ConnectionBoarding {
    /// Open the connection, as the only one who does, then call [`Origin::land`].
    Open,
    Ride(Wire),
    Wait(OpeningWaiters),
}

/// Counts one call while it exists.
pub(super) struct OriginPlace(Arc<Origin>);

impl Origin {
    /// Fails only if the host cannot stand in a `Host` header.
    pub(super) fn new(endpoint: &EndpointUrl, tls: Option<Arc<ClientConfig>>) -> Result<Self, UpstreamFault> {
        let host = HeaderValue::from_str(endpoint.authority()).map_err(|_| UpstreamFault::Resolve)?;
        let authority: Authority = endpoint.authority().parse().map_err(|_| UpstreamFault::Resolve)?;
        let stock = ConnectionStock { speaks_http1: tls.is_none(), ..ConnectionStock::default() };
        Ok(Self {
            calls: AtomicUsize::new(0),
            endpoint: endpoint.clone(),
            target: RequestTarget { authority, host },
            tls,
            stock: Mutex::new(stock),
        })
    }

    /// True for the same scheme, host and port, as written.
    pub(super) fn is_at(&self, endpoint: &EndpointUrl) -> bool {
        self.tls.is_some() == endpoint.tls() && self.endpoint.authority() == endpoint.authority()
    }

    /// False if other roots are trusted there now.
    pub(super) fn trusts(&self, tls: Option<&Arc<ClientConfig>>) -> bool {
        self.tls.as_ref().map(Arc::as_ptr) == tls.map(Arc::as_ptr)
    }

    pub(super) fn enter(self: &Arc<Self>, calls_max: usize) -> Result<OriginPlace, UpstreamFault> {
        let place = OriginPlace(Arc::clone(self));
        if self.calls.fetch_add(1, Ordering::Relaxed) >= calls_max { Err(UpstreamFault::Busy) } else { Ok(place) }
    }

    /// A kept connection that is still open, as far as known.
    pub(super) fn reuse(&self, now: Instant) -> Option<Wire> {
        self.stock().take(now)
    }

    /// Like [`Self::reuse`], but a connection that no other call shares.
    pub(super) fn reuse_alone(&self, now: Instant) -> Option<Wire> {
        self.stock().take_idle(now)
    }

    pub(super) fn speaks_http1(&self) -> bool {
        self.stock().speaks_http1
    }

    pub(super) fn keep(&self, wire: &Wire, now: Instant) {
        if let Wire::Http2(sender, number) = wire {
            self.stock().shared = Some(SharedConnection { number: *number, sender: sender.clone(), used: now });
        }
    }

    /// Retires a connection on which the server takes no more calls. The next calls open another; those under way
    /// stay.
    pub(super) fn retire(&self, wire: &Wire) {
        if let Wire::Http2(_, number) = wire {
            self.stock().shared.take_if(|shared| shared.number == *number);
        }
    }

    /// Keeps a connection for the next call. True if nothing looks after the kept ones yet: then [`Self::forget_old`]
    /// is to be called now and then until it returns false.
    pub(super) fn put_back(&self, wire: IdleWire, now: Instant) -> bool {
        let mut stock = self.stock();
        while stock.idle.front().is_some_and(|oldest| oldest.is_old(now) || stock.idle.len() >= MAX_IDLE_CONNECTIONS) {
            stock.idle.pop_front();
        }
        stock.idle.push_back(IdleConnection { wire, since: now });
        !std::mem::replace(&mut stock.looked_after, true)
    }

    /// Closes unused connections that are old or that the server has closed. False if none is left.
    pub(super) fn forget_old(&self, now: Instant) -> bool {
        let mut stock = self.stock();
        stock.idle.retain_mut(|idle| !idle.is_old(now) && idle.wire.is_usable());
        stock.looked_after = !stock.idle.is_empty();
        stock.looked_after
    }

    /// Gets a connection without opening one that another call is already opening.
    pub(super) fn board(&self, now: Instant, landing: impl FnOnce() -> OpeningWaiters) -> ConnectionBoarding {
        let mut stock = self.stock();
        if let Some(wire) = stock.take(now) {
            return ConnectionBoarding::Ride(wire);
        }
        match &stock.flight {
            Some(flight) if flight.is_awaited() => ConnectionBoarding::Wait(flight.clone()),
            _ => {
                stock.flight = Some(landing());
                ConnectionBoarding::Open
            }
        }
    }

    /// Ends the opening that [`Self::board`] began; called before its outcome is reported.
    pub(super) fn land(&self) {
        self.stock().flight = None;
    }

    pub(super) async fn connect(&self, tasks: &Tasks) -> Result<Wire, UpstreamFault> {
        let (host, port) = (self.endpoint.host(), self.endpoint.port());
        let stream = connect::tcp(host, port).await?;
        let Some(config) = &self.tls else { return Ok(Wire::Http1(Http1Connection::new(stream))) };
        let stream = connect::tls(stream, host, Arc::clone(config)).await?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        self.stock().speaks_http1 = !http2;
        if http2 { Wire::http2(stream, tasks).await } else { Ok(Wire::Http1(Http1Connection::new(stream))) }
    }

    /// Opens a connection for one call alone: HTTP/1.1, where a server answers a head that is too large for it, else
    /// an HTTP/2 connection that is not shared.
    pub(super) async fn connect_alone(&self, tasks: &Tasks) -> Result<Wire, UpstreamFault> {
        let Some(config) = &self.tls else { return self.connect(tasks).await };
        let mut http1 = ClientConfig::clone(config);
        http1.alpn_protocols = vec![b"http/1.1".to_vec()];
        let (host, port) = (self.endpoint.host(), self.endpoint.port());
        let stream = connect::tcp(host, port).await?;
        match connect::tls(stream, host, Arc::new(http1)).await {
            Ok(stream) => Ok(Wire::Http1(Http1Connection::new(stream))),
            Err(UpstreamFault::Tls(_)) => self.connect(tasks).await,
            Err(fault) => Err(fault),
        }
    }

    /// Drops connections that were not used for `rest`. True if none is left and no call is under way.
    pub(super) fn sweep(&self, now: Instant, rest: Duration) -> bool {
        let calls = self.calls.load(Ordering::Relaxed);
        let mut stock = self.stock();
        stock.idle.retain(|idle| now.saturating_duration_since(idle.since) < rest);
        let shared_in_use = |shared: &SharedConnection| calls > 0 || now.saturating_duration_since(shared.used) < rest;
        stock.shared = stock.shared.take().filter(shared_in_use);
        calls == 0 && stock.idle.is_empty() && stock.shared.is_none() && stock.flight.is_none()
    }

    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        self.stock().idle.len()
    }

    fn stock(&self) -> MutexGuard<'_, ConnectionStock> {
        // Every change is a single push, pop or store, so a panic elsewhere leaves nothing half done.
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionStock {
    fn take(&mut self, now: Instant) -> Option<Wire> {
        if let Some(shared) = &mut self.shared {
            if !shared.sender.is_closed() && now.saturating_duration_since(shared.used) < MAX_CONNECTION_IDLE_TIME {
                shared.used = now;
                return Some(Wire::Http2(shared.sender.clone(), shared.number));
            }
            self.shared = None;
        }
        self.take_idle(now)
    }

    fn take_idle(&mut self, now: Instant) -> Option<Wire> {
        while let Some(mut idle) = self.idle.pop_back() {
            if idle.wire.is_usable() && !idle.is_old(now) {
                return Some(match idle.wire {
                    IdleWire::Streaming(sender) => Wire::Http1Streaming(sender),
                    IdleWire::Whole(connection) => Wire::Http1(connection),
                });
            }
        }
        None
    }
}

impl IdleWire {
    fn is_usable(&mut self) -> bool {
        match self {
            Self::Streaming(sender) => sender.is_ready(),
            Self::Whole(connection) => connection.is_quiet(),
        }
    }
}

impl IdleConnection {
    fn is_old(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= MAX_CONNECTION_IDLE_TIME
    }
}

impl OriginPlace {
    pub(super) fn origin(&self) -> &Arc<Origin> {
        &self.0
    }
}

impl Drop for OriginPlace {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}
