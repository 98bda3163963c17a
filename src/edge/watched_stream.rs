//! Watches the byte stream under hyper's HTTP/1.1: `head_scanner` reads what comes in.
//!
//! Changes no byte, but answers a peer that begins with TLS with a TLS alert, and ends the stream for hyper. Closes
//! only when the peer has had time to read the reason.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::connection_state::ConnectionState;
use super::counters::{EdgeCounters, add};
use super::head_scanner::HeadScanner;
use super::parking::ReadableStream;
use super::request_rules::RequestViolation;

/// Time and bytes for which a closed connection is read on. Closing with unread bytes makes the kernel send a reset,
/// which can overtake the reply.
const CLOSE_LINGER_TIME: Duration = Duration::from_secs(1);
const MAX_CLOSE_LINGER_BYTES: usize = 256 * 1024;

/// The type of a TLS record that carries a handshake (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 22;
/// A TLS record of two bytes: the fatal alert `protocol_version`, because no version is spoken here.
const ALERT: [u8; 7] = [21, 3, 1, 0, 2, 2, 70];

/// A connection whose incoming bytes are watched.
pub(super) struct WatchedStream<S> {
    counters: Arc<EdgeCounters>,
    inner: S,
    line: Arc<ConnectionState>,
    scanner: HeadScanner,
    ended: bool,
    /// Nothing was written since the last flush.
    flushed: bool,
    /// Longest time from the first byte of a head to its end.
    head: Duration,
    /// Set while a head is arriving.
    head_until: Option<Pin<Box<Sleep>>>,
    linger: Option<LingerClose>,
    /// Bytes that were read and come once more.
    put_back: Option<Box<Bytes>>,
    /// The last read found no bytes.
    read_blocked: bool,
    tls: TlsHello,
}

/// Progress of the answer to a peer that begins with TLS on a plain port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum TlsHello {
    Absent,
    /// Number of bytes of [`ALERT`] that are written.
    Begun(u8),
    Unknown,
}

struct LingerClose {
    left: usize,
    until: Pin<Box<Sleep>>,
}

impl<S> WatchedStream<S> {
    /// `cleartext` is true if no TLS is below.
    pub(super) fn new(
        inner: S,
        line: Arc<ConnectionState>,
        counters: Arc<EdgeCounters>,
        (head, cleartext): (Duration, bool),
    ) -> Self {
        let scanner = HeadScanner::default();
        let tls = if cleartext { TlsHello::Unknown } else { TlsHello::Absent };
        Self {
            counters,
            inner,
            line,
            scanner,
            ended: false,
            flushed: true,
            head,
            head_until: None,
            linger: None,
            put_back: None,
            read_blocked: false,
            tls,
        }
    }

    /// Gives bytes once more that were read and not used.
    pub(super) fn put_back(&mut self, bytes: Bytes) {
        self.put_back = Some(Box::new(bytes));
    }

    fn note_rest(&self) {
        let at_rest = self.read_blocked && self.flushed && self.put_back.is_none() && !self.scanner.is_mid_message();
        self.line.note_rest(if at_rest { self.scanner.requests() } else { 0 });
    }

    fn note_write(&mut self, flushed: bool) {
        self.flushed = flushed;
        self.note_rest();
    }

    /// Gives what was put back. False if there is nothing.
    fn read_put_back(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let Some(bytes) = &mut self.put_back else { return false };
        let piece = bytes.split_to(bytes.len().min(buf.remaining()));
        buf.put_slice(&piece);
        self.put_back.take_if(|bytes| bytes.is_empty());
        true
    }

    /// True if these first bytes are a TLS handshake record, with which no request can begin.
    fn begins_tls(&mut self, new: &[u8]) -> bool {
        if self.tls == TlsHello::Unknown
            && let Some(first) = new.first()
        {
            self.tls = if *first == HANDSHAKE_RECORD { TlsHello::Begun(0) } else { TlsHello::Absent };
        }
        matches!(self.tls, TlsHello::Begun(_))
    }

    /// Times out a slow head. hyper has only one deadline for the head and the long idle time before it.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if !self.scanner.is_mid_head() {
            return Poll::Pending;
        }
        let head = self.head;
        let until = self.head_until.get_or_insert_with(|| Box::pin(sleep(head)));
        until.as_mut().poll(cx).map(|()| {
            add(&self.counters.heads_stalled);
            io::Error::new(io::ErrorKind::TimedOut, "the request head did not come in time")
        })
    }
}

impl<S: AsyncRead + Unpin> WatchedStream<S> {
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(linger) = &mut self.linger else { return Poll::Ready(()) };
        while linger.left > 0 && linger.until.as_mut().poll(cx).is_pending() {
            let mut waste = [0; 2048];
            let mut waste = ReadBuf::new(&mut waste);
            let read = ready!(Pin::new(&mut self.inner).poll_read(cx, &mut waste));
            if read.is_err() || waste.filled().is_empty() {
                break;
            }
            linger.left = linger.left.saturating_sub(waste.filled().len());
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WatchedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // The scanner has read these bytes.
        if self.read_put_back(buf) {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.read_blocked = read.is_pending();
        self.note_rest();
        match read {
            Poll::Pending => return self.poll_head(cx).map(Err),
            Poll::Ready(read) => read?,
        }
        let new = buf.filled().get(before..).unwrap_or_default();
        if self.begins_tls(new) {
            self.line.break_at(0, RequestViolation::TlsUnexpected);
            // For hyper the connection ends before its first request.
            buf.set_filled(before);
            return Poll::Ready(Ok(()));
        }
        self.ended = new.is_empty();
        if let Some((request, breach)) = self.scanner.feed(new) {
            self.line.break_at(request, breach);
        }
        let is_mid_head = self.scanner.is_mid_head();
        self.line.note_head(is_mid_head);
        if !is_mid_head {
            self.head_until = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: ReadableStream> ReadableStream for WatchedStream<S> {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.inner.poll_readable(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WatchedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.note_write(false);
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.note_write(false);
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
        self.note_write(true);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.note_write(false);
        while let TlsHello::Begun(written) = self.tls {
            let left = ALERT.get(usize::from(written)..).unwrap_or_default();
            if left.is_empty() {
                break;
            }
            let more = ready!(Pin::new(&mut self.inner).poll_write(cx, left))?;
            let all = if more == 0 { ALERT.len() } else { usize::from(written) + more };
            self.tls = TlsHello::Begun(u8::try_from(all).unwrap_or(u8::MAX));
        }
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
            let shakes = matches!(self.tls, TlsHello::Begun(_));
            if !shakes && (self.ended || !self.scanner.is_mid_message()) {
                return Poll::Ready(Ok(()));
            }
            self.linger = Some(LingerClose { left: MAX_CLOSE_LINGER_BYTES, until: Box::pin(sleep(CLOSE_LINGER_TIME)) });
        }
        self.poll_linger(cx).map(Ok)
    }
}
