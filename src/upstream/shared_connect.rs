//! Opening once for many: how the calls that wait for the same connection learn its outcome.
//!
//! An origin that may speak HTTP/2 is connected to by one attempt at a time, detached from the call
//! that began it. Everyone who waits gets the same fault when it fails, instead of trying in turn.

use std::io;

use tokio::sync::watch;

use super::UpstreamFault;

type OpeningOutcome = Option<Result<(), UpstreamFault>>;

/// Where the attempt reports.
pub(super) struct OpeningFlight(watch::Sender<OpeningOutcome>);

/// Where the calls wait.
#[derive(Clone)]
pub(super) struct OpeningWaiters(watch::Receiver<OpeningOutcome>);

impl OpeningFlight {
    pub(super) fn new() -> (Self, OpeningWaiters) {
        let (tell, hear) = watch::channel(None);
        (Self(tell), OpeningWaiters(hear))
    }

    pub(super) fn land(self, outcome: Result<(), UpstreamFault>) {
        self.0.send_replace(Some(outcome));
    }
}

impl OpeningWaiters {
    /// False for an attempt that is over, or whose task is gone without a word.
    pub(super) fn is_awaited(&self) -> bool {
        self.0.has_changed().is_ok()
    }

    pub(super) async fn outcome(mut self) -> Result<(), UpstreamFault> {
        let lost = Err(UpstreamFault::Connect(io::ErrorKind::Interrupted));
        match self.0.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(lost),
            Err(_) => lost,
        }
    }
}
