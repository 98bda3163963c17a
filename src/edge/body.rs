//! Collects a request body, within a size and a deadline. A player's body may have `body-max` bytes, which
//! [`crate::config::ServerLimits`] reads: one number for license, authorize and control calls.
//!
//! hyper bounds neither, so every reader of a body uses this module. A fault is always the client's. Its reply closes
//! an HTTP/1.1 connection, because the rest of the body is still arriving.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Body;

use super::ReplyBody;
use super::call_place::CallRefusal;
use super::own_replies::EdgeRefusal;
use crate::upstream;

#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BodyFault {
    /// The body was cut off, or its chunks cannot be read.
    #[error("the request body is broken")]
    Break,
    #[error("the request body is larger than allowed")]
    Exceed,
    /// Too many calls or bodies are under way.
    #[error("too many calls are under way")]
    Refuse(CallRefusal),
    #[error("the request body took too long")]
    Stall,
}

impl BodyFault {
    pub const fn refusal(self) -> EdgeRefusal {
        let (status, error, detail) = match self {
            Self::Break => (StatusCode::BAD_REQUEST, "body_broken", "the request body is cut off or cannot be read"),
            Self::Exceed => {
                (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "the request body is larger than allowed")
            }
            Self::Refuse(refusal) => return refusal.refusal(),
            Self::Stall => (StatusCode::REQUEST_TIMEOUT, "body_slow", "the request body took too long"),
        };
        EdgeRefusal { status, error, detail, close: true }
    }

    /// The refusal as a reply, logged with its incident. The edge counts it on its way out.
    pub fn reply(self) -> Response<ReplyBody> {
        let mut reply = self.refusal().reply();
        reply.extensions_mut().insert(self);
        reply
    }
}

/// The fault of an upstream's body.
impl From<upstream::UpstreamFault> for BodyFault {
    fn from(_: upstream::UpstreamFault) -> Self {
        Self::Break
    }
}

impl From<std::convert::Infallible> for BodyFault {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

/// Collects at most `most` bytes within `deadline`. A longer announced length is refused before a byte is read, so
/// that a client that waits for `100 Continue` never sends it.
pub async fn collect<B>(body: B, most: usize, deadline: Duration) -> Result<Bytes, BodyFault>
where
    B: Body<Data = Bytes>,
    BodyFault: From<B::Error>,
{
    if body.size_hint().lower() > most as u64 {
        return Err(BodyFault::Exceed);
    }
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let mut gathering = pin!(gather(body, most));
    // Most bodies are there already, and need no timer.
    match poll_fn(|cx| Poll::Ready(gathering.as_mut().poll(cx))).await {
        Poll::Ready(gathered) => gathered,
        Poll::Pending => tokio::time::timeout(deadline, gathering).await.unwrap_or(Err(BodyFault::Stall)),
    }
}

async fn gather<B>(body: B, most: usize) -> Result<Bytes, BodyFault>
where
    B: Body<Data = Bytes>,
    BodyFault: From<B::Error>,
{
    let mut body = pin!(body);
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        // Trailers are ignored.
        let Ok(data) = frame?.into_data() else { continue };
        if first.len() + rest.len() + data.len() > most {
            return Err(BodyFault::Exceed);
        }
        // Most bodies are one frame, which is not copied.
        if first.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.unsplit(rest);
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http_body_util::Full;
    use hyper::body::Frame;

    use super::*;

    /// Gives its parts one by one; `None` is a part that never comes, an empty one breaks.
    struct Parts(Vec<Option<&'static str>>);

    impl Body for Parts {
        type Data = Bytes;
        type Error = BodyFault;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            match self.0.first() {
                None => return Poll::Ready(None),
                Some(None) => return Poll::Pending,
                Some(Some(_)) => {}
            }
            match self.0.remove(0) {
                None => Poll::Pending,
                Some("") => Poll::Ready(Some(Err(BodyFault::Break))),
                Some(part) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(part.as_bytes()))))),
            }
        }
    }

    #[tokio::test]
    async fn bodies_are_bounded_in_size_and_time() {
        let rows = [
            (Vec::new(), Ok("")),
            (vec![Some("hello")], Ok("hello")),
            (vec![Some("he"), Some("l"), Some("lo")], Ok("hello")),
            (vec![Some("hello"), Some("!")], Err(BodyFault::Exceed)),
            (vec![Some("hello!")], Err(BodyFault::Exceed)),
            (vec![Some("he"), None], Err(BodyFault::Stall)),
            (vec![Some("he"), Some("")], Err(BodyFault::Break)),
        ];
        for (parts, expected) in rows {
            let shown = format!("{parts:?}");
            let got = collect(Parts(parts), 5, Duration::from_millis(50)).await;
            assert_eq!(got, expected.map(|text| Bytes::from_static(text.as_bytes())), "{shown}");
        }
    }

    #[tokio::test]
    async fn an_announced_excess_is_refused_unread() {
        let body = Full::<Bytes>::from("hello!");
        assert_eq!(collect(body, 5, Duration::ZERO).await, Err(BodyFault::Exceed));
    }
}
