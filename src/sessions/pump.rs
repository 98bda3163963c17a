//! Makes the calls to authorities that the core asks for, each in a task of its own.
//!
//! The tasks run on the control runtime, whoever caused them: a player that hangs up ends nothing.
//! At most one is under way per session, which the core sees to, and at most [`Pump::MOST`] for all.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::Sessions;
use super::card::{Card, DeviceKey};
use crate::ids::SessionId;
use crate::session::{Ask, Fault, Verdict};
use crate::task::Tasks;

/// A call to an authority that is to be made.
#[derive(Debug)]
pub struct Asking {
    pub ask: Ask,
    pub card: Arc<Card>,
    pub id: SessionId,
    pub key: DeviceKey,
}

pub type Verdicts<'a> = Pin<Box<dyn Future<Output = Result<Verdict, Fault>> + Send + 'a>>;

/// Who speaks with the authorities. Every call ends within the authority's time limit.
pub trait Asker: Send + Sync + 'static {
    fn ask<'a>(&'a self, ask: &'a Ask, card: &'a Card) -> Verdicts<'a>;
}

pub struct Pump {
    asker: Arc<dyn Asker>,
    control: Handle,
    permits: Arc<Semaphore>,
    tasks: Tasks,
    under_way: TaskTracker,
}

impl Pump {
    /// More would only queue at the authority; 1,024 in 20 ms each is 50,000 beats a second.
    pub const MOST: usize = 1024;

    pub fn new(asker: Arc<dyn Asker>, control: Handle, tasks: Tasks) -> Self {
        Self { asker, control, permits: Arc::new(Semaphore::new(Self::MOST)), tasks, under_way: TaskTracker::new() }
    }

    pub(super) fn run(&self, sessions: Arc<Sessions>, asking: Asking) {
        let (asker, permits) = (self.asker.clone(), self.permits.clone());
        let work = async move {
            // The semaphore is never closed; without a permit the call would only be less orderly.
            let _permit = permits.acquire().await;
            let Asking { ask, card, id, key } = asking;
            let result = asker.ask(&ask, &card).await;
            sessions.answered(key, id, ask.ticket, ask.kind, result);
        };
        self.tasks.spawn_on(&self.control, self.under_way.track_future(work));
    }

    /// Waits until no call is under way, at most `grace`. For the end of the process: a call that is
    /// caused by the answer to another one counts too.
    pub(super) async fn idle(&self, grace: Duration) {
        self.under_way.close();
        let _late = tokio::time::timeout(grace, self.under_way.wait()).await;
    }

    /// Resolves when another call could start at once.
    pub(super) async fn ready(&self) {
        let _permit = self.permits.acquire().await;
    }
}
