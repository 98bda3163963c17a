//! Reports after an outage, in one line, what was played without the authority's word.
//!
//! The sum grows from events of sessions. Sessions reconcile by themselves, each at its own time: the line comes when
//! the authority answers again and the last of them has settled, so that the sum is whole.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::info;

use crate::session::SessionEvent;

#[derive(Debug, Default)]
pub(super) struct OutageSummaries(Mutex<HashMap<Arc<str>, OutageSummary>>);

/// The end of an outage for one class of calls: they are answered again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OutageEnd {
    /// True if no other class of calls goes unanswered.
    pub is_whole: bool,
    pub lasted: Duration,
    /// True if a breaker was open in it.
    pub open: bool,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct OutageSummary {
    end: Option<OutageEnd>,
    /// Playbacks that began without a session.
    new: u64,
    /// Time of the playbacks that have settled.
    owed: Duration,
    /// Playbacks that went on with their last grant.
    running: u64,
    settled: u64,
}

impl OutageSummaries {
    pub(super) fn event(&self, authority: &Arc<str>, event: &SessionEvent) {
        match event {
            SessionEvent::OnCredit { running: true } => self.change(authority, |sum| sum.running += 1),
            SessionEvent::OnCredit { running: false } => self.change(authority, |sum| sum.new += 1),
            SessionEvent::Settled(owed) => self.change(authority, |sum| {
                sum.settled += 1;
                sum.owed = sum.owed.saturating_add(*owed);
            }),
            _ => return,
        }
        .into_iter()
        .for_each(|sum| sum.tell(authority));
    }

    pub(super) fn ends(&self, authority: &Arc<str>, end: OutageEnd) {
        let before = |sum: &OutageSummary| sum.end.unwrap_or(end);
        let end = |before: OutageEnd| OutageEnd {
            is_whole: end.is_whole,
            lasted: end.lasted.max(before.lasted),
            open: end.open || before.open,
        };
        let sum = self.change(authority, |sum| sum.end = Some(end(before(sum))));
        sum.into_iter().for_each(|sum| sum.tell(authority));
    }

    /// An outage that begins before the last one's playbacks have settled is told with it: they are on credit in both.
    pub(super) fn begins(&self, authority: &str) {
        let mut sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(end) = sums.get_mut(authority).and_then(|sum| sum.end.as_mut()) {
            end.is_whole = false;
        }
    }

    /// Returns the sum, once, when this change makes it whole.
    fn change(&self, authority: &Arc<str>, change: impl FnOnce(&mut OutageSummary)) -> Option<OutageSummary> {
        let mut sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = sums.entry(authority.clone()).or_default();
        change(sum);
        let is_over = sum.end.is_some_and(|end| end.is_whole) && sum.settled >= sum.new + sum.running;
        if is_over { sums.remove(authority) } else { None }
    }
}

impl OutageSummary {
    /// A few faults without credit get no line.
    fn tell(self, authority: &str) {
        let Self { end, new, owed, running, .. } = self;
        let Some(OutageEnd { lasted, .. }) = end.filter(|end| end.open || running + new > 0) else { return };
        let (outage_s, debt_s) = (lasted.as_secs_f64(), owed.as_secs_f64());
        info!(authority, outage_s, unconfirmed = running, without_session = new, debt_s, "outage over");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debts_are_summed_by_authority_and_reported_once() {
        let (sums, one, other) = (OutageSummaries::default(), Arc::from("one"), Arc::from("other"));
        let second = Duration::from_secs(1);
        for event in [
            SessionEvent::OnCredit { running: true },
            SessionEvent::OnCredit { running: false },
            SessionEvent::OnCredit { running: false },
            SessionEvent::Beat,
            SessionEvent::Settled(second),
        ] {
            sums.event(&one, &event);
        }
        sums.event(&other, &SessionEvent::Settled(second));
        let half = OutageEnd { is_whole: false, lasted: second * 9, open: true };
        let whole = OutageEnd { is_whole: true, lasted: second * 5, open: false };
        let settles = |authority, owed| sums.change(authority, |sum| (sum.settled, sum.owed) = (sum.settled + 1, owed));
        assert_eq!(sums.change(&other, |sum| sum.end = Some(half)), None, "its other calls go unanswered");
        sums.ends(&one, half);
        sums.ends(&one, whole);
        assert_eq!(settles(&one, second * 2), None, "one is on credit still");
        let end = Some(OutageEnd { lasted: half.lasted, open: true, ..whole });
        let sum = OutageSummary { end, new: 2, owed: second * 3, running: 1, settled: 3 };
        assert_eq!(settles(&one, second * 3), Some(sum));
        assert_eq!(settles(&one, second), None, "it was told");
        let sum = sums.change(&other, |sum| sum.end = Some(whole)).unwrap();
        assert_eq!((sum.owed, sum.settled), (second, 1));
    }

    #[test]
    fn the_line_waits_for_the_end_of_an_outage_that_began_before_all_had_settled() {
        let (sums, name) = (OutageSummaries::default(), Arc::from("one"));
        let end = |secs| OutageEnd { is_whole: true, lasted: Duration::from_secs(secs), open: true };
        sums.event(&name, &SessionEvent::OnCredit { running: true });
        sums.ends(&name, end(9));
        sums.begins(&name);
        let settled = sums.change(&name, |sum| sum.settled += 1);
        assert_eq!(settled, None, "the authority is away again");
        let sum = sums.change(&name, |sum| sum.end = Some(end(5))).unwrap();
        assert_eq!((sum.running, sum.settled), (1, 1));
        sums.begins(&name);
    }
}
