//! Ends an HTTP/2 stream whose window its peer does not open.
//!
//! Such a peer may answer pings and use other streams for as long as it likes, and the byte stream shows nothing. So
//! each stream has the deadline that `stall_timeout` has for a whole connection.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::counters::add;
use super::shared::EdgeShared;

/// Result of the last poll of the reply's body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum LastFrame {
    /// A piece, which waits until the peer has room for it.
    HandedOver,
    /// Nothing: the body itself is waited for.
    NotReady,
    /// The body was not polled.
    Unasked,
}

thread_local! {
    /// A stream's task polls only its own reply's body, on its own thread.
    static LAST_FRAME: Cell<LastFrame> = const { Cell::new(LastFrame::Unasked) };
}

/// Notes the result of a poll. Every body calls it.
pub(super) fn note_frame<T>(frame: &Poll<T>) {
    LAST_FRAME.set(if frame.is_ready() { LastFrame::HandedOver } else { LastFrame::NotReady });
}

/// Runs a stream to its end. Drops it, which resets it, if a piece of its reply was not wanted for `stall`.
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
