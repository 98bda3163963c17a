//! Passes a reply's body on as fast as it is read, with a bound on every wait, and tracks how far the call has come.
//!
//! Owns the connection, and gives it back to the pool only when the body ended properly. If it is dropped before, it
//! closes an HTTP/1.1 connection or resets an HTTP/2 stream, so that the server stops sending.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep, timeout_at};

use super::connection::{Wire, WireReply};
use super::framing::ConnectionReuse;
use super::origin::OriginPlace;
use super::pool::{ConnectionPool, ReplyUse};
use super::reply::{self, OpenedReply};
use super::{CallPhase, UpstreamCall, UpstreamFault};

/// A reply whose head is there, without hop-by-hop headers.
pub struct Streamed {
    pub body: Transfer,
    pub headers: HeaderMap,
    pub status: StatusCode,
}

pub struct Transfer {
    body: Incoming,
    /// Longest pause of the server; noticed after at most twice the time.
    idle: Duration,
    stall_timeout: Pin<Box<Sleep>>,
    place: OriginPlace,
    pool: ConnectionPool,
    /// True if bytes came since the pause was last measured.
    progressed: bool,
    reuse: ConnectionReuse,
    wire: Option<Wire>,
}

impl ConnectionPool {
    /// Sends a request and returns the reply as soon as its head is there. The call's deadline bounds the head; the
    /// body may take any time, but never pause for longer than `idle`.
    ///
    /// # Errors
    /// An [`UpstreamFault`] for each way in which no head came.
    pub async fn stream(&self, call: UpstreamCall<'_>, idle: Duration) -> Result<Streamed, UpstreamFault> {
        self.stream_by(&call, call.deadline, idle).await
    }

    /// Like [`Self::stream`], with another deadline than the call's own.
    pub(super) async fn stream_by(
        &self,
        call: &UpstreamCall<'_>,
        deadline: Instant,
        idle: Duration,
    ) -> Result<Streamed, UpstreamFault> {
        let now = self.now();
        let progress = Progress::default();
        if deadline <= now {
            return Err(progress.slow());
        }
        let answer = timeout_at(deadline.into(), self.ask(call, now, &progress, ReplyUse::Stream)).await;
        let (reply, place, wire) = answer.unwrap_or_else(|_| Err(progress.slow()))?;
        // A connection that streams brings no other reply.
        let WireReply::Incoming(response) = reply else { return Err(UpstreamFault::Malformed) };
        let OpenedReply { body, headers, reuse, status } = reply::open(response)?;
        Ok(Streamed { body: Transfer::new(body, idle, self.clone(), place, (wire, reuse)), headers, status })
    }
}

impl Transfer {
    pub(super) fn new(
        body: Incoming,
        idle: Duration,
        pool: ConnectionPool,
        place: OriginPlace,
        (wire, reuse): (Wire, ConnectionReuse),
    ) -> Self {
        let stall_timeout = Box::pin(sleep(idle));
        let mut transfer = Self { body, idle, stall_timeout, place, pool, progressed: false, reuse, wire: Some(wire) };
        if transfer.body.is_end_stream() {
            transfer.settle();
        }
        transfer
    }

    /// Gives the connection back; nothing of this body is left on it.
    fn settle(&mut self) {
        if let (Some(Wire::Http1Streaming(sender)), ConnectionReuse::Possible) = (self.wire.take(), self.reuse) {
            self.pool.give_back(self.place.origin(), sender);
        }
    }

    fn pause(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UpstreamFault>>> {
        while self.stall_timeout.as_mut().poll(cx).is_ready() {
            if !std::mem::take(&mut self.progressed) {
                return Poll::Ready(Some(Err(UpstreamFault::Slow { phase: CallPhase::Body })));
            }
            self.stall_timeout.set(sleep(self.idle));
        }
        Poll::Pending
    }
}

impl Body for Transfer {
    type Data = Bytes;
    type Error = UpstreamFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UpstreamFault>>> {
        loop {
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return self.pause(cx),
                Poll::Ready(frame) => frame,
            };
            let Some(frame) = frame else {
                self.settle();
                return Poll::Ready(None);
            };
            let frame = frame.map_err(|error| UpstreamFault::of(&error))?;
            self.progressed = true;
            // Trailers are ignored.
            if frame.is_data() {
                // A body of known length is not polled again at its end; a chunked one is.
                if self.body.is_end_stream() {
                    self.settle();
                }
                return Poll::Ready(Some(Ok(frame)));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[derive(Debug, Default)]
pub(super) struct Progress(AtomicU8);

impl Progress {
    pub(super) fn enter(&self, phase: CallPhase) {
        let number = match phase {
            CallPhase::Connect => 0,
            CallPhase::Head => 1,
            CallPhase::Body => 2,
        };
        self.0.store(number, Ordering::Relaxed);
    }

    pub(super) fn phase(&self) -> CallPhase {
        match self.0.load(Ordering::Relaxed) {
            0 => CallPhase::Connect,
            1 => CallPhase::Head,
            _ => CallPhase::Body,
        }
    }

    pub(super) fn slow(&self) -> UpstreamFault {
        UpstreamFault::Slow { phase: self.phase() }
    }
}
