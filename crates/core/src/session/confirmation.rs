//! Remembers when the authority last confirmed a session, and how long that holds. `Session` keeps one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::{ClockMoment, EpochTime, MonotonicTime, RecordedSpan};

/// The last good answer of the authority about a session.
#[must_use]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Confirmation {
    /// Time of that answer.
    at: MonotonicTime,
    /// The authority's interval in a grant that is gone.
    last_interval: Option<Duration>,
    /// Time for which the machine has slept since.
    slept: RecordedSpan,
    /// Time that the answer took: the authority may have confirmed the session so much earlier.
    took: RecordedSpan,
}

/// Time between renewals if the authority never named an interval.
const USUAL_INTERVAL: Duration = Duration::from_secs(30);

impl Confirmation {
    /// The authority has said nothing yet; its silence counts from now on.
    pub(super) fn none(now: MonotonicTime) -> Self {
        Self { at: now, last_interval: None, slept: RecordedSpan::default(), took: RecordedSpan::default() }
    }

    /// Notes a good answer to a call that was sent at `asked`. The machine slept so long meanwhile, and earlier calls
    /// were answered before, too.
    pub(super) fn confirm(&mut self, now: MonotonicTime, asked: MonotonicTime, slept: Duration) {
        (self.at, self.slept, self.took) = (now, slept.into(), now.saturating_duration_since(asked).into());
    }

    /// The session of the device is confirmed, and this playback shares it from now on.
    pub(super) fn join(&mut self, now: MonotonicTime) {
        self.at = now;
    }

    /// The grant with this interval is gone.
    pub(super) fn lose_grant(&mut self, interval: Option<Duration>) {
        self.last_interval = interval.or(self.last_interval);
    }

    pub(super) fn machine_slept(&mut self, by: Duration) {
        self.slept = Duration::from(self.slept).saturating_add(by).into();
    }

    /// Adjusts the times after a restart. If the wall clock was set back, the length of the downtime is unknown: the
    /// silence then counts as `unknown`, and an expiry at the authority meanwhile is no kill.
    pub(super) fn restored(&mut self, now: MonotonicTime, unknown: Duration) {
        if self.at > now {
            (self.at, self.slept) = (now, unknown.into());
        }
    }

    /// Time of the last good answer.
    pub(super) fn at(&self) -> MonotonicTime {
        self.at
    }

    /// Time without a confirmation, counted at the authority.
    pub(super) fn silent_for(&self, now: MonotonicTime) -> Duration {
        now.saturating_duration_since(self.at).saturating_add(self.slept.into()).saturating_add(self.took.into())
    }

    /// End of the confirmation: the allowed silence after the last good answer, but not before the token ends, and no
    /// later than the longest session.
    pub(super) fn holds_until(
        &self,
        allowed: Duration,
        good_until: Option<MonotonicTime>,
        longest: Duration,
    ) -> MonotonicTime {
        let silent = self.at + allowed;
        good_until.map_or(silent, |until| silent.max(until.min(self.at + longest)))
    }

    /// The session's rhythm: its interval, else that of its former grant, else a usual one.
    pub(super) fn round(&self, interval: Option<Duration>) -> Duration {
        interval.or(self.last_interval).unwrap_or(USUAL_INTERVAL)
    }
}

/// A confirmation as plain data: a row of its three numbers, because every record has one.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(from = "ConfirmationRow", into = "ConfirmationRow")]
pub struct ConfirmationRecord {
    pub at: EpochTime,
    /// The machine slept this long since: `at` is reckoned without that.
    pub slept: RecordedSpan,
    pub took: RecordedSpan,
}

/// When, how long the answer took, and how long the machine slept since.
type ConfirmationRow = (EpochTime, RecordedSpan, RecordedSpan);

impl From<ConfirmationRow> for ConfirmationRecord {
    fn from((at, took, slept): ConfirmationRow) -> Self {
        Self { at, slept, took }
    }
}

impl From<ConfirmationRecord> for ConfirmationRow {
    fn from(record: ConfirmationRecord) -> Self {
        (record.at, record.took, record.slept)
    }
}

impl Confirmation {
    pub(super) fn record(&self, at: &ClockMoment) -> ConfirmationRecord {
        ConfirmationRecord { at: at.wall_of(self.at), slept: self.slept, took: self.took }
    }

    pub(super) fn restore(record: &ConfirmationRecord, at: &ClockMoment) -> Self {
        let ConfirmationRecord { at: confirmed, slept, took } = *record;
        Self { at: at.time_of(confirmed), last_interval: None, slept, took }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::testing::Clock;

    fn secs(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn the_authoritys_silence_counts_from_when_it_may_have_answered() {
        let start = Clock.now();
        let mut confirmation = Confirmation::none(start);
        assert_eq!(confirmation.silent_for(start + secs(5)), secs(5));
        // The answer took three seconds, in which the machine slept for an hour.
        confirmation.confirm(start + secs(10), start + secs(7), secs(3600));
        assert_eq!(confirmation.silent_for(start + secs(10)), secs(3603));
        confirmation.confirm(start + secs(20), start + secs(19), Duration::ZERO);
        confirmation.machine_slept(secs(60));
        assert_eq!((confirmation.at(), confirmation.silent_for(start + secs(25))), (start + secs(20), secs(66)));
        // The time before does not show any of that.
        assert_eq!(confirmation.silent_for(start), secs(61));
    }

    #[test]
    fn a_confirmation_holds_for_the_allowed_silence_and_as_long_as_its_token() {
        let start = Clock.now();
        let confirmation = Confirmation::none(start);
        for (good_until, holds) in [(None, 40), (Some(30), 40), (Some(100), 100), (Some(5000), 3600)] {
            let good_until = good_until.map(|until| start + secs(until));
            assert_eq!(
                confirmation.holds_until(secs(40), good_until, secs(3600)),
                start + secs(holds),
                "{good_until:?}"
            );
        }
    }

    #[test]
    fn a_clock_that_was_set_back_makes_the_silence_unknown() {
        let now = Clock.now();
        for (at, restored, silent) in [(now - secs(9), now - secs(9), secs(12)), (now + secs(9), now, secs(72))] {
            let mut confirmation =
                Confirmation { slept: secs(1).into(), took: secs(2).into(), ..Confirmation::none(at) };
            confirmation.restored(now, secs(70));
            assert_eq!((confirmation.at(), confirmation.silent_for(now)), (restored, silent));
        }
    }

    #[test]
    fn the_rhythm_of_a_lost_grant_goes_on() {
        let mut confirmation = Confirmation::none(Clock.now());
        assert_eq!(confirmation.round(None), USUAL_INTERVAL);
        confirmation.lose_grant(Some(secs(20)));
        confirmation.lose_grant(None);
        assert_eq!((confirmation.round(None), confirmation.round(Some(secs(7)))), (secs(20), secs(7)));
    }
}
