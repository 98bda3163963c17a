//! After the machine slept, or the process was not there: what was due, and what may not be blamed on the player.

use std::time::{Duration, Instant};

use super::super::policy::Policy;
use super::super::state::{Session, SessionState};

/// What slept is awake within this time.
const WAKE_UP_SPREAD: Duration = Duration::from_secs(5);

/// Nothing is given up sooner after nobody was there.
const MIN_TIME_AFTER_SLEEP: Duration = Duration::from_secs(10);

impl Session {
    /// The machine slept: time went by at the authority, and for the player too, that no deadline knows of.
    /// What was due meanwhile is due now, but not all at once; nobody is given up before having had a
    /// chance to be heard.
    pub(super) fn slept(&mut self, now: Instant, by: Duration, policy: &Policy) {
        self.evidence.machine_slept(now, by);
        self.confirmation.machine_slept(by);
        if let Some(grant) = self.held_mut() {
            grant.machine_slept(now, by);
        }
        self.unconfirmed.machine_slept(now, by);
        self.schedule.slept(now, by);
        self.give_chance(now, policy);
        if let Some(lane) = &mut self.lane {
            lane.slept = lane.slept.saturating_add(by);
        }
        let scatter = self.scatter(WAKE_UP_SPREAD);
        match &mut self.state {
            SessionState::Closing { next: due, .. }
            | SessionState::Failing { retry: due, .. }
            | SessionState::Live { beat: due, .. }
            | SessionState::Owing { next: due, .. } => *due = earlier(now, *due, by, scatter),
            SessionState::Killed { .. } => {
                if let Some((due, _)) = &mut self.lost_close {
                    *due = earlier(now, *due, by, scatter);
                }
            }
            SessionState::Closed { .. }
            | SessionState::Opening { .. }
            | SessionState::Sharing { .. }
            | SessionState::Waiting { .. } => {}
        }
    }

    /// As [`Self::beat_after`], when the machine slept while the last call was under way.
    pub(super) fn beat_after_sleep(&self, now: Instant, since: Instant, slept: Duration, policy: &Policy) -> Instant {
        let beat = self.beat_after(since, policy);
        if slept.is_zero() { beat } else { earlier(now, beat, slept, self.scatter(WAKE_UP_SPREAD)) }
    }

    /// Whatever ran out meanwhile is not over before somebody could be asked, or heard.
    pub(super) fn give_chance(&mut self, now: Instant, policy: &Policy) {
        self.evidence.spare_until(now + MIN_TIME_AFTER_SLEEP.max(policy.grace));
    }
}

/// What was due then is due by so much sooner, if not in the past, and a little later than others.
fn earlier(now: Instant, due: Instant, by: Duration, scatter: Duration) -> Instant {
    let sooner = due.checked_sub(by).unwrap_or(now).max(now);
    due.min(sooner + scatter)
}
