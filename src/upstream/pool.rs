//! The connection pool: finds or opens a connection for a call, sends the call, keeps reusable connections.
//!
//! Each runtime has one, because connections' tasks run where its calls run. Owns the timer of a call, and the rule
//! for sending again: only on another connection, and only a request that the server has certainly not processed,
//! because no byte of it was written or the server turned its HTTP/2 stream away. An idempotent request (not POST) is
//! also sent once more if a kept connection ended before its reply (RFC 9110, 9.2.2). Dropping a call drops its
//! HTTP/1.1 connection or resets its HTTP/2 stream.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout, timeout_at};

use super::body_transfer::Progress;
use super::connect::OpeningFlight;
use super::connection::{UnansweredCall, Wire, WireReply};
use super::framing::ConnectionReuse;
use super::http1_connection::MAX_REQUEST_BODY_BYTES;
use super::late_replies::MAX_LATE;
use super::origin::{ConnectionBoarding, IdleWire, MAX_CONNECTION_IDLE_TIME, Origin, OriginPlace};
use super::{CallPhase, Trust, UpstreamCall, UpstreamFault, UpstreamReply, reply, request};
use crate::clock::Clock;
use crate::config::EndpointUrl;
use crate::task::Tasks;

/// Calls under way to one origin, from one runtime. Further calls are refused.
const MAX_CALLS_PER_ORIGIN: usize = 1024;
/// Attempts of one request: on a kept connection that has died, on one that the server just gives up, and on a new
/// one.
const MAX_SENDS: u32 = 3;
/// Origins come from the configuration and from redirects. Beyond this number unused ones are forgotten.
const MAX_ORIGINS: usize = 64;
/// Time in which a used connection must become ready for the next call.
const REUSE_READY_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest unused time of a connection while stopping, so that draining need not wait for it.
const MAX_UNUSED_TIME_AT_DRAIN: Duration = Duration::from_millis(250);

#[derive(Clone)]
pub struct ConnectionPool(Arc<PoolInner>);

struct PoolInner {
    calls_max: usize,
    clock: Clock,
    /// True once no connections are kept any more.
    closed: AtomicBool,
    /// Permits for replies that are awaited though their callers have given up.
    late: Arc<Semaphore>,
    origins: Mutex<Vec<Arc<Origin>>>,
    tasks: Tasks,
    trust: Trust,
    watched: AtomicBool,
}

/// The use of a reply's body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ReplyUse {
    Collect,
    Stream,
}

impl ConnectionPool {
    pub fn new(tasks: Tasks, clock: Clock, trust: Trust) -> Self {
        Self::with_calls_max(tasks, clock, trust, MAX_CALLS_PER_ORIGIN)
    }

    pub(crate) fn with_calls_max(tasks: Tasks, clock: Clock, trust: Trust, calls_max: usize) -> Self {
        Self(Arc::new(PoolInner {
            calls_max,
            clock,
            closed: AtomicBool::new(false),
            late: Arc::new(Semaphore::new(MAX_LATE)),
            origins: Mutex::default(),
            tasks,
            trust,
            watched: AtomicBool::new(false),
        }))
    }

    /// Sends one request and collects its reply.
    ///
    /// # Errors
    /// An [`UpstreamFault`] for each way in which no whole reply came within the call's bounds.
    ///
    /// # Cancel safety
    /// The call is given up at once. A part that the server has seen stays seen.
    pub async fn send(&self, call: UpstreamCall<'_>) -> Result<UpstreamReply, UpstreamFault> {
        self.send_by(&call, call.deadline).await
    }

    /// Like [`Self::send`], with another deadline than the call's own.
    pub(super) async fn send_by(
        &self,
        call: &UpstreamCall<'_>,
        deadline: Instant,
    ) -> Result<UpstreamReply, UpstreamFault> {
        let now = self.0.clock.now();
        let progress = Progress::default();
        if deadline <= now {
            return Err(progress.slow());
        }
        match timeout_at(deadline.into(), self.exchange(call, now, &progress)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(progress.slow()),
        }
    }

