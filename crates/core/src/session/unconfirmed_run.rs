//! A run without the authority's word: its start, whether its budget was spent before, and whether it reopens.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::effect::SessionEvent;
use super::rare::RareFacts;
use super::record::is_default;
use crate::time::{Backoff, ClockMoment, EpochTime, MonotonicTime};

/// Pauses between two tries of an open that is owed.
const UNCONFIRMED_BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));

/// The facts of a session's run without the authority's word.
#[derive(Debug, Default)]
pub(super) struct UnconfirmedRun(RareFacts<RunFacts>);

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct RunFacts {
    /// Another session was opened silently in place of one that the authority let go of, and no beat has confirmed it
    /// yet: this is not done twice. A restart forgets it, so it may happen once more then.
    reopened_silently: bool,
    /// The authority lost it by a lost answer and not by a kill, so it opens another session in its place. Until then
    /// the lost one may hold its place, and the player's calls wait.
    reopens_until: Option<MonotonicTime>,
    /// Start of the run; `None` while the authority answers.
    since: Option<MonotonicTime>,
    /// An earlier playback of the same content had its budget.
    spent: bool,
}

impl UnconfirmedRun {
    /// `spent`: an earlier playback of the same content had the budget.
    pub(super) fn new(spent: bool) -> Self {
        Self(RareFacts::new(RunFacts { spent, ..RunFacts::default() }))
    }

    /// Begins a run. Every process that has it counts it, and the one in which it ends reports it.
    pub(super) fn begin(&mut self, since: MonotonicTime, running: bool) -> SessionEvent {
        self.0.change(|facts| facts.since = Some(since));
        SessionEvent::OnCredit { running }
    }

    /// Ends the run, with any outcome. `None` without one.
    pub(super) fn settle(&mut self, now: MonotonicTime) -> Option<SessionEvent> {
        let since = self.since()?;
        self.forget();
        Some(SessionEvent::Settled(now.saturating_duration_since(since)))
    }

    /// The session continues with its grant after a restart, as if the run had never been.
    pub(super) fn forget(&mut self) {
        self.0.change_known(|facts| facts.since = None);
    }

    /// Another session opens in place of the lost one, which may hold its place until then.
    pub(super) fn reopen(&mut self, until: MonotonicTime) {
        self.0.change(|facts| facts.reopens_until = Some(until));
    }

    /// `is_certain`: the authority let go of this session, and not of one by an older token.
    pub(super) fn reopen_silently(&mut self, is_certain: bool) {
        self.0.change(|facts| facts.reopened_silently = is_certain);
    }

    /// The session owes no open any more.
    pub(super) fn stop_reopening(&mut self) {
        self.0.change_known(|facts| facts.reopens_until = None);
    }

    /// A beat was answered well.
    pub(super) fn confirm(&mut self) {
        self.0.change_known(|facts| facts.reopened_silently = false);
    }

    /// The authority has decided by a grant or a kill. The next playback has a budget of its own.
    pub(super) fn decide(&mut self) {
        self.0.change_known(|facts| facts.spent = false);
    }

    /// The next playback of the same content has no budget.
    pub(super) fn spend(&mut self) {
        self.0.change(|facts| facts.spent = true);
    }

    pub(super) fn machine_slept(&mut self, now: MonotonicTime, by: Duration) {
        let sooner = |until: MonotonicTime| until.checked_sub(by).unwrap_or(now);
        self.0.change_known(|facts| facts.reopens_until = facts.reopens_until.map(sooner));
    }

    /// The clock may have been set back: the session lost at `since` holds its place no longer than before.
    pub(super) fn restored(&mut self, now: MonotonicTime, since: MonotonicTime) {
        let bounded = |until: MonotonicTime| until.min(now + until.saturating_duration_since(since));
        self.0.change_known(|facts| facts.reopens_until = facts.reopens_until.map(bounded));
    }

    /// Start of the run.
    pub(super) fn since(&self) -> Option<MonotonicTime> {
        self.0.get()?.since
    }

    pub(super) fn is_running(&self) -> bool {
        self.since().is_some()
    }

    pub(super) fn is_spent(&self) -> bool {
        self.0.get().is_some_and(|facts| facts.spent)
    }

    pub(super) fn was_reopened_silently(&self) -> bool {
        self.0.get().is_some_and(|facts| facts.reopened_silently)
    }

    pub(super) fn reopens_until(&self) -> Option<MonotonicTime> {
        self.0.get()?.reopens_until
    }

    /// True while calls wait for the session that replaces the lost one.
    pub(super) fn is_reopening(&self, now: MonotonicTime) -> bool {
        self.reopens_until().is_some_and(|until| now < until)
    }

    /// Time of the next try of an owed open: less and less often, and with jitter, so that they do not all come when the
    /// authority is back. A reopening session tries last when the lost one must have expired.
    pub(super) fn next_open(
        &self,
        now: MonotonicTime,
        tries: u8,
        jitter: impl Fn(Duration) -> Duration,
    ) -> MonotonicTime {
        let pause = UNCONFIRMED_BACKOFF.after(tries.into());
        let next = now + pause / 2 + jitter(pause);
        self.reopens_until().filter(|until| now < *until).map_or(next, |until| next.min(until))
    }
}

