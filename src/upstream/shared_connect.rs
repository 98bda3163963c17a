//! Opens a connection once for many calls, and tells all of them its outcome.
//!
//! Only one attempt at a time connects to an origin that may speak HTTP/2, detached from the call that began it. If
//! it fails, all waiting calls get its fault instead of trying in turn.

use std::io;

use tokio::sync::watch;

use super::UpstreamFault;

type OpeningOutcome = Option<Result<(), UpstreamFault>>;

/// Reports the attempt's outcome.
pub(super) struct OpeningFlight(watch::Sender<OpeningOutcome>);

/// Waits for the attempt's outcome.
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
    /// False if the attempt is over, or its task ended without an outcome.
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