    pub(super) async fn exchange(
        &self,
        call: &UpstreamCall<'_>,
        now: Instant,
        progress: &Progress,
    ) -> Result<UpstreamReply, UpstreamFault> {
        let (reply, place, wire) = self.ask(call, now, progress, ReplyUse::Collect).await?;
        progress.enter(CallPhase::Body);
        match (reply, wire) {
            (WireReply::Whole(reply), Wire::Http1(mut connection)) => {
                let (reply, reusable) = connection.collect(reply, call.reply_max).await?;
                if reusable {
                    self.0.put_back(place.origin(), IdleWire::Whole(connection));
                }
                Ok(reply)
            }
            (WireReply::Incoming(response), wire) => {
                let (reply, reuse) = reply::collect(response, call.reply_max).await?;
                if let (Wire::Http1Streaming(sender), ConnectionReuse::Possible) = (wire, reuse) {
                    self.0.give_back(place.origin(), sender);
                }
                Ok(reply)
            }
            // A connection brings replies of its own kind alone.
            (WireReply::Whole(_), Wire::Http1Streaming(_) | Wire::Http2(..)) => Err(UpstreamFault::Malformed),
        }
    }

    /// Makes the call up to the head of the reply.
    pub(super) async fn ask(
        &self,
        call: &UpstreamCall<'_>,
        now: Instant,
        progress: &Progress,
        reply_use: ReplyUse,
    ) -> Result<(WireReply, OriginPlace, Wire), UpstreamFault> {
        let origin = self.0.origin(call.endpoint)?;
        let place = origin.enter(self.0.calls_max)?;
        let streams = reply_use == ReplyUse::Stream || call.body.len() > MAX_REQUEST_BODY_BYTES;
        let alone = request::has_large_head(call);
        let (mut wire, mut kept) = match if alone { origin.reuse_alone(now) } else { origin.reuse(now) } {
            Some(wire) => (wire, true),
            None => (self.open(&origin, now, alone).await?, false),
        };
        let (mut lost, mut sends, mut turned_away) = (None, 1, false);
        let reply = loop {
            if streams {
                wire = Box::pin(wire.into_streaming(&self.0.tasks)).await?;
            }
            progress.enter(CallPhase::Head);
            let UnansweredCall { fault, unprocessed } = match wire.send(call, &origin.target).await {
                Ok(reply) => break reply,
                Err(unanswered) => unanswered,
            };
            origin.retire(&wire);
            turned_away |= fault == UpstreamFault::Refused;
            let last = if turned_away && fault.was_not_processed() { UpstreamFault::Refused } else { fault.clone() };
            if sends >= MAX_SENDS || lost.is_some() {
                return Err(lost.unwrap_or(last));
            }
            if unprocessed {
                progress.enter(CallPhase::Connect);
            } else if kept && call.method.is_idempotent() && fault == UpstreamFault::Reset {
                // The request may have been processed, so no later failure may say that it was not.
                lost = Some(fault);
            } else {
                return Err(fault);
            }
            sends += 1;
            kept = false;
            wire = self.open(&origin, now, alone).await.map_err(|fault| lost.clone().unwrap_or(fault))?;
        };
        Ok((reply, place, wire))
    }

    pub(super) fn now(&self) -> Instant {
        self.0.clock.now()
    }

