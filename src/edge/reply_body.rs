//! The body of a reply: whole in memory, or passed on as it comes.
//!
//! A license is whole and costs only its bytes. A segment is read from its server only as fast as the player reads
//! it, and is dropped with the player's connection.
//!
//! A connection may hold bytes for long: over HTTP/2 the last piece waits there for a window that the peer need not
//! open, when the stream's task is over. So each piece carries the share of its address.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};

use super::address_limits::AddressShare;
use super::connection_state::{BeingTaken, UnansweredRequest};
use super::stall_timeout::note_frame;

/// A whole reply is handed to the connection in pieces of this size. Bytes that the reader does not take stay here,
/// where they are counted.
const PIECE_BYTES: usize = 64 * 1024;

pub enum OutgoingBody {
    /// A whole reply that counts as a call of its address until it is sent.
    Counted(CountedBody),
    Stream(Pin<Box<dyn Body<Data = Bytes, Error = CutReply> + Send>>),
    Whole(Full<Bytes>),
}

/// The rest of the body is missing. The connection ends, so that no peer takes the part for the whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the reply was cut")]
pub struct CutReply;

impl OutgoingBody {
    pub fn stream(body: impl Body<Data = Bytes, Error = CutReply> + Send + 'static) -> Self {
        Self::Stream(Box::pin(body))
    }

    /// Counts the body for its address until it is sent or no longer wanted. The call of a stream runs as long, too.
    pub(super) fn within(self, running: UnansweredRequest, share: Option<Arc<AddressShare>>) -> Self {
        match (self, share) {
            (Self::Stream(body), share) => Self::Stream(Box::pin(FlowingBody { body, _running: running, share })),
            (Self::Whole(body), Some(share)) => {
                let data = body.into_inner().unwrap_or_default();
                Self::Counted(CountedBody { data, taken: BeingTaken::after(&running), share })
            }
            (whole @ (Self::Counted(_) | Self::Whole(_)), _) => whole,
        }
    }
}

pub struct CountedBody {
    data: Bytes,
    taken: BeingTaken,
    share: Arc<AddressShare>,
}

/// Counts for its address until it is written or dropped.
struct CountedPiece {
    data: Bytes,
    _share: Arc<AddressShare>,
}

impl CountedPiece {
    fn of(data: Bytes, share: &Arc<AddressShare>) -> Bytes {
        Bytes::from_owner(Self { data, _share: Arc::clone(share) })
    }
}

impl AsRef<[u8]> for CountedPiece {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

/// A stream whose call counts as running while it flows, so that its connection is not idle.
struct FlowingBody {
    body: Pin<Box<dyn Body<Data = Bytes, Error = CutReply> + Send>>,
    _running: UnansweredRequest,
    share: Option<Arc<AddressShare>>,
}

impl Body for FlowingBody {
    type Data = Bytes;
    type Error = CutReply;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutReply>>> {
        let frame = ready!(self.body.as_mut().poll_frame(cx));
        let Some(share) = &self.share else { return Poll::Ready(frame) };
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(|data| CountedPiece::of(data, share)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl From<Full<Bytes>> for OutgoingBody {
    fn from(body: Full<Bytes>) -> Self {
        Self::Whole(body)
    }
}

impl Body for OutgoingBody {
    type Data = Bytes;
    type Error = CutReply;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutReply>>> {
        let frame = match self.get_mut() {
            Self::Counted(counted) if counted.data.is_empty() => Poll::Ready(None),
            Self::Counted(counted) => {
                let piece = counted.data.split_to(counted.data.len().min(PIECE_BYTES));
                counted.taken.took_a_piece();
                Poll::Ready(Some(Ok(Frame::data(CountedPiece::of(piece, &counted.share)))))
            }
            Self::Stream(body) => body.as_mut().poll_frame(cx),
            Self::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
        };
        note_frame(&frame);
        frame
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;
    use std::time::Duration;

    use http_body_util::BodyExt;
    use tokio::task::JoinSet;
    use tokio::time::{sleep, timeout};

    use super::super::address_limits::{AddressLimits, AddressResource};
    use super::super::connection_lifetime::idleness;
    use super::super::connection_state::ConnectionState;
    use super::*;

    const IDLE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_of_a_whole_reply_is_not_idle_and_one_that_reads_nothing_more_is() {
        let line = Arc::new(ConnectionState::new(Arc::default()));
        let limits = Arc::<AddressLimits>::default();
        let share = limits.take(Ipv4Addr::LOCALHOST.into(), AddressResource::Calls, 1);
        assert_eq!(line.next(), None);
        let running = UnansweredRequest::begin(&line);
        let mut reply = OutgoingBody::from(Full::from(vec![0; 8 * PIECE_BYTES])).within(running, share.map(Arc::new));
        let mut idle = JoinSet::new();
        idle.spawn(idleness(Arc::clone(&line), IDLE, IDLE));
        for piece in 1..8 {
            sleep(IDLE * 9 / 10).await;
            assert_eq!(reply.frame().await.unwrap().unwrap().into_data().unwrap().len(), PIECE_BYTES);
            assert!(idle.try_join_next().is_none(), "cut after piece {piece}");
        }
        timeout(3 * IDLE, idle.join_next()).await.expect("held open by a reply that nobody takes").unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_reply_counts_for_its_address_while_its_last_piece_is_kept() {
        let line = Arc::new(ConnectionState::new(Arc::default()));
        let limits = Arc::<AddressLimits>::default();
        let streamed = || OutgoingBody::stream(Full::from("piece").map_err(|never| match never {}));
        for reply in [OutgoingBody::from(Full::from("piece")), streamed()] {
            let share = limits.take(Ipv4Addr::LOCALHOST.into(), AddressResource::Calls, 1).map(Arc::new).unwrap();
            let mut reply = reply.within(UnansweredRequest::begin(&line), Some(Arc::clone(&share)));
            let piece = reply.frame().await.unwrap().unwrap().into_data().unwrap();
            assert!(reply.frame().await.is_none());
            drop(reply);
            assert_eq!(line.activity().1, 0);
            assert_eq!((&*piece, Arc::strong_count(&share)), (&b"piece"[..], 2));
            drop(piece);
            assert_eq!(Arc::strong_count(&share), 1);
        }
    }
}
