//! Serves an HTTP/1.1 connection, and parks it while nobody calls.
//!
//! hyper holds two buffers of 8 KiB for every connection, also for an idle one. When nothing has happened for
//! [`PARKING_DELAY`], the byte stream and the peer are taken back and hyper's state is dropped. The stream then waits
//! for bytes without a buffer, and its first byte makes a new hyper connection. HTTP/2 is not parked, because its
//! state of header compression and windows cannot be taken back.
//!
//! Owns the one timer of the connection's idle time. It looks at the connection only now and then, so that a call costs
//! no timer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::server::conn::http1::{self, Parts};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::server::TlsStream;

use super::connection_lifetime::GracefulConnection;
use super::connection_state::ConnectionState;
use super::counters::{EdgeCounters, add, take};
use super::service::ConnectionService;
use super::watched_stream::WatchedStream;

/// Time without a call after which a connection is parked, at most twice that.
pub(super) const PARKING_DELAY: Duration = Duration::from_secs(3);

/// A byte stream that can be waited for without a buffer.
pub(super) trait ReadableStream: AsyncRead + AsyncWrite + Unpin {
    /// Ready if there may be bytes, or the stream's end.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()>;
}

/// Reasons why a connection ended before its time.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionFault {
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error("no call came for too long")]
    Idle,
}

pub(super) struct ParkingConnection<S> {
    idle: Duration,
    line: Arc<ConnectionState>,
    look: Pin<Box<Sleep>>,
    look_interval: Duration,
    /// Nothing has happened since then.
    quiet_since: Instant,
    /// Requests begun and pieces taken at that time.
    seen: (u32, u32),
    state: ParkingState<S>,
}

enum ParkingState<S> {
    Parked(Box<ParkedConnection<S>>),
    Serving(Box<Http1Connection<S>>),
    /// Between two states, and after the end.
    Taken,
}

type Http1Connection<S> = http1::Connection<TokioIo<WatchedStream<S>>, ConnectionService>;

pub(super) struct ParkedConnection<S> {
    calls: ConnectionService,
    stream: WatchedStream<S>,
    _counted: ParkedCount,
}

/// Counts one parked connection for as long as it exists.
struct ParkedCount(Arc<EdgeCounters>);

impl ParkedCount {
    fn begin(counters: &Arc<EdgeCounters>) -> Self {
        add(&counters.parked);
        Self(Arc::clone(counters))
    }
}

impl Drop for ParkedCount {
    fn drop(&mut self) {
        take(&self.0.parked);
    }
}