    pub(super) fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }

    pub(super) fn late_places(&self) -> &Arc<Semaphore> {
        &self.0.late
    }

    pub(super) fn give_back(&self, origin: &Arc<Origin>, sender: http1::SendRequest<Full<Bytes>>) {
        self.0.give_back(origin, sender);
    }

    /// Opens a connection, or uses the HTTP/2 one that was just opened; with `alone` one that no other call shares.
    /// Boxed, so that a call on a kept connection does not carry the state of a handshake.
    async fn open(&self, origin: &Arc<Origin>, now: Instant, alone: bool) -> Result<Wire, UpstreamFault> {
        self.0.watch_for_stop();
        Box::pin(async {
            if alone {
                return origin.connect_alone(&self.0.tasks).await;
            }
            // If no connections are kept, none can be shared.
            if origin.speaks_http1() || self.0.closed.load(Ordering::Relaxed) {
                return self.0.connect(origin).await;
            }
            let (flight, landing) = OpeningFlight::new();
            match origin.board(now, || landing.clone()) {
                ConnectionBoarding::Ride(wire) => return Ok(wire),
                ConnectionBoarding::Open => {
                    self.0.take_off(Arc::clone(origin), flight);
                    landing.outcome().await?;
                }
                ConnectionBoarding::Wait(landing) => landing.outcome().await?,
            }
            // An HTTP/1.1 connection goes to the first of the waiting calls.
            match origin.reuse(now) {
                Some(wire) => Ok(wire),
                None => self.0.connect(origin).await,
            }
        })
        .await
    }
}

impl PoolInner {
    fn origin(&self, endpoint: &EndpointUrl) -> Result<Arc<Origin>, UpstreamFault> {
        let tls = endpoint.tls().then(|| self.trust.config_for(endpoint));
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = origins.iter().position(|origin| origin.is_at(endpoint)) {
            match origins.get(at) {
                Some(origin) if origin.trusts(tls.as_ref()) => return Ok(Arc::clone(origin)),
                // Calls of a displaced origin finish, and its connections go with the last of them.
                Some(_) | None => drop(origins.swap_remove(at)),
            }
        }
        if origins.len() >= MAX_ORIGINS {
            let now = self.clock.now();
            origins.retain(|origin| Arc::strong_count(origin) > 1 || !origin.sweep(now, MAX_UNUSED_TIME_AT_DRAIN));
        }
        let origin = Arc::new(Origin::new(endpoint, tls)?);
        origins.push(Arc::clone(&origin));
        Ok(origin)
    }

    async fn connect(&self, origin: &Origin) -> Result<Wire, UpstreamFault> {
        let wire = origin.connect(&self.tasks).await?;
        if !self.closed.load(Ordering::Relaxed) {
            origin.keep(&wire, self.clock.now());
        }
        Ok(wire)
    }

    /// Opens in a detached task, so that a call that gives up does not take the connection from waiting calls.
    fn take_off(self: &Arc<Self>, origin: Arc<Origin>, flight: OpeningFlight) {
        let inner = Arc::clone(self);
        self.tasks.spawn(async move {
            let outcome = inner.connect(&origin).await;
            let outcome = outcome.map(|wire| {
                if let Wire::Http1(connection) = wire {
                    inner.put_back(&origin, IdleWire::Whole(connection));
                }
            });
            origin.land();
            flight.land(outcome);
        });
    }

    fn give_back(self: &Arc<Self>, origin: &Arc<Origin>, sender: http1::SendRequest<Full<Bytes>>) {
        if sender.is_closed() {
            return;
        }
        if sender.is_ready() {
            return self.put_back(origin, IdleWire::Streaming(sender));
        }
        // Mostly the connection's task has yet to see the end of the body.
        let (inner, origin) = (Arc::clone(self), Arc::clone(origin));
        self.tasks.spawn(async move { inner.settle(&origin, sender).await });
    }

    async fn settle(self: &Arc<Self>, origin: &Arc<Origin>, mut sender: http1::SendRequest<Full<Bytes>>) {
        if let Ok(Ok(())) = timeout(REUSE_READY_TIMEOUT, sender.ready()).await {
            self.put_back(origin, IdleWire::Streaming(sender));
        }
    }

