//! One connection, from its handshake to its end.
//!
//! Picks hyper's HTTP/1.1 or HTTP/2 builder by ALPN (never the one that guesses by the first bytes,
//! which waits for them without end), and owns every deadline around it: handshake, first bytes,
//! idle time, longest life, drain. Called by the acceptor, once per permit.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::breach::Breach;
use super::counters::{Counters, add};
use super::line::Line;
use super::patience::Patient;
use super::permit::Gate;
use super::service::Calls;
use super::ties::Ties;
use super::viewer::ForwardingRules;
use super::watch::Watched;
use super::{Cors, Handler, Peer, proxy_protocol, tls};
use crate::config::Limits;
use crate::secret::scrub;
use crate::task::Tasks;

/// Largest head of an HTTP/1.1 request; also hyper's read buffer at its largest.
pub(super) const BUFFER: usize = 32 * 1024;
/// The client's connection preface (RFC 9113 section 3.4).
const PREFACE: usize = 24;
/// Our messages are a few KiB: many streams, small windows.
const STREAMS: u32 = 64;
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
const HEADER_LIST: u32 = 16 * 1024;

type Served = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What all workers have in common.
pub(super) struct Shared {
    pub(super) calls: Arc<Gate>,
    pub(super) connections: Arc<Gate>,
    pub(super) cors: ArcSwap<Cors>,
    pub(super) counters: Arc<Counters>,
    pub(super) forwarding: ArcSwap<ForwardingRules>,
    pub(super) limits: ArcSwap<Limits>,
    /// Cancelled when drain begins.
    pub(super) stop: CancellationToken,
    pub(super) tasks: Tasks,
    /// Counts the connections, so that drain can wait for them alone.
    pub(super) tracker: TaskTracker,
}

/// One worker's own: its handler and its builders.
pub(super) struct Worker {
    pub(super) handler: Arc<dyn Handler>,
    http1: http1::Builder,
    http2: http2::Builder<Streams>,
    pub(super) shared: Arc<Shared>,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, handler: Arc<dyn Handler>) -> Self {
        let mut http1 = http1::Builder::new();
        http1.timer(TokioTimer::new()).max_buf_size(BUFFER).max_header_size(BUFFER);
        let mut http2 = http2::Builder::new(Streams(shared.tasks.clone()));
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEADER_LIST);
        Self { handler, http1, http2, shared }
    }

    /// Reads the PROXY protocol header that the listener expects, and takes the viewer's address from it.
    /// None: the connection is to be closed.
    pub(super) async fn introduce(&self, mut stream: TcpStream, peer: Peer) -> Option<(TcpStream, Peer)> {
        let shared = &self.shared;
        if !shared.forwarding.load().trusts(peer.address) {
            return self.note_stranger(&peer, "the peer is not one of server.trusted-proxies");
        }
        let deadline = shared.limits.load().first_byte;
        match timeout(deadline, proxy_protocol::read(&mut stream)).await {
            Ok(Ok(Some(viewer))) => Some((stream, Peer { address: viewer, proxy: Some(peer.address), ..peer })),
            Ok(Ok(None)) => Some((stream, peer)),
            Ok(Err(fault)) => self.note_stranger(&peer, &fault.to_string()),
            Err(_late) => self.note_stranger(&peer, "the PROXY protocol header did not come in time"),
        }
    }

    fn note_stranger(&self, peer: &Peer, why: &str) -> Option<(TcpStream, Peer)> {
        add(&self.shared.counters.proxy_headers_refused);
        tracing::info!(peer = %peer.address, why, "closed a connection that expects a PROXY protocol header");
        None
    }

    /// HTTP/1.1 over a byte stream that needs no more handshake.
    pub(super) fn serve_http1<S>(self: Arc<Self>, stream: S, peer: Peer) -> impl Future<Output = ()> + Send
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (limits, line) = (self.shared.limits.load_full(), Arc::new(Line::default()));
        let stream = Watched::new(self.patient(stream, 1, &limits), Arc::clone(&line));
        let ties = peer.ties.clone();
        let calls = Calls { line, peer, worker: Arc::clone(&self) };
        // hyper restarts the head's deadline when a request is finished, so this is also the idle
        // time of a kept-alive connection; it must be longer than a player's renewal interval.
        let mut http1 = self.http1.clone();
        http1.header_read_timeout(limits.idle);
        let served = Box::pin(http1.serve_connection(TokioIo::new(stream), calls));
        // HTTP/1.1 needs no watch on idleness: hyper's own deadline closes it.
        drive(served, ties, Arc::clone(&self.shared), limits, std::future::pending())
    }

    pub(super) async fn serve_tls(self: Arc<Self>, stream: TcpStream, peer: Peer, acceptor: TlsAcceptor) {
        // Boxed, so that the handshake's state is gone while the connection idles.
        if let Some(served) = Box::pin(self.shake(stream, peer, acceptor)).await {
            served.await;
        }
    }

    /// The handshake; what remains to be done is serving the connection.
    async fn shake(self: Arc<Self>, stream: TcpStream, mut peer: Peer, acceptor: TlsAcceptor) -> Option<Served> {
        let stream = match timeout(self.shared.limits.load().handshake, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(fault)) => return self.note_handshake(&peer, &fault.to_string()),
            Err(_late) => return self.note_handshake(&peer, "it took too long"),
        };
        let (_, session) = stream.get_ref();
        peer.certificate = session.peer_certificates().and_then(<[_]>::first).map(tls::fingerprint);
        Some(if session.alpn_protocol() == Some(tls::H2) {
            Box::pin(self.serve_http2(stream, peer))
        } else {
            Box::pin(self.serve_http1(stream, peer))
        })
    }

    fn serve_http2<S>(self: Arc<Self>, stream: S, peer: Peer) -> impl Future<Output = ()> + Send
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (limits, line) = (self.shared.limits.load_full(), Arc::new(Line::default()));
        let stream = self.patient(stream, PREFACE, &limits);
        let ties = peer.ties.clone();
        let calls = Calls { line: Arc::clone(&line), peer, worker: Arc::clone(&self) };
        let mut http2 = self.http2.clone();
        http2.keep_alive_interval(limits.idle / 2).keep_alive_timeout(limits.first_byte);
        let served = Box::pin(http2.serve_connection(TokioIo::new(stream), calls));
        let idle = idleness(line, limits.idle);
        drive(served, ties, Arc::clone(&self.shared), limits, idle)
    }

    fn note_handshake(&self, peer: &Peer, why: &str) -> Option<Served> {
        add(&self.shared.counters.handshakes_failed);
        tracing::debug!(peer = %peer.address, why = scrub(why), "TLS handshake failed");
        None
    }

    fn patient<S>(&self, stream: S, first: usize, limits: &Limits) -> Patient<S> {
        Patient::new(stream, Arc::clone(&self.shared.counters), first, limits.first_byte, limits.idle)
    }
}

