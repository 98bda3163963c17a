//! The body of a reply: whole in memory, or passed on as it comes.
//!
//! A license is whole, and costs no more than its bytes. A segment is read from its server only as fast as the
//! player reads it from us, and is dropped with the player's connection.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};

use super::line::Running;

pub enum Sending {
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

    /// The call runs until all of it is sent, or nobody wants the rest.
    pub(super) fn within(self, running: Running) -> Self {
        match self {
            Self::Stream(body) => Self::Stream(Box::pin(Flowing { body, _running: running })),
            Self::Whole(_) => self,
        }
    }
}

/// A stream whose call counts as running for as long as it flows: its connection is not idle.
struct Flowing {
    body: Pin<Box<dyn Body<Data = Bytes, Error = Cut> + Send>>,
    _running: Running,
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
            Self::Stream(body) => body.as_mut().poll_frame(cx),
            Self::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Stream(body) => body.is_end_stream(),
            Self::Whole(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Stream(body) => body.size_hint(),
            Self::Whole(body) => body.size_hint(),
        }
    }
}