    fn put_back(self: &Arc<Self>, origin: &Arc<Origin>, wire: IdleWire) {
        if !self.closed.load(Ordering::Relaxed) && origin.put_back(wire, self.clock.now()) {
            self.look_after(origin);
        }
    }

    /// Closes unused connections in time, though no further call looks at them. One task does so while there are any.
    fn look_after(self: &Arc<Self>, origin: &Arc<Origin>) {
        let (clock, origin, tasks) = (self.clock, Arc::downgrade(origin), self.tasks.clone());
        self.tasks.spawn(async move {
            let looks = async {
                loop {
                    sleep(MAX_CONNECTION_IDLE_TIME).await;
                    if origin.upgrade().is_none_or(|origin| !origin.forget_old(clock.now())) {
                        return;
                    }
                }
            };
            // At the stop the pool closes them itself.
            tokio::select! {
                () = looks => {}
                () = tasks.stopped() => {}
            }
        });
    }

    /// Watches for the stop of the process once connections exist, because draining waits for their tasks.
    fn watch_for_stop(self: &Arc<Self>) {
        if !self.watched.swap(true, Ordering::Relaxed) {
            let (inner, tasks) = (Arc::downgrade(self), self.tasks.clone());
            self.tasks.spawn(async move {
                tasks.stopped().await;
                while inner.upgrade().is_some_and(|inner| !inner.close_unused()) {
                    sleep(MAX_UNUSED_TIME_AT_DRAIN).await;
                }
            });
        }
    }

    /// Closes unused connections; true if all are closed. Calls that end sessions during the stop still find kept
    /// ones.
    fn close_unused(&self) -> bool {
        let now = self.clock.now();
        let origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        let mut quiet = true;
        for origin in origins.iter() {
            quiet &= origin.sweep(now, MAX_UNUSED_TIME_AT_DRAIN);
        }
        self.closed.store(quiet, Ordering::Relaxed);
        quiet
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use bytes::Bytes;
    use http::uri::PathAndQuery;
    use http::{HeaderMap, Method};
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::net::TcpListener;
    use tokio::{join, select};

    use super::*;

    impl ConnectionPool {
        /// True if a call at that time would use a kept connection.
        pub(in crate::upstream) fn reuses(&self, endpoint: &EndpointUrl, now: Instant) -> bool {
            self.0.origin(endpoint).is_ok_and(|origin| origin.reuse(now).is_some())
        }
    }

    type Connection = http1::Connection<TokioIo<DuplexStream>, Full<Bytes>>;

    impl ConnectionPool {
        pub(in crate::upstream) fn idle(&self, endpoint: &EndpointUrl) -> usize {
            self.0.origin(endpoint).map_or(0, |origin| origin.idle())
        }
    }

    fn pool(calls_max: usize) -> ConnectionPool {
        let (tasks, _deaths) = Tasks::new();
        ConnectionPool::with_calls_max(tasks, Clock, Trust::public().unwrap(), calls_max)
    }

    async fn server() -> (TcpListener, EndpointUrl) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = EndpointUrl::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        (listener, endpoint)
    }

