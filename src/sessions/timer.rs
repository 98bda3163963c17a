//! Wakes sessions at their deadlines: one task and one wheel for all.

use std::sync::{Arc, PoisonError};

use super::Sessions;
use super::session_context::DeviceKey;
use super::sleep_detector::SLEEP_POLL_INTERVAL;
use crate::ids::SessionId;
use crate::session::{Input, WheelSlot};
use crate::task::Tasks;

/// Runs until the process stops. Sleeps until the next occupied tick or an earlier new one, and never for long. If
/// the dispatcher is full, it waits: due sessions stay due and are counted as late.
pub async fn pace(sessions: Arc<Sessions>, tasks: Tasks) {
    while !tasks.is_stopping() {
        let next = sessions.wheel.lock().unwrap_or_else(PoisonError::into_inner).next_due();
        // Suspension stops timers too, so sleeping until the next deadline would notice it late.
        let look = sessions.clock.now() + SLEEP_POLL_INTERVAL;
        let sleep = tokio::time::sleep_until(next.map_or(look, |next| next.min(look)).into());
        tokio::select! {
            biased;
            () = tasks.stopped() => return,
            () = sleep => sessions.advance().await,
            () = sessions.alarm.notified() => {}
        }
    }
}

impl Sessions {
    async fn advance(self: &Arc<Self>) {
        self.notice_sleep();
        let now = self.clock.now();
        loop {
            let turn = self.wheel.lock().unwrap_or_else(PoisonError::into_inner).advance(now);
            let Some((slot, entries)) = turn else { return };
            for (key, id) in entries {
                self.pump.ready().await;
                self.come_up(key, id, slot);
            }
        }
    }

    /// Handles an entry of the wheel: it is due, was moved to later, or is outdated.
    fn come_up(self: &Arc<Self>, key: DeviceKey, id: SessionId, slot: WheelSlot) {
        self.with(key, |device, out| {
            let now = self.clock.now();
            let Some(playback) = device.playback_mut(id) else { return };
            if playback.card.slotted.is_none_or(|(_, stands)| stands != slot) {
                return;
            }
            playback.card.slotted = None;
            if playback.session.deadline().is_some_and(|deadline| deadline <= now) {
                let card = playback.card.card.clone();
                device.deliver(id, now, Input::Tick, &card.policy(), out);
            }
        });
    }
}
