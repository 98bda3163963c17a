//! The body of a reply: whole in memory, or passed on as it comes.
//!
//! A license is whole, and costs no more than its bytes. A segment is read from its server only as fast as the
//! player reads it from us, and is dropped with the player's connection.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};

use super::address_limits::AddressShare;
use super::line::Running;

/// A whole reply is handed to the connection in pieces of this size: what its reader does not take stays here,
/// where it is counted.
const PIECE_BYTES: usize = 64 * 1024;

pub enum Sending {
    /// A whole reply that counts as a call of its address until it is sent.
    Counted(Counted),
    Stream(Pin<Box<dyn Body<Data = Bytes, Error = Cut> + Send>>),
    Whole(Full<Bytes>),
}

/// The rest of the body does not come; the connection ends so that nobody takes the part for the whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the reply was cut")]
pub struct Cut;

impl Sending {
    pub fn stream(body: impl Body<Data = Bytes, Error = Cut> + Send + 'static) -> Self {
        Self::Stream(Box::pin(body))
    }

    /// The call runs until all of it is sent, or nobody wants the rest; so long it counts for its address.
    pub(super) fn within(self, running: Running, share: Option<AddressShare>) -> Self {
        match (self, share) {
            (Self::Stream(body), share) => Self::Stream(Box::pin(Flowing { body, _running: running, _share: share })),
            (Self::Whole(body), Some(share)) => {
                let data = body.into_inner().unwrap_or_default();
                Self::Counted(Counted { data, _share: share })
            }
            (whole @ (Self::Counted(_) | Self::Whole(_)), _) => whole,
        }
    }
}

pub struct Counted {
    data: Bytes,
    _share: AddressShare,
}

/// A stream whose call counts as running for as long as it flows: its connection is not idle.
struct Flowing {
    body: Pin<Box<dyn Body<Data = Bytes, Error = Cut> + Send>>,
    _running: Running,
    _share: Option<AddressShare>,
}

impl Body for Flowing {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.body.as_mut().poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl From<Full<Bytes>> for Sending {
    fn from(body: Full<Bytes>) -> Self {
        Self::Whole(body)
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match self.get_mut() {
            Self::Counted(counted) if counted.data.is_empty() => Poll::Ready(None),
            Self::Counted(counted) => {
                let piece = counted.data.split_to(counted.data.len().min(PIECE_BYTES));
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Self::Stream(body) => body.as_mut().poll_frame(cx),
            Self::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Counted(counted) => counted.data.is_empty(),
            Self::Stream(body) => body.is_end_stream(),
            Self::Whole(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Counted(counted) => SizeHint::with_exact(counted.data.len() as u64),
            Self::Stream(body) => body.size_hint(),
            Self::Whole(body) => body.size_hint(),
        }
    }
}
