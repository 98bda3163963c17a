//! Holds back the end of an HTTP/2 connection for one turn, so that the requests before it are read.
//!
//! A closing page sends its last call and closes the connection at once. The `h2` library hands on nothing that it
//! has read once it sees the connection's end, and reads nothing more once it cannot write. So it sees the end one
//! turn after the bytes before it, and bytes for a closed peer are dropped. `connection` uses it.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(super) struct HeldEnd<S> {
    /// The peer has closed the connection and reads nothing.
    deserted: bool,
    held: bool,
    stream: S,
}

impl<S> HeldEnd<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { deserted: false, held: false, stream }
    }

    /// Counts bytes for a closed peer as written, so that its earlier bytes are still read. Other faults, such as a
    /// peer that does not read, end the connection.
    fn written(&mut self, result: io::Result<usize>, all: usize) -> io::Result<usize> {
        match result {
            Err(fault) if is_desertion(&fault) => {
                self.deserted = true;
                Ok(all)
            }
            result => result,
        }
    }
}

fn is_desertion(fault: &io::Error) -> bool {
    matches!(fault.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset)
}

impl<S: AsyncRead + Unpin> AsyncRead for HeldEnd<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        // If our own deadline ended the connection, no bytes are before it.
        let is_end = match &read {
            Ok(()) => buffer.filled().len() == before,
            Err(fault) => fault.kind() != ErrorKind::TimedOut,
        };
        if is_end && !std::mem::replace(&mut self.held, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeldEnd<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.deserted {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        Poll::Ready(self.written(written, bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.deserted {
            return Poll::Ready(Ok(()));
        }
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        Poll::Ready(self.written(flushed.map(|()| 0), 0).map(drop))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all = slices.iter().map(|slice| slice.len()).sum();
        if self.deserted {
            return Poll::Ready(Ok(all));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices));
        Poll::Ready(self.written(written, all))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn the_end_comes_one_turn_after_the_last_bytes() {
        let mut stream = HeldEnd::new(&b"last words"[..]);
        let mut read = |expected: Option<&[u8]>| {
            let mut bytes = [0; 64];
            let mut buffer = ReadBuf::new(&mut bytes);
            let polled = Pin::new(&mut stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer);
            assert_eq!(polled.is_ready().then(|| buffer.filled()), expected);
        };
        read(Some(b"last words"));
        read(None);
        read(Some(b""));
    }

    #[tokio::test]
    async fn a_peer_that_is_gone_is_still_heard_and_one_that_does_not_read_is_given_up() {
        for (kind, is_heard) in [
            (ErrorKind::BrokenPipe, true),
            (ErrorKind::ConnectionAborted, true),
            (ErrorKind::ConnectionReset, true),
            (ErrorKind::TimedOut, false),
            (ErrorKind::Other, false),
        ] {
            let mut stream = HeldEnd::new(Gone(b"stop", kind));
            assert_eq!(stream.write_all(b"settings").await.is_ok(), is_heard, "{kind}");
            assert_eq!(stream.flush().await.is_ok(), is_heard, "{kind}");
            let mut said = String::new();
            stream.read_to_string(&mut said).await.unwrap();
            assert_eq!(said, "stop", "{kind}");
        }
    }

    #[tokio::test]
    async fn pieces_and_the_end_reach_a_peer_that_is_there() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut stream = HeldEnd::new(near);
        assert!(stream.is_write_vectored());
        let slices = [IoSlice::new(b"head"), IoSlice::new(b" and body")];
        assert_eq!(stream.write_vectored(&slices).await.unwrap(), 13);
        stream.shutdown().await.unwrap();
        let mut read = String::new();
        far.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "head and body");

        let mut deserted = HeldEnd::new(Gone(b"stop", ErrorKind::BrokenPipe));
        assert!(!deserted.is_write_vectored());
        for _ in 0..2 {
            assert_eq!(deserted.write_vectored(&slices).await.unwrap(), 13, "all of it, of which nobody has anything");
        }
    }

    #[test]
    fn an_end_by_our_own_deadline_is_asked_for_once() {
        for (kind, is_held) in
            [(ErrorKind::TimedOut, false), (ErrorKind::ConnectionReset, true), (ErrorKind::UnexpectedEof, true)]
        {
            let mut stream = HeldEnd::new(Silent(kind));
            let (mut bytes, mut cx) = ([0; 64], Context::from_waker(Waker::noop()));
            let mut polled = || Pin::new(&mut stream).poll_read(&mut cx, &mut ReadBuf::new(&mut bytes));
            assert_eq!(polled().is_pending(), is_held, "{kind}");
            assert!(polled().is_ready(), "{kind}");
        }
    }

    struct Silent(ErrorKind);

    impl AsyncRead for Silent {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(self.0.into()))
        }
    }

    /// Has said something, and takes nothing.
    struct Gone(&'static [u8], ErrorKind);

    impl AsyncRead for Gone {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(cx, into)
        }
    }

    impl AsyncWrite for Gone {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(self.1.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(self.1.into()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }
}
