//! Serves a connection until it ends by itself or must end: when idle, at its longest life, to make room, or at
//! drain.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};

use super::Peer;
use super::address_limits::AddressKey;
use super::connection::StreamExecutor;
use super::connection_guards::ConnectionGuards;
use super::connection_state::ConnectionState;
use super::counters::add;
use super::parking::ConnectionFault;
use super::request_rules::RequestViolation;
use super::service::ConnectionService;
use super::shared::{EdgeShared, MAX_UNUSED_TIME};
use crate::config::ServerLimits;
use crate::secret::scrub;

/// Time that an idle HTTP/2 peer has for a last request.
const IDLE_GRACE: Duration = Duration::from_secs(1);
/// The same, if its connection makes room for another.
const EVICTION_GRACE: Duration = Duration::from_millis(100);
/// Time in which the runtime learns of bytes that lie in the socket.
const SOCKET_PEEK_TIME: Duration = Duration::from_millis(1);

/// Resolves when the first request has not begun within `first`. Later it resolves when for `idle`, at most twice
/// that, no request began or ran and no piece of a reply was taken. A peer that only answers our pings is idle.
pub(super) async fn idleness(line: Arc<ConnectionState>, first: Duration, idle: Duration) {
    sleep(first.min(idle)).await;
    let mut before = (line.activity(), line.pieces_taken());
    if before.0 == (0, 0) {
        return;
    }
    loop {
        sleep(idle).await;
        let now = (line.activity(), line.pieces_taken());
        let ((_, running), _) = now;
        if now == before && running == 0 {
            return;
        }
        before = now;
    }
}

/// Serves until the connection ends by itself. If it must end, it first answers the requests that are on their way.
/// The connection comes boxed, because an async function would hold it twice.
pub(super) async fn drive<C: GracefulConnection>(
    mut connection: Pin<Box<C>>,
    end: ConnectionEnd,
    shared: Arc<EdgeShared>,
    limits: Arc<ServerLimits>,
    idle: impl Future<Output = ()>,
) {
    let ConnectionEnd { address, line, guards } = end;
    let or_busy = |grace| if line.is_busy() { limits.drain } else { grace };
    let (quiet, grace) = tokio::select! {
        ended = connection.as_mut() => {
            if ended.as_ref().is_err_and(C::is_ours) {
                guards.end();
            }
            return note(ended.map_err(Into::into), &shared, address, &line);
        }
        // Drain has a bound of its own, and may begin some time after the announcement.
        () = shared.announce.cancelled() => (quiet_time(&limits), MAX_UNUSED_TIME + limits.drain),
        () = sleep(limits.lifetime) => {
            add(&shared.counters.lifetimes_ended);
            (quiet_time(&limits), limits.drain)
        }
        () = idle => (Duration::ZERO, or_busy(IDLE_GRACE)),
        // A running call is served to its end, though its place is already taken.
        () = line.evicted() => (SOCKET_PEEK_TIME, or_busy(EVICTION_GRACE)),
    };
    guards.end();
    line.announce_end();
    let ending = timeout(grace, finish(connection, &line, &shared, quiet));
    if let Ok(Some(ended)) = Box::pin(ending).await {
        note(ended.map_err(Into::into), &shared, address, &line);
    }
}

/// Time for which an idle connection that must end waits for one more request.
fn quiet_time(limits: &ServerLimits) -> Duration {
    MAX_UNUSED_TIME.min(limits.drain / 2)
}

/// Ends the connection after the requests on their way. `None` if it must be cut.
async fn finish<C: GracefulConnection>(
    mut connection: Pin<Box<C>>,
    line: &ConnectionState,
    shared: &EdgeShared,
    quiet: Duration,
) -> Option<Result<(), C::Fault>> {
    tokio::select! {
        biased;
        () = shared.answered.cancelled() => if line.activity().1 == 0 && line.is_mid_head() { return None },
        ended = serve_what_comes(connection.as_mut(), line, shared, quiet) => if ended.is_some() { return ended },
        () = line.evicted() => {}
    }
    connection.as_mut().finish();
    if C::ANNOUNCES_ITS_END
        && let Ok(ended) = timeout(MAX_UNUSED_TIME, connection.as_mut()).await
    {
        return Some(ended);
    }
    line.await_nothing();
    Some(connection.await)
}

