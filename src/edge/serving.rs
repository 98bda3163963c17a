//! The running workers of an edge, and how they end.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::DropGuard;

use super::shared::EdgeShared;
#[cfg(doc)]
use super::shared::MAX_UNUSED_TIME;

/// Interval of the check whether the last connection or call has ended.
const WORKERS_GONE_POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The running workers. Dropping it ends them like [`Self::end`], without waiting.
pub struct Serving {
    pub(super) shared: Arc<EdgeShared>,
    pub(super) threads: Vec<JoinHandle<()>>,
    pub(super) finish: DropGuard,
}

impl Serving {
    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        self.shared.connections.inside()
    }

    /// Calls that are in flight now.
    pub fn calls(&self) -> usize {
        self.shared.calls.inside()
    }

    /// Announces the end: every reply says that its connection ends with it, HTTP/2 connections get GOAWAY, and idle
    /// ones have at most a second for one more request. Connections are still accepted. Waits for `period`, or less
    /// if no connection is left.
    pub async fn announce(&self, period: Duration) {
        self.shared.announce.cancel();
        let gone = async {
            while self.connections() > 0 {
                sleep(WORKERS_GONE_POLL_INTERVAL).await;
            }
        };
        let _late = timeout(period, gone).await;
    }

    /// Stops accepting, and waits at most `grace` until every call has its answer, including calls that a connection
    /// was about to bring. Replies may still be in transit; nothing is answered from now on.
    pub async fn answer(&self, grace: Duration) {
        self.stop();
        let answered = async {
            while self.shared.unanswered.inside() > 0 {
                sleep(WORKERS_GONE_POLL_INTERVAL).await;
            }
        };
        let _late = timeout(grace, answered).await;
        self.shared.answered.cancel();
    }

    fn stop(&self) {
        self.shared.announce.cancel();
        self.shared.stop.cancel();
        self.shared.tracker.close();
    }

    /// Stops accepting, lets every connection answer its requests and end, and waits for that at most `grace`.
    /// Returns how many are left. The workers go on, because detached work runs on them.
    pub async fn drain(&self, grace: Duration) -> usize {
        self.stop();
        let _ended = timeout(grace, self.shared.tracker.wait()).await;
        self.shared.tracker.len()
    }

    /// Ends the workers' runtimes and all that still runs on them. Call [`crate::task::Tasks::stop`] before, or their
    /// end counts as a failure.
    pub async fn end(self) {
        drop(self.finish);
        let joined = tokio::task::spawn_blocking(move || self.threads.into_iter().all(|thread| thread.join().is_ok()));
        if !joined.await.unwrap_or(false) {
            tracing::error!("a worker had panicked");
        }
    }
}
