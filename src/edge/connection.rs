//! Serves one connection, from its handshake to its end.
//!
//! Picks hyper's HTTP/1.1 or HTTP/2 builder by ALPN (never the one that guesses by the first bytes and waits for them
//! forever), and owns every deadline: handshake, first bytes, idle time, longest life, drain. The acceptor calls it
//! once per permit.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::StatusCode;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::address_limits::AddressKey;
use super::connection_lifetime::{ConnectionEnd, drive, idleness};
use super::connection_state::ConnectionState;
use super::counters::add;
use super::held_connection_end::HeldEnd;
use super::parking::{ParkingConnection, ReadableStream};
use super::plain_http::HandshakeStream;
use super::service::ConnectionService;
use super::shared::EdgeShared;
use super::stall_timeout::{StallTimeout, within_stall_time};
use super::watched_stream::WatchedStream;
use super::{Handler, Peer, RequestViolation, plain_http, proxy_protocol, tls};
use crate::config::ServerLimits;
use crate::secret::scrub;

/// Largest head of an HTTP/1.1 request; also hyper's read buffer at its largest.
pub(super) const MAX_REQUEST_HEAD_BUFFER_BYTES: usize = 32 * 1024;
/// The client's connection preface (RFC 9113 section 3.4).
const HTTP2_PREFACE_BYTES: usize = 24;
/// Messages are a few KiB, so there are many streams with small windows.
const MAX_CONCURRENT_STREAMS: u32 = 64;
const PLAYER_STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const PLAYER_CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
const MAX_HEADER_LIST_BYTES: u32 = 16 * 1024;

type ServedConnection = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Handler and builders of one worker.
pub(super) struct ConnectionWorker {
    pub(super) handler: Arc<dyn Handler>,
    pub(super) http1: http1::Builder,
    http2: http2::Builder<StreamExecutor>,
    pub(super) shared: Arc<EdgeShared>,
}

