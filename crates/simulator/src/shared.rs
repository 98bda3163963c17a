//! The state behind its lock, and the signal that something was logged.

use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use super::content::ContentFiles;
use super::state::{CallMoment, HeadendState};
use sidebeat_system::clock::Clock;
use sidebeat_system::task::Tasks;

pub(super) struct HeadendShared {
    pub(super) content: ContentFiles,
    pub(super) tasks: Tasks,
    pub(super) tenant: String,
    clock: Clock,
    /// Number of the last log entry.
    logged: watch::Sender<u64>,
    state: Mutex<HeadendState>,
}

impl HeadendShared {
    pub(super) fn new(state: HeadendState, content: ContentFiles, tenant: String, tasks: Tasks, clock: Clock) -> Self {
        Self { clock, content, logged: watch::Sender::new(0), state: Mutex::new(state), tasks, tenant }
    }

    /// Runs `work` on the present state, after expiry. `work` cannot wait, so the lock is never held across an await.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut HeadendState, CallMoment) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let wall = self.clock.wall();
        let wall_ms = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
        let at = CallMoment { now: self.clock.now(), wall: wall.as_secs(), wall_ms };
        state.ledger.sweep(at.now);
        state.settle();
        let result = work(&mut state, at);
        state.settle();
        let last = state.journal.last();
        drop(state);
        self.logged.send_if_modified(|known| std::mem::replace(known, last) != last);
        result
    }

    /// Changes with every new log entry.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.logged.subscribe()
    }

    /// Expires sessions when they are due, so that the log shows it without a call.
    pub(super) async fn expire(&self) {
        loop {
            let mut logged = self.watch();
            let due = self.with(|state, _| state.ledger.due());
            let sleep = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.tasks.stopped() => return,
                _changed = logged.changed() => {}
                () = sleep => {}
            }
        }
    }
}
