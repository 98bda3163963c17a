//! Lets work that outlives its call keep the call's part of its address's share.
//!
//! A player that hangs up frees its connection's places. Work that was begun for it and still runs must go on
//! counting for its address; otherwise an address that asks and hangs up all the time would take all places. The edge
//! names the call that is polled ([`scoped`]), and tasks that go on for a call hold its place ([`Tasks::carry_on`]).
//! Work for all callers, or for hours, holds none.

use std::any::Any;
use std::future::Future;
use std::sync::Arc;

use super::Tasks;

/// The place of a running call.
pub trait CallerPlace: Send + Sync {
    /// `None` if the call has taken no place yet, or has given it back.
    fn hold(&self) -> Option<HeldPlace>;
}

/// A place that is given back with its last clone.
#[derive(Clone)]
pub struct HeldPlace {
    _place: Arc<dyn Any + Send + Sync>,
}

tokio::task_local! {
    static CALLER: Arc<dyn CallerPlace>;
}

/// Runs `work` for the call that has this place.
pub(super) fn scoped<T>(place: Option<&Arc<dyn CallerPlace>>, work: impl FnOnce() -> T) -> T {
    match place {
        Some(place) => CALLER.sync_scope(place.clone(), work),
        None => work(),
    }
}

impl HeldPlace {
    pub fn new(place: Arc<dyn Any + Send + Sync>) -> Self {
        Self { _place: place }
    }

    /// The place of the call that this code runs for, if it runs for one.
    pub fn of_caller() -> Option<Self> {
        CALLER.try_with(|place| place.hold()).ok().flatten()
    }
}

impl CallerPlace for HeldPlace {
    fn hold(&self) -> Option<HeldPlace> {
        Some(self.clone())
    }
}

impl std::fmt::Debug for HeldPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HeldPlace")
    }
}

impl Tasks {
    /// Like [`Tasks::spawn`], for a call that may end before the task. The task holds the call's place, and so do
    /// tasks that it begins.
    pub fn carry_on(&self, work: impl Future<Output = ()> + Send + 'static) {
        match HeldPlace::of_caller() {
            Some(place) => self.spawn(CALLER.scope(Arc::new(place), work)),
            None => self.spawn(work),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_for_a_call_that_is_gone_holds_its_place_to_the_end() {
        let (tasks, _deaths) = Tasks::new();
        let of_address = Arc::new(());
        let place: Arc<dyn CallerPlace> = Arc::new(HeldPlace::new(of_address.clone()));
        let (release, held) = tokio::sync::watch::channel(());
        let (mut one, mut two) = (held.clone(), held);
        let inner = tasks.clone();
        scoped(Some(&place), || {
            tasks.carry_on(async move {
                inner.carry_on(async move { drop(one.changed().await) });
                drop(two.changed().await);
            });
            tasks.spawn(std::future::pending());
        });
        drop(place);
        tokio::task::yield_now().await;
        assert_eq!(Arc::strong_count(&of_address), 3, "the work, and what it has begun");
        drop(release);
        let given_back = async {
            while Arc::strong_count(&of_address) > 1 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), given_back).await.expect("the place is given back");
        assert!(HeldPlace::of_caller().is_none());
    }
}
