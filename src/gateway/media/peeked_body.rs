//! A reply whose first bytes were read ahead. They are sent first, then the rest as it comes.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};

use crate::upstream::{Streamed, Transfer, UpstreamFault};

/// A reply of the origin that is passed on.
pub(super) struct MediaReply {
    pub(super) body: PeekedBody,
    pub(super) headers: HeaderMap,
    pub(super) status: StatusCode,
}

pub(super) struct PeekedBody {
    first: Bytes,
    rest: Transfer,
}

impl From<Streamed> for MediaReply {
    fn from(Streamed { body, headers, status }: Streamed) -> Self {
        Self { body: PeekedBody { first: Bytes::new(), rest: body }, headers, status }
    }
}

impl PeekedBody {
    /// Reads until `tell` recognises the bytes. At their end it is asked once more, with true, and must decide.
    pub(super) async fn look<T>(
        &mut self,
        mut tell: impl FnMut(&[u8], bool) -> Option<T>,
    ) -> Result<Option<T>, UpstreamFault> {
        let (mut seen, mut enough) = (BytesMut::new(), 0);
        let told = loop {
            let Some(frame) = self.rest.frame().await else { break tell(&seen, true) };
            let Ok(data) = frame?.into_data() else { continue };
            // Mostly the first frame is enough and need not be copied.
            if seen.is_empty()
                && let Some(told) = tell(&data, false)
            {
                self.first = data;
                return Ok(Some(told));
            }
            seen.extend_from_slice(&data);
            // Looks again only when the bytes have doubled, because they may come one by one.
            if seen.len() < enough {
                continue;
            }
            enough = seen.len() * 2;
            if let Some(told) = tell(&seen, false) {
                break Some(told);
            }
        };
        self.first = seen.freeze();
        Ok(told)
    }
}

impl Body for PeekedBody {
    type Data = Bytes;
    type Error = UpstreamFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UpstreamFault>>> {
        if !self.first.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.first)))));
        }
        Pin::new(&mut self.rest).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, first) = (self.rest.size_hint(), self.first.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(first));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(first));
        }
        hint
    }
}