/// Resolves when no request has been begun or running for `idle`, at most twice that. A peer that
/// only answers our pings is idle.
async fn idleness(line: Arc<Line>, idle: Duration) {
    let mut before = line.activity();
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
async fn drive<C: Graceful>(
    mut connection: Pin<Box<C>>,
    ties: Ties,
    shared: Arc<Shared>,
    limits: Arc<Limits>,
    idle: impl Future<Output = ()>,
) {
    tokio::select! {
        ended = connection.as_mut() => {
            if ended.as_ref().is_err_and(C::is_ours) {
                ties.end();
            }
            return note(ended, &shared.counters);
        }
        () = shared.stop.cancelled() => {}
        () = sleep(limits.lifetime) => add(&shared.counters.lifetimes_ended),
        () = idle => {}
    }
    ties.end();
    connection.as_mut().finish();
    if let Ok(ended) = timeout(limits.drain, connection).await {
        note(ended, &shared.counters);
    }
}

/// hyper has answered what it could not parse; here it is only counted.
fn note(ended: hyper::Result<()>, counters: &Counters) {
    let Err(fault) = ended else { return };
    if fault.is_parse() {
        counters.breach(Breach::Malformed);
        tracing::info!(error = Breach::Malformed.label(), "refused a request");
    } else {
        tracing::debug!(fault = scrub(&fault.to_string()), "connection ended");
    }
}

/// A hyper connection that can be asked to end after its running calls.
trait Graceful: Future<Output = hyper::Result<()>> {
    fn finish(self: Pin<&mut Self>);

    /// Whether such an end was our doing, and the peer may well be there.
    fn is_ours(fault: &hyper::Error) -> bool;
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Graceful for http1::Connection<TokioIo<S>, Calls> {
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }

    /// The idle time of a kept-alive connection, or a reply that was cut.
    fn is_ours(fault: &hyper::Error) -> bool {
        fault.is_timeout() || fault.is_user()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Graceful for http2::Connection<TokioIo<S>, Calls, Streams> {
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }

    /// Who does not answer a ping is gone.
    fn is_ours(_fault: &hyper::Error) -> bool {
        false
    }
}

/// Runs HTTP/2 streams where drain can see them.
#[derive(Clone)]
struct Streams(Tasks);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        self.0.spawn(stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, B, C, F>(_: impl FnOnce(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    /// Idle connections are many: what each holds beside hyper's buffer is bounded here.
    #[test]
    fn a_connection_is_small() {
        let driver = size(Worker::serve_http1::<TcpStream>);
        let over_tls = size(|worker: Arc<Worker>, stream, (peer, acceptor)| worker.serve_tls(stream, peer, acceptor));
        let plain = driver + size_of::<http1::Connection<TokioIo<Watched<Patient<TcpStream>>>, Calls>>();
        assert!(plain <= 1536, "{plain}");
        assert!(over_tls <= 512, "{over_tls}");
    }
}