impl ConnectionWorker {
    pub(super) fn new(shared: Arc<EdgeShared>, handler: Arc<dyn Handler>) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .header_read_timeout(None)
            .max_buf_size(MAX_REQUEST_HEAD_BUFFER_BYTES)
            .max_header_size(MAX_REQUEST_HEAD_BUFFER_BYTES);
        let mut http2 = http2::Builder::new(StreamExecutor(Arc::clone(&shared)));
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
            .initial_stream_window_size(PLAYER_STREAM_WINDOW_BYTES)
            .initial_connection_window_size(PLAYER_CONNECTION_WINDOW_BYTES)
            .max_header_list_size(MAX_HEADER_LIST_BYTES);
        Self { handler, http1, http2, shared }
    }

    /// Reads the PROXY protocol header that the listener expects, and takes the viewer's address from it. `None` if
    /// the connection must be closed.
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
        if self.shared.may_log("proxy_protocol", AddressKey::of(peer.address)) {
            tracing::info!(peer = %peer.address, why, "closed a connection that expects a PROXY protocol header");
        }
        None
    }

    /// Serves HTTP/1.1 over a byte stream that needs no handshake.
    pub(super) fn serve_http1<S>(
        self: Arc<Self>,
        stream: S,
        peer: Peer,
        line: Arc<ConnectionState>,
    ) -> impl Future<Output = ()> + Send
    where
        S: ReadableStream + Send + 'static,
    {
        let limits = self.shared.limits.load_full();
        let counters = Arc::clone(&self.shared.counters);
        let cleartext = !peer.tls;
        let stream = self.patient(stream, 1, &limits);
        let stream = WatchedStream::new(stream, Arc::clone(&line), counters, (limits.head, cleartext));
        let end = ConnectionEnd::of(&peer, &line);
        let calls = self.calls(line, peer);
        // The idle time must be longer than a player's renewal interval.
        let delay = **self.shared.parking_delay.load();
        let served = Box::pin(ParkingConnection::new(stream, calls, delay, limits.idle));
        drive(served, end, Arc::clone(&self.shared), limits, std::future::pending())
    }

    pub(super) async fn serve_tls(
        self: Arc<Self>,
        stream: TcpStream,
        peer: Peer,
        line: Arc<ConnectionState>,
        acceptor: TlsAcceptor,
    ) {
        // Boxed, so that the handshake's state is gone while the connection idles.
        if let Some(served) = Box::pin(self.shake(stream, peer, line, acceptor)).await {
            served.await;
        }
    }

    /// Makes the handshake; returns the future that serves the connection.
    async fn shake(
        self: Arc<Self>,
        stream: TcpStream,
        mut peer: Peer,
        line: Arc<ConnectionState>,
        acceptor: TlsAcceptor,
    ) -> Option<ServedConnection> {
        let accept = acceptor.accept(HandshakeStream::new(stream)).into_fallible();
        let handshake = timeout(self.shared.limits.load().handshake, accept);
        let shaken = tokio::select! {
            shaken = handshake => shaken,
            () = line.evicted() => return None,
            () = self.shared.has_no_more_time() => return self.note_handshake(&peer, "the proxy stops"),
        };
        let stream = match shaken {
            Ok(Ok(stream)) => stream,
            Ok(Err((fault, stream))) => match stream.into_http() {
                Some(stream) => return self.refuse_plain_http(stream, &peer, &line).await,
                None => return self.note_broken_handshake(&peer, &fault),
            },
            Err(_late) => return self.note_handshake(&peer, "it took too long"),
        };
        let (_, session) = stream.get_ref();
        peer.certificate = session.peer_certificates().and_then(<[_]>::first).map(tls::fingerprint);
        Some(if session.alpn_protocol() == Some(tls::H2) {
            Box::pin(self.serve_http2(stream, peer, line))
        } else {
            Box::pin(self.serve_http1(stream, peer, line))
        })
    }

    fn serve_http2<S>(
        self: Arc<Self>,
        stream: S,
        peer: Peer,
        line: Arc<ConnectionState>,
    ) -> impl Future<Output = ()> + Send
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let limits = self.shared.limits.load_full();
        let stream = HeldEnd::new(self.patient(stream, HTTP2_PREFACE_BYTES, &limits));
        let end = ConnectionEnd::of(&peer, &line);
        let calls = self.calls(Arc::clone(&line), peer);
        let mut http2 = self.http2.clone();
        http2.keep_alive_interval(limits.idle / 2).keep_alive_timeout(limits.first_byte);
        let served = Box::pin(http2.serve_connection(TokioIo::new(stream), calls));
        let idle = idleness(line, limits.head, limits.idle);
        drive(served, end, Arc::clone(&self.shared), limits, idle)
    }

    fn calls(self: &Arc<Self>, line: Arc<ConnectionState>, peer: Peer) -> ConnectionService {
        let address = self.shared.addresses.handle(peer.address);
        ConnectionService { address, line, peer, worker: Arc::clone(self) }
    }

    async fn refuse_plain_http(
        &self,
        stream: TcpStream,
        peer: &Peer,
        line: &ConnectionState,
    ) -> Option<ServedConnection> {
        let shared = &self.shared;
        add(&shared.counters.handshakes_failed);
        shared.counters.breach(RequestViolation::PlainHttp);
        let public_url = shared.public_url.load_full();
        let refused = plain_http::refuse(stream, public_url.as_deref().map(String::as_str));
        let trace = tokio::select! {
            trace = refused => trace,
            () = line.evicted() => return None,
        };
        shared.log_refusal(AddressKey::of(peer.address), &trace, StatusCode::BAD_REQUEST, None, || ("unread", None));
        None
    }

    /// Logs a failed handshake if the operator can mend it. Other failures are the noise of every open port.
    fn note_broken_handshake(&self, peer: &Peer, fault: &std::io::Error) -> Option<ServedConnection> {
        let Some(advice) = tls::handshake_advice(fault) else { return self.note_handshake(peer, &fault.to_string()) };
        add(&self.shared.counters.handshakes_failed);
        if self.shared.may_log("handshake", AddressKey::of(peer.address)) {
            tracing::info!(peer = %peer.address, "{advice}");
        }
        None
    }

    fn note_handshake(&self, peer: &Peer, why: &str) -> Option<ServedConnection> {
        add(&self.shared.counters.handshakes_failed);
        if self.shared.may_log("handshake", AddressKey::of(peer.address)) {
            tracing::debug!(peer = %peer.address, why = scrub(why), "TLS handshake failed");
        }
        None
    }

    fn patient<S>(&self, stream: S, first: usize, limits: &ServerLimits) -> StallTimeout<S> {
        StallTimeout::new(stream, Arc::clone(&self.shared.counters), first, limits.first_byte, limits.idle)
    }
}

/// Runs HTTP/2 streams where drain can see them. A stream ends when its peer takes no more of its reply.
#[derive(Clone)]
pub(super) struct StreamExecutor(Arc<EdgeShared>);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for StreamExecutor {
    fn execute(&self, stream: F) {
        let shared = Arc::clone(&self.0);
        self.0.tasks.spawn(async move {
            let stall = shared.limits.load().idle;
            within_stall_time(stream, stall, &shared).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, B, C, D, F>(_: impl FnOnce(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    /// Idle connections are many: what each holds beside hyper's buffer is bounded here.
    #[test]
    fn a_connection_is_small() {
        let driver = size(ConnectionWorker::serve_http1::<TcpStream>);
        let over_tls = size(|worker: Arc<ConnectionWorker>, stream, peer, (line, acceptor)| {
            worker.serve_tls(stream, peer, line, acceptor)
        });
        let parked = driver + ParkingConnection::<StallTimeout<TcpStream>>::PARKED_BYTES;
        assert!(parked <= 1280, "{parked}");
        assert!(over_tls <= 512, "{over_tls}");
    }
}
