//! Makes up for a sleep of the machine, or for downtime: due work is done, and the player is not blamed.

use std::time::Duration;

use super::super::policy::Policy;
use super::super::state::{Session, SessionState};
use crate::time::MonotonicTime;

/// Time within which all sessions wake after a sleep.
const WAKE_UP_SPREAD: Duration = Duration::from_secs(5);

/// Minimum time before anything is given up after a sleep or downtime.
const MIN_TIME_AFTER_SLEEP: Duration = Duration::from_secs(10);

impl Session {
    /// The machine slept: time passed at the authority and for the player, and no deadline includes it. Work due
    /// meanwhile is due now, but not all at once, and no session is given up before it had a chance to be heard.
    pub(super) fn slept(&mut self, now: MonotonicTime, by: Duration, policy: &Policy) {
        self.evidence.machine_slept(now, by);
        self.confirmation.machine_slept(by);
        if let Some(grant) = self.held_mut() {
            grant.machine_slept(now, by);
        }
        self.unconfirmed.machine_slept(now, by);
        self.schedule.slept(now, by);
        self.give_chance(now, policy);
        self.calls.machine_slept(by);
        let scatter = self.calls.jitter(WAKE_UP_SPREAD);
        match &mut self.state {
            SessionState::Failing { retry: due, .. }
            | SessionState::Live { beat: due, .. }
            | SessionState::Owing { next: due, .. } => *due = earlier(now, *due, by, scatter),
            SessionState::Closing { release, .. } | SessionState::Killed { release, .. } => {
                if let Some(release) = release {
                    let due = release.next_mut();
                    *due = earlier(now, *due, by, scatter);
                }
            }
            SessionState::Closed { .. }
            | SessionState::Opening { .. }
            | SessionState::Sharing { .. }
            | SessionState::Waiting { .. } => {}
        }
    }

    /// Like [`Self::beat_after`], if the machine slept during the last call.
    pub(super) fn beat_after_sleep(
        &self,
        now: MonotonicTime,
        since: MonotonicTime,
        slept: Duration,
        policy: &Policy,
    ) -> MonotonicTime {
        let beat = self.beat_after(since, policy);
        if slept.is_zero() { beat } else { earlier(now, beat, slept, self.calls.jitter(WAKE_UP_SPREAD)) }
    }

    /// An expiry meanwhile ends nothing before the authority and the player had a chance to be heard.
    pub(super) fn give_chance(&mut self, now: MonotonicTime, policy: &Policy) {
        self.evidence.spare_until(now + MIN_TIME_AFTER_SLEEP.max(policy.grace));
    }
}

/// Moves a due time forward by the sleep, not into the past, and scatters it a little.
fn earlier(now: MonotonicTime, due: MonotonicTime, by: Duration, scatter: Duration) -> MonotonicTime {
    let sooner = due.checked_sub(by).unwrap_or(now).max(now);
    due.min(sooner + scatter)
}
