//! A reply on an HTTP/2 stream whose window its peer does not open.
//!
//! Such a peer may answer pings and go on with other streams for as long as it likes, and nothing of it is seen in the
//! byte stream below. So each stream has the deadline here that `patience` has for a whole connection.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::counters::add;
use super::shared::EdgeShared;

/// What the reply's body gave when it was last asked for a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum LastFrame {
    /// A piece, which now waits until the peer has room for it.
    HandedOver,
    /// None: the body itself is waited for.
    NotReady,
    /// It was not asked.
    Unasked,
}

thread_local! {
    /// A stream's task polls its reply's body, and nobody else's, on its own thread.
    static LAST_FRAME: Cell<LastFrame> = const { Cell::new(LastFrame::Unasked) };
}

/// Called by every body when it was asked for a frame.
pub(super) fn note_frame<T>(frame: &Poll<T>) {
    LAST_FRAME.set(if frame.is_ready() { LastFrame::HandedOver } else { LastFrame::NotReady });
}

/// Runs a stream to its end, or drops it, which resets it, when a piece of its reply was not wanted for `stall`.
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