    fn call(endpoint: &EndpointUrl) -> UpstreamCall<'_> {
        UpstreamCall {
            body: Bytes::from_static(b"x"),
            deadline: Clock.now() + Duration::from_secs(20),
            endpoint,
            headers: HeaderMap::new(),
            method: Method::POST,
            path_and_query: PathAndQuery::from_static("/"),
            reply_max: 64,
        }
    }

    /// A kept connection that looks alive, and what to drop for its death.
    async fn plant(pool: &ConnectionPool, endpoint: &EndpointUrl, since: Instant) -> (Connection, DuplexStream) {
        let (near, far) = duplex(1024);
        let (mut sender, mut connection) = http1::handshake(TokioIo::new(near)).await.unwrap();
        select! {
            biased;
            _ = &mut connection => panic!("the connection ended"),
            ready = sender.ready() => ready.unwrap(),
        }
        pool.0.origin(endpoint).unwrap().put_back(IdleWire::Streaming(sender), since);
        (connection, far)
    }

    async fn answer(listener: &TcpListener) -> String {
        let accepted = timeout(Duration::from_secs(20), listener.accept()).await;
        let mut stream = accepted.expect("nobody connects").unwrap().0;
        let mut request = [0; 1024];
        let mut length = 0;
        while !request[..length].ends_with(b"\r\n\r\nx") {
            length += stream.read(&mut request[length..]).await.unwrap();
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    }

    fn assert_no_connection(listener: TcpListener) {
        let waiting = listener.into_std().unwrap().accept();
        assert_eq!(waiting.map(drop).unwrap_err().kind(), ErrorKind::WouldBlock);
    }

    #[tokio::test]
    async fn a_request_that_a_dead_connection_never_wrote_goes_out_once_on_a_new_one() {
        let (pool, (listener, endpoint)) = (pool(8), server().await);
        let mut dead = Vec::new();
        for _ in 0..3 {
            dead.push(plant(&pool, &endpoint, Clock.now()).await);
        }
        // The call is polled first, so it has chosen its connection when that one dies.
        let death = async { drop(dead) };
        let (reply, (), request) = join!(biased; pool.send(call(&endpoint)), death, answer(&listener));
        assert!(reply.is_ok());
        assert_eq!(request.matches("POST / HTTP/1.1").count(), 1);
        assert_eq!(request.matches("host: ").count(), 1);
        assert_no_connection(listener);
    }

    #[tokio::test]
    async fn idle_connections_expire_are_capped_and_the_newest_is_used_first() {
        let (pool, (_listener, endpoint)) = (pool(8), server().await);
        let now = Clock.now();
        let origin = pool.0.origin(&endpoint).unwrap();
        let mut alive = Vec::new();
        for _ in 0..70 {
            alive.push(plant(&pool, &endpoint, now).await);
        }
        // The six oldest made room.
        for (connection, _far) in alive.drain(..6) {
            connection.await.unwrap();
        }
        let count = |at: Instant| std::iter::from_fn(|| origin.reuse(at)).count();
        drop(alive.pop());
        assert_eq!(count(now + Duration::from_secs(59)), 63);
        let expired = plant(&pool, &endpoint, now).await;
        assert_eq!(count(now + Duration::from_secs(60)), 0);
        expired.0.await.unwrap();
    }

    #[tokio::test]
    async fn calls_beyond_the_limit_are_shed_and_places_come_back() {
        let (pool, (listener, endpoint)) = (pool(2), server().await);
        let (one, two, three) = (call(&endpoint), call(&endpoint), call(&endpoint));
        select! {
            biased;
            _ = async { join!(biased; pool.send(one), pool.send(two)) } => panic!("nobody answers"),
            shed = pool.send(three) => assert_eq!(shed.map(drop).unwrap_err(), UpstreamFault::Busy),
        }
        let (first, second) = (listener.accept().await.unwrap(), listener.accept().await.unwrap());
        drop((first, second));
        assert!(join!(pool.send(call(&endpoint)), answer(&listener)).0.is_ok());
    }

    #[tokio::test]
    async fn origins_that_are_quiet_are_forgotten() {
        let pool = pool(1);
        for port in 1..1000 {
            let endpoint = EndpointUrl::parse(&format!("http://localhost:{port}")).unwrap();
            pool.0.origin(&endpoint).unwrap();
        }
        assert!(pool.0.origins.lock().unwrap().len() <= MAX_ORIGINS);
    }

    #[tokio::test]
    async fn a_call_on_a_kept_connection_has_a_small_future() {
        let (pool, (_listener, endpoint)) = (pool(1), server().await);
        let size = size_of_val(&pool.send(call(&endpoint)));
        assert!(size < 3000, "{size} bytes");
    }
}