impl<S: ReadableStream + 'static> ParkingConnection<S> {
    /// Bytes of a parked connection beside its driver and what the stream itself holds.
    #[cfg(test)]
    pub(super) const PARKED_BYTES: usize = size_of::<Self>() + size_of::<Sleep>() + size_of::<ParkedConnection<S>>();

    /// Ends the connection when for `idle`, at most `delay` longer, no call came. Parks it after `delay`.
    pub(super) fn new(stream: WatchedStream<S>, calls: ConnectionService, delay: Duration, idle: Duration) -> Self {
        let look_interval = delay.min(idle);
        let look = Box::pin(sleep(look_interval));
        let quiet_since = look.deadline().checked_sub(look_interval).unwrap_or(look.deadline());
        let line = Arc::clone(&calls.line);
        let state = ParkingState::Serving(Box::new(serve(stream, calls)));
        Self { idle, line, look, look_interval, quiet_since, seen: (0, 0), state }
    }

    fn poll_state(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        if let ParkingState::Parked(parked) = &self.state {
            ready!(parked.stream.poll_readable(cx));
            self.unpark();
        }
        match &mut self.state {
            ParkingState::Serving(serving) => Pin::new(&mut **serving).poll(cx),
            ParkingState::Parked(_) | ParkingState::Taken => Poll::Pending,
        }
    }

    /// Looks whether anything has happened since the last time. Ready if the connection has been idle for too long.
    fn look(&mut self) -> Poll<()> {
        let now = self.look.deadline();
        let (requests, running) = self.line.activity();
        let seen = (requests, self.line.pieces_taken());
        let mut next = now + self.look_interval;
        if running > 0 || seen != self.seen {
            (self.seen, self.quiet_since) = (seen, now);
        } else {
            let idle_until = self.quiet_since + self.idle;
            // A head that has begun is waited for once more; it has a deadline of its own.
            if now >= idle_until && (!self.line.is_mid_head() || now >= idle_until + self.idle) {
                return Poll::Ready(());
            }
            if self.line.is_at_rest() {
                self.park();
            }
            if matches!(self.state, ParkingState::Parked(_)) {
                next = idle_until;
            }
        }
        self.look.as_mut().reset(next);
        Poll::Pending
    }

    fn park(&mut self) {
        self.state = match std::mem::replace(&mut self.state, ParkingState::Taken) {
            ParkingState::Serving(serving) => {
                let Parts { io, read_buf, service: calls, .. } = serving.into_parts();
                let mut stream = io.into_inner();
                if read_buf.is_empty() {
                    let _counted = ParkedCount::begin(&calls.worker.shared.counters);
                    ParkingState::Parked(Box::new(ParkedConnection { calls, stream, _counted }))
                } else {
                    // Bytes that hyper has read and not used are read again.
                    stream.put_back(read_buf);
                    ParkingState::Serving(Box::new(serve(stream, calls)))
                }
            }
            state @ (ParkingState::Parked(_) | ParkingState::Taken) => state,
        };
    }

    fn unpark(&mut self) {
        self.state = match std::mem::replace(&mut self.state, ParkingState::Taken) {
            ParkingState::Parked(parked) => {
                let ParkedConnection { calls, stream, _counted } = *parked;
                let now = Instant::from_std(calls.worker.shared.clock.now());
                // It waited for the end of the idle time.
                let next = self.look.deadline().min(now + self.look_interval);
                self.look.as_mut().reset(next);
                ParkingState::Serving(Box::new(serve(stream, calls)))
            }
            state @ (ParkingState::Serving(_) | ParkingState::Taken) => state,
        };
    }
}

fn serve<S: ReadableStream + 'static>(stream: WatchedStream<S>, calls: ConnectionService) -> Http1Connection<S> {
    let worker = Arc::clone(&calls.worker);
    worker.http1.serve_connection(TokioIo::new(stream), calls)
}

impl<S: ReadableStream + 'static> Future for ParkingConnection<S> {
    type Output = Result<(), ConnectionFault>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        loop {
            if let Poll::Ready(ended) = this.poll_state(cx) {
                return Poll::Ready(ended.map_err(ConnectionFault::Http));
            }
            ready!(this.look.as_mut().poll(cx));
            if this.look().is_ready() {
                return Poll::Ready(Err(ConnectionFault::Idle));
            }
        }
    }
}

impl<S: ReadableStream + 'static> GracefulConnection for ParkingConnection<S> {
    type Fault = ConnectionFault;

    const ANNOUNCES_ITS_END: bool = false;

    fn finish(self: Pin<&mut Self>) {
        let this = self.get_mut();
        this.unpark();
        if let ParkingState::Serving(serving) = &mut this.state {
            Pin::new(&mut **serving).graceful_shutdown();
        }
    }

    /// The idle time is over, or a reply was cut.
    fn is_ours(fault: &ConnectionFault) -> bool {
        match fault {
            ConnectionFault::Http(fault) => fault.is_user(),
            ConnectionFault::Idle => true,
        }
    }
}

impl ReadableStream for TcpStream {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_read_ready(cx).map(drop)
    }
}

/// A connection is parked after a read that found no bytes, so TLS holds none that the socket does not show.
impl<S: ReadableStream> ReadableStream for TlsStream<S> {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.get_ref().0.poll_readable(cx)
    }
}
