//! The body of a reply: bytes or a part of a file, which a script may cut short.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::fs::File;
use tokio::io::{AsyncRead, ReadBuf};

/// A file is read and sent in pieces of this size.
const FILE_PIECE_BYTES: usize = 64 * 1024;

pub(super) struct SimBody {
    /// Bytes that are announced and not yet sent.
    left: u64,
    /// Bytes to send before the connection is cut; the same as `left` if it is not.
    sendable: u64,
    source: BodySource,
}

enum BodySource {
    Bytes(Bytes),
    /// Positioned where reading begins.
    File(File),
}

impl SimBody {
    pub(super) fn bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let left = bytes.len() as u64;
        Self { left, sendable: left, source: BodySource::Bytes(bytes) }
    }

    pub(super) fn file(file: File, length: u64) -> Self {
        Self { left: length, sendable: length, source: BodySource::File(file) }
    }

    /// Announces all and sends half.
    pub(super) fn truncated(self) -> Self {
        Self { sendable: self.left / 2, ..self }
    }

    fn next(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let length = usize::try_from(self.sendable).unwrap_or(usize::MAX);
        match &mut self.source {
            BodySource::Bytes(bytes) => Poll::Ready(Ok(bytes.split_to(length.min(bytes.len())))),
            BodySource::File(file) => {
                let mut piece = vec![0; length.min(FILE_PIECE_BYTES)];
                let mut buffer = ReadBuf::new(&mut piece);
                ready!(Pin::new(file).poll_read(context, &mut buffer))?;
                let read = buffer.filled().len();
                piece.truncate(read);
                Poll::Ready(Ok(piece.into()))
            }
        }
    }
}

impl Body for SimBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if self.sendable == 0 {
            return Poll::Ready(Some(Err(io::Error::other("cut by the script"))));
        }
        let piece = ready!(self.next(context))?;
        if piece.is_empty() {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        self.left -= piece.len() as u64;
        self.sendable -= piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
