//! Wakes sessions when their deadline has come: one task, one wheel, for all of them.

use std::sync::{Arc, PoisonError};

use super::Sessions;
use super::session_context::DeviceKey;
use super::sleep_detector::SLEEP_POLL_INTERVAL;
use crate::ids::SessionId;
use crate::session::{Input, WheelSlot};
use crate::task::Tasks;

/// Runs until the process stops. Sleeps until the next occupied tick, or until an earlier one appears, and
/// never for long.
/// When the pump is full it waits: what is due stays due and is counted as late.
pub async fn pace(sessions: Arc<Sessions>, tasks: Tasks) {
    while !tasks.is_stopping() {
        let next = sessions.wheel.lock().unwrap_or_else(PoisonError::into_inner).next_due();
        // Suspension stops timers too: who only sleeps until the next deadline learns of it late.
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

    /// An entry of the wheel came up: due, moved to later, or stale.
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
