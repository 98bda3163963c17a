//! The workers of an edge while they run, and how they come to their end.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::DropGuard;

use super::shared::EdgeShared;
#[cfg(doc)]
use super::shared::MAX_UNUSED_TIME;

/// How often it is looked whether the last one is gone.
const WORKERS_GONE_POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The workers, running. Dropping it ends them as [`Self::end`] does, without waiting.
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

    /// Every reply says from now on that its connection ends with it, connections of HTTP/2 are told to go away, and
    /// idle ones have a second at most for one more request. Connections are still taken. Waits `period`, or less if
    /// none is left.
    pub async fn announce(&self, period: Duration) {
        self.shared.announce.cancel();
        let gone = async {
            while self.connections() > 0 {
                sleep(WORKERS_GONE_POLL_INTERVAL).await;
            }
        };
        let _late = timeout(period, gone).await;
    }

    /// Stops accepting, and waits at most `grace` until every call has its answer, also one that a connection was
    /// about to bring. Replies may still be on their way; from now on nothing is answered.
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

    /// Stops accepting, has every connection answer what is on its way and end, and waits for them at
    /// most `grace`. Returns how many are left. The workers go on: detached work runs on them.
    pub async fn drain(&self, grace: Duration) -> usize {
        self.stop();
        let _ended = timeout(grace, self.shared.tracker.wait()).await;
        self.shared.tracker.len()
    }

    /// Ends the workers' runtimes and whatever still runs on them. Call [`crate::task::Tasks::stop`] before, or
    /// the workers' end counts as their death.
    pub async fn end(self) {
        drop(self.finish);
        let joined = tokio::task::spawn_blocking(move || self.threads.into_iter().all(|thread| thread.join().is_ok()));
        if !joined.await.unwrap_or(false) {
            tracing::error!("a worker had panicked");
        }
    }
}
