//! Logs after an outage how much was played without the authority's word.
//!
//! Each session reconciles at its own time. This task waits until none is on credit any more, so that the sum is
//! complete. `app` runs it for the life of the process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::health::{CallClass, Health, PastOutage};
use super::{Authorities, Authority};
use crate::sessions::Sessions;
use crate::task::Tasks;
use crate::telemetry::Telemetry;

/// Interval and number of the checks. Playbacks still on credit then count for the next outage.
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
    /// Time without an answer, if that is an outage.
    pub fn outage(&self, now: Instant) -> Option<Duration> {
        self.health()?.outage(now)
    }

    /// Number of accounts that it has told to wait (429).
    pub fn accounts_waiting(&self, now: Instant) -> usize {
        self.health().map_or(0, |health| health.waiting(now))
    }

    /// True if such calls are spared because none was answered lately; `None` if the authority needs no network.
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
