//! Streams notices as server-sent events (HTML standard, section 9.2), in a body that does not end by itself.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body_util::channel::{Channel, Sender};
use hyper::body::{Body, Frame};
use serde_json::Value;

use super::{EventHub, HeardNext, Listener, Notice};

/// Sent when there are no events, so that proxies do not take the connection for dead.
const EVENT_STREAM_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// Media type of a stream.
pub const EVENT_STREAM_TYPE: &str = "text/event-stream";
/// A browser that lost the connection comes back after this time, in milliseconds.
const RETRY: &str = "retry: 2000\n\n";
/// Streams at once of all players together, and of operators. Separate, so that neither uses up the other's.
pub const MAX_PLAYER_LISTENERS: usize = 1_000;
pub const MAX_OPERATOR_LISTENERS: usize = 32;
/// Events that wait for one stream, besides those in the hub.
const MAX_EVENTS_PER_STREAM: usize = 4;
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Listeners of a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EventAudience {
    Operators,
    Players,
}

impl EventAudience {
    const fn max_listeners(self) -> usize {
        match self {
            Self::Operators => MAX_OPERATOR_LISTENERS,
            Self::Players => MAX_PLAYER_LISTENERS,
        }
    }
}

/// There are as many streams already as allowed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("too many listen to events already")]
pub struct ListenersFull;

/// A place among the streams, held until dropped.
struct ListenerPlace(Arc<AtomicUsize>);

impl Drop for ListenerPlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A stream: its body, and the future that feeds it, which must be spawned.
pub struct NoticeStream<F, S> {
    pub body: ListenerBody<S>,
    pub feed: F,
}

/// Frees its place as soon as its connection is gone, which the feed notices only when it writes.
pub struct ListenerBody<S> {
    channel: Channel<Bytes>,
    _place: ListenerPlace,
    _share: S,
}

impl<S: Unpin> Body for ListenerBody<S> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.channel).poll_frame(cx)
    }
}

impl EventHub {
    /// Streams the JSON that `write` makes of each notice; `None` skips it. `request` may tell where the listener
    /// left off. `share` is dropped with the connection.
    ///
    /// # Errors
    /// The audience has all its streams.
    pub fn stream<W, S>(
        self: &Arc<Self>,
        audience: EventAudience,
        share: S,
        request: &HeaderMap,
        write: W,
    ) -> Result<NoticeStream<impl Future<Output = ()> + Send + use<W, S>, S>, ListenersFull>
    where
        S: Send + 'static,
        W: Fn(&Notice) -> Option<Value> + Send + 'static,
    {
        let streams = match audience {
            EventAudience::Operators => &self.operator_streams,
            EventAudience::Players => &self.streams,
        };
        if streams.fetch_add(1, Ordering::AcqRel) >= audience.max_listeners() {
            streams.fetch_sub(1, Ordering::AcqRel);
            return Err(ListenersFull);
        }
        let place = ListenerPlace(Arc::clone(streams));
        let after = request.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()?.parse().ok());
        let (sender, channel) = Channel::new(MAX_EVENTS_PER_STREAM);
        let body = ListenerBody { channel, _place: place, _share: share };
        Ok(NoticeStream { body, feed: feed(Arc::clone(self), self.listen(after), sender, write) })
    }
}

/// Ends with its reader, or when all streams end.
async fn feed<W>(hub: Arc<EventHub>, mut listener: Listener, mut sender: Sender<Bytes>, write: W)
where
    W: Fn(&Notice) -> Option<Value>,
{
    let mut chunk = Some(RETRY.to_owned());
    let quiet = tokio::time::sleep(EVENT_STREAM_KEEPALIVE_INTERVAL);
    tokio::pin!(quiet);
    loop {
        if let Some(text) = chunk {
            if sender.send_data(Bytes::from(text)).await.is_err() {
                return;
            }
            quiet.as_mut().set(tokio::time::sleep(EVENT_STREAM_KEEPALIVE_INTERVAL));
        }
        chunk = tokio::select! {
            biased;
            () = hub.ending.cancelled() => return,
            // Counted from the last write, not from the last notice, because only a write finds that the reader is
            // gone, and notices of other playbacks are not written.
            () = &mut quiet => Some(": quiet\n\n".to_owned()),
            heard = listener.next() => match heard {
                Some(HeardNext::Notice(notice)) => write(&notice).map(|value| notice.sse(&value)),
                Some(HeardNext::Missed(missed)) => Some(format!("event: missed\ndata: {{\"missed\":{missed}}}\n\n")),
                None => return,
            },
        };
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::super::notice::tests::{names, playback};
    use super::*;
    use crate::session::{EndReason, SessionEvent};
    use crate::task::Tasks;

    #[test]
    fn players_that_listen_take_no_place_of_operators_and_operators_none_of_players() {
        let hub = Arc::new(EventHub::default());
        let listen = |audience| hub.stream(audience, (), &HeaderMap::new(), |_: &Notice| None).ok();
        let players: Vec<_> = std::iter::from_fn(|| listen(EventAudience::Players)).collect();
        assert_eq!(players.len(), MAX_PLAYER_LISTENERS);
        let operators: Vec<_> = std::iter::from_fn(|| listen(EventAudience::Operators)).collect();
        assert_eq!(operators.len(), MAX_OPERATOR_LISTENERS);
        drop(players);
        assert!(listen(EventAudience::Players).is_some() && listen(EventAudience::Operators).is_none());
    }

    /// A listener of a quiet playback on a busy proxy.
    #[tokio::test(start_paused = true)]
    async fn a_place_is_released_when_its_reader_is_gone_though_others_are_busy() {
        let (hub, names) = (Arc::new(EventHub::default()), names());
        let NoticeStream { mut body, feed } =
            hub.stream(EventAudience::Players, (), &HeaderMap::new(), |_: &Notice| None).unwrap();
        let (tasks, _deaths) = Tasks::new();
        tasks.spawn(feed);
        let busy = |times| {
            let (hub, names) = (hub.clone(), names.clone());
            async move {
                for _ in 0..times {
                    hub.publish(&playback(&names), &SessionEvent::Closed(EndReason::Stopped), Duration::ZERO);
                    tokio::time::sleep(EVENT_STREAM_KEEPALIVE_INTERVAL / 5).await;
                }
            }
        };
        let mut read = async || body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(read().await, RETRY);
        let (line, ()) = tokio::join!(tokio::time::timeout(EVENT_STREAM_KEEPALIVE_INTERVAL * 2, read()), busy(12));
        assert_eq!(line.expect("others are no sound of its own"), ": quiet\n\n");
        drop(body);
        assert_eq!(hub.streams.load(Ordering::Acquire), 0);
    }
}
