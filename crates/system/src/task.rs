//! The only file that spawns tasks.
//!
//! Every task is counted and told when to finish, so that drain can wait for all. A task that must not die (acceptor,
//! timer, dispatcher) runs by [`Tasks::critical`]; its early end ends the process.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use tokio_util::task::TaskTracker;

pub use self::caller_place::{CallerPlace, HeldPlace};
use self::carried::MAX_CARRIED_CALLS;
pub use self::carried::{CarriedCall, HangUp};

mod caller_place;
mod carried;

/// Pieces of heavy work that may wait. Beyond that the caller must come again.
const MAX_HEAVY_WAITING: usize = 64;

#[derive(Clone, Debug)]
pub struct Tasks {
    /// Permits for calls that go on without their connection.
    carried: Arc<Semaphore>,
    heavy: Arc<HeavyWork>,
    /// Heavy work for operators.
    lists: Arc<HeavyWork>,
    tracker: TaskTracker,
    stop: CancellationToken,
    deaths: mpsc::Sender<&'static str>,
}

/// Names of critical tasks that ended before their time.
pub type DeadTasks = mpsc::Receiver<&'static str>;

impl Tasks {
    pub fn new() -> (Self, DeadTasks) {
        let (deaths, heard) = mpsc::channel(8);
        let carried = Arc::new(Semaphore::new(MAX_CARRIED_CALLS));
        (
            Self {
                carried,
                heavy: Arc::default(),
                lists: Arc::new(HeavyWork::of(1)),
                tracker: TaskTracker::new(),
                stop: CancellationToken::new(),
                deaths,
            },
            heard,
        )
    }

    /// Runs to its end on the caller's runtime, even if the caller goes away.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(work);
    }

    /// Like [`Self::spawn`], on another runtime.
    pub fn spawn_on(&self, runtime: &Handle, work: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn_on(work, runtime);
    }

    /// Like [`Self::spawn`]. If the task ends before [`Self::stop`], also by a panic, its name is reported.
    pub fn critical(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let guard = DeathGuard { name, tasks: self.clone() };
        self.tracker.spawn(async move {
            let _guard = guard;
            work.await;
        });
    }

    /// Runs work that computes for more than a few milliseconds on a thread of its own. At most half of the cores do
    /// such work. It is completed even if the caller goes away.
    ///
    /// # Errors
    /// Too much other work is waiting.
    pub async fn heavy<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, TooBusy> {
        self.heavy_in(&self.heavy, work).await
    }

    /// Like [`Self::heavy`], for operators' lists: one at a time, and without taking a place of players' work.
    ///
    /// # Errors
    /// Too much other work is waiting.
    pub async fn list<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, TooBusy> {
        self.heavy_in(&self.lists, work).await
    }

    async fn heavy_in<T: Send + 'static>(
        &self,
        heavy: &HeavyWork,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, TooBusy> {
        let place = heavy.places.clone().try_acquire_owned().map_err(|_full| TooBusy)?;
        let running = heavy.running.clone().acquire_owned().await.map_err(|_closed| TooBusy)?;
        let of_caller = HeldPlace::of_caller();
        let done = self.tracker.spawn_blocking(move || {
            let _until_done = (place, running, of_caller);
            work()
        });
        match done.await {
            Ok(done) => Ok(done),
            Err(fault) => match fault.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is ending, and the caller with it.
                Err(_cancelled) => Err(TooBusy),
            },
        }
    }

    /// Starts a thread for blocking work. If it ends before [`Self::stop`], its name is reported. The result resolves
    /// at its end; [`Self::drain`] does not wait for it.
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

/// Too much heavy work is under way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TooBusy;

/// Bounds of heavy work.
#[derive(Debug)]
struct HeavyWork {
    /// Permits for running and waiting work.
    places: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

impl HeavyWork {
    fn of(running: usize) -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self { places: semaphore(running + MAX_HEAVY_WAITING), running: semaphore(running) }
    }
}

impl Default for HeavyWork {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::of((cores / 2).max(1))
    }
}

struct DeathGuard {
    name: &'static str,
    tasks: Tasks,
}

impl Drop for DeathGuard {
    fn drop(&mut self) {
        if !self.tasks.is_stopping() {
            // A full queue already holds a death, and one is enough to end the process.
            let _full = self.tasks.deaths.try_send(self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn lists_are_made_one_at_a_time_on_another_thread_and_take_no_place_of_players() {
        let (tasks, _deaths) = Tasks::new();
        let (release, held) = mpsc::channel::<()>();
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let mut first = Box::pin(tasks.list(move || held.recv().is_err()));
        assert!(first.as_mut().poll(&mut context).is_pending());
        let mut second = Box::pin(tasks.list(|| std::thread::current().id()));
        assert!(second.as_mut().poll(&mut context).is_pending(), "it waits for the first");
        assert_eq!(tasks.heavy(|| 7).await, Ok(7), "players' work does not");
        drop(release);
        assert_eq!(first.await, Ok(true));
        assert_ne!(second.await, Ok(std::thread::current().id()));
    }

    #[tokio::test]
    async fn heavy_work_runs_on_another_thread_and_what_is_too_much_is_turned_away() {
        let (tasks, _deaths) = Tasks::new();
        let serving = std::thread::current().id();
        let thread = tasks.heavy(|| std::thread::current().id()).await.unwrap();
        assert_ne!(thread, serving);
        let (places, running) = (tasks.heavy.places.available_permits(), tasks.heavy.running.available_permits());
        assert!(running >= 1 && places == running + MAX_HEAVY_WAITING);
        let (release, held) = mpsc::channel::<()>();
        let held = Arc::new(std::sync::Mutex::new(held));
        let calls: Vec<_> = (0..places)
            .map(|_| {
                let held = held.clone();
                // Ends when the other end is dropped.
                let mut call = Box::pin(tasks.heavy(move || held.lock().unwrap().recv().is_err()));
                let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                assert!(call.as_mut().poll(&mut context).is_pending());
                call
            })
            .collect();
        assert_eq!(tasks.heavy(|| ()).await, Err(TooBusy));
        // Who goes away while it waits leaves its place; what runs is carried through, and holds its own.
        drop(calls);
        assert_eq!(tasks.heavy.running.available_permits(), 0);
        assert_eq!(tasks.heavy.places.available_permits(), MAX_HEAVY_WAITING);
        drop(release);
        assert_eq!(tasks.heavy(|| 7).await, Ok(7));
    }
}
