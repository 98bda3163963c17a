//! After an outage: what was played without the authority's word, told in one line.
//!
//! Sessions reconcile by themselves, each at its own time. This task only waits until none is on credit
//! any more, so that the sum is whole. Run by `app` for the life of the process.

use std::sync::Arc;
use std::time::Duration;

use super::Authority;
use super::health::{Health, Past};
use crate::sessions::Sessions;
use crate::task::Tasks;
use crate::telemetry::Telemetry;

/// Looks this often, and this many times at most: what is on credit then counts for the next outage.
const LOOK: Duration = Duration::from_millis(500);
const LOOKS: usize = 180;

/// One task for each authority that has a way to it.
pub fn watch(authorities: &Arc<[Authority]>, sessions: &Arc<Sessions>, telemetry: &Arc<Telemetry>, tasks: &Tasks) {
    for index in 0..authorities.len() {
        let (authorities, sessions) = (authorities.clone(), sessions.clone());
        let (telemetry, stop) = (telemetry.clone(), tasks.clone());
        tasks.spawn(async move {
            let Some((authority, health)) = authorities.get(index).and_then(|a| Some((a, a.health()?))) else { return };
            tokio::select! {
                () = stop.stopped() => {}
                () = tell_each(authority, index, health, &sessions, &telemetry) => {}
            }
        });
    }
}

async fn tell_each(
    authority: &Authority,
    index: usize,
    health: &Health,
    sessions: &Arc<Sessions>,
    telemetry: &Telemetry,
) {
    loop {
        health.over.notified().await;
        for _ in 0..LOOKS {
            if sessions.on_credit(index) == 0 {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        if let Some(Past { lasted, open }) = health.past() {
            telemetry.outage_over(&authority.name, lasted, open);
        }
    }
}
