//! Calls that go on when their connection has closed.
//!
//! A closing page sends its last call and closes the connection at once, often before the call is looked at. HTTP
//! libraries drop a call with its connection. A dropped [`CarriedCall`] goes on as a task instead, until it tells by
//! its [`HangUp`] that it need not. The task polls the call at once, so that a call that waits learns of the hang-up.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use tokio::runtime::Handle;

use super::Tasks;
use super::caller_place::{CallerPlace, scoped};

/// Calls that go on without their connection at once, but for those whose number is bounded elsewhere. Further ones end
/// with it.
pub(super) const MAX_CARRIED_CALLS: usize = 4096;

const CARRIED: u8 = 0;
const LET_GO: u8 = 1;
const GONE: u8 = 2;
const NEEDS_NO_PLACE: u8 = 3;

/// State shared by a call and its connection.
#[derive(Clone, Debug, Default)]
pub struct HangUp(Arc<AtomicU8>);

impl HangUp {
    /// Lets the call end with its connection. True if the connection is gone already, so that no reply is needed.
    pub fn let_go(&self) -> bool {
        self.leave(LET_GO) == Err(GONE)
    }

    /// Lets the call go on without one of the [`Tasks`]' places for such calls, because the caller bounds how many of
    /// its kind there are.
    pub fn need_no_place(&self) {
        let _otherwise_decided = self.0.compare_exchange(CARRIED, NEEDS_NO_PLACE, Ordering::AcqRel, Ordering::Acquire);
    }

    /// True if the connection is gone and the call goes on without it.
    pub fn is_gone(&self) -> bool {
        self.0.load(Ordering::Acquire) == GONE
    }

    /// Notes that the connection is gone. True if the call must go on.
    pub fn happens(&self) -> bool {
        self.leave(GONE).is_ok()
    }

    /// Decides how the call ends, once: the state before, or the earlier decision.
    fn leave(&self, decided: u8) -> Result<u8, u8> {
        let undecided = |state| matches!(state, CARRIED | NEEDS_NO_PLACE).then_some(decided);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, undecided)
    }
}

type BoxedCall<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A call of a connection; see the module.
pub struct CarriedCall<T: 'static> {
    call: Option<BoxedCall<T>>,
    hang_up: HangUp,
    /// The call's part of its address's share.
    place: Option<Arc<dyn CallerPlace>>,
    tasks: Tasks,
}

impl<T> CarriedCall<T> {
    pub fn new<F>(tasks: Tasks, call: impl FnOnce(HangUp) -> F) -> Self
    where
        F: Future<Output = T> + Send + 'static,
    {
        let hang_up = HangUp::default();
        Self { call: Some(Box::pin(call(hang_up.clone()))), hang_up, place: None, tasks }
    }

    /// Makes a call that goes on without its connection keep this place.
    #[must_use]
    pub fn at(self, place: Arc<dyn CallerPlace>) -> Self {
        let mut call = self;
        call.place = Some(place);
        call
    }
}

impl<T> Future for CarriedCall<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Self { call, place, .. } = &mut *self;
        let Some(call) = call else { return Poll::Pending };
        let done = scoped(place.as_ref(), || call.as_mut().poll(cx));
        if done.is_ready() {
            self.call = None;
        }
        done
    }
}

impl<T> Drop for CarriedCall<T> {
    fn drop(&mut self) {
        let (Some(call), Ok(before)) = (self.call.take(), self.hang_up.leave(GONE)) else { return };
        let place = (before == CARRIED).then(|| self.tasks.carried.clone().try_acquire_owned()).transpose();
        // Outside of a runtime the process is ending.
        let (Ok(runtime), Ok(place)) = (Handle::try_current(), place) else {
            return tracing::debug!("a call ended with its connection: too many go on without theirs");
        };
        // A call whose body is complete goes on counting for its address, but no longer among the calls in flight.
        let rest_of = |place: Arc<dyn CallerPlace>| match place.hold() {
            Some(held) => Arc::new(held) as Arc<dyn CallerPlace>,
            None => place,
        };
        let (mut call, of_address) = (call, self.place.take().map(rest_of));
        self.tasks.spawn_on(&runtime, async move {
            let _until_done = place;
            let done = std::future::poll_fn(|cx| scoped(of_address.as_ref(), || call.as_mut().poll(cx)));
            drop(done.await);
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn an_unread_call_is_carried_on_when_its_connection_is_gone() {
        let (tasks, _deaths) = Tasks::new();
        let (tell, told) = oneshot::channel();
        drop(CarriedCall::new(tasks, |hang_up| async move {
            tell.send(hang_up.let_go()).unwrap();
        }));
        assert!(told.await.unwrap(), "it learns that nobody waits");
    }

    #[tokio::test]
    async fn a_call_that_was_let_go_ends_with_its_connection_and_one_that_is_done_is_not_begun_again() {
        let (tasks, _deaths) = Tasks::new();
        let (tell, told) = oneshot::channel::<()>();
        let mut call = CarriedCall::new(tasks.clone(), |hang_up| async move {
            assert!(!hang_up.let_go());
            std::future::pending::<()>().await;
            drop(tell);
        });
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(Pin::new(&mut call).poll(&mut context).is_pending());
        drop(call);
        assert!(told.await.is_err());
        assert_eq!(CarriedCall::new(tasks.clone(), |_| async { 7 }).await, 7);
        assert_eq!(tasks.carried.available_permits(), MAX_CARRIED_CALLS);
    }

    #[tokio::test]
    async fn a_call_that_waits_learns_that_its_connection_is_gone() {
        let (tasks, _deaths) = Tasks::new();
        let (tell, told) = oneshot::channel();
        let mut call = CarriedCall::new(tasks, |hang_up| async move {
            assert!(!hang_up.is_gone());
            std::future::poll_fn(|_| if hang_up.is_gone() { Poll::Ready(()) } else { Poll::Pending }).await;
            tell.send(()).unwrap();
        });
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(Pin::new(&mut call).poll(&mut context).is_pending());
        drop(call);
        told.await.expect("nothing else wakes it");
    }

    #[tokio::test]
    async fn calls_that_are_too_many_end_with_their_connections() {
        let (tasks, _deaths) = Tasks::new();
        let (release, held) = tokio::sync::watch::channel(());
        let waits = |tasks: &Tasks| {
            let mut held = held.clone();
            CarriedCall::new(tasks.clone(), |_| async move { held.changed().await.is_err() })
        };
        (0..MAX_CARRIED_CALLS + 1).for_each(|_| drop(waits(&tasks)));
        assert_eq!(tasks.carried.available_permits(), 0);
        drop(release);
        assert_eq!(tasks.drain(std::time::Duration::from_secs(60)).await, 0);
        assert_eq!(tasks.carried.available_permits(), MAX_CARRIED_CALLS);
    }
}
