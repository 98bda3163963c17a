//! Bounds how long a peer may stall a connection.
//!
//! hyper never times out a peer that is silent before its first HTTP/2 byte, nor one that does not read our replies.
//! [`StallTimeout`] wraps the byte stream under hyper and bounds both. Head, idle time and body are bounded where
//! they are read.
//!
//! A peer may also keep the window of one HTTP/2 stream shut while it answers pings and uses other streams; the byte
//! stream shows nothing of that. So each stream has the deadline that a whole connection has.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::counters::{EdgeCounters, add};
use super::parking::ReadableStream;
use super::shared::EdgeShared;

pub(super) struct StallTimeout<S> {
    inner: S,
    counters: Arc<EdgeCounters>,
    first: Option<FirstBytes>,
    /// Longest time without progress while there are bytes to send.
    stall: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

/// Boxed, and dropped once the bytes are there, so that an idle connection does not carry it.
struct FirstBytes {
    missing: usize,
    until: Pin<Box<Sleep>>,
}

impl<S> StallTimeout<S> {
    /// Requires the first `bytes` within `first`, and progress of a write within `stall`.
    pub(super) fn new(inner: S, counters: Arc<EdgeCounters>, bytes: usize, first: Duration, stall: Duration) -> Self {
        let first = FirstBytes { missing: bytes, until: Box::pin(sleep(first)) };
        Self { inner, counters, first: Some(first), stall, stalled: None }
    }

    fn came(&mut self, bytes: usize) {
        if let Some(first) = &mut self.first {
            first.missing = first.missing.saturating_sub(bytes);
        }
        self.first.take_if(|first| first.missing == 0);
    }

    fn await_first(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(first) = &mut self.first else { return Poll::Pending };
        first.until.as_mut().poll(cx).map(|()| {
            add(&self.counters.silent);
            late("the first bytes did not come in time")
        })
    }

    fn await_progress<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let stall = self.stall;
        let until = self.stalled.get_or_insert_with(|| Box::pin(sleep(stall)));
        until.as_mut().poll(cx).map(|()| {
            add(&self.counters.stalled);
            Err(late("the peer does not read"))
        })
    }
}

fn late(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl<S: AsyncRead + Unpin> AsyncRead for StallTimeout<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.inner).poll_read(cx, buf) {
            Poll::Pending => self.await_first(cx).map(Err),
            done @ Poll::Ready(_) => {
                self.came(buf.filled().len() - before);
                done
            }
        }
    }
}

impl<S: ReadableStream> ReadableStream for StallTimeout<S> {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.inner.poll_readable(cx)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for StallTimeout<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.await_progress(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.await_progress(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_flush(cx);
        self.await_progress(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.await_progress(cx, outcome)
    }
}

/// Result of the last poll of the reply's body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum LastFrame {
    /// A piece, which waits until the peer has room for it.
    HandedOver,
    /// Nothing: the body itself is waited for.
    NotReady,
    /// The body was not polled.
    Unasked,
}

thread_local! {
    /// A stream's task polls only its own reply's body, on its own thread.
    static LAST_FRAME: Cell<LastFrame> = const { Cell::new(LastFrame::Unasked) };
}

/// Notes the result of a poll. Every body calls it.
pub(super) fn note_frame<T>(frame: &Poll<T>) {
    LAST_FRAME.set(if frame.is_ready() { LastFrame::HandedOver } else { LastFrame::NotReady });
}

/// Runs a stream to its end. Drops it, which resets it, if a piece of its reply was not wanted for `stall`.
pub(super) async fn within_stall_time(stream: impl Future<Output = ()>, stall: Duration, shared: &EdgeShared) {
    let mut stream = pin!(stream);
    let mut until: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        LAST_FRAME.set(LastFrame::Unasked);
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match LAST_FRAME.get() {
            LastFrame::HandedOver => until = Some(Box::pin(sleep(stall))),
            LastFrame::NotReady => until = None,
            LastFrame::Unasked => {}
        }
        let Some(until) = &mut until else { return Poll::Pending };
        until.as_mut().poll(cx).map(|()| add(&shared.counters.stalled))
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn the_first_bytes_have_a_deadline_and_later_ones_none() {
        let counters = Arc::new(EdgeCounters::default());
        let (ours, mut theirs) = duplex(64);
        let mut patient = StallTimeout::new(ours, Arc::clone(&counters), 2, SHORT, SHORT);
        theirs.write_all(b"a").await.unwrap();
        assert_eq!(patient.read_u8().await.unwrap(), b'a');
        let late = patient.read_u8().await.unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        assert_eq!(counters.silent.load(Ordering::Relaxed), 1);

        let (ours, mut theirs) = duplex(64);
        let mut patient = StallTimeout::new(ours, counters, 2, SHORT, SHORT);
        theirs.write_all(b"ab").await.unwrap();
        patient.read_u16().await.unwrap();
        assert!(tokio::time::timeout(SHORT * 4, patient.read_u8()).await.is_err(), "must still wait");
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_given_up() {
        let counters = Arc::new(EdgeCounters::default());
        let (ours, _theirs) = duplex(4);
        let mut patient = StallTimeout::new(ours, Arc::clone(&counters), 1, SHORT, SHORT);
        let late = patient.write_all(b"hello").await.unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        assert_eq!(counters.stalled.load(Ordering::Relaxed), 1);
    }
}