/// A run as plain data; the record of an ordinary session has none of it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct UnconfirmedRecord {
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub reopens_until: Option<EpochTime>,
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub since: Option<EpochTime>,
    #[serde(rename = "p", default, skip_serializing_if = "is_default")]
    pub spent: bool,
}

impl UnconfirmedRun {
    pub(super) fn record(&self, at: &ClockMoment) -> UnconfirmedRecord {
        let RunFacts { reopened_silently: _, reopens_until, since, spent } = self.0.get().copied().unwrap_or_default();
        let wall = |time: Option<MonotonicTime>| time.map(|time| at.wall_of(time));
        UnconfirmedRecord { reopens_until: wall(reopens_until), since: wall(since), spent }
    }

    /// `may_run`, `may_reopen`: true if the restored state allows that.
    pub(super) fn restore(record: &UnconfirmedRecord, at: &ClockMoment, may_run: bool, may_reopen: bool) -> Self {
        let UnconfirmedRecord { reopens_until, since, spent } = *record;
        Self(RareFacts::new(RunFacts {
            reopened_silently: false,
            reopens_until: reopens_until.map(|until| at.time_of(until)).filter(|_| may_reopen),
            since: since.map(|since| at.time_of(since).min(at.time())).filter(|_| may_run),
            spent,
        }))
    }

    pub(super) fn hash_lasting(&self, into: &mut impl Hasher) {
        (self.reopens_until(), self.since(), self.is_spent()).hash(into);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::testing::Clock;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_run_is_settled_once_and_reports_its_length() {
        let (mut run, now) = (UnconfirmedRun::new(false), Clock.now());
        assert_eq!(run.settle(now), None);
        assert_eq!(run.begin(now, true), SessionEvent::OnCredit { running: true });
        assert!(run.is_running() && run.since() == Some(now));
        assert_eq!(run.settle(now + SECOND), Some(SessionEvent::Settled(SECOND)));
        assert_eq!(run.settle(now + SECOND), None);
        run.begin(now, false);
        run.forget();
        assert_eq!(run.settle(now), None, "it is as if it had never run so");
    }

    #[test]
    fn a_budget_is_spent_until_the_authority_decides() {
        let mut run = UnconfirmedRun::new(true);
        assert!(run.is_spent());
        run.confirm();
        assert!(run.is_spent(), "a beat is no grant");
        run.decide();
        assert!(!run.is_spent());
        run.spend();
        assert!(run.is_spent());
    }

    #[test]
    fn a_lost_session_is_waited_for_as_long_as_it_holds_its_place() {
        let (mut run, now) = (UnconfirmedRun::new(false), Clock.now());
        run.reopen(now + SECOND * 30);
        assert!(run.is_reopening(now + SECOND * 29) && !run.is_reopening(now + SECOND * 30));
        run.machine_slept(now, SECOND * 10);
        assert_eq!(run.reopens_until(), Some(now + SECOND * 20));
        // An hour before: the clock was set back by it.
        let hour = SECOND * 3_600;
        let mut back = UnconfirmedRun::default();
        back.reopen(now + hour + SECOND * 20);
        back.restored(now, now + hour);
        assert_eq!(back.reopens_until(), Some(now + SECOND * 20));
        back.stop_reopening();
        assert!(!back.is_reopening(now));
    }

    #[test]
    fn a_silent_reopening_is_done_once_until_a_beat_confirms_it() {
        let mut run = UnconfirmedRun::new(false);
        run.reopen_silently(true);
        assert!(run.was_reopened_silently());
        run.decide();
        assert!(run.was_reopened_silently(), "the open alone confirms nothing");
        run.confirm();
        assert!(!run.was_reopened_silently());
        run.reopen_silently(false);
        assert!(!run.was_reopened_silently());
    }

    #[test]
    fn an_open_is_tried_less_and_less_often_and_a_last_time_when_the_lost_session_has_expired() {
        let (mut run, now) = (UnconfirmedRun::new(false), Clock.now());
        let pause = |run: &UnconfirmedRun, tries| run.next_open(now, tries, |most| most / 2) - now;
        assert_eq!([0, 1, 4, 5, 255].map(|tries| pause(&run, tries).as_secs()), [1, 2, 16, 30, 30]);
        run.reopen(now + SECOND * 5);
        assert_eq!([0, 1, 4].map(|tries| pause(&run, tries).as_secs()), [1, 2, 5]);
        run.reopen(now);
        assert_eq!(pause(&run, 4).as_secs(), 16, "it has expired");
    }
    #[test]
    fn a_record_keeps_a_run_as_far_as_its_state_allows() {
        let at = Clock.moment();
        let mut run = UnconfirmedRun::new(true);
        run.begin(at.time(), true);
        run.reopen(at.time() + SECOND);
        run.reopen_silently(true);
        let record = run.record(&at);
        for (may_run, may_reopen) in [(true, true), (true, false), (false, false)] {
            let restored = UnconfirmedRun::restore(&record, &at, may_run, may_reopen);
            assert!(restored.is_spent() && !restored.was_reopened_silently());
            assert_eq!((restored.is_running(), restored.is_reopening(at.time())), (may_run, may_reopen));
        }
        assert_eq!(serde_json::to_string(&UnconfirmedRun::default().record(&at)).unwrap(), "{}");
    }
}
