//! Notices that the machine slept, and tells every session before anything else happens to it.
//!
//! Monotonic time stands still in suspension, so that no timer fires by it: the pacer looks now and then,
//! and every call and answer looks first. Else the head-end's word of a session that it let expire
//! meanwhile would be taken for a kill.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Sessions;
use crate::session::Input;

/// How often the pacer looks, whether or not anything is due.
pub(super) const SLEEP_POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Shorter sleep does no harm, and may be the clocks' own.
const MIN_NOTICED_SLEEP: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct SleepDetector {
    /// Milliseconds of suspension that all sessions know of.
    known: AtomicU64,
    telling: Mutex<()>,
}

impl SleepDetector {
    pub(super) fn new(suspended: Duration) -> Self {
        Self { known: AtomicU64::new(suspended.as_millis() as u64), telling: Mutex::new(()) }
    }

    fn since(&self, suspended: Duration) -> Option<Duration> {
        let slept = suspended.saturating_sub(Duration::from_millis(self.known.load(Ordering::Acquire)));
        (slept >= MIN_NOTICED_SLEEP).then_some(slept)
    }
}

impl Sessions {
    /// Must not be called under a device's lock. Who comes while others are told waits for the end of it.
    pub(super) fn notice_sleep(self: &Arc<Self>) {
        if self.sleep.since(self.clock.suspended()).is_none() {
            return;
        }
        let _telling = self.sleep.telling.lock().unwrap_or_else(PoisonError::into_inner);
        let suspended = self.clock.suspended();
        let Some(slept) = self.sleep.since(suspended) else { return };
        let mut all = self.table.collect(|key, playback| Some((key, playback.id)));
        // The table's own order is another one in every process.
        all.sort();
        tracing::info!(slept_s = slept.as_secs_f64(), sessions = all.len(), "the machine slept");
        for (key, id) in all {
            self.tell(key, id, Input::Slept(slept));
        }
        self.sleep.known.store(suspended.as_millis() as u64, Ordering::Release);
    }
}
