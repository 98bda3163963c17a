//! The only file that spawns.
//!
//! Every task is counted, so that drain can wait for all of them, and told when to finish. What
//! must not die (acceptor, pacer, pump) runs through [`Tasks::critical`], whose end before its time
//! ends the process.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use tokio_util::task::TaskTracker;

#[derive(Clone, Debug)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    deaths: mpsc::Sender<&'static str>,
}

/// Names of critical tasks that ended before their time.
pub type Deaths = mpsc::Receiver<&'static str>;

impl Tasks {
    pub fn new() -> (Self, Deaths) {
        let (deaths, heard) = mpsc::channel(8);
        (Self { tracker: TaskTracker::new(), stop: CancellationToken::new(), deaths }, heard)
    }

    /// Runs to its end, on the runtime of the caller, even if whoever asked for it goes away.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(work);
    }

    /// As [`Self::spawn`], on another runtime.
    pub fn spawn_on(&self, runtime: &Handle, work: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn_on(work, runtime);
    }

    /// As [`Self::spawn`]; if it ends, by panic too, before [`Self::stop`], its name is reported.
    pub fn critical(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let guard = DeathGuard { name, tasks: self.clone() };
        self.tracker.spawn(async move {
            let _guard = guard;
            work.await;
        });
    }

    /// A thread for work that blocks; if it ends before [`Self::stop`], its name is reported. What is
    /// given resolves at its end, and is not waited for by [`Self::drain`].
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn thread(
        &self,
        name: &'static str,
        work: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<oneshot::Receiver<()>> {
        let guard = DeathGuard { name, tasks: self.clone() };
        let (ended, end) = oneshot::channel::<()>();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _told_when_dropped = ended;
            let _guard = guard;
            work();
        })?;
        Ok(end)
    }

    pub fn stop(&self) {
        self.stop.cancel();
    }

    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Resolves when [`Self::stop`] was called.
    pub fn stopped(&self) -> WaitForCancellationFuture<'_> {
        self.stop.cancelled()
    }

    /// Waits until every task has ended, at most `grace`. Returns how many are left.
    pub async fn drain(&self, grace: Duration) -> usize {
        self.tracker.close();
        let _ended = tokio::time::timeout(grace, self.tracker.wait()).await;
        self.tracker.len()
    }
}

struct DeathGuard {
    name: &'static str,
    tasks: Tasks,
}

impl Drop for DeathGuard {
    fn drop(&mut self) {
        if !self.tasks.is_stopping() {
            // A full queue already holds a death; one is enough to end the process.
            let _full = self.tasks.deaths.try_send(self.name);
        }
    }
}
