//! Serves a connection until it ends, or is to end: at its idle time, its longest life, to make room, at drain.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};

use super::Peer;
use super::address_limits::AddressKey;
use super::breach::Breach;
use super::conn::Streams;
use super::counters::add;
use super::line::Line;
use super::service::Calls;
use super::shared::{MAX_UNUSED_TIME, Shared};
use super::ties::Ties;
use crate::config::Limits;
use crate::secret::scrub;

/// An idle HTTP/2 peer has so long to say its last word.
const IDLE_GRACE: Duration = Duration::from_secs(1);
/// The same, where its connection makes room for another.
const EVICTION_GRACE: Duration = Duration::from_millis(100);

/// Resolves when the first request did not begin within `first`, or none has been begun or running for
/// `idle`, at most twice that. A peer that only answers our pings is idle.
pub(super) async fn idleness(line: Arc<Line>, first: Duration, idle: Duration) {
    sleep(first.min(idle)).await;
    let mut before = line.activity();
    if before == (0, 0) {
        return;
    }
    loop {
        sleep(idle).await;
        let now = line.activity();
        if now == before && now.1 == 0 {
            return;
        }
        before = now;
    }
}

/// Serves until the connection ends by itself; or asks it to end, and waits no longer than a drain.
/// The connection comes boxed, since an async function would hold it twice.
pub(super) async fn drive<C: Graceful>(
    mut connection: Pin<Box<C>>,
    end: ConnectionEnd,
    shared: Arc<Shared>,
    limits: Arc<Limits>,
    idle: impl Future<Output = ()>,
) {
    let ConnectionEnd { address, line, ties } = end;
    let mut grace = limits.drain;
    tokio::select! {
        ended = connection.as_mut() => {
            if ended.as_ref().is_err_and(C::is_ours) {
                ties.end();
            }
            return note(ended, &shared, address, &line);
        }
        () = shared.stop.cancelled() => {}
        () = shared.announce.cancelled(), if C::ANNOUNCES_ITS_END => {}
        () = sleep(limits.lifetime) => add(&shared.counters.lifetimes_ended),
        () = idle => if !line.is_busy() { grace = IDLE_GRACE },
        // A call that has begun just now is served; its place is another's already.
        () = line.evicted() => if !line.is_busy() { grace = EVICTION_GRACE },
    }
    ties.end();
    if !C::ANNOUNCES_ITS_END
        && shared.stop.is_cancelled()
        && let Some(ended) = Box::pin(take_what_came(connection.as_mut(), &line)).await
    {
        return note(ended, &shared, address, &line);
    }
    connection.as_mut().finish();
    if let Ok(ended) = timeout(grace, connection).await {
        note(ended, &shared, address, &line);
    }
}

/// A connection that is told to finish is closed at once if no request is known of: one that lies in the socket
/// already would be lost, and so would the first one of a connection that was only just taken. Returns the
/// connection's end, if it came meanwhile.
async fn take_what_came<C: Graceful>(mut connection: Pin<&mut C>, line: &Line) -> Option<hyper::Result<()>> {
    let is_new = line.activity().0 == 0;
    let mut unused = pin!(sleep(if is_new { MAX_UNUSED_TIME } else { Duration::ZERO }));
    poll_fn(|cx| {
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            return Poll::Ready(Some(ended));
        }
        if !is_new || line.activity().0 > 0 {
            return Poll::Ready(None);
        }
        unused.as_mut().poll(cx).map(|()| None)
    })
    .await
}

/// What is done at a connection's end.
pub(super) struct ConnectionEnd {
    address: AddressKey,
    line: Arc<Line>,
    ties: Ties,
}

impl ConnectionEnd {
    pub(super) fn of(peer: &Peer, line: &Arc<Line>) -> Self {
        Self { address: AddressKey::of(peer.address), line: Arc::clone(line), ties: peer.ties.clone() }
    }
}

/// hyper has answered what it could not parse; here it is only counted.
fn note(ended: hyper::Result<()>, shared: &Shared, address: AddressKey, line: &Line) {
    if line.breach() == Some(Breach::TlsUnexpected) {
        return note_tls(shared, address);
    }
    let Err(fault) = ended else { return };
    if fault.is_parse() {
        shared.counters.breach(Breach::Malformed);
        let error = Breach::Malformed.label();
        if shared.may_log(error, address) {
            tracing::info!(error, peer = %address, "refused a request");
        }
    } else {
        tracing::debug!(fault = scrub(&fault.to_string()), "connection ended");
    }
}

fn note_tls(shared: &Shared, address: AddressKey) {
    let error = Breach::TlsUnexpected.label();
    shared.counters.breach(Breach::TlsUnexpected);
    if shared.may_log(error, address) {
        tracing::info!(
            error, peer = %address,
            "a connection to a plain HTTP address begins as TLS does: its URL must begin with http://, or lead to an \
             address of server.listen"
        );
    }
}

/// A hyper connection that can be asked to end after its running calls.
pub(super) trait Graceful: Future<Output = hyper::Result<()>> {
    /// Whether its end is told to the peer by itself, so that no request crosses it.
    const ANNOUNCES_ITS_END: bool;

    fn finish(self: Pin<&mut Self>);

    /// Whether such an end was our doing, and the peer may well be there.
    fn is_ours(fault: &hyper::Error) -> bool;
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Graceful for http1::Connection<TokioIo<S>, Calls> {
    const ANNOUNCES_ITS_END: bool = false;

    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }

    /// The idle time of a kept-alive connection, or a reply that was cut.
    fn is_ours(fault: &hyper::Error) -> bool {
        fault.is_timeout() || fault.is_user()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Graceful for http2::Connection<TokioIo<S>, Calls, Streams> {
    /// GOAWAY, twice, with a ping between them (RFC 9113 section 6.8).
    const ANNOUNCES_ITS_END: bool = true;

    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }

    /// Who does not answer a ping is gone.
    fn is_ours(_fault: &hyper::Error) -> bool {
        false
    }
}
