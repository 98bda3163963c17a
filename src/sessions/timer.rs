//! Wakes sessions at their deadlines: one task and one wheel for all.
//!
//! The timer also notices that the machine slept, and tells every session before anything else happens to it. Monotonic
//! time and its timers stand still in suspension. So the timer task waits for its end, and every call and answer looks
//! first. Otherwise a session that the head-end let expire meanwhile would look killed.

use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Sessions;
use super::session_context::DeviceKey;
use crate::clock::ResumptionWatch;
use crate::ids::SessionId;
use crate::session::{Input, WheelSlot};
use crate::task::Tasks;

/// Runs until the process stops. Sleeps until the next occupied tick, an earlier new one, or the end of suspension. If
/// the dispatcher is full, it waits: due sessions stay due and are counted as late.
pub async fn pace(sessions: Arc<Sessions>, tasks: Tasks) {
    let mut resumption = ResumptionWatch::new(sessions.clock);
    while !tasks.is_stopping() {
        sessions.give_room_back(&tasks);
        let next = sessions.wheel.lock().unwrap_or_else(PoisonError::into_inner).next_due();
        let due = async {
            match next {
                Some(next) => tokio::time::sleep_until(Instant::from(next).into()).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = tasks.stopped() => return,
            () = due => sessions.advance().await,
            // Suspension stops timers too, so the next deadline would come late.
            () = resumption.resumed() => sessions.advance().await,
            () = sessions.alarm.notified() => {}
        }
    }
}

impl Sessions {
    /// Gives the room of forgotten devices back, on a thread of its own.
    fn give_room_back(self: &Arc<Self>, tasks: &Tasks) {
        if !self.table.is_sparse() || self.gives_room_back.swap(true, Ordering::Relaxed) {
            return;
        }
        let (sessions, heavy) = (self.clone(), tasks.clone());
        tasks.spawn(async move {
            let giving = sessions.clone();
            // If there is too much other work, the next look tries again.
            let _busy = heavy.heavy(move || giving.table.give_room_back()).await;
            sessions.gives_room_back.store(false, Ordering::Relaxed);
        });
    }

    async fn advance(self: &Arc<Self>) {
        self.notice_sleep();
        let now = self.clock.now();
        loop {
            let turn = self.wheel.lock().unwrap_or_else(PoisonError::into_inner).advance(now.into());
            let Some((slot, entries)) = turn else { return };
            for (key, id) in entries {
                self.dispatcher.ready().await;
                self.come_up(key, id, slot);
            }
        }
    }

    /// Handles an entry of the wheel: it is due, was moved to later, or is outdated.
    fn come_up(self: &Arc<Self>, key: DeviceKey, id: SessionId, slot: WheelSlot) {
        self.with(key, |device, out| {
            let now = self.clock.now();
            let Some(playback) = device.playback_mut(id) else { return };
            if playback.entry.slotted.is_none_or(|(_, stands)| stands != slot) {
                return;
            }
            playback.entry.slotted = None;
            if playback.session.deadline().is_some_and(|deadline| deadline <= now.into()) {
                let context = playback.entry.context.clone();
                device.deliver(id, now.into(), Input::Tick, &context.policy(), out);
            }
        });
    }
}

/// A shorter sleep is harmless, and may only be a difference of the clocks.
const MIN_NOTICED_SLEEP: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct SleepDetector {
    /// Suspension in milliseconds that all sessions know of.
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
    /// Tells all sessions of a sleep. Must not be called under a device's lock. Concurrent callers wait until all are
    /// told.
    pub(super) fn notice_sleep(self: &Arc<Self>) {
        if self.sleep.since(self.clock.suspended()).is_none() {
            return;
        }
        let _telling = self.sleep.telling.lock().unwrap_or_else(PoisonError::into_inner);
        let suspended = self.clock.suspended();
        let Some(slept) = self.sleep.since(suspended) else { return };
        let mut all = self.table.collect(|key, playback| Some((key, playback.id)));
        // The table's own order differs in every process.
        all.sort();
        tracing::info!(slept_s = slept.as_secs_f64(), sessions = all.len(), "the machine slept");
        for (key, id) in all {
            self.tell(key, id, Input::Slept(slept));
        }
        self.sleep.known.store(suspended.as_millis() as u64, Ordering::Release);
    }
}
