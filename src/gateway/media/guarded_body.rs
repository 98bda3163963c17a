//! A media body that is cut when its playback ends.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::futures::OwnedNotified;

use super::MediaCall;
use super::media_memory::PlaybackMedia;
use super::peeked_body::PeekedBody;
use crate::clock::Clock;
use crate::edge::CutReply;
use crate::session::{MediaNames, SessionRefusal};
use crate::sessions::{DeviceKey, MediaFlow, Sessions};
use crate::telemetry::Telemetry;

pub(super) struct GuardedBody {
    body: PeekedBody,
    bytes: Counter,
    watch: Option<PlaybackWatch>,
}

/// Checks the playback whenever the device's state has changed.
pub(super) struct PlaybackWatch {
    /// `None` at first, and while no session is known: then every poll looks.
    change: Option<Pin<Box<OwnedNotified>>>,
    clock: Clock,
    key: DeviceKey,
    names: MediaNames,
    playback: Arc<PlaybackMedia>,
    sessions: Arc<Sessions>,
    telemetry: Arc<Telemetry>,
}

impl GuardedBody {
    pub(super) fn new(body: PeekedBody, story: &MediaCall<'_>) -> Self {
        let bytes = story.gateway.telemetry.metrics.media_bytes(&story.route.path);
        Self { body, bytes, watch: story.key.map(|key| PlaybackWatch::new(story, key)) }
    }
}

impl PlaybackWatch {
    fn new(story: &MediaCall<'_>, key: DeviceKey) -> Self {
        let (gateway, names) = (story.gateway, story.names());
        let (sessions, telemetry) = (gateway.sessions.clone(), gateway.telemetry.clone());
        let playback = story.playback.clone();
        Self { change: None, clock: gateway.clock, key, names, playback, sessions, telemetry }
    }

    /// True if the playback is over. The first look waits for no change, because the playback may have ended
    /// while its server was silent.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            if self.change.as_mut().is_some_and(|change| change.as_mut().poll(cx).is_pending()) {
                return false;
            }
            // Subscribed before the look, so that no change falls between the two.
            self.change = self.sessions.change(self.key, self.names).map(Box::pin);
            match self.sessions.flow(self.key, self.names) {
                MediaFlow::Absent => return false,
                MediaFlow::Goes => {}
                // The player switches to the slate and may finish the running transfer.
                MediaFlow::Over(SessionRefusal::Killed(reason), _) if reason.blackout.is_some() => {}
                MediaFlow::Over(refusal, since) => {
                    self.measure(&refusal, since);
                    return true;
                }
            }
        }
    }

    fn measure(&self, refusal: &SessionRefusal, since: Option<Instant>) {
        if let (SessionRefusal::Killed(_), Some(since)) = (refusal, since) {
            self.playback.effective.store(true, Ordering::Relaxed);
            self.telemetry.metrics.kill_effective(self.clock.now().saturating_duration_since(since));
        }
    }
}

impl Body for GuardedBody {
    type Data = Bytes;
    type Error = CutReply;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutReply>>> {
        if self.watch.as_mut().is_some_and(|watch| watch.is_over(cx)) {
            self.watch = None;
            return Poll::Ready(Some(Err(CutReply)));
        }
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            self.bytes.inc_by(frame.data_ref().map_or(0, |data| data.len() as u64));
        }
        frame.map_err(|fault| {
            tracing::debug!(fault = fault.name(), "a transfer broke off");
            CutReply
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
