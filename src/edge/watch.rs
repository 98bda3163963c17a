//! The byte stream under hyper's HTTP/1.1, looked at on its way: what comes in is scanned by `head`.
//!
//! Changes no byte. Closes only when the peer has had time to read why.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::counters::{Counters, add};
use super::head::Scanner;
use super::line::Line;

/// How long, and for how many bytes, a closed connection is read on. Closing with unread bytes makes
/// the kernel send a reset, which can overtake the reply that said why.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;

/// A connection whose incoming bytes are looked at.
pub(super) struct Watched<S> {
    counters: Arc<Counters>,
    inner: S,
    line: Arc<Line>,
    scanner: Scanner,
    ended: bool,
    /// Longest time from the first byte of a head to its end.
    head: Duration,
    /// While a head is on its way.
    head_until: Option<Pin<Box<Sleep>>>,
    linger: Option<Linger>,
}

struct Linger {
    left: usize,
    until: Pin<Box<Sleep>>,
}

impl<S> Watched<S> {
    pub(super) fn new(inner: S, line: Arc<Line>, counters: Arc<Counters>, head: Duration) -> Self {
        let scanner = Scanner::default();
        Self { counters, inner, line, scanner, ended: false, head, head_until: None, linger: None }
    }

    /// hyper has one deadline for the head and for the idle time before it, and the latter is long.
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

impl<S: AsyncRead + Unpin> Watched<S> {
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

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.inner).poll_read(cx, buf) {
            Poll::Pending => return self.poll_head(cx).map(Err),
            Poll::Ready(read) => read?,
        }
        let new = buf.filled().get(before..).unwrap_or_default();
        self.ended = new.is_empty();
        if let Some((request, breach)) = self.scanner.feed(new) {
            self.line.break_at(request, breach);
        }
        if !self.scanner.is_mid_head() {
            self.head_until = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
            if self.ended || !self.scanner.is_mid_message() {
                return Poll::Ready(Ok(()));
            }
            self.linger = Some(Linger { left: LINGER_BYTES, until: Box::pin(sleep(LINGER)) });
        }
        self.poll_linger(cx).map(Ok)
    }
}