/// Waits for requests that may be on their way. hyper closes a connection at once if it is told to finish while it
/// knows of no request. A request in the socket, or one that arrives now, would be lost, though its peer could not
/// know. So an HTTP/1.1 connection is served until it was idle for `quiet`, and each reply says `Connection: close`.
/// HTTP/2 announces its end without losing a request, once the first one is there. Returns the connection's end, if
/// it comes meanwhile.
async fn serve_what_comes<C: GracefulConnection>(
    mut connection: Pin<&mut C>,
    line: &ConnectionState,
    shared: &EdgeShared,
    quiet: Duration,
) -> Option<Result<(), C::Fault>> {
    let mut idle_until = pin!(sleep(quiet));
    let mut was_running = false;
    poll_fn(|cx| {
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            return Poll::Ready(Some(ended));
        }
        let (requests, running) = line.activity();
        if C::ANNOUNCES_ITS_END && requests > 0 {
            return Poll::Ready(None);
        }
        let is_running = running > 0;
        if is_running != was_running {
            was_running = is_running;
            // A running request is counted separately until its reply is there.
            line.await_request(if is_running { None } else { shared.unanswered.enter() });
            idle_until.set(sleep(quiet));
        }
        if is_running {
            return Poll::Pending;
        }
        ready!(idle_until.as_mut().poll(cx));
        if !line.is_mid_head() {
            return Poll::Ready(None);
        }
        // The rest of the head may never come, so nothing waits for it.
        line.await_nothing();
        Poll::Pending
    })
    .await
}

/// Values that are needed at a connection's end.
pub(super) struct ConnectionEnd {
    address: AddressKey,
    line: Arc<ConnectionState>,
    guards: ConnectionGuards,
}

impl ConnectionEnd {
    pub(super) fn of(peer: &Peer, line: &Arc<ConnectionState>) -> Self {
        Self { address: AddressKey::of(peer.address), line: Arc::clone(line), guards: peer.guards.clone() }
    }
}

/// Counts and logs an end. hyper has already answered a request that it could not parse.
fn note(ended: Result<(), ConnectionFault>, shared: &EdgeShared, address: AddressKey, line: &ConnectionState) {
    if line.breach() == Some(RequestViolation::TlsUnexpected) {
        return note_tls(shared, address);
    }
    let Err(fault) = ended else { return };
    if let ConnectionFault::Http(fault) = &fault
        && fault.is_parse()
    {
        shared.counters.breach(RequestViolation::Malformed);
        let error = RequestViolation::Malformed.label();
        if shared.may_log(error, address) {
            tracing::info!(error, peer = %address, "refused a request");
        }
    } else {
        tracing::debug!(fault = scrub(&fault.to_string()), "connection ended");
    }
}

fn note_tls(shared: &EdgeShared, address: AddressKey) {
    let error = RequestViolation::TlsUnexpected.label();
    shared.counters.breach(RequestViolation::TlsUnexpected);
    if shared.may_log(error, address) {
        tracing::info!(
            error, peer = %address,
            "a connection to a plain HTTP address begins as TLS does: its URL must begin with http://, or lead to an \
             address of server.listen"
        );
    }
}

/// A connection that can be asked to end after its running calls.
pub(super) trait GracefulConnection: Future<Output = Result<(), <Self as GracefulConnection>::Fault>> {
    type Fault: Into<ConnectionFault>;

    /// True if the protocol tells the peer of the end, so that no request crosses it and several may run.
    const ANNOUNCES_ITS_END: bool;

    fn finish(self: Pin<&mut Self>);

    /// True if we caused such an end, so that the peer may still be there.
    fn is_ours(fault: &Self::Fault) -> bool;
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> GracefulConnection
    for http2::Connection<TokioIo<S>, ConnectionService, StreamExecutor>
{
    type Fault = hyper::Error;

    /// GOAWAY, twice, with a ping between them (RFC 9113 section 6.8).
    const ANNOUNCES_ITS_END: bool = true;

    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }

    /// A peer that does not answer a ping is gone.
    fn is_ours(_fault: &hyper::Error) -> bool {
        false
    }
}
