//! After an outage: what was played without the authority's word, told in one line.
//!
//! Sessions reconcile by themselves, each at its own time. This task only waits until none is on credit
//! any more, so that the sum is whole. Run by `app` for the life of the process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::health::{CallClass, Health, PastOutage};
use super::{Authorities, Authority};
use crate::sessions::Sessions;
use crate::task::Tasks;
use crate::telemetry::Telemetry;

/// Looks this often, and this many times at most: what is on credit then counts for the next outage.
const OUTAGE_POLL_INTERVAL: Duration = Duration::from_millis(500);
const MAX_OUTAGE_POLLS: usize = 180;

pub fn watch(authorities: &Arc<Authorities>, sessions: &Arc<Sessions>, telemetry: &Arc<Telemetry>, tasks: &Tasks) {
    authorities.serve(sessions);
    let (authorities, sessions) = (authorities.clone(), sessions.clone());
    let (telemetry, stop) = (telemetry.clone(), tasks.clone());
    tasks.spawn(async move {
        tokio::select! {
            () = stop.stopped() => {}
            () = tell_each(&authorities, &sessions, &telemetry) => {}
        }
    });
}

async fn tell_each(authorities: &Authorities, sessions: &Arc<Sessions>, telemetry: &Telemetry) {
    loop {
        authorities.signals.outage_over.notified().await;
        for looks in 1..=MAX_OUTAGE_POLLS {
            let waiting = authorities.every().into_iter().filter(|authority| is_over(authority));
            let settled =
                |authority: &Arc<Authority>| looks == MAX_OUTAGE_POLLS || sessions.on_credit(authority.id) == 0;
            let (settled, owing): (Vec<_>, Vec<_>) = waiting.partition(settled);
            settled.iter().for_each(|authority| tell(authority, telemetry));
            if owing.is_empty() {
                break;
            }
            tokio::time::sleep(OUTAGE_POLL_INTERVAL).await;
        }
    }
}

impl Authority {
    /// For how long it has not answered, when that is an outage.
    pub fn outage(&self, now: Instant) -> Option<Duration> {
        self.health()?.outage(now)
    }

    /// How many accounts it has told to wait (429), and they do.
    pub fn accounts_waiting(&self, now: Instant) -> usize {
        self.health().map_or(0, |health| health.waiting(now))
    }

    /// True if such calls are not made, because none was answered lately; `None` if the authority needs no network.
    pub fn spares(&self, calls: CallClass) -> Option<bool> {
        Some(self.health()?.is_open(calls))
    }
}

fn is_over(authority: &Authority) -> bool {
    authority.health().is_some_and(Health::has_past)
}

fn tell(authority: &Authority, telemetry: &Telemetry) {
    if let Some(PastOutage { lasted, open }) = authority.health().and_then(Health::past) {
        telemetry.outage_over(&authority.name, lasted, open);
    }
}
